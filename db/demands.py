"""What each scope demands of a statement's use of a table, for each kind of permit: which placeholders must hold whom.

Pure: no SQL is read here and no values are compared (`db/sql_reader.py`, `db/guard.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from db import sql_sweep
from db.sql_shapes import Use, Verb
from db.sql_tokens import GuardError, head
from db.zones import Scope, Zone

SWEEP_ROWS_MAX = 1_000


@dataclass(frozen=True)
class Rule:
    """One table's rule, drawn from its declaration."""

    scope: Scope
    zone: Zone
    tenant: str | None = None
    owner: str | None = None
    credentials: tuple[str, ...] = ()
    swept: bool = False

    def columns(self) -> frozenset[str]:
        """The columns that the reader must look for."""
        return frozenset(column for column in (self.tenant, self.owner, *self.credentials) if column is not None)


@dataclass
class Permit:
    """Who uses a connection: one object a transaction, in its execution option `permit`."""

    tenant: str | None = None
    owner: int | None = None  # the viewer; None when a worker acts for the tenant
    infra: bool = False  # may reach INFRA tables, and name itself whose central rows it means
    sweep: bool = False  # reads (tenant_id, id, created_at) of swept tables, nothing else
    flushing: bool = False  # the ORM flushes: its writes by full key were checked in Python


@dataclass(slots=True)
class Demand:
    """Places of placeholders, and what their values must be."""

    tenant: list[int] = field(default_factory=list)  # the permit's tenant
    owner: list[int] = field(default_factory=list)  # the permit's owner
    named: list[int] = field(default_factory=list)  # anybody, but somebody
    limits: list[int] = field(default_factory=list)  # a number of rows for a sweep
    tables: tuple[str, ...] = ()
    plain: bool = True  # tenant and owner are all there is


def without_permit(sql: str, uses: tuple[Use, ...], rules: Mapping[str, Rule]) -> None:
    """Raise GuardError unless nothing here is scoped: without a permit only a pool's identity may be read."""
    for use in uses:
        if not _is_identity_read(use, rules[use.table]):
            raise GuardError(f"{head(sql)}: {use.table} needs a session; open one for a tenant, viewer or purpose")


def of(sql: str, uses: tuple[Use, ...], *, rules: Mapping[str, Rule], permit: Permit) -> Demand:
    """What the values must be for any permit of this shape. Raises GuardError when no value would do."""
    demand = Demand(tables=tuple(dict.fromkeys(use.table for use in uses)))
    for use in uses:
        rule = rules[use.table]
        if _is_identity_read(use, rule):
            continue
        case = _Case(sql, use, rule, permit=permit, demand=demand)
        if permit.sweep:
            _sweep(case, alone=len(uses) == 1)
        elif rule.zone is Zone.POOL:
            _pool(case)
        else:
            _central(case)
    demand.plain = not demand.named and not demand.limits
    return demand


@dataclass(slots=True)
class _Case:
    """One use under one permit."""

    sql: str
    use: Use
    rule: Rule
    permit: Permit
    demand: Demand

    def refusal(self, why: str) -> GuardError:
        verb = "upsert" if self.use.verb is Verb.UPSERT else self.use.verb.name
        return GuardError(f"{head(self.sql)}: {verb} of {self.use.table} {why}")

    def needs_tenant(self) -> None:
        """The tenant column is bound, and to the permit's tenant."""
        column = self.rule.tenant
        if self.use.verb is Verb.UPSERT and column in self.use.met_by:
            return
        places = self.use.equal.get(column or "")
        if not places and self._names_several(column):
            return
        if not places:
            raise self.refusal(f"needs {self.use.table}.{column} = <the tenant> as a condition of its own{self._how()}")
        if self.permit.tenant is not None:
            self.demand.tenant += places
        elif self.permit.infra and self.rule.zone is Zone.CENTRAL:
            self.demand.named += places
        else:
            raise self.refusal("needs a session of one tenant")

    def needs_owner(self) -> None:
        """The owner column is bound, and to the permit's owner (who is there)."""
        column = self.rule.owner
        if self.use.verb is Verb.UPSERT and column in self.use.met_by:
            return
        places = self.use.equal.get(column or "")
        if not places:
            raise self.refusal(f"needs {self.use.table}.{column} = <the viewer> as a condition of its own{self._how()}")
        self.demand.owner += places

    def keeps(self, column: str | None) -> None:
        """The column is never set: a row does not change its tenant or owner."""
        if column is not None and column in self.use.assigned:
            raise self.refusal(f"sets {column}; a row never changes hands, insert another")

    def _names_several(self, column: str | None) -> bool:
        """A system session says by a bound list whose central rows it means, as it says by equality whose one's."""
        is_central = self.rule.zone is Zone.CENTRAL and self.permit.infra and self.permit.tenant is None
        return is_central and self.use.verb is not Verb.INSERT and column in self.use.listed

    def _how(self) -> str:
        if self.use.verb is Verb.INSERT:
            return " (stamp it in every row)"
        if self.use.verb is Verb.UPSERT:
            return " of DO UPDATE, or in ON CONFLICT (…); on MariaDB update first, insert if nothing was met"
        return ""


