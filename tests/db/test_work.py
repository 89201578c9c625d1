"""What leased work and timers promise on every engine: each piece done by one, fairly, again when its worker died."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa

from db import work
from db.columns import utc_now
from db.tables.central.work import FailedJob, Job, JobState, Timer
from db.zones import TenantId
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio

KIND = "toy"
A, B = TenantId("a1"), TenantId("b1")


def on(world):
    """Run something in central, as a worker does."""
    return world.house.system().on_system


async def put(db, tenant, refs, /, **more):
    for ref in refs:
        assert await work.enqueue(db, KIND, tenant, ref_id=ref, **more)


async def take(db, owner="w", /, *, most=10, seconds=60, **more):
    return await work.claim(db, [KIND], owner, most=most, seconds=seconds, **more)


async def run_out(db, lease, /):
    """The lease's time is over."""
    await db.change(sa.update(Job).where(Job.id == lease.job_id).values(lease_until=db.now - timedelta(seconds=1)))


async def due_now(db, /):
    """What was put off may be tried again."""
    await db.change(sa.update(Job).values(available_at=db.now - timedelta(seconds=1)))


async def states(db, /):
    return {row.ref_id: row.state for row in await db.all(sa.select(Job))}


@on_every_engine
async def test_one_tenants_thousand_do_not_stand_before_anothers_one(world):
    run = on(world)
    await run(put, A, range(1, 41))
    await run(put, B, [100])
    first = await run(take, most=2)
    assert {lease.tenant_id for lease in first} == {A, B}
    assert [lease.ref_id for lease in first if lease.tenant_id == A] == [1]
    await run(put, B, [101])
    # A has one running as B has, so age decides; with two running it waits behind B.
    assert [lease.tenant_id for lease in await run(take, most=1)] == [A]
    assert [lease.tenant_id for lease in await run(take, most=1)] == [B]


@on_every_engine
async def test_the_urgent_goes_first_and_waiting_makes_urgent(world):
    run = on(world)
    await run(put, A, [1])
    await run(put, A, [2], priority=5)
    assert [lease.ref_id for lease in await run(take, most=1)] == [2]

    async def waited(db, /):
        long_ago = db.now - timedelta(seconds=work.WAIT_SECONDS_A_PRIORITY * 8)
        await db.change(sa.update(Job).where(Job.ref_id == 1).values(available_at=long_ago))

    await run(put, B, [3], priority=7)
    await run(waited)
    assert [lease.ref_id for lease in await run(take, most=1)] == [1]


@on_every_engine
async def test_the_same_work_is_queued_once_and_not_before_its_time(world):
    run = on(world)
    assert await run(work.enqueue, KIND, A, ref_id=1)
    assert not await run(work.enqueue, KIND, A, ref_id=1)
    assert await run(work.enqueue, KIND, A, ref_id=1, generation=1, available_at=utc_now() + timedelta(hours=1))
    assert [lease.generation for lease in await run(take)] == [0]
    assert await run(take) == []
    assert await run(work.waiting) == {KIND: 2}


@on_every_engine
async def test_of_eight_workers_at_once_each_piece_goes_to_one(world):
    run = on(world)
    for tenant in (A, B):
        await run(put, tenant, range(1, 13))

    async def worker(name):
        mine = []
        while leases := await run(take, name, most=3):
            mine += leases
        return mine

    got = [lease for mine in await asyncio.gather(*(worker(f"w{n}") for n in range(8))) for lease in mine]
    assert sorted((lease.tenant_id, lease.ref_id) for lease in got) == [(t, n) for t in (A, B) for n in range(1, 13)]
    assert {lease.attempt for lease in got} == {1}


@on_every_engine
async def test_a_lease_that_ran_out_is_taken_over_and_the_late_worker_changes_nothing(world):
    run = on(world)
    await run(put, A, [1])
    (late,) = await run(take, "late")
    assert await run(take, "other") == []
    await run(run_out, late)
    (second,) = await run(take, "other")
    assert (second.job_id, second.attempt) == (late.job_id, 2)
    assert not await run(work.extend, late, seconds=60)
    assert not await run(work.finish, late)
    assert not await run(work.fail, late, "late")
    assert not await run(work.give_back, late)
    assert await run(states) == {1: JobState.LEASED}
    assert await run(work.finish, second)
    assert not await run(work.finish, second)
    assert await run(states) == {1: JobState.DONE}


