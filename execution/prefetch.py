"""Brings every level of a selection to its rows before the library reads the first field: one batch a relation.

So the number of statements depends on the depth of an operation alone, and reading a field
awaits nothing. What could not be had becomes the error of the fields that show it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from base import errors
from base.ids import Cursors
from execution import fetch, functions
from execution.declare import NodeInfo, Through, ToOne, node_of
from execution.keyset import Order, Window, first_of, order_of
from execution.rows import Connected, Failed, PageRows, Row
from execution.selection import Batch, Linked, Listed, Paged, Relation, Wanted, WantedPage
from tenancy.context import Context

OBJECTS_MAX = 20_000
CONTEXTS_KEPT_MAX = 5_000


class Allowance:
    """How many objects one operation may still answer with: rows are fetched once and may stand in many places."""

    def __init__(self) -> None:
        self._left = OBJECTS_MAX

    def spend(self, rows: Sequence[Row]) -> None:
        """Take the rows' places off. Raises CostLimitExceeded where there are more than are left."""
        self._left -= sum(row.times for row in rows)
        if self._left < 0:
            raise errors.CostLimitExceeded(
                f"The answer would have more than {OBJECTS_MAX} objects: ask for fewer, or for fewer of each."
            )


@dataclass(frozen=True, slots=True)
class Asker:
    """For whom rows are fetched, and how many more."""

    ctx: Context
    allowance: Allowance


async def fill(asker: Asker, wanted: Wanted, rows: Sequence[Row]) -> None:
    """Put on each row what its relations lead to, and so on below; a relation that cannot be had becomes Failed.

    Raises CostLimitExceeded where the rows themselves are more than the operation may answer with.
    """
    asker.allowance.spend(rows)
    if not rows:
        return
    doing = [_relate(asker, relation, rows) for relation in wanted.relations]
    doing += [_call(asker, batch, rows) for batch in wanted.batches]
    if len(doing) == 1:
        await doing[0]
    elif doing:
        await asyncio.gather(*doing)


class Paging:
    """One connection field of one caller: its window, its order, and the cursors that are good for it alone."""

    def __init__(
        self, ctx: Context, node: NodeInfo, *, order: tuple[str, ...], place: str, arguments: dict[str, Any], most: int
    ) -> None:
        """`place` is `Type.field`. Raises BadUserInput naming `first` or `after`."""
        self.order: Order = order_of(node.table, order)
        self._cursors = ctx.house.cursors
        rest = {name: value for name, value in arguments.items() if name not in ("first", "after")}
        who = fetch.seen(ctx, node.table)
        self._context = _context(self._cursors, who.of(node.table), place, order, _digest(rest) if rest else "{}")
        after = arguments.get("after")
        values = None if after is None else self.order.open(after, self._cursors, self._context)
        self.window = Window(first_of(arguments.get("first"), most), values)

    def seal(self, row: Row) -> str:
        """The row's cursor."""
        return self.sealed(row.values)

    def sealed(self, values: dict[str, Any]) -> str:
        """The cursor of a row with these values of the order's columns."""
        return self.order.seal(values, self._cursors, self._context)

    def keys(self, wanted: WantedPage) -> set[str]:
        """What is fetched of each row: the order's columns only where a cursor shows them."""
        return wanted.rows.keys | set(self.order.keys) if wanted.cursors else wanted.rows.keys

    def connected(self, page: PageRows, wanted: WantedPage) -> Connected:
        """The page as the schema serves it."""
        return Connected(page, self.seal, continued=self.window.after is not None, cursors=wanted.cursors)


async def _relate(asker: Asker, relation: Relation, rows: Sequence[Row]) -> None:
    # Two rows may lead to the same third, so a value is asked once, in the order of the rows.
    times: dict[Any, int] = {}
    for row in rows:
        start = row.values[relation.key]
        if start is not None:
            times[start] = times.get(start, 0) + row.times
    try:
        found = await _found(asker, relation, times)
    except Exception as error:
        # The other side may be down while this one answers: the field is lost, not the page.
        failed = Failed(error, error.__traceback__)
        for row in rows:
            row.related.update(dict.fromkeys(relation.places, failed))
        return
    for row in rows:
        row.related.update(dict.fromkeys(relation.places, found.get(row.values[relation.key])))


async def _call(asker: Asker, batch: Batch, rows: Sequence[Row]) -> None:
    starts = [tuple(row.values[key] for key in batch.how.needs) for row in rows]
    distinct = list(dict.fromkeys(starts))
    answers = dict(zip(distinct, await functions.called_for(batch.how, asker.ctx, distinct), strict=True))
    for row, start in zip(rows, starts, strict=True):
        value = answers[start]
        found = Failed(value, value.__traceback__) if isinstance(value, Exception) else value
        row.related.update(dict.fromkeys(batch.places, found))


async def _found(asker: Asker, relation: Relation, times: dict[Any, int]) -> dict[Any, Any]:
    """What each parent's value leads to; `times` says how often each stands in the answer."""
    if isinstance(relation, Paged):
        return await _connections(asker, relation, times)
    if isinstance(relation, Listed):
        return await fetch.values(asker.ctx, relation.how, parents=times)
    return await _linked(asker, relation, times)


async def _linked(asker: Asker, relation: Linked, times: dict[Any, int]) -> dict[Any, Any]:
    how, wanted = relation.how, relation.rows
    if isinstance(how, ToOne):
        found = await fetch.by_ids(asker.ctx, wanted.node, keys=wanted.keys, ids=times)
        await _fill_below(asker, wanted, groups={start: [row] for start, row in found.items()}, times=times)
        return found
    if isinstance(how, Through):
        lists = await fetch.through(asker.ctx, how, keys=wanted.keys, parents=times)
    else:
        pages = await fetch.pages(asker.ctx, how, keys=wanted.keys, parents=times, window=Window(how.limit))
        lists = {parent: page.rows for parent, page in pages.items()}
    await _fill_below(asker, wanted, groups=lists, times=times)
    return lists


async def _connections(asker: Asker, relation: Paged, times: dict[Any, int]) -> dict[Any, Connected]:
    how, wanted = relation.how, relation.page
    paging = Paging(
        asker.ctx,
        node_of(how.target),
        order=how.order,
        place=relation.place,
        arguments=relation.arguments,
        most=how.first_max,
    )
    found = await fetch.pages(
        asker.ctx,
        how,
        keys=paging.keys(wanted),
        parents=times,
        window=paging.window,
        want_rows=wanted.has_rows,
        want_count=wanted.has_count,
    )
    await _fill_below(asker, wanted.rows, groups={start: page.rows for start, page in found.items()}, times=times)
    return {parent: paging.connected(page, wanted) for parent, page in found.items()}


async def _fill_below(asker: Asker, wanted: Wanted, *, groups: dict[Any, list[Row]], times: dict[Any, int]) -> None:
    rows: list[Row] = []
    for start, group in groups.items():
        for row in group:
            row.times = times[start]
        rows += group
    await fill(asker, wanted, rows)


@lru_cache(maxsize=CONTEXTS_KEPT_MAX)
def _context(cursors: Cursors, who: tuple[Any, Any], place: str, order: tuple[str, ...], rest: str, /) -> bytes:
    """What the cursors of one list of one caller are bound to."""
    return cursors.context(who, place, order, rest)


def _digest(arguments: dict[str, Any]) -> str:
    """A text that is the same for the same filter."""
    return orjson.dumps(arguments, default=str, option=orjson.OPT_SORT_KEYS).decode()
