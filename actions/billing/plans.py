"""Holding a price plan: begun by a checkout, changed, canceled with its period, resumed; one living plan a tenant.

The provider renews it and sends an invoice for each period; what an invoice brings is credited by its own purchase.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from actions.billing import deployment, expiry, holding, orders, sessions, wishes
from actions.billing.orders import Order, Wanted, answers
from actions.billing.pricing import zero_invoice_tokens
from actions.billing.wishes import Wish
from base import errors
from base.ids import Id
from db import faults
from db.session import SystemSession
from db.tables.central.billing import PlanSubscription, Purchase, PurchaseKind, SubscriptionStatus
from db.tables.central.catalog import Tier
from db.tables.central.identity import User
from db.tables.central.provider import OrderKind, OrderState, ProviderOrder
from db.zones import TenantId
from outside.stripe_api import Object, Payments, Refused
from tenancy.context import Context

ON_ITS_WAY = "This is on its way to the payment provider, which has not answered yet: look in a minute."
ENDED = "This plan has ended: start a new one."
PAYING = (SubscriptionStatus.ACTIVE, SubscriptionStatus.TRIALING)


@dataclass(frozen=True, slots=True)
class Plan:
    """A held plan, and where the buyer pays; None where no money is needed now."""

    subscription_id: Id[PlanSubscription]
    url: str | None = None


@dataclass(frozen=True, slots=True)
class _Placed:
    """The plan that is changed, and the order to be sent; None where nothing is to be changed any more."""

    plan_id: Id[PlanSubscription]
    order_id: Id[ProviderOrder] | None


async def start_plan(
    ctx: Context, tier_id: Id[Tier], /, *, success_url: str, cancel_url: str, idempotency_key: str | None
) -> Plan:
    """Begin to hold a tier, with its trial where this tenant has had none yet, of any tier.

    1 one central transaction: the plan INCOMPLETE, its first purchase, what the provider is to be asked; 2 the
    provider's page, as `sessions.page` says. A crash after 1 leaves a plan that the same key takes up again, and that
    is given up when its page is over. Idempotent by the caller's key. Raises Invalid, NotFound, Conflict (a plan
    lives, or the key was used with another input), ProviderUnavailable, TenantSuspended.
    """
    wish = wishes.checked(ctx, "tier", tier_id, success_url=success_url, cancel_url=cancel_url, key=idempotency_key)
    if not ctx.house.service(Payments).is_set_up:
        raise errors.ProviderUnavailable("No payment provider is set up here, so no plan can be held.")
    purchase_id, plan_id = await ctx.on_system(_begin, wish, tier_id)
    return Plan(plan_id, await sessions.page(ctx, wish.tenant, purchase_id))


async def change_plan(ctx: Context, tier_id: Id[Tier], /, *, idempotency_key: str | None) -> Plan:
    """Hold another tier from now on: a dearer one is charged for the rest of the period at once, and brings the
    difference of its tokens for that rest; a cheaper one costs less from the next period on.

    1 one central transaction: the order; 2 and 3 as `orders.carry_out` says. Idempotent by the caller's key, and by
    the tier. Raises NotFound, Conflict (no plan that is paid for, another change under way, the payment was refused,
    the plan has ended), ProviderUnavailable (also where this change is on its way already), TenantSuspended.
    """
    viewer = ctx.signed_in
    key = wishes.checked_key(idempotency_key)
    placed = await ctx.on_system(_change, viewer.user_id, viewer.tenant_id, tier_id=tier_id, key=key)
    if await _carry_out(ctx, placed, refused="The payment provider refused this change; the plan is as it was."):
        raise errors.Conflict(ENDED)
    return Plan(placed.plan_id)


async def cancel_plan(ctx: Context, /) -> Plan:
    """End the held plan with its period; one that was never paid for ends at once.

    Steps as `change_plan` has them. Idempotent. Raises Conflict (no plan), ProviderUnavailable (also where this is on
    its way already).
    """
    viewer = ctx.signed_in
    placed = await ctx.on_system(_cancel, viewer.user_id, viewer.tenant_id)
    await _carry_out(ctx, placed, refused="This plan has just been changed: read it again.")
    return Plan(placed.plan_id)


async def resume_plan(ctx: Context, /) -> Plan:
    """Keep a plan that was canceled and has not ended.

    Steps as `change_plan` has them. Raises Conflict (nothing to resume, or the plan has ended), ProviderUnavailable
    (also where this is on its way already), TenantSuspended.
    """
    viewer = ctx.signed_in
    placed = await ctx.on_system(_resume, viewer.user_id, viewer.tenant_id)
    if await _carry_out(ctx, placed, refused=ENDED):
        raise errors.Conflict(ENDED)
    return Plan(placed.plan_id)


async def _carry_out(ctx: Context, placed: _Placed, *, refused: str) -> bool:
    """Send what was placed; whether the answer is a subscription that has ended."""
    if placed.order_id is None:
        return False
    try:
        found = await orders.carry_out(ctx, placed.order_id)
    except Refused:
        raise errors.Conflict(refused) from None
    return found is not None and holding.is_over(found)


# ------------------------------------------------------------------------------------------- beginning


async def _begin(db: SystemSession, wish: Wish, tier_id: Id[Tier], /) -> tuple[Id[Purchase], Id[PlanSubscription]]:
    db.act_for(wish.user_id, tenant=wish.tenant)
    known = await wishes.known(db, wish)
    if known is not None:
        if known.subscription_id is None:
            raise errors.Conflict(ENDED)
        return known.id, known.subscription_id
    await wishes.check_open(db, wish.tenant)
    tier = await _tier(db, tier_id)
    plan = PlanSubscription(
        id=db.new_id(),
        tenant_id=wish.tenant,
        user_id=wish.user_id,
        tier_id=tier.id,
        live_key=wish.tenant,
        provider_subscription_id="",
    )
    plan.provider_subscription_id = holding.pending_name(plan.id)
    if not await db.insert_once(plan):
        if await wishes.known(db, wish) is not None:
            raise faults.RunAgain
        raise errors.Conflict("This tenant holds a plan, or is about to: change it, or cancel it first.", "input")
    purchase = await _first_purchase(db, wish, tier, plan=plan)
    if not await db.insert_once(purchase):
        raise faults.RunAgain
    await sessions.set_end(db, purchase)
    return purchase.id, plan.id


async def _first_purchase(db: SystemSession, wish: Wish, tier: Tier, /, *, plan: PlanSubscription) -> Purchase:
    purchase_id: Id[Purchase] = db.new_id()
    name = await deployment.name(db)
    named = deployment.metadata(name, wish.tenant, purchase_id=purchase_id, plan_id=plan.id)
    # Each invoice has it as it was then: one that is told late brings what its own tier brings.
    named["tier"] = f"{tier.id:x}"
    trial_days = await _trial_days(db, wish.tenant, tier)
    return Purchase(
        id=purchase_id,
        created_at=db.now,
        tenant_id=wish.tenant,
        user_id=wish.user_id,
        kind=PurchaseKind.PLAN,
        tier_id=tier.id,
        subscription_id=plan.id,
        price_cents=tier.monthly_price_cents,
        amount_cents=0 if trial_days else tier.monthly_price_cents,
        currency=tier.currency,
        tokens=zero_invoice_tokens(tier) if trial_days else tier.monthly_tokens,
        idempotency_key=wish.key_or(purchase_id),
        input_hash=wish.digest,
        attempt_kind=sessions.FIRST_ATTEMPT,
        provider_params=sessions.params(
            "subscription",
            price_of(tier),
            back=(wish.success_url, wish.cancel_url),
            named=named,
            now=db.now,
            trial_days=trial_days,
        ),
    )


async def _trial_days(db: SystemSession, tenant: TenantId, tier: Tier, /) -> int:
    """How long this tenant may try the tier: as the tier says, but one trial a tenant."""
    tried = sa.and_(PlanSubscription.tenant_id == tenant, PlanSubscription.trial_ends_at.is_not(None))
    had_one = await db.first(sa.select(PlanSubscription.id).where(tried)) is not None
    return 0 if had_one else tier.trial_days or 0


def price_of(tier: Tier) -> dict[str, Any]:
    """A tier as the provider's monthly price."""
    return {
        "currency": tier.currency.lower(),
        "unit_amount": tier.monthly_price_cents,
        "recurring": {"interval": "month"},
        "product_data": {"name": tier.name},
    }


