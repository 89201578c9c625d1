"""Subscriptions of one recurring price: begun by a checkout, changed and ended by a client, renewed by time."""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import stripe

from outside.sandbox import intents, invoices, prices
from outside.sandbox.book import Book
from outside.sandbox.faults import ApiError, missing
from outside.sandbox.forms import Given, merged
from outside.sandbox.shapes import Body, part

DAY_SECONDS = 24 * 3_600
OVER = ("canceled", "incomplete_expired")
SUBSCRIPTION = stripe.Subscription
PRORATIONS = ("always_invoice", "create_prorations", "none")


def begin(book: Book, session: Body, *, lines: list[Body], delayed: bool) -> str:
    """Somebody completes a checkout of a subscription; the session's `payment_status`."""
    about = book.note(session["id"])["about"]
    recurring = next(each for each in lines if each["price"]["type"] == "recurring")
    trial_end = about.get("trial_end") or _trial_end(book, about.get("trial_period_days"))
    end = trial_end or after(book.at, recurring["price"]["recurring"])
    subscription = _make(book, session, recurring, period=(book.at, end), trial_end=trial_end)
    drawn = [
        invoices.line(
            book,
            subscription,
            amount=0 if trial_end and each is recurring else each["amount_total"],
            proration=False,
            price=each["price"],
            description=each["description"],
            period=(book.at, end),
            quantity=each["quantity"],
        )
        for each in lines
    ]
    invoice = invoices.draw(book, subscription, drawn, reason="subscription_create", period=(book.at, book.at))
    book.change(subscription, latest_invoice=invoice["id"])
    book.change(session, subscription=subscription["id"], invoice=invoice["id"])
    invoices.collect(book, invoice, "pending" if delayed else "succeeded")
    book.emit("customer.subscription.created", subscription)
    if invoice["amount_due"] == 0:
        return "no_payment_required"
    return "unpaid" if delayed else "paid"


def update(book: Book, given: Given, *, id: str) -> Body:
    """POST /v1/subscriptions/{id}: another price or quantity, the end at the period's end or no end, metadata."""
    subscription = book.get("subscription", id)
    if subscription["status"] in OVER:
        raise ApiError("A canceled subscription can only update its cancellation_details and metadata.")
    before = dict(subscription)
    behaviour = given.text("proration_behavior", one_of=PRORATIONS) or "create_prorations"
    # Cards on file take every charge here, so these differ in nothing.
    given.text("payment_behavior", one_of=("allow_incomplete", "error_if_incomplete", "pending_if_incomplete"))
    ends = given.flag("cancel_at_period_end")
    if ends is not None:
        _end_later(book, subscription, ends=ends)
    book.change(
        subscription,
        metadata=merged(subscription["metadata"], given.metadata()),
        description=given.text("description") or subscription["description"],
    )
    items = given.each("items")
    if len(items) > 1:
        raise given.refused("items", "The sandbox's subscriptions have one item.")
    for item in items:
        _change_item(book, subscription, item, behaviour=behaviour)
    _tell(book, subscription, before)
    return subscription


def cancel(book: Book, given: Given, *, id: str) -> Body:
    """DELETE /v1/subscriptions/{id}: it ends at once, nothing is paid back."""
    given.flag("invoice_now"), given.flag("prorate")
    subscription = book.get("subscription", id)
    if subscription["status"] in OVER:
        raise missing("subscription", id)
    return end(book, subscription, reason="cancellation_requested")


# ------------------------------------------------------------------------------------- what time and banks do


def renew(book: Book, subscription: Body, *, outcome: intents.Outcome) -> Body:
    """The period, or the trial, is over: the next one is asked for, or the subscription ends where that was wished."""
    if subscription["status"] in OVER:
        raise ApiError(f"The subscription is {subscription['status']}.")
    if subscription["cancel_at_period_end"]:
        return end(book, subscription, reason="cancellation_requested")
    before = dict(subscription)
    item = subscription["items"]["data"][0]
    old = (item["current_period_start"], item["current_period_end"])
    new = (old[1], after(old[1], item["price"]["recurring"]))
    changed = item | {"current_period_start": new[0], "current_period_end": new[1]}
    status = "active" if subscription["status"] == "trialing" else subscription["status"]
    book.change(subscription, items=_listed(subscription, changed), status=status)
    drawn = [*_waiting_prorations(book, subscription), _period_line(book, subscription, new)]
    invoice = invoices.draw(book, subscription, drawn, reason="subscription_cycle", period=old)
    book.change(subscription, latest_invoice=invoice["id"])
    invoices.collect(book, invoice, outcome)
    _follow(book, subscription, invoice)
    _tell(book, subscription, before)
    return invoice


