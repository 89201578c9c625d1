"""The planning thread: one a process, on which all work about documents that nobody has sent before is done.

Its queue is short, and of one client address it holds two pieces at most; a few more wait at the door for a moment,
as a page asks its first questions at once. Whoever comes past that is told when to come again. So the event loop
only ever runs plans, and who sends known documents does not notice who sends new ones.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from base import errors, observe
from tenancy import hosts

QUEUE_MAX = 32
QUEUE_OF_AN_ADDRESS_MAX = 2
DOOR_MAX = 256
DOOR_OF_AN_ADDRESS_MAX = 16
DOOR_SECONDS_MAX = 1.0
RETRY_SECONDS = 1
# How long the thread may go on while the loop wants to: the interpreter's own 5 ms are felt by whoever waits.
SWITCH_SECONDS = 0.0005

T = TypeVar("T")


class Planning:
    """The thread and its queue; used by one event loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="planning")
        self._inside = 0
        self._of: Counter[str] = Counter()
        self._door: deque[tuple[str, asyncio.Future[None]]] = deque()
        self._at_door: Counter[str] = Counter()

    @property
    def inside(self) -> int:
        """How many pieces of work are queued or under way."""
        return self._inside

    @property
    def waiting(self) -> int:
        """How many wait at the door."""
        return len(self._door)

    async def do(self, address: str, work: Callable[[], T]) -> T:
        """What `work` returns or raises, done on the thread. Raises RateLimited where there is no place in the queue.

        Work whose caller goes away before it was begun is never done.
        """
        who = hosts.network(address)
        await self._enter(who)
        loop = asyncio.get_running_loop()

        def done(_: object) -> None:
            # Told by the thread, or by the loop where it was cancelled; a loop that is closed needs no telling.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._leave, who)

        under_way = self._thread.submit(work)
        under_way.add_done_callback(done)
        return await asyncio.wrap_future(under_way)

    async def _enter(self, who: str) -> None:
        if not self._at_door[who] and self._has_place(who):
            self._take(who)
            return
        if len(self._door) >= DOOR_MAX or self._at_door[who] >= DOOR_OF_AN_ADDRESS_MAX:
            raise _full()
        place = asyncio.get_running_loop().create_future()
        self._door.append((who, place))
        self._at_door[who] += 1
        try:
            await asyncio.wait((place,), timeout=DOOR_SECONDS_MAX)
        except asyncio.CancelledError:
            if place.done():
                self._leave(who)
            else:
                self._go(who, place)
            raise
        if not place.done():
            self._go(who, place)
            raise _full()

    def _has_place(self, who: str) -> bool:
        return self._inside < QUEUE_MAX and self._of[who] < QUEUE_OF_AN_ADDRESS_MAX

    def _take(self, who: str) -> None:
        self._inside += 1
        self._of[who] += 1

    def _leave(self, who: str) -> None:
        self._inside -= 1
        _less(self._of, who)
        for waiting, place in tuple(self._door):
            if self._has_place(waiting):
                self._go(waiting, place)
                self._take(waiting)
                place.set_result(None)

    def _go(self, who: str, place: asyncio.Future[None]) -> None:
        self._door.remove((who, place))
        _less(self._at_door, who)


def _less(counter: Counter[str], who: str) -> None:
    counter[who] -= 1
    if not counter[who]:
        del counter[who]


def _full() -> errors.RateLimited:
    observe.DOCUMENTS.labels("turned_away").inc()
    return errors.RateLimited(
        f"Too many new documents at once: wait {RETRY_SECONDS} second and send it again.", RETRY_SECONDS
    )
