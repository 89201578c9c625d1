"""How long an operation may run: a time, and as long as its client is there. One timer watches all of them.

What is bounded is not known here.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar, cast

T = TypeVar("T")

# Takes what is to be called when the client hangs up; None takes it back.
OnHangUp = Callable[[Callable[[], None] | None], None]


class Gone(Exception):
    """The client hung up before its answer."""


class _Bounded:
    """A task that is bounded for a while. It is cancelled once, for the first reason there is."""

    __slots__ = ("is_gone", "is_late", "task", "until")

    def __init__(self, task: asyncio.Task[Any], until: float) -> None:
        self.task, self.until = task, until
        self.is_late = self.is_gone = False

    def hang_up(self) -> None:
        """The client is gone."""
        if not self.is_late and not self.is_gone:
            self.is_gone = True
            self.task.cancel()

    def be_late(self) -> None:
        """The time is over."""
        if not self.is_late and not self.is_gone:
            self.is_late = True
            self.task.cancel()


class _Watch:
    """All that is bounded on one event loop, and the timer of whatever ends first."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.bounded: set[_Bounded] = set()
        self._due = float("inf")

    def add(self, seconds: float) -> _Bounded:
        """Bound this very task."""
        until = self.loop.time() + seconds
        bounded = _Bounded(cast("asyncio.Task[Any]", asyncio.current_task(self.loop)), until)
        self.bounded.add(bounded)
        # Most last equally long, so that a timer is set once in that time; one that is not needed any more only looks.
        if until < self._due:
            self._due = until
            self.loop.call_at(until, self._look)
        return bounded

    def _look(self) -> None:
        now = self.loop.time()
        left = float("inf")
        for bounded in self.bounded:
            if bounded.until <= now:
                bounded.be_late()
            else:
                left = min(left, bounded.until)
        self._due = left
        if left != float("inf"):
            self.loop.call_at(left, self._look)


_WATCHES: dict[int, _Watch] = {}  # by thread


def _watch() -> _Watch:
    """The one of this thread's loop. To ask for the running loop is a system call, each time."""
    thread = threading.get_ident()
    found = _WATCHES.get(thread)
    if found is None or not found.loop.is_running():
        found = _WATCHES[thread] = _Watch(asyncio.get_running_loop())
    return found


async def within(doing: Coroutine[Any, Any, T], /, *, seconds: float, on_hang_up: OnHangUp | None = None) -> T | None:
    """The result; None where it took too long. Raises Gone. Whatever ends it cancels what it waits for."""
    watch = _watch()
    bounded = watch.add(seconds)
    if on_hang_up is not None:
        on_hang_up(bounded.hang_up)
    try:
        return await doing
    except asyncio.CancelledError:
        # Somebody else may have cancelled the task as well.
        if not (bounded.is_late or bounded.is_gone) or bounded.task.uncancel() > 0:
            raise
        if bounded.is_gone:
            raise Gone from None
        return None
    finally:
        watch.bounded.discard(bounded)
        if on_hang_up is not None:
            on_hang_up(None)


class Begun(Awaitable[T]):
    """A coroutine that waits for the first time; awaited, it goes on from there in the same task."""

    def __init__(self, doing: Coroutine[Any, Any, T], waits_for: Any) -> None:
        self._doing = doing
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, T]:
        doing, waits_for = self._doing, self._waits_for
        while True:
            try:
                try:
                    told = yield waits_for
                except BaseException as error:
                    waits_for = doing.throw(error)
                else:
                    waits_for = doing.send(told)
            except StopIteration as done:
                return cast("T", done.value)
