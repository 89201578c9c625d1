"""Reads the SQL about to be sent and refuses what is not scoped: the second of three layers, and the one that no
statement passes by. Loader criteria and the check before flush are in `db/session.py`; how text is read is in
`db/sql_reader.py`, and what each scope demands of a use is in `db/demands.py`.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from db import demands, sql_reader, sql_tokens
from db.demands import Demand, Permit, Rule
from db.sql_shapes import Use
from db.sql_tokens import GuardError
from db.zones import Scope

__all__ = ["Guard", "GuardError", "Permit", "Rule", "raw"]

VERDICTS_MAX = 4_000
VERDICT_CHARACTERS_MAX = 64_000_000
SWEEP_ROWS_MAX = demands.SWEEP_ROWS_MAX

# Without a scoped table, a statement may still be one that runs text which nobody has read (PREPARE, DO, CALL …).
_FREE = re.compile(
    r"[\s(]*(?:select|insert|update|delete|with|values|set|show|begin|start|commit|rollback|savepoint|release|pragma"
    r"|explain)\b",
    re.IGNORECASE,
)

_Shape = tuple[bool, bool, bool, bool, bool]


def raw(sql: str) -> sa.TextClause:
    """SQL by hand, with `:name` for values: the only way to it. It is read like any other statement."""
    return sa.text(sql)


class _Verdict:
    """What one SQL text uses, and what that demands of each kind of permit it has met."""

    __slots__ = ("demands", "uses")

    def __init__(self, uses: tuple[Use, ...]) -> None:
        self.uses = uses
        self.demands: dict[_Shape, Demand] = {}


class Guard:
    """One for all engines: `rules` is table name → rule, of every table of both zones."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self._rules = {name: rule for name, rule in rules.items() if rule.scope is not Scope.GLOBAL}
        self._columns = {name: rule.columns() for name, rule in self._rules.items()}
        self._verdicts: OrderedDict[str, _Verdict] = OrderedDict()
        self._characters = 0

    def check(self, sql: str, parameters: object, many: bool, permit: Permit | None) -> None:
        """Raise GuardError unless this permit may send this text with these values. Changes nothing, costs no I/O."""
        verdict = self._verdicts.get(sql)
        if verdict is None:
            verdict = self._read(sql)
        else:
            self._verdicts.move_to_end(sql)
        if not verdict.uses:
            return
        if permit is None:
            demands.without_permit(sql, verdict.uses, self._rules)
            return
        shape = (permit.tenant is None, permit.owner is None, permit.infra, permit.sweep, permit.flushing)
        demand = verdict.demands.get(shape)
        if demand is None:
            demand = demands.of(sql, verdict.uses, rules=self._rules, permit=permit)
            verdict.demands[shape] = demand
        # executemany has a list of rows; a batch of insertmanyvalues calls itself many and has one flat tuple.
        if many and isinstance(parameters, list):
            for row in parameters:
                _compare(sql, row, demand=demand, permit=permit)
        else:
            _compare(sql, parameters, demand=demand, permit=permit)

    def is_open(self, sql: str) -> bool:
        """Whether nothing in this text is anybody's own. Raises GuardError for a text that cannot be read."""
        verdict = self._verdicts.get(sql)
        return not (self._read(sql) if verdict is None else verdict).uses

    def install(self, engine: sa.Engine) -> None:
        """Read everything that this engine sends from now on. Connections with `migrating=True` are left alone."""

        @event.listens_for(engine, "before_cursor_execute")
        def before(
            conn: sa.Connection, _cursor: object, sql: str, parameters: object, _context: object, many: bool
        ) -> None:
            options = conn.get_execution_options()
            if not options.get("migrating"):
                self.check(sql, parameters, many, options.get("permit"))

    def _read(self, sql: str) -> _Verdict:
        words = sql_tokens.words(sql)
        uses = () if words.isdisjoint(self._rules) else sql_reader.read(sql, self._columns)
        if not uses:
            _check_free(sql)
        verdict = _Verdict(uses)
        self._verdicts[sql] = verdict
        self._characters += len(sql)
        while len(self._verdicts) > VERDICTS_MAX or (
            self._characters > VERDICT_CHARACTERS_MAX and len(self._verdicts) > 1
        ):
            self._characters -= len(self._verdicts.popitem(last=False)[0])
        return verdict


def _check_free(sql: str) -> None:
    if _FREE.match(sql) is None:
        raise GuardError(f"{sql_tokens.head(sql)}: belongs to a migration (execution option migrating)")
    if ";" in sql:
        # A second statement could run what nobody has read; in quotes it is only text.
        sql_reader.read(sql, {})


def _compare(sql: str, parameters: Any, *, demand: Demand, permit: Permit) -> None:
    try:
        for place in demand.tenant:
            if parameters[place] != permit.tenant:
                raise _refusal(sql, demand, f"binds tenant {parameters[place]!r}, the session is of {permit.tenant!r}")
        for place in demand.owner:
            if parameters[place] != permit.owner:
                raise _refusal(sql, demand, f"binds owner {parameters[place]!r}, the session is of {permit.owner!r}")
        if demand.plain:
            return
        for place in demand.named:
            if parameters[place] is None or parameters[place] == "":
                raise _refusal(sql, demand, "binds nobody where a tenant or owner must be named")
        for place in demand.limits:
            rows = parameters[place]
            if type(rows) is not int or not 0 <= rows <= SWEEP_ROWS_MAX:
                raise _refusal(sql, demand, f"sweeps {rows!r} rows; at most {SWEEP_ROWS_MAX}")
    except (IndexError, KeyError, TypeError) as error:
        count = len(parameters) if isinstance(parameters, Sequence | Mapping) else 0
        raise _refusal(sql, demand, f"has {count} values, fewer or named otherwise than its placeholders") from error


def _refusal(sql: str, demand: Demand, why: str) -> GuardError:
    return GuardError(f"{sql_tokens.head(sql)}: {', '.join(demand.tables)}: {why}")
