"""Sends what is due to one endpoint at a time: signed, within limits, at least once, later again where it failed.

An endpoint is one piece of work, whatever waits for it, so a dead one takes one worker's slot for one attempt and
then pauses. How an endpoint fares is written in `faring.py`.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import sqlalchemy as sa

from actions.webhooks_out import deliveries, endpoints, faring, telling
from actions.webhooks_out.messages import message_id
from base import observe
from base.ids import Id
from base.sealing import Vault
from db import work
from db.session import PoolSession, SystemSession
from db.tables.central.webhooks_out import Webhook, WebhookStatus
from db.tables.pool.webhooks_out import WebhookDelivery, WebhookDeliveryStatus
from db.zones import TenantId, TenantState
from outside import signing_webhooks
from outside.egress import Egress, EgressBusy, EgressFailed, EgressRefused
from tenancy.context import Context
from tenancy.handlers import Alive, PutOff, handles

# As the Standard Webhooks specification recommends: ten attempts in three days, the first at once.
RETRY_SECONDS = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
ATTEMPTS_MAX = len(RETRY_SECONDS) + 1
JITTER_MAX = 0.2
SEND_SECONDS_MAX = 15.0
SIDE_BY_SIDE_MAX = 5
ROUNDS_SECONDS_MAX = 45
# Longer than rounds and the last attempt in them: an endpoint or delivery that is held longer has lost its worker.
HELD_SECONDS = 90
BUSY_SECONDS = 2
ENDPOINTS_AT_ONCE_MAX = 16
SUSPENDED_SECONDS = 300
ANSWER_CHARACTERS_MAX = 1_000
GONE = 410


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint that this worker holds. One that fails is tried with one delivery at a time."""

    webhook_id: Id[Webhook]
    url: str
    secrets: list[str] = field(repr=False)
    at_once: int