@on_every_engine
async def test_a_heartbeat_holds_the_work(world):
    run = on(world)
    await run(put, A, [1])
    (lease,) = await run(take, seconds=1)
    await run(run_out, lease)
    assert await run(work.extend, lease, seconds=60)
    assert await run(take, "other") == []


@on_every_engine
async def test_what_is_given_back_is_ready_at_once_and_does_not_count(world):
    run = on(world)
    await run(put, A, [1])
    (lease,) = await run(take)
    assert await run(work.give_back, lease)
    (again,) = await run(take, "other")
    assert again.attempt == 1
    assert await run(work.give_back, again, seconds=60)
    assert await run(take) == []


@on_every_engine
async def test_a_failure_is_tried_again_later_and_the_last_one_is_kept_as_dead(world):
    run = on(world)
    await run(put, A, [1], priority=2, algorithm="x")
    for attempt in range(1, work.ATTEMPTS_MAX + 1):
        (lease,) = await run(take, algorithms=["x"])
        assert lease.attempt == attempt
        dead = await run(work.fail, lease, "it burns" * 1000)
        assert dead is (attempt == work.ATTEMPTS_MAX)
        assert await run(take, algorithms=["x"]) == []
        await run(due_now)

    async def dead_rows(db, /):
        return [(row.ref_id, row.attempts, row.priority, len(row.error)) for row in await db.all(sa.select(FailedJob))]

    assert await run(states) == {}
    assert await run(dead_rows) == [(1, work.ATTEMPTS_MAX, 2, work.ERROR_CHARACTERS_MAX)]
    await run(put, A, [2])
    (lease,) = await run(take)
    assert await run(work.fail, lease, "hopeless", retry=False)
    assert len(await run(dead_rows)) == 2


@on_every_engine
async def test_work_that_is_not_wanted_any_more_is_dropped_under_its_worker(world):
    run = on(world)
    await run(put, A, [1, 2])
    (lease,) = await run(take, most=1)
    await run(work.drop, KIND, A, ref_id=lease.ref_id)
    assert not await run(work.extend, lease, seconds=60)
    assert [left.ref_id for left in await run(take)] == [2]


@on_every_engine
async def test_an_outside_worker_gets_its_algorithms_alone(world):
    run = on(world)
    await run(put, A, [1])
    await run(put, A, [2], algorithm="swirl")
    assert [lease.ref_id for lease in await run(take, algorithms=["swirl", "blur"])] == [2]
    assert [lease.ref_id for lease in await run(take)] == [1]


@on_every_engine
async def test_a_timer_rings_once_however_many_hear_it_and_may_be_set_again(world):
    run = on(world)
    past, future = utc_now() - timedelta(minutes=1), utc_now() + timedelta(hours=1)
    await run(work.set_timer, KIND, future, tenant=A, ref_id=1)
    assert await run(work.ring) == 0
    # The earlier moment counts, in whatever order they are set.
    await run(work.set_timer, KIND, past, tenant=A, ref_id=1)
    await run(work.set_timer, KIND, future, tenant=A, ref_id=1)
    await asyncio.gather(*(run(work.ring) for _ in range(4)))

    async def timers(db, /):
        return len(await db.all(sa.select(Timer.id)))

    assert await run(timers) == 0
    (lease,) = await run(take)
    assert (lease.tenant_id, lease.ref_id) == (A, 1)
    await run(work.finish, lease)
    await run(work.set_timer, KIND, past, tenant=A, ref_id=1)
    assert await run(work.ring) == 1
    assert len(await run(take)) == 1


@on_every_engine
async def test_done_work_is_forgotten_after_a_day(world):
    run = on(world)
    await run(put, A, [1, 2])
    (one, _) = await run(take)
    await run(work.finish, one)
    assert await run(work.forget_done) == 0

    async def yesterday(db, /):
        await db.change(sa.update(Job).values(available_at=db.now - timedelta(days=2)))

    await run(yesterday)
    assert await run(work.forget_done) == 1
    assert list((await run(states)).values()) == [JobState.LEASED]
