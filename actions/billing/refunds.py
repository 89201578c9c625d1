"""Gives money back: ordered under the purchase's lock, so that no more goes back than came, and asked for once."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from actions.billing import book as books
from actions.billing import deployment, observed, orders
from actions.billing.book import Book, Paid
from actions.billing.orders import Order, Wanted, answers
from base import errors
from base.ids import GlobalId, Id, from_hex
from db.session import SystemSession
from db.tables.central.billing import PaymentRef
from db.tables.central.provider import OrderKind, ProviderOrder
from db.zones import TenantId
from outside.stripe_api import Object, Payments
from tenancy.context import Context

INTENT, CHARGE = "pi_", "ch_"


@dataclass(frozen=True, slots=True)
class Placed:
    """A refund that was ordered, in minor units."""

    order_id: Id[ProviderOrder]
    tenant: TenantId
    cents: int
    currency: str


async def place(db: SystemSession, payment: str, /, *, cents: int | None, who: str, why: str) -> Placed:
    """Order a refund of a payment, of all that is left of it unless `cents` says less.

    `payment` is the provider's id (pi_…, ch_…, in_…) or ours. Raises NotFound, Invalid (more than is left), Conflict
    (not paid, nothing left, or another refund of it on its way).
    """
    ref = await _ref(db, payment)
    db.act_for(tenant=ref.tenant_id)
    book = (await books.locked(db, [(ref.tenant_id, ref.purchase_id)]))[ref.purchase_id]
    paid = book.payment(ref.payment_id)
    left = paid.cents - paid.refunded
    if paid.paid_at is None or left <= 0:
        raise errors.Conflict("Nothing of this payment can be given back: it was not paid, or went back already.")
    amount = left if cents is None else cents
    if not 0 < amount <= left:
        raise errors.Invalid(f"Of this payment 1 to {left} {paid.currency} cents can be given back.", "cents")
    order_id = await orders.place(db, await _wanted(db, book, paid, cents=amount, who=who, why=why))
    if order_id is None:
        raise errors.Conflict("A refund of this payment is on its way already.")
    return Placed(order_id, ref.tenant_id, amount, paid.currency)


async def _ref(db: SystemSession, payment: str, /) -> PaymentRef:
    """One of the names that a payment is known by."""
    found = (
        await db.first(sa.select(PaymentRef).where(PaymentRef.provider_ref == payment)) if payment.isascii() else None
    )
    number = _number(payment)
    if found is None and number is not None:
        found = await db.first(sa.select(PaymentRef).where(PaymentRef.payment_id == number))
    if found is None:
        raise errors.NotFound("There is no paid payment of this name: give pi_…, ch_…, in_… or our id.", "payment")
    return found


def _number(payment: str) -> int | None:
    """Our id: as GraphQL shows it, or in hexadecimal."""
    parts = GlobalId(payment).parts()
    return from_hex(parts[2] if parts is not None and parts[0] == "Payment" else payment)


async def _wanted(db: SystemSession, book: Book, paid: Paid, /, *, cents: int, who: str, why: str) -> Wanted:
    purchase = book.purchase
    names = [each.provider_ref for each in book.refs.values() if each.payment_id == paid.id]
    money = next((name for prefix in (INTENT, CHARGE) for name in names if name.startswith(prefix)), None)
    if money is None:
        raise errors.Conflict("Which charge paid this is not known yet: atrium payments reconcile, then try again.")
    named = deployment.metadata(await deployment.name(db), purchase.tenant_id, purchase_id=purchase.id)
    return Wanted(
        tenant=purchase.tenant_id,
        kind=OrderKind.REFUND,
        subject=paid.name,
        subject_id=purchase.id,
        params={"payment_intent" if money.startswith(INTENT) else "charge": money, "amount": cents, "metadata": named},
        asked_by=who,
        why=why,
    )


async def _ask(ctx: Context, order: Order) -> Object:
    provider = ctx.house.service(Payments)
    mark = {**order.params["metadata"], "order": f"{order.order_id:x}"}
    if order.attempt > 1:
        # The provider keeps a fault of its own under the first key: perhaps the refund was made all the same.
        whose = {name: order.params[name] for name in ("payment_intent", "charge") if name in order.params}
        async for refund in provider.list("refunds", **whose):
            if (refund["metadata"] or {}) == mark:
                return refund
    return await provider.create("refunds", {**order.params, "metadata": mark}, key=order.provider_key)


@answers(OrderKind.REFUND, _ask)
async def _refunded(db: SystemSession, order: Order, found: Object) -> None:
    await observed.record(db, order.tenant, order.subject_id, kind="refund", found=found)
