"""Money in: what the provider's events make of purchases, payments and wallets, over a real provider on loopback."""

from __future__ import annotations

import asyncio
import json
import random
import re

import pytest
import sqlalchemy as sa

from actions import billing, wallet, webhooks_out
from actions.billing import events, resolving, settlement
from base.ids import global_id
from db.tables.central.billing import PaymentStatus, PurchaseStatus, Resolution
from db.tables.pool.wallet import TokenTransaction
from db.tables.pool.webhooks_out import WebhookDelivery
from outside import egress
from outside.egress import Egress
from tests.actions import shop as goods
from tests.actions import till
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio


@on_every_engine
async def test_a_paid_purchase_is_credited_once_whatever_comes_again(shop, provider):
    alice = await shop.tenant("alice")
    purchase_id, session = await till.bought(shop, alice)
    provider.pay(session)
    await till.tell(shop.house, provider.events())
    await till.tell(shop.house, provider.events())
    made = await till.purchase(shop, alice, purchase_id)
    assert (made.status, made.tokens_credited) == (PurchaseStatus.PAID, True)
    (payment,) = await goods.payments(shop, alice)
    assert (payment.status, payment.amount_cents, payment.currency, payment.tokens_earned) == (
        PaymentStatus.SUCCEEDED,
        1_000,
        "EUR",
        100,
    )
    assert await till.funds(shop, alice) == (100, 0)
    assert await till.keys(shop, alice) == [f"purchase-credit:{purchase_id:x}"]
    assert set(await till.event_states(shop.house)) <= {"PROCESSED", "IGNORED"}


async def _notes(db):
    return list(await db.all(sa.select(TokenTransaction.note).order_by(TokenTransaction.sequence)))


@on_every_engine
async def test_the_ledger_names_the_purchase_as_the_api_does(shop, provider):
    alice = await shop.tenant("alice")
    purchase_id, session = await till.bought(shop, alice)
    provider.pay(session)
    refund = provider.refund(provider.intent_of(session)["id"], 400)
    provider.fail_refund(refund["id"])
    for event in provider.events():
        await till.tell(shop.house, [event])
    named = f"purchase {global_id('Purchase', purchase_id)}"
    _, *notes = await (await shop.system(alice.tenant_id)).on_pool(_notes)
    assert notes == [
        named,
        f"taken back after a refund or dispute of {named}",
        f"returned after a refund or dispute of {named}",
    ]


@on_every_engine
async def test_a_bank_debit_is_pending_for_days_and_then_credited_or_failed(shop, provider):
    alice = await shop.tenant("alice")
    good, paid = await till.bought(shop, alice)
    bad, bounced = await till.bought(shop, alice, slug="other")
    for session in (paid, bounced):
        provider.pay(session, delayed=True)
    await till.tell(shop.house, provider.events())
    assert [(await till.purchase(shop, alice, each)).status.name for each in (good, bad)] == ["PENDING", "PENDING"]
    provider.clock(days=3)
    provider.settle(paid)
    provider.bounce(bounced)
    await till.tell(shop.house, provider.events())
    assert [(await till.purchase(shop, alice, each)).status.name for each in (good, bad)] == ["PAID", "FAILED"]
    assert await till.funds(shop, alice) == (100, 0)


@on_every_engine
async def test_a_failed_attempt_leaves_the_purchase_open_and_a_late_one_does_not_move_it(shop, provider):
    alice = await shop.tenant("alice")
    purchase_id, session = await till.bought(shop, alice)
    provider.decline(session)
    failed = provider.events()
    await till.tell(shop.house, failed)
    assert (await till.purchase(shop, alice, purchase_id)).status is PurchaseStatus.PENDING
    provider.pay(session)
    later = [each for each in provider.events() if each not in failed]
    await till.tell(shop.house, later)
    again = [{**each, "id": f"{each['id']}_late"} for each in failed]
    await till.tell(shop.house, again)
    assert (await till.purchase(shop, alice, purchase_id)).status is PurchaseStatus.PAID
    assert await till.funds(shop, alice) == (100, 0)


@on_every_engine
async def test_an_expired_session_cancels_the_purchase(shop, provider):
    alice = await shop.tenant("alice")
    purchase_id, session = await till.bought(shop, alice)
    provider.expire(session)
    await till.tell(shop.house, provider.events())
    assert (await till.purchase(shop, alice, purchase_id)).status is PurchaseStatus.CANCELED
    assert await till.funds(shop, alice) == (0, 0)


