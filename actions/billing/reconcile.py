"""Repairs what was never delivered: the provider's own list of events, and what became of purchases that still wait.

Everything goes in by the webhook's own door, so what had come already is known and changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson
import sqlalchemy as sa

from actions.billing import events, expiry, holding, marks, orders, sessions, settlement
from actions.billing.events import Incoming
from actions.billing.readings import Unreadable
from base import observe
from base.ids import Id
from db.alike import even
from db.session import SystemSession
from db.tables.central.billing import PlanSubscription, Purchase, PurchaseStatus, Settlement, SubscriptionStatus
from db.tables.central.identity import Tenant
from db.tables.central.work import Job, JobState, Timer
from db.zones import TenantId, TenantState
from outside.stripe_api import Missing, Object, Payments, ProviderError
from tenancy.context import Context, House
from tenancy.handlers import every

EVERY_SECONDS = 3_600
# The provider lists its events for thirty days.
DAYS_MAX = 30
# How far back the worker looks when it starts: a little longer than the provider goes on delivering.
WINDOW_DAYS = 4
# What was listed by then is stored; what the provider lists late is looked for again.
OVERLAP_SECONDS = 6 * 3_600
# A plan's renewal, or its end, is told with its period's end; after so long the provider is asked.
LATE_SECONDS = 2 * 3_600
# The provider lists the newest first and so many at most: each window has its own list, the oldest window first.
WINDOW_SECONDS = 6 * 3_600
TENANTS_A_PAGE = 500
PURCHASES_A_TENANT_MAX = 1_000


@dataclass(slots=True)
class Repaired:
    """How many events the provider listed and how many of them were new; how many purchases and plans were looked at.

    `undecided` purchases still wait; `unknown` plans live here and the provider has never heard of them.
    """

    listed: int = 0
    new: int = 0
    purchases: int = 0
    undecided: int = 0
    plans: int = 0
    unknown: int = 0
    orders: int = 0


@dataclass(slots=True)
class _Listed:
    """Until when this process has taken all that the provider listed; None before its first whole round."""

    until: datetime | None = None


@every(EVERY_SECONDS, "payments_reconcile")
async def reconcile_lately(house: House) -> None:
    """The worker's round: events that never came, of the last days and then since the round before; plans whose period
    has ended without one, and pages that are over and whose timer came to nothing.
    """
    if not house.service(Payments).is_set_up:
        return
    listed: _Listed = house.services.setdefault(_Listed, _Listed())
    now = house.sessions.clock.now()
    since = now - timedelta(days=WINDOW_DAYS)
    if listed.until is not None:
        since = max(since, listed.until - timedelta(seconds=OVERLAP_SECONDS))
    try:
        await fetch_events(house, since, Repaired())
        listed.until = now
        await follow_late(house, Repaired())
        await look_at_forgotten(house, Repaired())
    except ProviderError as error:
        observe.note(observe.Event.PROVIDER_FAILED, error=str(error))


async def reconcile(house: House, since: datetime, /) -> Repaired:
    """Take the provider's events since then, ask what became of purchases that wait and plans that live, and send open
    orders.

    Idempotent; a crash leaves the rest to the next run. Raises ProviderError.
    """
    done = Repaired()
    await fetch_events(house, since, done)
    system, after = house.system(), TenantId("")
    while tenants := await system.on_system(_tenants, after):
        for tenant in tenants:
            for purchase_id in await system.on_system(_pending, tenant):
                done.purchases += 1
                done.undecided += int(not await expiry.look(system, tenant, purchase_id))
            await _follow(system, tenant, done)
        after = tenants[-1]
    done.orders = await orders.send_open(house)
    await events.process_everything(house)
    return done


async def follow_late(house: House, done: Repaired, /) -> None:
    """Ask the provider for every living plan whose period has ended and nobody has told what then. Raises
    ProviderError.
    """
    system, after = house.system(), TenantId("")
    while tenants := await system.on_system(_tenants, after):
        for tenant in await system.on_system(_late, tenants):
            await _follow(system, tenant, done)
        after = tenants[-1]


async def look_at_forgotten(house: House, done: Repaired, /) -> None:
    """Ask what became of purchases that wait though no page of theirs can be open, and that nobody is about to ask
    for. Raises ProviderError.
    """
    system, after = house.system(), TenantId("")
    while tenants := await system.on_system(_tenants, after):
        for tenant, purchase_id in await system.on_system(_forgotten, tenants):
            done.purchases += 1
            try:
                done.undecided += int(not await expiry.look(system, tenant, purchase_id))
            except Unreadable as error:
                # What ended its timer, perhaps: the others are asked for all the same.
                done.undecided += 1
                observe.note(observe.Event.PROVIDER_FAILED, error=str(error), purchase=f"{purchase_id:x}")
        after = tenants[-1]


async def _follow(system: Context, tenant: TenantId, done: Repaired) -> None:
    """The tenant's living plan as the provider has it: its end, and invoices that were paid, may never have come."""
    plan = await system.on_system(_living, tenant)
    if plan is None:
        return
    done.plans += 1
    try:
        is_due = await expiry.follow(system, tenant, plan.id, subscription=plan.provider_subscription_id)
    except Missing as error:
        done.unknown += 1
        observe.note(observe.Event.PROVIDER_FAILED, error=str(error), id=f"{plan.id:x}")
        return
    if is_due:
        await settlement.settle(system.house, [tenant])


