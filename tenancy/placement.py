"""Which pool a new tenant gets: the one with the fewest tenants that still count."""

from collections.abc import Iterable

import sqlalchemy as sa

from db.session import SystemSession
from db.tables.central.identity import Tenant
from db.zones import TenantState


async def counts(db: SystemSession, pools: Iterable[str]) -> dict[str, int]:
    """How many tenants each pool holds; erased ones hold nothing."""
    rows = await db.tuples(
        sa.select(Tenant.db_pool, sa.func.count()).where(Tenant.state != TenantState.ERASED).group_by(Tenant.db_pool)
    )
    found = {name: int(count) for name, count in rows}
    return {name: found.get(name, 0) for name in pools}


async def choose(db: SystemSession, pools: Iterable[str]) -> str:
    """The emptiest pool; of equals the first by name, so that new tenants alternate."""
    held = await counts(db, pools)
    return min(sorted(held), key=lambda name: held[name])