async def _tier(db: SystemSession, tier_id: Id[Tier], /) -> Tier:
    tier = await db.get(Tier, tier_id)
    if tier is None or tier.archived_at is not None:
        raise errors.NotFound("There is no tier with this id.", "input", "tierId")
    return tier


# ------------------------------------------------------------------------------------------- changing


async def living(db: SystemSession, tenant: TenantId, /) -> PlanSubscription | None:
    """The tenant's living plan, locked."""
    mine = sa.and_(PlanSubscription.tenant_id == tenant, PlanSubscription.live_key == tenant)
    found = sa.select(PlanSubscription).where(mine).with_for_update().execution_options(populate_existing=True)
    return await db.first(found)


async def _held(db: SystemSession, user_id: Id[User], tenant: TenantId, /) -> PlanSubscription:
    db.act_for(user_id, tenant=tenant)
    plan = await living(db, tenant)
    if plan is None:
        raise errors.Conflict("This tenant holds no plan: start one first.")
    return plan


async def _change(
    db: SystemSession, user_id: Id[User], tenant: TenantId, /, *, tier_id: Id[Tier], key: str | None
) -> _Placed:
    plan = await _held(db, user_id, tenant)
    digest = wishes.digest("change", tier_id)
    known = None if key is None else await orders.known(db, tenant, key)
    if known is not None:
        return _again(known, plan, digest)
    await wishes.check_open(db, tenant)
    tier = await _tier(db, tier_id)
    if plan.status not in PAYING:
        raise errors.Conflict(f"This plan is {plan.status.name}: it can be changed once it is paid for.")
    if plan.tier_id == tier.id and await orders.open_of(db, plan.provider_subscription_id) is None:
        return _Placed(plan.id, None)
    old = await db.get_one(Tier, plan.tier_id)
    if old.currency != tier.currency:
        raise errors.Conflict("This tier has another currency than the held plan.", "input", "tierId")
    dearer = tier.monthly_price_cents - await _held_cents(db, plan)
    wanted = _wanted(
        plan,
        OrderKind.CHANGE_PLAN,
        user_id,
        params={
            "item": plan.provider_item_id,
            "tier": f"{tier.id:x}",
            "from_tier": f"{old.id:x}",
            "price": price_of(tier),
            # A downgrade brings nothing and gives nothing back; an upgrade is charged now or not made at all.
            "prorations": "always_invoice" if dearer > 0 else "none",
            "dearer": f"{max(0, dearer)}",
            "names_order": True,
        },
        key=key,
        digest=digest,
    )
    return _Placed(plan.id, await _order(db, wanted))


