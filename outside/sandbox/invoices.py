"""Invoices of subscriptions: drawn, paid by the card on file or a bank debit, failed, paid later, voided."""

from __future__ import annotations

from typing import Any, Literal

import stripe

from outside.sandbox import intents
from outside.sandbox.book import Book
from outside.sandbox.faults import ApiError
from outside.sandbox.forms import Given
from outside.sandbox.shapes import Body, part

Reason = Literal["subscription_create", "subscription_cycle", "subscription_update"]
RETRY_SECONDS = 3 * 24 * 3_600
INVOICE = stripe.Invoice
LINE = stripe.InvoiceLineItem


def line(book: Book, subscription: Body, *, amount: int, proration: bool, **known: Any) -> Body:
    """One line; `known` says price, description, period (start, end) and quantity."""
    item = subscription["items"]["data"][0]
    price, (start, end) = known["price"], known["period"]
    details = part(
        LINE.Parent.SubscriptionItemDetails,
        proration=proration,
        subscription=subscription["id"],
        subscription_item=item["id"],
    )
    return book.make(
        "line_item",
        amount=amount,
        currency=subscription["currency"],
        description=known["description"],
        discountable=not proration,
        metadata=subscription["metadata"],
        parent=part(LINE.Parent, type="subscription_item_details", subscription_item_details=details),
        period={"start": start, "end": end},
        pricing=part(
            LINE.Pricing,
            type="price_details",
            price_details={"price": price["id"], "product": price["product"]},
            unit_amount_decimal=price["unit_amount_decimal"],
        ),
        quantity=known["quantity"],
        subscription=subscription["id"],
        subtotal=amount,
    )


def draw(book: Book, subscription: Body, lines: list[Body], /, *, reason: Reason, period: tuple[int, int]) -> Body:
    """Make an invoice and finish it. What the customer has as credit (a balance below zero) pays first."""
    customer = book.get("customer", subscription["customer"])
    total, balance = sum(each["amount"] for each in lines), customer["balance"]
    due = max(0, total + balance)
    details = {"metadata": subscription["metadata"], "subscription": subscription["id"]}
    invoice = book.make("invoice")
    for each in lines:
        each["invoice"] = invoice["id"]
    book.change(
        invoice,
        amount_due=due,
        amount_remaining=due,
        auto_advance=True,
        billing_reason=reason,
        collection_method="charge_automatically",
        currency=subscription["currency"],
        customer=customer["id"],
        customer_email=customer["email"],
        issuer=part(INVOICE.Issuer, type="self"),
        lines=_listed(lines, f"/v1/invoices/{invoice['id']}/lines"),
        metadata={},
        parent=part(
            INVOICE.Parent,
            type="subscription_details",
            subscription_details=part(INVOICE.Parent.SubscriptionDetails, **details),
        ),
        period_start=period[0],
        period_end=period[1],
        starting_balance=balance,
        status="draft",
        subtotal=total,
        subtotal_excluding_tax=total,
        total=total,
        total_excluding_tax=total,
    )
    book.emit("invoice.created", invoice)
    if due != total:
        book.change(customer, balance=balance + total - due)
        book.emit("customer.updated", customer, before={"balance": balance})
    _transition(book, invoice, "finalized_at")
    book.change(invoice, status="open", effective_at=book.at, ending_balance=balance + total - due)
    book.emit("invoice.finalized", invoice)
    return invoice


def collect(book: Book, invoice: Body, outcome: intents.Outcome) -> Body:
    """Ask the customer's bank for what is due. Nothing due is paid at once, by no payment."""
    if invoice["amount_due"] == 0:
        return _paid(book, invoice)
    intent = _intent(book, invoice)
    if outcome != "pending":
        book.change(invoice, attempt_count=invoice["attempt_count"] + 1)
    book.change(invoice, attempted=True)
    method = intents.debit_of(invoice["currency"]) if outcome == "pending" else intents.CARD
    intents.attempt(book, intent, outcome, method=method)
    return told(book, invoice, outcome)


