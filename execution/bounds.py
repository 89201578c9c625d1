"""How long an operation may run: a time, and as long as its client is there. One that waits for nothing costs nothing.

What is bounded is not known here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar, cast

T = TypeVar("T")

# Takes what is to be called when the client hangs up; None takes it back.
OnHangUp = Callable[[Callable[[], None] | None], None]


class Gone(Exception):
    """The client hung up before its answer."""


async def within(doing: Coroutine[Any, Any, T], /, *, seconds: float, on_hang_up: OnHangUp | None = None) -> T | None:
    """The result; None where it took too long. Raises Gone. Whatever ends it cancels what it waits for."""
    try:
        waits_for = doing.send(None)
    except StopIteration as done:
        # What waits for nothing needs no clock and nobody to watch for the hang-up.
        return cast("T", done.value)
    task = cast("asyncio.Task[object]", asyncio.current_task())
    ended: list[str] = []

    def end(why: str) -> None:
        if not ended:
            ended.append(why)
            task.cancel()

    clock = asyncio.get_running_loop().call_later(seconds, end, "late")
    if on_hang_up is not None:
        on_hang_up(lambda: end("gone"))
    try:
        return await _Begun(doing, waits_for)
    except asyncio.CancelledError:
        # Somebody else may have cancelled the task as well.
        if not ended or task.uncancel() > 0:
            raise
        if ended == ["gone"]:
            raise Gone from None
        return None
    finally:
        clock.cancel()
        if on_hang_up is not None:
            on_hang_up(None)


class _Begun(Awaitable[T]):
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
