"""The second door: planned reads of the columns asked, in autocommit, one connection a statement.

Tenant and owner are bound here from the caller's permit; the statements that take them are in
`execution/statements.py`. What is read and what becomes of it is not here (`execution/prefetch.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from base import errors
from base.ids import global_id_prefix
from db import columns, engines, faults
from db.guard import Permit
from db.patience import answered
from db.zones import Scope, Zone
from execution import statements
from execution.declare import Children, NodeInfo, Read, Table, Through, ToMany, Values, node_of
from execution.keyset import Window
from execution.layout import selected
from execution.rows import PageRows, Row
from tenancy.context import Context

IDS_PER_STATEMENT_MAX = 1_000
ROWS_PER_LEVEL_MAX = 20_000

Keys = Collection[str]
Fetched = tuple[Any, ...]


@dataclass(slots=True, eq=False)
class Seen:
    """As whom a table is read: its database, the guard's permit, the values of its predicates."""

    database: engines.Database
    permit: Permit
    values: dict[str, Any]
    owned: bool = True

    def prefix(self, table: Table) -> str:
        """What stands before the key in the global ids of a table's rows."""
        return global_id_prefix(table.__name__, self.permit.tenant if table.zone is Zone.POOL else None)

    def of(self, table: Table) -> tuple[Any, Any]:
        """(tenant, owner) as far as they decide which rows of the table a caller sees; else None."""
        tenant = table.zone is Zone.POOL or table.scope is Scope.TENANT
        owner = table.scope is Scope.USER_PRIVATE
        return (self.values["at_tenant"] if tenant else None, self.values["at_owner"] if owner else None)


def seen(ctx: Context, table: Table) -> Seen:
    """As whom this caller reads this table.

    Raises TenantRequired, Unauthenticated, or PoolUnavailable where the pool is not configured here.
    """
    databases = ctx.house.sessions.databases
    if table.zone is Zone.POOL:
        permit = ctx.pool_permit()
        database = databases.pools.get(ctx.tenant_route.pool)
        if database is None:
            raise errors.PoolUnavailable("The database of this tenant is not configured here.")
        return Seen(database, permit, _bound(permit), owned=permit.owner is not None)
    if table.scope in (Scope.TENANT, Scope.USER_PRIVATE):
        ctx.signed_in  # noqa: B018  (raises for a visitor, before a predicate could be bound to nobody)
    permit = ctx.central_permit()
    return Seen(databases.central, permit, _bound(permit))


async def page(
    ctx: Context, read: Read, *, keys: Keys, window: Window, want_rows: bool = True, want_count: bool = False
) -> PageRows:
    """One page of a read; `total` counts the whole list. One statement for the rows, one for the count."""
    node = node_of(read.node)
    who, answer = seen(ctx, node.table), PageRows()
    if want_rows:
        found = await _listed(who, read, keys=keys, after=window.after is not None, values=window.values())
        answer = PageRows(found[: window.first], has_next=len(found) > window.first)
    if want_count:
        statement = statements.counted(node.table, node.where, who.owned).where(*read.where)
        answer.total = int((await _send(who, statement, {}))[0][0])
    return answer


async def rows(ctx: Context, read: Read, *, keys: Keys) -> list[Row]:
    """All rows of a read, at most `read.limit`."""
    who = seen(ctx, node_of(read.node).table)
    return await _listed(who, read, keys=keys, after=False, values={"at_limit": read.limit})


async def one(ctx: Context, read: Read, *, keys: Keys) -> Row | None:
    """The one row that fits, or None."""
    return next(iter(await rows(ctx, read, keys=keys)), None)


async def by_ids(ctx: Context, node: NodeInfo, *, keys: Keys, ids: Collection[Any]) -> dict[Any, Row]:
    """The rows with these ids that there are and that the caller may see, by id. One statement for each 1,000."""
    asked = _asked(keys, "id")
    found: dict[Any, Row] = {}
    if not ids:
        return found
    who = seen(ctx, node.table)
    prefix = who.prefix(node.table)
    statement = statements.picked(node.table, selected(asked), node.where, who.owned)
    for some in chunks(ids):
        for values in await _send(who, statement, {"at_ids": some}):
            row = Row(node, prefix, dict(zip(asked, values, strict=True)))
            found[row.values["id"]] = row
    return found


async def pages(
    ctx: Context,
    how: ToMany | Children,
    *,
    keys: Keys,
    parents: Collection[Any],
    window: Window,
    want_rows: bool = True,
    want_count: bool = False,
) -> dict[Any, PageRows]:
    """A page of children for each parent, by the parent's value; the window is the same for all of them.

    Raises CostLimitExceeded where parents times rows is more than one level may hold.
    """
    node, asked = node_of(how.target), _asked(keys, "id")
    answer = {parent: PageRows(total=0 if want_count else None) for parent in parents}
    if not parents:
        return answer
    if len(parents) * window.first > ROWS_PER_LEVEL_MAX:
        raise errors.CostLimitExceeded(
            f"{len(parents)} lists of {window.first} rows are more than {ROWS_PER_LEVEL_MAX}: ask for fewer."
        )
    who, where = seen(ctx, node.table), (*node.where, *how.where)
    if want_rows:
        prefix = who.prefix(node.table)
        for values in await _children(who, how, keys=asked, parents=list(parents), window=window):
            group = answer[values[0]]
            if len(group.rows) < window.first:
                group.rows.append(Row(node, prefix, dict(zip(asked, values[1:], strict=True))))
            else:
                group.has_next = True
    if want_count:
        statement = statements.children_counted(node.table, how.child_key, where, who.owned)
        for some in chunks(parents):
            for parent, total in await _send(who, statement, {"at_ids": some}):
                answer[parent].total = int(total)
    return answer


