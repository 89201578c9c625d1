"""What a purchase and its payments are, as a pure function of the facts recorded about them.

No order of arrival is known here: the same facts give the same states. Amounts are minor units of one currency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from db.tables.central.billing import (
    AttemptStatus,
    PaymentStatus,
    PurchaseStatus,
    RefundStatus,
    SessionPayment,
    SessionStatus,
    SettlementState,
)

COUNTED = (RefundStatus.PENDING, RefundStatus.SUCCEEDED)
# The provider's words for a dispute that is over and went against us; an appeal has words of its own.
LOST = frozenset({"lost", "prevented"})


@dataclass(frozen=True, slots=True)
class Session:
    """The provider's page for a purchase."""

    status: SessionStatus
    payment: SessionPayment
    failed_later: bool = False

    @property
    def is_live(self) -> bool:
        """Whether money may still come through it."""
        if self.status is SessionStatus.COMPLETE:
            return self.payment is SessionPayment.UNPAID and not self.failed_later
        return self.status is SessionStatus.OPEN

    @property
    def is_paid(self) -> bool:
        """Whether it says that the money is there; a plan's money is told of by its invoice alone."""
        return self.status is SessionStatus.COMPLETE and self.payment is not SessionPayment.UNPAID


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to pay; of two of one moment the greater name is the later."""

    at: datetime
    name: str
    status: AttemptStatus


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Money that a dispute has withdrawn now, and the provider's word for the dispute."""

    cents: int
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """One payment's facts; `refunds` is (minor units, status) of each."""

    cents: int
    is_paid: bool = False
    tokens_earned: int = 0
    attempts: Sequence[Attempt] = ()
    refunds: Sequence[tuple[int, RefundStatus]] = ()
    withdrawals: Sequence[Withdrawal] = ()

    @property
    def refunded(self) -> int:
        """What was given back or is on its way back."""
        return sum(cents for cents, status in self.refunds if status in COUNTED)

    @property
    def withdrawn(self) -> int:
        """What disputes have withdrawn now."""
        return sum(each.cents for each in self.withdrawals)


def of_payment(payment: Payment) -> PaymentStatus:
    """DISPUTED while money is withdrawn, whatever word the dispute has."""
    if not payment.is_paid:
        return PaymentStatus.FAILED if _last_failed(payment.attempts) else PaymentStatus.PENDING
    if payment.withdrawn > 0:
        return PaymentStatus.DISPUTED
    if payment.refunded <= 0:
        return PaymentStatus.SUCCEEDED
    return PaymentStatus.REFUNDED if payment.refunded >= payment.cents else PaymentStatus.PARTIALLY_REFUNDED


def of_purchase(
    earner: Payment | None,
    payments: Sequence[Payment],
    sessions: Sequence[Session],
    /,
    *,
    is_abandoned: bool = False,
    awaits_person: bool = False,
) -> PurchaseStatus:
    """The purchase's status; `earner` is the payment that paid it, `payments` are all of them.

    `awaits_person`: money came that a person has yet to decide about.
    """
    if earner is not None:
        return _paid(earner)
    money_is_to_come = any(session.is_paid for session in sessions) and not any(each.is_paid for each in payments)
    if awaits_person or money_is_to_come or any(session.is_live for session in sessions):
        return PurchaseStatus.PENDING
    attempts = [attempt for payment in payments for attempt in payment.attempts]
    if _last_failed(attempts) or any(session.failed_later for session in sessions):
        return PurchaseStatus.FAILED
    if sessions or is_abandoned:
        return PurchaseStatus.CANCELED
    return PurchaseStatus.PENDING


def of_given_back(payment: Payment) -> SettlementState:
    """What a person chose to give the money of is over once all of it is gone, and open again where it comes back."""
    is_gone = payment.refunded + payment.withdrawn >= payment.cents
    return SettlementState.CLOSED if is_gone else SettlementState.PARKED


def clawed_target(payment: Payment) -> int:
    """How many of the tokens that it earned are taken back now: exact at 100 %, never more than were earned."""
    if payment.tokens_earned <= 0 or payment.cents <= 0:
        return 0
    gone = max(0, payment.refunded + payment.withdrawn)
    return min(payment.tokens_earned, payment.tokens_earned * gone // payment.cents)


def _paid(earner: Payment) -> PurchaseStatus:
    if any(each.cents > 0 and each.word not in LOST for each in earner.withdrawals):
        return PurchaseStatus.DISPUTED
    gone = earner.refunded + earner.withdrawn
    if gone <= 0:
        return PurchaseStatus.PAID
    return PurchaseStatus.REFUNDED if gone >= earner.cents else PurchaseStatus.PARTIALLY_REFUNDED


def _last_failed(attempts: Sequence[Attempt]) -> bool:
    last = max(attempts, key=lambda each: (each.at, each.name), default=None)
    return last is not None and last.status is AttemptStatus.FAILED


# ------------------------------------------------------------------------------------------- how facts move on

_REFUND_RANKS = {
    RefundStatus.PENDING: 0,
    RefundStatus.SUCCEEDED: 1,
    RefundStatus.FAILED: 2,
    RefundStatus.CANCELED: 2,
}
_SESSION_RANKS = {SessionStatus.OPEN: 0, SessionStatus.EXPIRED: 1, SessionStatus.COMPLETE: 2}
_ATTEMPT_RANKS = {AttemptStatus.PENDING: 0, AttemptStatus.FAILED: 1, AttemptStatus.SUCCEEDED: 2}
# Of two words of one second the one nearer to the end is the newer.
_WORD_RANKS = {"needs_response": 1, "under_review": 2, "won": 3, "lost": 3, "prevented": 3}


def later_refund(known: RefundStatus, seen: RefundStatus) -> RefundStatus:
    """Refunds go from pending to succeeded to failed, and never back: the further one is the newer one."""
    return max(known, seen, key=_REFUND_RANKS.__getitem__)


def later_session(known: SessionStatus, seen: SessionStatus) -> SessionStatus:
    """An open session becomes complete or expired; where both were told, money was there."""
    return max(known, seen, key=_SESSION_RANKS.__getitem__)


def later_payment(known: SessionPayment, seen: SessionPayment) -> SessionPayment:
    """Money that was there is not unseen by an older event."""
    return seen if known is SessionPayment.UNPAID else known


def later_attempt(known: AttemptStatus, seen: AttemptStatus) -> AttemptStatus:
    """An attempt ends once."""
    return max(known, seen, key=_ATTEMPT_RANKS.__getitem__)


def newer_word(known: tuple[datetime, int, str], seen: tuple[datetime, int, str]) -> tuple[datetime, int, str]:
    """The newer of two views of a dispute: (the provider's moment, how many movements it has, its word)."""
    return max(known, seen, key=lambda view: (view[0], view[1], _WORD_RANKS.get(view[2], 0), view[2]))


def withdrawn_cents(movements: dict[str, int], amount_cents: int) -> int:
    """What a dispute has withdrawn now, by its balance transactions; at most what it is about."""
    return min(amount_cents, max(0, -sum(movements.values())))
