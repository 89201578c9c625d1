"""The fence: a row per tenant in its pool, so that a process with an old route is refused by the pool itself.

Read with a share lock as the first statement of every write transaction; whoever moves or
closes a tenant takes the row exclusively, which waits for running writers. The row of the
tenant '' is the pool's own identity.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import sqlalchemy as sa

from base import errors
from db.tables.pool.upkeep import Fence
from db.zones import TenantId, TenantState


class Stale(Exception):
    """The pool does not know this tenant at this epoch: look the route up again, once."""


_FENCES = cast("sa.Table", Fence.__table__)
_OF_TENANT = (
    sa.select(_FENCES.c.epoch, _FENCES.c.state)
    .where(_FENCES.c.tenant_id == sa.bindparam("tenant"), _FENCES.c.id == 0)
    .with_for_update(read=True)
)


class Reading(Protocol):
    """As much of a session as the fence needs."""

    async def read(self, statement: Any, values: Mapping[str, Any]) -> Sequence[Any]: ...


async def check(db: Reading, tenant: TenantId, *, epoch: int, by_member: bool) -> None:
    """Raises Stale on another epoch or no row, TenantSuspended where a member's write meets a closed fence."""
    row = next(iter(await db.read(_OF_TENANT, {"tenant": tenant})), None)
    if row is None or row.epoch != epoch:
        raise Stale(tenant)
    if by_member and row.state is TenantState.SUSPENDED:
        raise errors.TenantSuspended("This tenant is suspended.")
    if row.state is TenantState.ERASED:
        raise Stale(tenant)
