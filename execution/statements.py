"""The SELECT behind each kind of read, made once for a shape and kept; values are bound when it is sent.

A shape is a table, the columns asked, an order, a fixed filter and a number of parents. Whose
rows may be seen is put in here, by `mine`, from what the table declares, and nowhere else.
Who the caller is and which database answers is not here (`execution/fetch.py`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.util import ClauseAdapter

from db.zones import Scope, Zone
from execution.declare import Table, Through, Values
from execution.keyset import order_of
from execution.layout import Join, Selected

STATEMENTS_KEPT_MAX = 1_000
UNION_PARENTS_MAX = 100
# A place too many costs the server another walk; pages mostly have 10, 20, 50 or 100 rows.
PARENT_COUNTS = (1, 2, 4, 8, 10, 16, 20, 32, 50, 64, UNION_PARENTS_MAX)
PARENT = "at_parent"
EVERY = "at_every"

Listing = sa.Select[*tuple[Any, ...]]
Select = sa.Select[*tuple[Any, ...]] | sa.CompoundSelect[*tuple[Any, ...]]
Conditions = tuple[sa.ColumnElement[bool], ...]
Keys = tuple[str, ...]


def mine(table: Table, *, owned: bool = True, alias: Any = None) -> list[sa.ColumnElement[bool]]:
    """Whose rows of this table may be seen: tenant and owner, bound as at_tenant and at_owner.

    `owned=False` leaves the owner out: a worker acts for the whole tenant; `alias` is what the table is called in
    this statement. Raises PermissionError for a table that no request reaches.
    """
    named = table if alias is None else alias
    if table.scope is Scope.INFRA:
        raise PermissionError(f"{table.__name__} is INFRA: no request reads it")
    found: list[sa.ColumnElement[bool]] = []
    if table.zone is Zone.POOL or table.scope is Scope.TENANT:
        tenant = column(named, table.tenant_column or "tenant_id")
        found.append(tenant == sa.bindparam("at_tenant", type_=tenant.type))
    if table.scope is Scope.USER_PRIVATE and owned:
        owner = column(named, table.owner or "user_id")
        found.append(owner == sa.bindparam("at_owner", type_=owner.type))
    return found


def column(table: Any, key: str) -> sa.ColumnElement[Any]:
    """A mapped column by its attribute, of a table or an alias of one."""
    found: sa.ColumnElement[Any] = getattr(table, key)
    return found


@lru_cache(maxsize=STATEMENTS_KEPT_MAX)
def listed(table: Table, what: Selected, *, order: Keys, where: Conditions, after: bool, owned: bool) -> Listing:
    """Rows in an order, at most at_limit of them, behind at_after_0, … where `after`."""
    standing = order_of(table, order)
    statement = _select(table, what, owned=owned).where(*mine(table, owned=owned), *where)
    if after:
        statement = statement.where(standing.behind())
    return statement.order_by(*standing.by()).limit(sa.bindparam("at_limit", type_=sa.BigInteger()))


def listed_by_place(
    table: Table, what: Selected, order: Keys, where: Conditions, after: bool, owned: bool, /
) -> Listing:
    """The same, for those who keep the arguments of many kinds of statements."""
    return listed(table, what, order=order, where=where, after=after, owned=owned)


@lru_cache(maxsize=STATEMENTS_KEPT_MAX)
def counted(table: Table, where: Conditions, owned: bool, /) -> Listing:
    """The number of rows."""
    return sa.select(sa.func.count()).select_from(table).where(*mine(table, owned=owned), *where)


@lru_cache(maxsize=STATEMENTS_KEPT_MAX)
def picked(table: Table, what: Selected, where: Conditions, owned: bool, /) -> Select:
    """The rows whose ids are bound as the list at_ids."""
    statement = _select(table, what, owned=owned)
    return statement.where(*mine(table, owned=owned), *where, _among(column(table, "id")))


@lru_cache(maxsize=STATEMENTS_KEPT_MAX)
def children(
    table: Table,
    child_key: str,
    *,
    what: Selected,
    order: Keys,
    where: Conditions,
    after: bool,
    owned: bool,
    parents: int,
    wrapped: bool,
) -> Select:
    """At most at_limit rows of each parent, in order, the parent's value first in each row.

    Up to 100 parents: one index walk each, in a UNION ALL, bound as at_parent_0, …. With more (`parents`
    is 0 then), a window ranks the ids of all children of the list at_ids, and the ranked rows are joined back.
    `wrapped` is for SQLite, which orders a part of a union in a subquery alone; MariaDB would write each of those
    to its disk first, where a column is a long text.
    """
    if parents:
        branches = [
            _branch(table, child_key, what=what, order=order, where=where, after=after, owned=owned, place=place)
            for place in range(parents)
        ]
        if wrapped:
            branches = [sa.select(each.subquery(f"of_{place}")) for place, each in enumerate(branches)]
        return branches[0] if parents == 1 else sa.union_all(*branches)
    child, standing = column(table, child_key), order_of(table, order)
    rank = sa.func.row_number().over(partition_by=child, order_by=standing.by())
    inner = sa.select(column(table, "id").label("ranked_id"), rank.label("place"))
    inner = inner.where(*mine(table, owned=owned), *where, _among(child))
    ranked = (inner.where(standing.behind()) if after else inner).subquery("ranked")
    return (
        _select(table, what, owned=owned, lead=child)
        .join(ranked, ranked.c.ranked_id == column(table, "id"))
        .where(*mine(table, owned=owned), ranked.c.place <= sa.bindparam("at_limit", type_=sa.BigInteger()))
        .order_by(child, ranked.c.place)
    )


def children_by_place(
    table: Table,
    child_key: str,
    what: Selected,
    order: Keys,
    where: Conditions,
    after: bool,
    owned: bool,
    parents: int,
    wrapped: bool,
    /,
) -> Select:
    """The same, for those who keep the arguments of many kinds of statements."""
    return children(
        table,
        child_key,
        what=what,
        order=order,
        where=where,
        after=after,
        owned=owned,
        parents=parents,
        wrapped=wrapped,
    )


@lru_cache(maxsize=STATEMENTS_KEPT_MAX)
def children_lateral(
    table: Table, child_key: str, what: Selected, order: Keys, where: Conditions, after: bool, owned: bool, /
) -> Listing:
    """The same on PostgreSQL, all parents bound as one array: an index walk each, and one text for any number."""
    child, standing = column(table, child_key), order_of(table, order)
    every = sa.bindparam(EVERY, type_=postgresql.ARRAY(child.type))
    # PostgreSQL calls the one column of such a list as the list.
    parents = sa.func.unnest(every).table_valued(sa.column("parent", child.type), name="parent")
    statement = _select(table, what, owned=owned, lead=child).where(
        *mine(table, owned=owned), *where, child == parents.c.parent
    )
    if after:
        statement = statement.where(standing.behind())
    limit = sa.bindparam("at_limit", type_=sa.BigInteger())
    rows = statement.correlate(parents).order_by(*standing.by()).limit(limit).lateral("of_parent")
    return sa.select(rows).select_from(parents).join(rows, sa.true())


@lru_cache(maxsize=STATEMENTS_KEPT_MAX)
def children_counted(table: Table, child_key: str, where: Conditions, owned: bool, /) -> Select:
    """The number of rows of each parent of the list at_ids that has any."""
    child = column(table, child_key)
    return sa.select(child, sa.func.count()).where(*mine(table, owned=owned), *where, _among(child)).group_by(child)


@lru_cache(maxsize=STATEMENTS_KEPT_MAX)
def over_link(how: Through, table: Table, what: Selected, where: Conditions, owned: bool, /) -> Select:
    """The target's rows over a link table for every parent of the list at_ids, the parent's value first in each row."""
    left, right = column(how.link, how.left), column(how.link, how.right)
    columns, joins = _shown(table, what, owned=owned)
    statement = sa.select(left.label(PARENT), *columns).select_from(how.link)
    return (
        _joined(statement.join(table, column(table, "id") == right), joins)
        .where(*mine(how.link, owned=owned), *mine(table, owned=owned), *where, *how.where, _among(left))
        .order_by(left, *order_of(table, how.order).by())
        .limit(sa.bindparam("at_limit", type_=sa.BigInteger()))
    )


@lru_cache(maxsize=STATEMENTS_KEPT_MAX)
def values_of(how: Values, owned: bool, /) -> Select:
    """One column's values for every parent of the list at_ids, the parent's value first in each row."""
    child = column(how.table, how.child_key)
    by = [column(how.table, key.removeprefix("-")) for key in how.order]
    return (
        sa.select(child.label(PARENT), column(how.table, how.column))
        .where(*mine(how.table, owned=owned), _among(child))
        .order_by(
            child, *(each.desc() if key.startswith("-") else each for key, each in zip(how.order, by, strict=True))
        )
        .limit(sa.bindparam("at_limit", type_=sa.BigInteger()))
    )


def _branch(
    table: Table,
    child_key: str,
    *,
    what: Selected,
    order: Keys,
    where: Conditions,
    after: bool,
    owned: bool,
    place: int,
) -> Listing:
    child, standing = column(table, child_key), order_of(table, order)
    mark = sa.bindparam(f"{PARENT}_{place}", type_=child.type)
    statement = _select(table, what, owned=owned, lead=child)
    statement = statement.where(*mine(table, owned=owned), *where, child == mark)
    if after:
        statement = statement.where(standing.behind())
    return statement.order_by(*standing.by()).limit(sa.bindparam("at_limit", type_=sa.BigInteger()))


Joins = list[tuple[Any, sa.ColumnElement[bool]]]


def _select(table: Table, what: Selected, *, owned: bool, lead: sa.ColumnElement[Any] | None = None) -> Listing:
    """The columns of a table and of the rows that it leads to, behind the parent's value where there is one."""
    columns, joins = _shown(table, what, owned=owned)
    before = () if lead is None else (lead.label(PARENT),)
    return _joined(sa.select(*before, *columns).select_from(table), joins)


