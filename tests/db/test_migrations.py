"""What migrating promises on each engine: the declared tables, once, in the right database, also after a crash."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata

from db import engines, faults
from db.columns import UtcDateTime
from db.migrations import lock, run, tree
from db.tables.pool.upkeep import Fence
from db.zones import CentralBase, PoolBase, TenantState, Zone
from tests import databases

pytestmark = [pytest.mark.anyio, pytest.mark.services]

BASES = {Zone.CENTRAL: CentralBase, Zone.POOL: PoolBase}
NAMES = {Zone.CENTRAL: None, Zone.POOL: "tenant_pool_1"}
TREES = list(Zone)


@pytest.fixture(params=databases.ENGINES)
def kind(request):
    return request.param


def differences(connection, zone):
    """What alembic would still change, its own and the lock's tables aside."""

    def include(_thing, name, what, *_):
        return what != "table" or name != lock.LOCKS.name

    return compare_metadata(tree.context(connection, zone, include_object=include), BASES[zone].metadata)


async def rows(engine, table):
    async with engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(sa.select(table))]


async def identity(engine):
    return await rows(engine, sa.select(Fence.tenant_id, Fence.pool_name, Fence.epoch, Fence.created_at).subquery())


@pytest.mark.parametrize("zone", TREES)
async def test_climbing_from_nothing_makes_exactly_the_declared_tables(kind, zone):
    async with databases.opened(kind, "climbed") as climbed, databases.opened(kind, "declared") as declared:
        assert await run.revision_of(climbed, zone) is None
        assert await run.bring_up(climbed, zone, pool_name=NAMES[zone]) == tree.head(zone)
        assert await run.revision_of(climbed, zone) == tree.head(zone)
        async with declared.begin() as connection:
            await connection.run_sync(BASES[zone].metadata.create_all)
        async with climbed.connect() as connection:
            assert await connection.run_sync(differences, zone) == []
        assert await databases.describe(climbed) == await databases.describe(declared)


async def test_the_engines_own_words_show_what_alembic_overlooks(kind):
    planted = sa.MetaData()
    sa.Table("planted", planted, sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("at", UtcDateTime()))
    loose = sa.MetaData()
    sa.Table("planted", loose, sa.Column("id", sa.BigInteger), sa.Column("at", UtcDateTime()))
    seen = []
    for made in (planted, loose):
        async with databases.opened(kind, "planted") as engine:
            async with engine.begin() as connection:
                await connection.run_sync(made.create_all)
            seen.append(await databases.describe(engine))
    assert seen[0] != seen[1]


@pytest.mark.parametrize("zone", TREES)
async def test_a_second_run_changes_nothing(kind, zone):
    async with databases.opened(kind, "twice") as engine:
        await run.bring_up(engine, zone, pool_name=NAMES[zone])
        before = await databases.describe(engine), await identity(engine) if zone is Zone.POOL else None
        assert await run.bring_up(engine, zone, pool_name=NAMES[zone]) == tree.head(zone)
        assert (await databases.describe(engine), await identity(engine) if zone is Zone.POOL else None) == before


@pytest.mark.parametrize("zone", TREES)
async def test_two_at_once_take_turns(kind, zone):
    async with databases.scratch(kind, "at_once") as url:
        each = [engines.open_engine(url) for _ in range(3)]
        try:
            done = await asyncio.gather(*(run.bring_up(engine, zone, pool_name=NAMES[zone]) for engine in each))
            assert done == [tree.head(zone)] * 3
            async with each[0].connect() as connection:
                assert await connection.run_sync(differences, zone) == []
            if zone is Zone.POOL:
                assert len(await identity(each[0])) == 1
            assert [(owner, begun) for _, owner, _, begun in await rows(each[0], lock.LOCKS)] == [("", "")]
        finally:
            for engine in each:
                await engine.dispose()


async def test_side_by_side_no_table_lands_in_the_wrong_database(kind):
    async with contextlib.AsyncExitStack() as stack:
        central = await stack.enter_async_context(databases.opened(kind, "central"))
        pools = [await stack.enter_async_context(databases.opened(kind, f"pool_{n}")) for n in range(2)]
        await asyncio.gather(
            run.bring_up(central, Zone.CENTRAL, pool_name=None),
            *(run.bring_up(pool, Zone.POOL, pool_name=f"tenant_pool_{n}") for n, pool in enumerate(pools)),
        )
        assert set(await databases.describe(central)) == set(CentralBase.metadata.tables)
        for n, pool in enumerate(pools):
            assert set(await databases.describe(pool)) == set(PoolBase.metadata.tables)
            assert [row[:3] for row in await identity(pool)] == [("", f"tenant_pool_{n}", 1)]


