"""Money that is asked for and comes, or does not: payment intents, their charges and how people pay."""

from __future__ import annotations

from typing import Any, Literal

import stripe

from outside.sandbox.book import Book, new_id
from outside.sandbox.faults import ApiError
from outside.sandbox.shapes import Body, part

Outcome = Literal["succeeded", "pending", "failed"]
FEE_PERCENT = 3
CARD = "card"
DECLINED = "Your card was declined."
BOUNCED = "The customer's bank account could not be debited: there was not enough money on it."
DETAILS = stripe.Charge.PaymentMethodDetails
FAILURE = stripe.PaymentIntent.LastPaymentError


def debit_of(currency: str) -> str:
    """The kind of bank debit that a currency has."""
    return "sepa_debit" if currency == "eur" else "us_bank_account"


def ask(book: Book, *, amount: int, currency: str, **known: Any) -> Body:
    """A payment intent that waits for somebody who pays. `amount` in minor units of the currency."""
    intent = book.make("payment_intent")
    intent = book.change(
        intent,
        amount=amount,
        currency=currency,
        status="requires_payment_method",
        capture_method="automatic_async",
        confirmation_method="automatic",
        client_secret=f"{intent['id']}_secret_{new_id('event')[4:]}",
        payment_method_types=[CARD, debit_of(currency)],
        **known,
    )
    book.emit("payment_intent.created", intent)
    return intent


def attempt(book: Book, intent: Body, outcome: Outcome, /, *, method: str = CARD) -> Body:
    """Somebody pays, begins to pay (a bank debit), or fails to; the charge."""
    if intent["status"] not in ("requires_payment_method", "requires_confirmation"):
        raise ApiError(f"The intent's status is {intent['status']}.", code="payment_intent_unexpected_state")
    means = _means(book, method, intent["customer"])
    charge = book.add(
        "charge",
        amount=intent["amount"],
        currency=intent["currency"],
        customer=intent["customer"],
        description=intent["description"],
        metadata=intent["metadata"],
        payment_intent=intent["id"],
        payment_method=means["id"],
        payment_method_details=_details(method),
        status="pending",
    )
    book.change(intent, latest_charge=charge["id"], payment_method=means["id"], status="processing")
    if outcome == "pending":
        book.emit("charge.pending", charge)
        book.emit("payment_intent.processing", intent)
    elif outcome == "succeeded":
        succeed(book, intent)
    else:
        fail(book, intent, reason=DECLINED)
    return book.get("charge", charge["id"])


def succeed(book: Book, intent: Body) -> None:
    """The money of the intent's last charge arrives."""
    charge = _open_charge(book, intent)
    moved = move(book, charge["amount"], charge["currency"], type="charge", source=charge["id"])
    book.change(
        charge,
        status="succeeded",
        paid=True,
        captured=True,
        amount_captured=charge["amount"],
        balance_transaction=moved["id"],
        outcome=part(
            stripe.Charge.Outcome,
            type="authorized",
            network_status="approved_by_network",
            risk_level="normal",
            seller_message="Payment complete.",
        ),
    )
    book.change(intent, status="succeeded", amount_received=intent["amount"], last_payment_error=None)
    book.emit("charge.succeeded", charge)
    book.emit("payment_intent.succeeded", intent)


def fail(book: Book, intent: Body, *, reason: str) -> None:
    """The intent's last charge brings nothing; it may be tried again."""
    charge = _open_charge(book, intent)
    book.change(
        charge,
        status="failed",
        failure_code="card_declined" if reason == DECLINED else "insufficient_funds",
        failure_message=reason,
        outcome=part(
            stripe.Charge.Outcome,
            type="issuer_declined",
            network_status="declined_by_network",
            risk_level="normal",
            reason="generic_decline",
            seller_message="The bank did not return any further details with this decline.",
        ),
    )
    error = part(FAILURE, type="card_error", code="card_declined", decline_code="generic_decline", message=reason)
    error["charge"] = charge["id"]
    book.change(intent, status="requires_payment_method", payment_method=None, last_payment_error=error)
    book.emit("charge.failed", charge)
    book.emit("payment_intent.payment_failed", intent)


def charge_of(book: Book, intent_id: str) -> Body:
    """The charge that brought an intent's money. Raises ApiError."""
    intent = book.get("payment_intent", intent_id, param="payment_intent")
    if intent["latest_charge"] is None:
        raise ApiError(
            f"This PaymentIntent ({intent_id}) does not have a successful charge to refund.",
            code="payment_intent_unexpected_state",
            param="payment_intent",
        )
    return book.get("charge", intent["latest_charge"])


def cancel(book: Book, intent: Body, *, reason: str) -> None:
    """Nobody will pay this any more."""
    book.change(intent, status="canceled", canceled_at=book.at, cancellation_reason=reason)
    book.emit("payment_intent.canceled", intent)


def move(book: Book, amount: int, currency: str, /, *, type: str, source: str, fee: int | None = None) -> Body:
    """Money comes to the account's balance, or leaves it (below zero)."""
    fee = amount * FEE_PERCENT // 100 if fee is None else fee
    return book.add(
        "balance_transaction",
        amount=amount,
        currency=currency,
        available_on=book.at,
        balance_type="payments",
        fee=fee,
        net=amount - fee,
        reporting_category="charge" if type == "charge" else "refund" if type == "refund" else "dispute",
        source=source,
        status="available",
        type=type,
    )


def _open_charge(book: Book, intent: Body) -> Body:
    charge = book.get("charge", str(intent["latest_charge"]))
    if intent["status"] != "processing" or charge["status"] != "pending":
        raise ApiError("No money of this intent is on its way.", code="payment_intent_unexpected_state")
    return charge


def _means(book: Book, method: str, customer: str | None) -> Body:
    """The card or account that somebody pays with."""
    kinds: dict[str, Any] = {
        CARD: part(
            stripe.PaymentMethod.Card,
            brand="visa",
            country="US",
            exp_month=12,
            exp_year=2034,
            funding="credit",
            last4="4242",
        ),
        "sepa_debit": part(stripe.PaymentMethod.SepaDebit, country="DE", last4="3000"),
        "us_bank_account": part(stripe.PaymentMethod.UsBankAccount, bank_name="TEST BANK", last4="6789"),
    }
    return book.add("payment_method", type=method, customer=customer, **{method: kinds[method]})


def _details(method: str) -> Body:
    """How a charge was paid; what other ways would have said is left out, as the provider does."""
    kinds: dict[str, Any] = {
        CARD: part(
            DETAILS.Card, brand="visa", country="US", exp_month=12, exp_year=2034, funding="credit", last4="4242"
        ),
        "sepa_debit": part(DETAILS.SepaDebit, country="DE", last4="3000"),
        "us_bank_account": part(DETAILS.UsBankAccount, bank_name="TEST BANK", last4="6789"),
    }
    return {"type": method, method: kinds[method]}
