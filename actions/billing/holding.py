"""A held plan follows the provider's subscription: the newest object is believed, and what ties is fetched again.

The provider's moments are whole seconds and all events of one call share one, so only a later one is newer.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from actions.billing import marks
from actions.billing.facts import Thing
from base.ids import Id
from db.session import SystemSession
from db.tables.central.billing import PlanSubscription, SubscriptionStatus
from db.tables.central.catalog import Tier
from db.zones import TenantId

# The provider's words; one that is new to us leaves the status as it was.
STATUSES = {
    "incomplete": SubscriptionStatus.INCOMPLETE,
    "incomplete_expired": SubscriptionStatus.CANCELED,
    "trialing": SubscriptionStatus.TRIALING,
    "active": SubscriptionStatus.ACTIVE,
    "past_due": SubscriptionStatus.PAST_DUE,
    "canceled": SubscriptionStatus.CANCELED,
    "unpaid": SubscriptionStatus.UNPAID,
    "paused": SubscriptionStatus.PAUSED,
}


async def plan_of(
    db: SystemSession, tenant: TenantId, /, *, name: str, plan_id: Id[PlanSubscription] | None
) -> PlanSubscription | None:
    """Our row of a subscription, locked: by our id where it is told, else by the provider's name of it."""
    mine = PlanSubscription.id == plan_id if plan_id else PlanSubscription.provider_subscription_id == name
    return await db.first(
        sa.select(PlanSubscription)
        .where(PlanSubscription.tenant_id == tenant, mine)
        .with_for_update()
        .execution_options(populate_existing=True)
    )


def is_over(thing: Thing, /) -> bool:
    """Whether the provider's subscription has ended for good."""
    return STATUSES.get(str(thing.get("status"))) is SubscriptionStatus.CANCELED


def is_newer(plan: PlanSubscription, at: datetime, /) -> bool:
    """Whether an object of this moment is to be believed as it is; another has to be fetched."""
    return plan.seen_at is None or at > plan.seen_at


async def believe(db: SystemSession, plan: PlanSubscription, thing: Thing, /, *, at: datetime) -> None:
    """Write down what the provider's subscription is; `at` is its moment, or when it was fetched. An end stays."""
    values: dict[str, Any] = {
        "status": STATUSES.get(str(thing.get("status")), plan.status),
        "provider_subscription_id": thing["id"],
        "provider_customer_id": _name(thing.get("customer")) or plan.provider_customer_id,
        "cancel_at_period_end": bool(thing.get("cancel_at_period_end")) or thing.get("cancel_at") is not None,
        # It stays when the trial is over: a tenant has one trial.
        "trial_ends_at": _moment(thing.get("trial_end")) or plan.trial_ends_at,
        # It moves with each that is believed: whoever fetched one before sees by it that theirs is an older one.
        "seen_at": at if plan.seen_at is None else max(at, plan.seen_at + timedelta(microseconds=1)),
    }
    item = _item(thing)
    # The period is on the item since 2025, on the subscription before.
    for column in ("current_period_start", "current_period_end"):
        values[column] = _moment(item.get(column)) or _moment(thing.get(column)) or getattr(plan, column)
    values["provider_item_id"] = _name(item.get("id")) or plan.provider_item_id
    tier_id = marks.number_of(thing.get("metadata"), "tier")
    if tier_id is not None and await db.get(Tier, Id(tier_id)) is not None:
        values["tier_id"] = tier_id
    if plan.status is SubscriptionStatus.CANCELED:
        values["status"] = SubscriptionStatus.CANCELED
    if values["status"] is SubscriptionStatus.CANCELED:
        values["live_key"] = f"#{plan.id:x}"
    await db.change(
        sa.update(PlanSubscription)
        .where(PlanSubscription.tenant_id == plan.tenant_id, PlanSubscription.id == plan.id)
        .values(**values)
    )


def pending_name(plan_id: Id[PlanSubscription]) -> str:
    """What stands for the provider's name of a plan until its first session has told it."""
    return f"pending:{plan_id:x}"


def _never_begun(tenant: TenantId, plan_id: Id[PlanSubscription]) -> sa.ColumnElement[bool]:
    return sa.and_(
        PlanSubscription.tenant_id == tenant,
        PlanSubscription.id == plan_id,
        PlanSubscription.provider_subscription_id == pending_name(plan_id),
    )


async def name(db: SystemSession, tenant: TenantId, plan_id: Id[PlanSubscription], /, *, subscription: str) -> None:
    """A session has told what the provider calls the plan that it began."""
    await db.change(
        sa.update(PlanSubscription).where(_never_begun(tenant, plan_id)).values(provider_subscription_id=subscription)
    )


async def give_up(db: SystemSession, tenant: TenantId, plan_id: Id[PlanSubscription], /) -> None:
    """A plan's first purchase came to nothing: one that was never begun makes room for another. Idempotent."""
    await db.change(
        sa.update(PlanSubscription)
        .where(_never_begun(tenant, plan_id))
        .values(status=SubscriptionStatus.CANCELED, live_key=f"#{plan_id:x}")
    )


def _item(thing: Thing) -> Mapping[str, Any]:
    items = thing.get("items")
    listed = items.get("data") if isinstance(items, Mapping) else None
    return listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], Mapping) else {}


def _name(value: object) -> str | None:
    if isinstance(value, Mapping):
        value = value.get("id")
    return value if isinstance(value, str) and value.isascii() and 0 < len(value) <= 255 else None


def _moment(value: object) -> datetime | None:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int) and 0 <= value < 2**33 else None
