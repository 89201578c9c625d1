"""Deliveries that a person asks for, one of the log again or a test, and when each is next sent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from actions.webhooks_out import endpoints, telling
from actions.webhooks_out.messages import TEST, Message
from base import errors
from base.ids import Id
from db.session import CentralSession, PoolSession, SystemSession
from db.tables.central.webhooks_out import Webhook, WebhookStatus
from db.tables.pool.webhooks_out import WebhookDelivery, WebhookDeliveryStatus
from db.zones import TenantId
from tenancy.context import Context

TESTS_AN_HOUR_MAX = 60
REPLAYS_AN_HOUR_MAX = 1_000
SOON_SECONDS = 10


async def replay_delivery(ctx: Context, delivery_id: Id[WebhookDelivery], /) -> Id[WebhookDelivery]:
    """Send a delivery that has ended once more, even while its endpoint pauses: the same id and body, a new schedule.

    1 pool: whose it is; 2 central: the endpoint is ACTIVE, and is looked at soon whatever happens here; 3 pool:
    PENDING again; 4 central: it is looked at now. A crash after 2 wakes it in vain, after 3 ten seconds late.
    Raises NotFound, Conflict (on its way, or the endpoint is not ACTIVE).
    """
    await _count(ctx, "webhook:replay", REPLAYS_AN_HOUR_MAX)
    webhook_id = await ctx.on_pool(_endpoint_of, delivery_id)
    await ctx.on_system(_ready_for, ctx.tenant_id, webhook_id)
    await ctx.on_pool(_again, delivery_id)
    await ctx.on_system(telling.wake, ctx.tenant_id, [webhook_id], kind=telling.ASKED)
    return delivery_id


async def send_test(ctx: Context, webhook_id: Id[Webhook], /) -> Id[WebhookDelivery]:
    """Send `webhook.test` to an endpoint, even while it pauses: so one learns that it is mended.

    1 central: it is ACTIVE, and is looked at soon whatever happens here; 2 pool: the delivery; 3 central: it is
    looked at now. A crash after 1 wakes it in vain, after 2 ten seconds late. Raises NotFound, Conflict.
    """
    await _count(ctx, "webhook:test", TESTS_AN_HOUR_MAX)
    await ctx.on_system(_ready_for, ctx.tenant_id, webhook_id)
    made = await ctx.on_pool(_make_test, webhook_id, correlation_id=ctx.request_id)
    await ctx.on_system(telling.wake, ctx.tenant_id, [webhook_id], kind=telling.ASKED)
    return made


def asked() -> sa.ColumnElement[bool]:
    """Whether a person asked for what has not been tried since: a test, or what had ended when its count began anew."""
    had_ended = sa.or_(WebhookDelivery.last_attempt_at.is_not(None), WebhookDelivery.error.is_not(None))
    return sa.and_(WebhookDelivery.attempts == 0, sa.or_(WebhookDelivery.event_type == TEST, had_ended))


async def due_at(
    ctx: Context, rows: Sequence[tuple[Id[WebhookDelivery], Id[Webhook], datetime | None]], /
) -> list[datetime | None]:
    """The earliest that each delivery is sent, of (id, endpoint, its own time): not while its endpoint pauses, unless
    a person asked for it. None stays None.
    """
    waiting = {webhook_id for _, webhook_id, own in rows if own is not None}
    pauses = dict(await ctx.on_central(_pauses, sorted(waiting))) if waiting else {}
    held_up = {each for each, webhook_id, own in rows if own is not None and own < pauses.get(webhook_id, own)}
    if held_up:
        held_up -= set(await ctx.on_pool(_asked_among, sorted(held_up)))
    return [pauses[webhook_id] if each in held_up else own for each, webhook_id, own in rows]


async def _pauses(db: CentralSession, webhook_ids: Sequence[Id[Webhook]], /) -> list[tuple[Id[Webhook], datetime]]:
    here = sa.and_(Webhook.tenant_id == db.tenant, Webhook.id.in_(webhook_ids))
    rows = await db.tuples(sa.select(Webhook.id, Webhook.resume_at).where(here, Webhook.resume_at.is_not(None)))
    return [(webhook_id, at) for webhook_id, at in rows if at is not None]


async def _asked_among(db: PoolSession, ids: Sequence[Id[WebhookDelivery]], /) -> Sequence[Id[WebhookDelivery]]:
    return await db.all(sa.select(WebhookDelivery.id).where(WebhookDelivery.id.in_(ids), asked()))


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
    await telling.wake(db, tenant, [webhook_id], at=db.now + timedelta(seconds=SOON_SECONDS), kind=telling.ASKED)


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
