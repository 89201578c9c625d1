"""The deployment's one clock: central's, known as an offset to this process's monotonic clock.

Leases, expiries and tolerances of different processes are compared with each other, so a
process whose own clock is wrong must not decide them.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from db.columns import utc_now

MEASURED_EVERY_SECONDS = 10.0
AGAIN_SECONDS = 1.0
ROUND_TRIP_SECONDS_MAX = 1.0

_NOW: dict[str, sa.ColumnElement[Any]] = {
    "sqlite": sa.func.strftime("%Y-%m-%d %H:%M:%f", "now", type_=sa.String),
    "postgresql": sa.func.clock_timestamp(type_=sa.DateTime(timezone=True)),
}
_UTC_TIMESTAMP: sa.ColumnElement[Any] = sa.func.utc_timestamp(sa.literal_column("6"), type_=sa.DateTime)


class Clock:
    """Central's time without a statement: measured every ten seconds, kept when central does not answer."""

    def __init__(self) -> None:
        self._base = utc_now()
        self._at = time.monotonic()
        self._due = 0.0
        self._is_measured = False
        self._first = asyncio.Lock()

    def now(self) -> datetime:
        """Central's time, UTC."""
        return self._base + timedelta(seconds=time.monotonic() - self._at)

    async def ensure(self, central: AsyncEngine) -> None:
        """Measure again when the last measurement is ten seconds old; until there is one, everybody waits for it."""
        if time.monotonic() < self._due:
            return
        if self._is_measured:
            self._due = time.monotonic() + MEASURED_EVERY_SECONDS
            await self._measure(central)
            return
        # Nobody goes by this process's own clock while another asks for the first time.
        async with self._first:
            if time.monotonic() < self._due:
                return
            is_known = await self._measure(central)
            self._due = time.monotonic() + (MEASURED_EVERY_SECONDS if is_known else AGAIN_SECONDS)

    async def _measure(self, central: AsyncEngine) -> bool:
        try:
            async with central.connect() as connection:
                asked = time.monotonic()
                found = await connection.scalar(sa.select(_NOW.get(central.dialect.name, _UTC_TIMESTAMP)))
                answered = time.monotonic()
        except Exception:
            return False  # whoever asked meets the same fault where it can be told
        moment = datetime.fromisoformat(found) if isinstance(found, str) else found
        # A slow answer is worth less than the last one, and more than none.
        if moment is not None and (answered - asked < ROUND_TRIP_SECONDS_MAX or not self._is_measured):
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
            self._base, self._at = moment, (asked + answered) / 2
            self._is_measured = True
        return self._is_measured