def pay_again(book: Book, invoice: Body, *, outcome: intents.Outcome) -> Body:
    """The card on file is asked for an open invoice once more."""
    subscription = book.get("subscription", str(invoice["lines"]["data"][0]["subscription"]))
    before = dict(subscription)
    invoices.collect(book, invoice, outcome)
    _follow(book, subscription, invoice)
    _tell(book, subscription, before)
    return invoice


def pay_open(book: Book, given: Given, *, id: str) -> Body:
    """POST /v1/invoices/{id}/pay."""
    del given
    return pay_again(book, invoices.only_open(book, id), outcome="succeeded")


def end(book: Book, subscription: Body, *, reason: Literal["cancellation_requested", "payment_failed"]) -> Body:
    """It is over."""
    book.change(
        subscription,
        status="canceled",
        ended_at=book.at,
        canceled_at=subscription["canceled_at"] or book.at,
        cancellation_details=part(SUBSCRIPTION.CancellationDetails, reason=reason),
    )
    book.emit("customer.subscription.deleted", subscription)
    return subscription


def leave_unpaid(book: Book, subscription: Body) -> Body:
    """No attempt is left, and the shop's settings keep the subscription: it waits for somebody to pay."""
    before = dict(subscription)
    book.change(subscription, status="unpaid")
    _tell(book, subscription, before)
    return subscription


def money_came(book: Book, intent: Body) -> None:
    """A bank debit brings its money; an invoice that it was asked for is paid."""
    intents.succeed(book, intent)
    _after_debit(book, intent, "succeeded")


def money_failed(book: Book, intent: Body) -> None:
    """A bank debit brings nothing."""
    intents.fail(book, intent, reason=intents.BOUNCED)
    _after_debit(book, intent, "failed")


def intent_of(book: Book, invoice_id: str) -> str | None:
    """The intent of an invoice's money."""
    return invoices.intent_of(book, invoice_id)


def after(at: int, recurring: Mapping[str, Any]) -> int:
    """When a period that begins at `at` is over; the 31st is the last day of a shorter month."""
    count, began = recurring["interval_count"], datetime.fromtimestamp(at, UTC)
    if recurring["interval"] in ("day", "week"):
        days = count * (7 if recurring["interval"] == "week" else 1)
        return int((began + timedelta(days=days)).timestamp())
    months = began.month - 1 + count * (12 if recurring["interval"] == "year" else 1)
    year, month = began.year + months // 12, months % 12 + 1
    day = min(began.day, calendar.monthrange(year, month)[1])
    return int(began.replace(year=year, month=month, day=day).timestamp())


def _after_debit(book: Book, intent: Body, outcome: intents.Outcome) -> None:
    invoice = invoices.of_intent(book, intent["id"])
    if invoice is None:
        return
    subscription = book.get("subscription", str(invoice["lines"]["data"][0]["subscription"]))
    before = dict(subscription)
    invoices.told(book, invoice, outcome)
    _follow(book, subscription, invoice)
    _tell(book, subscription, before)


def _follow(book: Book, subscription: Body, invoice: Body) -> None:
    """A subscription is as good as its newest invoice."""
    if subscription["status"] in OVER or subscription["latest_invoice"] != invoice["id"]:
        return
    if invoice["status"] == "paid" and subscription["status"] in ("past_due", "unpaid"):
        book.change(subscription, status="active")
    elif invoice["status"] == "open" and invoice["next_payment_attempt"] is not None:
        book.change(subscription, status="past_due")


def _make(book: Book, session: Body, recurring: Body, /, *, period: tuple[int, int], trial_end: int | None) -> Body:
    about = book.note(session["id"])["about"]
    price = recurring["price"]
    subscription = book.make("subscription")
    item = book.make(
        "subscription_item",
        current_period_start=period[0],
        current_period_end=period[1],
        plan=prices.plan_of(price),
        price=price,
        quantity=recurring["quantity"],
        subscription=subscription["id"],
    )
    subscription["items"] = _listed(subscription, item)
    return book.change(
        subscription,
        billing_cycle_anchor=period[1] if trial_end else period[0],
        billing_mode=part(SUBSCRIPTION.BillingMode, type="flexible"),
        collection_method="charge_automatically",
        currency=session["currency"],
        customer=session["customer"],
        description=about["description"],
        invoice_settings=part(
            SUBSCRIPTION.InvoiceSettings, issuer=part(SUBSCRIPTION.InvoiceSettings.Issuer, type="self")
        ),
        metadata=about["metadata"],
        start_date=book.at,
        status="trialing" if trial_end else "active",
        trial_end=trial_end,
        trial_start=book.at if trial_end else None,
    )


