"""Rows → the parts of an answer: a function is generated for a view, the columns of its rows and their dialect.

It makes dict displays, which orjson writes. What it cannot complete (null in a non-null place, a number out of
range, an unknown word) raises; the library then completes the answer and says what is wrong with it. Names in the
generated source come from here alone, never from a document.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any, NoReturn, Protocol

import orjson
import sqlalchemy as sa
from graphql import GraphQLBoolean, GraphQLEnumType, GraphQLFloat, GraphQLInt, GraphQLNonNull, GraphQLString
from sqlalchemy.engine import Dialect

from db import columns
from db.columns import Exact, Json, Line, Prose, UtcDateTime, Word
from db.zones import Scope, Zone
from execution import complete
from execution.complete import INT_MAX, INT_MIN
from execution.declare import Table
from execution.layout import Branch, Layout
from execution.scalars import BIG_INT_MAX
from execution.steps import Called, Incomplete, Joined, Key, Leads, Lookup, Made, Plain, Shown, Typename, View
from tenancy.context import Context

MOMENTS_REMEMBERED_MAX = 20_000
TEXTS_REMEMBERED_MAX = 10_000
MOMENT_CHARACTERS = len("2026-01-31 12:00:00.000000")
TEXT_CHARACTERS_REMEMBERED_MAX = 200

# Of all operations; what finds no place is completed by the library, which needs no function for it.
QUEUE_MAX = 64


class Asker(Protocol):
    """For whom rows are shown."""

    @property
    def ctx(self) -> Context:
        """The request."""

    def prefix(self, table: Table) -> str:
        """What stands before the key in global ids."""


class _Thread:
    """On which functions are generated, and its queue; used by one event loop."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="emitting")
        self._inside = 0

    async def do(self, make: Callable[[], Emitter]) -> Emitter:
        """Raises Incomplete where there is no place in the queue."""
        if self._inside >= QUEUE_MAX:
            raise Incomplete
        self._inside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, make)
        finally:
            self._inside -= 1


_THREAD = _Thread()

# (rows, what the view's loads lead to, for whom) → one display a row
Emit = Callable[[Sequence[Any], Sequence[Mapping[Any, Any]], Asker], list[dict[str, Any]]]


class Emitter:
    """The generated function of a view, and its source for the curious (`atrium explain`).

    `lasts`: what it makes of a row follows from the row, the catalog and the request's origin, so that whoever is
    shown the same row by the same version of the catalog is shown the same.
    """

    __slots__ = ("emit", "lasts", "source")

    def __init__(self, view: View, layout: Layout, *, dialect: Dialect) -> None:
        maker = _Maker(dialect)
        shown = maker.display(view, layout.root)
        names = [f"r{place}" for place in range(1 if layout.led else 0, layout.width)]
        row = ", ".join(["_", *names] if layout.led else names)
        before = "".join(f"    {line}\n" for line in maker.before)
        # A loop and no comprehension, in which every name from outside of it would be a cell.
        self.source = (
            f"def emit(rows, below, asker):\n{before}    shown = []\n    add = shown.append\n"
            f"    for ({row},) in rows:\n        add({shown})\n    return shown\n"
        )
        exec(compile(self.source, f"<emit {view.node.name}>", "exec"), maker.names)  # noqa: S102  (made of our own names alone)
        self.emit: Emit = maker.names["emit"]
        self.lasts = view.node.table.scope is Scope.USER_SHARED and _lasts(view, dialect)


def emitter(layout: Layout, views: Sequence[View], place: int, /, *, dialect: Dialect) -> Emitter:
    """The function of one of the views of a layout, generated when first asked for."""
    key = (place, dialect.name, dialect.driver)
    found: Emitter | None = layout.emitters.get(key)
    if found is None:
        found = layout.emitters[key] = Emitter(views[place], layout, dialect=dialect)
    return found


def known_emitter(layout: Layout, place: int, *, dialect: Dialect) -> Emitter | None:
    """The same where it was generated already."""
    found: Emitter | None = layout.emitters.get((place, dialect.name, dialect.driver))
    return found


async def emitter_off_loop(layout: Layout, views: Sequence[View], place: int, /, *, dialect: Dialect) -> Emitter:
    """The same, a new one generated on a thread: one of many fields takes longer than the loop may be held.

    Raises Incomplete where too many wait for that.
    """
    found = known_emitter(layout, place, dialect=dialect)
    if found is None:
        make = partial(emitter, layout, views, place, dialect=dialect)
        found = await _THREAD.do(make)
    return found


