"""Money that a customer's bank takes back: inquiries, chargebacks, and how they end.

What counts is what is withdrawn now: the sum of the dispute's balance transactions, whatever its status says.
"""

from __future__ import annotations

from typing import Literal

import stripe

from outside.sandbox import intents
from outside.sandbox.book import Book
from outside.sandbox.faults import ApiError
from outside.sandbox.forms import Given
from outside.sandbox.shapes import Body, part

Kind = Literal["chargeback", "inquiry", "prevented"]
FEE = 1_500
ANSWER_SECONDS = 7 * 24 * 3_600
STATUSES: dict[Kind, str] = {
    "chargeback": "needs_response",
    "inquiry": "warning_needs_response",
    "prevented": "prevented",
}
OVER = ("won", "lost", "prevented", "warning_closed")


def begin(book: Book, charge: Body, kind: Kind, amount: int | None, /, *, withdraws: bool) -> Body:
    """The bank asks (an inquiry), or takes the money: at once where it `withdraws`. `prevented` is over at once."""
    if charge["status"] != "succeeded":
        raise ApiError("This charge brought no money that could be disputed.", param="charge")
    if amount is not None and not 0 < amount <= charge["amount"]:
        raise ApiError("A dispute is about some of the charge.", param="amount")
    method = charge["payment_method_details"]["type"]
    card = part(stripe.Dispute.PaymentMethodDetails.Card, brand="visa", case_type="chargeback")
    dispute = book.add(
        "dispute",
        amount=charge["amount"] if amount is None else amount,
        charge=charge["id"],
        currency=charge["currency"],
        evidence_details=part(
            stripe.Dispute.EvidenceDetails, due_by=book.at + ANSWER_SECONDS, submission_method="not_submitted"
        ),
        is_charge_refundable=kind == "inquiry",
        payment_intent=charge["payment_intent"],
        payment_method_details=part(stripe.Dispute.PaymentMethodDetails, type="card", card=card)
        if method == intents.CARD
        else None,
        reason="fraudulent",
        status=STATUSES[kind],
    )
    book.change(charge, disputed=True)
    book.emit("charge.dispute.created", dispute)
    if kind != "inquiry" and withdraws:
        withdraw(book, dispute)
    if kind == "prevented":
        book.emit("charge.dispute.closed", dispute)
    return dispute


def withdraw(book: Book, dispute: Body) -> Body:
    """The money leaves the account."""
    if withdrawn(dispute) > 0:
        raise ApiError("The money of this dispute is withdrawn.", param="dispute")
    _move(book, dispute, -dispute["amount"], fee=FEE)
    book.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute


def reinstate(book: Book, dispute: Body) -> Body:
    """The money comes back."""
    if withdrawn(dispute) <= 0:
        raise ApiError("No money of this dispute is withdrawn.", param="dispute")
    _move(book, dispute, withdrawn(dispute), fee=-FEE)
    book.emit("charge.dispute.funds_reinstated", dispute)
    return dispute


def escalate(book: Book, dispute: Body) -> Body:
    """An inquiry becomes a chargeback, and takes the money."""
    if not dispute["status"].startswith("warning_"):
        raise ApiError("This is no open inquiry.", param="dispute")
    before = dispute["status"]
    book.change(dispute, status="needs_response", is_charge_refundable=False)
    book.emit("charge.dispute.updated", dispute, before={"status": before})
    return withdraw(book, dispute)


def appeal(book: Book, dispute: Body) -> Body:
    """A lost dispute is looked at again; nothing moves until it is closed anew."""
    if dispute["status"] != "lost":
        raise ApiError("Only a lost dispute can be appealed.", param="dispute")
    book.change(dispute, status="appeal_under_review")
    book.emit("charge.dispute.updated", dispute, before={"status": "lost"})
    return dispute


def close(book: Book, dispute: Body, *, won: bool) -> Body:
    """The bank decides. Won brings back what is withdrawn; an inquiry is just closed."""
    if dispute["status"] in OVER:
        raise ApiError("This dispute is closed.", code="dispute_closed", param="dispute")
    inquiry = dispute["status"].startswith("warning_")
    book.change(dispute, status="warning_closed" if inquiry else "won" if won else "lost")
    if won and withdrawn(dispute) > 0:
        reinstate(book, dispute)
    book.emit("charge.dispute.closed", dispute)
    return dispute


def give_in(book: Book, given: Given, *, id: str) -> Body:
    """POST /v1/disputes/{id}/close: the merchant accepts that it is lost."""
    del given
    return close(book, book.get("dispute", id), won=False)


def withdrawn(dispute: Body) -> int:
    """What is away now, in minor units."""
    moved: list[int] = [each["amount"] for each in dispute["balance_transactions"]]
    return -sum(moved)


def _move(book: Book, dispute: Body, amount: int, /, *, fee: int) -> None:
    moved = intents.move(book, amount, dispute["currency"], type="adjustment", source=dispute["id"], fee=fee)
    book.change(dispute, balance_transactions=[*dispute["balance_transactions"], moved])
    others = book.each("dispute", charge=dispute["charge"])
    book.write_note(dispute["charge"], withdrawn=any(withdrawn(each) > 0 for each in others))
