"""What the reader of SQL hands out (`Use`) and what it keeps while reading: queries and the brackets they stand in.

Word lists of the three engines stand here too. How they are used is in `db/sql_reader.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto


class Verb(Enum):
    SELECT = auto()
    UPDATE = auto()
    DELETE = auto()
    INSERT = auto()
    UPSERT = auto()  # the UPDATE of the row that an INSERT meets


class Clause(Enum):
    LIST = auto()  # what SELECT selects
    TABLE = auto()  # the one table of UPDATE, DELETE, INSERT
    FROM = auto()
    ON = auto()
    WHERE = auto()
    SET = auto()
    VALUES = auto()
    LATER = auto()  # GROUP BY and all that follows
    LOCK = auto()  # FOR UPDATE, LOCK IN SHARE MODE


CONDITIONS = (Clause.ON, Clause.WHERE)


@dataclass(slots=True)
class Use:
    """One scoped table as one SELECT, UPDATE, DELETE or INSERT of a statement uses it."""

    table: str
    verb: Verb
    # Column → places of the placeholders that it surely equals (one a row, for INSERT).
    equal: dict[str, list[int]] = field(default_factory=dict)
    # Columns that are surely IN a list of placeholders.
    listed: set[str] = field(default_factory=set)
    assigned: set[str] = field(default_factory=set)
    # UPSERT: the columns of ON CONFLICT (…), in which the row that is met equals the row that is inserted.
    met_by: frozenset[str] = frozenset()


@dataclass(slots=True)
class Found:
    """A conjunct of the clause being read; it counts if the whole clause turns out to have no OR beside it."""

    use: Use
    column: str
    place: int | None  # None: an IN list

    def add(self) -> None:
        if self.place is None:
            self.use.listed.add(self.column)
        else:
            self.use.equal.setdefault(self.column, []).append(self.place)


@dataclass(slots=True)
class Query:
    """One SELECT, UPDATE, DELETE or INSERT while it is read."""

    verb: Verb
    clause: Clause
    # Alias, as exactly as engines tell aliases apart → its use, or None for what is not scoped.
    items: dict[str, Use | None] = field(default_factory=dict)
    folded: set[str] = field(default_factory=set)
    froms: int = 0
    # The alias that the JOIN just read brought in, and whether its ON may still come.
    joined: str | None = None
    join_open: bool = False
    found: list[Found] = field(default_factory=list)
    either: bool = False  # OR stands in this clause: nothing in it is sure
    betweens: int = 0
    # INSERT: its columns and, for each row, column → place. A SELECT that makes the rows has `fills`.
    columns: list[str] = field(default_factory=list)
    rows: list[dict[str, int]] = field(default_factory=list)
    fills: Query | None = None
    item_start: int = 0
    row: dict[str, int] = field(default_factory=dict)
    row_items: int = 0

    @property
    def target(self) -> Use | None:
        """The one table that is written."""
        return next(iter(self.items.values()), None)


@dataclass(slots=True)
class Frame:
    """A bracket, a CASE, or the whole text (opened by nothing)."""

    opened_by: str
    query: Query | None = None
    # The token at which a query may begin; after WITH it may begin at any.
    begins: int = -1
    after_with: bool = False
    insert: Query | None = None  # the INSERT whose rows this frame's SELECTs make
    row_of: Query | None = None  # the INSERT of which this bracket is one row of VALUES
    item_of: Query | None = None  # the query in whose FROM this bracket stands


CLAUSE_FOLLOWS: dict[str, set[str] | None] = {
    "group": {"by"},
    "order": {"by"},
    "fetch": {"first", "next"},
    "for": {"update", "share", "no", "key"},
    "lock": {"in"},
    "limit": {"all"},  # or an amount
    "offset": set(),  # an amount
    "window": None,
    "having": None,
    "returning": None,
}
WRITERS_LATER = {"order", "limit", "returning"}
JOINS = {"join", "inner", "left", "cross", "natural"}
SETS = {"union", "intersect", "except"}
# What may stand behind a table in FROM, and behind a condition.
AFTER_TABLE = {*CLAUSE_FOLLOWS, *JOINS, *SETS, "on", "using", "where"}
AFTER_CONDITION = {*CLAUSE_FOLLOWS, *JOINS, *SETS, "and", "where"}
# Words behind which an operand is still to come, so that a clause cannot begin there.
_EXPECTING = """
    all and any as at between binary by case collate distinct div else escape exists from glob having ilike in interval
    is join like limit match member mod not of offset on operator or overlaps regexp returning rlike select set similar
    some sounds then to using when where xor
"""
# No alias, no table: unquoted, these are always the language's own.
_RESERVED = """
    conflict default delete do duplicate end full insert into lateral nothing null only replace right select set
    straight_join table update values with
"""
EXPECTING = frozenset(_EXPECTING.split())
RESERVED = EXPECTING | AFTER_TABLE | frozenset(_RESERVED.split())
# Casts of a placeholder that cannot make another value of it (CHAR and VARCHAR(n) cut, so they are not here).
EXACT_CASTS = {"varchar", "text", "bigint", "integer"}