def _is_identity_read(use: Use, rule: Rule) -> bool:
    # A pool's table without a tenant says which pool this is; it is read before there is anybody.
    return use.verb is Verb.SELECT and rule.zone is Zone.POOL and rule.tenant is None


def _sweep(case: _Case, *, alone: bool) -> None:
    if case.use.verb is not Verb.SELECT or not alone or not case.rule.swept:
        raise case.refusal("by a sweep, which selects from one swept table alone")
    limit = sql_sweep.limit(case.sql)
    if isinstance(limit, str):
        raise case.refusal(f"by a sweep: {limit}")
    if limit.place is not None:
        case.demand.limits.append(limit.place)
    elif limit.rows > SWEEP_ROWS_MAX:
        raise case.refusal(f"sweeps {limit.rows} rows; at most {SWEEP_ROWS_MAX}")


def _pool(case: _Case) -> None:
    rule, permit, verb = case.rule, case.permit, case.use.verb
    if rule.tenant is None:
        if not permit.infra:
            raise case.refusal("needs a permit for INFRA tables")
        return
    case.keeps(rule.tenant)
    # The row that an upsert meets is of this tenant: every unique key of a pool begins with it.
    if verb is not Verb.UPSERT:
        case.needs_tenant()
    if rule.scope is Scope.USER_PRIVATE and permit.owner is not None:
        case.keeps(rule.owner)
        if verb not in (Verb.UPDATE, Verb.DELETE) or not permit.flushing:
            case.needs_owner()


def _central(case: _Case) -> None:
    scope, permit, verb = case.rule.scope, case.permit, case.use.verb
    if scope is Scope.INFRA:
        if not permit.infra:
            raise case.refusal("needs a permit for INFRA tables")
        return
    case.keeps(case.rule.tenant)
    if scope is Scope.USER_PRIVATE:
        case.keeps(case.rule.owner)
        _private(case)
        return
    names_itself = verb is Verb.UPSERT and permit.infra and permit.tenant is None
    written = verb is not Verb.SELECT and case.rule.tenant is not None
    if (scope is Scope.TENANT or written) and not names_itself:
        case.needs_tenant()


def _private(case: _Case) -> None:
    """A central row of one user: of the viewer, of whoever knows its credential, or of whom a system action names."""
    use, rule, permit, demand = case.use, case.rule, case.permit, case.demand
    tenants = use.equal.get(rule.tenant or "", [])
    names_itself = permit.infra and permit.owner is None
    if use.verb is Verb.INSERT:
        # Every new row has a credential of its own, so here it proves nothing.
        if permit.tenant is not None:
            demand.tenant += tenants
    elif _knows(use, rule) or (use.verb is Verb.UPSERT and names_itself):
        return
    if permit.owner is not None:
        case.needs_owner()
    elif not permit.infra:
        raise case.refusal("needs a viewer, or a credential bound by equality")
    elif rule.owner is not None and rule.owner in use.equal:
        demand.named += use.equal[rule.owner]
    elif permit.tenant is None and use.verb is not Verb.INSERT and rule.owner in use.listed:
        return  # as with tenants: a bound list says whose rows are meant
    elif tenants:
        case.needs_tenant()
    else:
        raise case.refusal("needs its owner, its tenant or a credential bound by equality")


def _knows(use: Use, rule: Rule) -> bool:
    if use.verb is Verb.UPSERT:
        return not use.met_by.isdisjoint(rule.credentials)
    return any(column in use.equal or column in use.listed for column in rule.credentials)
