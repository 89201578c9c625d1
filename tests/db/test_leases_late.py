"""Statements and servers that take too long: ended on the server, told in words of our own, nothing left hanging."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Any, Self

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from base import errors
from db import faults, leases, patience
from db.engines import Database, open_database
from db.guard import Guard, Permit
from db.zones import Zone
from execution import fetch
from tests import databases
from tests.db.test_leases import SLOW, opened, running

SERVERS = ["mariadb", "asyncmy", "postgresql"]
NOWHERE = [
    "mysql+aiomysql://root@127.0.0.1:{}/x",
    "mysql+asyncmy://root@127.0.0.1:{}/x",
    "postgresql+asyncpg://postgres@127.0.0.1:{}/x",
]


@pytest.mark.parametrize("kind", SERVERS)
async def test_a_slow_statement_is_ended_on_the_server_and_told_as_a_time_out(anyio_backend, kind, monkeypatch):
    monkeypatch.setattr(leases, "STATEMENT_SECONDS_MAX", 1)
    async with opened(kind) as database:
        error = await failed(database.leases.read(SLOW[kind], (), Permit()))
        assert faults.too_slow(error)
        assert not faults.lost(error)
        assert isinstance(faults.told(error, name="central", zone=Zone.CENTRAL), errors.TimedOut)
        assert [tuple(row) for row in await database.leases.read("SELECT 7", (), Permit())] == [(7,)]
        await asyncio.wait_for(asyncio.gather(*database.leases._tasks), 10)
        assert database.leases.count == 1
        if kind != "postgresql":
            assert (SLOW[kind],) not in await running(database)


async def failed(doing: Awaitable[object]) -> Exception:
    """What it raises."""
    try:
        await doing
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


class Wire:
    """Stands before a server and, while it is cut, takes bytes and passes none on."""

    def __init__(self, port: int | None) -> None:
        self._port = port
        self.cut = port is None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._meet, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        # A driver that was cancelled while it connected leaves its socket to the other side.
        await asyncio.sleep(0.05)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(OSError, asyncio.CancelledError), contextlib.closing(writer):
            if self._port is None:
                while await reader.read(65536):
                    pass
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
            with contextlib.closing(far_writer):
                await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if not self.cut:
                writer.write(data)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def behind(wire: Wire, url: str):
    made = make_url(url).set(port=wire.port)
    database = open_database("central", made.render_as_string(hide_password=False), Zone.CENTRAL, guard=Guard({}))
    try:
        yield database
    finally:
        await database.leases.close()
        await database.engine.dispose()
        await database.reader.dispose()


@pytest.mark.parametrize("url", NOWHERE, ids=["aiomysql", "asyncmy", "asyncpg"])
async def test_a_server_that_takes_bytes_and_says_nothing_is_told_to_all_who_wait(anyio_backend, url, monkeypatch):
    monkeypatch.setattr(leases, "CONNECT_SECONDS_MAX", 0.5)
    monkeypatch.setattr(leases, "LEASES_MAX", 2)
    async with Wire(None) as wire, behind(wire, url.format(wire.port)) as database:
        reads = [database.leases.read("SELECT 1", (), Permit()) for _ in range(5)]
        done = await asyncio.wait_for(asyncio.gather(*reads, return_exceptions=True), 20)
        assert all(isinstance(each, Exception) and faults.lost(each) for each in done), done
        assert database.leases.count == 0
        again = await failed(database.leases.read("SELECT 1", (), Permit()))
        told = faults.told(again, name="tenant_pool_1", zone=Zone.POOL)
        assert isinstance(told, errors.PoolUnavailable)


@pytest.mark.parametrize("kind", SERVERS)
async def test_a_server_that_falls_silent_costs_one_statement_and_is_found_again(anyio_backend, kind, monkeypatch):
    monkeypatch.setattr(leases, "ANSWER_SECONDS_MAX", 0.5)
    monkeypatch.setattr(leases, "WATCH_SECONDS", 0.1)
    async with databases.scratch("mariadb" if kind == "asyncmy" else kind, "late") as made:
        url = made.replace("aiomysql", "asyncmy") if kind == "asyncmy" else made
        async with Wire(make_url(url).port) as wire, behind(wire, url) as database:
            assert [tuple(row) for row in await database.leases.read("SELECT 1", (), Permit())] == [(1,)]
            wire.cut = True
            with pytest.raises(faults.NoAnswer):
                await asyncio.wait_for(database.leases.read("SELECT 2", (), Permit()), 20)
            wire.cut = False
            assert [tuple(row) for row in await database.leases.read("SELECT 3", (), Permit())] == [(3,)]


async def test_who_hangs_up_while_the_watch_ends_the_statement_is_told_as_cancelled(anyio_backend, monkeypatch):
    monkeypatch.setattr(leases, "ANSWER_SECONDS_MAX", 0.3)
    monkeypatch.setattr(leases, "WATCH_SECONDS", 0.05)
    async with opened("mariadb") as database:
        reading = asyncio.create_task(database.leases.read("SELECT sleep(20)", (), Permit()))
        async with asyncio.timeout(10):
            while not any(lease.is_late for lease in database.leases._busy) and not reading.done():
                await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert [tuple(row) for row in await database.leases.read("SELECT 7", (), Permit())] == [(7,)]


@pytest.mark.parametrize("kind", SERVERS)
async def test_a_session_and_a_read_of_the_librarys_wait_not_for_a_silent_server(anyio_backend, kind, monkeypatch):
    async with databases.scratch("mariadb" if kind == "asyncmy" else kind, "late") as made:
        url = made.replace("aiomysql", "asyncmy") if kind == "asyncmy" else made
        async with Wire(make_url(url).port) as wire, behind(wire, url) as database:
            for cut in (False, True, False):
                wire.cut = cut
                monkeypatch.setattr(patience, "ANSWER_SECONDS_MAX", 0.5 if cut else 30)
                for ask in (_by_session, _by_library):
                    if cut:
                        error = await asyncio.wait_for(failed(ask(database)), 20)
                        told = faults.told(error, name="tenant_pool_1", zone=Zone.POOL)
                        assert isinstance(told, errors.PoolUnavailable | errors.CentralUnavailable)
                        assert not faults.again(error)
                    else:
                        assert await ask(database) == 1


async def _by_session(database: Database) -> object:
    async with patience.PatientSession(database.engine) as session:
        found = await session.execute(sa.select(sa.literal(1)), execution_options={"permit": Permit()})
        await session.commit()
        return found.scalar_one()


async def _by_library(database: Database) -> object:
    who = fetch.Seen(database, Permit(), {})
    return (await fetch._send(who, sa.select(sa.literal(1)), {}))[0][0]


async def test_a_commit_that_is_not_answered_is_not_run_again(anyio_backend, monkeypatch):
    async with (
        databases.scratch("mariadb", "late") as url,
        Wire(make_url(url).port) as wire,
        behind(wire, url) as database,
        patience.PatientSession(database.engine) as session,
    ):
        await session.execute(sa.select(sa.literal(1)), execution_options={"permit": Permit()})
        wire.cut = True
        monkeypatch.setattr(patience, "ANSWER_SECONDS_MAX", 0.5)
        error = await asyncio.wait_for(failed(session.commit()), 20)
        assert isinstance(error, faults.Unanswered)
        assert faults.lost(error)
        assert not faults.again(error)


def test_each_kind_of_server_is_told_its_limit_in_its_own_words(monkeypatch):
    monkeypatch.setattr(leases, "STATEMENT_SECONDS_MAX", 5)
    mysql: Any = make_url("mysql+aiomysql://").get_dialect()()
    assert leases.limit(mysql) == "SET SESSION max_execution_time = 5000"
    mysql.is_mariadb = True
    assert leases.limit(mysql) == "SET SESSION max_statement_time = 5"
    assert leases.limit(make_url("postgresql+asyncpg://").get_dialect()()) == "SET statement_timeout = 5000"
    assert leases.limit(make_url("sqlite+aiosqlite://").get_dialect()()) is None


@pytest.mark.parametrize("kind", SERVERS)
async def test_a_slow_read_of_the_librarys_is_ended_on_the_server_too(anyio_backend, kind, monkeypatch):
    monkeypatch.setattr(leases, "STATEMENT_SECONDS_MAX", 1)
    async with opened(kind) as database:
        slow = sa.func.pg_sleep(20) if kind == "postgresql" else sa.func.sleep(20)
        error = await failed(fetch._send(fetch.Seen(database, Permit(), {}), sa.select(slow), {}))
        assert isinstance(error, errors.TimedOut)
