"""Fields with a function of their own: what such a function is given, and how it is called for the rows of a level.

What becomes of its answers is in `execution/levels.py` and, in the library's way, in `execution/library.py`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

CALLS_AT_ONCE_MAX = 50


@dataclass(frozen=True, slots=True)
class Computed:
    """A value made of columns (`needs`, by the function's parameter names) in this process.

    It may be a Read (`one`, `the`), which is then answered as if a root field had returned it. With `once` the
    function is called once a request, with the Context alone, and returns what takes the columns: what that answers
    follows from them and the request's origin, so that it may be kept. An `awaited` function is called for the
    different rows of a level at once, a `batched` one a single time for all of them.
    """

    function: Callable[..., Any]
    needs: tuple[str, ...]
    takes_context: bool
    once: bool = False
    awaited: bool = False
    batched: bool = False

    @property
    def is_ahead(self) -> bool:
        """Whether the function is called before the rows are shown, and not while they are."""
        return self.awaited or self.batched

    def bound(self, ctx: Any) -> Callable[..., Any]:
        """The function of the columns alone, for one request."""
        if self.once:
            return cast("Callable[..., Any]", self.function(ctx))
        return partial(self.function, ctx) if self.takes_context else self.function


def computed(function: Callable[..., object]) -> Computed:
    """The function's parameters are columns of the node's table; a first one called `ctx` gets the Context.

    It may be a coroutine function.
    """
    names = tuple(inspect.signature(function).parameters)
    takes_context = names[:1] == ("ctx",)
    needs = names[1:] if takes_context else names
    return Computed(function, needs, takes_context, awaited=inspect.iscoroutinefunction(function))


def computed_once(function: Callable[..., Callable[..., object]], *needs: str) -> Computed:
    """`function(ctx)` returns what makes the value of these columns: what all rows share is done once a request.

    The value hangs on nothing of the request but its origin.
    """
    return Computed(function, needs, takes_context=True, once=True)


def batched(function: Callable[..., object], *needs: str) -> Computed:
    """`function(ctx, rows)` is called once a level, with a tuple of these columns for each different row.

    It answers, or is awaited for, a list with a value for each; an exception among them is that row's alone.
    """
    return Computed(function, needs, takes_context=True, batched=True)


async def called_for(how: Computed, ctx: Any, rows: Sequence[tuple[Any, ...]]) -> list[object]:
    """What the function answers for each of these rows; in the place of a row that it failed for, the exception."""
    if how.batched:
        try:
            return await _batch(how, ctx, rows)
        except Exception as error:  # whatever it is, it is the answer for each of them
            return [error] * len(rows)
    if not how.awaited:
        return [_called(how, ctx, row) for row in rows]
    found: list[object] = []
    for start in range(0, len(rows), CALLS_AT_ONCE_MAX):
        some = rows[start : start + CALLS_AT_ONCE_MAX]
        found += await asyncio.gather(*(how.bound(ctx)(*row) for row in some), return_exceptions=True)
    return found


def _called(how: Computed, ctx: Any, row: tuple[Any, ...]) -> object:
    try:
        return how.bound(ctx)(*row)
    except Exception as error:  # as above
        return error


async def _batch(how: Computed, ctx: Any, rows: Sequence[tuple[Any, ...]]) -> list[object]:
    answered: Any = how.function(ctx, list(rows))
    found = await answered if inspect.isawaitable(answered) else answered
    if not isinstance(found, list) or len(found) != len(rows):
        raise TypeError(f"{how.function.__name__} was given {len(rows)} rows and has not answered a list of as many")
    return found
