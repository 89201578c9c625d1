"""What an event says is added to a purchase's book: facts are only ever moved on, so order and repetition are equal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import sqlalchemy as sa

from actions.billing import states
from actions.billing.book import Book, Paid
from actions.billing.facts import Attempted, Disputed, Facts, Money, Paged, Refunded
from db.alike import even
from db.session import SystemSession
from db.tables.central.billing import (
    CheckoutSession,
    Dispute,
    PaymentAttempt,
    PaymentEvent,
    PaymentEventState,
    PaymentRef,
    PurchaseKind,
    Refund,
)


def add(db: SystemSession, book: Book, facts: Facts, /, *, at: datetime) -> bool:
    """Add an event's facts; `at` is its moment at the provider.

    False where it speaks of a payment that is not known to be this purchase's yet: nothing was added then.
    """
    paid = book.by_refs(facts.refs)
    is_plan = book.purchase.kind is PurchaseKind.PLAN
    if paid is None and facts.session is None and (facts.money is None or (is_plan and facts.invoice is None)):
        # A plan's payments are its invoices: an intent alone does not say which one it pays.
        return False
    if facts.session is not None:
        _session(db, book, facts.session)
    if facts.money is not None and not (is_plan and facts.session is not None):
        paid = _money(db, book, facts.money, at=at)
    if paid is not None:
        _known_by(db, book, paid, facts.refs)
        if facts.attempt is not None:
            _attempt(db, book, paid, facts.attempt)
        for refund in facts.refunds:
            _refund(db, book, paid, refund)
        if facts.dispute is not None:
            _dispute(db, book, paid, facts.dispute)
    return True


def lacks_refunds(book: Book, facts: Facts, /) -> bool:
    """Whether a charge says that more was given back than is known by name."""
    paid = book.by_refs(facts.refs)
    if paid is None or facts.refunded_cents is None:
        return False
    # The provider's sum leaves out what failed, which went back to nobody.
    counted = (each for each in book.refunds.values() if each.payment_id == paid.id and each.status in states.COUNTED)
    return facts.refunded_cents > sum(each.amount_cents for each in counted)


async def wake(db: SystemSession, news: Sequence[str], /) -> int:
    """Events that waited for one of these names, which are known now, are due at once; how many."""
    if not news:
        return 0
    await db.flush()
    waiting = (PaymentEvent.waits_for.in_(even(news)), PaymentEvent.state == PaymentEventState.WAITING)
    return await db.change(sa.update(PaymentEvent).where(*waiting).values(next_try_at=db.now))


def _session(db: SystemSession, book: Book, seen: Paged, /) -> None:
    known = book.sessions.get(seen.name)
    if known is None:
        book.sessions[seen.name] = CheckoutSession(
            id=db.new_id(),
            tenant_id=book.purchase.tenant_id,
            purchase_id=book.purchase.id,
            provider_session_id=seen.name,
            expires_at=seen.expires_at,
            status=seen.status,
            payment_status=seen.payment,
            failed_later=seen.failed_later,
        )
        return
    known.status = states.later_session(known.status, seen.status)
    known.failed_later = known.failed_later or seen.failed_later
    known.payment_status = states.later_payment(known.payment_status, seen.payment)


def _money(db: SystemSession, book: Book, seen: Money, /, *, at: datetime) -> Paid:
    paid = book.by_refs(seen.refs) or book.payments.get(seen.name)
    if paid is None:
        paid = Paid(id=db.new_id(), name=seen.name, cents=seen.cents, currency=seen.currency, is_new=True)
        book.payments[seen.name] = paid
    if seen.is_paid:
        if paid.paid_at is None:
            paid.cents, paid.currency, paid.paid_at = seen.cents, seen.currency, at
        paid.paid_at = min(paid.paid_at, at)
    paid.receipt_url = seen.receipt_url or paid.receipt_url
    _known_by(db, book, paid, (seen.name, *seen.refs))
    return paid


def _known_by(db: SystemSession, book: Book, paid: Paid, refs: Iterable[str], /) -> None:
    for ref in refs:
        if ref not in book.refs:
            book.refs[ref] = PaymentRef(
                id=db.new_id(),
                provider_ref=ref,
                tenant_id=book.purchase.tenant_id,
                purchase_id=book.purchase.id,
                payment_id=paid.id,
            )
            book.new_refs.append(ref)


def _attempt(db: SystemSession, book: Book, paid: Paid, seen: Attempted, /) -> None:
    known = book.attempts.get(seen.name)
    if known is None:
        book.attempts[seen.name] = PaymentAttempt(
            id=db.new_id(),
            purchase_id=book.purchase.id,
            payment_id=paid.id,
            provider_attempt_id=seen.name,
            status=seen.status,
            at=seen.at,
            failure=seen.failure,
        )
        return
    known.status = states.later_attempt(known.status, seen.status)
    # The charge's own moment is the earlier one: an intent tells of its failure afterwards.
    known.at = min(known.at, seen.at)
    known.failure = known.failure or seen.failure


def _refund(db: SystemSession, book: Book, paid: Paid, seen: Refunded, /) -> None:
    known = book.refunds.get(seen.name)
    if known is None:
        book.refunds[seen.name] = Refund(
            id=db.new_id(),
            purchase_id=book.purchase.id,
            payment_id=paid.id,
            provider_refund_id=seen.name,
            amount_cents=seen.cents,
            currency=seen.currency,
            status=seen.status,
        )
        return
    known.status = states.later_refund(known.status, seen.status)


def _dispute(db: SystemSession, book: Book, paid: Paid, seen: Disputed, /) -> None:
    known = book.disputes.get(seen.name)
    if known is None:
        known = book.disputes[seen.name] = Dispute(
            id=db.new_id(),
            purchase_id=book.purchase.id,
            payment_id=paid.id,
            provider_dispute_id=seen.name,
            amount_cents=seen.cents,
            currency=seen.currency,
            status=seen.word,
            seen_at=seen.at,
            movements={},
            withdrawn_cents=0,
        )
    newest = states.newer_word(
        (known.seen_at, len(known.movements), known.status), (seen.at, len(seen.movements), seen.word)
    )
    # Movements are only ever added at the provider, so what any event has told stays true.
    known.seen_at, known.status = newest[0], newest[2]
    known.movements = {**known.movements, **seen.movements}
    known.withdrawn_cents = states.withdrawn_cents(known.movements, known.amount_cents)
