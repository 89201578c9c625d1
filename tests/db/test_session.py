"""What the writing door promises on every engine: a transaction whole or not at all, run again where that is asked."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from base import errors, observe
from base.ids import Id
from db import engines, faults
from db.fence import Stale
from db.guard import Guard, GuardError, Permit
from db.session import TRIES_MAX
from db.tables.central.identity import Tenant, User
from db.tables.pool.media import File, FileStatus
from db.tables.pool.rewards import Reward, RewardKind
from db.tables.pool.upkeep import Fence, UsageCounter
from db.zones import TenantId, TenantState, Zone
from tenancy.directory import Route
from tests import databases, patience
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio

# Where there is one writer nobody comes in; elsewhere the other does, in its own time.
MEET_SECONDS = {"sqlite": 0.5, "mariadb": 60, "postgresql": 60}


def counter(key, used=0, **more):
    return UsageCounter(key=key, period="", used=used, **more)


async def begin_counters(db, *keys):
    for key in keys:
        db.add(counter(key))


async def used(db, /):
    return dict(await db.tuples(sa.select(UsageCounter.key, UsageCounter.used)))


async def add_one(db, key):
    met = await db.change(sa.update(UsageCounter).where(UsageCounter.key == key).values(used=UsageCounter.used + 1))
    assert met == 1


async def nothing(_db, /):
    return True


def borrowed(world):
    """How many connections are out, over all databases."""
    return sum(
        each.pool.checkedout() for one in world.house.sessions.databases.all() for each in (one.engine, one.reader)
    )


@on_every_engine
async def test_two_writers_that_cross_each_other_both_finish(world):
    alice = await world.tenant("alice")
    ctx = await world.system(alice.tenant_id)
    await ctx.on_pool(begin_counters, "a", "b")
    tries = holding = 0

    async def cross(db, first, second):
        nonlocal tries, holding
        tries += 1
        await add_one(db, first)
        holding += 1
        if tries <= 2:
            for _ in range(int(MEET_SECONDS[world.engine] / 0.01)):
                if holding >= 2:
                    break
                await asyncio.sleep(0.01)
        await add_one(db, second)

    before = observe.counts()["transaction_again"]
    await asyncio.gather(ctx.on_pool(cross, "a", "b"), ctx.on_pool(cross, "b", "a"))
    assert await ctx.on_pool(used) == {"a": 2, "b": 2}
    if world.engine != "sqlite":
        assert observe.counts()["transaction_again"] > before
        assert tries > 2


@on_every_engine
async def test_a_transaction_that_is_asked_to_run_again_runs_from_its_beginning_and_counts_once(world):
    alice = await world.tenant("alice")
    ctx = await world.system(alice.tenant_id)
    runs = 0

    async def at_the_third_time(db, /):
        nonlocal runs
        runs += 1
        db.add(counter("kept", runs))
        await db.flush()
        if runs < 3:
            raise faults.RunAgain
        return runs

    assert await ctx.on_pool(at_the_third_time) == 3
    assert await ctx.on_pool(used) == {"kept": 3}

    async def never(_db, /):
        nonlocal runs
        runs += 1
        raise faults.RunAgain

    runs = 0
    with pytest.raises(errors.PoolUnavailable):
        await ctx.on_pool(never)
    assert runs == TRIES_MAX


async def test_a_file_that_another_process_holds_for_seconds_is_waited_for(world):
    alice = await world.tenant("alice")
    ctx = await world.system(alice.tenant_id)
    # Longer than six tries of a fifth of a second each, with their pauses.
    file = make_url(world.settings.pools[ctx.tenant_route.pool]).database or ""
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    asyncio.get_running_loop().call_later(2.5, other.execute, "ROLLBACK")
    try:
        await ctx.on_pool(begin_counters, "waited")
    finally:
        other.close()
    assert await ctx.on_pool(used) == {"waited": 0}


@on_every_engine
async def test_a_cancelled_action_leaves_no_row_and_no_connection(world):
    alice = await world.tenant("alice")
    ctx = await world.system(alice.tenant_id)
    written = asyncio.Event()

    async def hang(db, /):
        db.add(counter("cut"))
        await db.flush()
        written.set()
        await asyncio.Event().wait()

    doing = asyncio.create_task(ctx.on_pool(hang))
    await written.wait()
    doing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doing
    assert await ctx.on_pool(used) == {}
    assert borrowed(world) == 0


@on_every_engine
async def test_an_action_that_fails_leaves_no_row_and_tells_nobody(world):
    alice = await world.tenant("alice")
    ctx = await world.system(alice.tenant_id)
    heard: list[object] = []
    world.house.bus.listen(heard.append)

    async def refuse(db, /):
        db.add(counter("half"))
        await db.flush()
        db.tell("wallet", "x")
        raise errors.Conflict("no")

    with pytest.raises(errors.Conflict):
        await ctx.on_pool(refuse)
    assert await ctx.on_pool(used) == {}
    assert heard == []


async def move_in_central(db, tenant, epoch, /):
    db.act_for(tenant=tenant)
    await db.change(sa.update(Tenant).where(Tenant.id == tenant).values(epoch=epoch))


async def set_fence(db, /, **values):
    assert await db.change(sa.update(Fence).where(Fence.id == 0).values(**values)) == 1


@on_every_engine
async def test_the_fence_refuses_an_old_route_which_is_then_looked_up_anew_once(world):
    alice = await world.tenant("alice")
    old = await world.of(alice)
    await old.found(set_fence, epoch=2)
    with pytest.raises(errors.PoolUnavailable):
        await old.on_pool(nothing)
    await world.house.system().on_system(move_in_central, alice.tenant_id, 2)
    # The directory still knows the old epoch; the pool's refusal makes it ask again.
    assert await old.on_pool(nothing)
    assert (await world.house.directory.of_tenant(alice.tenant_id)).epoch == 2
    with pytest.raises(Stale):
        await world.house.sessions.pool(old.route, old.pool_permit(), "r", nothing)


@on_every_engine
async def test_a_closed_fence_stops_members_and_lets_workers_finish(world):
    alice = await world.tenant("alice")
    member, worker = await world.of(alice), await world.system(alice.tenant_id)
    await worker.found(set_fence, state=TenantState.SUSPENDED)
    with pytest.raises(errors.TenantSuspended):
        await member.on_pool(begin_counters, "x")
    assert await worker.on_pool(used) == {}
    await worker.on_pool(begin_counters, "y")
    await worker.found(set_fence, state=TenantState.ERASED)
    with pytest.raises(errors.PoolUnavailable):
        await worker.on_pool(nothing)


async def test_a_pool_that_is_not_configured_is_told_as_down(world):
    route = Route(TenantId("nowhere1"), TenantState.ACTIVE, "tenant_pool_9", 1)
    with pytest.raises(errors.PoolUnavailable):
        await world.house.system(tenant=route).on_pool(nothing)


@on_every_engine
async def test_a_row_of_another_tenant_or_owner_is_refused_before_anything_is_sent(world):
    alice, bob = await world.tenant("alice"), await world.tenant("bob")
    mary = await world.member(alice.tenant_id)
    ctx = await world.of(alice)

    async def foreign(db, /):
        db.add(counter("x", tenant_id=bob.tenant_id))
        await db.flush()

    async def of_mary(db, /):
        db.add(Reward(user_id=mary.user_id, kind=RewardKind.REFERRAL, period="p", tokens=1))
        await db.flush()

    async def handed_over(db, /):
        row = await db.first(sa.select(Reward).where(Reward.user_id == alice.user_id))
        row.tenant_id = bob.tenant_id
        await db.flush()

    for action in (foreign, of_mary, handed_over):
        with pytest.raises(GuardError):
            await ctx.on_pool(action)
    for person in (alice, bob):
        assert await (await world.system(person.tenant_id)).on_pool(used) == {}

    async def rewards(db, /):
        return len(await db.all(sa.select(Reward.id).where(Reward.kind == RewardKind.REFERRAL)))

    assert await (await world.system(alice.tenant_id)).on_pool(rewards) == 0


@on_every_engine
async def test_another_tenants_or_members_row_is_none_by_its_id(world):
    # Of three tenants two share a pool: their rows lie in one table.
    alice, _, bob = [await world.tenant(name) for name in ("alice", "eve", "bob")]
    mary = await world.member(alice.tenant_id)
    made: Id[File] = Id(0)

    async def make(db, /):
        nonlocal made
        row = File(name="f", mime_type="video/mp4", size_bytes=1, status=FileStatus.READY, key="k")
        db.add(row)
        made = row.id

    async def by_id(db, /):
        return await db.get(File, made)

    await (await world.of(alice)).on_pool(make)
    routes = [(await world.of(person)).tenant_route.pool for person in (alice, bob)]
    assert routes[0] == routes[1]
    assert (await (await world.of(alice)).on_pool(by_id)).name == "f"
    assert await (await world.of(bob)).on_pool(by_id) is None
    assert await (await world.of(mary)).on_pool(by_id) is None
    assert await (await world.system(bob.tenant_id)).on_pool(by_id) is None
    with pytest.raises(errors.NotFound):
        await (await world.of(bob)).on_pool(lambda db, /: db.get_one(File, made))


@on_every_engine
async def test_of_fifty_who_insert_under_one_key_one_is_told_that_they_did(world):
    alice = await world.tenant("alice")
    ctx = await world.system(alice.tenant_id)

    async def once(db, number, /):
        return await db.insert_once(counter("one", number))

    answers = await asyncio.gather(*(ctx.on_pool(once, number) for number in range(50)))
    assert answers.count(True) == 1
    assert await ctx.on_pool(used) == {"one": answers.index(True)}


@on_every_engine
async def test_after_a_key_was_taken_the_same_transaction_goes_on(world):
    alice = await world.tenant("alice")
    ctx = await world.system(alice.tenant_id)
    await ctx.on_pool(begin_counters, "taken")

    async def both(db, /):
        first = await db.insert_once(counter("taken"))
        second = await db.insert_once(counter("free"))
        await add_one(db, "taken")
        return first, second

    assert await ctx.on_pool(both) == (False, True)
    assert await ctx.on_pool(used) == {"taken": 1, "free": 0}


async def test_a_pool_session_is_had_for_one_tenant_only_and_a_system_session_is_never_switched(world):
    alice, bob = await world.tenant("alice"), await world.tenant("bob")
    route = (await world.of(alice)).tenant_route
    with pytest.raises(GuardError):
        await world.house.sessions.pool(route, Permit(), "r", nothing)

    async def switch(db, /):
        db.act_for(alice.user_id, tenant=alice.tenant_id)
        db.act_for(bob.user_id)

    with pytest.raises(GuardError):
        await world.house.system().on_system(switch)


async def test_private_rows_of_central_are_had_by_their_owner_alone(world):
    alice, bob = await world.tenant("alice"), await world.tenant("bob")

    async def user(db, user_id, /):
        return await db.first(sa.select(User.email).where(User.id == user_id))

    ctx = await world.of(alice)
    assert await ctx.on_central(user, alice.user_id) == alice.email
    with pytest.raises(GuardError):
        await ctx.on_central(user, bob.user_id)


async def test_a_commit_of_sqlite_as_shipped_waits_for_the_disk(anyio_backend, monkeypatch):
    monkeypatch.setattr(engines, "SQLITE_SYNCHRONOUS", patience.SHIPPED_SYNCHRONOUS)
    async with databases.scratch("sqlite", "durable") as url:
        database = engines.open_database("central", url, Zone.CENTRAL, guard=Guard({}))
        async with database.engine.connect() as connection:
            await connection.execution_options(migrating=True)
            assert (await connection.exec_driver_sql("PRAGMA synchronous")).scalar() == 2  # FULL
        await database.engine.dispose()
        await database.reader.dispose()
