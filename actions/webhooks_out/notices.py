"""The letter to a tenant's owner that an endpoint was disabled."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from base import observe
from base.ids import Id
from db import work
from db.session import SystemSession
from db.tables.central.identity import Tenant, User
from db.tables.central.webhooks_out import Webhook, WebhookStatus
from db.zones import TenantId
from outside.mail import Mailer, MailRefused
from tenancy.context import Context
from tenancy.handlers import Alive, GiveUp, handles

NOTICE = "webhook_notice"


@dataclass(frozen=True, slots=True)
class Letter:
    """Whom to write, of which endpoint, and why it was disabled."""

    to: str
    url: str
    reason: str


@handles(NOTICE)
async def send_notice(ctx: Context, lease: work.Lease, _alive: Alive) -> None:
    """Write to the owner, unless the endpoint works again or is gone. A crash after sending sends a second letter."""
    letter = await ctx.on_system(_letter, ctx.tenant_id, Id(lease.ref_id))
    if letter is None:
        return
    text = (
        f"What happens in {ctx.tenant_id} is not told to this endpoint any more:\n\n    {letter.url}\n\n"
        f"{letter.reason}\n\n"
        "What it was not told stands in webhookDeliveries. When it answers again, set it ACTIVE with updateWebhook "
        "and send what is missing with replayWebhookDelivery.\n"
    )
    try:
        kept = await ctx.house.service(Mailer).send(letter.to, f"A webhook of {ctx.tenant_id} was disabled", text)
    except MailRefused as error:
        observe.note(observe.Event.MAIL_FAILED, error=repr(error))
        raise GiveUp(str(error)) from error
    observe.note(observe.Event.MAIL_WRITTEN, subject="webhook", kept=kept)


async def _letter(db: SystemSession, tenant: TenantId, webhook_id: Id[Webhook], /) -> Letter | None:
    db.act_for(tenant=tenant)
    webhook = await db.first(sa.select(Webhook).where(Webhook.tenant_id == tenant, Webhook.id == webhook_id))
    owner = await db.first(sa.select(Tenant.user_id).where(Tenant.id == tenant))
    if webhook is None or owner is None or webhook.status is not WebhookStatus.DISABLED:
        return None
    to = await db.first(sa.select(User.email).where(User.id == owner))
    return None if to is None else Letter(to, webhook.url, webhook.disabled_reason or "")
