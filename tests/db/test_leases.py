"""Leased connections: used again, given up when anything went wrong on them, waited for within bounds, returned."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from db import faults, leases
from db.engines import open_database
from db.guard import Guard, GuardError, Permit, Rule
from db.zones import Scope, Zone
from tests import databases

ENGINES = [*databases.ENGINES, "asyncmy"]
SLOW = {
    "sqlite": "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c WHERE x < 0",
    "mariadb": "SELECT sleep(20)",
    "asyncmy": "SELECT sleep(20)",
    "postgresql": "SELECT pg_sleep(20)",
}


@contextlib.asynccontextmanager
async def opened(kind: str, guard: Guard | None = None):
    async with databases.scratch("mariadb" if kind == "asyncmy" else kind, "leases") as made:
        url = made.replace("aiomysql", "asyncmy") if kind == "asyncmy" else made
        database = open_database("central", url, Zone.CENTRAL, guard=guard or Guard({}))
        try:
            yield database
        finally:
            await database.leases.close()
            await database.engine.dispose()
            await database.reader.dispose()


@pytest.mark.parametrize("kind", ENGINES)
async def test_statements_one_after_the_other_share_one_connection_and_at_once_have_their_own(anyio_backend, kind):
    async with opened(kind) as database:
        for number in range(3):
            rows = await database.leases.read(f"SELECT {number}", (), Permit())
            assert [tuple(row) for row in rows] == [(number,)]
        assert (database.leases.count, database.leases.free) == (1, 1)
        await asyncio.gather(*(database.leases.read("SELECT 1", (), Permit()) for _ in range(30)))
        assert 1 <= database.leases.count == database.leases.free <= leases.LEASES_MAX
        assert database.reader.pool.checkedout() == database.leases.count
        await database.leases.close()
        assert database.leases.count == database.leases.free == database.reader.pool.checkedout() == 0


@pytest.mark.parametrize("kind", ENGINES)
async def test_a_cancelled_statement_takes_its_connection_along_and_the_next_one_gets_its_own_answer(
    anyio_backend, kind
):
    async with opened(kind) as database:
        reading = asyncio.create_task(database.leases.read(SLOW[kind], (), Permit()))
        await asyncio.sleep(0.3)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert [tuple(row) for row in await database.leases.read("SELECT 7", (), Permit())] == [(7,)]
        await asyncio.wait_for(asyncio.gather(*database.leases._tasks), 10)
        assert database.leases.count == 1
        if kind in ("mariadb", "asyncmy"):
            # The server ends it as soon as it looks at the mark.
            async with asyncio.timeout(10):
                while (SLOW[kind],) in await running(database):
                    await asyncio.sleep(0.05)


async def running(database) -> list[tuple[str, ...]]:
    """The statements that the server is busy with."""
    rows = await database.leases.read("SELECT info FROM information_schema.processlist", (), Permit())
    return [tuple(row) for row in rows]


@pytest.mark.parametrize("kind", ENGINES)
async def test_a_refused_statement_ends_its_connection_and_wakes_who_waits(anyio_backend, kind, monkeypatch):
    monkeypatch.setattr(leases, "LEASES_MAX", 1)
    async with opened(kind) as database:
        wrong = [database.leases.read("SELECT nothing FROM nowhere", (), Permit()) for _ in range(4)]
        right = [database.leases.read("SELECT 1", (), Permit()) for _ in range(4)]
        done = await asyncio.gather(*wrong, *right, return_exceptions=True)
        assert all(isinstance(each, Exception) and not faults.lost(each) for each in done[:4])
        assert [[tuple(row) for row in rows] for rows in done[4:] if not isinstance(rows, BaseException)] == [
            [(1,)]
        ] * 4
        assert database.leases.count <= 1


async def test_a_connection_that_died_while_it_lay_free_is_replaced_once(anyio_backend):
    for kind in ("mariadb", "asyncmy"):
        async with opened(kind) as database:
            (row,) = await database.leases.read("SELECT connection_id()", (), Permit())
            async with database.engine.connect() as other:
                await other.execution_options(migrating=True)
                await other.exec_driver_sql(f"KILL {row[0]}")
            (again,) = await database.leases.read("SELECT connection_id()", (), Permit())
            assert again[0] != row[0]


async def test_a_database_that_is_not_there_is_told_to_all_who_wait(anyio_backend, monkeypatch):
    monkeypatch.setattr(leases, "LEASES_MAX", 2)
    for driver in ("aiomysql", "asyncmy"):
        nowhere = f"mysql+{driver}://root@127.0.0.1:1/nowhere"
        database = open_database("central", nowhere, Zone.CENTRAL, guard=Guard({}))
        reads = [database.leases.read("SELECT 1", (), Permit()) for _ in range(6)]
        done = await asyncio.wait_for(asyncio.gather(*reads, return_exceptions=True), 10)
        assert all(isinstance(each, Exception) and faults.lost(each) for each in done), done
        assert database.leases.count == 0


async def test_who_waits_too_long_or_no_longer_leaves_the_connection_to_others(anyio_backend, monkeypatch):
    monkeypatch.setattr(leases, "LEASES_MAX", 1)
    monkeypatch.setattr(leases, "WAIT_SECONDS_MAX", 0.1)
    async with opened("mariadb") as database, database.engine.connect() as other:
        await other.execution_options(migrating=True)
        await other.exec_driver_sql("SELECT get_lock(database(), 0)")
        busy = asyncio.create_task(database.leases.read("SELECT get_lock(database(), 60)", (), Permit()))
        async with asyncio.timeout(60):
            while not database.leases._busy:
                await asyncio.sleep(0.01)
        with pytest.raises(TimeoutError):
            await database.leases.read("SELECT 1", (), Permit())
        await other.exec_driver_sql("SELECT release_lock(database())")
        assert [tuple(row) for row in await busy] == [(1,)]
        assert (database.leases.count, database.leases.free) == (1, 1)


async def test_idle_connections_go_back_to_the_pool(anyio_backend, monkeypatch):
    monkeypatch.setattr(leases, "IDLE_SECONDS_MAX", 0.05)
    async with opened("sqlite") as database:
        await database.leases.read("SELECT 1", (), Permit())
        async with asyncio.timeout(60):
            while database.leases.count:
                await asyncio.sleep(0.02)
        assert database.reader.pool.checkedout() == 0


async def test_nothing_is_sent_that_the_guard_refuses(anyio_backend):
    guard = Guard({"videos": Rule(scope=Scope.USER_PRIVATE, zone=Zone.POOL, tenant="tenant_id", owner="user_id")})
    async with opened("sqlite", guard) as database:
        with pytest.raises(GuardError):
            await database.leases.read("SELECT title FROM videos", (), Permit(tenant="alice1", owner=1))
        assert database.leases.count == 0
