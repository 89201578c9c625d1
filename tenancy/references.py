"""References that no foreign key holds (`soft_ref`), walked for doctor: each must lead to a row that is there.

Read off the declarations: a new table falls under this by being declared.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from db import columns
from db.session import DbSession, PoolSession, SystemSession
from db.zones import CentralBase, PoolBase, Scope, TenantId, Zone, tables
from tenancy.checks import Finding, of_house, of_tenant
from tenancy.context import Context, House

KEYS_A_BATCH_MAX = 500
SHOWN_MAX = 3

Table = type[CentralBase] | type[PoolBase]


@dataclass(frozen=True, slots=True)
class Reference:
    """A column and the table that its values are ids of."""

    table: Table
    column: str
    target: Table

    @property
    def of_one_tenant(self) -> bool:
        """Whether the referring rows are read tenant by tenant."""
        return self.table.zone is Zone.POOL or self.table.scope in (Scope.TENANT, Scope.USER_PRIVATE)


def references() -> list[Reference]:
    """Every declared soft reference."""
    by_name: dict[str, Table] = {table.__tablename__: table for table in tables()}
    return [
        Reference(table, column.name, by_name[column.info["soft_ref"]])
        for table in tables()
        for column in table.__table__.columns
        if "soft_ref" in column.info
    ]


@of_tenant("references over databases")
async def of_rows_in_pools(ctx: Context) -> list[Finding]:
    """The tenant's rows, in its pool and in central."""
    return await _dangling(ctx, [each for each in references() if each.of_one_tenant])


@of_house("references between central tables")
async def of_shared_rows(house: House) -> list[Finding]:
    """Central rows that belong to no single tenant."""
    return await _dangling(house.system(), [each for each in references() if not each.of_one_tenant])


async def _dangling(ctx: Context, wanted: Iterable[Reference]) -> list[Finding]:
    found = []
    for reference in wanted:
        lost: list[Any] = []
        async for keys in _batches(ctx, reference):
            there = await _existing(ctx, reference.target, keys)
            lost += [key for key in keys if key not in there]
        if lost:
            column = f"{reference.table.__tablename__}.{reference.column}"
            shown = ", ".join(f"{key:x}" if isinstance(key, int) else str(key) for key in lost[:SHOWN_MAX])
            found.append(
                Finding(
                    f"{column} names {len(lost)} rows of {reference.target.__tablename__} that are not there ({shown})",
                    "bring them back from a backup, or mend the rows that name them as their table declares",
                )
            )
    return found


async def _batches(ctx: Context, reference: Reference) -> AsyncIterator[Sequence[Any]]:
    after: Any = None
    while True:
        if reference.table.zone is Zone.POOL:
            keys = await ctx.on_pool(_named_in_pool, reference, after)
        else:
            tenant = ctx.tenant_id if reference.of_one_tenant else None
            keys = await ctx.on_system(_named_in_central, reference, tenant, after)
        if keys:
            yield keys
        if len(keys) < KEYS_A_BATCH_MAX:
            return
        after = keys[-1]


async def _named_in_pool(db: PoolSession, reference: Reference, after: Any, /) -> list[Any]:
    return await _named(db, reference, after, ())


async def _named_in_central(
    db: SystemSession, reference: Reference, tenant: TenantId | None, after: Any, /
) -> list[Any]:
    if tenant is None:
        return await _named(db, reference, after, ())
    db.act_for(tenant=tenant)
    of_tenant_column = reference.table.tenant_column or "tenant_id"
    return await _named(db, reference, after, (getattr(reference.table, of_tenant_column) == tenant,))


async def _named(
    db: DbSession, reference: Reference, after: Any, own: tuple[sa.ColumnElement[bool], ...], /
) -> list[Any]:
    column = getattr(reference.table, reference.column)
    # '' is the house's own among tenants (a timer of nobody).
    some = column != "" if isinstance(column.type, columns.Exact) else sa.true()
    statement = sa.select(column).where(column.is_not(None), some, *own)
    if after is not None:
        statement = statement.where(column > after)
    return list(await db.all(statement.distinct().order_by(column).limit(KEYS_A_BATCH_MAX)))


async def _existing(ctx: Context, target: Table, keys: Sequence[Any]) -> set[Any]:
    if target.zone is Zone.POOL:
        return await ctx.on_pool(_there, target, keys)
    if target.scope is Scope.USER_PRIVATE:
        # A private row is had by naming its owner, so one after the other.
        return {key for key in keys if await ctx.on_system(_there, target, [key])}
    tenant = ctx.tenant_id if target.scope is Scope.TENANT else None
    return await ctx.on_system(_there_of, target, keys, tenant)


async def _there(db: DbSession, target: Any, keys: Sequence[Any], /) -> set[Any]:
    here = target.id == keys[0] if len(keys) == 1 else target.id.in_(keys)
    return set(await db.all(sa.select(target.id).where(here)))


async def _there_of(db: SystemSession, target: Any, keys: Sequence[Any], tenant: TenantId | None, /) -> set[Any]:
    statement = sa.select(target.id).where(target.id.in_(keys))
    if tenant is not None:
        db.act_for(tenant=tenant)
        statement = statement.where(getattr(target, target.tenant_column) == tenant)
    return set(await db.all(statement))