@on_every_engine
async def test_refunds_are_a_target_exact_at_a_hundred_percent_and_given_back_when_they_fail(shop, provider):
    alice = await shop.tenant("alice")
    purchase_id, session = await till.bought(shop, alice)
    provider.pay(session)
    intent = provider.intent_of(session)["id"]
    clawed = []
    for _ in range(3):
        provider.refund(intent, 333)
        await till.tell(shop.house, provider.events())
        clawed.append(100 - (await till.funds(shop, alice))[0])
    assert clawed == [33, 66, 99]
    assert (await till.purchase(shop, alice, purchase_id)).status is PurchaseStatus.PARTIALLY_REFUNDED
    last = provider.refund(intent, 1)
    await till.tell(shop.house, provider.events())
    assert await till.funds(shop, alice) == (0, 0)
    assert (await till.purchase(shop, alice, purchase_id)).status is PurchaseStatus.REFUNDED
    provider.fail_refund(last["id"])
    await till.tell(shop.house, provider.events())
    assert await till.funds(shop, alice) == (1, 0)
    (payment,) = await goods.payments(shop, alice)
    assert (payment.refunded_cents, payment.clawed_target, payment.status.name) == (999, 99, "PARTIALLY_REFUNDED")


@on_every_engine
async def test_a_refund_before_the_success_is_matched_when_the_payment_is_known(shop, provider):
    alice = await shop.tenant("alice")
    purchase_id, session = await till.bought(shop, alice)
    provider.pay(session)
    provider.refund(provider.intent_of(session)["id"])
    told = provider.events()
    refunds = [each for each in told if each["type"].startswith("refund.")]
    assert refunds
    await till.tell(shop.house, refunds)
    assert set(await till.event_states(shop.house)) == {"WAITING"}
    await till.tell(shop.house, [each for each in told if each not in refunds])
    assert (await till.purchase(shop, alice, purchase_id)).status is PurchaseStatus.REFUNDED
    assert await till.funds(shop, alice) == (0, 0)


@on_every_engine
async def test_a_charge_that_names_no_refund_has_its_refunds_looked_up(shop, provider):
    alice = await shop.tenant("alice")
    _, session = await till.bought(shop, alice)
    provider.pay(session)
    provider.refund(provider.intent_of(session)["id"], 500)
    await till.tell(shop.house, [each for each in provider.events() if not each["type"].startswith("refund.")])
    assert await till.funds(shop, alice) == (50, 0)


@on_every_engine
async def test_a_dispute_takes_what_is_withdrawn_and_gives_back_exactly_that(shop, provider):
    alice = await shop.tenant("alice")
    purchase_id, session = await till.bought(shop, alice)
    provider.pay(session)
    dispute = provider.dispute(provider.intent_of(session)["id"])["id"]
    seen = []

    async def look():
        await till.tell(shop.house, provider.events())
        made = await till.purchase(shop, alice, purchase_id)
        (payment,) = await goods.payments(shop, alice)
        seen.append((made.status.name, payment.status.name, await till.funds(shop, alice)))

    await look()
    provider.close_dispute(dispute, won=False)
    await look()
    provider.clock(days=1)
    provider.appeal(dispute)
    await look()
    provider.clock(days=1)
    provider.close_dispute(dispute, won=True)
    await look()
    assert seen == [
        ("DISPUTED", "DISPUTED", (0, 0)),
        ("REFUNDED", "DISPUTED", (0, 0)),
        ("DISPUTED", "DISPUTED", (0, 0)),
        ("PAID", "SUCCEEDED", (100, 0)),
    ]


@on_every_engine
async def test_an_inquiry_changes_nothing(shop, provider):
    alice = await shop.tenant("alice")
    purchase_id, session = await till.bought(shop, alice)
    provider.pay(session)
    provider.dispute(provider.intent_of(session)["id"], kind="inquiry")
    await till.tell(shop.house, provider.events())
    assert (await till.purchase(shop, alice, purchase_id)).status is PurchaseStatus.PAID
    assert await till.funds(shop, alice) == (100, 0)


@on_every_engine
async def test_what_was_spent_becomes_a_debt_that_the_next_credit_pays(shop, provider):
    alice = await shop.tenant("alice")
    _, session = await till.bought(shop, alice, tokens=300)
    provider.pay(session)
    await till.tell(shop.house, provider.events())
    system = await shop.system(alice.tenant_id)
    await system.on_pool(wallet.reserve, 350, cause=wallet.Cause(key="job:1:reserve"))
    refund = provider.refund(provider.intent_of(session)["id"])
    await till.tell(shop.house, provider.events())
    assert await till.funds(shop, alice) == (-100, 250)
    await system.on_pool(wallet.release, 350, cause=wallet.Cause(key="job:1:release"))
    assert await till.funds(shop, alice) == (0, 0)
    provider.fail_refund(refund["id"])
    await till.tell(shop.house, provider.events())
    assert await till.funds(shop, alice) == (300, 0)


