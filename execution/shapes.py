"""Statements as texts for leased connections: compiled once a shape and dialect, their values put in place each time.

Two conditions of one shape (`slug = 'a'`, `slug = 'b'`) share a text. What a statement says is in
`execution/statements.py`, how it is sent in `db/leases.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.compiler import SQLCompiler

from db import columns
from execution import statements
from execution.declare import Table

TEXTS_KEPT_MAX = 4_000
TEXT_CHARACTERS_KEPT_MAX = 16_000_000
CONDITIONS_KEPT_MAX = 1_000
DECODERS_KEPT_MAX = 1_000
IDS = "at_ids"

Conditions = tuple[sa.ColumnElement[bool], ...]
Process = Callable[[Any], Any] | None
# A name and whether it is a whole list; a number is the place among the conditions' values. None is a value of the
# statement itself, which stands in the last place then: as it is or, where True, made anew each time (the clock).
Segment = tuple[str | int | None, bool, Any]


class Text:
    """One compiled statement. `values` takes what the statement binds by name, and the conditions' values in order."""

    __slots__ = ("_named", "_segments", "is_timeless", "sql")

    def __init__(self, sql: str, segments: Sequence[Segment]) -> None:
        self.sql = sql
        self.is_timeless = not any(name is None and called for name, called, _ in segments)
        self._segments = tuple(segments)
        # Two names and more, each bound as it is: picked in one go.
        names = [name for name, whole, process in segments if isinstance(name, str) and not whole and process is None]
        self._named = itemgetter(*names) if len(names) == len(segments) > 1 else None

    def values(self, named: Mapping[str, Any], given: Sequence[Any] = ()) -> tuple[Any, ...]:
        """The positional values, as the driver takes them."""
        if self._named is not None:
            picked: tuple[Any, ...] = self._named(named)
            return picked
        found: list[Any] = []
        for name, whole, process in self._segments:
            if name is None:
                found.append(process() if whole else process)
                continue
            value = given[name] if isinstance(name, int) else named[name]
            if whole:
                found += value if process is None else [process(each) for each in value]
            else:
                found.append(value if process is None else process(value))
        return tuple(found)


class Texts:
    """The texts of one kind of database, bounded by number and characters."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, Text] = OrderedDict()
        self._characters = 0

    def __len__(self) -> int:
        return len(self._kept)

    def of(
        self,
        dialect: Dialect,
        make: Callable[..., statements.Select],
        arguments: tuple[Any, ...],
        /,
        *,
        named: Mapping[str, Any],
        where: Conditions = (),
    ) -> tuple[Text, Sequence[Any]]:
        """The text of `make(*arguments)` with conditions, and the conditions' values; `named` has lists in full."""
        count = len(named[IDS]) if IDS in named else 0
        keys: tuple[Any, ...] | None = ()
        given: Sequence[sa.BindParameter[Any]] = ()
        values: Sequence[Any] = ()
        lengths: tuple[int, ...] = ()
        if where:
            keys, given = _shape_of(where)
            values = [bind.effective_value for bind in given]
            lengths = tuple([len(value) if isinstance(value, list) else -1 for value in values])
        # Which names are quoted on MySQL's protocol hangs on who answers it, known from the first connection on.
        kind = (dialect.name, dialect.driver, getattr(dialect, "is_mariadb", False))
        shape = (kind, make, arguments, count, lengths, keys)
        known = keys is not None
        text = self._kept.get(shape) if known else None
        if text is None:
            statement = make(*arguments)
            if isinstance(statement, sa.Select):
                statement = statement.where(*where)
            text = compiled(statement, dialect, named=named, given=given)
            if known:
                self._keep(shape, text)
        else:
            self._kept.move_to_end(shape)
        return text, values

    def _keep(self, shape: object, text: Text) -> None:
        self._kept[shape] = text
        self._characters += len(text.sql)
        while len(self._kept) > TEXTS_KEPT_MAX or self._characters > TEXT_CHARACTERS_KEPT_MAX:
            self._characters -= len(self._kept.popitem(last=False)[1].sql)


@lru_cache(maxsize=CONDITIONS_KEPT_MAX)
def _shape_of(where: Conditions) -> tuple[tuple[Any, ...] | None, Sequence[sa.BindParameter[Any]]]:
    """The shape of conditions without their values (None where SQLAlchemy has none), and the binds of their values."""
    keys = [condition._generate_cache_key() for condition in where]  # noqa: SLF001  (SQLAlchemy's own key of a shape)
    given = [bind for key in keys if key is not None for bind in key.bindparams]
    return (None if None in keys else tuple(key.key for key in keys if key is not None)), given


@lru_cache(maxsize=DECODERS_KEPT_MAX)
def decoder(table: Table, key: str, dialect: Dialect) -> Callable[[Any], Any] | None:
    """What makes a Python value of the driver's for a column; None where it is one already."""
    return columns.decoder(statements.column(table, key).type, dialect)


def compiled(
    statement: statements.Select,
    dialect: Dialect,
    /,
    *,
    named: Mapping[str, Any],
    given: Sequence[sa.BindParameter[Any]] = (),
) -> Text:
    """The text of a statement. `named` has lists in their length; what is neither named nor given stays fixed."""
    made = statement.compile(dialect=dialect)
    if not isinstance(made, SQLCompiler):
        raise TypeError("only statements have a text")
    places = {bind.key: place for place, bind in enumerate(given)}
    known = {bind.key: named[bind.key] for bind in made.bind_names if bind.key in named}
    state = made.construct_expanded_state(known, escape_names=False)
    parts = {part: (name, at) for name, found in state.parameter_expansion.items() for at, part in enumerate(found)}
    segments: list[Segment] = []
    for position in state.positiontup or ():
        name, at = parts.get(position, (position, -1))
        bind = made.binds[name]
        # An array of ids goes in as it is, and hashable, since answers are remembered by their values.
        of_array = isinstance(bind.type, sa.ARRAY)
        process: Process = tuple if of_array else bind.type.dialect_impl(dialect).bind_processor(dialect)
        source = places.get(bind.key, bind.key if bind.key in named else None)
        if source is None and bind.callable is not None:
            segments.append((None, True, _made_anew(bind.callable, process)))
        elif source is None:
            fixed: Any = bind.effective_value
            value = fixed if at < 0 else fixed[at]
            segments.append((None, False, value if process is None else process(value)))
        elif at <= 0:  # a list goes in whole with its first value
            segments.append((source, at == 0, process))
    return Text(state.statement, segments)


def _made_anew(make: Callable[[], Any], process: Process) -> Callable[[], Any]:
    return make if process is None else lambda: process(make())
