"""What the caller's tenant bought and holds, and buying."""

from __future__ import annotations

from typing import Annotated

from actions import billing
from db.tables.central import billing as tables
from db.tables.central.catalog import Package as PackageTable
from db.tables.central.catalog import Tier as TierTable
from execution.access import signed_in
from execution.declare import FIRST_DEFAULT, After, Connection, Doc, First, mutation, one, page, query
from resolvers.payload import row
from schema.billing import (
    ChangePlanInput,
    CheckoutPayload,
    CreateCheckoutInput,
    PlanPayload,
    PlanSubscription,
    Purchase,
    StartPlanInput,
)
from tenancy.context import Context


@query(signed_in, cost=5)
async def purchases(first: First = FIRST_DEFAULT, after: After = None) -> Connection[Purchase]:
    """What the caller's tenant bought or began to buy, newest first."""
    return page(Purchase, first=first, after=after, order=("-created_at",))


@query(signed_in)
async def plan_subscription() -> PlanSubscription | None:
    """The price plan that the caller's tenant holds; null where it holds none."""
    held = tables.PlanSubscription.status != tables.SubscriptionStatus.CANCELED
    return one(PlanSubscription, where=[held], order=("-created_at",))


@mutation(signed_in, cost=50, ability="billing")
async def create_checkout(
    ctx: Context, input: Annotated[CreateCheckoutInput, Doc("What is bought.")]
) -> CheckoutPayload:
    """Begin to buy a package; send the buyer to checkoutUrl."""
    done = await billing.start_checkout(
        ctx,
        input.package_id.of(PackageTable),
        discount_code=input.discount_code,
        success_url=input.success_url,
        cancel_url=input.cancel_url,
        idempotency_key=input.idempotency_key,
    )
    return CheckoutPayload(purchase=row(Purchase, done.purchase_id), checkout_url=done.url)


@mutation(signed_in, cost=50, ability="billing")
async def start_plan(ctx: Context, input: Annotated[StartPlanInput, Doc("Which tier.")]) -> PlanPayload:
    """Begin to hold a tier; send the buyer to checkoutUrl."""
    done = await billing.start_plan(
        ctx,
        input.tier_id.of(TierTable),
        success_url=input.success_url,
        cancel_url=input.cancel_url,
        idempotency_key=input.idempotency_key,
    )
    return _plan(done)


@mutation(signed_in, cost=50, ability="billing")
async def cancel_plan(ctx: Context) -> PlanPayload:
    """at the end of the period"""  # noqa: D403  (the contract's words)
    return _plan(await billing.cancel_plan(ctx))


@mutation(signed_in, cost=50, ability="billing")
async def resume_plan(ctx: Context) -> PlanPayload:
    """Keep a plan that was canceled but has not ended."""
    return _plan(await billing.resume_plan(ctx))


@mutation(signed_in, cost=50, ability="billing")
async def change_plan(ctx: Context, input: Annotated[ChangePlanInput, Doc("Which tier.")]) -> PlanPayload:
    """Hold another tier from now on."""
    done = await billing.change_plan(ctx, input.tier_id.of(TierTable), idempotency_key=input.idempotency_key)
    return _plan(done)


def _plan(done: billing.Plan) -> PlanPayload:
    return PlanPayload(plan_subscription=row(PlanSubscription, done.subscription_id), checkout_url=done.url)