def _joined(statement: Listing, joins: Joins) -> Listing:
    for alias, on in joins:
        statement = statement.outerjoin(alias, on)
    return statement


def _shown(table: Table, what: Selected, *, owned: bool) -> tuple[list[sa.ColumnElement[Any]], Joins]:
    columns = [column(table, key) for key in what.keys]
    joins: Joins = []
    for join in what.joins:
        _join(table, join, owned=owned, columns=columns, joins=joins)
    return columns, joins


def _join(parent: Any, join: Join, *, owned: bool, columns: list[sa.ColumnElement[Any]], joins: Joins) -> None:
    """A row that is not there, or not for this caller, leaves its columns null and its parent where it was."""
    name = f"to_{len(joins)}"
    alias = orm.aliased(join.table, name=name)
    inspected: Any = sa.inspect(alias)
    to_alias = ClauseAdapter(inspected.selectable)
    fits = [to_alias.traverse(condition) for condition in join.where]
    same = column(alias, "id") == column(parent, join.start)
    joins.append((alias, sa.and_(same, *mine(join.table, owned=owned, alias=alias), *fits)))
    columns += [column(alias, key).label(f"{name}_{key}") for key in join.selected.keys]
    for further in join.selected.joins:
        _join(alias, further, owned=owned, columns=columns, joins=joins)


def _among(of: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    return of.in_(sa.bindparam("at_ids", expanding=True, type_=of.type))
