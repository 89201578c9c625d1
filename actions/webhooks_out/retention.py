"""Deliveries are kept for 30 days, and go with their endpoint."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from actions.webhooks_out import endpoints, sending, telling
from base.ids import Id, first_id_at
from db import work
from db.session import SystemSession
from db.tables.central.webhooks_out import Webhook
from db.tables.pool.webhooks_out import WebhookDelivery
from db.zones import TenantId
from tenancy.context import Context
from tenancy.handlers import Alive, handles

BETWEEN_DAYS = 1


@handles(endpoints.RETENTION, concurrent=1)
async def forget_old(ctx: Context, lease: work.Lease, alive: Alive) -> None:
    """Delete an endpoint's deliveries of more than 30 days ago; all of them where the endpoint is gone.

    1 central: the timer of the next day, while the endpoint is there; 2 pool: rows, in batches; 3 central: what is
    due and was forgotten is looked at. A crash anywhere leaves the rest to the next day.
    """
    webhook_id: Id[Webhook] = Id(lease.ref_id)
    before = None
    if await ctx.on_system(_next_time, ctx.tenant_id, webhook_id):
        oldest = ctx.house.sessions.clock.now() - timedelta(days=endpoints.RETENTION_DAYS)
        before = Id[WebhookDelivery](first_id_at(int(oldest.timestamp() * 1_000)))
    while await ctx.on_pool(endpoints.forget, webhook_id, before=before) and await alive():
        pass
    following = await ctx.on_pool(sending.next_due, webhook_id)
    if following is not None:
        await ctx.on_system(telling.wake, ctx.tenant_id, [webhook_id], at=following)


async def _next_time(db: SystemSession, tenant: TenantId, webhook_id: Id[Webhook], /) -> bool:
    db.act_for(tenant=tenant)
    here = sa.select(Webhook.id).where(Webhook.tenant_id == tenant, Webhook.id == webhook_id)
    if await db.first(here) is None:
        return False
    tomorrow = db.now + timedelta(days=BETWEEN_DAYS)
    await telling.wake(db, tenant, [webhook_id], at=tomorrow, kind=endpoints.RETENTION)
    return True
