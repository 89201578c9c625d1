"""One request's statements: who asks, which text, what comes back, and how many objects may still be answered.

What is asked of one database at a time is sent together, in one way there and back where its driver can.

Tenant and owner are bound here from the caller's permit; the statements that take them are in
`execution/statements.py`, and become texts in `execution/shapes.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from db import faults
from db.leases import Leases
from db.zones import Zone
from execution import fetch, snapshot, statements
from execution.declare import Children, NodeInfo, Table, ToMany
from execution.keyset import Window
from execution.layout import Selected
from execution.prefetch import OBJECTS_MAX
from execution.shapes import Text, Texts
from execution.steps import TooMuch
from tenancy.context import Context

TEXTS = Texts()

Tuples = Sequence[Sequence[Any]]
Make = Callable[..., statements.Select]
Given = tuple[Any, ...]  # what it is made of


@dataclass(slots=True, eq=False)
class Statement:
    """A statement of this request: as whom it asks, and what came of it; None where nobody has asked yet."""

    table: Table
    who: fetch.Seen
    text: Text
    values: tuple[Any, ...]
    lasts: bool = False  # what it answers is everybody's, for as long as the catalog is
    outcome: Tuples | Exception | None = None

    @property
    def rows(self) -> Tuples:
        """What came of it, raised where it is an exception."""
        found = self.outcome
        if isinstance(found, Exception):
            raise found
        if found is None:
            raise LookupError("a statement was not sent")
        return found


class Journal:
    """What one request has sent and called so far: whatever is asked again is answered from here."""

    __slots__ = ("called", "sent")

    def __init__(self) -> None:
        self.sent: list[Statement] = []
        # By root field, or by computed field and what it was called with; an exception where it raised one.
        self.called: dict[Any, object] = {}

    def outcome(self, text: Text, values: tuple[Any, ...]) -> Tuples | Exception | None:
        """What came of a statement; None where it was not sent."""
        return next((each.outcome for each in self.sent if each.text is text and each.values == values), None)


class Sending:
    """What one request sends, and to whom it is answered."""

    def __init__(self, ctx: Context, journal: Journal | None = None) -> None:
        self.ctx = ctx
        self.journal = journal or Journal()
        self._catalog = snapshot.of(ctx.house.bus).version()
        self._seen: dict[Table, fetch.Seen] = {}
        self._pool: fetch.Seen | None = None
        self._objects = 0
        self._is_lasting = True  # all that was sent is the same for everybody, for as long as the catalog is
        self._asks_again = False  # what the journal has is not sent

    @property
    def texts(self) -> list[str]:
        """The statements that were sent."""
        return [each.text.sql for each in self.journal.sent]

    async def children(
        self, how: ToMany | Children, node: NodeInfo, what: Selected, /, *, parents: list[Any], window: Window
    ) -> Tuples:
        """The rows of all parents, each parent's value first; one more of each than the window holds."""
        table, after = node.table, window.after is not None
        count = next((size for size in statements.PARENT_COUNTS if size >= len(parents)), 0)
        where, owned = (*node.where, *how.where), self.seen(table).owned
        kind = self.seen(table).database.leases.dialect.name
        if kind == "postgresql":
            named = {**window.values(), statements.EVERY: tuple(parents)}
            shape = (table, how.child_key, what, how.order, where, after, owned)
            return await self.send(table, statements.children_lateral, shape, named)
        arguments = (table, how.child_key, what, how.order, where, after, owned, count, kind == "sqlite")
        if count:
            nobody = -1 if isinstance(parents[0], int) else ""
            padded = parents + [nobody] * (count - len(parents))
            marks = {f"{statements.PARENT}_{place}": parent for place, parent in enumerate(padded)}
            return await self.send(table, statements.children_by_place, arguments, {**window.values(), **marks})
        found: list[Sequence[Any]] = []
        for some in fetch.chunks(parents):
            values = {**window.values(), "at_ids": some}
            found += await self.send(table, statements.children_by_place, arguments, values)
        return found

    async def bounded(self, table: Table, make: Make, arguments: Given, parents: Collection[Any], /) -> Tuples:
        """The rows of all parents over a link. Raises Incomplete where they are more than a level may hold."""
        found: list[Sequence[Any]] = []
        for some in fetch.chunks(parents):
            values = {"at_ids": some, "at_limit": fetch.ROWS_PER_LEVEL_MAX + 1}
            rows = await self.send(table, make, arguments, values)
            if len(rows) > fetch.ROWS_PER_LEVEL_MAX:
                raise TooMuch
            found += rows
        return found

    async def send(
        self, table: Table, make: Make, arguments: Given, values: dict[str, Any], /, *, where: tuple[Any, ...] = ()
    ) -> Tuples:
        """The rows of `make(*arguments)` with conditions, `values` bound by name.

        Raises PoolUnavailable, CentralUnavailable or TimedOut where the database does not answer.
        """
        asked = self.asking(table, make, arguments, values, where=where)
        if asked.outcome is None:
            await self._sent(asked.who.database.leases, [asked])
        return asked.rows

    def asking(
        self, table: Table, make: Make, arguments: Given, values: dict[str, Any], /, *, where: tuple[Any, ...] = ()
    ) -> Statement:
        """The same statement, ready to be sent; answered already, where what comes of it is known."""
        who = self._seen.get(table) or self.seen(table)
        leases = who.database.leases
        named = {**who.values, **values}
        text, given = TEXTS.of(leases.dialect, make, arguments, named=named, where=where)
        ready = text.values(named, given)
        lasts = text.is_timeless and snapshot.is_everybodys(table) and leases.is_open(text.sql)
        self._is_lasting &= lasts
        known: Tuples | Exception | None = self._catalog.answer(text.sql, ready) if lasts else None
        if known is None and self._asks_again:
            known = self.journal.outcome(text, ready)
        return Statement(table, who, text, ready, lasts, known)

    async def send_all(self, asked: Iterable[Statement]) -> None:
        """Have all of them answered; `rows` raises what came of one that failed."""
        groups: dict[object, list[Statement]] = {}
        for each in asked:
            if each.outcome is None:
                leases = each.who.database.leases
                groups.setdefault(leases if leases.sends_together else each, []).append(each)
        loads = [self._sent(group[0].who.database.leases, group) for group in groups.values()]
        if len(loads) == 1:
            await loads[0]
        elif loads:
            await self.together(loads)

    async def _sent(self, leases: Leases, asked: list[Statement]) -> None:
        who = asked[0].who  # one request reads all of a database as the same one
        outcomes: Sequence[Tuples | Exception]
        try:
            if len(asked) == 1:
                outcomes = (await leases.read(asked[0].text.sql, asked[0].values, who.permit),)
            else:
                outcomes = await leases.read_all([(each.text.sql, each.values) for each in asked], who.permit)
        except Exception as error:
            outcomes = [error] * len(asked)
        for each, outcome in zip(asked, outcomes, strict=True):
            if isinstance(outcome, Exception):
                each.outcome = faults.told(outcome, name=who.database.name, zone=who.database.zone)
                if each.outcome is not outcome:
                    each.outcome.__cause__ = outcome
            else:
                each.outcome = outcome
                if each.lasts:
                    self._catalog.keep(each.text.sql, each.values, outcome)
        self.journal.sent += asked

    async def together(self, loads: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
        """All of them, at once where nobody else waits for these databases; raises the first failure after the last.

        Beside others a task for each would bring nobody's answer forward, and costs what half a statement does.
        """
        if len(loads) == 1:
            return [await loads[0]]
        return await (_in_turn(loads) if self.is_busy() else _at_once(loads))

    def seen(self, table: Table) -> fetch.Seen:
        """As whom this request reads a table; asked once a table."""
        found = self._seen.get(table)
        if found is None:
            # Every table of a pool is read as the same one.
            pool = table.zone is Zone.POOL
            found = self._pool if pool and self._pool is not None else fetch.seen(self.ctx, table)
            self._seen[table] = found
            if pool:
                self._pool = found
        return found

    def is_busy(self) -> bool:
        """Whether others wait for the databases that this request may ask."""
        databases, route = self.ctx.house.sessions.databases, self.ctx.route
        pool = None if route is None else databases.pools.get(route.pool)
        return databases.central.leases.busy > 0 or (pool is not None and pool.leases.busy > 0)

    def prefix(self, table: Table) -> str:
        """What stands before the key in the global ids of a table's rows."""
        return self.seen(table).prefix(table)

    def spend(self, objects: int) -> None:
        """Count what is answered, from above; the library counts exactly where this may be too much."""
        self._objects += objects
        if self._objects > OBJECTS_MAX:
            raise TooMuch


async def _at_once(loads: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    """The last in this very task; all are waited for, then the first failure is raised."""
    tasks = [asyncio.create_task(load) for load in loads[:-1]]
    failure: Exception | None = None
    found: list[Any] = []
    try:
        for each in (loads[-1], *tasks):
            try:
                found.append(await each)
            except Exception as error:
                failure = failure or error
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    if failure is not None:
        raise failure
    return [*found[1:], found[0]]


async def _in_turn(loads: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    """One after the other; all are run, then the first failure is raised."""
    failure: Exception | None = None
    found: list[Any] = []
    try:
        for load in loads:
            try:
                found.append(await load)
            except Exception as error:
                failure = failure or error
    finally:
        for load in loads:
            load.close()  # those that were not begun
    if failure is not None:
        raise failure
    return found
