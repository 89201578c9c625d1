"""A tenant's endpoints: registered with a secret that is shown once, changed, given another secret, deleted."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import sqlalchemy as sa

from actions import wallet
from actions.webhooks_out import messages, telling
from actions.webhooks_out.messages import TYPES
from base import errors
from base.ids import Id
from base.sealing import Place, SealBroken, Sealed, Vault
from db.session import CentralSession, PoolSession, SystemSession
from db.tables.central.identity import Tenant
from db.tables.central.webhooks_out import URL_CHARACTERS_MAX, Webhook, WebhookStatus
from db.tables.pool.webhooks_out import WebhookDelivery
from db.zones import TenantId
from outside.egress import Egress, EgressBusy, EgressFailed, EgressRefused
from tenancy.context import Context

WEBHOOKS_A_TENANT_MAX = 20
SECRET_BYTES = 32
EVENT_CHARACTERS_TOLD_MAX = 40
OLD_SECRET_HOURS = 24
CHECKS_AN_HOUR_MAX = 100
HOUR_SECONDS = 3_600
RETENTION = "webhook_retention"
RETENTION_DAYS = 30
DELETED_AT_ONCE_MAX = 500


@dataclass(frozen=True, slots=True)
class Shown:
    """An endpoint and its secret, which is shown this one time."""

    webhook_id: Id[Webhook]
    secret: str = field(repr=False)


async def create_webhook(ctx: Context, url: str, events: Sequence[str], /) -> Shown:
    """Register an endpoint of the tenant.

    1 counts the look-up, and looks whether the address may be sent to; 2 pool: the wallet is heard from now on, so that
    no credit which found no endpoint comes after it; 3 one central transaction: the row. A crash before its commit
    leaves nothing that is seen. Raises Invalid, LimitExceeded (20 a tenant).
    """
    wanted = _events(events)
    await _check(ctx, url)
    await ctx.on_pool(wallet.listen)
    return await ctx.on_system(_create, ctx.house.vault, ctx.tenant_id, url=url, events=wanted)


async def update_webhook(
    ctx: Context,
    webhook_id: Id[Webhook],
    /,
    *,
    url: str | None = None,
    events: Sequence[str] | None = None,
    status: WebhookStatus | None = None,
) -> Id[Webhook]:
    """Change what was given; None leaves as it is. Made ACTIVE, an endpoint begins without failures.

    1 looks at a new address as for a new endpoint; 2 made ACTIVE, or to hear of other events: pool, as for a new one;
    3 one central transaction.
    Raises Invalid, NotFound.
    """
    if status is WebhookStatus.DISABLED:
        raise errors.Invalid("Set PAUSED: DISABLED is what we set when an endpoint fails.", "input", "status")
    wanted = None if events is None else _events(events)
    if url is not None:
        await _check(ctx, url)
    if status is WebhookStatus.ACTIVE or wanted is not None:
        await ctx.on_pool(wallet.listen)
    return await ctx.on_system(_update, ctx.tenant_id, webhook_id, url=url, events=wanted, status=status)


async def rotate_secret(ctx: Context, webhook_id: Id[Webhook], /) -> Shown:
    """Give an endpoint a new secret; for a day what is sent is signed with both.

    Raises NotFound, Conflict (the day of the secret before is not over: receivers were promised it).
    """
    return await ctx.on_system(_rotate, ctx.house.vault, ctx.tenant_id, webhook_id)


async def delete_webhook(ctx: Context, webhook_id: Id[Webhook], /) -> None:
    """Delete an endpoint with all that it was told.

    1 central: whether it is there; 2 pool: its deliveries, in batches; 3 central: its row, and its clean-up is
    asked for, since an event may have made a delivery meanwhile. A crash before 3 leaves an endpoint without a
    log, to be deleted again. Raises NotFound.
    """
    await ctx.on_system(find, ctx.tenant_id, webhook_id, field="id")
    while await ctx.on_pool(forget, webhook_id):
        pass
    await ctx.on_system(_delete, ctx.tenant_id, webhook_id)


async def find(db: SystemSession, tenant: TenantId, webhook_id: Id[Webhook], /, *, field: str) -> Webhook:
    """The tenant's endpoint, held until the transaction ends. Raises NotFound on `field`."""
    db.act_for(tenant=tenant)
    here = sa.select(Webhook).where(Webhook.tenant_id == tenant, Webhook.id == webhook_id)
    row = await db.first(here.with_for_update())
    if row is None:
        raise errors.NotFound("There is no Webhook with this id.", *field.split("."))
    return row


async def known(db: CentralSession, webhook_id: Id[Webhook], /) -> Id[Webhook]:
    """The id, where it is one of the caller's tenant. Raises NotFound."""
    here = sa.select(Webhook.id).where(Webhook.tenant_id == db.tenant, Webhook.id == webhook_id)
    if await db.first(here) is None:
        raise errors.NotFound("There is no Webhook with this id.")
    return webhook_id


async def forget(db: PoolSession, webhook_id: Id[Webhook], /, *, before: Id[WebhookDelivery] | None = None) -> int:
    """Delete up to 500 of an endpoint's deliveries, older than an id where one is given; the answer is how many."""
    old = sa.true() if before is None else WebhookDelivery.id < before
    ids = await db.all(
        sa.select(WebhookDelivery.id).where(WebhookDelivery.webhook_id == webhook_id, old).limit(DELETED_AT_ONCE_MAX)
    )
    return await db.change(sa.delete(WebhookDelivery).where(WebhookDelivery.id.in_(ids))) if ids else 0


