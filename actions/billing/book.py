"""The recorded facts of purchases, under the purchases' row locks: read together, added to, and concluded from.

Whatever comes in is added to what is known; then statuses, tokens earned and what is clawed back are computed anew
(`states.py`), and each difference in tokens becomes a settlement, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from actions.billing import holding, states
from actions.billing.readings import NOTHING_DUE
from base.ids import Id
from db.alike import even, insert_new
from db.session import SystemSession
from db.tables.central.billing import (
    CheckoutSession,
    Dispute,
    ParkReason,
    Payment,
    PaymentAttempt,
    PaymentRef,
    PaymentStatus,
    Purchase,
    PurchaseKind,
    PurchaseStatus,
    Refund,
    Resolution,
    Settlement,
    SettlementKind,
    SettlementState,
)
from db.tables.central.identity import Tenant
from db.tables.central.provider import BillingClosure
from db.zones import TenantId, TenantState

PROVIDER = "stripe"
# Whoever writes a settlement posts it at once: the worker waits so long before it does.
FIRST_TRY_SECONDS = 5
_NOTHING_CAME = (PurchaseStatus.CANCELED, PurchaseStatus.FAILED)


@dataclass(slots=True, kw_only=True)
class Paid:
    """A payment in hand: what is known and computed of it; written when it differs from what was read."""

    id: Id[Payment]
    name: str
    cents: int
    currency: str
    status: PaymentStatus = PaymentStatus.PENDING
    refunded: int = 0
    receipt_url: str | None = None
    paid_at: datetime | None = None
    tokens_earned: int = 0
    clawed_target: int = 0
    is_new: bool = False

    def values(self) -> dict[str, Any]:
        """Its columns that change."""
        return {
            "amount_cents": self.cents,
            "currency": self.currency,
            "status": self.status,
            "refunded_cents": self.refunded,
            "receipt_url": self.receipt_url,
            "paid_at": self.paid_at,
            "tokens_earned": self.tokens_earned,
            "clawed_target": self.clawed_target,
        }


@dataclass(slots=True, kw_only=True)
class Book:
    """One purchase, locked, with all facts about it; `tokens` is what it brings, `new_refs` what it is now known by."""

    purchase: Purchase
    is_closed: bool
    payments: dict[str, Paid] = field(default_factory=dict)
    before: dict[str, dict[str, Any]] = field(default_factory=dict)
    sessions: dict[str, CheckoutSession] = field(default_factory=dict)
    attempts: dict[str, PaymentAttempt] = field(default_factory=dict)
    refunds: dict[str, Refund] = field(default_factory=dict)
    disputes: dict[str, Dispute] = field(default_factory=dict)
    refs: dict[str, PaymentRef] = field(default_factory=dict)
    settlements: list[Settlement] = field(default_factory=list)
    new_refs: list[str] = field(default_factory=list)
    earned_by: Id[Payment] | None = None
    tokens: int = 0

    def __post_init__(self) -> None:
        self.earned_by, self.tokens = self.purchase.earned_by, self.purchase.tokens

    def keep(self, fact: Any) -> None:
        """Add a recorded fact under its name at the provider."""
        match fact:
            case CheckoutSession():
                self.sessions[fact.provider_session_id] = fact
            case PaymentAttempt():
                self.attempts[fact.provider_attempt_id] = fact
            case Refund():
                self.refunds[fact.provider_refund_id] = fact
            case Dispute():
                self.disputes[fact.provider_dispute_id] = fact
            case PaymentRef():
                self.refs[fact.provider_ref] = fact
            case Settlement():
                self.settlements.append(fact)

    def facts(self) -> Iterator[Any]:
        """Every recorded fact, and what is owed for them."""
        for known in (self.refs, self.attempts, self.refunds, self.disputes, self.sessions):
            yield from known.values()
        yield from self.settlements

    def payment(self, payment_id: Id[Any]) -> Paid:
        """The payment with our id."""
        return next(each for each in self.payments.values() if each.id == payment_id)

    def by_refs(self, refs: Iterable[str]) -> Paid | None:
        """The payment that one of these names belongs to."""
        known = next((self.refs[ref] for ref in refs if ref in self.refs), None)
        return None if known is None else self.payment(known.payment_id)


_KEPT: dict[str, Any] = {
    table.__tablename__: table for table in (CheckoutSession, PaymentAttempt, Refund, Dispute, PaymentRef, Settlement)
}
_WHERE_KNOWN: sa.CompoundSelect[str] = sa.union_all(
    *(
        sa.select(sa.literal_column(f"'{name}'").label("name"))
        .where(table.__table__.c.purchase_id.in_(sa.bindparam("ids", expanding=True)))
        .distinct()
        for name, table in _KEPT.items()
    )
)


async def locked(db: SystemSession, wanted: Iterable[tuple[TenantId, Id[Purchase]]], /) -> dict[Id[Purchase], Book]:
    """The books of these purchases that exist, their rows locked in one order, with everything known about them."""
    pairs = set(wanted)
    if not pairs:
        return {}
    tenants = {tenant for tenant, _ in pairs}
    rows = await db.all(
        sa.select(Purchase)
        .where(_of_tenants(Purchase, tenants), Purchase.id.in_(even(sorted(purchase_id for _, purchase_id in pairs))))
        .order_by(Purchase.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    closed = await _closed(db, tenants)
    mine = [row for row in rows if (row.tenant_id, row.id) in pairs]
    books = {row.id: Book(purchase=row, is_closed=row.tenant_id in closed) for row in mine}
    await _fill(db, books)
    return books


async def opened(db: SystemSession, purchase: Purchase, /) -> Book:
    """The book of a purchase that this transaction has made."""
    closed = await _closed(db, [purchase.tenant_id])
    return Book(purchase=purchase, is_closed=purchase.tenant_id in closed)


async def _closed(db: SystemSession, tenants: Iterable[TenantId]) -> set[TenantId]:
    """The tenants that are erased, or about to be: what is paid for them waits for a person."""
    is_closing = sa.and_(BillingClosure.tenant_id == Tenant.id, Tenant.state != TenantState.ERASED)
    wanted = sa.select(Tenant.id).outerjoin(BillingClosure, is_closing).where(Tenant.id.in_(even(sorted(tenants))))
    over = sa.or_(Tenant.state == TenantState.ERASED, BillingClosure.tenant_id.is_not(None))
    return set(await db.all(wanted.where(over)))


async def _fill(db: SystemSession, books: dict[Id[Purchase], Book]) -> None:
    if not books:
        return
    ids, tenants = list(books), {book.purchase.tenant_id for book in books.values()}
    for row in await db.all(_of(Payment, ids).where(_of_tenants(Payment, tenants))):
        paid = _in_hand(row)
        books[row.purchase_id].payments[paid.name] = paid
        books[row.purchase_id].before[paid.name] = paid.values()
    # Of most purchases little is known: which tables know of any of them is asked first, and once.
    for (name,) in await db.read(_WHERE_KNOWN, {"ids": even(ids)}):
        table = _KEPT[name]
        for fact in await db.all(_of(table, ids)):
            books[fact.purchase_id].keep(fact)


def _of_tenants(table: Any, tenants: Collection[TenantId]) -> sa.ColumnElement[bool]:
    # A session that acts for one tenant has to name that one.
    column: sa.ColumnElement[TenantId] = table.tenant_id
    return column == next(iter(tenants)) if len(tenants) == 1 else column.in_(even(sorted(tenants)))


def _of(table: Any, ids: Sequence[Id[Purchase]]) -> sa.Select[Any]:
    # What this transaction waited for its locks to see may be older in its memory than in the database.
    wanted = sa.select(table).where(table.purchase_id.in_(even(ids))).order_by(table.id)
    return wanted.execution_options(populate_existing=True)


def _in_hand(row: Payment) -> Paid:
    return Paid(
        id=row.id,
        name=row.provider_payment_id,
        cents=row.amount_cents,
        currency=row.currency,
        status=row.status,
        refunded=row.refunded_cents,
        receipt_url=row.receipt_url,
        paid_at=row.paid_at,
        tokens_earned=row.tokens_earned,
        clawed_target=row.clawed_target,
    )


# ------------------------------------------------------------------------------------------- what follows


async def conclude(db: SystemSession, book: Book, /) -> bool:
    """Compute what the facts mean now and write it; True where a settlement became due."""
    return bool(await conclude_all(db, [book]))


async def conclude_all(db: SystemSession, books: Sequence[Book], /) -> set[TenantId]:
    """Compute what the facts of each mean now and write it all; the tenants to whom a settlement became due."""
    owed = {book.purchase.tenant_id for book in books if _compute(db, book)}
    await db.flush()  # what was known and has changed, and a purchase that is new
    payments = [row for book in books for row in await _new_payments(db, book)]
    # Payments before what refers to them.
    await insert_new(db, [*payments, *(fact for book in books for fact in book.facts())])
    await _write_purchases(db, books)
    return owed


def _compute(db: SystemSession, book: Book) -> bool:
    due = _earn(db, book)
    for paid in book.payments.values():
        facts = _facts(book, paid)
        paid.status, paid.refunded = states.of_payment(facts), facts.refunded
        target = states.clawed_target(facts)
        if target != paid.clawed_target:
            _settle(db, book, paid, SettlementKind.CLAW_BACK, tokens=paid.clawed_target - target)
            paid.clawed_target = target
            due = True
        for each in book.settlements:
            if each.payment_id == paid.id and each.resolution is Resolution.REFUND:
                each.state = states.of_given_back(facts)
    return due


def _facts(book: Book, paid: Paid) -> states.Payment:
    return states.Payment(
        cents=paid.cents,
        is_paid=paid.paid_at is not None,
        tokens_earned=paid.tokens_earned,
        attempts=[
            states.Attempt(each.at, each.provider_attempt_id, each.status)
            for each in book.attempts.values()
            if each.payment_id == paid.id
        ],
        refunds=[(each.amount_cents, each.status) for each in book.refunds.values() if each.payment_id == paid.id],
        withdrawals=[
            states.Withdrawal(each.withdrawn_cents, each.status)
            for each in book.disputes.values()
            if each.payment_id == paid.id
        ],
    )


def _earn(db: SystemSession, book: Book) -> bool:
    """Credit, or park, each payment whose money is there and that nothing has been written about; once a payment."""
    due = False
    known = {each.payment_id for each in book.settlements if each.kind is SettlementKind.CREDIT}
    for paid in sorted(book.payments.values(), key=lambda each: each.id):
        if paid.paid_at is None or paid.id in known or book.earned_by == paid.id:
            continue
        reason = _reason(book, paid)
        if reason in (ParkReason.NONE, ParkReason.ERASED):
            book.earned_by = paid.id
        if reason is ParkReason.NONE:
            paid.tokens_earned = book.tokens
        is_kept = reason is not ParkReason.NONE and (paid.cents > 0 or reason is not ParkReason.ERASED)
        if book.tokens > 0 or is_kept:
            _settle(db, book, paid, SettlementKind.CREDIT, tokens=book.tokens, reason=reason)
            due |= reason is ParkReason.NONE
    return due


def _reason(book: Book, paid: Paid) -> ParkReason:
    purchase = book.purchase
    if book.earned_by is not None:
        return ParkReason.PAID_TWICE
    # What the buyer has as credit at the provider pays an invoice of a plan, too.
    takes_nothing = purchase.kind is PurchaseKind.PLAN and paid.cents == 0
    if paid.currency != purchase.currency or (paid.cents != purchase.amount_cents and not takes_nothing):
        return ParkReason.AMOUNT
    return ParkReason.ERASED if book.is_closed else ParkReason.NONE


def _settle(
    db: SystemSession,
    book: Book,
    paid: Paid,
    kind: SettlementKind,
    /,
    *,
    tokens: int,
    reason: ParkReason = ParkReason.NONE,
) -> None:
    settlement_id = db.new_id()
    key = f"settlement:{settlement_id:x}"
    if kind is SettlementKind.CREDIT and reason in (ParkReason.NONE, ParkReason.ERASED):
        key = _credit_key(book.purchase, paid)
    row = Settlement(
        id=settlement_id,
        tenant_id=book.purchase.tenant_id,
        user_id=book.purchase.user_id,
        purchase_id=book.purchase.id,
        payment_id=paid.id,
        kind=kind,
        tokens=tokens,
        ledger_key=key,
        state=SettlementState.DUE if reason is ParkReason.NONE else SettlementState.PARKED,
        reason=reason,
        tries=0,
        created_at=db.now,
        next_try_at=db.now + timedelta(seconds=FIRST_TRY_SECONDS),
    )
    book.settlements.append(row)


def _credit_key(purchase: Purchase, paid: Paid) -> str:
    if purchase.kind is PurchaseKind.PLAN and not paid.name.startswith(NOTHING_DUE):
        return f"plan-credit:{paid.name}"
    return f"purchase-credit:{purchase.id:x}"


async def _new_payments(db: SystemSession, book: Book) -> list[Payment]:
    """Change what differs from what was read; the rows of those that are new."""
    purchase, made = book.purchase, []
    for paid in book.payments.values():
        if paid.is_new:
            own = {"tenant_id": purchase.tenant_id, "user_id": purchase.user_id, "purchase_id": purchase.id}
            named = {"id": paid.id, "provider": PROVIDER, "provider_payment_id": paid.name}
            made.append(Payment(**named, **own, **paid.values()))
            paid.is_new = False
        elif paid.values() != book.before.get(paid.name):
            await db.change(
                sa.update(Payment)
                .where(Payment.tenant_id == purchase.tenant_id, Payment.id == paid.id)
                .values(**paid.values())
            )
        book.before[paid.name] = paid.values()
    return made


async def _write_purchases(db: SystemSession, books: Sequence[Book]) -> None:
    """What differs from what was read; those that became the same, but for the payment that paid each, together."""
    changed: dict[tuple[PurchaseStatus, int, bool], list[Book]] = {}
    for book in books:
        purchase, (status, credited) = book.purchase, _status(book)
        now = (status, book.earned_by, book.tokens, credited)
        if now == (purchase.status, purchase.earned_by, purchase.tokens, purchase.tokens_credited):
            continue
        changed.setdefault((status, book.tokens, credited), []).append(book)
        if status in _NOTHING_CAME and purchase.subscription_id is not None:
            await holding.give_up(db, purchase.tenant_id, purchase.subscription_id)
    for (status, tokens, credited), some in changed.items():
        # With their type: PostgreSQL takes the values of a CASE for texts.
        earned = {book.purchase.id: sa.literal(book.earned_by, sa.BigInteger()) for book in some}
        earner = sa.case(earned, value=Purchase.id) if len(some) > 1 else some[0].earned_by
        await db.change(
            sa.update(Purchase)
            .where(_of_tenants(Purchase, {book.purchase.tenant_id for book in some}), Purchase.id.in_(even(earned)))
            .values(status=status, earned_by=earner, tokens=tokens, tokens_credited=credited)
        )


def _status(book: Book) -> tuple[PurchaseStatus, bool]:
    """What the purchase is now, and whether its tokens are in the wallet."""
    purchase = book.purchase
    payments = {paid.id: _facts(book, paid) for paid in book.payments.values()}
    status = states.of_purchase(
        None if book.earned_by is None else payments[book.earned_by],
        list(payments.values()),
        [states.Session(each.status, each.payment_status, each.failed_later) for each in book.sessions.values()],
        is_abandoned=purchase.abandoned_at is not None,
        awaits_person=any(each.state is SettlementState.PARKED for each in book.settlements),
    )
    # Where a payment brings no tokens there is nothing that could still be missing from the wallet.
    return status, purchase.tokens_credited or (book.earned_by is not None and book.tokens == 0)
