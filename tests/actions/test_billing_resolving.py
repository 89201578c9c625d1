"""A person's decision about parked money is over when it is carried out, and open again where the provider says no."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from actions import billing
from actions.billing import checks, desk, orders, set_up
from actions.billing.desk import Person
from base import errors
from db.tables.central.billing import ParkReason, Purchase, PurchaseStatus, Resolution, SettlementState
from db.tables.central.provider import BillingClosure, OrderState
from tests.actions import shop as goods
from tests.actions import till
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio

BY = Person("sam@desk", "the amount was wrong")


@pytest.fixture
async def parked(shop, provider):
    """A payment whose amount is not the purchase's: its buyer, the provider's intent, and our settlement's id."""
    alice = await shop.tenant("alice")
    _, session = await till.bought(shop, alice)
    await shop.house.system().on_system(_other_price, alice.tenant_id)
    intent = provider.pay(session)["payment_intent"]
    await till.tell(shop.house, provider.events())
    (row,) = await till.settlements(shop.house)
    assert (row.state, row.reason) == (SettlementState.PARKED, ParkReason.AMOUNT)
    return alice, intent, row.id


async def _other_price(db, tenant, /):
    db.act_for(tenant=tenant)
    await db.change(sa.update(Purchase).where(Purchase.tenant_id == tenant).values(amount_cents=999))


async def decide(shop, settlement_id, how):
    return await desk.resolve(shop.house.system(), settlement_id, how, by=BY)


async def stands(shop):
    """(state, resolution) of the one settlement."""
    (row,) = await till.settlements(shop.house)
    return row.state, row.resolution


@on_every_engine
async def test_a_refund_that_the_provider_refuses_leaves_the_decision_open(shop, provider, parked):
    alice, intent, number = parked
    provider.dispute(intent)  # what the buyer's bank has taken back cannot be given back
    with pytest.raises(errors.Conflict, match="refused the refund"):
        await decide(shop, number, Resolution.REFUND)
    assert await stands(shop) == (SettlementState.PARKED, Resolution.REFUND)
    (waiting,) = await checks.money_is_settled(shop.house)
    assert (waiting.wrong, f"resolve {number:x} " in waiting.do) == (True, True)
    assert "has not gone out" in waiting.what
    (refused,) = await set_up.orders_are_answered(shop.house)
    (order,) = await goods.orders(shop, alice)
    assert (order.state, refused.what) == (
        OrderState.REFUSED,
        f"a refund of {intent} ({alice.tenant_id}) was refused: {order.error}",
    )
    # The bank's events say that the money is gone after all: nothing is left to be decided, until it comes back.
    await till.tell(shop.house, provider.events())
    assert await stands(shop) == (SettlementState.CLOSED, Resolution.REFUND)
    assert await till.funds(shop, alice) == (0, 0)


@on_every_engine
async def test_a_refund_that_fails_at_the_bank_is_to_be_decided_again(shop, provider, parked):
    alice, intent, number = parked
    await decide(shop, number, Resolution.REFUND)
    assert await stands(shop) == (SettlementState.CLOSED, Resolution.REFUND)
    assert await checks.money_is_settled(shop.house) == []
    (refund,) = provider.all("refund")
    provider.fail_refund(refund["id"])
    await till.tell(shop.house, provider.events())
    assert await stands(shop) == (SettlementState.PARKED, Resolution.REFUND)
    assert len(await checks.money_is_settled(shop.house)) == 1
    # Now the buyer gets the tokens, which the failed refund takes none of.
    await decide(shop, number, Resolution.CREDIT)
    assert await stands(shop) == (SettlementState.SETTLED, Resolution.CREDIT)
    assert await till.funds(shop, alice) == (100, 0)
    assert (await goods.purchases(shop, alice))[0].status is PurchaseStatus.PAID
    del intent


