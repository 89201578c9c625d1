"""Leased work of toy kinds: done once, tried again, given up, given back; loops and the relay beside it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from datetime import timedelta

import pytest
import sqlalchemy as sa

import worker
from base import errors
from db import outbox, work
from db.tables.central.work import FailedJob, Job, JobState
from db.tables.pool.upkeep import Outbox
from tenancy import leases, relaying
from tenancy.handlers import GiveUp, Handler, Loop
from tests.world import on_every_engine

WAIT_SECONDS_MAX = 60


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rang(outbox.Event):
    """A toy event."""

    type = "Rang"
    bell: str

    @property
    def aggregate(self):
        return f"bell:{self.bell}"


async def _jobs(db, /):
    return [(row.kind, row.state, row.attempts) for row in await db.all(sa.select(Job).order_by(Job.id))]


async def _failed(db, /):
    return list(await db.all(sa.select(FailedJob.error)))


async def _age(db, /):
    """All leases and pauses are over."""
    past = db.now - timedelta(hours=1)
    await db.change(sa.update(Job).values(available_at=past))
    await db.change(sa.update(Job).where(Job.state == JobState.LEASED).values(lease_until=past))


class Hands:
    """Workers of one toy kind over a world."""

    def __init__(self, world, run, *, gave_up=None, seconds=60, concurrent=4, algorithms=None) -> None:
        self.world = world
        self.handler = Handler("toy", seconds, run, gave_up, algorithms, concurrent)
        self.system = world.house.system()

    @contextlib.asynccontextmanager
    async def working(self):
        stop = asyncio.Event()
        task = asyncio.create_task(leases.run(self.world.house, stop, kinds={"toy": self.handler}))
        try:
            yield
        finally:
            stop.set()
            await task

    async def ask(self, tenant, ref_id=1, **more):
        return await self.system.on_system(work.enqueue, "toy", tenant, ref_id=ref_id, **more)

    async def until(self, wanted):
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while await self.system.on_system(_jobs) != wanted:
                await asyncio.sleep(0.05)


@on_every_engine
async def test_work_is_done_once_for_its_tenant(world):
    alice = await world.tenant()
    seen = []

    async def run(ctx, lease, alive):
        assert ctx.is_system
        assert await alive()
        seen.append((ctx.tenant_id, lease.ref_id))

    hands = Hands(world, run)
    assert await hands.ask(alice.tenant_id, 7)
    assert not await hands.ask(alice.tenant_id, 7)
    async with hands.working(), hands.working():
        await hands.until([("toy", JobState.DONE, 1)])
    assert seen == [(alice.tenant_id, 7)]


async def test_work_that_is_asked_for_later_wakes_the_worker(world):
    alice = await world.tenant()
    done = asyncio.Event()

    async def run(ctx, lease, alive):
        done.set()

    hands = Hands(world, run)
    async with hands.working():
        await asyncio.sleep(0.05)
        await hands.ask(alice.tenant_id)
        await asyncio.wait_for(done.wait(), WAIT_SECONDS_MAX)


async def test_an_attempt_that_failed_is_put_off_and_the_last_one_ends_it(world):
    alice = await world.tenant()
    ended = []

    async def run(ctx, lease, alive):
        raise ValueError(f"no. {lease.attempt}")

    async def gave_up(ctx, lease, why):
        ended.append((ctx.tenant_id, lease.attempt, why))

    hands = Hands(world, run, gave_up=gave_up)
    await hands.ask(alice.tenant_id)
    async with hands.working():
        for attempt in (1, 2):
            await hands.until([("toy", JobState.READY, attempt)])
            assert ended == []
            await hands.system.on_system(_age)
        await hands.until([])
    assert ended == [(alice.tenant_id, 3, "no. 3")]
    assert await hands.system.on_system(_failed) == ["no. 3"]


async def test_giving_up_ends_work_at_its_first_attempt(world):
    alice = await world.tenant()

    async def run(ctx, lease, alive):
        raise GiveUp("this is no video")

    hands = Hands(world, run)
    await hands.ask(alice.tenant_id)
    async with hands.working():
        await hands.until([])
    assert await hands.system.on_system(_failed) == ["this is no video"]


async def test_work_that_kills_its_workers_is_given_up(world):
    alice = await world.tenant()
    ran, ended = [], []

    async def run(ctx, lease, alive):
        ran.append(lease.attempt)

    async def gave_up(ctx, lease, why):
        ended.append(why)

    hands = Hands(world, run, gave_up=gave_up)
    await hands.ask(alice.tenant_id)
    for number in range(work.ATTEMPTS_MAX):
        # A worker that claims and is never heard of again.
        claimed = await hands.system.on_system(work.claim, ["toy"], f"dead {number}", most=1, seconds=60)
        assert len(claimed) == 1
        await hands.system.on_system(_age)
    async with hands.working():
        await hands.until([])
    assert (ran, ended) == ([], ["tried 3 times without an end"])


async def test_a_round_that_finds_nothing_asks_once_for_all_kinds(world):
    async def run(ctx, lease, alive):
        raise AssertionError("there is nothing to be done")

    async def asked(count):
        kinds = {f"toy {number}": Handler(f"toy {number}", 60, run, None, None, 4) for number in range(count)}
        worker_of_all = leases.Worker(world.house, kinds)
        assert await worker_of_all.claim(wake=lambda: None) == 0
        seen = []
        engine = world.house.sessions.databases.central.engine.sync_engine

        def see(_connection, _cursor, sql, *_):
            if "FROM jobs" in sql:
                seen.append(sql)

        sa.event.listen(engine, "before_cursor_execute", see)
        try:
            assert await worker_of_all.claim(wake=lambda: None) == 0
        finally:
            sa.event.remove(engine, "before_cursor_execute", see)
        return len(seen)

    assert (await asked(1), await asked(8)) == (1, 1)


async def test_a_stopping_worker_gives_its_work_back_without_counting_the_attempt(world):
    alice = await world.tenant()
    began = asyncio.Event()

    async def run(ctx, lease, alive):
        began.set()
        await asyncio.sleep(600)

    hands = Hands(world, run)
    await hands.ask(alice.tenant_id)
    async with hands.working():
        await asyncio.wait_for(began.wait(), WAIT_SECONDS_MAX)
    assert await hands.system.on_system(_jobs) == [("toy", JobState.READY, 0)]


async def test_a_lost_lease_stops_the_work_and_changes_nothing(world):
    alice = await world.tenant()
    began, stopped = asyncio.Event(), asyncio.Event()

    async def run(ctx, lease, alive):
        began.set()
        try:
            await asyncio.sleep(600)
        finally:
            stopped.set()

    hands = Hands(world, run, seconds=3)
    await hands.ask(alice.tenant_id)
    async with hands.working():
        await asyncio.wait_for(began.wait(), WAIT_SECONDS_MAX)
        await hands.system.on_system(work.drop, "toy", alice.tenant_id, ref_id=1)
        await asyncio.wait_for(stopped.wait(), WAIT_SECONDS_MAX)
    assert await hands.system.on_system(_jobs) == [("toy", JobState.DONE, 1)]


async def test_a_pool_that_is_down_does_not_use_up_attempts(world):
    alice = await world.tenant()
    tried = asyncio.Event()

    async def run(ctx, lease, alive):
        tried.set()
        raise errors.PoolUnavailable("down")

    hands = Hands(world, run)
    await hands.ask(alice.tenant_id)
    async with hands.working():
        await asyncio.wait_for(tried.wait(), WAIT_SECONDS_MAX)
        await hands.until([("toy", JobState.READY, 0)])


async def test_only_work_of_the_algorithms_named_is_claimed(world):
    alice = await world.tenant()
    seen = []

    async def run(ctx, lease, alive):
        seen.append(lease.algorithm)

    async def algorithms(house):
        return ["mine"]

    hands = Hands(world, run, algorithms=algorithms)
    await hands.ask(alice.tenant_id, 1, algorithm="theirs")
    await hands.ask(alice.tenant_id, 2, algorithm="mine")
    async with hands.working():
        await hands.until([("toy", JobState.READY, 0), ("toy", JobState.DONE, 1)])
    assert seen == ["mine"]


async def test_a_loop_that_fails_runs_again(world):
    times, stop = [], asyncio.Event()

    async def run(house):
        times.append(1)
        if len(times) == 3:
            stop.set()
        raise RuntimeError("this time too")

    await asyncio.wait_for(worker.repeat(world.house, Loop("toy", 0.01, run), stop), WAIT_SECONDS_MAX)
    assert len(times) == 3


async def test_the_whole_worker_stops_when_told(world):
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(world.house, stop))
    await asyncio.sleep(0.2)
    stop.set()
    await asyncio.wait_for(task, WAIT_SECONDS_MAX)


@pytest.fixture
def heard():
    """A receiver of the toy event, for the length of a test."""
    got: list[tuple[str, str]] = []
    fails: list[Exception] = []

    async def receiver(ctx, event, envelope):
        if fails:
            raise fails.pop()
        got.append((ctx.tenant_id, event.bell))

    outbox.RECEIVERS.setdefault(Rang, []).append(receiver)
    yield got, fails
    outbox.RECEIVERS[Rang].remove(receiver)


async def _ring(db, bell, /):
    db.emit(Rang(bell=bell))


async def _outbox(db, /):
    return list(await db.all(sa.select(Outbox.attempts).order_by(Outbox.id)))


@on_every_engine
async def test_events_that_a_crash_left_behind_are_delivered_by_the_relay(world, heard):
    got, _ = heard
    alice, bob = await world.tenant("alice"), await world.tenant("bob")
    for person in (alice, bob):
        # Committed, and the process died before it delivered.
        await (await world.system(person.tenant_id))._in_pool(_ring, person.name)
    stop = asyncio.Event()
    task = asyncio.create_task(relaying.run(world.house, stop))
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while len(got) < 2:
            await asyncio.sleep(0.02)
    stop.set()
    await task
    assert sorted(got) == [("alice1", "Alice"), ("bob1", "Bob")]
    assert await (await world.system(alice.tenant_id)).on_pool(_outbox) == []


async def test_an_event_whose_receiver_fails_waits_and_holds_back_those_after_it(world, heard):
    got, fails = heard
    alice = await world.tenant()
    system = await world.system(alice.tenant_id)
    await system._in_pool(_ring, "first")
    await system._in_pool(_ring, "first")
    await system._in_pool(_ring, "other")
    fails.append(RuntimeError("not now"))
    assert not await relaying.deliver(world.house, alice.tenant_id)
    assert got == [("alice1", "other")]
    assert await system.on_pool(_outbox) == [1, 0]
    # It is not due yet, and what stands behind it waits with it.
    assert await relaying.deliver(world.house, alice.tenant_id)
    assert got == [("alice1", "other")]
