"""Statements that are sent together: what each is answered with is what it would be alone, whatever the others do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from db import faults, leases, together
from db.guard import GuardError, Permit
from tests.db.test_leases import ENGINES, opened, running

NUMBERS = "SELECT %s + 1, %s"
MANY = "SELECT seq, repeat('x', %s) FROM seq_1_to_2000"


def plain(outcomes: list[Any]) -> list[Any]:
    return [[tuple(row) for row in each] if not isinstance(each, Exception) else type(each) for each in outcomes]


@pytest.fixture
def written(monkeypatch) -> list[int]:
    """How many statements went out together, each time that any did."""
    found: list[int] = []
    write = together.write

    def counting(raw, asked):
        sent = write(raw, asked)
        if sent is not None:
            found.append(len(sent))
        return sent

    monkeypatch.setattr(together, "write", counting)
    return found


@pytest.mark.parametrize("kind", ENGINES)
async def test_every_driver_answers_each_in_its_order(anyio_backend, kind, written):
    async with opened(kind) as database:
        asked = [(f"SELECT {number}", ()) for number in range(4)]
        for _ in range(2):
            assert plain(await database.leases.read_all(asked, Permit())) == [[(number,)] for number in range(4)]
        assert database.leases.count == database.leases.free == 1
        # The first time they were not prepared yet.
        assert written == ([4] if kind == "asyncmy" else [])


async def test_values_nulls_and_answers_of_many_packets_are_read_as_alone(anyio_backend, written):
    async with opened("asyncmy") as database:
        asked = [(NUMBERS, (1, "ä")), (MANY, (100,)), (NUMBERS, (2**40, None)), ("SELECT 1 WHERE 1 = 0", ())]
        alone = [await database.leases.read(sql, values, Permit()) for sql, values in asked]
        for _ in range(3):
            assert plain(await database.leases.read_all(asked, Permit())) == plain(alone)
        assert written == [4] * 3
        # And alone again, on the same connection.
        assert plain([await database.leases.read(*asked[1], Permit())]) == plain([alone[1]])
        assert database.leases.count == 1


async def test_one_that_fails_costs_itself_alone(anyio_backend, written):
    async with opened("asyncmy") as database:
        asked = [("SELECT 1", ()), ("SELECT (SELECT seq FROM seq_1_to_2 WHERE seq < %s)", (9,)), ("SELECT 2", ())]
        good = [asked[0], (asked[1][0], (2,)), asked[2]]
        for _ in range(2):
            assert plain(await database.leases.read_all(good, Permit())) == [[(1,)], [(1,)], [(2,)]]
        first, failed, last = await database.leases.read_all(asked, Permit())
        assert plain([first, last]) == [[(1,)], [(2,)]]
        assert isinstance(failed, Exception)
        assert not faults.lost(failed)
        assert written == [3, 3]


async def test_a_connection_that_died_meanwhile_is_replaced(anyio_backend, written):
    async with opened("asyncmy") as database:
        asked = [("SELECT connection_id()", ()), ("SELECT 5", ())]
        await database.leases.read_all(asked, Permit())
        before, _ = plain(await database.leases.read_all(asked, Permit()))
        async with database.engine.connect() as other:
            await other.execution_options(migrating=True)
            await other.exec_driver_sql(f"KILL {before[0][0]}")
        after, five = plain(await database.leases.read_all(asked, Permit()))
        assert after != before
        assert five == [(5,)]
        assert written[0] == 2


async def test_who_leaves_takes_all_of_them_along(anyio_backend, written):
    async with opened("asyncmy") as database:
        sleeps = [("SELECT sleep(%s)", (0,)), ("SELECT sleep(%s) + 0", (0,))]
        for _ in range(2):
            await database.leases.read_all(sleeps, Permit())
        slow = [(sql, (20,)) for sql, _ in sleeps]
        reading = asyncio.create_task(database.leases.read_all(slow, Permit()))
        await asyncio.sleep(0.3)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await asyncio.wait_for(asyncio.gather(*database.leases._tasks), 10)
        async with asyncio.timeout(10):
            while any("sleep" in (text or "") for (text,) in await running(database)):
                await asyncio.sleep(0.05)
        assert plain(await database.leases.read_all([("SELECT 7", ()), ("SELECT 8", ())], Permit())) == [[(7,)], [(8,)]]


async def test_a_server_that_says_nothing_is_given_up_for_all_of_them(anyio_backend, written, monkeypatch):
    async with opened("asyncmy") as database:
        asked = [("SELECT %s", (1,)), ("SELECT sleep(%s)", (0,)), ("SELECT %s + 2", (1,))]
        for _ in range(2):
            await database.leases.read_all(asked, Permit())
        monkeypatch.setattr(leases, "ANSWER_SECONDS_MAX", 0.3)
        monkeypatch.setattr(leases, "WATCH_SECONDS", 0.1)
        late = [asked[0], (asked[1][0], (20,)), asked[2]]
        first, *rest = await asyncio.wait_for(database.leases.read_all(late, Permit()), 10)
        assert plain([first]) == [[(1,)]]
        assert [type(each) for each in rest] == [faults.NoAnswer] * 2


async def test_the_guard_reads_all_of_them_before_any_is_sent(anyio_backend, written):
    async with opened("asyncmy") as database:
        with pytest.raises(GuardError):
            await database.leases.read_all([("SELECT 1", ()), ("DROP TABLE videos", ())], Permit())
        assert (written, database.leases.count) == ([], 0)
