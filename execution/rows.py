"""What a read brings back: rows of a node with the columns that were asked, and pages of them.

Plain values and nothing else: how they are fetched is in `execution/fetch.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from execution.declare import Column, NodeInfo


class Row:
    """One row of a node: `values` by table attribute, `related` by the identity of the
    document's field, put there before anything is read.

    `prefix` is what stands before the key in the global ids of its kind and tenant; `times` is how often
    the row stands in the answer, since what many rows lead to is fetched once.
    """

    __slots__ = ("node", "prefix", "related", "times", "values")

    def __init__(self, node: NodeInfo, prefix: str, values: dict[str, Any]) -> None:
        self.node = node
        self.prefix = prefix
        self.values = values
        self.related: dict[int, Any] = {}
        self.times = 1

    @property
    def id(self) -> str:
        """The global id."""
        key = self.values["id"]
        return f"{self.prefix}{key:x}" if isinstance(key, int) else self.prefix + str(key).encode().hex()

    def __getattr__(self, name: str) -> Any:
        """A declared field that is a column, or the column itself.

        Raises AttributeError for what was not fetched, and what its column's type said of a value that is none of it.
        """
        declared = self.node.fields.get(name)
        key = declared.key if isinstance(declared, Column) else name
        try:
            value = self.values[key]
        except KeyError:
            raise AttributeError(f"{self.node.name}.{name} was not asked for, so it was not fetched") from None
        if isinstance(value, Exception):
            raise value
        return value

    def __repr__(self) -> str:
        return f"Row({self.node.name}, {self.values.get('id')!r})"


@dataclass(slots=True)
class PageRows:
    """One page: its rows, whether more follow, and the number of all rows where that was asked for."""

    rows: list[Row] = field(default_factory=list)
    has_next: bool = False
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """Stands for a relation that could not be had; read, it becomes the error of each field that shows it."""

    error: Exception
    trace: TracebackType | None


@dataclass(frozen=True, slots=True)
class PageStands:
    """Where a page stands in its list; cursors are made only when they are read, and null on an empty page."""

    has_next_page: bool
    has_previous_page: bool
    ends: tuple[Row, Row] | None
    seal: Callable[[Row], str]

    @property
    def start_cursor(self) -> str | None:
        """Of the first row. Raises what its values say of themselves."""
        return None if self.ends is None else self.seal(self.ends[0])

    @property
    def end_cursor(self) -> str | None:
        """Of the last row. Raises what its values say of themselves."""
        return None if self.ends is None else self.seal(self.ends[1])


@dataclass(slots=True)
class Edge:
    """A row of a connection with its cursor, which is made only when it is read."""

    node: Row
    seal: Callable[[Row], str]

    @property
    def cursor(self) -> str:
        """Opaque; take it as `after` of the same field, filter and order."""
        return self.seal(self.node)


@dataclass(slots=True)
class Connected:
    """A page as the schema serves it. `cursors` says whether the order's columns were fetched for them."""

    page: PageRows
    seal: Callable[[Row], str]
    continued: bool
    cursors: bool

    @property
    def nodes(self) -> list[Row]:
        """The page's rows."""
        return self.page.rows

    @property
    def edges(self) -> list[Edge]:
        """The page's rows, each with its cursor."""
        return [Edge(row, self.seal) for row in self.page.rows]

    @property
    def page_info(self) -> PageStands:
        """A page that was asked for by a cursor has one before it."""
        ends = (self.page.rows[0], self.page.rows[-1]) if self.cursors and self.page.rows else None
        return PageStands(
            has_next_page=self.page.has_next,
            has_previous_page=self.continued,
            ends=ends,
            seal=self.seal,
        )

    @property
    def total_count(self) -> int | None:
        """All rows of the list; None where nobody asked."""
        return self.page.total
