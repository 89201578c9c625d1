"""What an invoice of a plan brings: a purchase of its own, whose tokens are the tier's, or the prorated difference.

The first invoice's purchase was made when the plan was begun; every later one's is made when its invoice is paid.
"""

from __future__ import annotations

import sqlalchemy as sa

from actions.billing.facts import Facts, Invoiced, Money
from actions.billing.pricing import prorated_tokens, zero_invoice_tokens
from base.ids import Id
from db import faults
from db.session import SystemSession
from db.tables.central.billing import PlanSubscription, Purchase, PurchaseKind
from db.tables.central.catalog import Tier

FIRST = "subscription_create"
RENEWAL = "subscription_cycle"
CHANGE = "subscription_update"
# What the invoice of a change was for: in its purchase's `input_hash`.
_CHANGE = "change:{:x}"


async def purchase_of(db: SystemSession, plan: PlanSubscription, facts: Facts, /) -> Id[Purchase] | None:
    """The purchase of an invoice, made where it is paid and there is none; None where nothing is paid yet."""
    invoice, money = facts.invoice, facts.money
    if invoice is None or money is None:
        return None
    if invoice.reason == FIRST and facts.mark is not None:
        return facts.mark.purchase_id
    key = f"invoice:{invoice.name}"
    mine = sa.select(Purchase.id).where(
        Purchase.tenant_id == plan.tenant_id, Purchase.user_id == plan.user_id, Purchase.idempotency_key == key
    )
    known = await db.first(mine)
    if known is not None or not money.is_paid:
        return known
    purchase = await _made(db, plan, invoice, money=money)
    purchase.idempotency_key = key
    if not await db.insert_once(purchase):
        raise faults.RunAgain
    return purchase.id


async def first_tokens(db: SystemSession, purchase: Purchase, facts: Facts, /) -> int:
    """What the first invoice brings: what its purchase says, which knows of a trial; less where it took nothing."""
    took_nothing = facts.money is not None and facts.money.is_paid and facts.money.cents == 0
    if not took_nothing or purchase.amount_cents == 0 or purchase.tier_id is None:
        return purchase.tokens
    tier = await db.get(Tier, purchase.tier_id)
    return purchase.tokens if tier is None else min(purchase.tokens, zero_invoice_tokens(tier))


async def _made(db: SystemSession, plan: PlanSubscription, invoice: Invoiced, /, *, money: Money) -> Purchase:
    tier = await db.get_one(Tier, Id(invoice.tier) if invoice.tier else plan.tier_id)
    change = _CHANGE.format(invoice.change) if invoice.reason == CHANGE and invoice.change is not None else ""
    return Purchase(
        id=db.new_id(),
        created_at=db.now,
        tenant_id=plan.tenant_id,
        user_id=plan.user_id,
        kind=PurchaseKind.PLAN,
        tier_id=tier.id,
        subscription_id=plan.id,
        price_cents=money.cents,
        amount_cents=money.cents,
        currency=money.currency,
        input_hash=change,
        tokens=0 if await _was_brought(db, plan, change) else await _tokens(db, tier, invoice, cents=money.cents),
    )


async def _was_brought(db: SystemSession, plan: PlanSubscription, change: str, /) -> bool:
    """Whether this change's invoice was here already: what is changed by hand at the provider carries it as well."""
    mine = sa.and_(Purchase.tenant_id == plan.tenant_id, Purchase.subscription_id == plan.id)
    brought = sa.select(Purchase.id).where(mine, Purchase.input_hash == change)
    return bool(change) and await db.first(brought) is not None


async def _tokens(db: SystemSession, tier: Tier, invoice: Invoiced, /, *, cents: int) -> int:
    if invoice.reason == CHANGE:
        old = await db.get(Tier, Id(invoice.from_tier)) if invoice.from_tier else None
        return 0 if old is None else prorated_tokens(old, tier, paid_cents=cents, dearer=invoice.dearer)
    if invoice.reason != RENEWAL:
        return 0
    return tier.monthly_tokens if cents > 0 else zero_invoice_tokens(tier)