def place(webhook: Webhook, column: str) -> Place:
    """Where a secret of this endpoint stands."""
    return Place(Webhook.__tablename__, column, webhook.tenant_id, webhook.id)


# ------------------------------------------------------------------------------------------- what is given


def _events(given: Sequence[str]) -> list[str]:
    # More than there are cannot be right, and is not looked at one by one.
    wanted = list(dict.fromkeys(given)) if len(given) <= 2 * len(TYPES) else []
    unknown = [type for type in wanted if type not in TYPES]
    if unknown or not wanted:
        told = f"There is no event {unknown[0][:EVENT_CHARACTERS_TOLD_MAX]!r}. " if unknown else ""
        raise errors.Invalid(f"{told}Give at least one of {', '.join(TYPES)}.", "input", "events")
    return wanted


async def _check(ctx: Context, url: str) -> None:
    if len(url) > URL_CHARACTERS_MAX:
        raise errors.Invalid(f"An address has at most {URL_CHARACTERS_MAX} characters.", "input", "url")
    await ctx.house.rates.hit("webhook:check", ctx.tenant_id, most=CHECKS_AN_HOUR_MAX, window_seconds=HOUR_SECONDS)
    try:
        await ctx.house.service(Egress).check(url, of=ctx.tenant_id)
    except EgressRefused as error:
        raise errors.Invalid(f"This address is not sent to: {error}.", "input", "url") from None
    except EgressBusy as error:
        why = f"Nobody answers for other names that you gave: {error}. Try again in a minute."
        raise errors.LimitExceeded(why, "input", "url") from None
    except EgressFailed as error:
        raise errors.Invalid(f"This address cannot be found: {error}.", "input", "url") from None


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


# ------------------------------------------------------------------------------------------- rows


async def _create(db: SystemSession, vault: Vault, tenant: TenantId, /, *, url: str, events: list[str]) -> Shown:
    db.act_for(tenant=tenant)
    # Whoever counts holds the tenant's row, so that two at once are not both the twentieth.
    await db.first(sa.select(Tenant.id).where(Tenant.id == tenant).with_for_update())
    count = await db.first(sa.select(sa.func.count(Webhook.id)).where(Webhook.tenant_id == tenant))
    if (count or 0) >= WEBHOOKS_A_TENANT_MAX:
        raise errors.LimitExceeded(f"A tenant has at most {WEBHOOKS_A_TENANT_MAX} webhooks.", "input")
    secret = _new_secret()
    row = Webhook(id=db.new_id(), tenant_id=tenant, url=url, events=events, status=WebhookStatus.ACTIVE, failures=0)
    row.secret = vault.seal(secret, place(row, "secret"))
    db.add(row)
    await telling.wake(db, tenant, [row.id], at=db.now + timedelta(days=1), kind=RETENTION)
    return Shown(row.id, secret)


async def _update(
    db: SystemSession,
    tenant: TenantId,
    webhook_id: Id[Webhook],
    /,
    *,
    url: str | None,
    events: list[str] | None,
    status: WebhookStatus | None,
) -> Id[Webhook]:
    row = await find(db, tenant, webhook_id, field="input.id")
    given = {"url": url, "events": events, "status": status}
    values: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    if (status or row.status) is WebhookStatus.ACTIVE and (url is not None or status is not None):
        values |= {"failures": 0, "failing_since": None, "resume_at": None, "disabled_reason": None}
    await _change(db, row, values)
    # What waits is sent to the new address, or ended where the endpoint was paused.
    await telling.wake(db, tenant, [webhook_id])
    return webhook_id


async def _rotate(db: SystemSession, vault: Vault, tenant: TenantId, webhook_id: Id[Webhook], /) -> Shown:
    row = await find(db, tenant, webhook_id, field="id")
    secret = _new_secret()
    values: dict[str, object] = {"secret": vault.seal(secret, place(row, "secret"))}
    try:
        old = vault.open(row.secret, place(row, "secret"))
    except SealBroken:
        # Its key is lost: another secret is the way out, and nothing can be signed with the old one any more.
        values |= {"old_secret": None, "old_secret_until": None}
    else:
        if row.old_secret is not None and row.old_secret_until is not None and row.old_secret_until > db.now:
            moment = messages.moment(row.old_secret_until)
            raise errors.Conflict(f"Its secret was changed: the one before is signed with until {moment}.", "id")
        until = db.now + timedelta(hours=OLD_SECRET_HOURS)
        values |= {"old_secret": vault.seal(old, place(row, "old_secret")), "old_secret_until": until}
    await _change(db, row, values)
    return Shown(webhook_id, secret)


async def _change(db: SystemSession, row: Webhook, values: dict[str, object]) -> None:
    if values:
        here = sa.and_(Webhook.tenant_id == row.tenant_id, Webhook.id == row.id)
        await db.change(sa.update(Webhook).where(here).values(values))


async def _delete(db: SystemSession, tenant: TenantId, webhook_id: Id[Webhook], /) -> None:
    db.act_for(tenant=tenant)
    await db.change(sa.delete(Webhook).where(Webhook.tenant_id == tenant, Webhook.id == webhook_id))
    await telling.wake(db, tenant, [webhook_id], kind=RETENTION)


def secrets_of(vault: Vault, row: Webhook, /, *, old_too: bool) -> list[str]:
    """What a message to this endpoint is signed with, the newest first. Raises SealBroken."""
    kept: list[tuple[str, Sealed]] = [("secret", row.secret)]
    if old_too and row.old_secret is not None:
        kept.append(("old_secret", row.old_secret))
    return [vault.open(sealed, place(row, column)) for column, sealed in kept]
