"""Deliveries that a person asks for: one of the log again, or a test."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from actions.webhooks_out import endpoints, telling
from actions.webhooks_out.messages import Message
from base import errors
from base.ids import Id
from db.session import PoolSession, SystemSession
from db.tables.central.webhooks_out import Webhook, WebhookStatus
from db.tables.pool.webhooks_out import WebhookDelivery, WebhookDeliveryStatus
from db.zones import TenantId
from tenancy.context import Context

TESTS_AN_HOUR_MAX = 60
REPLAYS_AN_HOUR_MAX = 1_000
SOON_SECONDS = 10


async def replay_delivery(ctx: Context, delivery_id: Id[WebhookDelivery], /) -> Id[WebhookDelivery]:
    """Send a delivery that has ended once more: the same id and body, with a schedule of its own.

    1 pool: whose it is; 2 central: the endpoint is ACTIVE, and is looked at soon whatever happens here; 3 pool:
    PENDING again; 4 central: it is looked at now. A crash after 2 wakes it in vain, after 3 ten seconds late.
    Raises NotFound, Conflict (on its way, or the endpoint is not ACTIVE).
    """
    await _count(ctx, "webhook:replay", REPLAYS_AN_HOUR_MAX)
    webhook_id = await ctx.on_pool(_endpoint_of, delivery_id)
    await ctx.on_system(_ready_for, ctx.tenant_id, webhook_id)
    await ctx.on_pool(_again, delivery_id)
    await ctx.on_system(telling.wake, ctx.tenant_id, [webhook_id])
    return delivery_id


async def send_test(ctx: Context, webhook_id: Id[Webhook], /) -> Id[WebhookDelivery]:
    """Send `webhook.test` to an endpoint.

    1 central: it is ACTIVE, and is looked at soon whatever happens here; 2 pool: the delivery; 3 central: it is
    looked at now. A crash after 1 wakes it in vain, after 2 ten seconds late. Raises NotFound, Conflict.
    """
    await _count(ctx, "webhook:test", TESTS_AN_HOUR_MAX)
    await ctx.on_system(_ready_for, ctx.tenant_id, webhook_id)
    made = await ctx.on_pool(_make_test, webhook_id, correlation_id=ctx.request_id)
    await ctx.on_system(telling.wake, ctx.tenant_id, [webhook_id])
    return made


async def _count(ctx: Context, kind: str, most: int) -> None:
    await ctx.house.rates.hit(kind, ctx.tenant_id, most=most, window_seconds=endpoints.HOUR_SECONDS)


async def _endpoint_of(db: PoolSession, delivery_id: Id[WebhookDelivery], /) -> Id[Webhook]:
    return (await _ended(db, delivery_id)).webhook_id


async def _ended(db: PoolSession, delivery_id: Id[WebhookDelivery]) -> WebhookDelivery:
    row = await db.get_one(WebhookDelivery, delivery_id, "id")
    if row.status is WebhookDeliveryStatus.PENDING:
        raise errors.Conflict("This delivery is on its way.", "id")
    return row


async def _ready_for(db: SystemSession, tenant: TenantId, webhook_id: Id[Webhook], /) -> None:
    row = await endpoints.find(db, tenant, webhook_id, field="id")
    if row.status is not WebhookStatus.ACTIVE:
        raise errors.Conflict(f"This webhook is {row.status.name}: make it ACTIVE first.", "id")
    await telling.wake(db, tenant, [webhook_id], at=db.now + timedelta(seconds=SOON_SECONDS))


async def _again(db: PoolSession, delivery_id: Id[WebhookDelivery], /) -> None:
    row = await _ended(db, delivery_id)
    met = await db.change(
        sa.update(WebhookDelivery)
        .where(WebhookDelivery.id == delivery_id, WebhookDelivery.status == row.status)
        .values(status=WebhookDeliveryStatus.PENDING, attempts=0, next_attempt_at=db.now)
    )
    if not met:
        raise errors.Conflict("This delivery is on its way.", "id")


async def _make_test(db: PoolSession, webhook_id: Id[Webhook], /, *, correlation_id: str) -> Id[WebhookDelivery]:
    message = Message.test(db.new_id(), at=db.now, tenant=db.tenant, correlation_id=correlation_id)
    [made] = await telling.record(db, [webhook_id], message)
    return made
