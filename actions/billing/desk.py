"""What operators do about money, each act written down with who did it and why; and how money stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from actions.billing import counting, events, orders, reconcile, refunds, resolving, settlement
from actions.billing.reconcile import Repaired
from actions.billing.refunds import Placed
from base import errors
from base.ids import Id
from db.session import SystemSession
from db.tables.central.billing import (
    PaymentEvent,
    PaymentEventState,
    PaymentRef,
    Resolution,
    Settlement,
    SettlementState,
)
from db.tables.central.provider import OperatorAct, OrderState, ProviderOrder
from db.zones import TenantId
from outside.stripe_api import Refused
from tenancy.context import Context, House

WORDS_MAX = 500
WHO_CHARACTERS_MAX = 200
SHOWN_MAX = 20
REPLAYED_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Person:
    """Who acts, and why."""

    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Status:
    """How money stands: (table, state) → rows; what is not settled, oldest first; the newest event's moments."""

    counts: Mapping[tuple[str, str], int]
    unsettled: Sequence[Settlement]
    open_orders: Sequence[ProviderOrder]
    last_event_at: datetime | None
    last_received_at: datetime | None
    now: datetime


async def status(house: House, /) -> Status:
    """How money stands now, over all tenants."""
    counts = await counting.by_state(house)
    return await house.system().on_system(_status, counts)


async def refund(ctx: Context, payment: str, /, *, cents: int | None, by: Person) -> Placed:
    """Give money back, all that is left of a payment unless `cents` says less, and take the tokens back.

    1 one central transaction: the order, and the act; 2 as `orders.carry_out` says; 3 the wallet. Raises as
    `refunds.place` does, Conflict with the provider's words where it refuses, ProviderUnavailable.
    """
    placed = await ctx.on_system(_place, payment, cents=cents, by=by)
    await _give_back(ctx, placed)
    return placed


async def resolve(ctx: Context, settlement_id: Id[Settlement], how: Resolution, /, *, by: Person) -> Placed | None:
    """Decide about a parked settlement; with REFUND the payment's money is given back, which is then answered.

    1 one central transaction: the decision, the act, and the order of a refund; 2 the refund, as `orders.carry_out`
    says; 3 the wallet. Raises NotFound, Conflict, ProviderUnavailable.
    """
    tenant, placed = await ctx.on_system(_resolve, settlement_id, how, by=by)
    if placed is not None:
        await _give_back(ctx, placed)
    else:
        await settlement.settle(ctx.house, [tenant])
    return placed


async def replay(ctx: Context, /, *, event: str | None, since: datetime | None, failed: bool, by: Person) -> int:
    """Process stored events anew: one, those received since, or those that failed or wait; how many.

    What has had its effect has none again. Raises NotFound where there is no such event.
    """
    ids = await ctx.on_system(_replay, event, since=since, failed=failed, by=by)
    for start in range(0, len(ids), events.EVENTS_A_BATCH):
        await events.handle(ctx.house, ids[start : start + events.EVENTS_A_BATCH])
    return len(ids)


async def repair(ctx: Context, since: datetime, /, *, by: Person) -> Repaired:
    """Take what the provider knows and we do not (`reconcile.reconcile`). Raises ProviderError."""
    done = await reconcile.reconcile(ctx.house, since)
    outcome = f"{done.new} of {done.listed} events were new; {done.purchases} purchases looked at"
    await ctx.on_system(_note, "reconcile", f"since {since:%Y-%m-%dT%H:%MZ}", by=by, outcome=outcome)
    return done


# ------------------------------------------------------------------------------------------- in their transactions


async def _status(db: SystemSession, counts: Mapping[tuple[str, str], int], /) -> Status:
    waits = Settlement.state.in_((SettlementState.DUE, SettlementState.PARKED))
    asked = ProviderOrder.state == OrderState.ASKED
    return Status(
        counts=counts,
        unsettled=await db.all(sa.select(Settlement).where(waits).order_by(Settlement.id).limit(SHOWN_MAX)),
        open_orders=await db.all(sa.select(ProviderOrder).where(asked).order_by(ProviderOrder.id).limit(SHOWN_MAX)),
        last_event_at=await db.first(sa.select(sa.func.max(PaymentEvent.occurred_at))),
        last_received_at=await db.first(sa.select(sa.func.max(PaymentEvent.created_at))),
        now=db.now,
    )


async def _note(db: SystemSession, act: str, subject: str, /, *, by: Person, outcome: str) -> None:
    db.add(
        OperatorAct(
            act=act,
            subject=subject[:255].encode("ascii", "replace").decode(),
            who=by.who[:WHO_CHARACTERS_MAX],
            why=by.why[:WORDS_MAX],
            outcome=outcome[:WORDS_MAX],
        )
    )


async def _place(db: SystemSession, payment: str, /, *, cents: int | None, by: Person) -> Placed:
    placed = await refunds.place(db, payment, cents=cents, who=by.who, why=by.why)
    await _note(db, "refund", payment, by=by, outcome=f"order {placed.order_id:x}: {placed.cents} {placed.currency}")
    return placed


async def _resolve(
    db: SystemSession, settlement_id: Id[Settlement], how: Resolution, /, *, by: Person
) -> tuple[TenantId, Placed | None]:
    placed = None
    if how is Resolution.REFUND:
        payment_id = await db.first(sa.select(Settlement.payment_id).where(Settlement.id == settlement_id))
        parked = await db.first(sa.select(Settlement.state).where(Settlement.id == settlement_id))
        if payment_id is not None and parked is SettlementState.PARKED:
            name = await db.first(sa.select(PaymentRef.provider_ref).where(PaymentRef.payment_id == payment_id))
            placed = await refunds.place(db, name or "", cents=None, who=by.who, why=by.why)
    tenant = await resolving.resolve(db, settlement_id, how, who=by.who, why=by.why)
    await _note(db, f"resolve:{how.name.lower()}", f"{settlement_id:x}", by=by, outcome=f"tenant {tenant}")
    return tenant, placed


async def _replay(
    db: SystemSession, event: str | None, /, *, since: datetime | None, failed: bool, by: Person
) -> list[Id[PaymentEvent]]:
    # What is another mode's or account's stays foreign: only the door knows that.
    is_ours = PaymentEvent.state != PaymentEventState.FOREIGN
    wanted = sa.select(PaymentEvent.id).where(PaymentEvent.body.is_not(None), is_ours)
    if event is not None:
        wanted = wanted.where(PaymentEvent.provider_event_id == event)
    if since is not None:
        wanted = wanted.where(PaymentEvent.created_at >= since)
    if failed:
        wanted = wanted.where(PaymentEvent.state.in_((PaymentEventState.FAILED, PaymentEventState.WAITING)))
    ids = list(await db.all(wanted.order_by(PaymentEvent.id).limit(REPLAYED_MAX)))
    if event is not None and not ids:
        raise errors.NotFound("There is no stored event of ours with this id and its body.", "event")
    await reconcile.replay(db, ids)
    subject = event or (f"since {since:%Y-%m-%dT%H:%MZ}" if since is not None else "failed")
    await _note(db, "replay", subject, by=by, outcome=f"{len(ids)} events")
    return ids


async def _give_back(ctx: Context, placed: Placed) -> None:
    try:
        await orders.carry_out(ctx, placed.order_id)
    except Refused as refused:
        raise errors.Conflict(f"The payment provider refused the refund: {refused}") from None
    await settlement.settle(ctx.house, [placed.tenant])
