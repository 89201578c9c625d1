"""What the worker does about money by itself: what was put off is done when it is due, and nobody calls for it."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

import pytest
import sqlalchemy as sa

import actions
import worker
from actions.billing import desk, events, orders, processing, sessions, settlement
from actions.billing.desk import Person
from base import errors
from base.ids import Id
from db.columns import utc_now
from db.tables.central.billing import PaymentEvent, PaymentEventState, PurchaseStatus, SessionStatus, Settlement
from db.tables.central.provider import OrderState
from db.tables.central.work import Job, JobState, Timer
from tenancy import handlers
from tests.actions import shop as goods
from tests.actions import till
from tests.proofs import money_rules
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio

# What ends a wait that will never end: all that is waited for comes within five seconds.
SOON_SECONDS = 60
BY = Person("sam@desk", "the buyer asked for it")


@pytest.fixture
async def working(shop, monkeypatch):
    """The worker over a shop, but for its hourly look through the provider's lists, which finds all of this as well."""
    handlers.load(actions)
    monkeypatch.delitem(handlers.LOOPS, "payments_reconcile")

    @contextlib.asynccontextmanager
    async def run():
        stop = asyncio.Event()
        running = asyncio.create_task(worker.run(shop.house, stop))
        try:
            yield
        finally:
            stop.set()
            await running

    return run


async def until(holds):
    """Wait until this is so."""
    async with asyncio.timeout(SOON_SECONDS):
        while not await holds():
            await asyncio.sleep(0.1)


async def change(shop, table, condition, **values):
    """Write straight into central, past all rules."""
    return await shop.house.system().on_system(_change, table, condition, values)


async def _change(db, table, condition, values, /):
    return await db.change(sa.update(table).where(condition).values(**values))


async def all_of(shop, table):
    """Every row of a table of central, oldest first."""
    return await shop.house.system().on_system(_all_of, table)


async def _all_of(db, table, /):
    return list(await db.all(sa.select(table).order_by(table.id)))


async def paid(shop, provider, person, **what):
    """A purchase that was paid, and all that the provider tells of it."""
    known = provider.events()
    purchase_id, session = await till.bought(shop, person, **what)
    provider.pay(session)
    return purchase_id, session, [each for each in provider.events() if each not in known]


# ------------------------------------------------------------------------------------------- settlements


@pytest.mark.fault(5)
@on_every_engine
async def test_what_a_pool_that_was_down_is_owed_is_settled_by_the_workers_next_due_round(
    shop, provider, working, monkeypatch
):
    alice = await shop.tenant("alice")
    _, _, told = await paid(shop, provider, alice)
    is_down, apply = True, settlement._apply

    async def posted(db, due, /):
        if is_down:
            raise errors.PoolUnavailable("The tenant's database does not answer.")
        await apply(db, due)

    monkeypatch.setattr(settlement, "_apply", posted)
    monkeypatch.setattr(settlement, "BACKOFF_SECONDS", 0.5)
    await events.handle(shop.house, await till.stored(shop.house, told))
    (row,) = await till.settlements(shop.house)
    assert (row.state.name, row.tries, bool(row.error)) == ("DUE", 1, True)
    # Before it is due nobody tries.
    assert await change(shop, Settlement, Settlement.id == row.id, next_try_at=utc_now() + timedelta(hours=1))
    assert await settlement.settle_due(shop.house) == 0
    assert [each.tries for each in await till.settlements(shop.house)] == [1]
    assert await change(shop, Settlement, Settlement.id == row.id, next_try_at=row.next_try_at)

    async def tried_again():
        return (await till.settlements(shop.house))[0].tries > 1

    async def settled():
        return (await till.settlements(shop.house))[0].state.name == "SETTLED"

    async with working():
        await until(tried_again)
        is_down = False
        await until(settled)
    assert await till.funds(shop, alice) == (100, 0)
    assert await money_rules.broken(shop, [alice]) == []


async def _put_off(db, settlement_id, /):
    await settlement._postpone(db, [settlement_id], "down")
    (row,) = await db.all(sa.select(Settlement).where(Settlement.id == settlement_id))
    return round((row.next_try_at - db.now).total_seconds())


async def test_a_settlement_that_fails_waits_twice_as_long_each_time_and_five_minutes_at_most(shop, provider):
    alice = await shop.tenant("alice")
    _, _, told = await paid(shop, provider, alice)
    await shop.house.system().on_system(processing.process, await till.stored(shop.house, told), {})
    (row,) = await till.settlements(shop.house)
    waits = [await shop.house.system().on_system(_put_off, row.id) for _ in range(12)]
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]


# ------------------------------------------------------------------------------------------- events


@pytest.mark.parametrize(("state", "most"), [("FAILED", 3_600), ("WAITING", 86_400)])
def test_an_event_that_is_put_off_waits_twice_as_long_each_time_up_to_a_bound(state, most):
    row, now, waits = PaymentEvent(tries=0), utc_now(), []
    for _ in range(20):
        processing._put_off(row, now, PaymentEventState[state])
        waits.append((row.next_try_at - now).total_seconds())
    assert waits == [min(most, 2 ** (1 + tries)) for tries in range(20)]
    assert (row.state.name, row.tries) == (state, 20)


