"""What operators do about money: once, written down with who and why; and what a tenant that leaves takes along."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa

from actions import billing
from actions.billing import counting, desk, orders, reconcile, sessions, settlement
from actions.billing.desk import Person
from actions.billing.refunds import Placed
from base import errors, observe
from base.ids import Id
from db.guard import GuardError
from db.tables.central.billing import (
    ParkReason,
    PaymentEvent,
    PaymentEventState,
    PaymentStatus,
    Purchase,
    PurchaseStatus,
    Resolution,
    SettlementState,
    SubscriptionStatus,
)
from db.tables.central.provider import OperatorAct, OrderState
from outside.stripe_api import Payments
from tests.actions import shop as goods
from tests.actions import studio
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio

BY = Person("sam@desk", "the buyer asked for it")


async def bought(shop, provider, person, package):
    """Somebody has bought a package and paid for it: the provider's intent."""
    begun = await goods.buy(shop, person, package)
    session = provider.pay(goods.session_at(provider, begun.url))
    await goods.deliver(shop, provider)
    return session["payment_intent"]


async def spendable(shop, person):
    return (await studio.tokens(await shop.system(person.tenant_id)))[0]


async def _acts(db, /):
    return [
        (each.act, each.subject, each.who, each.why)
        for each in await db.all(sa.select(OperatorAct).order_by(OperatorAct.id))
    ]


async def acts(shop):
    return await shop.house.system().on_system(_acts)


def system(shop):
    return shop.house.system()


# ------------------------------------------------------------------------------------------- refunds


@on_every_engine
async def test_of_refunds_asked_for_at_once_one_goes_out(shop, provider):
    alice, small = await shop.tenant("alice"), await goods.package(shop, cents=1_000, tokens=100)
    before = await spendable(shop, alice)
    intent = await bought(shop, provider, alice, small)
    assert await spendable(shop, alice) == before + 100
    asked = [desk.refund(system(shop), intent, cents=None, by=BY) for _ in range(4)]
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(each, Placed) for each in done) == 1
    assert sum(isinstance(each, errors.Conflict) for each in done) == 3
    assert [each["amount"] for each in provider.all("refund")] == [1_000]
    (purchase,) = await goods.purchases(shop, alice)
    assert purchase.status is PurchaseStatus.REFUNDED
    assert await spendable(shop, alice) == before
    assert await acts(shop) == [("refund", intent, BY.who, BY.why)]
    # The events of it, when they come, change nothing more.
    await goods.deliver(shop, provider)
    assert await spendable(shop, alice) == before


@on_every_engine
async def test_a_payment_is_given_back_in_parts_and_never_more_than_it(shop, provider):
    alice, small = await shop.tenant("alice"), await goods.package(shop, cents=1_000, tokens=100)
    before = await spendable(shop, alice)
    intent = await bought(shop, provider, alice, small)
    (paid,) = await goods.payments(shop, alice)
    await desk.refund(system(shop), f"{paid.id:x}", cents=333, by=BY)
    await desk.refund(system(shop), f"Payment_{paid.id:x}", cents=333, by=BY)
    assert await spendable(shop, alice) == before + 100 - 66
    with pytest.raises(errors.Invalid):
        await desk.refund(system(shop), intent, cents=335, by=BY)
    await desk.refund(system(shop), intent, cents=None, by=BY)
    with pytest.raises(errors.Conflict):
        await desk.refund(system(shop), intent, cents=None, by=BY)
    (paid,) = await goods.payments(shop, alice)
    assert (paid.status, paid.refunded_cents) == (PaymentStatus.REFUNDED, 1_000)
    assert await spendable(shop, alice) == before
    for name in ("pi_nothing", "7", "ffffffffffffffffff", "Purchase_1", "ünknown"):
        with pytest.raises(errors.NotFound):
            await desk.refund(system(shop), name, cents=None, by=BY)


