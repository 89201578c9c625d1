"""One request's statements: who asks, which text, what comes back, and how many objects may still be answered.

Tenant and owner are bound here from the caller's permit; the statements that take them are in
`execution/statements.py`, and become texts in `execution/shapes.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from db import faults
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
class Sent:
    """A statement of this request and what came of it."""

    table: Table
    text: Text
    values: tuple[Any, ...]
    outcome: Tuples | Exception


class Journal:
    """What one request has sent and called so far: whatever is asked again is answered from here."""

    __slots__ = ("called", "sent")

    def __init__(self) -> None:
        self.sent: list[Sent] = []
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
        who = self._seen.get(table) or self.seen(table)
        database = who.database
        leases = database.leases
        named = {**who.values, **values}
        text, given = TEXTS.of(leases.dialect, make, arguments, named=named, where=where)
        ready = text.values(named, given)
        lasts = text.is_timeless and snapshot.is_everybodys(table) and leases.is_open(text.sql)
        self._is_lasting &= lasts
        if lasts and (known := self._catalog.answer(text.sql, ready)) is not None:
            return known
        if self._asks_again and (before := self.journal.outcome(text, ready)) is not None:
            if isinstance(before, Exception):
                raise before
            return before
        try:
            rows = await leases.read(text.sql, ready, who.permit)
        except Exception as error:
            told = faults.told(error, name=database.name, zone=database.zone)
            self.journal.sent.append(Sent(table, text, ready, told))
            raise told from error
        self.journal.sent.append(Sent(table, text, ready, rows))
        if lasts:
            self._catalog.keep(text.sql, ready, rows)
        return rows

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