async def fetch_events(house: House, since: datetime, done: Repaired, /) -> None:
    """Store and process the events that the provider lists and we do not know, the oldest of each page first."""
    begins, now = int(since.timestamp()), int(house.sessions.clock.now().timestamp())
    while begins + WINDOW_SECONDS < now:
        await _fetch_window(house, {"gte": begins, "lt": begins + WINDOW_SECONDS}, done)
        begins += WINDOW_SECONDS
    # The last is open: the provider's clock is not ours.
    await _fetch_window(house, {"gte": begins}, done)


async def _fetch_window(house: House, window: Mapping[str, int], done: Repaired) -> None:
    provider = house.service(Payments)
    page: list[Incoming] = []
    async for event in provider.list("events", created=window):
        page.append(incoming(event, is_live=provider.is_live))
        if len(page) == events.EVENTS_A_BATCH:
            await _take(house, page, done)
            page = []
    await _take(house, page, done)


def incoming(event: Object, /, *, is_live: bool) -> Incoming:
    """An event that was listed as if it had been delivered. Raises ProviderError for one that is none."""
    try:
        body = orjson.dumps(event).decode()
        return Incoming(
            name=event["id"],
            type=event["type"],
            api_version=event["api_version"],
            occurred_at=datetime.fromtimestamp(event["created"], UTC),
            body=body,
            body_hash=hashlib.sha256(body.encode()).hexdigest(),
            is_foreign=marks.is_elsewhere(event, is_live=is_live),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ProviderError(f"the provider listed an event without {error}") from None


async def _take(house: House, page: list[Incoming], done: Repaired) -> None:
    # The list is the newest first; what happened first is told first, as it would have been delivered.
    oldest_first = page[::-1]
    stored = await house.system().on_system(events.store, oldest_first)
    done.listed += len(page)
    new = [
        event_id
        for event, event_id in zip(oldest_first, stored, strict=True)
        if event_id is not None and not event.is_foreign
    ]
    done.new += len(new)
    if new:
        await events.handle(house, new)


async def _tenants(db: SystemSession, after: TenantId, /) -> Sequence[TenantId]:
    known = sa.select(Tenant.id).where(Tenant.id > after, Tenant.state != TenantState.PROVISIONING)
    return await db.all(known.order_by(Tenant.id).limit(TENANTS_A_PAGE))


async def _living(db: SystemSession, tenant: TenantId, /) -> PlanSubscription | None:
    """The tenant's plan, where it lives and the provider has named it."""
    plan = await db.first(
        sa.select(PlanSubscription).where(PlanSubscription.tenant_id == tenant, PlanSubscription.live_key == tenant)
    )
    begun = plan is not None and plan.provider_subscription_id != holding.pending_name(plan.id)
    return plan if begun else None


async def _late(db: SystemSession, tenants: Sequence[TenantId], /) -> Sequence[TenantId]:
    """Those of these tenants whose living plan should have been renewed, or ended, long ago."""
    plan = PlanSubscription
    ended = sa.and_(
        plan.tenant_id.in_(even(tenants)), plan.current_period_end < db.now - timedelta(seconds=LATE_SECONDS)
    )
    return await db.all(sa.select(plan.tenant_id).where(ended, plan.status != SubscriptionStatus.CANCELED))


async def _forgotten(db: SystemSession, tenants: Sequence[TenantId], /) -> Sequence[tuple[TenantId, Id[Purchase]]]:
    """The oldest purchases of these tenants that wait for longer than a page is open, without timer or work to come."""
    over = db.now - timedelta(seconds=sessions.OVER_SECONDS + LATE_SECONDS)
    waits = sa.and_(
        Purchase.tenant_id.in_(even(tenants)),
        Purchase.status == PurchaseStatus.PENDING,
        Purchase.abandoned_at.is_(None),
        Purchase.created_at < over,
    )
    timer = sa.exists().where(Timer.kind == sessions.END_KIND, Timer.ref_id == Purchase.id)
    work = sa.exists().where(Job.kind == sessions.END_KIND, Job.ref_id == Purchase.id, Job.state != JobState.DONE)
    # One with a settlement was paid for, and waits for a person.
    parked = sa.exists().where(Settlement.purchase_id == Purchase.id, Settlement.tenant_id == Purchase.tenant_id)
    found = sa.select(Purchase.tenant_id, Purchase.id).where(waits, ~timer, ~work, ~parked)
    rows = await db.tuples(found.order_by(Purchase.id).limit(PURCHASES_A_TENANT_MAX))
    return [(tenant, purchase_id) for tenant, purchase_id in rows]


async def _pending(db: SystemSession, tenant: TenantId, /) -> Sequence[Id[Purchase]]:
    """Purchases that still wait, oldest first."""
    waits = sa.and_(Purchase.tenant_id == tenant, Purchase.status == PurchaseStatus.PENDING)
    found = sa.select(Purchase.id).where(waits, Purchase.abandoned_at.is_(None))
    return await db.all(found.order_by(Purchase.id).limit(PURCHASES_A_TENANT_MAX))
