"""A tenant's first rows in its pool: the fence, and what younger areas say that every tenant begins with."""

from collections.abc import Awaitable, Callable

import sqlalchemy as sa

from base.ids import Id
from db.session import PoolSession
from db.tables.central.identity import User
from db.tables.pool.upkeep import Fence
from db.zones import TenantState

Founder = Callable[[PoolSession, Id[User]], Awaitable[None]]
FOUNDERS: list[Founder] = []


def founds(founder: Founder) -> Founder:
    """Register what a new tenant's pool begins with; runs in the founding transaction and may run again."""
    FOUNDERS.append(founder)
    return founder


async def found(db: PoolSession, user_id: Id[User], /, *, pool: str, epoch: int) -> None:
    """Everything a tenant begins with, in one transaction; safe to run again."""
    if await db.first(sa.select(Fence).where(Fence.id == 0)) is None:
        await db.insert_once(Fence(id=0, pool_name=pool, epoch=epoch, state=TenantState.ACTIVE))
    for founder in FOUNDERS:
        await founder(db, user_id)