class _Maker:
    """Expressions for what is shown, the names they use, and what is done once before the rows."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._loads = 0
        self.before: list[str] = []
        self.names: dict[str, Any] = {"missing": _missing}

    def display(self, view: View, branch: Branch) -> str:
        """The source of one row's display."""
        return f"{{{', '.join(f'{each.response!r}: {self._shown(each, view, branch)}' for each in view.shown)}}}"

    def _shown(self, shown: Shown, view: View, branch: Branch) -> str:
        if isinstance(shown, Typename):
            return repr(shown.name)
        if isinstance(shown, Key):
            return self._key(branch)
        if isinstance(shown, Made):
            return self._made(shown, branch)
        if isinstance(shown, Leads):
            return self._leads(shown, view, branch)
        return self._plain(shown, branch)

    def _key(self, branch: Branch) -> str:
        at, table = _at(branch, "id"), branch.node.table
        prefix = self._once(f"asker.prefix({self._named(table)})")
        text = not isinstance(_type(table, "id"), sa.BigInteger)
        return f"{prefix} + {at}.encode().hex()" if text else f"f'{{{prefix}}}{{{at}:x}}'"

    def _leads(self, shown: Leads, view: View, branch: Branch) -> str:
        below = view.below[shown.place]
        if isinstance(below, Joined):
            other = branch.below(below)
            otherwise = "None" if shown.nullable else "missing()"
            return f"({self.display(below.view, other)} if {_at(other, 'id')} is not None else {otherwise})"
        found = self._once(f"below[{self._loads}]")
        self._loads += 1
        keys = [_at(branch, key) for key in shown.keys]
        key = f"({''.join(f'{each}, ' for each in keys)})" if isinstance(below, Called) else keys[0]
        return f"{found}.get({key})" if shown.nullable else f"{found}[{key}]"

    def _made(self, shown: Made, branch: Branch) -> str:
        function = self._once(f"{self._named(shown.how.bound)}(asker.ctx)")
        called = f"{function}({', '.join(self._decoded(branch, key) for key in shown.how.needs)})"
        finish = self._named(shown.complete)
        if complete.is_text(shown.type):
            return f"(v if (v := {called}).__class__ is str else {finish}(v))"
        return f"{finish}({called})"

    def _plain(self, shown: Plain, branch: Branch) -> str:
        at, column = _at(branch, shown.key), _type(branch.node.table, shown.key)
        required = isinstance(shown.type, GraphQLNonNull)
        named = shown.type.of_type if isinstance(shown.type, GraphQLNonNull) else shown.type
        if isinstance(column, Word) and isinstance(named, GraphQLEnumType) and column.kind is not None:
            return f"{self._named(_words(column, named, required=required))}[{at}]"
        if isinstance(column, Json) and self._dialect.name != "postgresql":  # whose driver decodes it
            remembered = _Remembered(complete.leaf(shown.type), required=required)
            return f"({self._named(remembered.texts.get)}({at}) or {self._named(remembered.written)}({at}))"
        written = self._written(at, column, named)
        if written is None:
            decode, finish = self._decoded(branch, shown.key), self._named(complete.leaf(shown.type))
            return f"{finish}({decode})"
        return f"({written} if {at} is not None else {'missing()' if required else 'None'})"

    def _written(self, at: str, column: Any, named: Any) -> str | None:
        """The value where it is not null; None for a pair of column and type that has no quick way."""
        if named is GraphQLString and isinstance(column, Exact | Line | Prose):
            return at
        # SQLite alone keeps whatever was put into a column, whatever its type.
        loose = self._dialect.name == "sqlite"
        whole = f"{at}.__class__ is int and " if loose else ""
        if named is GraphQLInt and isinstance(column, sa.Integer):
            return f"({at} if {whole}{INT_MIN} <= {at} <= {INT_MAX} else missing())"
        if named is GraphQLBoolean and isinstance(column, sa.Boolean):
            return f"({at} != 0)"
        if named is GraphQLFloat and isinstance(column, sa.Float):
            return f"{self._named(_finite)}({at})"
        if getattr(named, "name", "") == "BigInt" and isinstance(column, sa.Integer):
            return f"({at} if {whole}{-BIG_INT_MAX} <= {at} else missing())"
        if getattr(named, "name", "") == "DateTime" and isinstance(column, UtcDateTime):
            if loose:
                return f"{self._named(_moment_in_text)}({at})"
            if self._dialect.name == "postgresql":
                return f"({at}.isoformat('T', 'milliseconds')[:-6] + 'Z')"
            return f"({self._named(_MOMENTS.get)}({at}) or {self._named(_dated)}({at}))"
        return None

    def _decoded(self, branch: Branch, key: str) -> str:
        """The value as Python code of ours takes it: what the column's type makes of the driver's."""
        process = columns.decoder(_type(branch.node.table, key), self._dialect)
        return _at(branch, key) if process is None else f"{self._named(process)}({_at(branch, key)})"

    def _once(self, source: str) -> str:
        name = f"o{len(self.before)}"
        self.before.append(f"{name} = {source}")
        return name

    def _named(self, thing: Any) -> str:
        name = f"n{len(self.names)}"
        self.names[name] = thing
        return name


