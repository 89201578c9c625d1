"""The deployment's clock: whoever asks before it was ever measured waits for that, and never gets the process's own."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from db import engines
from db.clock import Clock
from db.columns import utc_now
from tests import databases

pytestmark = pytest.mark.anyio

WRONG = timedelta(minutes=10)


@pytest.mark.parametrize("wrong", [WRONG, -WRONG], ids=["ahead", "behind"])
async def test_of_many_who_ask_at_once_nobody_goes_by_the_processs_own_clock(wrong):
    async with databases.opened("sqlite", "clock") as engine:
        clock = Clock()
        clock._base += wrong

        async def ask():
            await clock.ensure(engine)
            return abs(clock.now() - utc_now())

        apart = await asyncio.gather(*(ask() for _ in range(8)))
        assert max(apart) < WRONG / 2


async def test_while_central_is_away_it_is_asked_for_again(monkeypatch):
    async with databases.opened("sqlite", "clock") as engine:
        clock = Clock()
        clock._base += WRONG
        nowhere = engines.open_engine("sqlite+aiosqlite:////nowhere/at/all.sqlite3")
        await clock.ensure(nowhere)
        monkeypatch.setattr(clock, "_due", 0.0)
        await clock.ensure(engine)
        assert abs(clock.now() - utc_now()) < WRONG / 2
        await nowhere.dispose()
