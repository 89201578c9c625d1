"""Which columns one statement selects for some views, the joined rows' among them, and where its rows hold them.

A relation to one row of the same database is a LEFT JOIN of the statement that reads its parents (`Joined`); what
else hangs below is a load of its own. What a row becomes is in `execution/emit.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from execution.declare import NodeInfo, Table
from execution.steps import Below, Joined, Leads, View

KINDS_KEPT_MAX = 4_000


@dataclass(frozen=True, slots=True, eq=False)
class Selected:
    """Columns of a table by attribute, and of the rows that it leads to; made by `selected`: equal ones are one."""

    keys: tuple[str, ...]
    joins: tuple[Join, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Join:
    """The row of `table` whose id stands in the parent's column `start`, if it fits `where`; made by `joined` alone."""

    start: str
    table: Table
    where: tuple[Any, ...]
    selected: Selected


@lru_cache(maxsize=KINDS_KEPT_MAX)
def selected(keys: tuple[str, ...], joins: tuple[Join, ...] = ()) -> Selected:
    """So that a shape is found by what it is, at the price of a pointer."""
    return Selected(keys, joins)


@lru_cache(maxsize=KINDS_KEPT_MAX)
def joined(start: str, table: Table, where: tuple[Any, ...], of: Selected, /) -> Join:
    """The same for joins."""
    return Join(start, table, where, of)


class Branch:
    """One table of the statement: its columns' places in a row, and the tables that it leads to."""

    __slots__ = ("at", "joins", "keys", "node")

    def __init__(self, node: NodeInfo, keys: Iterable[str] = ()) -> None:
        self.node = node
        self.keys = {"id", *keys}
        self.at: dict[str, int] = {}
        self.joins: dict[tuple[str, str], Branch] = {}

    def below(self, joined: Joined) -> Branch:
        """The branch that a joined step leads to."""
        return self.joins.setdefault((joined.how.key, joined.view.node.name), Branch(joined.view.node))

    def take(self, view: View) -> None:
        """Everything that this view shows."""
        self.keys |= view.keys
        for below in view.below:
            if isinstance(below, Joined):
                self.below(below).take(below.view)

    def place(self, start: int) -> int:
        """Say where each column stands, from this place on; the first place behind them."""
        self.at = {key: start + number for number, key in enumerate(sorted(self.keys))}
        start += len(self.at)
        for branch in self.joins.values():
            start = branch.place(start)
        return start

    def selected(self) -> Selected:
        """What the statement takes, in the order of the places."""
        joins = (
            joined(start, branch.node.table, branch.node.where, branch.selected())
            for (start, _), branch in self.joins.items()
        )
        return selected(tuple(self.at), tuple(joins))


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """What is fetched or called for rows: where in a row stands what it starts from."""

    leads: Leads
    below: Below
    branch: Branch
    places: tuple[int, ...]
    present: int = -1  # where a joined row has its id, so that one that is not there leads nowhere


class Layout:
    """The rows of one statement that some views of one node share; `led`: the parent's value stands before them."""

    __slots__ = ("emitters", "led", "loads", "root", "selected", "width")

    def __init__(self, node: NodeInfo, views: Sequence[View], *, led: bool = False, more: Iterable[str] = ()) -> None:
        """`more` are columns that no view shows: an order's, for cursors."""
        self.led = led
        self.root = Branch(node, more)
        for view in views:
            self.root.take(view)
        self.width = self.root.place(1 if led else 0)
        self.selected = self.root.selected()
        self.loads = [tuple(_loads(view, self.root)) for view in views]
        # The generated functions, by view and kind of database; `execution/emit.py` puts them here.
        self.emitters: dict[tuple[int, str, str], Any] = {}


def _loads(view: View, branch: Branch, present: int = -1) -> Iterable[Load]:
    for shown in view.shown:
        if not isinstance(shown, Leads):
            continue
        below = view.below[shown.place]
        if isinstance(below, Joined):
            other = branch.below(below)
            yield from _loads(below.view, other, other.at["id"])
        else:
            yield Load(shown, below, branch, tuple(branch.at[key] for key in shown.keys), present)
