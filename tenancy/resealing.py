"""Seals every sealed value anew under the newest secret key, so that an older one can be taken away.

Read off the declarations: a table with a column of type Sealed falls under this by being declared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from base.ids import Id
from base.sealing import Place, SealBroken, Sealed, Vault
from db import columns
from db.session import DbSession, PoolSession, SystemSession
from db.tables.central.identity import Tenant
from db.zones import CentralBase, PoolBase, TenantId, TenantState, Zone, tables
from tenancy.context import Context, House

ROWS_A_BATCH_MAX = 200
TENANTS_A_PAGE_MAX = 500

Table = type[CentralBase] | type[PoolBase]


@dataclass(slots=True)
class Told:
    """How many values stand under the newest key already, were sealed anew, or could not be opened."""

    kept: int = 0
    resealed: int = 0
    broken: int = 0


def sealed_columns() -> list[tuple[Table, str]]:
    """Every column with sealed values. Raises TypeError for one whose rows belong to no tenant."""
    found = []
    for table in tables():
        names = [column.name for column in table.__table__.columns if isinstance(column.type, columns.Sealed)]
        if names and (table.tenant_column is None or "id" not in table.__table__.columns):
            raise TypeError(f"{table.__name__} has sealed values, which belong to a row of one tenant")
        found += [(table, name) for name in names]
    return found


async def reseal(house: House, told: Callable[[str], None] = lambda _: None) -> Told:
    """Walk all tenants; may be stopped and run again. Raises PoolUnavailable, CentralUnavailable."""
    count = Told()
    after = TenantId("")
    while page := await house.system().on_system(_tenants, after):
        for tenant in page:
            told(tenant)
            await _tenant(await house.system_of(tenant), count)
        after = page[-1]
    return count


async def _tenants(db: SystemSession, after: TenantId, /) -> Sequence[TenantId]:
    held = (TenantState.ACTIVE, TenantState.SUSPENDED)
    here = sa.select(Tenant.id).where(Tenant.id > after, Tenant.state.in_(held))
    return await db.all(here.order_by(Tenant.id).limit(TENANTS_A_PAGE_MAX))


async def _tenant(ctx: Context, count: Told) -> None:
    vault, tenant = ctx.house.vault, ctx.tenant_id
    for table, name in sealed_columns():
        last: Id[Any] | None = Id(0)
        while last is not None:
            if table.zone is Zone.POOL:
                part, last = await ctx.on_pool(_in_pool, vault, table, name, last)
            else:
                part, last = await ctx.on_system(_in_central, vault, table, name, last, tenant=tenant)
            count.kept += part.kept
            count.resealed += part.resealed
            count.broken += part.broken


async def _in_pool(
    db: PoolSession, vault: Vault, table: Table, name: str, after: Id[Any], /
) -> tuple[Told, Id[Any] | None]:
    return await _batch(db, vault, table, name, after, tenant=db.tenant)


async def _in_central(
    db: SystemSession, vault: Vault, table: Table, name: str, after: Id[Any], /, *, tenant: TenantId
) -> tuple[Told, Id[Any] | None]:
    db.act_for(tenant=tenant)
    return await _batch(db, vault, table, name, after, tenant=tenant)


async def _batch(
    db: DbSession, vault: Vault, table: Any, name: str, after: Id[Any], /, *, tenant: TenantId
) -> tuple[Told, Id[Any] | None]:
    """Up to 200 rows behind an id; the answer is what became of them and the last one's id, None at the end."""
    column, whose = getattr(table, name), getattr(table, table.tenant_column)
    rows = await db.tuples(
        sa.select(table.id, column)
        .where(whose == tenant, table.id > after, column.is_not(None))
        .order_by(table.id)
        .limit(ROWS_A_BATCH_MAX)
    )
    told = Told()
    for row_id, sealed in rows:
        place = Place(table.__tablename__, name, tenant, row_id)
        fresh = _fresh(vault, sealed, place=place, told=told)
        if fresh is not None:
            # Compare-and-set: what was given another value meanwhile is under the newest key already.
            mine = sa.update(table).where(whose == tenant, table.id == row_id, column == sealed)
            kept = {"updated_at": table.updated_at} if "updated_at" in table.__table__.columns else {}
            told.resealed += await db.change(mine.values({name: fresh, **kept}))
    return told, rows[-1][0] if len(rows) == ROWS_A_BATCH_MAX else None


def _fresh(vault: Vault, sealed: Sealed, *, place: Place, told: Told) -> Sealed | None:
    try:
        text = vault.open(sealed, place)
    except SealBroken:
        told.broken += 1
        return None
    if vault.is_newest(sealed):
        told.kept += 1
        return None
    return vault.seal(text, place)
