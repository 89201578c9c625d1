"""Worker numbers: found as long as there is one, given again when their lease ended, and never two at once."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from base.ids import LEASE_MS, WORKER_NUMBERS_MAX, IdsExhausted, wall_clock_ms
from db import session
from db.tables.central.work import IdWorker
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio


async def _taken(world, numbers: list[int], *, until_ms: int) -> None:
    engine = world.house.sessions.databases.central.engine
    async with engine.begin() as connection:
        await connection.execution_options(migrating=True)
        await connection.execute(sa.delete(IdWorker))
        rows = [{"number": number, "until_ms": until_ms} for number in numbers]
        await connection.execute(sa.insert(IdWorker), rows)


@on_every_engine
async def test_the_last_number_is_found_at_once_and_then_there_is_none(world, monkeypatch):
    monkeypatch.setattr(session, "LEASE_TRIES_MAX", 1)
    now = wall_clock_ms()
    every = [number for number in range(WORKER_NUMBERS_MAX) if number != 700]
    await _taken(world, every, until_ms=now + LEASE_MS)
    lease = await world.house.sessions._lease_ids(now)
    assert (lease.number, lease.from_ms, lease.until_ms) == (700, now, now + LEASE_MS)
    with pytest.raises(IdsExhausted):
        await world.house.sessions._lease_ids(now)


@on_every_engine
async def test_a_number_is_given_again_from_where_its_lease_ended(world):
    now = wall_clock_ms()
    await _taken(world, list(range(WORKER_NUMBERS_MAX)), until_ms=now - 5)
    first = await world.house.sessions._lease_ids(now)
    later = await world.house.sessions._lease_ids(first.until_ms)
    assert (first.from_ms, later.from_ms) == (now, first.until_ms)