def told(book: Book, invoice: Body, outcome: intents.Outcome) -> Body:
    """What came of asking: the invoice is paid, waits, or is tried again in three days."""
    if outcome == "succeeded":
        return _paid(book, invoice)
    if outcome == "failed":
        book.change(invoice, next_payment_attempt=book.at + RETRY_SECONDS)
        book.emit("invoice.payment_failed", invoice)
    return invoice


def void(book: Book, given: Given, *, id: str) -> Body:
    """POST /v1/invoices/{id}/void: nobody is to pay it any more."""
    del given
    return end(book, only_open(book, id))


def end(book: Book, invoice: Body) -> Body:
    """An open invoice becomes void."""
    _transition(book, invoice, "voided_at")
    book.change(invoice, status="void", auto_advance=False, next_payment_attempt=None)
    payment = _payment(book, invoice)
    if payment is not None:
        intents.cancel(book, book.get("payment_intent", payment["payment"]["payment_intent"]), reason="void_invoice")
        book.change(payment, status="canceled")
    book.emit("invoice.voided", invoice)
    return invoice


def payments_of(book: Book, invoice_id: str) -> Body:
    """What an invoice was paid by, as the list that comes when it is expanded."""
    return _listed(list(book.each("invoice_payment", invoice=invoice_id)), f"/v1/invoice_payments?invoice={invoice_id}")


def intent_of(book: Book, invoice_id: str) -> str | None:
    """The intent that an invoice's money comes by; none where nothing is due."""
    return next((each["payment"]["payment_intent"] for each in book.each("invoice_payment", invoice=invoice_id)), None)


def of_intent(book: Book, intent_id: str) -> Body | None:
    """The invoice that an intent asks the money of."""
    named = book.note(intent_id).get("invoice")
    return None if named is None else book.get("invoice", named)


def only_open(book: Book, invoice_id: str) -> Body:
    """The invoice. Raises ApiError where it is not waiting to be paid."""
    invoice = book.get("invoice", invoice_id)
    if invoice["status"] != "open":
        raise ApiError(f"This invoice is {invoice['status']}.", code="invoice_not_editable")
    return invoice


def _paid(book: Book, invoice: Body) -> Body:
    _transition(book, invoice, "paid_at")
    book.change(
        invoice,
        status="paid",
        attempted=True,
        amount_paid=invoice["amount_due"],
        amount_remaining=0,
        auto_advance=False,
        next_payment_attempt=None,
    )
    payment = _payment(book, invoice)
    if payment is not None:
        transitions = payment["status_transitions"] | {"paid_at": book.at}
        book.change(payment, status="paid", amount_paid=invoice["amount_due"], status_transitions=transitions)
    book.emit("invoice.paid", invoice)
    book.emit("invoice.payment_succeeded", invoice)
    if payment is not None:
        book.emit("invoice_payment.paid", payment)
    return invoice


def _intent(book: Book, invoice: Body) -> Body:
    """The intent that asks for what is due, which a later attempt uses again."""
    payment = _payment(book, invoice)
    if payment is not None:
        return book.get("payment_intent", payment["payment"]["payment_intent"])
    money = {"amount": invoice["amount_due"], "currency": invoice["currency"]}
    description = (
        "Subscription creation" if invoice["billing_reason"] == "subscription_create" else "Subscription update"
    )
    intent = intents.ask(book, customer=invoice["customer"], description=description, metadata={}, **money)
    book.write_note(intent["id"], invoice=invoice["id"])
    book.add(
        "invoice_payment",
        amount_requested=money["amount"],
        currency=money["currency"],
        invoice=invoice["id"],
        is_default=True,
        payment=part(stripe.InvoicePayment.Payment, type="payment_intent", payment_intent=intent["id"]),
        status="open",
    )
    return intent


def _payment(book: Book, invoice: Body) -> Body | None:
    return next(book.each("invoice_payment", invoice=invoice["id"]), None)


def _transition(book: Book, invoice: Body, name: str) -> None:
    book.change(invoice, status_transitions=invoice["status_transitions"] | {name: book.at})


def _listed(rows: list[Body], url: str) -> Body:
    return {"object": "list", "data": rows, "has_more": False, "url": url}
