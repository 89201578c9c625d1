"""Purchases, payments and held price plans, as they are read, and the inputs of buying."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from typing import Annotated

from base.ids import GlobalId
from db.tables.central import billing as tables
from execution.access import signed_in
from execution.declare import Doc, children, input, node, payload, to_one  # noqa: A004  (GraphQL's word)
from schema.catalog import Cents, Currency, Package, Tier
from schema.payloads import UserError, UserErrors

ReturnUrl = Annotated[str, Doc("Where the provider sends the buyer back to, e.g. https://app.example.com/done.")]
IdempotencyKey = Annotated[str | None, Doc("same key, same purchase: safe to retry; at most 200 characters")]


@node(tables.Payment, access=signed_in)
class Payment:
    """Money that moved for a purchase."""

    status: tables.PaymentStatus
    amount_cents: Cents
    refunded_cents: Annotated[int, Doc("What was given back of it, in minor units of the currency.")]
    currency: Currency
    provider: Annotated[str, Doc("E.g. stripe.")]
    receipt_url: str | None
    created_at: datetime


@node(tables.Purchase, access=signed_in)
class Purchase:
    """What the tenant bought, or began to buy."""

    kind: tables.PurchaseKind
    status: tables.PurchaseStatus
    package: Annotated[Package | None, to_one("package_id")]
    amount_cents: Cents
    currency: Currency
    tokens: Annotated[int, Doc("Tokens it brings.")]
    tokens_credited: Annotated[bool, Doc("Whether they were put into the wallet; a refund leaves it so.")]
    payments: Annotated[list[Payment], children("purchase_id"), Doc("Oldest first, at most 50.")]
    created_at: datetime


@node(tables.PlanSubscription, access=signed_in)
class PlanSubscription:
    """A tier that the tenant holds."""

    status: tables.SubscriptionStatus
    tier: Annotated[Tier, to_one("tier_id")]
    current_period_start: datetime | None
    current_period_end: datetime | None
    trial_ends_at: datetime | None
    cancel_at_period_end: bool


@input
class CreateCheckoutInput:
    """A package to be bought."""

    package_id: Annotated[GlobalId, Doc("The package.")]
    discount_code: Annotated[str | None, Doc("A code that lowers the price, e.g. SPRING.")] = None
    success_url: ReturnUrl
    cancel_url: ReturnUrl
    idempotency_key: IdempotencyKey = None


@payload
class CheckoutPayload:
    """Send the buyer to checkoutUrl."""

    purchase: Purchase | None = None
    checkout_url: str | None = None
    user_errors: UserErrors = field(default_factory=list[UserError])


@input
class StartPlanInput:
    """A tier to be held."""

    tier_id: Annotated[GlobalId, Doc("The tier.")]
    success_url: ReturnUrl
    cancel_url: ReturnUrl
    idempotency_key: IdempotencyKey = None


@input
class ChangePlanInput:
    """Another tier instead of the one that is held."""

    tier_id: Annotated[GlobalId, Doc("The new tier.")]
    idempotency_key: IdempotencyKey = None


@payload
class PlanPayload:
    """The held plan; where money is needed, send the buyer to checkoutUrl."""

    plan_subscription: PlanSubscription | None = None
    checkout_url: str | None = None
    user_errors: UserErrors = field(default_factory=list[UserError])