async def _held_cents(db: SystemSession, plan: PlanSubscription, /) -> int:
    """What the plan costs a month: its tier's price of then, whatever the catalog says now."""
    changed = await orders.last_done(db, OrderKind.CHANGE_PLAN, plan.provider_subscription_id)
    if changed is not None:
        return int(changed.params["price"]["unit_amount"])
    first = sa.select(Purchase.price_cents).where(
        Purchase.tenant_id == plan.tenant_id, Purchase.subscription_id == plan.id
    )
    return await db.first(first.order_by(Purchase.id)) or 0


async def _order(db: SystemSession, wanted: Wanted, /) -> Id[ProviderOrder]:
    """Place it. Raises Conflict where another change is on its way, ProviderUnavailable where the same is."""
    return _sent(await orders.place(db, wanted))


def _sent(order_id: Id[ProviderOrder] | None) -> Id[ProviderOrder]:
    if order_id is None:
        raise errors.ProviderUnavailable(ON_ITS_WAY)
    return order_id


def _again(known: ProviderOrder, plan: PlanSubscription, digest: str) -> _Placed:
    """What a client's key was answered before."""
    if known.input_hash != digest:
        raise errors.Conflict("This key was used with another input.", "input", "idempotencyKey")
    if known.state is OrderState.ASKED:
        raise errors.ProviderUnavailable(ON_ITS_WAY)
    if known.state is OrderState.REFUSED:
        raise errors.Conflict("The payment provider refused this change; the plan is as it was.")
    return _Placed(plan.id, None)


