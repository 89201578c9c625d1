"""Plans by the provider's events: each paid invoice brings its tokens once, and the newest subscription is believed."""

from __future__ import annotations

import random
from typing import Any

import pytest

from actions import billing
from actions.billing import events
from db.tables.central.billing import PurchaseStatus, SubscriptionStatus
from tests.actions import shop as goods
from tests.actions import till
from tests.provider import calling
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio


async def begun(shop, person, provider, **tier):
    """A plan that somebody is about to pay for: our row of it and the provider's session."""
    tier_id = await goods.tier(shop, **tier)
    await billing.start_plan(await shop.of(person), tier_id, idempotency_key=None, **goods.BACK)
    (session,) = await goods.sessions(shop, person)
    return session.provider_session_id


async def held(shop, person):
    (plan,) = await goods.plans(shop, person)
    return plan


@on_every_engine
async def test_a_plan_is_active_and_each_paid_invoice_is_credited_once(shop, provider):
    alice = await shop.tenant("alice")
    session = await begun(shop, alice, provider)
    subscription = provider.pay(session)["subscription"]
    await till.tell(shop.house, provider.events())
    plan = await held(shop, alice)
    assert (plan.status, plan.provider_subscription_id) == (SubscriptionStatus.ACTIVE, subscription)
    assert plan.current_period_end > plan.current_period_start
    assert await till.funds(shop, alice) == (500, 0)
    for month in (2, 3):
        provider.clock(days=31)
        provider.renew(subscription)
        await till.tell(shop.house, provider.events())
        assert await till.funds(shop, alice) == (500 * month, 0)
    assert (await held(shop, alice)).current_period_end > plan.current_period_end
    kept = await goods.purchases(shop, alice)
    assert [(each.kind.name, each.status, each.tokens_credited) for each in kept] == [
        ("PLAN", PurchaseStatus.PAID, True)
    ] * 3
    invoices = [each["id"] for each in provider.all("invoice")]
    assert await till.keys(shop, alice) == [f"plan-credit:{each}" for each in invoices]
    assert set(await till.event_states(shop.house)) <= {"PROCESSED", "IGNORED"}


@on_every_engine
async def test_the_refund_of_a_renewal_claws_that_renewal(shop, provider):
    alice = await shop.tenant("alice")
    session = await begun(shop, alice, provider)
    subscription = provider.pay(session)["subscription"]
    provider.clock(days=31)
    invoice = provider.renew(subscription)
    paid = provider.all("payment_intent")[-1]["id"]
    provider.refund(paid, 1_000)
    told = provider.events()
    random.Random(4).shuffle(told)
    await till.tell(shop.house, told)
    del invoice
    assert await till.funds(shop, alice) == (750, 0)
    assert [each.status.name for each in await goods.purchases(shop, alice)] == ["PAID", "PARTIALLY_REFUNDED"]


@on_every_engine
async def test_an_unpaid_renewal_is_past_due_and_credited_when_it_is_paid(shop, provider):
    alice = await shop.tenant("alice")
    subscription = provider.pay(await begun(shop, alice, provider))["subscription"]
    provider.clock(days=31)
    provider.renew(subscription, paid=False)
    await till.tell(shop.house, provider.events())
    assert (await held(shop, alice)).status is SubscriptionStatus.PAST_DUE
    assert await till.funds(shop, alice) == (500, 0)
    assert len(await goods.purchases(shop, alice)) == 1
    provider.clock(days=2)
    (unpaid,) = [each for each in provider.all("invoice") if each["status"] == "open"]
    provider.pay_invoice(unpaid["id"])
    await till.tell(shop.house, provider.events())
    assert (await held(shop, alice)).status is SubscriptionStatus.ACTIVE
    assert await till.funds(shop, alice) == (1_000, 0)


