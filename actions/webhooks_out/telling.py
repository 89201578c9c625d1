"""From an event of a studio to a row for each endpoint that wants it. Sending is in `sending.py`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from actions.billing.told import PurchasePaid, PurchaseRefunded
from actions.gallery import VideoPublished, VideoUnpublished
from actions.jobs import AiJobEnded, VideoReady
from actions.media import VideoDeleted
from actions.wallet import WalletCredited
from actions.webhooks_out.messages import Message, moment
from base.ids import Id, global_id
from db import work
from db.outbox import Envelope, receives
from db.session import PoolSession, SystemSession
from db.tables.central.webhooks_out import Webhook, WebhookStatus
from db.tables.pool.jobs import AiJobStatus
from db.tables.pool.webhooks_out import WebhookDelivery
from db.zones import TenantId
from tenancy.context import Context

WEBHOOK = "webhook"
# What a person asked for, a test or something again: sent whatever the endpoint's pause is.
ASKED = "webhook_asked"
JOB_ENDS = {AiJobStatus.SUCCEEDED.name: "ai_job.succeeded", AiJobStatus.FAILED.name: "ai_job.failed"}


async def _with_endpoints(db: SystemSession, tenants: Sequence[TenantId], /) -> Sequence[TenantId]:
    active = sa.select(Webhook.tenant_id).where(Webhook.tenant_id.in_(tenants), Webhook.status == WebhookStatus.ACTIVE)
    return await db.all(active.distinct())


@receives(VideoReady)
async def tell_ready(ctx: Context, event: VideoReady, envelope: Envelope) -> None:
    """`video.ready`. Idempotent by endpoint and event."""
    data = {
        "video_id": _ours(envelope, "Video", event.video_id),
        "title": event.title,
        "duration_seconds": event.duration_seconds,
        "effect_id": _effect(event.effect_id),
        "ai_job_id": _ours(envelope, "AiJob", event.ai_job_id),
    }
    await tell(ctx, Message.of(envelope, "video.ready", data))


@receives(VideoPublished)
async def tell_published(ctx: Context, event: VideoPublished, envelope: Envelope) -> None:
    """`video.published`, also when it is shown anew. Idempotent by endpoint and event."""
    data = {
        "video_id": _ours(envelope, "Video", event.video_id),
        "gallery_video_id": global_id("GalleryVideo", event.gallery_video_id),
        "title": event.title,
        "tags": event.tags,
        "effect_id": _effect(event.effect_id),
        "duration_seconds": event.duration_seconds,
        "published_at": moment(event.published_at),
    }
    await tell(ctx, Message.of(envelope, "video.published", data))


@receives(VideoUnpublished)
async def tell_unpublished(ctx: Context, event: VideoUnpublished, envelope: Envelope) -> None:
    """`video.unpublished`. Idempotent by endpoint and event."""
    await _tell_unpublished(ctx, envelope, video_id=event.video_id, gallery_video_id=event.gallery_video_id)


@receives(VideoDeleted)
async def tell_deleted(ctx: Context, event: VideoDeleted, envelope: Envelope) -> None:
    """`video.unpublished` where what was deleted was in the gallery. Idempotent by endpoint and event."""
    if event.gallery_video_id is not None:
        await _tell_unpublished(ctx, envelope, video_id=event.video_id, gallery_video_id=event.gallery_video_id)


async def _tell_unpublished(ctx: Context, envelope: Envelope, *, video_id: int, gallery_video_id: int) -> None:
    data = {
        "video_id": _ours(envelope, "Video", video_id),
        "gallery_video_id": global_id("GalleryVideo", gallery_video_id),
    }
    await tell(ctx, Message.of(envelope, "video.unpublished", data))


@receives(AiJobEnded)
async def tell_job(ctx: Context, event: AiJobEnded, envelope: Envelope) -> None:
    """`ai_job.succeeded` or `ai_job.failed`; of a canceled one nothing. Idempotent by endpoint and event."""
    named = JOB_ENDS.get(event.status)
    if named is None:
        return
    data = {
        "ai_job_id": _ours(envelope, "AiJob", event.ai_job_id),
        "video_id": None if event.video_id is None else _ours(envelope, "Video", event.video_id),
        "effect_id": _effect(event.effect_id),
    }
    await tell(ctx, Message.of(envelope, named, data))


@receives(WalletCredited, of=_with_endpoints)
async def tell_credited(ctx: Context, event: WalletCredited, envelope: Envelope) -> None:
    """`wallet.credited`. Idempotent by endpoint and event."""
    data = {"kind": event.kind, "amount": event.amount, "balance": event.balance, "note": event.note}
    await tell(ctx, Message.of(envelope, "wallet.credited", data))


@receives(PurchasePaid, of=_with_endpoints)
async def tell_paid(ctx: Context, event: PurchasePaid, envelope: Envelope) -> None:
    """`purchase.paid`. Idempotent by endpoint and event."""
    data = {
        "purchase_id": global_id("Purchase", event.purchase_id),
        "kind": event.kind,
        "tokens": event.tokens,
        "amount_cents": event.amount_cents,
        "currency": event.currency,
    }
    await tell(ctx, Message.of(envelope, "purchase.paid", data))


@receives(PurchaseRefunded, of=_with_endpoints)
async def tell_refunded(ctx: Context, event: PurchaseRefunded, envelope: Envelope) -> None:
    """`purchase.refunded`. Idempotent by endpoint and event."""
    data = {
        "purchase_id": global_id("Purchase", event.purchase_id),
        "tokens": event.tokens,
        "refunded_cents": event.refunded_cents,
        "currency": event.currency,
    }
    await tell(ctx, Message.of(envelope, "purchase.refunded", data))


# ------------------------------------------------------------------------------------------- rows


async def tell(ctx: Context, message: Message, /) -> None:
    """Have a message sent to every endpoint of the tenant that wants its type.

    1 central: which they are; 2 pool: a row for each, once by endpoint and event; 3 central: each is woken.
    A crash after 2 leaves the event to the relay, which finds the rows and goes on to 3.
    """
    wanting = await ctx.on_system(_wanting, ctx.tenant_id, message.type)
    if wanting:
        await ctx.on_pool(record, wanting, message)
        await ctx.on_system(wake, ctx.tenant_id, wanting)


async def _wanting(db: SystemSession, tenant: TenantId, type: str, /) -> list[Id[Webhook]]:
    db.act_for(tenant=tenant)
    rows = await db.tuples(
        sa.select(Webhook.id, Webhook.events).where(Webhook.tenant_id == tenant, Webhook.status == WebhookStatus.ACTIVE)
    )
    return [webhook_id for webhook_id, events in rows if type in events]


async def record(db: PoolSession, webhook_ids: Sequence[Id[Webhook]], message: Message, /) -> list[Id[WebhookDelivery]]:
    """A PENDING delivery for each endpoint, due now; the answer is the new ones. Idempotent by endpoint and event."""
    made: list[Id[WebhookDelivery]] = []
    for webhook_id in webhook_ids:
        row = WebhookDelivery(
            id=db.new_id(),
            webhook_id=webhook_id,
            event_id=Id(message.event_id),
            event_type=message.type,
            body=message.body,
            next_attempt_at=db.now,
        )
        if await db.insert_once(row):
            made.append(row.id)
    return made


async def wake(
    db: SystemSession,
    tenant: TenantId,
    webhook_ids: Sequence[Id[Webhook]],
    /,
    *,
    at: datetime | None = None,
    kind: str = WEBHOOK,
) -> None:
    """Let a worker look what is due to these endpoints, now or at a moment. Many calls are one look."""
    for webhook_id in webhook_ids:
        await work.set_timer(db, kind, at or db.now, tenant=tenant, ref_id=webhook_id)


def _ours(envelope: Envelope, name: str, row_id: int) -> str:
    return global_id(name, row_id, envelope.tenant)


def _effect(effect_id: int | None) -> str | None:
    return None if effect_id is None else global_id("Effect", effect_id)
