"""Pages to pay on come to an end: their time is over, a plan is given up, a tenant is suspended or leaves.

What became of a page is asked of the provider and recorded as its event would be, which may never have come.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from actions.billing import observed, orders, sessions, settlement
from actions.billing.orders import Order, Wanted, answers
from actions.billing.sessions import Asking
from base import errors
from base.ids import Id
from db import work
from db.session import SystemSession
from db.tables.central.billing import CheckoutSession, PlanSubscription, Purchase, SessionStatus
from db.tables.central.provider import OrderKind, ProviderOrder
from db.zones import TenantId
from outside.stripe_api import Missing, Object, Payments, ProviderError, Refused
from tenancy.context import Context
from tenancy.handlers import Alive, PutOff, handles

AGAIN_SECONDS = 300
DEBIT_SECONDS = 6 * 3_600
SESSIONS_MAX = 100


async def _ask(ctx: Context, order: Order) -> Object:
    provider = ctx.house.service(Payments)
    try:
        return await provider.expire_session(order.subject, key=order.provider_key)
    except Refused:
        # It is over already, or has just been paid: what it is now says which.
        return await provider.get("checkout/sessions", order.subject)


@answers(OrderKind.EXPIRE_SESSION, _ask)
async def _ended(db: SystemSession, order: Order, found: Object) -> None:
    await observed.record(db, order.tenant, order.subject_id, kind="checkout.session", found=found)


async def order_end(
    db: SystemSession, session: CheckoutSession, /, *, asked_by: str, why: str = ""
) -> Id[ProviderOrder] | None:
    """Have a page closed; None where that is on its way."""
    wanted = Wanted(
        tenant=session.tenant_id,
        kind=OrderKind.EXPIRE_SESSION,
        subject=session.provider_session_id,
        subject_id=session.purchase_id,
        params={},
        asked_by=asked_by,
        why=why,
    )
    return await orders.place(db, wanted)


async def open_sessions(
    db: SystemSession,
    tenant: TenantId,
    /,
    *,
    purchase_id: Id[Purchase] | None = None,
    after: Id[CheckoutSession] | None = None,
) -> Sequence[CheckoutSession]:
    """A tenant's open pages, or those of one purchase; at most SESSIONS_MAX, in their order after `after`."""
    mine = sa.and_(CheckoutSession.tenant_id == tenant, CheckoutSession.status == SessionStatus.OPEN)
    if after is not None:
        mine = sa.and_(mine, CheckoutSession.id > after)
    if purchase_id is not None:
        mine = sa.and_(mine, CheckoutSession.purchase_id == purchase_id)
    return await db.all(sa.select(CheckoutSession).where(mine).order_by(CheckoutSession.id).limit(SESSIONS_MAX))


async def end_all(ctx: Context, tenant: TenantId, /, *, asked_by: str, why: str) -> bool:
    """Have every open page of a tenant closed; False where one was not answered and is asked for again.

    1 one central transaction: the orders of SESSIONS_MAX of them; 2 as `orders.carry_out` says, for each; then the
    next.
    """
    all_answered, after = True, None
    while pages := await ctx.on_system(_order_some, tenant, after=after, asked_by=asked_by, why=why):
        for order_id in pages.values():
            try:
                if order_id is not None:
                    await orders.carry_out(ctx, order_id)
            except (errors.ProviderUnavailable, Refused):
                all_answered = False
        after = max(pages)
    return all_answered


async def _order_some(
    db: SystemSession, tenant: TenantId, /, *, after: Id[CheckoutSession] | None, asked_by: str, why: str
) -> dict[Id[CheckoutSession], Id[ProviderOrder] | None]:
    """The next open pages, each with the order that closes it, None where that is on its way."""
    db.act_for(tenant=tenant)
    pages = await open_sessions(db, tenant, after=after)
    return {page.id: await order_end(db, page, asked_by=asked_by, why=why) for page in pages}


@handles(sessions.ALL_END_KIND)
async def _suspended(ctx: Context, lease: work.Lease, _alive: Alive) -> None:
    """The worker's half of a suspension. The tenant's plan goes on."""
    await end_all(ctx, lease.tenant_id, asked_by="suspension", why="nobody buys for a tenant that is closed")


# ------------------------------------------------------------------------------------------- looking what became of one