@on_every_engine
async def test_a_purchase_paid_twice_is_credited_once_and_its_second_refund_changes_nothing(shop, provider):
    alice = await shop.tenant("alice")
    purchase_id, session = await till.bought(shop, alice)
    provider.pay(session)
    first = provider.events()
    await till.tell(shop.house, first)
    twin = _another_session(first)
    await till.tell(shop.house, twin)
    assert await till.funds(shop, alice) == (100, 0)
    parked = [each for each in await till.settlements(shop.house) if each.state.name == "PARKED"]
    assert [each.reason.name for each in parked] == ["PAID_TWICE"]
    assert (await till.purchase(shop, alice, purchase_id)).status is PurchaseStatus.PAID
    provider.refund(provider.intent_of(session)["id"])
    refund = [each for each in provider.events() if each["type"] == "refund.created"]
    await till.tell(shop.house, _another_session(refund))
    assert await till.funds(shop, alice) == (100, 0)
    assert (await till.purchase(shop, alice, purchase_id)).status is PurchaseStatus.PAID
    await shop.house.system().on_system(
        resolving.resolve, parked[0].id, Resolution.REFUND, who="ops@example.com", why="paid in two tabs"
    )
    (row,) = [each for each in await till.settlements(shop.house) if each.id == parked[0].id]
    assert (row.state.name, row.resolved_by, row.resolved_why) == ("CLOSED", "ops@example.com", "paid in two tabs")


def _another_session(told):
    """The same events with ids of their own: what a second tab would have made."""
    text = re.sub(r'": "(evt|cs_test|pi|ch|re)_', r'": "\1_twin', json.dumps(told))
    return json.loads(text)


@on_every_engine
@pytest.mark.parametrize("wrong", ["amount", "currency"])
async def test_another_amount_or_currency_is_parked_until_a_person_decides(shop, provider, wrong):
    alice = await shop.tenant("alice")
    purchase_id, session = await till.bought(shop, alice)
    provider.pay(session)
    told = provider.events()
    for event in told:
        thing = event["data"]["object"]
        for name in ("amount_total", "amount_received", "amount_captured", "amount"):
            if thing.get(name) is not None and wrong == "amount":
                thing[name] -= 1
        if "currency" in thing and wrong == "currency":
            thing["currency"] = "usd"
    await till.tell(shop.house, told)
    (parked,) = await till.settlements(shop.house)
    assert (parked.state.name, parked.reason.name) == ("PARKED", "AMOUNT")
    assert await till.funds(shop, alice) == (0, 0)
    assert (await till.purchase(shop, alice, purchase_id)).status is PurchaseStatus.PENDING
    tenant = await shop.house.system().on_system(
        resolving.resolve, parked.id, Resolution.CREDIT, who="ops", why="the bank's fee"
    )
    await settlement.settle(shop.house, [tenant])
    assert await till.funds(shop, alice) == (100, 0)
    assert (await till.purchase(shop, alice, purchase_id)).status is PurchaseStatus.PAID


@on_every_engine
async def test_a_currency_without_cents_is_credited(shop, provider):
    alice = await shop.tenant("alice")
    _, session = await till.bought(shop, alice, cents=500, currency="JPY")
    provider.pay(session)
    await till.tell(shop.house, provider.events())
    assert await till.funds(shop, alice) == (100, 0)


@on_every_engine
async def test_any_order_with_duplicates_ends_the_same(shop, provider):
    alice = await shop.tenant("alice")
    stories, chance = [], random.Random(8)
    for number in range(6):
        purchase_id, session = await till.bought(shop, alice, slug=f"p{number}")
        before = len(provider.events())
        provider.pay(session)
        intent = provider.intent_of(session)["id"]
        provider.refund(intent, 250)
        provider.fail_refund(provider.refund(intent, 500)["id"])
        stories.append((purchase_id, provider.events()[before:]))
    mixed = [event for _, told in stories for event in (*told, *told[::2])]
    chance.shuffle(mixed)
    await till.tell(shop.house, mixed)
    for purchase_id, _ in stories:
        assert (await till.purchase(shop, alice, purchase_id)).status is PurchaseStatus.PARTIALLY_REFUNDED
    assert await till.funds(shop, alice) == (6 * 75, 0)
    assert all(each.clawed_target == 25 for each in await goods.payments(shop, alice))