@pytest.mark.fault(39)
@on_every_engine
async def test_an_event_that_was_put_off_is_processed_by_the_worker_when_it_is_due(shop, provider, working):
    alice = await shop.tenant("alice")
    _, _, told = await paid(shop, provider, alice)
    (event,) = [each for each in told if each["type"] == "checkout.session.completed"]
    del event["data"]["object"]["payment_status"]  # its object has to be asked for
    provider.next_fault[:] = [429] * 9
    await events.handle(shop.house, await till.stored(shop.house, [event]))
    provider.next_fault.clear()
    assert list(await till.event_states(shop.house)) == ["FAILED"]

    async def credited():
        return await till.funds(shop, alice) == (100, 0)

    async with working():
        await until(credited)
    assert list(await till.event_states(shop.house)) == ["PROCESSED"]


@pytest.mark.fault(25)
@on_every_engine
@pytest.mark.parametrize("by", ["whoever stored it", "the worker"])
async def test_an_event_that_waits_for_our_own_commit_is_woken_by_it(shop, provider, working, by):
    alice = await shop.tenant("alice")
    _, session, told = await paid(shop, provider, alice)
    last = provider.events()[-1]
    provider.refund(provider.intent_of(session)["id"], 300)
    early = [each for each in provider.events(since=last) if each["type"] == "refund.created"]
    await events.handle(shop.house, await till.stored(shop.house, early))
    assert await till.event_states(shop.house) == {"WAITING": ["refund.created"]}
    # It has waited for long, and its own next try is far away.
    assert await change(shop, PaymentEvent, PaymentEvent.id > 0, next_try_at=utc_now() + timedelta(hours=20))
    ids = await till.stored(shop.house, told)
    if by == "whoever stored it":
        await events.handle(shop.house, ids)
    else:

        async def all_done():
            return set(await till.event_states(shop.house)) <= {"PROCESSED", "IGNORED"}

        async with working():
            await until(all_done)
            await until(lambda: _is_settled(shop))
    assert set(await till.event_states(shop.house)) <= {"PROCESSED", "IGNORED"}
    assert await till.funds(shop, alice) == (70, 0)
    assert (await goods.purchases(shop, alice))[0].status is PurchaseStatus.PARTIALLY_REFUNDED


async def _is_settled(shop):
    return {each.state.name for each in await till.settlements(shop.house)} == {"SETTLED"}


# ------------------------------------------------------------------------------------------- orders and pages


@pytest.mark.fault(46)
@on_every_engine
async def test_an_order_without_an_answer_is_sent_again_by_the_workers_timer(shop, provider, working, monkeypatch):
    alice = await shop.tenant("alice")
    _, session, told = await paid(shop, provider, alice)
    await till.tell(shop.house, told)
    loop, rounds = handlers.LOOPS["provider_orders"], []

    async def counted(house):
        await loop.run(house)
        rounds.append(house)

    assert loop.seconds == orders.AGAIN_SECONDS
    monkeypatch.setitem(handlers.LOOPS, loop.name, handlers.Loop(loop.name, 0.2, counted))

    async def ran():
        return bool(rounds)

    async def answered():
        return (await goods.orders(shop, alice))[0].state is OrderState.DONE

    async with working():
        await until(ran)
        provider.next_fault[:] = [429] * 9
        with pytest.raises(errors.ProviderUnavailable):
            await desk.refund(shop.house.system(), provider.intent_of(session)["id"], cents=None, by=BY)
        provider.next_fault.clear()
        await until(answered)
    assert [each["amount"] for each in provider.all("refund")] == [1_000]
    await till.catch_up(shop.house)
    assert await till.funds(shop, alice) == (0, 0)


@pytest.mark.fault(40)
@on_every_engine
async def test_a_page_whose_end_nobody_tells_of_ends_by_its_timer_and_one_that_is_open_is_looked_at_again(
    shop, provider, working
):
    alice, bob = await shop.tenant("alice"), await shop.tenant("bob")
    left, page = await till.bought(shop, alice)
    still, _ = await till.bought(shop, bob, slug="other")
    provider.expire(page)
    assert {(each.kind, each.ref_id) for each in await all_of(shop, Timer)} == {
        (sessions.END_KIND, left),
        (sessions.END_KIND, still),
    }
    assert await change(shop, Timer, Timer.id > 0, due_at=utc_now() - timedelta(seconds=1)) == 2

    async def status(person):
        return (await goods.purchases(shop, person))[0].status

    async def put_off():
        waiting = [each for each in await all_of(shop, Job) if each.ref_id == Id(still)]
        return bool(waiting) and waiting[0].state is JobState.READY and waiting[0].available_at > utc_now()

    async def ended():
        return await status(alice) is PurchaseStatus.CANCELED

    async def other_ended():
        return await status(bob) is PurchaseStatus.CANCELED

    async with working():
        await until(ended)
        await until(put_off)
        assert await status(bob) is PurchaseStatus.PENDING
        provider.expire((await goods.sessions(shop, bob))[0].provider_session_id)
        assert await change(shop, Job, Job.ref_id == Id(still), available_at=utc_now() - timedelta(seconds=1))
        await until(other_ended)
    assert [(await goods.sessions(shop, each))[0].status for each in (alice, bob)] == [SessionStatus.EXPIRED] * 2
    assert [each for each in await all_of(shop, Timer) if each.kind == sessions.END_KIND] == []
    assert await till.event_states(shop.house) == {}
