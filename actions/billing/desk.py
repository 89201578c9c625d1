"""What operators do about money, each act written down with who did it and why; and how money stands."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from actions.billing import counting, events, marks, orders, reconcile, refunds, resolving, settlement
from actions.billing.reconcile import Repaired
from actions.billing.refunds import Placed
from base import errors
from base.ids import Id
from db.session import SystemSession
from db.tables.central.billing import (
    Payment,
    PaymentEvent,
    PaymentEventState,
    PaymentRef,
    Resolution,
    Settlement,
    SettlementState,
)
from db.tables.central.provider import OperatorAct, OrderState, ProviderOrder
from db.zones import TenantId
from outside.stripe_api import Payments, Refused
from tenancy.context import Context, House

WORDS_MAX = 500
WHO_CHARACTERS_MAX = 200
SHOWN_MAX = 20


@dataclass(frozen=True, slots=True)
class Person:
    """Who acts, and why."""

    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Status:
    """How money stands: (table, state) → rows; the newest event's moments.

    `unsettled`: what waits for a person, then what is due, the oldest of each first.
    """

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

    A batch at a time: 1 one central transaction opens its events again; 2 they are processed, as those that come are.
    What has had its effect has none again. Raises NotFound where there is no such event.
    """
    now, is_live = ctx.house.sessions.clock.now(), ctx.house.service(Payments).is_live
    wanted = _wanted(event, since=since, failed=failed, now=now)
    done, after = 0, Id[PaymentEvent](0)
    while page := await ctx.on_system(_reopen, wanted, after=after, is_live=is_live):
        ours = [each for each, is_ours in page.items() if is_ours]
        await events.handle(ctx.house, ours)
        done, after = done + len(ours), max(page)
    if event is not None and not done:
        raise errors.NotFound("There is no stored event of ours with this id and its body.", "event")
    subject = event or (f"since {since:%Y-%m-%dT%H:%MZ}" if since is not None else "failed")
    await ctx.on_system(_note, "replay", subject, by=by, outcome=f"{done} events")
    return done


async def repair(ctx: Context, since: datetime, /, *, by: Person) -> Repaired:
    """Take what the provider knows and we do not (`reconcile.reconcile`). Raises ProviderError."""
    done = await reconcile.reconcile(ctx.house, since)
    outcome = f"{done.new} of {done.listed} events were new; {done.purchases} purchases, {done.plans} plans looked at"
    await ctx.on_system(_note, "reconcile", f"since {since:%Y-%m-%dT%H:%MZ}", by=by, outcome=outcome)
    return done


# ------------------------------------------------------------------------------------------- in their transactions


async def _status(db: SystemSession, counts: Mapping[tuple[str, str], int], /) -> Status:
    unsettled: list[Settlement] = []
    # What waits for a person first: of what a pool that is down owes there may be any number.
    for state in (SettlementState.PARKED, SettlementState.DUE):
        waits = sa.select(Settlement).where(Settlement.state == state).order_by(Settlement.id)
        unsettled += await db.all(waits.limit(SHOWN_MAX))
    asked = ProviderOrder.state == OrderState.ASKED
    return Status(
        counts=counts,
        unsettled=unsettled,
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
        parked = await db.first(sa.select(Settlement).where(Settlement.id == settlement_id))
        if parked is not None and parked.state is SettlementState.PARKED:
            of = sa.and_(Payment.tenant_id == parked.tenant_id, Payment.id == parked.payment_id)
            paid = await db.first(sa.select(Payment).where(of))
            if paid is not None and paid.refunded_cents >= paid.amount_cents:
                told = "All of this payment's money has gone back already: say so by --close."
                raise errors.Conflict(told, "settlement")
            name = await db.first(sa.select(PaymentRef.provider_ref).where(PaymentRef.payment_id == parked.payment_id))
            placed = await refunds.place(db, name or "", cents=None, who=by.who, why=by.why)
    tenant = await resolving.resolve(db, settlement_id, how, who=by.who, why=by.why)
    await _note(db, f"resolve:{how.name.lower()}", f"{settlement_id:x}", by=by, outcome=f"tenant {tenant}")
    return tenant, placed


def _wanted(event: str | None, /, *, since: datetime | None, failed: bool, now: datetime) -> sa.ColumnElement[bool]:
    """Which events are to be processed anew."""
    if event is not None:
        return PaymentEvent.provider_event_id == event
    # What comes meanwhile is processed anyway.
    wanted = PaymentEvent.created_at <= now
    if since is not None:
        wanted = sa.and_(wanted, PaymentEvent.created_at >= since)
    if failed:
        wanted = sa.and_(wanted, PaymentEvent.state.in_((PaymentEventState.FAILED, PaymentEventState.WAITING)))
    return wanted


async def _reopen(
    db: SystemSession, wanted: sa.ColumnElement[bool], /, *, after: Id[PaymentEvent], is_live: bool
) -> dict[Id[PaymentEvent], bool]:
    """The next of these that have their body, and whether each is open again: not where it is still another mode's."""
    row = PaymentEvent
    foreign = sa.case((row.state == PaymentEventState.FOREIGN, row.body))
    found = await db.tuples(
        sa.select(row.id, foreign)
        .where(wanted, row.body.is_not(None), row.id > after)
        .order_by(row.id)
        .limit(events.EVENTS_A_BATCH)
    )
    page = {each: body is None or not marks.is_elsewhere(json.loads(body), is_live=is_live) for each, body in found}
    opened = sa.update(row).where(row.id.in_([each for each, is_ours in page.items() if is_ours]))
    await db.change(opened.values(state=PaymentEventState.STORED, next_try_at=db.now, tries=0, error=None))
    return page


async def _give_back(ctx: Context, placed: Placed) -> None:
    try:
        await orders.carry_out(ctx, placed.order_id)
    except Refused as refused:
        raise errors.Conflict(f"The payment provider refused the refund: {refused}") from None
    await settlement.settle(ctx.house, [placed.tenant])