async def test_a_database_of_another_pool_or_zone_is_refused_before_anything_is_changed(kind):
    async with databases.opened(kind, "pool") as pool, databases.opened(kind, "central") as central:
        await run.bring_up(pool, Zone.POOL, pool_name="tenant_pool_1")
        await run.bring_up(central, Zone.CENTRAL, pool_name=None)
        before = [(await databases.describe(e), await rows(e, lock.LOCKS)) for e in (pool, central)]
        for engine, zone, name in (
            (pool, Zone.POOL, "tenant_pool_2"),
            (pool, Zone.CENTRAL, None),
            (central, Zone.POOL, "tenant_pool_1"),
        ):
            with pytest.raises(faults.WrongPool, match="nothing was changed"):
                await run.bring_up(engine, zone, pool_name=name)
        assert [(await databases.describe(e), await rows(e, lock.LOCKS)) for e in (pool, central)] == before
        assert [row[1] for row in await identity(pool)] == ["tenant_pool_1"]


async def test_a_pool_without_a_name_is_refused(kind):
    async with databases.opened(kind, "nameless") as engine:
        with pytest.raises(TypeError):
            await run.bring_up(engine, Zone.POOL, pool_name=None)
        with pytest.raises(TypeError):
            await run.bring_up(engine, Zone.CENTRAL, pool_name="tenant_pool_1")
        assert await databases.describe(engine) == {}


async def test_a_revision_that_died_half_way_is_finished_by_the_next_run(kind):
    async with databases.opened(kind, "half") as engine, databases.opened(kind, "whole") as whole:
        # A table in the way stops the first revision after it has made others, as a kill would.
        in_the_way = sa.Table("tenant_members", sa.MetaData(), sa.Column("x", sa.BigInteger))
        async with engine.begin() as connection:
            await connection.run_sync(in_the_way.create)
        with pytest.raises(sa.exc.DBAPIError):
            await run.bring_up(engine, Zone.CENTRAL, pool_name=None)
        left = set(await databases.describe(engine)) - {"tenant_members"}
        assert ("users" in left) == (kind == "mariadb")
        async with engine.begin() as connection:
            await connection.run_sync(in_the_way.drop)
        assert await run.bring_up(engine, Zone.CENTRAL, pool_name=None) == tree.head(Zone.CENTRAL)
        await run.bring_up(whole, Zone.CENTRAL, pool_name=None)
        assert await databases.describe(engine) == await databases.describe(whole)


async def test_a_dead_holder_is_replaced_and_learns_of_it(kind):
    async with databases.opened(kind, "dead") as engine, contextlib.AsyncExitStack() as stack:
        dead = await stack.enter_async_context(lock.held(engine, "pool"))
        async with lock.held(engine, "pool", dead_seconds=0) as living:
            async with engine.begin() as connection:
                await connection.run_sync(living.keep)
            async with engine.connect() as connection:
                with pytest.raises(lock.LockLost):
                    await connection.run_sync(dead.keep)
        assert [row[1] for row in await rows(engine, lock.LOCKS)] == [""]


async def test_a_database_of_a_newer_version_is_left_alone(kind):
    async with databases.opened(kind, "newer") as engine:
        await run.bring_up(engine, Zone.POOL, pool_name="tenant_pool_1")
        before = await databases.describe(engine)
        async with engine.begin() as connection:
            await connection.execute(sa.text("UPDATE revisions_pool SET version_num = '9999'"))
        with pytest.raises(run.UnknownRevision, match="9999"):
            await run.bring_up(engine, Zone.POOL, pool_name="tenant_pool_1")
        assert await databases.describe(engine) == before


async def test_what_a_declared_table_is_given_comes_back(kind):
    async with databases.opened(kind, "kept") as engine:
        await run.bring_up(engine, Zone.POOL, pool_name="tenant_pool_1")
        async with engine.connect() as connection:
            row = (await connection.execute(sa.select(Fence.id, Fence.state, Fence.created_at))).one()
        assert (row.id, row.state) == (0, TenantState.ACTIVE)
        assert row.created_at.tzinfo is not None


@pytest.mark.parametrize("zone", TREES)
def test_each_tree_is_one_line_whose_head_stands_in_its_file(zone):
    known = tree.scripts(zone)
    assert known.get_heads() == [tree.head(zone)]
    line = list(reversed(list(known.iterate_revisions("head", "base"))))
    assert [script.revision for script in line] == [f"{n + 1:04d}" for n in range(len(line))]
    for script in line:
        assert script.path.rpartition("/")[2].startswith(f"{script.revision}_")
        assert 0 < script.module.LOCK_SECONDS_MAX <= 60
        assert 0 < script.module.STATEMENT_SECONDS_MAX <= 3600
        assert list(script.module.upgrade.__annotations__) == ["op", "return"]