@pytest.mark.parametrize("fault", [500, "500_after"])
@on_every_engine
async def test_a_refund_that_the_provider_failed_over_is_made_once(shop, provider, fault):
    alice, small = await shop.tenant("alice"), await goods.package(shop)
    intent = await bought(shop, provider, alice, small)
    provider.next_fault[:] = [fault]
    with pytest.raises(errors.ProviderUnavailable):
        await desk.refund(system(shop), intent, cents=None, by=BY)
    assert await orders.send_open(shop.house) == 1
    assert len(provider.all("refund")) == 1
    (order,), (purchase,) = await goods.orders(shop, alice), await goods.purchases(shop, alice)
    assert (order.state, order.attempt, purchase.status) == (OrderState.DONE, 2, PurchaseStatus.REFUNDED)


@on_every_engine
async def test_a_renewal_is_given_back_by_its_invoice(shop, provider):
    alice, pro = await shop.tenant("alice"), await goods.tier(shop, tokens=500)
    begun = await billing.start_plan(await shop.of(alice), pro, idempotency_key=None, **goods.BACK)
    session = provider.pay(goods.session_at(provider, begun.url))
    await goods.deliver(shop, provider)
    invoice = provider.renew(session["subscription"])
    await goods.deliver(shop, provider)
    before = await spendable(shop, alice)
    await desk.refund(system(shop), invoice["id"], cents=None, by=BY)
    assert await spendable(shop, alice) == before - 500
    statuses = [each.status for each in await goods.purchases(shop, alice)]
    assert statuses == [PurchaseStatus.PAID, PurchaseStatus.REFUNDED]


# ------------------------------------------------------------------------------------------- decisions


async def _other_price(db, tenant, /):
    db.act_for(tenant=tenant)
    await db.change(sa.update(Purchase).where(Purchase.tenant_id == tenant).values(amount_cents=999))


async def parked(shop, provider, person, package):
    """A payment came whose amount is not the purchase's: its settlement."""
    begun = await goods.buy(shop, person, package)
    await system(shop).on_system(_other_price, person.tenant_id)
    provider.pay(goods.session_at(provider, begun.url))
    await goods.deliver(shop, provider)
    (row,) = await goods.settlements(shop, person)
    assert (row.state, row.reason) == (SettlementState.PARKED, ParkReason.AMOUNT)
    return row.id


@pytest.mark.parametrize("how", list(Resolution), ids=lambda how: how.name)
@on_every_engine
async def test_a_parked_settlement_is_decided_once_by_a_person(shop, provider, how):
    alice, small = await shop.tenant("alice"), await goods.package(shop, tokens=100)
    before = await spendable(shop, alice)
    number = await parked(shop, provider, alice, small)
    assert await spendable(shop, alice) == before
    await desk.resolve(system(shop), number, how, by=BY)
    assert await spendable(shop, alice) == before + (100 if how is Resolution.CREDIT else 0)
    assert len(provider.all("refund")) == int(how is Resolution.REFUND)
    row = next(each for each in await goods.settlements(shop, alice) if each.id == number)
    assert (row.resolution, row.resolved_by, row.resolved_why) == (how, BY.who, BY.why)
    for other in Resolution:
        with pytest.raises(errors.Conflict):
            await desk.resolve(system(shop), number, other, by=BY)
    with pytest.raises(errors.NotFound):
        await desk.resolve(system(shop), Id(7), how, by=BY)
    assert [each[0] for each in await acts(shop)] == [f"resolve:{how.name.lower()}"]
    await goods.deliver(shop, provider)
    assert await spendable(shop, alice) == before + (100 if how is Resolution.CREDIT else 0)


# ------------------------------------------------------------------------------------------- replay and repair


async def _states(db, /):
    return [each.state for each in await db.all(sa.select(PaymentEvent))]