@handles(sessions.END_KIND)
async def _time_is_over(ctx: Context, lease: work.Lease, _alive: Alive) -> None:
    """The page of a purchase should be over by now: if no event has told so, the provider is asked."""
    try:
        is_settled = await look(ctx, lease.tenant_id, Id(lease.ref_id))
    except ProviderError as error:
        raise PutOff(str(error), seconds=AGAIN_SECONDS) from None
    if not is_settled:
        raise PutOff("a bank debit is on its way, or the page is open", seconds=DEBIT_SECONDS)


async def look(ctx: Context, tenant: TenantId, purchase_id: Id[Purchase], /) -> bool:
    """Ask the provider what became of a PENDING purchase; False where that is not decided yet.

    1 central says what is known; 2 the provider is asked; 3 one central transaction for each answer records it; 4 the
    tokens. Changes nothing twice, whenever it is interrupted. Raises ProviderError.
    """
    waiting = await ctx.on_system(_waiting, tenant, purchase_id)
    if waiting is None:
        return True
    found = await _found(ctx, waiting)
    is_due = False
    for session in found:
        for kind, thing in await _seen(ctx, session):
            is_due |= await ctx.on_system(observed.record, tenant, purchase_id, kind=kind, found=thing)
        if session["subscription"] is not None and waiting.plan_id is not None:
            is_due |= await follow(ctx, tenant, waiting.plan_id, subscription=session["subscription"])
    if not found and waiting.is_over:
        await ctx.on_system(observed.abandoned, tenant, purchase_id)
    if is_due:
        await settlement.settle(ctx.house, [tenant])
    return await ctx.on_system(_waiting, tenant, purchase_id) is None


async def follow(ctx: Context, tenant: TenantId, plan_id: Id[PlanSubscription], /, *, subscription: str) -> bool:
    """Ask for a plan's subscription and its invoices, and record them; True where tokens became due."""
    provider = ctx.house.service(Payments)
    seen_at = await ctx.on_system(_seen_at, tenant, plan_id)
    found = await provider.get("subscriptions", subscription)
    written = [each async for each in provider.list("invoices", subscription=subscription, expand=["data.payments"])]
    return await ctx.on_system(
        observed.follow_plan, tenant, plan_id, found=found, written=written[::-1], seen_at=seen_at
    )


async def _seen_at(db: SystemSession, tenant: TenantId, plan_id: Id[PlanSubscription], /) -> datetime | None:
    db.act_for(tenant=tenant)
    plan = sa.and_(PlanSubscription.tenant_id == tenant, PlanSubscription.id == plan_id)
    return await db.first(sa.select(PlanSubscription.seen_at).where(plan))


async def _found(ctx: Context, waiting: _Waiting) -> list[Object]:
    """The sessions of a purchase as they are now."""
    if not waiting.names:
        session = await sessions.look_up(ctx, waiting.asking)
        return [] if session is None else [session]
    found = []
    for name in waiting.names:
        with contextlib.suppress(Missing):
            found.append(await ctx.house.service(Payments).get("checkout/sessions", name))
    return found


async def _seen(ctx: Context, session: Object) -> list[tuple[str, Object]]:
    """A session, and of one that awaits its money what that is to come by: a debit that failed shows there alone."""
    provider, intent, plan = ctx.house.service(Payments), session["payment_intent"], session["subscription"]
    seen = []
    if session["status"] == "complete" and session["payment_status"] == "unpaid":
        if plan is not None:
            session = session | {"subscription": await provider.get("subscriptions", plan)}
        elif intent is not None:
            session = session | {"payment_intent": await provider.get("payment_intents", intent)}
            charge = session["payment_intent"]["latest_charge"]
            seen = [] if charge is None else [("charge", await provider.get("charges", charge))]
    return [("checkout.session", session), *seen]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A PENDING purchase: its sessions by the provider's names; `is_over`: no page of it can be made any more."""

    asking: Asking
    names: list[str]
    plan_id: Id[PlanSubscription] | None
    is_over: bool


async def _waiting(db: SystemSession, tenant: TenantId, purchase_id: Id[Purchase], /) -> _Waiting | None:
    asking = await sessions.asking_of(db, tenant, purchase_id)
    if not asking.is_pending:
        return None
    known = sa.select(CheckoutSession.provider_session_id).where(CheckoutSession.purchase_id == purchase_id)
    return _Waiting(
        asking=asking,
        names=list(await db.all(known.order_by(CheckoutSession.id))),
        plan_id=asking.plan_id,
        is_over=db.now.timestamp() > asking.since + sessions.OVER_SECONDS,
    )
