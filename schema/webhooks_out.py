"""Webhooks of a tenant: where its developers are told of events, and the log of what they were told."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from typing import Annotated

from actions.webhooks_out import TYPES, due_at
from base.ids import GlobalId
from db.tables.central import webhooks_out as central
from db.tables.pool import webhooks_out as tables
from execution.access import owner
from execution.declare import Doc, batched, input, node, payload, to_one  # noqa: A004  (GraphQL's word)
from schema.payloads import UserError, UserErrors

WebhookUrl = Annotated[str, Doc("A public https address, e.g. https://app.example.com/hooks; at most 1000 characters.")]
WebhookEvents = Annotated[list[str], Doc(f"What it is told of: {', '.join(TYPES)}.")]


@node(central.Webhook, access=owner)
class Webhook:
    """An endpoint that is told of events, signed as the Standard Webhooks specification says."""

    url: WebhookUrl
    events: WebhookEvents
    status: Annotated[central.WebhookStatus, Doc("Only an ACTIVE one is told anything.")]
    disabled_reason: Annotated[str | None, Doc("Why it is DISABLED.")]
    failures: Annotated[int, Doc("Attempts that failed in a row; 0 after one that succeeded.")]
    failing_since: Annotated[datetime | None, Doc("The first of them.")]
    old_secret_until: Annotated[datetime | None, Doc("Until then messages are signed with the secret before, too.")]
    created_at: datetime
    updated_at: datetime


@node(tables.WebhookDelivery, access=owner)
class WebhookDelivery:
    """An event on its way to an endpoint; kept for 30 days."""

    webhook: Annotated[Webhook | None, to_one("webhook_id")]
    event_type: Annotated[str, Doc("E.g. video.ready.")]
    body: Annotated[str, Doc("The JSON that is sent, the same in every attempt.")]
    status: tables.WebhookDeliveryStatus
    attempts: Annotated[int, Doc("How often it was sent; at most 10 times, over three days.")]
    next_attempt_at: Annotated[
        datetime | None,
        batched(due_at, "id", "webhook_id", "next_attempt_at"),
        Doc("The earliest that it is sent: not while its endpoint pauses. Null once it has ended."),
    ]
    last_attempt_at: datetime | None
    response_status: Annotated[int | None, Doc("HTTP status of the last answer; null where nobody answered.")]
    response_body: Annotated[str | None, Doc("The first 1000 characters of the last answer.")]
    duration_ms: Annotated[int | None, Doc("How long the last attempt took, in milliseconds.")]
    error: Annotated[str | None, Doc("Why there was no answer.")]
    created_at: datetime


@input
class CreateWebhookInput:
    """A new endpoint; a tenant has at most 20."""

    url: WebhookUrl
    events: WebhookEvents


@input
class UpdateWebhookInput:
    """What is left out stays as it is."""

    id: Annotated[GlobalId, Doc("The webhook.")]
    url: Annotated[str | None, Doc("A public https address, e.g. https://app.example.com/hooks.")] = None
    events: Annotated[list[str] | None, Doc('All that it is told of from now on, e.g. ["video.ready"].')] = None
    status: Annotated[central.WebhookStatus | None, Doc("ACTIVE or PAUSED; PAUSED ends what is on its way.")] = None


@payload
class WebhookPayload:
    """The webhook; null when refused."""

    webhook: Webhook | None = None
    user_errors: UserErrors = field(default_factory=list[UserError])


@payload
class WebhookSecretPayload:
    """The webhook and its secret, which is shown this one time; both null when refused."""

    webhook: Webhook | None = None
    secret: Annotated[str | None, Doc("whsec_ and base64: what receivers verify with.")] = None
    user_errors: UserErrors = field(default_factory=list[UserError])


@payload
class WebhookDeliveryPayload:
    """The delivery, PENDING; null when refused."""

    webhook_delivery: WebhookDelivery | None = None
    user_errors: UserErrors = field(default_factory=list[UserError])