@on_every_engine
async def test_what_was_never_delivered_is_taken_from_the_provider_once(shop, provider):
    alice, small = await shop.tenant("alice"), await goods.package(shop, tokens=100)
    before = await spendable(shop, alice)
    begun = await goods.buy(shop, alice, small)
    provider.pay(goods.session_at(provider, begun.url))
    since = shop.house.sessions.clock.now() - timedelta(days=1)
    done = await desk.repair(system(shop), since, by=BY)
    assert done.listed == done.new == len(provider.events())
    assert await spendable(shop, alice) == before + 100
    again = await desk.repair(system(shop), since, by=BY)
    assert (again.new, again.purchases) == (0, 0)
    assert await spendable(shop, alice) == before + 100
    assert [each[0] for each in await acts(shop)] == ["reconcile", "reconcile"]
    await reconcile.reconcile_lately(shop.house)


@on_every_engine
async def test_a_repair_finds_what_waits_also_without_events(shop, provider):
    alice, small = await shop.tenant("alice"), await goods.package(shop)
    pages = []
    for _ in range(3):
        begun = await goods.buy(shop, alice, small)
        pages.append(goods.session_at(provider, begun.url))
    provider.pay(pages[0])
    provider.expire(pages[1])
    tomorrow = shop.house.sessions.clock.now() + timedelta(days=1)
    done = await desk.repair(system(shop), tomorrow, by=BY)
    assert (done.listed, done.purchases, done.undecided) == (0, 3, 1)
    statuses = [each.status for each in await goods.purchases(shop, alice)]
    assert statuses == [PurchaseStatus.PAID, PurchaseStatus.CANCELED, PurchaseStatus.PENDING]


@on_every_engine
async def test_events_are_processed_anew_without_a_second_effect(shop, provider):
    alice, small = await shop.tenant("alice"), await goods.package(shop, tokens=100)
    await bought(shop, provider, alice, small)
    after = await spendable(shop, alice)
    since = shop.house.sessions.clock.now() - timedelta(days=1)
    count = len(provider.events())
    assert await desk.replay(system(shop), event=None, since=since, failed=False, by=BY) == count
    paid = provider.events("payment_intent.succeeded")[0]["id"]
    assert await desk.replay(system(shop), event=paid, since=None, failed=False, by=BY) == 1
    assert await desk.replay(system(shop), event=None, since=None, failed=True, by=BY) == 0
    with pytest.raises(errors.NotFound):
        await desk.replay(system(shop), event="evt_nothing", since=None, failed=False, by=BY)
    assert await spendable(shop, alice) == after
    assert set(await system(shop).on_system(_states)) <= {PaymentEventState.PROCESSED, PaymentEventState.IGNORED}
    assert len(await acts(shop)) == 3


@on_every_engine
async def test_how_money_stands_is_told_in_numbers_over_all_tenants(shop, provider, monkeypatch):
    monkeypatch.setattr(counting, "TENANTS_A_PAGE", 2)
    alice, small = await shop.tenant("alice"), await goods.package(shop)
    nothing = await desk.status(shop.house)
    assert (nothing.counts, nothing.last_event_at) == ({}, None)
    number = await parked(shop, provider, alice, small)
    for name in ("bob", "carol", "dan", "eve"):
        await goods.buy(shop, await shop.tenant(name), small)
    now = await desk.status(shop.house)
    assert (now.counts["settlements", "PARKED"], now.counts["checkout_sessions", "OPEN"]) == (1, 4)
    assert sum(count for (table, _), count in now.counts.items() if table == "purchases") == 5
    assert now.counts["purchases", "PENDING"] == 5  # one of them waits for a person
    assert now.counts["payments", "SUCCEEDED"] == 1
    assert [each.id for each in now.unsettled] == [number]
    assert now.last_received_at is not None
    # The same as metrics and by doctor, and by no statement that names nobody.
    await counting.count_by_state(shop.house)
    told = observe.metrics().decode()
    assert 'atrium_money{state="PENDING",table="purchases"} 5.0' in told
    assert 'atrium_money{state="REFUNDED",table="payments"} 0.0' in told
    found = {finding.what: finding.wrong for finding in await counting.money_is_counted(shop.house)}
    assert found == {"purchases: 5 PENDING": False, "payments: 1 SUCCEEDED": False}
    with pytest.raises(GuardError):
        await system(shop).on_system(_count_of_nobody)


