"""A root field's read on its way: what it asks for, and how the rows become the field's answer.

What is the same in all requests is made once and kept with the plan's step (`Recipe`). How it is sent is in
`execution/sending.py`, how rows are shown in `execution/levels.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from execution.declare import Read, Table
from execution.fetch import Seen
from execution.layout import Layout
from execution.page import Displays, Stand, connection
from execution.sending import Statement, Tuples
from execution.shapes import Text
from execution.steps import Incomplete, Page, RootStep, View

RECIPES_MAX = 100


@dataclass(slots=True, eq=False)
class Reading:
    """A read with the statements of its rows and of their number, as far as they are asked; `stand` is a page's."""

    step: RootStep
    read: Read
    layout: Layout
    views: Sequence[View]
    stand: Stand | None
    listed: Statement | None
    counted: Statement | None = None

    def statements(self) -> list[Statement]:
        """What has to be sent."""
        return [each for each in (self.listed, self.counted) if each is not None]

    def rows(self) -> Tuples:
        """The rows that are shown: a page asks for one more. Raises what came of the statement."""
        rows = () if self.listed is None else self.listed.rows
        return rows if self.stand is None else rows[: self.stand.window.first]

    def total(self) -> int | None:
        """The number of all rows, where it is asked for. Raises what came of the statement."""
        return None if self.counted is None else int(self.counted.rows[0][0])

    def display(self, shown: Sequence[Displays]) -> Any:
        """What the field is answered with; `shown` has for each view one display a row."""
        page, stand = self.step.answer, self.stand
        if stand is None or not isinstance(page, Page):
            return one_or_all(self.read, shown[0])
        first, rows = stand.window.first, () if self.listed is None else self.listed.rows
        has_next = len(rows) > first
        return connection(page, rows[:first], shown, stand=stand, has_next=has_next, total=self.total())


def one_or_all(read: Read, shown: Displays) -> Any:
    """The list of a read's rows, or the one. Raises Incomplete where the one that is always there is not."""
    if read.kind == "rows":
        return shown
    if not shown and read.kind == "the":
        raise Incomplete
    return shown[0] if shown else None


@dataclass(slots=True, eq=False)
class Recipe:
    """A Reading without its caller: for reads without conditions or cursors, whatever their function made them of."""

    layout: Layout
    views: Sequence[View]
    stand: Stand | None
    listed: Text | None
    bound: Mapping[str, Any]  # by name, what the rows' statement takes beside tenant and owner
    counted: Text | None

    def reading(self, step: RootStep, read: Read, table: Table, /, *, who: Seen) -> Reading:
        """The same for this caller."""
        listed = counted = None
        if self.listed is not None:
            listed = Statement(table, who, self.listed, self.listed.values({**who.values, **self.bound}))
        if self.counted is not None:
            counted = Statement(table, who, self.counted, self.counted.values(who.values))
        return Reading(step, read, self.layout, self.views, self.stand, listed, counted)


def recipe(step: RootStep, key: Any) -> Recipe | None:
    """What was kept of a step."""
    found: Recipe | None = step.recipes.get(key)
    return found


def keep(step: RootStep, key: Any, made: Reading, /) -> None:
    """Keep what is not the caller's of a reading that has been made."""
    window = {"at_limit": made.read.limit} if made.stand is None else made.stand.window.values()
    listed, counted = (None if each is None else each.text for each in (made.listed, made.counted))
    if len(step.recipes) >= RECIPES_MAX:
        step.recipes.clear()
    step.recipes[key] = Recipe(made.layout, made.views, made.stand, listed, window, counted)
