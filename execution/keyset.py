"""Where a page begins: orders that end in the id, the condition behind a cursor, and the cursor itself.

A cursor holds the order's values of a row and its id, signed for one list of one caller. How
ids and cursors are signed is in `base/ids.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapper

from base import errors
from base.ids import Cursors
from db.columns import Exact, Line, UtcDateTime
from execution.declare import Table

FIRST_DEFAULT = 20
FIRST_MAX = 100
ORDERS_KEPT_MAX = 500
ORDERABLE = (Exact, Line, UtcDateTime, sa.Integer, sa.Float, sa.Boolean)


@dataclass(frozen=True, slots=True)
class Term:
    """One column of an order."""

    key: str
    descending: bool
    is_moment: bool


@dataclass(frozen=True)
class Order:
    """The columns by which a list stands, the id last, so that no two rows share a place."""

    table: Table
    terms: tuple[Term, ...]

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """What must be fetched of a row to make its cursor."""
        return tuple(term.key for term in self.terms)

    def by(self) -> list[sa.ColumnElement[Any]]:
        """What ORDER BY takes."""
        return [_column(self.table, t.key).desc() if t.descending else _column(self.table, t.key) for t in self.terms]

    def behind(self) -> sa.ColumnElement[bool]:
        """Everything behind the place whose values are bound as at_after_0, at_after_1, …

        A chain of ORs is the one form that every engine takes, and the leading bound on the
        first column lets each of them begin in the index.
        """
        steps: list[sa.ColumnElement[bool]] = []
        for place, term in enumerate(self.terms):
            same = [_column(self.table, t.key) == _after(self.table, i, t) for i, t in enumerate(self.terms[:place])]
            column, value = _column(self.table, term.key), _after(self.table, place, term)
            steps.append(sa.and_(*same, column < value if term.descending else column > value))
        if len(steps) == 1:
            return steps[0]
        first, start = _column(self.table, self.terms[0].key), _after(self.table, 0, self.terms[0])
        return sa.and_(first <= start if self.terms[0].descending else first >= start, sa.or_(*steps))

    def seal(self, values: Mapping[str, Any], cursors: Cursors, context: bytes) -> str:
        """The cursor of a row."""
        return cursors.seal([_written(values[term.key]) for term in self.terms], context)

    def open(self, cursor: str, cursors: Cursors, context: bytes) -> tuple[Any, ...]:
        """The values of `seal`, in the order of the terms. Raises BadUserInput for a cursor of another list."""
        values = cursors.open(cursor, context)
        return tuple(
            datetime.fromisoformat(value) if term.is_moment else value
            for term, value in zip(self.terms, values, strict=True)
        )


@lru_cache(maxsize=ORDERS_KEPT_MAX)
def order_of(table: Table, words: tuple[str, ...]) -> Order:
    """The order that words like ("-created_at",) say; `id` follows in the direction of the last one.

    Raises TypeError where a column may be null or has no order that a cursor could hold.
    """
    terms = [_term(table, word.removeprefix("-"), descending=word.startswith("-")) for word in words]
    if all(term.key != "id" for term in terms):
        terms.append(_term(table, "id", descending=bool(terms) and terms[-1].descending))
    return Order(table, tuple(terms))


@dataclass(slots=True)
class Window:
    """At most `first` rows, those behind the place with these values where there is one."""

    first: int
    after: tuple[Any, ...] | None = None

    def values(self) -> dict[str, Any]:
        """What the statement is given: one row more than asked tells whether another page follows."""
        bound: dict[str, Any] = {"at_limit": self.first + 1}
        for place, value in enumerate(self.after or ()):
            bound[f"at_after_{place}"] = value
        return bound


def first_of(first: int | None, most: int = FIRST_MAX) -> int:
    """How many rows a page holds: 20 where nothing was said. Raises BadUserInput naming the argument."""
    if first is None:
        return FIRST_DEFAULT
    if not 0 <= first <= most:
        raise errors.BadUserInput(f'Argument "first" must be from 0 to {most}, not {first}.')
    return first


def _term(table: Table, key: str, *, descending: bool) -> Term:
    mapper: Mapper[Any] = sa.inspect(table)
    kind = mapper.columns[key].type
    if mapper.columns[key].nullable or not isinstance(kind, ORDERABLE):
        raise TypeError(f"{table.__name__}.{key} cannot order a list: a number, a text or a moment, never null, can")
    return Term(key, descending, isinstance(kind, UtcDateTime))


def _column(table: Table, key: str) -> sa.ColumnElement[Any]:
    column: sa.ColumnElement[Any] = getattr(table, key)
    return column


def _after(table: Table, place: int, term: Term) -> sa.BindParameter[Any]:
    return sa.bindparam(f"at_after_{place}", type_=_column(table, term.key).type)


def _written(value: object) -> object:
    return value.isoformat(timespec="microseconds") if isinstance(value, datetime) else value
