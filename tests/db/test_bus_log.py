"""Notices through central's `bus_log`: none is lost to a central that was away, nor to a flood of them."""

from __future__ import annotations

import asyncio

import pytest

from base import errors
from base.bus import Notice
from db import bus_log
from db.bus_log import BusLogTransport

pytestmark = pytest.mark.anyio


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(bus_log, "POLL_SECONDS", 0.01)


@pytest.fixture
async def heard(world, quick):
    """What another process hears, from now on."""
    told: list[Notice] = []
    listening = asyncio.create_task(BusLogTransport(world.house.sessions).run(told.append))
    async with asyncio.timeout(20):
        # Its first look says that anything may have changed before it.
        while told != [Notice("reset", "")]:
            await asyncio.sleep(0.01)
    yield told
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def _until(is_so):
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.01)


async def _tell(world, *notices):
    teller = BusLogTransport(world.house.sessions)
    await teller.send(list(notices))
    await teller._poll(None)


def _away(monkeypatch, sessions):
    async def central(*_, **__):
        raise errors.CentralUnavailable("away")

    monkeypatch.setattr(sessions, "central", central)


async def test_what_a_pools_transaction_told_is_kept_while_central_is_away(world, heard, monkeypatch):
    teller = BusLogTransport(world.house.sessions)
    await teller.send([Notice("wallet", "alice1")])
    with monkeypatch.context() as away:
        _away(away, world.house.sessions)
        with pytest.raises(errors.CentralUnavailable):
            await teller._poll(None)
    await teller._poll(None)
    await _until(lambda: Notice("wallet", "alice1") in heard)


async def test_more_notices_than_are_read_at_once_are_all_heard(world, heard, monkeypatch):
    monkeypatch.setattr(bus_log, "ROWS_MAX", 7)
    told = [Notice("wallet", str(number)) for number in range(40)]
    await _tell(world, *told)
    await _until(lambda: set(told) <= set(heard))


async def test_a_central_that_is_away_at_the_start_is_listened_to_once_it_is_back(world, quick, monkeypatch):
    told: list[Notice] = []
    with monkeypatch.context() as away:
        _away(away, world.house.sessions)
        listening = asyncio.create_task(BusLogTransport(world.house.sessions).run(told.append))
        await asyncio.sleep(0.05)
    await _until(lambda: Notice("reset", "") in told)
    async with asyncio.timeout(20):
        while Notice("wallet", "bob2") not in told:
            await _tell(world, Notice("wallet", "bob2"))
            await asyncio.sleep(0.05)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
