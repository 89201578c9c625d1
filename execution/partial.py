"""An answer that the quick way could not complete, over the rows that it has read: the library says what is wrong.

Each root field becomes what its function would have led the library to: rows with all that hangs on them, or the
exception that was raised. The library then completes them by its own rules of nulls, paths and partial answers. What
the request has sent or called before is not sent or called again (`sending.Journal`); what it had not come to is.
Only computed columns, which are pure, are computed once more.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from execution import fetch
from execution.declare import Gathered, Read, node_of
from execution.layout import Branch, Layout, Load
from execution.levels import layout_of, starts_of
from execution.rows import Connected, Failed, Row
from execution.run import Run
from execution.sending import Tuples
from execution.shapes import decoder
from execution.steps import (
    AnyNode,
    Below,
    Called,
    Column,
    Joined,
    Leads,
    Lookup,
    Nested,
    Page,
    Payload,
    Plan,
    RootStep,
    Rows,
    TooMuch,
    View,
)
from execution.turns import VALUES_A_TURN, turn

Objects = dict[Branch, list[Row | None]]


class Partial(Run):
    """A request once more, over what its run has sent and called."""

    def __init__(self, run: Run) -> None:
        super().__init__(run.ctx, run._variables, run.journal)  # noqa: SLF001  (its own kind)
        self._catalog = run._catalog  # noqa: SLF001  (its own kind: one request sees one version)
        self._asks_again = True
        self._parts = run.acted
        self._made_values = 0  # since the last turn began

    async def prepared(self, plan: Plan) -> dict[str, object]:
        """By response name what the library is given for each root field; an exception among them.

        An action that has not run yet is left to the library, which runs them one after the other.
        """
        steps = plan.steps
        if plan.kind == "mutation":
            steps = [step for step in steps if step in self.journal.called]
        try:
            return {step.response: await self._of(step).whole(step) for step in steps}
        except TooMuch:
            # What is too much is counted by whoever reads it row by row.
            return {step.response: self.journal.called[step] for step in steps if step in self.journal.called}

    def _of(self, step: RootStep) -> Partial:
        """Whose rows a root field is made of: a payload's were read after its own action."""
        return Partial(self._parts[step]) if step in self._parts else self

    async def whole(self, step: RootStep) -> object:
        """What the library is given for a root field. Raises TooMuch."""
        try:
            return await self._made(step, await self.called(step))
        except TooMuch:
            raise
        except Exception as error:  # whatever it is, the field is where it is told
            return error

    async def _made(self, step: RootStep, value: Any) -> object:
        answer = step.answer
        if isinstance(value, Gathered) and isinstance(answer, AnyNode):
            found = {row.id: row for read in value.reads for row in await self._rows_of(answer, read)}
            return [place if isinstance(place, Exception) else found.get(str(place)) for place in value.ids]
        if isinstance(answer, Payload) and value is not None:
            return await self._payload_whole(answer, value)
        if not isinstance(value, Read) or not _is_ours(value):
            return value
        if isinstance(answer, Page):
            return await self._page_whole(answer, value)
        return await self._read_whole(answer, value)

    async def _payload_whole(self, payload: Payload, value: Any) -> object:
        whole = copy.copy(value)
        for part in payload.shown:
            read = None if part.name is None else getattr(value, part.name)
            if part.name is not None and isinstance(part.made, View) and isinstance(read, Read) and _is_ours(read):
                try:
                    setattr(whole, part.name, await self._read_whole(part.made, read))
                except TooMuch:
                    raise
                except Exception as error:  # the library raises it where the field is read
                    setattr(whole, part.name, error)
        return whole

    async def _read_whole(self, answer: Any, read: Read) -> object:
        rows = await self._rows_of(answer, read)
        if read.kind == "rows":
            return rows
        if not rows and read.kind == "the":
            raise LookupError(f"the one {node_of(read.node).name} that is always there is not")
        return rows[0] if rows else None

    async def _rows_of(self, answer: Any, read: Read) -> list[Row]:
        view = answer.view(node_of(read.node)) if isinstance(answer, AnyNode) else answer
        return await self._filled(layout_of(view, led=False), (view,), await self.rows(view, read))

    async def _page_whole(self, page: Page, read: Read) -> Connected:
        stand = self.stand_at_root(page, read)
        rows, total = await self.page(page, read, stand)
        first = stand.window.first
        filled = await self._filled(stand.layout, page.views, rows[:first])
        return stand.connected(filled, has_next=len(rows) > first, total=total)

    # ---------------------------------------------------------------- what hangs below

    async def _filled(self, layout: Layout, views: Sequence[View], rows: Tuples) -> list[Row]:
        """The rows as the library takes them, each with all that the views lead to."""
        self.spend(len(rows))
        objects: Objects = {}
        await self._make(layout.root, rows, objects)
        for place, view in enumerate(views):
            _link(view, layout.root, objects)
            for load in layout.loads[place]:
                await self._hang(load, rows, objects[load.branch])
        return [row for row in objects[layout.root] if row is not None]

    async def _make(self, branch: Branch, rows: Tuples, objects: Objects) -> None:
        who, node = self.seen(branch.node.table), branch.node
        columns = [(key, at, decoder(node.table, key, who.database.reader.dialect)) for key, at in branch.at.items()]
        prefix = self.prefix(node.table)
        made: list[Row | None] = []
        for row in rows:
            values = {key: fetch.decoded(decode, row[at]) for key, at, decode in columns}
            made.append(None if row[branch.at["id"]] is None else Row(node, prefix, values))
            self._made_values += len(columns)
            if self._made_values >= VALUES_A_TURN:
                self._made_values = 0
                await turn()
        objects[branch] = made
        for other in branch.joins.values():
            await self._make(other, rows, objects)

    async def _hang(self, load: Load, rows: Tuples, objects: list[Row | None]) -> None:
        distinct = list(dict.fromkeys(starts_of(load, rows)))
        try:
            found = await self._found(load, distinct) if distinct else {}
        except TooMuch:
            raise
        except Exception as error:
            # The other side may be down while this one answers: the field is lost, not the page.
            found = dict.fromkeys(distinct, Failed(error, error.__traceback__))
        is_call = isinstance(load.below, Called)
        for row, object_ in zip(rows, objects, strict=True):
            if object_ is not None:
                start = tuple(row[at] for at in load.places) if is_call else row[load.places[0]]
                object_.related.update(dict.fromkeys(map(id, load.leads.fields), found.get(start)))

    async def _found(self, load: Load, starts: list[Any]) -> dict[Any, Any]:
        below = load.below
        if isinstance(below, Lookup):
            layout = layout_of(below.view, led=False)
            found = await self._filled(layout, (below.view,), await self.picked(below.view, starts))
            return {row.values["id"]: row for row in found}
        if isinstance(below, Nested):
            return await self._pages_whole(below, starts)
        if isinstance(below, Column):
            return await self.values(below, starts)
        if isinstance(below, Rows):
            return await self._lists_whole(layout_of(below.view, led=True), below, starts)
        answers = await self.called_for(load, starts)
        return {start: await self._shown_whole(below, value) for start, value in answers.items()}

    async def _pages_whole(self, below: Nested, parents: list[Any]) -> dict[Any, Connected]:
        stand = self.stand_of(below)
        groups, totals = await self.pages(below, stand, parents)
        first = stand.window.first
        shown = [row for rows in groups.values() for row in rows[:first]]
        filled = iter(await self._filled(stand.layout, below.page.views, shown))
        return {
            parent: stand.connected(
                [next(filled) for _ in rows[:first]], has_next=len(rows) > first, total=totals.get(parent)
            )
            for parent, rows in groups.items()
        }

    async def _lists_whole(self, layout: Layout, below: Rows, parents: list[Any]) -> dict[Any, list[Row]]:
        groups = await self.lists(below, parents)
        rows = [row for group in groups.values() for row in group]
        filled = iter(await self._filled(layout, (below.view,), rows))
        return {parent: [next(filled) for _ in group] for parent, group in groups.items()}

    async def _shown_whole(self, below: Below, value: object) -> object:
        if isinstance(value, Exception):
            return Failed(value, value.__traceback__)
        if not isinstance(below, Called) or not isinstance(below.made, View) or not isinstance(value, Read):
            return value
        try:
            return await self._read_whole(below.made, value)
        except TooMuch:
            raise
        except Exception as error:
            return Failed(error, error.__traceback__)


def forget(run: Run) -> None:
    """Let go of what a run has read and called: its errors hold their frames, and those the run.

    What is in such a ring waits for the garbage collector, which then stops everybody for all of it at once.
    """
    for each in (run, *run.acted.values()):
        each.journal.called.clear()
        for sent in each.journal.sent:
            sent.outcome = ()


def _is_ours(read: Read) -> bool:
    """One of somebody who has just signed in, or of values that are known, is the library's."""
    return read.viewer is None and read.values is None


def _link(view: View, branch: Branch, objects: Objects) -> None:
    """Hang joined rows on the rows that lead to them."""
    for shown in view.shown:
        below = view.below[shown.place] if isinstance(shown, Leads) else None
        if isinstance(shown, Leads) and isinstance(below, Joined):
            other = branch.below(below)
            for parent, child in zip(objects[branch], objects[other], strict=True):
                if parent is not None:
                    parent.related.update(dict.fromkeys(map(id, shown.fields), child))
            _link(below.view, other, objects)
