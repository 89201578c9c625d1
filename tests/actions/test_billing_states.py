"""What a purchase is, as a function of facts: each arrow is drawn, and every order of seven facts ends the same."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actions.billing import states
from actions.billing.states import Attempt, Payment, Session, Withdrawal
from db.tables.central.billing import (
    AttemptStatus,
    PaymentStatus,
    PurchaseStatus,
    RefundStatus,
    SessionPayment,
    SessionStatus,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
OPEN = Session(SessionStatus.OPEN, SessionPayment.UNPAID)
UNPAID = Session(SessionStatus.COMPLETE, SessionPayment.UNPAID)
BOUNCED = Session(SessionStatus.COMPLETE, SessionPayment.UNPAID, failed_later=True)
PAID = Session(SessionStatus.COMPLETE, SessionPayment.PAID)
EXPIRED = Session(SessionStatus.EXPIRED, SessionPayment.UNPAID)
FAILED = Attempt(NOON, "ch_1", AttemptStatus.FAILED)


def earned(**facts) -> Payment:
    return Payment(cents=1_000, is_paid=True, tokens_earned=100, **facts)


@pytest.mark.parametrize(
    ("sessions", "attempts", "wanted"),
    [
        ([], [], "PENDING"),
        ([OPEN], [], "PENDING"),
        ([OPEN], [FAILED], "PENDING"),
        ([UNPAID], [], "PENDING"),
        ([EXPIRED, OPEN], [FAILED], "PENDING"),
        ([BOUNCED], [], "FAILED"),
        ([EXPIRED], [FAILED], "FAILED"),
        ([EXPIRED], [FAILED, Attempt(NOON + timedelta(1), "ch_0", AttemptStatus.PENDING)], "CANCELED"),
        ([EXPIRED], [], "CANCELED"),
        ([EXPIRED, EXPIRED], [], "CANCELED"),
    ],
)
def test_a_purchase_that_nobody_paid(sessions, attempts, wanted):
    payment = Payment(cents=1_000, attempts=attempts)
    assert states.of_purchase(None, [payment], sessions).name == wanted


def test_a_purchase_that_the_provider_does_not_know_is_canceled_and_one_that_a_person_looks_at_waits():
    assert states.of_purchase(None, [], [], is_abandoned=True) is PurchaseStatus.CANCELED
    assert states.of_purchase(None, [], [EXPIRED], awaits_person=True) is PurchaseStatus.PENDING


@pytest.mark.parametrize(
    ("facts", "purchase", "payment", "clawed"),
    [
        ({}, "PAID", "SUCCEEDED", 0),
        ({"attempts": [FAILED]}, "PAID", "SUCCEEDED", 0),
        ({"refunds": [(333, RefundStatus.PENDING)]}, "PARTIALLY_REFUNDED", "PARTIALLY_REFUNDED", 33),
        ({"refunds": [(333, RefundStatus.SUCCEEDED)] * 3}, "PARTIALLY_REFUNDED", "PARTIALLY_REFUNDED", 99),
        ({"refunds": [(1_000, RefundStatus.SUCCEEDED)]}, "REFUNDED", "REFUNDED", 100),
        ({"refunds": [(1_000, RefundStatus.FAILED), (500, RefundStatus.CANCELED)]}, "PAID", "SUCCEEDED", 0),
        ({"withdrawals": [Withdrawal(0, "warning_needs_response")]}, "PAID", "SUCCEEDED", 0),
        ({"withdrawals": [Withdrawal(1_000, "needs_response")]}, "DISPUTED", "DISPUTED", 100),
        ({"withdrawals": [Withdrawal(1_000, "lost")]}, "REFUNDED", "DISPUTED", 100),
        ({"withdrawals": [Withdrawal(400, "lost")]}, "PARTIALLY_REFUNDED", "DISPUTED", 40),
        ({"withdrawals": [Withdrawal(1_000, "prevented")]}, "REFUNDED", "DISPUTED", 100),
        ({"withdrawals": [Withdrawal(0, "won")]}, "PAID", "SUCCEEDED", 0),
        (
            {"withdrawals": [Withdrawal(0, "won")], "refunds": [(1_000, RefundStatus.SUCCEEDED)]},
            "REFUNDED",
            "REFUNDED",
            100,
        ),
        (
            {"withdrawals": [Withdrawal(700, "under_review")], "refunds": [(500, RefundStatus.SUCCEEDED)]},
            "DISPUTED",
            "DISPUTED",
            100,
        ),
    ],
)
def test_a_purchase_that_was_paid(facts, purchase, payment, clawed):
    paid = earned(**facts)
    assert states.of_purchase(paid, [paid], [PAID]).name == purchase
    assert states.of_payment(paid).name == payment
    assert states.clawed_target(paid) == clawed


def test_a_payment_that_earned_nothing_loses_nothing():
    assert states.clawed_target(Payment(cents=1_000, is_paid=True, refunds=[(1_000, RefundStatus.SUCCEEDED)])) == 0
    assert states.clawed_target(Payment(cents=0, is_paid=True, tokens_earned=100)) == 0
    assert states.of_payment(Payment(cents=0, is_paid=True)) is PaymentStatus.SUCCEEDED


@pytest.mark.parametrize("tokens", [1, 7, 100, 999])
@pytest.mark.parametrize("cents", [1, 3, 1_000, 999_999])
def test_what_is_clawed_back_grows_with_what_is_refunded_and_is_all_of_it_at_the_end(tokens, cents):
    before = 0
    for gone in sorted({0, 1, cents // 3, cents // 2, cents - 1, cents, 2 * cents}):
        facts = Payment(cents=cents, is_paid=True, tokens_earned=tokens, refunds=[(gone, RefundStatus.SUCCEEDED)])
        assert before <= states.clawed_target(facts) <= tokens
        before = states.clawed_target(facts)
    assert before == tokens


# ------------------------------------------------------------------------------------------- order does not count


def _fold(told):
    """The facts that a row ends with, by the rules that rows are moved on with."""
    refunds: dict[str, RefundStatus] = {}
    attempts: dict[str, AttemptStatus] = {}
    movements: dict[str, int] = {}
    session, payment = SessionStatus.OPEN, SessionPayment.UNPAID
    word, is_paid = (NOON, 0, "needs_response"), False
    for kind, value in told:
        if kind == "refund":
            name, status = value
            refunds[name] = states.later_refund(refunds.get(name, status), status)
        elif kind == "session":
            session, payment = states.later_session(session, value[0]), states.later_payment(payment, value[1])
        elif kind == "attempt":
            name, status = value
            attempts[name] = states.later_attempt(attempts.get(name, status), status)
        elif kind == "dispute":
            at, seen, moved = value
            word = states.newer_word(word, (at, len(moved), seen))
            movements = {**movements, **moved}
        else:
            is_paid = True
    return Payment(
        cents=1_000,
        is_paid=is_paid,
        tokens_earned=100 if is_paid else 0,
        attempts=[Attempt(NOON, name, status) for name, status in attempts.items()],
        refunds=[(400, status) for status in refunds.values()],
        withdrawals=[Withdrawal(states.withdrawn_cents(movements, 1_000), word[2])],
    ), Session(session, payment)


STORIES: dict[str, list[tuple[str, Any]]] = {
    "refund failed": [
        ("session", (SessionStatus.COMPLETE, SessionPayment.PAID)),
        ("paid", None),
        ("attempt", ("ch_1", AttemptStatus.SUCCEEDED)),
        ("refund", ("re_1", RefundStatus.PENDING)),
        ("refund", ("re_1", RefundStatus.SUCCEEDED)),
        ("refund", ("re_1", RefundStatus.FAILED)),
        ("session", (SessionStatus.EXPIRED, SessionPayment.UNPAID)),
    ],
    "refunded in parts": [
        ("paid", None),
        ("refund", ("re_1", RefundStatus.PENDING)),
        ("refund", ("re_1", RefundStatus.SUCCEEDED)),
        ("refund", ("re_2", RefundStatus.PENDING)),
        ("refund", ("re_2", RefundStatus.CANCELED)),
        ("attempt", ("ch_0", AttemptStatus.FAILED)),
        ("attempt", ("ch_0", AttemptStatus.PENDING)),
    ],
    "dispute lost, appealed, won": [
        ("paid", None),
        ("dispute", (NOON, "needs_response", {})),
        ("dispute", (NOON, "needs_response", {"t1": -1_000})),
        ("dispute", (NOON + timedelta(1), "lost", {"t1": -1_000})),
        ("dispute", (NOON + timedelta(2), "under_review", {"t1": -1_000})),
        ("dispute", (NOON + timedelta(3), "won", {"t1": -1_000, "t2": 1_000})),
        ("refund", ("re_1", RefundStatus.SUCCEEDED)),
    ],
    "dispute won in one second": [
        ("paid", None),
        ("dispute", (NOON, "needs_response", {"t1": -600})),
        ("dispute", (NOON, "under_review", {"t1": -600})),
        ("dispute", (NOON, "won", {"t1": -600})),
        ("dispute", (NOON, "won", {"t1": -600, "t2": 600})),
        ("session", (SessionStatus.COMPLETE, SessionPayment.UNPAID)),
        ("session", (SessionStatus.COMPLETE, SessionPayment.PAID)),
    ],
}


@pytest.mark.parametrize("story", STORIES)
def test_every_order_of_seven_facts_and_any_repeated_gives_the_same(story):
    told = STORIES[story]
    seen = set()
    for order in itertools.permutations(told):
        for facts in (order, (*order, order[0], order[3])):
            payment, session = _fold(facts)
            earner = payment if payment.is_paid else None
            status = states.of_purchase(earner, [payment], [session])
            seen.add((status, states.of_payment(payment), states.clawed_target(payment)))
    assert len(seen) == 1
