"""What must hold of endpoints and deliveries, for doctor."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from base.ids import Id
from db.session import PoolSession, SystemSession
from db.tables.central.webhooks_out import Webhook, WebhookStatus
from db.tables.pool.webhooks_out import WebhookDelivery
from db.zones import TenantId, TenantState
from tenancy.checks import Finding, of_tenant
from tenancy.context import Context

STUCK_SECONDS = 1_800


@of_tenant("webhooks")
async def nothing_is_stuck(ctx: Context) -> list[Finding]:
    """No delivery to an endpoint that works is half an hour late; endpoints that were disabled are told."""
    late = await ctx.on_pool(_late)
    states = await ctx.on_system(_states, ctx.tenant_id)
    well = {webhook_id for webhook_id, status, failures in states if status is WebhookStatus.ACTIVE and not failures}
    stuck = sum(count for webhook_id, count in late.items() if webhook_id in well)
    disabled = sum(status is WebhookStatus.DISABLED for _, status, _ in states)
    found = []
    if stuck and ctx.tenant_route.state is TenantState.ACTIVE:
        do = "is a worker running (atrium worker)? its log says why work of kind webhook fails"
        found.append(Finding(f"{stuck} deliveries of webhooks are stuck: due for more than half an hour", do))
    if disabled:
        do = "its owner was written to; nothing is to be done here"
        found.append(Finding(f"{disabled} webhooks were disabled after failures", do, wrong=False))
    return found


async def _late(db: PoolSession, /) -> dict[Id[Webhook], int]:
    before = db.now - timedelta(seconds=STUCK_SECONDS)
    rows = await db.tuples(
        sa.select(WebhookDelivery.webhook_id, sa.func.count(WebhookDelivery.id))
        .where(WebhookDelivery.next_attempt_at < before)
        .group_by(WebhookDelivery.webhook_id)
    )
    return {webhook_id: int(count) for webhook_id, count in rows}


async def _states(db: SystemSession, tenant: TenantId, /) -> list[tuple[Id[Webhook], WebhookStatus, int]]:
    db.act_for(tenant=tenant)
    rows = await db.tuples(sa.select(Webhook.id, Webhook.status, Webhook.failures).where(Webhook.tenant_id == tenant))
    return [(webhook_id, status, int(failures)) for webhook_id, status, failures in rows]
