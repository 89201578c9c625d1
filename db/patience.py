"""How long anybody waits for a server that has taken a statement and says nothing; planned reads have their own watch.

Whoever waits in vain loses the connection, and hears that the database does not answer. How long a statement may run
on a server that is well is said to that server (`db/leases.py`).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from db import faults

# Longer than a planned read waits: a write may wait for others' locks.
ANSWER_SECONDS_MAX = 10.0


@contextlib.asynccontextmanager
async def answered() -> AsyncIterator[None]:
    """What is asked in this block is answered in time. Raises NoAnswer."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            yield
    except TimeoutError as error:
        raise faults.NoAnswer(f"no answer within {ANSWER_SECONDS_MAX:.0f} seconds") from error


class PatientSession(AsyncSession):
    """A session of which each statement, and the commit, is answered in time. Raises NoAnswer."""

    async def connection(self, *given: Any, **more: Any) -> AsyncConnection:
        async with answered():
            return await super().connection(*given, **more)

    async def execute(self, *given: Any, **more: Any) -> Any:
        async with answered():
            return await super().execute(*given, **more)

    async def scalar(self, *given: Any, **more: Any) -> Any:
        async with answered():
            return await super().scalar(*given, **more)

    async def flush(self, *given: Any, **more: Any) -> None:
        async with answered():
            await super().flush(*given, **more)

    async def commit(self) -> None:
        try:
            async with answered():
                await super().commit()
        except faults.NoAnswer as error:
            raise faults.Unanswered from error