async def _cancel(db: SystemSession, user_id: Id[User], tenant: TenantId, /) -> _Placed:
    plan = await _held(db, user_id, tenant)
    if plan.status is SubscriptionStatus.INCOMPLETE:
        return _Placed(plan.id, await _end_unpaid(db, plan, user_id))
    if plan.cancel_at_period_end and await orders.open_of(db, plan.provider_subscription_id) is None:
        return _Placed(plan.id, None)
    wanted = _wanted(plan, OrderKind.CANCEL_PLAN, user_id, params={"cancel_at_period_end": True})
    return _Placed(plan.id, await _order(db, wanted))


async def _end_unpaid(db: SystemSession, plan: PlanSubscription, user_id: Id[User], /) -> Id[ProviderOrder]:
    """The page of a plan that was never paid for is closed; what the provider then says ends the plan, or begins it."""
    first = sa.select(Purchase.id).where(Purchase.tenant_id == plan.tenant_id, Purchase.subscription_id == plan.id)
    purchase_id = await db.first(first.order_by(Purchase.id))
    pages = await expiry.open_sessions(db, plan.tenant_id, purchase_id=purchase_id)
    if not pages:
        raise errors.Conflict("This plan's payment is on its way, or its page is being made: try again in a minute.")
    return _sent(await expiry.order_end(db, pages[-1], asked_by=f"user {user_id:x}", why="the plan was canceled"))


async def _resume(db: SystemSession, user_id: Id[User], tenant: TenantId, /) -> _Placed:
    plan = await _held(db, user_id, tenant)
    await wishes.check_open(db, tenant)
    if not plan.cancel_at_period_end:
        raise errors.Conflict("This plan is not canceled, so there is nothing to resume.")
    wanted = _wanted(plan, OrderKind.RESUME_PLAN, user_id, params={"cancel_at_period_end": False})
    return _Placed(plan.id, await _order(db, wanted))


def _wanted(
    plan: PlanSubscription,
    kind: OrderKind,
    user_id: Id[User],
    /,
    *,
    params: dict[str, Any],
    key: str | None = None,
    digest: str = "",
) -> Wanted:
    return Wanted(
        tenant=plan.tenant_id,
        kind=kind,
        subject=plan.provider_subscription_id,
        subject_id=plan.id,
        params=params,
        asked_by=f"user {user_id:x}",
        key=key,
        digest=digest,
    )


# ------------------------------------------------------------------------------------------- what is sent


async def _ask_change(ctx: Context, order: Order) -> Object:
    provider, given = ctx.house.service(Payments), order.params
    price = await provider.create("prices", given["price"], key=f"{order.provider_key}:price")
    change = {
        "items": [{"id": given["item"], "price": price["id"]}],
        "proration_behavior": given["prorations"],
        "payment_behavior": "error_if_incomplete",
        # The invoice of the change carries these, and says by them what it was for.
        "metadata": {name: given.get(name, "") for name in ("tier", "from_tier", "dearer")}
        # An order of before it was among them is sent again unchanged.
        | ({"change": f"{order.order_id:x}"} if given.get("names_order") else {}),
    }
    return await _updated(provider, order, change)


async def _ask_switch(ctx: Context, order: Order) -> Object:
    return await _updated(ctx.house.service(Payments), order, order.params)


async def _updated(provider: Payments, order: Order, change: Mapping[str, Any]) -> Object:
    try:
        return await provider.update_subscription(order.subject, change, key=order.provider_key)
    except Refused:
        # Perhaps it has ended, and nobody told us: then that is the answer.
        found = await provider.get("subscriptions", order.subject)
        if not holding.is_over(found):
            raise
        return found


@answers(OrderKind.CHANGE_PLAN, _ask_change)
@answers(OrderKind.CANCEL_PLAN, _ask_switch)
@answers(OrderKind.RESUME_PLAN, _ask_switch)
async def believe_answer(db: SystemSession, order: Order, found: Object) -> None:
    """What was answered is as new as what is fetched: older events do not undo it."""
    db.act_for(tenant=order.tenant)
    plan = await holding.plan_of(db, order.tenant, name=order.subject, plan_id=order.subject_id)
    if plan is not None:
        await holding.believe(db, plan, found, at=db.now)
