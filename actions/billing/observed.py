"""What we learn by asking rather than by an event: recorded as the event would be, which may never come."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from actions.billing import book, holding, invoices, readings, recording
from actions.billing.book import Book, Paid
from actions.billing.facts import Facts
from base.ids import Id
from db.session import SystemSession
from db.tables.central.billing import PlanSubscription, Purchase
from db.zones import TenantId
from outside.stripe_api import Object


async def record(
    db: SystemSession, tenant: TenantId, purchase_id: Id[Purchase], /, *, kind: str, found: Object
) -> bool:
    """Add an object of the provider's to the purchase it belongs to; `kind` is the beginning of its events' types.

    True where tokens became due. Idempotent, and in any order with the events.
    """
    db.act_for(tenant=tenant)
    books = await book.locked(db, [(tenant, purchase_id)])
    facts = readings.read(f"{kind}.fetched", db.now, found, event_id=f"fetched:{found['id']}")
    if purchase_id not in books or facts is None:
        return False
    return await _added(db, books[purchase_id], facts)


async def follow_plan(
    db: SystemSession,
    tenant: TenantId,
    plan_id: Id[PlanSubscription],
    /,
    *,
    found: Object,
    written: Sequence[Object],
    seen_at: datetime | None,
) -> bool:
    """Believe a subscription that was asked for, and the invoices written for it. True where tokens became due.

    `seen_at` is the plan's as it was before the provider was asked: where it has moved since, what moved it is newer.
    """
    db.act_for(tenant=tenant)
    await holding.name(db, tenant, plan_id, subscription=found["id"])
    plan = await holding.plan_of(db, tenant, name=found["id"], plan_id=plan_id)
    if plan is None:
        return False
    if plan.seen_at == seen_at:
        await holding.believe(db, plan, found, at=db.now)
    is_due = False
    for invoice in written:
        facts = readings.read("invoice.fetched", db.now, invoice, event_id=f"fetched:{invoice['id']}")
        purchase_id = None if facts is None else await invoices.purchase_of(db, plan, facts)
        if facts is None or purchase_id is None:
            continue
        mine = (await book.locked(db, [(tenant, purchase_id)]))[purchase_id]
        if facts.invoice is not None and facts.invoice.reason == invoices.FIRST:
            mine.tokens = await invoices.first_tokens(db, mine.purchase, facts)
        is_due |= await _added(db, mine, facts)
    return is_due


async def _added(db: SystemSession, mine: Book, facts: Facts) -> bool:
    """Add them, and conclude; events that waited for what is known now are processed by the worker's next round."""
    recording.add(db, mine, facts, at=db.now)
    is_due = await book.conclude(db, mine)
    await recording.wake(db, mine.new_refs)
    return is_due


async def nothing_due(db: SystemSession, purchase: Purchase, /) -> None:
    """A purchase that this transaction has made costs nothing: it is paid, and its tokens are due."""
    mine = await book.opened(db, purchase)
    name = f"{readings.NOTHING_DUE}{purchase.id:x}"
    free = Paid(id=db.new_id(), name=name, cents=0, currency=purchase.currency, paid_at=db.now, is_new=True)
    mine.payments[name] = free
    await book.conclude(db, mine)


async def abandoned(db: SystemSession, tenant: TenantId, purchase_id: Id[Purchase], /) -> None:
    """The provider knows no session of this purchase and will never make one. Idempotent."""
    db.act_for(tenant=tenant)
    found = (await book.locked(db, [(tenant, purchase_id)])).get(purchase_id)
    if found is None or found.sessions:
        return
    mine = sa.and_(Purchase.tenant_id == tenant, Purchase.id == purchase_id, Purchase.abandoned_at.is_(None))
    if await db.change(sa.update(Purchase).where(mine).values(abandoned_at=db.now)):
        await book.conclude(db, (await book.locked(db, [(tenant, purchase_id)]))[purchase_id])
