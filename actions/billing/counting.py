"""How many rows of money there are in each state, over all tenants: numbers, and never a row.

Purchases, payments and plans are a tenant's own, so each statement names the tenants that it counts for, a page of
them at a time; what the house alone knows is counted at once.
"""

from __future__ import annotations

import enum
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute

from base import observe
from db.session import SystemSession
from db.tables.central.billing import (
    CheckoutSession,
    Payment,
    PaymentEvent,
    PaymentEventState,
    PaymentStatus,
    PlanSubscription,
    Purchase,
    PurchaseStatus,
    Refund,
    RefundStatus,
    SessionStatus,
    Settlement,
    SettlementState,
    SubscriptionStatus,
)
from db.tables.central.identity import Tenant
from db.tables.central.provider import OrderState, ProviderOrder
from db.zones import TenantId
from tenancy.checks import Finding, of_house
from tenancy.context import House
from tenancy.handlers import every

Column = InstrumentedAttribute[Any]

# Where a table's rows stand, and the states that there are.
OF_TENANTS: tuple[tuple[Column, type[enum.Enum]], ...] = (
    (Purchase.status, PurchaseStatus),
    (Payment.status, PaymentStatus),
    (PlanSubscription.status, SubscriptionStatus),
)
OF_HOUSE: tuple[tuple[Column, type[enum.Enum]], ...] = (
    (PaymentEvent.state, PaymentEventState),
    (CheckoutSession.status, SessionStatus),
    (Refund.status, RefundStatus),
    (Settlement.state, SettlementState),
    (ProviderOrder.state, OrderState),
)
OPEN_EVENTS = (PaymentEventState.STORED, PaymentEventState.WAITING, PaymentEventState.FAILED)
OPEN_SETTLEMENTS = (SettlementState.DUE, SettlementState.PARKED)
TENANTS_A_PAGE = 500
# Every row is met, so all are counted seldom; what is not at its end is counted by its index far more often.
COUNT_SECONDS = 600
OPEN_SECONDS = 15

Counts = Counter[tuple[str, str]]


async def by_state(house: House, /) -> Counts:
    """(table, state) → rows, over all tenants; one short transaction for each page of tenants."""
    system, after = house.system(), TenantId("")
    counts = await system.on_system(_of_house)
    while tenants := await system.on_system(_tenants, after):
        counts += await system.on_system(_of_tenants, tenants)
        after = tenants[-1]
    return counts


@of_house("money counted")
async def money_is_counted(house: House) -> list[Finding]:
    """Purchases, payments and plans by state, told and never wrong."""
    counts, found = await by_state(house), []
    for column, _ in OF_TENANTS:
        name = _table(column)
        shown = ", ".join(f"{count:,} {state}" for (whose, state), count in sorted(counts.items()) if whose == name)
        if shown:
            found.append(Finding(f"{name}: {shown}", "atrium payments status", wrong=False))
    return found


@every(OPEN_SECONDS, "money_open", tells=True)
async def count_open(house: House) -> None:
    """Tell `/metrics` what is not at its end, how long the oldest of it waits, and how old the newest event is."""
    found = await house.system().on_system(_open)
    for table, states in ((PaymentEvent, OPEN_EVENTS), (Settlement, OPEN_SETTLEMENTS)):
        for state in states:
            observe.MONEY.labels(table.__tablename__, state.name).set(found.counts[table.__tablename__, state.name])
    observe.UNSETTLED_SECONDS.set(found.unsettled_seconds)
    observe.PAYMENT_EVENT_SECONDS.set(found.newest_event_seconds)


@every(COUNT_SECONDS, "money_by_state", tells=True)
async def count_by_state(house: House) -> None:
    """Tell `/metrics` of every state; one that a table has left is 0."""
    counts = await by_state(house)
    for column, states in (*OF_TENANTS, *OF_HOUSE):
        for state in states:
            observe.MONEY.labels(_table(column), state.name).set(counts[_table(column), state.name])


@dataclass(frozen=True, slots=True)
class _Open:
    """What is not at its end, by (table, state); ages are in seconds, `newest_event_seconds` NaN before the first."""

    counts: Counts
    unsettled_seconds: float
    newest_event_seconds: float


async def _open(db: SystemSession, /) -> _Open:
    counts: Counts = Counter()
    for column, states in ((PaymentEvent.state, OPEN_EVENTS), (Settlement.state, OPEN_SETTLEMENTS)):
        _add(
            counts,
            column,
            await db.tuples(sa.select(column, sa.func.count()).where(column.in_(states)).group_by(column)),
        )
    # The oldest by its id: what is tried again later stands last by its next try.
    first = sa.select(sa.func.min(Settlement.id)).where(Settlement.state == SettlementState.DUE).scalar_subquery()
    oldest = await db.first(sa.select(Settlement.created_at).where(Settlement.id == first))
    newest = await db.first(sa.select(sa.func.max(PaymentEvent.created_at)))
    return _Open(
        counts,
        unsettled_seconds=0.0 if oldest is None else (db.now - oldest).total_seconds(),
        newest_event_seconds=math.nan if newest is None else (db.now - newest).total_seconds(),
    )


async def _of_house(db: SystemSession, /) -> Counts:
    counts: Counts = Counter()
    for column, _ in OF_HOUSE:
        _add(counts, column, await db.tuples(sa.select(column, sa.func.count()).group_by(column)))
    return counts


async def _of_tenants(db: SystemSession, tenants: Sequence[TenantId], /) -> Counts:
    counts: Counts = Counter()
    for column, _ in OF_TENANTS:
        theirs = sa.select(column, sa.func.count()).where(column.class_.tenant_id.in_(tenants)).group_by(column)
        _add(counts, column, await db.tuples(theirs))
    return counts


def _add(counts: Counts, column: Column, rows: Sequence[Any]) -> None:
    for state, count in rows:
        counts[_table(column), state.name] += int(count)


def _table(column: Column) -> str:
    return str(column.class_.__tablename__)


async def _tenants(db: SystemSession, after: TenantId, /) -> Sequence[TenantId]:
    return await db.all(sa.select(Tenant.id).where(Tenant.id > after).order_by(Tenant.id).limit(TENANTS_A_PAGE))
