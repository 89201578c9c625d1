"""What a person decides about a parked settlement: credit it, give the money back, or let it be; with who and why."""

from __future__ import annotations

import sqlalchemy as sa

from actions.billing import book as books
from actions.billing import orders
from base import errors
from base.ids import Id
from db.session import SystemSession
from db.tables.central.billing import ParkReason, Resolution, Settlement, SettlementState
from db.zones import TenantId

WORDS_MAX = 500


async def resolve(
    db: SystemSession, settlement_id: Id[Settlement], how: Resolution, /, *, who: str, why: str
) -> TenantId:
    """Let a parked settlement be due, or close it; the tenant whose wallet may then be owed something.

    With REFUND it stays PARKED until all of its payment's money is on its way back, which whoever calls asks the
    provider for; where the provider says no, or the refund fails later, it waits for a person again. Raises NotFound,
    Conflict (not parked, its refund is on its way, or the tenant is gone and cannot be credited).
    """
    found = await db.first(sa.select(Settlement).where(Settlement.id == settlement_id))
    if found is None:
        raise errors.NotFound("There is no settlement with this id.", "settlement")
    book = (await books.locked(db, [(found.tenant_id, found.purchase_id)]))[found.purchase_id]
    row = next(each for each in book.settlements if each.id == settlement_id)
    if row.state is not SettlementState.PARKED:
        raise errors.Conflict(f"This settlement is {row.state.name}: only a PARKED one is resolved.", "settlement")
    paid = book.payment(row.payment_id)
    if how is not Resolution.REFUND and await orders.open_of(db, paid.name) is not None:
        raise errors.Conflict("A refund of this payment is on its way: decide when it is answered.", "settlement")
    if how is Resolution.CREDIT:
        if row.reason is ParkReason.ERASED or book.is_closed:
            raise errors.Conflict("This tenant is gone: give the money back, or close it.", "settlement")
        paid.tokens_earned = row.tokens
        book.earned_by = book.earned_by or paid.id
        row.state, row.next_try_at = SettlementState.DUE, db.now
    elif how is Resolution.CLOSE:
        row.state = SettlementState.CLOSED
    row.resolution, row.resolved_at = how, db.now
    row.resolved_by, row.resolved_why = who[:200], why[:WORDS_MAX]
    await books.conclude(db, book)
    return row.tenant_id