async def _count_of_nobody(db, /):
    return await db.tuples(sa.select(Purchase.status, sa.func.count()).group_by(Purchase.status))


# ------------------------------------------------------------------------------------------- a tenant leaves


@on_every_engine
async def test_a_tenant_that_leaves_pays_no_more_and_what_still_comes_is_parked(shop, provider):
    alice, pro, small = await shop.tenant("alice"), await goods.tier(shop), await goods.package(shop)
    begun = await billing.start_plan(await shop.of(alice), pro, idempotency_key=None, **goods.BACK)
    subscription = provider.pay(goods.session_at(provider, begun.url))["subscription"]
    await goods.deliver(shop, provider)
    open_one = await goods.buy(shop, alice, small)
    debit = await goods.buy(shop, alice, small)
    late = goods.session_at(provider, debit.url)
    provider.pay(late, delayed=True)
    open_session = goods.session_at(provider, open_one.url)
    await billing.close(system(shop), alice.tenant_id, asked_by=BY.who, why="erased")
    assert provider.get("subscription", subscription)["status"] == "canceled"
    assert provider.get("checkout.session", open_session)["status"] == "expired"
    assert (await goods.plans(shop, alice))[0].status is SubscriptionStatus.CANCELED
    before = await spendable(shop, alice)
    provider.settle(late)
    await goods.deliver(shop, provider)
    await settlement.settle_everything(shop.house)
    assert await spendable(shop, alice) == before
    states = {(each.state, each.reason) for each in await goods.settlements(shop, alice)}
    assert states == {
        (SettlementState.SETTLED, ParkReason.NONE),
        (SettlementState.PARKED, ParkReason.ERASED),
    }
    with pytest.raises(errors.TenantNotFound):
        await goods.buy(shop, alice, small)
    await billing.close(system(shop), alice.tenant_id, asked_by=BY.who, why="erased")


@on_every_engine
async def test_a_tenant_leaves_only_when_the_provider_has_answered(shop, provider):
    alice, pro = await shop.tenant("alice"), await goods.tier(shop)
    begun = await billing.start_plan(await shop.of(alice), pro, idempotency_key=None, **goods.BACK)
    provider.pay(goods.session_at(provider, begun.url))
    await goods.deliver(shop, provider)
    provider.next_fault[:] = [429] * 9
    with pytest.raises(errors.ProviderUnavailable):
        await billing.close(system(shop), alice.tenant_id, asked_by=BY.who, why="erased")
    provider.next_fault.clear()
    assert await orders.send_open(shop.house) == 1
    await billing.close(system(shop), alice.tenant_id, asked_by=BY.who, why="erased")
    assert (await goods.plans(shop, alice))[0].status is SubscriptionStatus.CANCELED


@on_every_engine
async def test_a_page_whose_answer_was_lost_is_closed_with_its_tenant(shop, provider, monkeypatch):
    alice, small = await shop.tenant("alice"), await goods.package(shop)
    monkeypatch.setattr(sessions, "ANSWER_SECONDS_MAX", 0.5)
    provider.next_fault[:] = ["timeout_after"]
    with pytest.raises(errors.ProviderUnavailable):
        await goods.buy(shop, alice, small, key="k")
    monkeypatch.undo()
    assert await goods.sessions(shop, alice) == []
    await billing.close(system(shop), alice.tenant_id, asked_by=BY.who, why="erased")
    assert [each["status"] for each in provider.all("checkout.session")] == ["expired"]
    assert (await goods.purchases(shop, alice))[0].status is PurchaseStatus.CANCELED


@on_every_engine
async def test_without_a_provider_nobody_is_asked(world):
    assert not world.house.service(Payments).is_set_up
    alice = await world.tenant("alice")
    await billing.close(system(world), alice.tenant_id, asked_by=BY.who, why="erased")
    await reconcile.reconcile_lately(world.house)