async def through(ctx: Context, how: Through, *, keys: Keys, parents: Collection[Any]) -> dict[Any, list[Row]]:
    """The target's rows over a link table for each parent, at most `how.limit` of each."""
    node, asked = node_of(how.target), _asked(keys, "id")
    who = seen(ctx, node.table)
    statement = statements.over_link(how, node.table, selected(asked), node.where, who.owned)
    groups = await _groups(who, statement, parents=parents, limit=how.limit)
    prefix = who.prefix(node.table)
    return {
        parent: [Row(node, prefix, dict(zip(asked, values[1:], strict=True))) for values in found]
        for parent, found in groups.items()
    }


async def values(ctx: Context, how: Values, *, parents: Collection[Any]) -> dict[Any, list[Any]]:
    """One column's values for each parent, at most `how.limit` of each."""
    who = seen(ctx, how.table)
    groups = await _groups(who, statements.values_of(how, who.owned), parents=parents, limit=how.limit)
    return {parent: [found[1] for found in group] for parent, group in groups.items()}


async def _listed(who: Seen, read: Read, *, keys: Keys, after: bool, values: dict[str, Any]) -> list[Row]:
    node, asked = node_of(read.node), _asked(keys, "id")
    statement = statements.listed(
        node.table, selected(asked), order=read.order, where=node.where, after=after, owned=who.owned
    )
    # The caller's own conditions carry their values, so they are not part of the kept statement.
    found = await _send(who, statement.where(*read.where), values)
    prefix = who.prefix(node.table)
    return [Row(node, prefix, dict(zip(asked, each, strict=True))) for each in found]


async def _children(
    who: Seen, how: ToMany | Children, *, keys: tuple[str, ...], parents: list[Any], window: Window
) -> Sequence[Fetched]:
    node = node_of(how.target)
    count = next((size for size in statements.PARENT_COUNTS if size >= len(parents)), 0)
    statement = statements.children(
        node.table,
        how.child_key,
        what=selected(keys),
        order=how.order,
        where=(*node.where, *how.where),
        after=window.after is not None,
        owned=who.owned,
        parents=count,
        wrapped=who.database.reader.dialect.name == "sqlite",
    )
    if count:
        # A union is made for a few sizes alone; the places too many ask for a parent that cannot be.
        nobody = -1 if isinstance(parents[0], int) else ""
        padded = parents + [nobody] * (count - len(parents))
        marks = {f"{statements.PARENT}_{place}": parent for place, parent in enumerate(padded)}
        return await _send(who, statement, {**window.values(), **marks})
    found: list[Fetched] = []
    for some in chunks(parents):
        found += await _send(who, statement, {**window.values(), "at_ids": some})
    return found


async def _groups(
    who: Seen, statement: statements.Select, *, parents: Collection[Any], limit: int
) -> dict[Any, list[Fetched]]:
    groups: dict[Any, list[Fetched]] = {parent: [] for parent in parents}
    for some in chunks(parents):
        every = await _send(who, statement, {"at_ids": some, "at_limit": ROWS_PER_LEVEL_MAX + 1})
        if len(every) > ROWS_PER_LEVEL_MAX:
            raise errors.CostLimitExceeded(f"These lists have more than {ROWS_PER_LEVEL_MAX} rows: ask for fewer.")
        for found in every:
            if len(groups[found[0]]) < limit:
                groups[found[0]].append(found)
    return groups


async def _send(who: Seen, statement: statements.Select, values: dict[str, Any]) -> Sequence[Fetched]:
    try:
        async with answered(), who.database.reader.connect() as connection:
            await connection.execution_options(permit=who.permit)
            with await connection.execute(statement, {**who.values, **values}) as result:
                found = result.cursor.fetchall()
            dialect = connection.dialect
    except Exception as error:
        raise faults.told(error, name=who.database.name, zone=who.database.zone) from error
    decoders = [columns.decoder(each.type, dialect) for each in statement.selected_columns]
    return [tuple(map(decoded, decoders, row)) for row in found]


def decoded(decode: Callable[[Any], Any] | None, value: Any) -> Any:
    """What a column's type makes of the driver's value; where it is none of its type, the error.

    It is raised where the value is read, so that it costs its own field and not the list that it stands in.
    """
    try:
        return value if decode is None else decode(value)
    except Exception as error:
        return error


def _bound(permit: Permit) -> dict[str, Any]:
    return {"at_tenant": permit.tenant, "at_owner": permit.owner}


def _asked(keys: Keys, always: str) -> tuple[str, ...]:
    """The columns in one order, so that the same shape is the same statement."""
    return tuple(sorted({*keys, always}))


def chunks(ids: Collection[Any]) -> Iterator[list[Any]]:
    """At most 1,000 ids at a time, each list padded with its last to a power of two, so that few texts are made."""
    every = list(ids)
    for start in range(0, len(every), IDS_PER_STATEMENT_MAX):
        some = every[start : start + IDS_PER_STATEMENT_MAX]
        size = min(1 << (len(some) - 1).bit_length(), IDS_PER_STATEMENT_MAX)
        yield some + [some[-1]] * (size - len(some))