@dataclass(frozen=True, slots=True)
class Closed:
    """An endpoint that nothing is sent to any more, and why; None where it was deleted."""

    why: str | None


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that this worker holds until its time is over."""

    delivery_id: Id[WebhookDelivery]
    event_id: int
    body: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """How sending went: `status` is None where nobody answered, and `error` says why."""

    due: Due
    status: int | None
    answer: str | None
    error: str | None
    duration_ms: int

    @property
    def succeeded(self) -> bool:
        """Whether the endpoint has taken it: any status from 200 to 299."""
        return self.status is not None and 200 <= self.status < 300


@handles(telling.WEBHOOK, concurrent=ENDPOINTS_AT_ONCE_MAX)
async def send_due(ctx: Context, lease: work.Lease, _alive: Alive) -> None:
    """Send what is due to an endpoint.

    1 central: the endpoint is held; 2 pool: due deliveries are held; 3 they are sent; 4 pool: what became of
    them; 2 to 4 again while all goes well; 5 central: how the endpoint fares, when it is next looked at, and it is
    let go. A crash after 1 or 2 costs a minute and a half, one after 3 sends again, under the same `webhook-id`,
    one after 4 leaves 5 to the work's next try.
    """
    await _send_due(ctx, Id(lease.ref_id), asked=False)


@handles(telling.ASKED)
async def send_asked(ctx: Context, lease: work.Lease, _alive: Alive) -> None:
    """Send what a person asked for, while the endpoint pauses, too: the steps of `send_due`, and 6 central: what else
    was asked for is looked at again. A crash before 6 leaves that to the work's next try.
    """
    webhook_id: Id[Webhook] = Id(lease.ref_id)
    if not await _send_due(ctx, webhook_id, asked=True):
        return
    following = await ctx.on_pool(next_due, webhook_id, asked=True)
    if following is not None:
        await ctx.on_system(telling.wake, ctx.tenant_id, [webhook_id], at=following, kind=telling.ASKED)


async def _send_due(ctx: Context, webhook_id: Id[Webhook], *, asked: bool) -> bool:
    """Whether the endpoint was held, and what was due to it tried."""
    if ctx.tenant_route.state is TenantState.SUSPENDED:
        raise PutOff("the tenant is suspended", seconds=SUSPENDED_SECONDS)
    held = await ctx.on_system(hold, ctx.house.vault, ctx.tenant_id, webhook_id, asked=asked)
    if isinstance(held, Closed):
        await _close(ctx, webhook_id, held)
    if not isinstance(held, Endpoint):
        return False
    attempts: list[Attempt] = []
    until = time.monotonic() + ROUNDS_SECONDS_MAX
    while time.monotonic() < until:
        due = await ctx.on_pool(take, webhook_id, most=held.at_once, asked=asked)
        sent = await asyncio.gather(*(_send(ctx, held, each) for each in due))
        # What was not sent comes back when the time is over that it is held for.
        made = [each for each in sent if each is not None]
        if made:
            await ctx.on_pool(note, made)
            attempts += made
        if len(made) < held.at_once or not all(each.succeeded for each in made):
            break
    following = await ctx.on_pool(next_due, webhook_id)
    fares = faring.Report(
        succeeded=any(each.succeeded for each in attempts),
        failed=sum(not each.succeeded for each in attempts),
        is_gone=any(each.status == GONE for each in attempts),
        next_due=following,
    )
    disabled = await ctx.on_system(faring.let_go, ctx.tenant_id, webhook_id, fares)
    if disabled is not None:
        observe.note(observe.Event.WEBHOOK_DISABLED, tenant=ctx.tenant_id, webhook=f"{webhook_id:x}", why=disabled)
    return True


async def _close(ctx: Context, webhook_id: Id[Webhook], closed: Closed) -> None:
    if closed.why is not None:
        await ctx.on_pool(end_all, webhook_id, error=closed.why)
        return
    while await ctx.on_pool(endpoints.forget, webhook_id):
        pass


async def hold(
    db: SystemSession, vault: Vault, tenant: TenantId, webhook_id: Id[Webhook], /, *, asked: bool
) -> Endpoint | Closed | None:
    """The endpoint, held by this worker; None where it is not its time. Raises SealBroken.

    While it pauses it is only held for what was `asked` for.
    """
    db.act_for(tenant=tenant)
    here = sa.and_(Webhook.tenant_id == tenant, Webhook.id == webhook_id)
    row = await db.first(sa.select(Webhook).where(here))
    if row is None:
        return Closed(None)
    if row.status is not WebhookStatus.ACTIVE:
        return Closed(row.disabled_reason or "The webhook was paused.")
    if not asked and row.resume_at is not None and row.resume_at > db.now:
        await telling.wake(db, tenant, [webhook_id], at=row.resume_at)
        return None
    free = sa.or_(Webhook.busy_until.is_(None), Webhook.busy_until < db.now)
    taken = {"busy_until": db.now + timedelta(seconds=HELD_SECONDS), "updated_at": Webhook.updated_at}
    if not await db.change(sa.update(Webhook).where(here, free).values(taken)):
        kind = telling.ASKED if asked else telling.WEBHOOK
        await telling.wake(db, tenant, [webhook_id], at=db.now + timedelta(seconds=BUSY_SECONDS), kind=kind)
        return None
    both = row.old_secret_until is not None and row.old_secret_until > db.now
    secrets = endpoints.secrets_of(vault, row, old_too=both)
    return Endpoint(row.id, row.url, secrets, at_once=1 if row.failures else SIDE_BY_SIDE_MAX)


async def take(db: PoolSession, webhook_id: Id[Webhook], /, *, most: int, asked: bool) -> list[Due]:
    """Up to `most` deliveries that are due, held by this worker: nobody else takes them until their time is over."""
    rows = await db.all(
        sa.select(WebhookDelivery)
        .where(WebhookDelivery.webhook_id == webhook_id, WebhookDelivery.next_attempt_at <= db.now)
        .where(deliveries.asked() if asked else sa.true())
        .order_by(WebhookDelivery.next_attempt_at, WebhookDelivery.id)
        .limit(most)
    )
    held = []
    for row in rows:
        met = await db.change(
            sa.update(WebhookDelivery)
            .where(WebhookDelivery.id == row.id, WebhookDelivery.next_attempt_at == row.next_attempt_at)
            .values(next_attempt_at=db.now + timedelta(seconds=HELD_SECONDS))
        )
        if met:
            held.append(Due(row.id, row.event_id, row.body, row.attempts))
    return held


async def _send(ctx: Context, to: Endpoint, due: Due) -> Attempt | None:
    """One attempt; None where our own look-up of the name had to wait too long, which is no failure of theirs."""
    body = due.body.encode()
    stamp = int(ctx.house.sessions.clock.now().timestamp())
    headers = signing_webhooks.sign(to.secrets, message_id=message_id(due.event_id), timestamp=stamp, body=body)
    headers |= {"content-type": "application/json", "user-agent": "Atrium"}
    began = time.monotonic()
    status, answer, error = None, None, None
    try:
        got = await ctx.house.service(Egress).post(
            to.url, headers=headers, body=body, timeout_seconds=SEND_SECONDS_MAX, as_checked=True, of=ctx.tenant_id
        )
        status, answer = got.status, _readable(got.body_head)
    except EgressBusy:
        return None
    except (EgressRefused, EgressFailed) as failure:
        error = str(failure)[:300]
    attempt = Attempt(due, status, answer, error, int((time.monotonic() - began) * 1_000))
    observe.WEBHOOKS.labels("succeeded" if attempt.succeeded else "failed").inc()
    return attempt


def _readable(head: bytes) -> str:
    text = head.decode(errors="replace")[:ANSWER_CHARACTERS_MAX]
    return "".join(character if character.isprintable() or character in "\n\t" else " " for character in text)


async def note(db: PoolSession, attempts: list[Attempt], /) -> None:
    """Write how attempts went; one that somebody else has written already is left as it is. Idempotent."""
    for attempt in attempts:
        count = attempt.due.attempts + 1
        status, following = WebhookDeliveryStatus.PENDING, None
        if attempt.succeeded:
            status = WebhookDeliveryStatus.SUCCEEDED
        elif count >= ATTEMPTS_MAX:
            status = WebhookDeliveryStatus.FAILED
        else:
            following = later(db.now, count)
        await db.change(
            sa.update(WebhookDelivery)
            .where(
                WebhookDelivery.id == attempt.due.delivery_id,
                WebhookDelivery.status == WebhookDeliveryStatus.PENDING,
                WebhookDelivery.attempts == attempt.due.attempts,
            )
            .values(
                status=status,
                attempts=count,
                next_attempt_at=following,
                last_attempt_at=db.now,
                response_status=attempt.status,
                response_body=attempt.answer,
                duration_ms=attempt.duration_ms,
                error=attempt.error,
            )
        )


def later(now: datetime, attempts: int) -> datetime:
    """When the next attempt is made after so many: by the schedule, and up to a fifth later, so that all do not come
    back at once.
    """
    return now + timedelta(seconds=RETRY_SECONDS[attempts - 1] * (1 + random.uniform(0, JITTER_MAX)))  # noqa: S311


async def next_due(db: PoolSession, webhook_id: Id[Webhook], /, *, asked: bool = False) -> datetime | None:
    """When the endpoint's next delivery is due, or the next that was asked for; None where none waits."""
    return await db.first(
        sa.select(WebhookDelivery.next_attempt_at)
        .where(WebhookDelivery.webhook_id == webhook_id, WebhookDelivery.next_attempt_at.is_not(None))
        .where(deliveries.asked() if asked else sa.true())
        .order_by(WebhookDelivery.next_attempt_at)
    )


async def end_all(db: PoolSession, webhook_id: Id[Webhook], /, *, error: str) -> None:
    """Nothing more is sent to this endpoint: what waits is FAILED, and may be replayed."""
    await db.change(
        sa.update(WebhookDelivery)
        .where(WebhookDelivery.webhook_id == webhook_id, WebhookDelivery.status == WebhookDeliveryStatus.PENDING)
        .values(status=WebhookDeliveryStatus.FAILED, next_attempt_at=None, error=error)
    )