@on_every_engine
async def test_an_endpoint_is_told_all_that_is_gone_by_refunds_and_disputes_together(shop, provider):
    shop.house.services[Egress] = egress.client(egress.parse_allow("127.0.0.0/8:*"))
    alice = await shop.tenant("alice")
    await webhooks_out.create_webhook(await shop.of(alice), "http://127.0.0.1:9/hook", ["purchase.refunded"])
    _, session = await till.bought(shop, alice)
    provider.pay(session)
    intent = provider.intent_of(session)["id"]
    await till.tell(shop.house, provider.events())
    seen = []
    for act in (lambda: provider.refund(intent, 250), lambda: provider.dispute(intent, amount=600)):
        before = len(provider.events())
        act()
        await till.tell(shop.house, provider.events()[before:])
        await asyncio.gather(*shop.house.tasks)
        rows = await (await shop.system(alice.tenant_id)).on_pool(_deliveries)
        told = json.loads(rows[-1].body)["data"]
        seen.append((told["tokens"], told["refunded_cents"]))
    assert seen == [(25, 250), (60, 850)]


async def _deliveries(db, /):
    return list(await db.all(sa.select(WebhookDelivery).order_by(WebhookDelivery.id)))


@on_every_engine
async def test_a_refund_after_a_failed_one_is_found_by_the_charges_sum_alone(shop, provider):
    alice = await shop.tenant("alice")
    purchase_id, session = await till.bought(shop, alice)
    provider.pay(session)
    intent = provider.intent_of(session)["id"]
    provider.fail_refund(provider.refund(intent, 500)["id"])
    await till.tell(shop.house, provider.events())
    assert await till.funds(shop, alice) == (100, 0)
    before = len(provider.events())
    provider.refund(intent, 500)
    told = [each for each in provider.events()[before:] if each["type"] == "charge.refunded"]
    assert len(told) == 1
    await till.tell(shop.house, told)
    assert await till.funds(shop, alice) == (50, 0)
    assert (await till.purchase(shop, alice, purchase_id)).status is PurchaseStatus.PARTIALLY_REFUNDED


@pytest.mark.parametrize("odd", [None, 7, "x", {}])
@on_every_engine
async def test_an_event_with_an_odd_list_has_its_object_asked_for(shop, provider, odd):
    alice, tier = await shop.tenant("alice"), await goods.tier(shop, tokens=500)
    _, session = await till.bought(shop, alice)
    provider.pay(session)
    begun = await billing.start_plan(await shop.of(alice), tier, idempotency_key=None, **goods.BACK)
    provider.pay(goods.session_at(provider, begun.url))
    told = provider.events("charge.succeeded", "invoice.paid", "checkout.session.completed")
    for event in told:
        thing = event["data"]["object"]
        if event["type"] == "charge.succeeded":
            thing["refunds"] = {"object": "list", "data": odd}
        if event["type"] == "invoice.paid":
            thing["payments"] = {"object": "list", "data": odd}
    await till.tell(shop.house, told)
    assert "FAILED" not in await till.event_states(shop.house)
    assert await till.funds(shop, alice) == (600, 0)


@on_every_engine
async def test_an_event_that_cannot_be_read_has_its_object_asked_for(shop, provider):
    alice = await shop.tenant("alice")
    _, session = await till.bought(shop, alice)
    provider.pay(session)
    told = provider.events()
    poison = next(each for each in told if each["type"] == "charge.succeeded")
    broken = {**poison, "id": "evt_broken", "data": {"object": {**poison["data"]["object"], "amount_captured": None}}}
    ids = await till.stored(shop.house, [broken, *told])
    # The provider has it in its right shape.
    await events.handle(shop.house, ids)
    assert await till.funds(shop, alice) == (100, 0)
    assert set(await till.event_states(shop.house)) <= {"PROCESSED", "IGNORED"}


@on_every_engine
async def test_events_of_another_deployment_or_of_nobody_are_kept_and_credit_nothing(shop, provider):
    alice = await shop.tenant("alice")
    _, session = await till.bought(shop, alice)
    provider.pay(session)
    told = provider.events()
    for event in told:
        metadata = event["data"]["object"].get("metadata")
        if metadata:
            metadata["deployment"] = "ab" * 16
    await till.tell(shop.house, told)
    assert await till.funds(shop, alice) == (0, 0)
    states = await till.event_states(shop.house)
    assert "checkout.session.completed" in states["FOREIGN"]
    assert "PROCESSED" not in states


@on_every_engine
async def test_unknown_purchase_waits_by_name(shop, provider):
    alice = await shop.tenant("alice")
    _, session = await till.bought(shop, alice)
    provider.pay(session)
    told = [each for each in provider.events() if each["type"] == "checkout.session.completed"]
    told[0]["data"]["object"]["metadata"]["purchase"] = "1a2b"
    await till.tell(shop.house, told)
    assert await till.event_states(shop.house) == {"WAITING": ["checkout.session.completed"]}
