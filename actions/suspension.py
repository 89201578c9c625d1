"""Suspending a tenant and opening it again: its state, its gallery and its pool's fence, which follow one another.

Central's word is the truth; the fence is made to agree with it, now and again by leased work.
"""

import sqlalchemy as sa

from actions import gallery
from actions.billing import sessions
from base import errors, observe
from base.ids import Id
from db import work
from db.session import PoolSession, SystemSession
from db.tables.central.identity import Tenant
from db.tables.pool.upkeep import Fence
from db.zones import TenantId, TenantState
from tenancy.context import Context
from tenancy.handlers import Alive, handles

KIND = "tenant_fence"
SETTLE_TRIES_MAX = 10
_OPEN_OR_CLOSED = (TenantState.ACTIVE, TenantState.SUSPENDED)


async def suspend(ctx: Context, tenant: TenantId, /) -> bool:
    """Close a tenant: 403 on its host, no member's write in its pool, nothing of it in the gallery, no page to pay on.

    1 one central transaction: state, gallery, the work that closes its pages, and the work that repeats 2; 2 one
    pool transaction closes the fence. A crash after 1 leaves the host closed and the fence open until a worker has
    done 2. Idempotent; False where the pool does not answer and 2 is left to the worker. Raises NotFound, Conflict
    (not ACTIVE).
    """
    return await _change(ctx, tenant, TenantState.SUSPENDED)


async def resume(ctx: Context, tenant: TenantId, /) -> bool:
    """Open a suspended tenant again.

    1 one central transaction: state, gallery, and the work that repeats 2; 2 one pool transaction opens the
    fence. A crash after 1 leaves a tenant that is read and not written until a worker has done 2. Idempotent;
    False where the pool does not answer and 2 is left to the worker. Raises NotFound, Conflict (not SUSPENDED).
    """
    return await _change(ctx, tenant, TenantState.ACTIVE)


async def _change(ctx: Context, tenant: TenantId, state: TenantState) -> bool:
    await ctx.on_system(set_state, tenant, state)
    observe.note(observe.Event.TENANT_STATE, tenant=tenant, state=state.name)
    try:
        await settle_fence(await ctx.house.system_of(tenant))
    except errors.PoolUnavailable:
        return False
    return True


async def set_state(db: SystemSession, tenant: TenantId, state: TenantState, /) -> bool:
    """The state and what it means for the gallery; False where the tenant is in this state already."""
    db.act_for(tenant=tenant)
    other = _OPEN_OR_CLOSED[state is TenantState.ACTIVE]
    changed = await db.change(sa.update(Tenant).where(Tenant.id == tenant, Tenant.state == other).values(state=state))
    if not changed:
        found = await db.first(sa.select(Tenant.state).where(Tenant.id == tenant))
        if found is None:
            raise errors.NotFound(f"There is no tenant {tenant}.")
        if found is not state:
            raise errors.Conflict(f"{tenant} is {found.name}: only an {other.name} tenant can become {state.name}.")
        return False
    await gallery.hide_tenant(db, tenant, state is TenantState.SUSPENDED)
    if state is TenantState.SUSPENDED:
        await sessions.queue_end(db, tenant)
    # An id of its own: the same tenant may be closed and opened many times.
    await work.enqueue(db, KIND, tenant, ref_id=0, generation=db.new_id())
    db.tell("directory", tenant)
    return True


@handles(KIND)
async def settle(ctx: Context, _lease: work.Lease, _alive: Alive) -> None:
    """The worker's repetition of step 2."""
    await settle_fence(ctx)


async def settle_fence(ctx: Context, /) -> None:
    """Make the fence agree with central; of two at once, whoever writes last reads central after it."""
    wanted = await ctx.on_system(_state_of, ctx.tenant_id)
    for _ in range(SETTLE_TRIES_MAX):
        if wanted not in _OPEN_OR_CLOSED:
            return
        await ctx.found(_set_fence, wanted, epoch=ctx.tenant_route.epoch)
        now = await ctx.on_system(_state_of, ctx.tenant_id)
        if now is wanted:
            return
        wanted = now
    raise errors.Conflict(f"{ctx.tenant_id} is opened and closed all the time.")


async def _state_of(db: SystemSession, tenant: TenantId, /) -> TenantState | None:
    return await db.first(sa.select(Tenant.state).where(Tenant.id == tenant))


async def _set_fence(db: PoolSession, state: TenantState, /, *, epoch: int) -> None:
    """Waits for writers that hold the row; the row of another placement is left alone."""
    here: Id[Fence] = Id(0)
    await db.change(sa.update(Fence).where(Fence.id == here, Fence.epoch == epoch).values(state=state))
