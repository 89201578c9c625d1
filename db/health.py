"""Whether each database answers, asked at most once a second however often one is asked."""

from __future__ import annotations

import asyncio
import time

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from db.session import Sessions

ANSWER_SECONDS_MAX = 2.0
KEPT_SECONDS = 1.0


class Health:
    """One process's view of its databases."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._asking: asyncio.Task[dict[str, bool]] | None = None
        self._until = 0.0

    async def states(self) -> dict[str, bool]:
        """Name → whether it answers within two seconds; `central` first."""
        if self._asking is None or (self._asking.done() and time.monotonic() >= self._until):
            self._asking = asyncio.create_task(self._ask())
        return dict(await asyncio.shield(self._asking))

    async def _ask(self) -> dict[str, bool]:
        databases = self._sessions.databases.all()
        found = await asyncio.gather(*(_answers(database.reader) for database in databases))
        self._until = time.monotonic() + KEPT_SECONDS
        return {database.name: up for database, up in zip(databases, found, strict=True)}


async def _answers(engine: AsyncEngine) -> bool:
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX), engine.connect() as connection:
            return await connection.scalar(sa.select(sa.literal(1))) == 1
    except Exception:
        return False
