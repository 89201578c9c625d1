"""The fence: a row per tenant in its pool, so that a process with an old route is refused by the pool itself.

Read with a share lock as the first statement of every write transaction; whoever moves or
closes a tenant takes the row exclusively, which waits for running writers. The row of the
tenant '' is the pool's own identity.
"""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from base import errors
from db.tables.pool.upkeep import Fence
from db.zones import TenantId, TenantState


class Stale(Exception):
    """The pool does not know this tenant at this epoch: look the route up again, once."""


async def check(inner: AsyncSession, tenant: TenantId, *, epoch: int, by_member: bool) -> None:
    """Raises Stale on another epoch or no row, TenantSuspended where a member's write meets a closed fence."""
    row = (
        await inner.execute(
            sa.select(Fence.epoch, Fence.state)
            .where(Fence.tenant_id == tenant, Fence.id == 0)
            .with_for_update(read=True)
        )
    ).first()
    if row is None or row.epoch != epoch:
        raise Stale(tenant)
    if by_member and row.state is TenantState.SUSPENDED:
        raise errors.TenantSuspended("This tenant is suspended.")
    if row.state is TenantState.ERASED:
        raise Stale(tenant)