@on_every_engine
async def test_while_its_refund_has_no_answer_nothing_else_is_decided(shop, provider, parked, monkeypatch):
    alice, _, number = parked
    monkeypatch.setattr(orders, "ANSWER_SECONDS_MAX", 0.5)
    provider.next_fault[:] = ["timeout_before"]
    with pytest.raises(errors.ProviderUnavailable):
        await decide(shop, number, Resolution.REFUND)
    monkeypatch.undo()
    for how in Resolution:
        with pytest.raises(errors.Conflict, match="on its way"):
            await decide(shop, number, how)
    assert await stands(shop) == (SettlementState.PARKED, Resolution.REFUND)
    assert await orders.send_open(shop.house) == 1
    assert await stands(shop) == (SettlementState.CLOSED, Resolution.REFUND)
    assert len(provider.all("refund")) == 1
    assert await till.funds(shop, alice) == (0, 0)


@on_every_engine
async def test_what_went_back_by_hand_is_not_given_back_again_and_whoever_tries_is_told_to_close_it(
    shop, provider, parked
):
    alice, intent, number = parked
    provider.refund(intent)
    await till.tell(shop.house, provider.events())
    assert (await stands(shop))[0] is SettlementState.PARKED
    with pytest.raises(errors.Conflict, match="--close"):
        await decide(shop, number, Resolution.REFUND)
    assert await stands(shop) == (SettlementState.PARKED, None)
    assert await goods.orders(shop, alice) == []
    await decide(shop, number, Resolution.CLOSE)
    assert await stands(shop) == (SettlementState.CLOSED, Resolution.CLOSE)
    assert await checks.money_is_settled(shop.house) == []
    assert await till.funds(shop, alice) == (0, 0)


@on_every_engine
async def test_a_refund_that_is_refused_late_is_told_until_it_is_asked_again(shop, provider, monkeypatch):
    alice = await shop.tenant("alice")
    _, session = await till.bought(shop, alice)
    intent = provider.pay(session)["payment_intent"]
    await till.tell(shop.house, provider.events())
    monkeypatch.setattr(orders, "ANSWER_SECONDS_MAX", 0.5)
    provider.next_fault[:] = ["timeout_before"]
    with pytest.raises(errors.ProviderUnavailable):
        await desk.refund(shop.house.system(), intent, cents=None, by=BY)
    monkeypatch.undo()
    dispute = provider.dispute(intent)
    assert await orders.send_open(shop.house) == 0
    (told,) = await set_up.orders_are_answered(shop.house)
    assert (f"a refund of {intent}" in told.what, told.wrong) == (True, False)
    provider.close_dispute(dispute["id"], won=True)
    await desk.refund(shop.house.system(), intent, cents=None, by=BY)
    assert await set_up.orders_are_answered(shop.house) == []


async def _closed(db, tenant, /):
    db.add(BillingClosure(tenant_id=tenant))


@on_every_engine
async def test_money_for_a_tenant_that_is_gone_waits_for_a_person_also_where_it_brings_no_tokens(shop, provider):
    alice, tier = await shop.tenant("alice"), await goods.tier(shop, cents=1_000, tokens=0)
    begun = await billing.start_plan(await shop.of(alice), tier, idempotency_key=None, **goods.BACK)
    plan = provider.pay(goods.session_at(provider, begun.url))["subscription"]
    await till.tell(shop.house, provider.events())
    assert await till.settlements(shop.house) == []
    await shop.house.system().on_system(_closed, alice.tenant_id)
    provider.clock(days=31)
    provider.renew(plan)
    await till.tell(shop.house, provider.events())
    (row,) = await till.settlements(shop.house)
    assert (row.state, row.reason, row.tokens) == (SettlementState.PARKED, ParkReason.ERASED, 0)
    (told,) = await checks.money_is_settled(shop.house)
    assert f"{row.purchase_id:x}" in told.what
    await decide(shop, row.id, Resolution.REFUND)
    assert await stands(shop) == (SettlementState.CLOSED, Resolution.REFUND)
    assert [each["amount"] for each in provider.all("refund")] == [1_000]
