"""Repairs what was never delivered: the provider's own list of events, and what became of purchases that still wait.

Everything goes in by the webhook's own door, so what had come already is known and changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson
import sqlalchemy as sa

from actions.billing import events, expiry, orders
from actions.billing.events import Incoming
from base import observe
from base.ids import Id
from db.session import SystemSession
from db.tables.central.billing import PaymentEvent, PaymentEventState, Purchase, PurchaseStatus
from db.tables.central.identity import Tenant
from db.zones import TenantId, TenantState
from outside.stripe_api import Object, Payments, ProviderError
from tenancy.context import House
from tenancy.handlers import every

EVERY_SECONDS = 3_600
# The provider lists its events for thirty days.
DAYS_MAX = 30
# How far back the worker looks each time: a little longer than the provider goes on delivering.
WINDOW_DAYS = 4
TENANTS_A_PAGE = 500
PURCHASES_A_TENANT_MAX = 1_000


@dataclass(slots=True)
class Repaired:
    """How many events the provider listed and how many of them were new; how many purchases were looked at."""

    listed: int = 0
    new: int = 0
    purchases: int = 0
    undecided: int = 0
    orders: int = 0


@every(EVERY_SECONDS, "payments_reconcile")
async def reconcile_lately(house: House) -> None:
    """The worker's round: events of the last days that never came. Pages that are over have timers of their own."""
    if house.service(Payments).is_set_up:
        since = house.sessions.clock.now() - timedelta(days=WINDOW_DAYS)
        try:
            await fetch_events(house, since, Repaired())
        except ProviderError as error:
            observe.note(observe.Event.PROVIDER_FAILED, error=str(error))


async def reconcile(house: House, since: datetime, /) -> Repaired:
    """Take the provider's events since then, ask what became of every purchase that waits, and send open orders.

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
        after = tenants[-1]
    done.orders = await orders.send_open(house)
    await events.process_everything(house)
    return done


async def fetch_events(house: House, since: datetime, done: Repaired, /) -> None:
    """Store and process the events that the provider lists and we do not know, the oldest of each page first."""
    provider = house.service(Payments)
    page: list[Incoming] = []
    async for event in provider.list("events", created={"gte": int(since.timestamp())}):
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
            is_foreign=event["livemode"] is not is_live or event.get("account") is not None,
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


async def replay(db: SystemSession, wanted: Sequence[Id[PaymentEvent]], /) -> int:
    """These events are to be processed anew, whatever became of them; how many have their body still."""
    rows = await db.all(sa.select(PaymentEvent).where(PaymentEvent.id.in_(wanted), PaymentEvent.body.is_not(None)))
    for row in rows:
        row.state, row.next_try_at, row.tries, row.error = PaymentEventState.STORED, db.now, 0, None
    return len(rows)


async def _tenants(db: SystemSession, after: TenantId, /) -> Sequence[TenantId]:
    known = sa.select(Tenant.id).where(Tenant.id > after, Tenant.state != TenantState.PROVISIONING)
    return await db.all(known.order_by(Tenant.id).limit(TENANTS_A_PAGE))


async def _pending(db: SystemSession, tenant: TenantId, /) -> Sequence[Id[Purchase]]:
    """Purchases that still wait, oldest first."""
    waits = sa.and_(Purchase.tenant_id == tenant, Purchase.status == PurchaseStatus.PENDING)
    found = sa.select(Purchase.id).where(waits, Purchase.abandoned_at.is_(None))
    return await db.all(found.order_by(Purchase.id).limit(PURCHASES_A_TENANT_MAX))
