"""Statements that were made once and get their values later are as strictly guarded as any other."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.util import greenlet_spawn

from db import alike
from db.guard import GuardError
from db.tables.pool.upkeep import UsageCounter
from db.zones import PoolBase
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio

COUNTERS = PoolBase.metadata.tables[UsageCounter.__tablename__]
OF = sa.select(COUNTERS.c.key, COUNTERS.c.used).where(COUNTERS.c.tenant_id == sa.bindparam("tenant"))
OF_ALL = sa.select(COUNTERS.c.key, COUNTERS.c.used)
NEW = sa.insert(COUNTERS)
SET = sa.update(COUNTERS).where(COUNTERS.c.tenant_id == sa.bindparam("tenant"))


def row(db, tenant, key):
    return {"tenant_id": tenant, "id": db.new_id(), "created_at": db.now, "key": key, "period": "", "used": 1}


async def write(db, tenants, /):
    return await db.write(NEW, [row(db, tenant, f"{number}") for number, tenant in enumerate(tenants)])


async def change(db, tenant, /):
    return await db.write(SET, {"tenant": tenant, "used": 7})


async def of(db, tenant, /):
    return [tuple(found) for found in await db.read(OF, {"tenant": tenant})]


async def of_all(db, /):
    return await db.read(OF_ALL, {})


@on_every_engine
async def test_a_statement_made_once_reaches_the_rows_of_its_sessions_tenant_alone(world):
    alice, bob = [await world.system((await world.tenant(name)).tenant_id) for name in ("alice", "bob")]
    await alice.on_pool(write, [alice.tenant_id] * 2)
    assert await alice.on_pool(of, alice.tenant_id) == [("0", 1), ("1", 1)]
    assert await alice.on_pool(change, alice.tenant_id) == 2
    assert await bob.on_pool(of, bob.tenant_id) == []
    for refused in ((of, alice.tenant_id), (change, alice.tenant_id), (of_all,)):
        with pytest.raises(GuardError):
            await bob.on_pool(*refused)
    with pytest.raises(GuardError):
        await bob.on_pool(write, [bob.tenant_id, alice.tenant_id])  # the second of several rows
    assert await bob.on_pool(of, bob.tenant_id) == []
    assert await alice.on_pool(of, alice.tenant_id) == [("0", 7), ("1", 7)]


@on_every_engine
async def test_a_connection_that_comes_back_in_the_middle_of_a_transaction_leaves_nothing_of_it(world):
    alice = await world.system((await world.tenant("alice")).tenant_id)
    engine = world.house.sessions.databases.pools[alice.tenant_route.pool].engine

    def leave_half_done() -> None:
        connection = engine.sync_engine.raw_connection()
        cursor = connection.cursor()
        if engine.dialect.name == "sqlite":
            cursor.execute("BEGIN")
        cursor.execute("UPDATE fences SET epoch = 99")
        cursor.close()
        connection.close()

    await greenlet_spawn(leave_half_done)
    assert await alice.on_pool(of, alice.tenant_id) == []  # the fence is as it was, and nobody holds it


def test_lists_have_few_lengths_and_nothing_that_was_not_in_them() -> None:
    lengths = set()
    for count in range(501):
        given = list(range(count))
        made = alike.even(given)
        assert made[:count] == given
        assert set(made) == set(given)
        lengths.add(len(made))
    assert lengths == {0, *alike.LENGTHS}
    assert alike.even(range(501)) == list(range(501))
