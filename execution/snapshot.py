"""What a process remembers of the catalog: rows that everybody may see, dropped as soon as a change is told.

A notice "catalog" drops all of it, in the writer's own process at once and in every other within a second; what was
read before the notice and comes back after it is put into the version that is gone. A few seconds are the most that
anything is kept, for whoever writes without telling. Rows that anybody may see but tenants write (the gallery's) are
read each time; only how a row looks is remembered, by all of its values. Nothing that is a tenant's own is ever here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import orjson

from base.bus import Bus, Notice
from db.zones import Scope
from execution.declare import Table
from execution.steps import Key, Lookup, Made, Page, Plain, Typename, View

VERSION_SECONDS_MAX = 5.0
ANSWERS_MAX = 2_000
ROWS_MAX = 50_000
DISPLAYS_MAX = 100_000
WRITTEN_MAX = 10_000
WRITTEN_BYTES_MAX = 1_000
TOPICS = ("catalog", "reset")

Tuples = Sequence[Sequence[Any]]


class Version:
    """The catalog as it was between two changes, as far as anybody asked."""

    __slots__ = ("_answers", "_displays", "_displays_count", "_rows", "_written", "_written_count", "born")

    def __init__(self) -> None:
        self.born = time.monotonic()
        self._answers: dict[tuple[str, tuple[Any, ...]], Tuples] = {}
        self._rows = 0
        self._displays: dict[object, dict[Any, Any]] = {}
        self._displays_count = 0
        self._written: dict[object, dict[Any, orjson.Fragment]] = {}
        self._written_count = 0

    def answer(self, sql: str, values: tuple[Any, ...]) -> Tuples | None:
        """The rows of a statement, or None where nobody asked it yet."""
        return self._answers.get((sql, values))

    def keep(self, sql: str, values: tuple[Any, ...], rows: Tuples) -> None:
        """Remember the rows of a statement."""
        if len(self._answers) >= ANSWERS_MAX or self._rows + len(rows) > ROWS_MAX:
            self._answers.clear()
            self._rows = 0
        if len(rows) <= ROWS_MAX:
            self._answers[sql, values] = rows
            self._rows += len(rows)

    def displays(self, of: object) -> dict[Any, Any]:
        """The displays of a view's rows by id, None for an id that no row has; of a root field by its arguments."""
        return self._displays.setdefault(of, {})

    def count(self, displays: int) -> None:
        """So many were added."""
        self._displays_count += displays
        if self._displays_count > DISPLAYS_MAX:
            self._displays = {}
            self._displays_count = 0

    def written(self, of: object) -> Mapping[Any, orjson.Fragment]:
        """The rows of a view as they were written, by their values."""
        return self._written.get(of, {})

    def write(self, of: object, row: Any, display: object) -> orjson.Fragment:
        """A row's display as bytes; remembered, where it is not long. Raises what orjson does."""
        text = orjson.dumps(display)
        made = orjson.Fragment(text)
        if len(text) <= WRITTEN_BYTES_MAX:
            if self._written_count >= WRITTEN_MAX:
                self._written = {}
                self._written_count = 0
            self._written_count += 1
            self._written.setdefault(of, {})[row] = made
        return made


class Catalog:
    """The present version of one process's catalog."""

    def __init__(self, bus: Bus) -> None:
        self._version = Version()
        bus.listen(self._hear)

    def version(self) -> Version:
        """What a request takes once and keeps, so that it sees one version."""
        if time.monotonic() - self._version.born > VERSION_SECONDS_MAX:
            self._version = Version()
        return self._version

    def _hear(self, notice: Notice) -> None:
        if notice.topic in TOPICS:
            self._version = Version()


_CATALOGS: WeakKeyDictionary[Bus, Catalog] = WeakKeyDictionary()


def of(bus: Bus) -> Catalog:
    """The catalog of the process that hears this bus."""
    found = _CATALOGS.get(bus)
    if found is None:
        found = _CATALOGS[bus] = Catalog(bus)
    return found


def is_everybodys(table: Table) -> bool:
    """Whether all rows of a table are the same for everybody."""
    return table.scope is Scope.GLOBAL


def is_shared(answer: object) -> bool:
    """Whether a root field's rows look the same to everybody."""
    if isinstance(answer, Page):
        return is_everybodys(answer.node.table) and all(view.shared for view in answer.views)
    return isinstance(answer, View) and answer.shared > 0


def objects_of(view: View) -> int:
    """How many objects a row of this view is answered with, where its display is the same for everybody; else 0.

    That is so when it is made of stored columns of the catalog alone, and of such rows that it leads to.
    """
    columns = view.node.table.__table__.columns
    if not is_everybodys(view.node.table) or not all(key in columns for key in view.keys):
        return 0
    count = 1
    for shown in view.shown:
        if isinstance(shown, Made) and shown.how.takes_context:
            return 0
        if isinstance(shown, Typename | Key | Plain | Made):
            continue
        below = view.below[shown.place]
        inner = below.view.shared if isinstance(below, Lookup) else 0
        if inner == 0:
            return 0
        count += inner
    return count
