"""A tenant leaves: first plan and open pages end at the provider, then what is still owed is settled or parked."""

from __future__ import annotations

import sqlalchemy as sa

from actions.billing import expiry, holding, orders, plans, settlement
from actions.billing.orders import Order, Wanted, answers
from base import errors
from base.ids import Id
from db.session import SystemSession
from db.tables.central.billing import CheckoutSession, Purchase, PurchaseStatus
from db.tables.central.provider import BillingClosure, OrderKind, ProviderOrder
from db.zones import TenantId
from outside.stripe_api import Object, Payments, ProviderError, Refused
from tenancy.context import Context

PENDING_MAX = 1_000


async def close(ctx: Context, tenant: TenantId, /, *, asked_by: str, why: str) -> None:
    """Let a tenant buy nothing any more; money that still comes for it is PARKED. Whoever erases it calls this first.

    1 central: it is closed; 2 its pages are closed at the provider, those that we have not heard of among them; 3 its
    plan is ended there; 4 what its wallet is owed is posted, and 5 what cannot be is parked. Idempotent: after a crash,
    or ProviderUnavailable where the provider did not answer, it is called again and goes on. Raises NotFound.
    """
    await ctx.on_system(_close, tenant)
    all_answered = await expiry.end_all(ctx, tenant, asked_by=asked_by, why=why)
    try:
        for purchase_id in await ctx.on_system(_unheard_of, tenant):
            await expiry.look(ctx, tenant, purchase_id)
    except ProviderError:
        all_answered = False
    # A page that was found by looking is open, too.
    all_answered &= await expiry.end_all(ctx, tenant, asked_by=asked_by, why=why)
    try:
        order_id = await ctx.on_system(_end_plan, tenant, asked_by=asked_by, why=why)
        if order_id is not None:
            await orders.carry_out(ctx, order_id)
    except (errors.Conflict, errors.ProviderUnavailable):
        all_answered = False  # another change is on its way, or this one is: the worker sends it again
    except Refused:
        pass  # noted where it happened: the provider does not know this plan
    if not all_answered or await ctx.on_system(orders.any_open, tenant):
        raise errors.ProviderUnavailable("The payment provider did not answer all of it: close this tenant again.")
    await settlement.settle(ctx.house, [tenant])
    await ctx.on_system(_park, tenant)


async def _close(db: SystemSession, tenant: TenantId, /) -> None:
    await db.insert_once(BillingClosure(tenant_id=tenant))


async def _unheard_of(db: SystemSession, tenant: TenantId, /) -> list[Id[Purchase]]:
    """Purchases that wait, and of which no page is known: one may have been made and its answer lost."""
    known = sa.select(CheckoutSession.purchase_id).where(CheckoutSession.tenant_id == tenant)
    waits = sa.and_(Purchase.tenant_id == tenant, Purchase.status == PurchaseStatus.PENDING)
    found = sa.select(Purchase.id).where(waits, Purchase.abandoned_at.is_(None), Purchase.id.not_in(known))
    return list(await db.all(found.order_by(Purchase.id).limit(PENDING_MAX)))


async def _end_plan(db: SystemSession, tenant: TenantId, /, *, asked_by: str, why: str) -> Id[ProviderOrder] | None:
    db.act_for(tenant=tenant)
    plan = await plans.living(db, tenant)
    if plan is None or plan.provider_subscription_id == holding.pending_name(plan.id):
        return None
    wanted = Wanted(
        tenant=tenant,
        kind=OrderKind.END_PLAN,
        subject=plan.provider_subscription_id,
        subject_id=plan.id,
        params={},
        asked_by=asked_by,
        why=why,
    )
    return await orders.place(db, wanted)


async def _park(db: SystemSession, tenant: TenantId, /) -> None:
    db.act_for(tenant=tenant)
    await settlement.park_erased(db, tenant)


async def _ask(ctx: Context, order: Order) -> Object:
    provider = ctx.house.service(Payments)
    try:
        return await provider.end_subscription(order.subject, key=order.provider_key)
    except Refused:
        # It has ended already, which is what is wanted.
        return await provider.get("subscriptions", order.subject)


answers(OrderKind.END_PLAN, _ask)(plans.believe_answer)
