"""One migration at a time in a database, by a row: advisory and table locks are refused by some engines we serve.

The holder's row carries a beat that keeps changing. Whoever waits takes the row over, by
compare-and-set, once the beat has stood still for `DEAD_SECONDS` of the waiter's own monotonic
clock, so no two clocks are ever compared. Each revision's transaction begins by changing the row:
where DDL is transactional that keeps the row locked until the commit; where every DDL commits by
itself (the MySQL family) a second connection keeps the beat going meanwhile.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from db import faults
from db.columns import MYSQL, Exact

DEAD_SECONDS = 30.0
BEAT_SECONDS = 5.0
POLL_SECONDS = 0.2
WAIT_SECONDS_MAX = 900.0
PREPARE_TRIES_MAX = 10
GIVE_BACK_TRIES_MAX = 10

OPTIONS = {"migrating": True, "writes": True}

LOCKS = sa.Table(
    "migration_locks",
    sa.MetaData(),
    sa.Column("name", Exact(16), primary_key=True),
    sa.Column("owner", Exact(32), nullable=False),
    sa.Column("beat", sa.BigInteger(), nullable=False),
    sa.Column("begun", Exact(32), nullable=False),
)


class LockLost(Exception):
    """Another process took this one for dead and migrates now; what was not committed is rolled back."""


class LockBusy(Exception):
    """Another process has been migrating this database for longer than `WAIT_SECONDS_MAX`."""


@dataclass(frozen=True, slots=True)
class Lock:
    """The right to migrate one tree of one database."""

    name: str
    owner: str

    def keep(self, connection: sa.Connection, *, begun: str = "") -> str:
        """Show, inside a revision's transaction, that the lock is still ours; say which revision is begun.

        Returns the revision that was noted as begun before: one that a dead process left half done
        where DDL is not transactional. Raises LockLost.
        """
        mine = (LOCKS.c.name == self.name) & (LOCKS.c.owner == self.owner)
        changed = connection.execute(sa.update(LOCKS).where(mine).values(beat=LOCKS.c.beat + 1))
        before = connection.execute(sa.select(LOCKS.c.begun).where(mine)).scalar()
        if changed.rowcount != 1 or before is None:
            raise LockLost(f"another process has taken over the migration of {self.name}: run `atrium migrate` again")
        if before != begun:
            connection.execute(sa.update(LOCKS).where(mine).values(begun=begun))
        return str(before)


@contextlib.asynccontextmanager
async def held(engine: AsyncEngine, name: str, *, dead_seconds: float = DEAD_SECONDS) -> AsyncIterator[Lock]:
    """Wait for the lock, hold it, give it back."""
    await _prepare(engine, name)
    lock = Lock(name, secrets.token_hex(16))
    await _take(engine, lock, dead_seconds=dead_seconds)
    beating = asyncio.create_task(_beat(engine, lock)) if engine.dialect.name in MYSQL else None
    try:
        yield lock
    finally:
        if beating is not None:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
        await _give_back(engine, lock)


async def _prepare(engine: AsyncEngine, name: str) -> None:
    """The table and the row, if they are missing; somebody else may be making them at this moment."""
    async with engine.connect() as plain:
        connection = await plain.execution_options(**OPTIONS)
        for left in reversed(range(PREPARE_TRIES_MAX)):
            try:
                await connection.run_sync(lambda c: LOCKS.create(c, checkfirst=True))
                if await connection.scalar(sa.select(LOCKS.c.name).where(LOCKS.c.name == name)) is None:
                    await connection.execute(sa.insert(LOCKS).values(name=name, owner="", beat=0, begun=""))
                await connection.commit()
                return
            except DBAPIError:
                await connection.rollback()
                if not left:
                    raise
                await asyncio.sleep(POLL_SECONDS)


async def _take(engine: AsyncEngine, lock: Lock, *, dead_seconds: float) -> None:
    ours = LOCKS.c.name == lock.name
    seen = ("", -1)
    since = started = time.monotonic()
    while time.monotonic() - started < WAIT_SECONDS_MAX:
        owner, beat = await _read(engine, ours) or seen
        if (owner, beat) != seen:
            seen, since = (owner, beat), time.monotonic()
        if owner == "" or time.monotonic() - since >= dead_seconds:
            same = ours & (LOCKS.c.owner == owner) & (LOCKS.c.beat == beat)
            if await _write(engine, sa.update(LOCKS).where(same).values(owner=lock.owner, beat=beat + 1)) == 1:
                return
        await asyncio.sleep(POLL_SECONDS)
    raise LockBusy(f"{lock.name} has been migrated by another process for more than {WAIT_SECONDS_MAX:.0f} s")


async def _give_back(engine: AsyncEngine, lock: Lock) -> None:
    """Let the next one in at once; where that fails, it comes in after `DEAD_SECONDS`.

    A revision that is begun and not done stays noted: whoever comes next has to know.
    """
    for _ in range(GIVE_BACK_TRIES_MAX):
        if await _write(engine, sa.update(LOCKS).where(LOCKS.c.owner == lock.owner).values(owner="")) == 1:
            return
        await asyncio.sleep(POLL_SECONDS)


async def _beat(engine: AsyncEngine, lock: Lock) -> None:
    while True:
        await asyncio.sleep(BEAT_SECONDS)
        mine = (LOCKS.c.name == lock.name) & (LOCKS.c.owner == lock.owner)
        await _write(engine, sa.update(LOCKS).where(mine).values(beat=LOCKS.c.beat + 1))


async def _write(engine: AsyncEngine, statement: sa.Update | sa.Insert) -> int:
    """The rows one statement changed, in a transaction of its own; 0 where the database was busy.

    Busy means that whoever holds the row is at work in it, which is as good as a beat.
    """
    try:
        async with engine.connect() as plain:
            connection = await plain.execution_options(**OPTIONS)
            changed = await connection.execute(statement)
            await connection.commit()
            return changed.rowcount
    except DBAPIError as error:
        if not faults.again(error):
            raise
        return 0


async def _read(engine: AsyncEngine, ours: sa.ColumnElement[bool]) -> tuple[str, int] | None:
    """Who holds the row and its beat; None where the database was busy."""
    try:
        async with engine.connect() as plain:
            connection = await plain.execution_options(**OPTIONS)
            row = (await connection.execute(sa.select(LOCKS.c.owner, LOCKS.c.beat).where(ours))).one()
            return row.owner, row.beat
    except DBAPIError as error:
        if not faults.again(error):
            raise
        return None
