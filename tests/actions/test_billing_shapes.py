"""Both shapes that the provider's objects have had are read: as they are told today, and as they were told before."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from actions import billing
from actions.billing import events, readings
from actions.billing.processing import Fetched
from db.tables.central.billing import RefundStatus
from tests.actions import shop as goods
from tests.actions import till
from tests.proofs import money_rules
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio

AT = datetime(2026, 3, 1, tzinfo=UTC)
OLDER = "2022-08-01"
# What older versions did not tell: refunds stood in their charge, payments in their invoice.
UNTOLD = ("refund.", "charge.refund.", "invoice_payment.")


def older(provider, told: Mapping[str, Any], *, paid_by=("payment_intent", "charge")) -> dict[str, Any]:
    """An object as the provider told it before its fields moved."""
    thing = copy.deepcopy(dict(told))
    if thing["object"] == "invoice":
        details = thing.pop("parent")["subscription_details"]
        thing["subscription"] = details["subscription"]
        thing["subscription_details"] = {"metadata": details["metadata"]}
        thing.pop("payments", None)
        thing |= {"payment_intent": None, "charge": None}
        if thing["status"] == "paid":
            (paid,) = provider.all("invoice_payment", invoice=thing["id"])
            intent = provider.get("payment_intent", paid["payment"]["payment_intent"])
            by = {"payment_intent": intent["id"], "charge": intent["latest_charge"]}
            thing |= {name: by[name] for name in paid_by}
    if thing["object"] == "subscription":
        (item,) = thing["items"]["data"]
        thing |= {name: item.pop(name) for name in ("current_period_start", "current_period_end")}
    if thing["object"] == "charge":
        mine = provider.all("refund", charge=thing["id"]) if thing["amount_refunded"] else []
        thing["refunds"] = {"object": "list", "data": mine, "has_more": False}
    return thing


def told_before(provider, **how) -> list[dict[str, Any]]:
    """All that the provider tells, as it told it before."""
    return [
        {**event, "api_version": OLDER, "data": {"object": older(provider, event["data"]["object"], **how)}}
        for event in provider.events()
        if not event["type"].startswith(UNTOLD) and event["type"].partition(".")[0] in RELEVANT
    ]


RELEVANT = ("checkout", "payment_intent", "charge", "invoice", "customer")


def facts(type_, thing):
    return readings.read(type_, AT, thing, event_id="evt_1")


@pytest.mark.fault(14, 36)
@on_every_engine
@pytest.mark.parametrize("paid_by", [("payment_intent",), ("charge",), ("payment_intent", "charge")])
async def test_a_plan_its_renewal_and_a_refund_of_it_are_read_in_the_shapes_of_an_older_version(
    shop, provider, monkeypatch, paid_by
):
    alice, tier = await shop.tenant("alice"), await goods.tier(shop)
    await billing.start_plan(await shop.of(alice), tier, idempotency_key=None, **goods.BACK)
    (session,) = await goods.sessions(shop, alice)
    subscription = provider.pay(session.provider_session_id)["subscription"]
    provider.clock(days=31)
    provider.renew(subscription)
    provider.refund(provider.all("payment_intent")[-1]["id"], 1_000)
    told = told_before(provider, paid_by=paid_by)
    random.Random(14).shuffle(told)
    fetch, asked = events._fetch, []

    async def fetched(house, wanted):
        # Events of one second are asked for; today's shape is not what is tried here.
        asked.append(wanted.kind)
        found = await fetch(house, wanted)
        return Fetched(older(provider, found.thing, paid_by=paid_by), found.at)

    monkeypatch.setattr(events, "_fetch", fetched)
    await till.tell(shop.house, told)
    assert set(asked) <= {"subscriptions"}
    assert await till.funds(shop, alice) == (750, 0)
    assert [each.status.name for each in await goods.purchases(shop, alice)] == ["PAID", "PARTIALLY_REFUNDED"]
    (plan,) = await goods.plans(shop, alice)
    (item,) = provider.get("subscription", subscription)["items"]["data"]
    period = [plan.current_period_start, plan.current_period_end]
    begins, ends = (None if each is None else each.timestamp() for each in period)
    assert (begins, ends) == (item["current_period_start"], item["current_period_end"])
    assert set(await till.event_states(shop.house)) <= {"PROCESSED", "IGNORED"}
    assert await money_rules.broken(shop, [alice]) == []


@pytest.mark.fault(14)
@on_every_engine
async def test_an_invoice_of_another_deployment_is_foreign_in_either_shape(shop, provider):
    alice, tier = await shop.tenant("alice"), await goods.tier(shop)
    await billing.start_plan(await shop.of(alice), tier, idempotency_key=None, **goods.BACK)
    (session,) = await goods.sessions(shop, alice)
    provider.pay(session.provider_session_id)
    (now,) = provider.events("invoice.paid")
    now["data"]["object"]["parent"]["subscription_details"]["metadata"]["deployment"] = "ab" * 16
    then = {**now, "id": "evt_older", "data": {"object": older(provider, now["data"]["object"])}}
    await till.tell(shop.house, [now, then])
    assert await till.event_states(shop.house) == {"FOREIGN": ["invoice.paid"] * 2}
    assert await till.funds(shop, alice) == (0, 0)


@pytest.mark.fault(30)
@on_every_engine
async def test_a_refund_that_asks_something_of_the_buyer_first_is_on_its_way(shop, provider):
    alice = await shop.tenant("alice")
    _, session = await till.bought(shop, alice)
    provider.pay(session)
    await till.tell(shop.house, provider.events())
    last = provider.events()[-1]
    refund = provider.refund(provider.intent_of(session)["id"], 400, pending=True)
    (created,) = [each for each in provider.events(since=last) if each["type"] == "refund.created"]
    created["data"]["object"]["status"] = "requires_action"
    await till.tell(shop.house, [created])
    assert await till.funds(shop, alice) == (60, 0)
    assert (await goods.purchases(shop, alice))[0].status.name == "PARTIALLY_REFUNDED"
    provider.cancel_refund(refund["id"])
    await till.tell(shop.house, provider.events(since=created))
    assert await till.funds(shop, alice) == (100, 0)
    assert await money_rules.broken(shop, [alice]) == []


@pytest.mark.fault(32)
@on_every_engine
async def test_a_dispute_that_is_booked_in_the_accounts_own_currency_withdraws_what_it_is_about(shop, provider):
    alice = await shop.tenant("alice")
    _, session = await till.bought(shop, alice)
    provider.pay(session)
    dispute = provider.dispute(provider.intent_of(session)["id"], amount=500)
    await till.tell(shop.house, [_in_pounds(each) for each in provider.events()])
    # Of ten euros five are disputed, whatever they are in pounds.
    assert await till.funds(shop, alice) == (50, 0)
    last = provider.events()[-1]
    provider.close_dispute(dispute["id"], won=True)
    await till.tell(shop.house, [_in_pounds(each) for each in provider.events(since=last)])
    assert await till.funds(shop, alice) == (100, 0)
    assert await money_rules.broken(shop, [alice]) == []


def _in_pounds(event: dict[str, Any]) -> dict[str, Any]:
    for moved in event["data"]["object"].get("balance_transactions") or ():
        moved |= {"currency": "gbp", "amount": int(moved["amount"] * 0.86)}
    return event


# ------------------------------------------------------------------------------------------- one field at a time


INVOICE: dict[str, Any] = {
    "id": "in_1",
    "status": "paid",
    "amount_paid": 900,
    "currency": "eur",
    "billing_reason": "subscription_cycle",
}
OURS = {"deployment": "ab" * 16, "tenant": "alice1", "purchase": "1a", "plan": "2b", "tier": "3c"}
NEW_INVOICES: dict[str, dict[str, Any]] = {
    "named": {"parent": {"subscription_details": {"subscription": "sub_1", "metadata": OURS}}},
    "itself": {"parent": {"subscription_details": {"subscription": {"id": "sub_1"}, "metadata": OURS}}},
}
OLD_INVOICES: dict[str, dict[str, Any]] = {
    "named": {"subscription": "sub_1", "subscription_details": {"metadata": OURS}},
    "itself": {"subscription": {"id": "sub_1"}, "subscription_details": {"metadata": OURS}},
    "no parent": {"parent": None, "subscription": "sub_1", "subscription_details": {"metadata": OURS}},
}


@pytest.mark.parametrize("more", [*NEW_INVOICES.values(), *OLD_INVOICES.values()])
def test_an_invoices_subscription_and_mark_are_read_wherever_they_stand(more):
    found = facts("invoice.paid", INVOICE | more)
    assert found is not None
    assert found.invoice is not None
    assert found.mark is not None
    assert (found.invoice.subscription, found.invoice.tier) == ("sub_1", 0x3C)
    assert (found.mark.tenant, found.mark.purchase_id, found.mark.plan_id) == ("alice1", 0x1A, 0x2B)
    assert readings.metadata_of(INVOICE | more) == OURS


def test_an_invoice_before_metadata_was_told_has_its_subscription_and_no_mark():
    found = facts("invoice.paid", INVOICE | {"subscription": "sub_1"})
    assert found is not None
    assert found.invoice is not None
    assert (found.invoice.subscription, found.mark) == ("sub_1", None)
    assert facts("invoice.paid", INVOICE) is None


def _paid_by(**names) -> dict[str, Any]:
    return {"payments": {"data": [{"payment": names}]}}


@pytest.mark.parametrize(
    ("more", "refs"),
    [
        ({"payment_intent": "pi_1", "charge": "ch_1"}, ("pi_1", "ch_1", "in_1")),
        ({"payment_intent": {"id": "pi_1"}, "charge": None}, ("pi_1", "in_1")),
        ({"charge": {"id": "ch_1"}}, ("ch_1", "in_1")),
        (_paid_by(payment_intent="pi_1", charge=None), ("pi_1", "in_1")),
        (_paid_by(payment_intent=None, charge={"id": "ch_1"}), ("ch_1", "in_1")),
        ({"payment_intent": "pi_1", **_paid_by(payment_intent="pi_1", charge="ch_1")}, ("pi_1", "ch_1", "in_1")),
        ({}, ("in_1",)),
    ],
)
def test_what_paid_an_invoice_is_read_in_either_shape(more, refs):
    found = facts("invoice.paid", INVOICE | NEW_INVOICES["named"] | more)
    assert found is not None
    assert found.money is not None
    assert found.refs == found.money.refs == refs


CHARGE: dict[str, Any] = {
    "id": "ch_1",
    "status": "succeeded",
    "captured": True,
    "amount": 900,
    "amount_captured": 900,
    "amount_refunded": 300,
    "currency": "eur",
    "payment_intent": "pi_1",
}


def test_refunds_are_read_in_their_charge_where_they_stand_in_it():
    refunds = [
        {"id": "re_1", "amount": 100, "currency": "eur", "status": "succeeded"},
        {"id": "re_2", "amount": 200, "currency": "eur", "status": "requires_action"},
        {"id": "re_3", "amount": 50, "currency": "eur", "status": None},  # before refunds had a status
    ]
    found = facts("charge.refunded", CHARGE | {"refunds": {"data": refunds}})
    assert found is not None
    assert [(each.name, each.cents, each.status) for each in found.refunds] == [
        ("re_1", 100, RefundStatus.SUCCEEDED),
        ("re_2", 200, RefundStatus.PENDING),
        ("re_3", 50, RefundStatus.SUCCEEDED),
    ]
    nones: tuple[dict[str, Any], ...] = ({}, {"refunds": None})
    for none in nones:
        alone = facts("charge.refunded", CHARGE | none)
        assert alone is not None
        assert (alone.refunds, alone.refunded_cents) == ((), 300)
    for strange in ({"data": None}, {"data": [{"id": "re_1", "amount": 100, "currency": "eur", "status": "gone"}]}):
        with pytest.raises(readings.Unreadable):
            facts("charge.refunded", CHARGE | {"refunds": strange})


def test_a_charge_before_captures_were_counted_is_paid_by_its_amount():
    before = {name: value for name, value in CHARGE.items() if name not in ("captured", "amount_captured")}
    for thing in (CHARGE, before):
        found = facts("charge.succeeded", thing)
        assert found is not None
        assert found.money is not None
        assert (found.money.is_paid, found.money.cents) == (True, 900)


def _dispute(*movements):
    listed = [
        {"id": f"txn_{number}", "amount": amount, "currency": currency}
        for number, (amount, currency) in enumerate(movements)
    ]
    about = {"id": "dp_1", "amount": 500, "currency": "eur", "status": "needs_response", "charge": "ch_1"}
    return about | {"balance_transactions": listed}


@pytest.mark.parametrize(
    ("movements", "read"),
    [
        ([(-500, "eur")], [-500]),
        ([(-200, "eur"), (200, "eur")], [-200, 200]),
        ([(-585, "usd")], [-500]),
        ([(-585, "usd"), (577, "usd")], [-500, 500]),
        ([], []),
    ],
)
def test_what_a_dispute_moved_is_read_in_the_currency_that_it_is_about(movements, read):
    found = facts("charge.dispute.funds_withdrawn", _dispute(*movements))
    assert found is not None
    assert found.dispute is not None
    assert [*found.dispute.movements.values()] == read