def _lasts(view: View, dialect: Dialect) -> bool:
    """Whether the display of rows that anybody may see follows from their values, the catalog and the origin."""
    table = view.node.table
    # A row of SQLite's may equal one of other types, and 0.0 equals -0.0.
    if table.zone is not Zone.CENTRAL or table.scope not in (Scope.GLOBAL, Scope.USER_SHARED):
        return False
    if dialect.name == "sqlite" or any(isinstance(_type(table, key), sa.Float) for key in view.keys):
        return False
    if dialect.name == "postgresql" and any(isinstance(_type(table, key), Json) for key in view.keys):
        return False  # whose driver decodes it: lists are no key
    for shown in view.shown:
        if isinstance(shown, Made) and shown.how.takes_context and not shown.how.once:
            return False
        if isinstance(shown, Leads):
            below = view.below[shown.place]
            if isinstance(below, Joined):
                if not _lasts(below.view, dialect):
                    return False
            elif not isinstance(below, Lookup) or not below.view.shared:
                return False
    return True


def _at(branch: Branch, key: str) -> str:
    return f"r{branch.at[key]}"


def _type(table: Table, key: str) -> Any:
    column: sa.ColumnElement[Any] = getattr(table, key)
    return column.type


def _words(column: Word, served: GraphQLEnumType, *, required: bool) -> dict[str | None, str | None]:
    """What stands in the row → what is answered; null only where it may be."""
    kind = column.kind
    words: dict[str | None, str | None] = {
        name: served.coerce_output_value(member) for name, member in (kind.__members__.items() if kind else ())
    }
    return words if required else {**words, None: None}


# Moments without a zone as they are written: writing one costs ten times as much as finding it, and pages come again.
_MOMENTS: dict[datetime, str] = {}


def _dated(value: datetime) -> str:
    written = value.isoformat("T", "milliseconds") + "Z"
    if len(_MOMENTS) >= MOMENTS_REMEMBERED_MAX:
        _MOMENTS.clear()
    _MOMENTS[value] = written
    return written


def _missing() -> NoReturn:
    raise Incomplete


def _finite(value: float) -> float:
    if math.isfinite(value):
        return float(value)
    raise Incomplete


def _moment_in_text(text: str) -> str:
    """A moment as SQLite has it in text, always with microseconds and without a zone. Raises where it is none."""
    if len(text) != MOMENT_CHARACTERS or datetime.fromisoformat(text).tzinfo is not None:
        raise Incomplete
    return f"{text[:10]}T{text[11:23]}Z"


class _Remembered:
    """JSON columns as they are written: a text is checked against its type once and remembered, within bounds."""

    def __init__(self, finish: complete.Complete, *, required: bool) -> None:
        self._finish = finish
        self._required = required
        self.texts: dict[str, orjson.Fragment] = {}

    def written(self, text: str | None) -> orjson.Fragment | None:
        """The checked JSON. Raises where it does not fit."""
        if text is None:
            return _missing() if self._required else None
        known = self.texts.get(text)
        if known is not None:
            return known
        made = orjson.Fragment(orjson.dumps(self._finish(orjson.loads(text))))
        if len(text) <= TEXT_CHARACTERS_REMEMBERED_MAX:
            if len(self.texts) >= TEXTS_REMEMBERED_MAX:
                self.texts.clear()
            self.texts[text] = made
        return made
