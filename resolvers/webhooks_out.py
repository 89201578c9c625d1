"""Webhooks of the tenant, for its owner: endpoints, and the log of what they were told."""

from __future__ import annotations

from typing import Annotated

from actions import webhooks_out
from base import errors
from base.ids import GlobalId
from db.tables.central import webhooks_out as central
from db.tables.pool import webhooks_out as tables
from execution.access import owner
from execution.declare import FIRST_DEFAULT, After, Connection, Doc, First, mutation, page, query, rows
from execution.prices import sized
from resolvers.payload import payload, row
from schema.payloads import DeletePayload
from schema.webhooks_out import (
    CreateWebhookInput,
    UpdateWebhookInput,
    Webhook,
    WebhookDelivery,
    WebhookDeliveryPayload,
    WebhookPayload,
    WebhookSecretPayload,
)
from tenancy.context import Context

WEBHOOKS_MAX = 20
# Whoever may only write must not have what happens sent to a place of theirs.
ABILITY = "webhooks"


@query(owner, size=sized(WEBHOOKS_MAX))
async def webhooks() -> list[Webhook]:
    """The tenant's endpoints, oldest first; at most 20."""
    return rows(Webhook, limit=WEBHOOKS_MAX)


@query(owner, cost=5)
async def webhook_deliveries(
    ctx: Context,
    first: First = FIRST_DEFAULT,
    *,
    after: After = None,
    webhook_id: Annotated[GlobalId | None, Doc("Only to this endpoint; null: to all.")] = None,
    status: Annotated[tables.WebhookDeliveryStatus | None, Doc("Only those in this state, e.g. FAILED.")] = None,
) -> Connection[WebhookDelivery]:
    """What the endpoints were told in the last 30 days, newest first."""
    delivery = tables.WebhookDelivery
    of = None
    if webhook_id is not None:
        try:
            of = await ctx.on_central(webhooks_out.known, webhook_id.of(central.Webhook))
        except errors.NotFound as refusal:
            raise errors.BadUserInput(f'Argument "webhookId": {refusal.message}') from None
    where = [
        None if of is None else delivery.webhook_id == of,
        None if status is None else delivery.status == status,
    ]
    return page(WebhookDelivery, first=first, after=after, where=where)


@mutation(owner, cost=20, ability=ABILITY)
async def create_webhook(
    ctx: Context, input: Annotated[CreateWebhookInput, Doc("Where to, and what.")]
) -> WebhookSecretPayload:
    """Register an endpoint; its secret is shown this one time."""
    shown = await webhooks_out.create_webhook(ctx, input.url, input.events)
    return WebhookSecretPayload(webhook=row(Webhook, shown.webhook_id), secret=shown.secret)


@mutation(owner, cost=20, ability=ABILITY)
async def update_webhook(
    ctx: Context, input: Annotated[UpdateWebhookInput, Doc("Which, and what changes.")]
) -> WebhookPayload:
    """Change an endpoint; made ACTIVE, it begins without failures."""
    doing = webhooks_out.update_webhook(
        ctx, input.id.of(central.Webhook), url=input.url, events=input.events, status=input.status
    )
    return await payload(WebhookPayload, doing)


@mutation(owner, ability=ABILITY)
async def rotate_webhook_secret(ctx: Context, id: Annotated[GlobalId, Doc("The webhook.")]) -> WebhookSecretPayload:
    """Give an endpoint a new secret; for 24 hours messages are signed with both, and another is refused."""
    shown = await webhooks_out.rotate_secret(ctx, id.of(central.Webhook))
    return WebhookSecretPayload(webhook=row(Webhook, shown.webhook_id), secret=shown.secret)


@mutation(owner, ability=ABILITY)
async def delete_webhook(ctx: Context, id: Annotated[GlobalId, Doc("The webhook.")]) -> DeletePayload:
    """Delete an endpoint and its log."""
    return await payload(DeletePayload, webhooks_out.delete_webhook(ctx, id.of(central.Webhook)), deleted_id=id)


@mutation(owner, ability=ABILITY)
async def replay_webhook_delivery(
    ctx: Context, id: Annotated[GlobalId, Doc("A delivery that has ended.")]
) -> WebhookDeliveryPayload:
    """Send something again, under the same webhook-id: at once, pause or not, then as often as the first time."""
    return await payload(WebhookDeliveryPayload, webhooks_out.replay_delivery(ctx, id.of(tables.WebhookDelivery)))


@mutation(owner, cost=20, ability=ABILITY)
async def test_webhook(ctx: Context, id: Annotated[GlobalId, Doc("An ACTIVE webhook.")]) -> WebhookDeliveryPayload:
    """Send webhook.test to an endpoint, pausing or not; what came of it stands in the delivery a moment later."""
    return await payload(WebhookDeliveryPayload, webhooks_out.send_test(ctx, id.of(central.Webhook)))