@on_every_engine
@pytest.mark.parametrize("older", ["active", "past_due"])
async def test_of_subscription_events_of_one_second_the_newest_state_stays(shop, provider, older):
    alice = await shop.tenant("alice")
    subscription = provider.pay(await begun(shop, alice, provider))["subscription"]
    provider.clock(days=31)
    provider.renew(subscription, paid=False)
    if older != "active":
        (unpaid,) = [each for each in provider.all("invoice") if each["status"] == "open"]
        provider.pay_invoice(unpaid["id"])
    told = provider.events()
    for event in told:
        event["created"] = told[0]["created"]
    random.Random(2).shuffle(told)
    # The oldest content comes last.
    told.sort(key=lambda each: _status_told(each) == older)
    assert _status_told(told[-1]) == older
    await till.tell(shop.house, told)
    wanted = provider.get("subscription", subscription)["status"]
    assert wanted == ("past_due" if older == "active" else "active")
    assert (await held(shop, alice)).status.name.lower() == wanted


def _status_told(event):
    """What a subscription's event says of its status; None for other events."""
    return event["data"]["object"]["status"] if event["type"].startswith("customer.subscription.") else None


@on_every_engine
async def test_an_upgrade_brings_at_most_the_prorated_difference_and_a_loop_of_them_no_more(shop, provider):
    alice = await shop.tenant("alice")
    subscription = provider.pay(await begun(shop, alice, provider))["subscription"]
    await till.tell(shop.house, provider.events())
    dear = await goods.tier(shop, "max", cents=6_000, tokens=2_500)
    cheap = (await held(shop, alice)).tier_id
    ctx = await shop.of(alice)
    for days in (0, 10):
        provider.clock(days=days)
        for tier_id in (dear, cheap):
            await billing.change_plan(ctx, tier_id, idempotency_key=None)
            await till.tell(shop.house, provider.events())
    # Whoever pays for two upgrades gets two, each for what was paid of the difference in price; downgrades bring none.
    first, *upgrades = provider.all("invoice")
    assert [each["billing_reason"] for each in upgrades] == ["subscription_update"] * 2
    assert 4_000 >= upgrades[0]["amount_paid"] > upgrades[1]["amount_paid"] > 0
    brought = [each["amount_paid"] * 2_000 // 4_000 for each in upgrades]
    assert await till.funds(shop, alice) == (500 + sum(brought), 0)
    assert [each.tokens for each in await goods.purchases(shop, alice)] == [500, *brought]
    assert await till.keys(shop, alice) == [f"plan-credit:{each['id']}" for each in (first, *upgrades)]
    provider.clock(days=31)
    provider.renew(subscription)
    before = await till.funds(shop, alice)
    await till.tell(shop.house, provider.events())
    assert (await till.funds(shop, alice))[0] == before[0] + 500


@on_every_engine
async def test_an_event_without_its_plan_waits_and_a_subscription_of_nobody_is_foreign(shop, provider):
    alice = await shop.tenant("alice")
    provider.pay(await begun(shop, alice, provider))
    (created,) = provider.events("customer.subscription.created")
    created["data"]["object"]["metadata"] = {}
    await events.handle(shop.house, await till.stored(shop.house, [created]))
    assert await till.event_states(shop.house) == {"FOREIGN": ["customer.subscription.created"]}


@on_every_engine
async def test_what_is_changed_by_hand_at_the_provider_brings_no_upgrade_a_second_time(shop, provider):
    alice = await shop.tenant("alice")
    subscription = provider.pay(await begun(shop, alice, provider))["subscription"]
    await till.tell(shop.house, provider.events())
    dear = await goods.tier(shop, "max", cents=6_000, tokens=2_500)
    await billing.change_plan(await shop.of(alice), dear, idempotency_key=None)
    await till.tell(shop.house, provider.events())
    upgraded = await till.funds(shop, alice)
    assert upgraded[0] > 500
    item = provider.get("subscription", subscription)["items"]["data"][0]["id"]
    twice: dict[str, Any] = {"items": [{"id": item, "quantity": 2}], "proration_behavior": "always_invoice"}
    async with calling(provider) as caller:
        await caller.post(f"/v1/subscriptions/{subscription}", **twice)
    *_, by_hand = provider.all("invoice")
    assert (by_hand["billing_reason"], by_hand["amount_paid"] > 0) == ("subscription_update", True)
    await till.tell(shop.house, provider.events())
    assert await till.funds(shop, alice) == upgraded
    assert [each.tokens for each in await goods.purchases(shop, alice)] == [500, upgraded[0] - 500, 0]
