"""Money given back: refunds, which may wait, arrive, fail or be canceled."""

from __future__ import annotations

from outside.sandbox import intents
from outside.sandbox.book import Book
from outside.sandbox.faults import ApiError
from outside.sandbox.forms import Given, merged
from outside.sandbox.shapes import Body

REASONS = ("duplicate", "fraudulent", "requested_by_customer")
COUNTED = ("pending", "succeeded", "requires_action")


def create(book: Book, given: Given) -> Body:
    """POST /v1/refunds: by charge or intent; all that is left, or `amount`."""
    charge_id, intent_id = given.text("charge"), given.text("payment_intent")
    if (charge_id is None) == (intent_id is None):
        raise given.refused("charge", "One of `charge`, `payment_intent` is required.", code="parameter_missing")
    charge = (
        intents.charge_of(book, intent_id)
        if intent_id is not None
        else book.get("charge", str(charge_id), param="charge")
    )
    reason = given.text("reason", one_of=REASONS)
    return make(book, charge, given.whole("amount", least=1), metadata=given.metadata(), reason=reason)


def make(
    book: Book,
    charge: Body,
    amount: int | None,
    /,
    *,
    pending: bool | None = None,
    metadata: dict[str, str] | None = None,
    reason: str | None = None,
) -> Body:
    """Give back `amount`, or all that is left; what came by a bank debit goes back by one, and waits.

    Raises ApiError.
    """
    left = charge["amount"] - charge["amount_refunded"]
    if charge["status"] != "succeeded":
        raise ApiError("This charge brought no money that could be refunded.", param="charge")
    if left <= 0:
        raise ApiError(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if charge["disputed"] and book.note(charge["id"]).get("withdrawn"):
        raise ApiError(f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed")
    if amount is not None and amount > left:
        raise ApiError(f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})", param="amount")
    waits = charge["payment_method_details"]["type"] != intents.CARD if pending is None else pending
    given_back = left if amount is None else amount
    refund = book.add(
        "refund",
        amount=given_back,
        charge=charge["id"],
        currency=charge["currency"],
        metadata=metadata or {},
        payment_intent=charge["payment_intent"],
        reason=reason,
        status="pending",
        pending_reason="processing" if waits else None,
    )
    if waits:
        book.emit("refund.created", refund)
    else:
        _arrive(book, refund, "refund.created")
    _sum(book, charge)
    book.emit("charge.refunded", charge)
    return refund


def update(book: Book, given: Given, *, id: str) -> Body:
    """POST /v1/refunds/{id}: metadata alone."""
    refund = book.get("refund", id)
    return book.change(refund, metadata=merged(refund["metadata"] or {}, given.metadata()))


def settle(book: Book, refund: Body) -> Body:
    """A waiting refund arrives."""
    _only(refund, "pending")
    _arrive(book, refund, "refund.updated")
    return refund


def fail(book: Book, refund: Body, *, reason: str = "lost_or_stolen_card") -> Body:
    """The bank sends a refund back, a waiting one or one that had arrived: the money is the account's again."""
    _only(refund, "pending", "succeeded")
    book.change(refund, status="failed", failure_reason=reason, pending_reason=None)
    _return(book, refund)
    book.emit("refund.updated", refund)
    book.emit("refund.failed", refund)
    return refund


def cancel(book: Book, refund: Body) -> Body:
    """A waiting refund is called off."""
    _only(refund, "pending", "requires_action")
    book.change(refund, status="canceled", pending_reason=None)
    _return(book, refund)
    book.emit("refund.updated", refund)
    return refund


def call_off(book: Book, given: Given, *, id: str) -> Body:
    """POST /v1/refunds/{id}/cancel."""
    del given
    return cancel(book, book.get("refund", id))


def _only(refund: Body, *statuses: str) -> None:
    if refund["status"] not in statuses:
        raise ApiError(f"The refund is {refund['status']}.", param="refund")


def _arrive(book: Book, refund: Body, type: str) -> None:
    moved = intents.move(book, -refund["amount"], refund["currency"], type="refund", source=refund["id"], fee=0)
    book.change(refund, status="succeeded", balance_transaction=moved["id"], pending_reason=None)
    book.emit(type, refund)


def _return(book: Book, refund: Body) -> None:
    if refund["balance_transaction"] is not None:
        moved = intents.move(book, refund["amount"], refund["currency"], type="refund", source=refund["id"], fee=0)
        book.change(refund, failure_balance_transaction=moved["id"])
    _sum(book, book.get("charge", refund["charge"]))


def _sum(book: Book, charge: Body) -> None:
    refunds = book.each("refund", charge=charge["id"])
    total = sum(each["amount"] for each in refunds if each["status"] in COUNTED)
    book.change(charge, amount_refunded=total, refunded=total == charge["amount"])
