"""The levels of a plan: each is fetched by one statement for all parents, and shown from the bottom up.

What cannot be shown raises; `execution/partial.py` then says what is wrong with it, and where. Root fields are in
`execution/run.py`.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from graphql.execution.values import VariableValues

from execution import fetch, functions, statements
from execution.declare import Read, Through
from execution.emit import Emitter, emitter_off_loop, known_emitter
from execution.keyset import Window
from execution.layout import Layout, Load
from execution.page import Displays, Stand, connection, stand
from execution.sending import Journal, Sending, Tuples
from execution.shapes import decoder
from execution.steps import AnyNode, Called, Column, Incomplete, Lookup, Nested, Rows, TooMuch, View
from tenancy.context import Context

Found = Mapping[Any, Any]


class Levels(Sending, abc.ABC):
    """What hangs below rows, and the rows' displays."""

    def __init__(self, ctx: Context, variables: VariableValues, journal: Journal | None = None) -> None:
        super().__init__(ctx, journal)
        self._variables = variables

    @abc.abstractmethod
    async def read(self, answer: View | AnyNode, read: Read) -> Any:
        """The display of a read's rows: a list, one or None."""

    async def shown_by(self, layout: Layout, views: Sequence[View], rows: Tuples) -> list[Displays]:
        """For each view one display a row."""
        known = self.shown_now(layout, views, rows)
        return await self._shown_later(layout, views, rows) if known is None else known

    async def _shown_later(self, layout: Layout, views: Sequence[View], rows: Tuples) -> list[Displays]:
        dialect = self.seen(layout.root.node.table).database.leases.dialect
        shown: list[Displays] = []
        for place, loads in enumerate(layout.loads):
            made = await emitter_off_loop(layout, views, place, dialect=dialect)
            found, new = self._before(made, rows)
            self.spend(len(rows) * views[place].joins + (len(rows) - len(new)) * sum(map(_shared, loads)))
            below = await self._below(loads, new) if loads and new else ()
            shown.append(self._written(made, found, new, below=below))
        return shown

    def shown_now(self, layout: Layout, views: Sequence[View], rows: Tuples) -> list[Displays] | None:
        """The same where nobody has to be waited for; None, and nothing counted, otherwise."""
        if not rows:
            return [[] for _ in views]
        dialect = self.seen(layout.root.node.table).database.leases.dialect
        objects, ready = 0, []
        for place, loads in enumerate(layout.loads):
            made = known_emitter(layout, place, dialect=dialect)
            if made is None:
                return None
            found, new = self._before(made, rows)
            below: list[Found] = []
            for load in loads if new else ():
                known = self._known(load, starts := starts_of(load, new))
                if known is None:
                    return None
                below.append(known)
                objects += len(starts) * _shared(load)
            objects += len(rows) * views[place].joins + (len(rows) - len(new)) * sum(map(_shared, loads))
            ready.append((made, found, new, below))
        self.spend(objects)
        return [self._written(made, found, new, below=below) for made, found, new, below in ready]

    def _before(self, made: Emitter, rows: Tuples) -> tuple[Displays | None, Tuples]:
        """How rows that were shown before were written then, None in the places of others; and the others.

        All are others where nothing of the kind is kept.
        """
        if not made.lasts:
            return None, rows
        found = list(map(self._catalog.written((made, self.ctx.origin)).get, rows))
        if None not in found:
            return found, ()
        return found, [row for row, display in zip(rows, found, strict=True) if display is None]

    def _written(self, made: Emitter, found: Displays | None, new: Tuples, /, *, below: Sequence[Found]) -> Displays:
        """The displays of all rows; those of the new ones are made, and kept where they last."""
        shown = made.emit(new, below, self) if new else []
        if found is None:
            return shown
        of = (made, self.ctx.origin)
        came = iter([self._catalog.write(of, row, each) for row, each in zip(new, shown, strict=True)])
        return [next(came) if each is None else each for each in found] if new else found

    async def _below(self, loads: Sequence[Load], rows: Tuples) -> list[Found]:
        """What hangs below the rows, in the order of the loads. What is remembered is waited for by nobody."""
        found: list[Any] = []
        waiting: list[tuple[Load, list[Any]]] = []
        for load in loads:
            starts = starts_of(load, rows)
            known = self._known(load, starts)
            if known is None:
                waiting.append((load, starts))
            else:
                self.spend(len(starts) * _shared(load))
            found.append(known)
        if waiting:
            came = iter(await self.together([self.load(load, starts) for load, starts in waiting]))
            found = [next(came) if each is None else each for each in found]
        return found

    def _known(self, load: Load, starts: list[Any]) -> Found | None:
        """What the catalog remembers of all of these."""
        below = load.below
        if not isinstance(below, Lookup) or not below.view.shared or not load.leads.nullable:
            return None
        known = self._catalog.displays(below.view)
        return known if known.keys() >= set(starts) else None

    async def load(self, load: Load, starts: list[Any]) -> Found:
        """Each start's display; `starts` has one value a row."""
        below = load.below
        distinct = list(dict.fromkeys(starts))
        if not distinct:
            return {}
        if isinstance(below, Lookup):
            return await self._lookup(below, distinct, times=len(starts))
        if isinstance(below, Nested):
            return await self._nested(below, distinct, times=len(starts))
        if isinstance(below, Column):
            return {p: below.complete(values) for p, values in (await self.values(below, distinct)).items()}
        if isinstance(below, Rows):
            return await self._rows(below, distinct, times=len(starts))
        if isinstance(below, Called):
            self.spend(len(starts))
            return await self._called(load, below, distinct)
        raise TypeError(f"nothing is loaded for {type(below).__name__}")

    # ---------------------------------------------------------------- to one row

    async def _lookup(self, below: Lookup, ids: list[Any], *, times: int) -> Found:
        view = below.view
        self.spend(times * (view.shared or 1))
        if view.shared:
            return await self._remembered(view, ids)
        return await self._picked(view, ids)

    async def _remembered(self, view: View, ids: list[Any]) -> Found:
        """Rows that look the same to everybody: written once a version of the catalog."""
        known = self._catalog.displays(view)
        unknown = [each for each in ids if each not in known]
        if unknown:
            found = await self._picked(view, unknown)
            for each in unknown:
                known[each] = orjson.Fragment(orjson.dumps(found[each])) if each in found else None
            self._catalog.count(len(unknown))
        return {each: display for each in ids if (display := known[each]) is not None}

    async def _picked(self, view: View, ids: list[Any]) -> Found:
        layout = layout_of(view, led=False)
        rows = await self.picked(view, ids)
        (shown,) = await self.shown_by(layout, (view,), rows)
        at = layout.root.at["id"]
        return {row[at]: display for row, display in zip(rows, shown, strict=True)}

    async def picked(self, view: View, ids: list[Any]) -> Tuples:
        """The rows with these ids."""
        table = view.node.table
        arguments = (table, layout_of(view, led=False).selected, view.node.where, self.seen(table).owned)
        rows: list[Sequence[Any]] = []
        for some in fetch.chunks(ids):
            rows += await self.send(table, statements.picked, arguments, {"at_ids": some})
        return rows

    # ---------------------------------------------------------------- to many rows

    async def _nested(self, below: Nested, parents: list[Any], *, times: int) -> Found:
        page, stand = below.page, self.stand_of(below)
        groups, totals = await self.pages(below, stand, parents)
        first = stand.window.first
        shown = {parent: rows[:first] for parent, rows in groups.items()}
        displays = await self._grouped(stand.layout, page.views, shown, times=times)
        return {
            parent: connection(
                page,
                shown[parent],
                [each[parent] for each in displays],
                stand=stand,
                has_next=len(rows) > first,
                total=totals.get(parent),
            )
            for parent, rows in groups.items()
        }

    def stand_of(self, below: Nested) -> Stand:
        """Where the pages of all parents stand. Raises BadUserInput naming an argument."""
        how, page = below.how, below.page
        given = page.arguments.of(self._variables)
        return stand(
            self.ctx,
            page,
            how.order,
            who=self.seen(page.node.table),
            arguments=given,
            first=given.get("first"),
            after=given.get("after"),
            most=how.first_max,
            led=True,
        )

    async def pages(
        self, below: Nested, stand: Stand, parents: list[Any]
    ) -> tuple[dict[Any, list[Sequence[Any]]], dict[Any, int]]:
        """Each parent's rows, one more than its page holds, and their number where it is asked for."""
        how, page = below.how, below.page
        table = page.node.table
        if len(parents) * stand.window.first > fetch.ROWS_PER_LEVEL_MAX:
            raise TooMuch
        groups: dict[Any, list[Sequence[Any]]] = {parent: [] for parent in parents}
        totals: dict[Any, int] = {}
        if page.has_rows:
            what = stand.layout.selected
            for row in await self.children(how, page.node, what, parents=parents, window=stand.window):
                groups[row[0]].append(row)
        if page.has_count:
            totals = dict.fromkeys(parents, 0)
            arguments = (table, how.child_key, (*page.node.where, *how.where), self.seen(table).owned)
            for some in fetch.chunks(parents):
                for parent, total in await self.send(table, statements.children_counted, arguments, {"at_ids": some}):
                    totals[parent] = int(total)
        return groups, totals

    async def _rows(self, below: Rows, parents: list[Any], *, times: int) -> Found:
        groups = await self.lists(below, parents)
        (displays,) = await self._grouped(layout_of(below.view, led=True), (below.view,), groups, times=times)
        return displays

    async def lists(self, below: Rows, parents: list[Any]) -> dict[Any, list[Sequence[Any]]]:
        """Each parent's rows, at most as many as the list may have."""
        how, view = below.how, below.view
        table, what = view.node.table, layout_of(view, led=True).selected
        if isinstance(how, Through):
            arguments = (how, table, what, view.node.where, self.seen(table).owned)
            found = await self.bounded(table, statements.over_link, arguments, parents)
        elif len(parents) * how.limit > fetch.ROWS_PER_LEVEL_MAX:
            raise TooMuch
        else:
            found = await self.children(how, view.node, what, parents=parents, window=Window(how.limit))
        groups: dict[Any, list[Sequence[Any]]] = {parent: [] for parent in parents}
        for row in found:
            group = groups[row[0]]
            if len(group) < how.limit:
                group.append(row)
        return groups

    async def values(self, below: Column, parents: list[Any]) -> dict[Any, list[Any]]:
        """One column's values for each parent."""
        how = below.how
        who = self.seen(how.table)
        groups: dict[Any, list[Any]] = {parent: [] for parent in parents}
        decode = decoder(how.table, how.column, who.database.reader.dialect)
        for parent, value in await self.bounded(how.table, statements.values_of, (how, who.owned), parents):
            if len(groups[parent]) < how.limit:
                groups[parent].append(value if decode is None else decode(value))
        return groups

    async def _grouped(
        self, layout: Layout, views: Sequence[View], groups: Mapping[Any, Tuples], /, *, times: int
    ) -> list[dict[Any, Displays]]:
        """For each view the displays of each parent's rows; `times` is how often parents stand in the answer."""
        rows = [row for group in groups.values() for row in group]
        # A parent that stands twice shows its children twice: never more than all parents with the most children.
        self.spend(len(rows) if times == len(groups) else times * max(map(len, groups.values()), default=0))
        found: list[dict[Any, Displays]] = []
        for shown in await self.shown_by(layout, views, rows):
            parts: dict[Any, Displays] = {}
            start = 0
            for parent, group in groups.items():
                parts[parent] = shown[start : start + len(group)]
                start += len(group)
            found.append(parts)
        return found

    # ---------------------------------------------------------------- by a function of our own

    async def _called(self, load: Load, below: Called, starts: list[tuple[Any, ...]], /) -> Found:
        found: dict[Any, Any] = {}
        for start, value in (await self.called_for(load, starts)).items():
            if isinstance(value, BaseException):
                raise value
            if not isinstance(below.made, View):
                found[start] = below.made(value)
            elif isinstance(value, Read):
                found[start] = await self.read(below.made, value)
            elif value is None and load.leads.nullable:
                found[start] = None
            else:
                raise Incomplete
        return found

    async def called_for(self, load: Load, starts: list[tuple[Any, ...]]) -> dict[tuple[Any, ...], object]:
        """What the function of a field answers for these columns, once a request; an exception where it raised one."""
        below = load.below
        if not isinstance(below, Called):
            raise TypeError("only a field with a function is called")
        called, table = self.journal.called, load.branch.node.table
        dialect = self.seen(table).database.reader.dialect
        decoders = [decoder(table, name, dialect) for name in below.how.needs]
        new: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        for start in starts:
            if (below, start) not in called:
                try:
                    new[start] = tuple(v if d is None else d(v) for v, d in zip(start, decoders, strict=True))
                except Exception as error:  # a value that is none of its column's
                    called[below, start] = error
        if new:
            answers = await functions.called_for(below.how, self.ctx, list(new.values()))
            called.update(zip(((below, start) for start in new), answers, strict=True))
        return {start: called[below, start] for start in starts}


def layout_of(view: View, *, led: bool) -> Layout:
    """The columns of a statement that one view alone shows."""
    found: Layout | None = view.layouts.get(led)
    if found is None:
        found = view.layouts[led] = Layout(view.node, (view,), led=led)
    return found


def _shared(load: Load) -> int:
    """How many objects each start leads to, where they look the same to everybody; else 0."""
    return load.below.view.shared if isinstance(load.below, Lookup) else 0


def starts_of(load: Load, rows: Tuples) -> list[Any]:
    """What each row leads away from: a column's value, where it has one; of a computed field all that it needs."""
    if isinstance(load.below, Called):
        there = rows if load.present < 0 else [row for row in rows if row[load.present] is not None]
        return [tuple(row[place] for place in load.places) for row in there]
    at = load.places[0]
    return [start for row in rows if (start := row[at]) is not None]