def _trial_end(book: Book, days: int | None) -> int | None:
    return None if days is None else book.at + days * DAY_SECONDS


def _end_later(book: Book, subscription: Body, *, ends: bool) -> None:
    item = subscription["items"]["data"][0]
    book.change(
        subscription,
        cancel_at_period_end=ends,
        cancel_at=item["current_period_end"] if ends else None,
        canceled_at=book.at if ends else None,
        cancellation_details=part(SUBSCRIPTION.CancellationDetails, reason="cancellation_requested" if ends else None),
    )


def _change_item(book: Book, subscription: Body, given: Given, /, *, behaviour: str) -> None:
    item = subscription["items"]["data"][0]
    if given.required("id") != item["id"]:
        raise missing("subscription_item", given.required("id"), param="items[0][id]")
    changes_price = "price" in given or "price_data" in given
    price = prices.price_of(book, given) if changes_price else item["price"]
    old, new = item["price"]["recurring"], price["recurring"]
    if new is None or price["currency"] != subscription["currency"]:
        raise given.refused("price", "The price must be recurring, in the subscription's currency.")
    if (old["interval"], old["interval_count"]) != (new["interval"], new["interval_count"]):
        raise given.refused("price", "The sandbox's subscriptions keep their interval.")
    quantity = given.whole("quantity", least=1) or item["quantity"]
    changed = item | {"price": price, "plan": prices.plan_of(price), "quantity": quantity}
    lines = [] if behaviour == "none" else _prorations(book, subscription, changed)
    book.change(subscription, items=_listed(subscription, changed))
    if behaviour == "always_invoice" and lines:
        period = (item["current_period_start"], book.at)
        invoice = invoices.draw(book, subscription, lines, reason="subscription_update", period=period)
        book.change(subscription, latest_invoice=invoice["id"])
        invoices.collect(book, invoice, "succeeded")
    elif lines:
        kept = book.note(subscription["id"]).get("prorations", [])
        book.write_note(subscription["id"], prorations=kept + lines)


def _prorations(book: Book, subscription: Body, changed: Body) -> list[Body]:
    """The unused rest of the old price as a credit, the new price's for the same time as a charge."""
    item = subscription["items"]["data"][0]
    start, stop = item["current_period_start"], item["current_period_end"]
    rest = max(0, stop - max(start, book.at))
    if subscription["status"] == "trialing" or rest == 0:
        return []
    lines = []
    for each, sign, words in ((item, -1, "Unused time"), (changed, 1, "Remaining time")):
        full = each["price"]["unit_amount"] * each["quantity"]
        known = {"price": each["price"], "quantity": each["quantity"], "period": (max(start, book.at), stop)}
        amount = sign * ((2 * full * rest + (stop - start)) // (2 * (stop - start)))
        lines.append(invoices.line(book, subscription, amount=amount, proration=True, description=words, **known))
    return lines


def _waiting_prorations(book: Book, subscription: Body) -> list[Body]:
    lines: list[Body] = book.note(subscription["id"]).get("prorations", [])
    book.write_note(subscription["id"], prorations=[])
    return lines


def _period_line(book: Book, subscription: Body, period: tuple[int, int]) -> Body:
    item = subscription["items"]["data"][0]
    return invoices.line(
        book,
        subscription,
        amount=item["price"]["unit_amount"] * item["quantity"],
        proration=False,
        price=item["price"],
        description=book.get("product", item["price"]["product"])["name"],
        period=period,
        quantity=item["quantity"],
    )


def _listed(subscription: Body, item: Body) -> Body:
    url = f"/v1/subscription_items?subscription={subscription['id']}"
    return {"object": "list", "data": [item], "has_more": False, "url": url}


def _tell(book: Book, subscription: Body, before: Body) -> None:
    changed = {name: value for name, value in before.items() if value != subscription[name]}
    if changed:
        book.emit("customer.subscription.updated", subscription, before=changed)
