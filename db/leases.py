"""Raw connections for planned reads: taken once from the reader's pool, kept in a stack, returned when idle.

Checking a connection out of the pool for each statement costs more than the statement's own work on this side.
Every text passes the guard here too. What is asked for together is sent together, where the driver can
(`db/together.py`). Each connection has told its server how long a statement may run, so that a slow
one is really ended there; one watch a database ends what a server that answers nothing has left hanging. What is
read is not known here (`execution/shapes.py`).
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.util import greenlet_spawn

from base import observe
from db import faults, together
from db.guard import Guard, Permit
from db.together import Statement, Tuples

LEASES_MAX = 10
LEASE_SECONDS_MAX = 1_500
IDLE_SECONDS_MAX = 60.0
WAIT_SECONDS_MAX = 10.0
END_SECONDS_MAX = 3.0
CONNECT_SECONDS_MAX = 4.0
STATEMENT_SECONDS_MAX = 5  # on the server, which then says so
ANSWER_SECONDS_MAX = 8.0  # for one that says nothing: longer than any statement may run
WATCH_SECONDS = 1.0

Send = Callable[[Any, str, tuple[Any, ...]], Awaitable[Tuples]]


@dataclass(slots=True, eq=False)
class _Lease:
    """One connection of the pool that is ours for a while."""

    held: PoolProxiedConnection
    raw: Any
    pool: object
    until: float
    used_at: float = 0.0
    began_at: float = 0.0
    task: asyncio.Task[Any] | None = None  # whose statement it is busy with
    is_late: bool = False


def limit(dialect: Dialect) -> str | None:
    """What tells a server how long a statement of a reading connection may run; SQLite has the watch alone."""
    if dialect.name == "postgresql":
        return f"SET statement_timeout = {STATEMENT_SECONDS_MAX * 1000}"
    if dialect.name == "sqlite":
        return None
    if getattr(dialect, "is_mariadb", False):
        return f"SET SESSION max_statement_time = {STATEMENT_SECONDS_MAX}"
    return f"SET SESSION max_execution_time = {STATEMENT_SECONDS_MAX * 1000}"


class Leases:
    """The leased connections of one reader engine, which is in autocommit."""

    def __init__(self, engine: AsyncEngine, name: str, *, guard: Guard) -> None:
        self.dialect: Dialect = engine.dialect
        self._engine = engine
        self._sync = engine.sync_engine  # asked for its pool after each statement: the other way there is longer
        self._guard = guard
        self._counter = observe.STATEMENTS.labels(name)
        self._send = _SENDS[engine.dialect.driver]
        self.sends_together = engine.dialect.driver == "asyncmy"
        self._free: list[_Lease] = []
        self._waiters: deque[asyncio.Future[_Lease]] = deque()
        self._busy: set[_Lease] = set()
        self._count = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._tidying: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def free(self) -> int:
        """Connections that wait for a statement."""
        return len(self._free)

    @property
    def busy(self) -> int:
        """Statements that are waited for."""
        return len(self._busy) + len(self._waiters)

    @property
    def count(self) -> int:
        """Connections that are leased, busy or not."""
        return self._count

    def is_open(self, sql: str) -> bool:
        """Whether a text names no table that the guard watches: what it answers is the same for everybody."""
        return self._guard.is_open(sql)

    def read(self, sql: str, values: tuple[Any, ...], permit: Permit) -> Awaitable[Tuples]:
        """The rows of one statement as the driver gives them. Raises GuardError before anything is sent.

        Whatever goes wrong ends the connection. A connection that died while it lay free is replaced once.
        """
        self._guard.check(sql, values, False, permit)
        return self._read(sql, values)

    async def read_all(self, asked: Sequence[Statement], permit: Permit) -> list[Tuples | Exception]:
        """What came of each statement, in their order, over one connection. Raises GuardError before any is sent."""
        for sql, values in asked:
            self._guard.check(sql, values, False, permit)
        found = await self._read_together(asked) if self.sends_together else []
        for sql, values in asked[len(found) :]:
            try:
                found.append(await self._read(sql, values))
            except Exception as error:
                found.append(error)
        return found

    async def close(self) -> None:
        """Return every free connection and wait for those that are being ended."""
        for timer in (self._tidying, self._watching):
            if timer is not None:
                timer.cancel()
        self._tidying = self._watching = None
        free, self._free = self._free, []
        self._count -= len(free)
        for lease in free:
            await greenlet_spawn(lease.held.close)
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=END_SECONDS_MAX)

    async def _read(self, sql: str, values: tuple[Any, ...]) -> Tuples:
        self._counter.value += 1
        lease = self._free.pop() if self._free else await self._another()
        fresh = lease.used_at == 0.0
        try:
            return await self._sent(lease, sql, values)
        except Exception as error:
            if fresh or isinstance(error, faults.NoAnswer) or not faults.lost(error):
                raise
            self._drop_free(error)
            return await self._sent(await self._another(), sql, values)

    async def _sent(self, lease: _Lease, sql: str, values: tuple[Any, ...]) -> Tuples:
        """The rows of a statement on this connection, which is free again or gone afterwards."""
        self._begin(lease)
        try:
            rows = await self._send(lease.raw, sql, values)
        except BaseException as error:
            failure = self._failed(lease, error)
            if failure is error:
                raise
            raise failure from error
        self._end_of(lease)
        return rows

    async def _read_together(self, asked: Sequence[Statement]) -> list[Tuples | Exception]:
        """What came of the first of them; what is not there was not answered, and may be asked for singly."""
        lease = self._free.pop() if self._free else await self._another()
        self._begin(lease)
        found: list[Tuples | Exception] = []
        try:
            sent = together.write(lease.raw, asked)
            self._counter.value += 0 if sent is None else len(sent)
            for statement in sent or ():
                found.append(await together.answer(lease.raw, statement))
                lease.began_at = time.monotonic()
        except BaseException as error:
            failure = self._failed(lease, error)
            if isinstance(failure, faults.NoAnswer):
                return found + [failure] * (len(asked) - len(found))
            if not isinstance(failure, Exception):
                raise
            return found if faults.lost(failure) else [*found, failure]
        self._end_of(lease)
        return found

    def _begin(self, lease: _Lease) -> None:
        # Without its loop, a task is found by a system call.
        lease.task, lease.began_at = asyncio.current_task(self._loop), time.monotonic()
        self._busy.add(lease)
        if self._watching is None:
            self._watching = asyncio.get_running_loop().call_later(WATCH_SECONDS, self._watch)

    def _end_of(self, lease: _Lease) -> None:
        self._busy.discard(lease)
        lease.task = None
        self._give_back(lease)

    def _failed(self, lease: _Lease, error: BaseException) -> BaseException:
        """What to tell of it. The connection is ended."""
        self._busy.discard(lease)
        self._drop(lease, error)
        # We were cancelled by our own watch, unless somebody else cancelled us as well.
        if lease.is_late and lease.task is not None and lease.task.uncancel() == 0:
            return faults.NoAnswer(f"no answer within {ANSWER_SECONDS_MAX:.0f} seconds")
        return error

    def _watch(self) -> None:
        """One look a second at what is busy costs a statement less than a timer of its own."""
        self._watching = None
        before = time.monotonic() - ANSWER_SECONDS_MAX
        for lease in self._busy:
            if lease.began_at <= before and not lease.is_late and lease.task is not None:
                lease.is_late = True
                lease.task.cancel()
        if self._busy:
            self._watching = asyncio.get_running_loop().call_later(WATCH_SECONDS, self._watch)

    # ---------------------------------------------------------------- getting and giving back

    async def _another(self) -> _Lease:
        if self._count < LEASES_MAX:
            self._count += 1
            try:
                return await self._connect()
            except BaseException as error:
                self._count -= 1
                self._tell_waiters(error)
                raise
        waiter: asyncio.Future[_Lease] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                return await waiter
        except BaseException:
            # It may have been handed to us in the same moment.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_back(waiter.result())
            raise

    async def _connect(self) -> _Lease:
        pool = self._engine.pool
        self._loop = asyncio.get_running_loop()  # whose connections these are
        held: PoolProxiedConnection | None = None
        try:
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                held = await self._engine.raw_connection()
                raw = held.driver_connection
        except BaseException as error:
            if held is not None:
                self._later(_gone(held))
            if isinstance(error, TimeoutError):
                raise faults.NoAnswer(f"no connection within {CONNECT_SECONDS_MAX:.0f} seconds") from error
            raise
        return _Lease(held, raw, pool, time.monotonic() + LEASE_SECONDS_MAX)

    def _tell_waiters(self, error: BaseException) -> None:
        """Those who wait hear that no connection can be had, unless one that is out may still come back to them."""
        if self._count > 0:
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(error if isinstance(error, Exception) else ConnectionError("no connection"))
                # Whoever has stopped waiting need not hear it.
                waiter.exception()

    def _give_back(self, lease: _Lease) -> None:
        lease.used_at = now = time.monotonic()
        if now > lease.until or lease.pool is not self._sync.pool:
            self._end(lease.held.close)
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(lease)
                return
        self._free.append(lease)
        if self._tidying is None:
            self._tidying = asyncio.get_running_loop().call_later(IDLE_SECONDS_MAX, self._tidy)

    def _tidy(self) -> None:
        self._tidying = None
        before = time.monotonic() - IDLE_SECONDS_MAX
        # The stack's bottom has lain the longest.
        while self._free and self._free[0].used_at <= before:
            self._end(self._free.pop(0).held.close)
        if self._free:
            self._tidying = asyncio.get_running_loop().call_later(IDLE_SECONDS_MAX, self._tidy)

    # ---------------------------------------------------------------- ending

    def _drop(self, lease: _Lease, error: BaseException) -> None:
        """A connection that something went wrong on is never used again; a statement still running is ended."""
        if isinstance(error, asyncio.CancelledError):
            if self._engine.dialect.driver in _KILLED_BY_NUMBER:
                self._later(self._kill(lease.raw.thread_id()))
            elif self._engine.dialect.driver == "aiosqlite":
                self._later(lease.raw.interrupt())
        known = error if isinstance(error, Exception) else None
        self._end(lambda: lease.held.invalidate(known))

    def _drop_free(self, error: BaseException) -> None:
        known = error if isinstance(error, Exception) else None
        while self._free:
            lease = self._free.pop()
            self._end(lambda held=lease.held: held.invalidate(known))  # type: ignore[misc]

    async def _kill(self, number: int) -> None:
        # The server goes on with a statement whose client is gone until it has something to send, and then with those
        # that were sent with it.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                held = await self._engine.raw_connection()
                try:
                    await self._send(held.driver_connection, f"KILL {number:d}", ())
                finally:
                    await greenlet_spawn(held.close)

    def _end(self, how: Callable[[], object]) -> None:
        self._later(self._ended(how))

    async def _ended(self, how: Callable[[], object]) -> None:
        with contextlib.suppress(Exception):
            await greenlet_spawn(how)
        self._count -= 1
        waiting = next((waiter for waiter in self._waiters if not waiter.done()), None)
        if waiting is not None and self._count < LEASES_MAX:
            self._waiters.remove(waiting)
            self._count += 1
            try:
                lease = await self._connect()
            except BaseException as error:
                self._count -= 1
                self._waiters.appendleft(waiting)
                self._tell_waiters(error)
                return
            if waiting.done():
                self._give_back(lease)
            else:
                waiting.set_result(lease)

    def _later(self, doing: Any) -> None:
        task = asyncio.get_running_loop().create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _gone(held: PoolProxiedConnection) -> None:
    with contextlib.suppress(Exception):
        await greenlet_spawn(held.invalidate)


async def _by_asyncmy(raw: Any, sql: str, values: tuple[Any, ...]) -> Tuples:
    cursor = raw.cursor()
    await cursor.execute(sql, values)
    found: Tuples = cursor._rows  # noqa: SLF001  (fetchall() is a coroutine that copies them)
    return found


async def _by_aiomysql(raw: Any, sql: str, values: tuple[Any, ...]) -> Tuples:
    cursor = await raw.cursor()
    await cursor.execute(sql, values)
    found: Tuples = await cursor.fetchall()
    await cursor.close()
    return found


async def _by_asyncpg(raw: Any, sql: str, values: tuple[Any, ...]) -> Tuples:
    found: Tuples = await raw.fetch(sql, *values)
    return found


async def _by_aiosqlite(raw: Any, sql: str, values: tuple[Any, ...]) -> Tuples:
    found: Tuples = list(await raw.execute_fetchall(sql, values))
    return found


_SENDS: dict[str, Send] = {
    "asyncmy": _by_asyncmy,
    "aiomysql": _by_aiomysql,
    "asyncpg": _by_asyncpg,
    "aiosqlite": _by_aiosqlite,
}
_KILLED_BY_NUMBER = frozenset({"asyncmy", "aiomysql"})
