"""Checkout sessions: made and ended by a client, completed by people.

Discounts, taxes and other currencies are not the sandbox's: a session that asks for them is refused, so that what is
paid is always what its lines say.
"""

from __future__ import annotations

import re
from typing import Any

import stripe

from outside.sandbox import customers, intents, prices, subscriptions
from outside.sandbox.book import Book
from outside.sandbox.faults import ApiError
from outside.sandbox.forms import Given, merged
from outside.sandbox.shapes import Body, part

OPEN_SECONDS_MIN = 30 * 60
OPEN_SECONDS_MAX = 24 * 3_600
URL_CHARACTERS_MAX = 5_000
# The host stands in a header of the checkout page as well, so it holds nothing that would end it.
URL = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+([/?#]\S*)?")
SESSION = stripe.checkout.Session


def create(book: Book, given: Given, *, base: str) -> Body:
    """POST /v1/checkout/sessions. Nothing is asked from anybody yet: the intent comes with the first attempt."""
    mode = given.required("mode", one_of=("payment", "subscription"))
    expires_at = _expiry(book, given)
    customer = given.text("customer")
    if customer is not None:
        book.get("customer", customer, param="customer")
    lines = [prices.line(book, each) for each in given.each("line_items")]
    about = _about(given.inner("payment_intent_data" if mode == "payment" else "subscription_data"), mode)
    total = _total(given, lines, mode=mode, has_trial=bool(about.get("trial_period_days") or about.get("trial_end")))
    _nothing_added(given)
    session = book.make("checkout.session")
    book.change(
        session,
        mode=mode,
        adaptive_pricing=part(SESSION.AdaptivePricing, enabled=_switched_off(given, "adaptive_pricing")),
        allow_promotion_codes=_promotion_codes(given),
        amount_subtotal=total,
        amount_total=total,
        automatic_tax=part(SESSION.AutomaticTax, enabled=_switched_off(given, "automatic_tax")),
        cancel_url=_address(given, "cancel_url"),
        client_reference_id=given.text("client_reference_id"),
        currency=lines[0]["currency"],
        customer=customer,
        customer_creation=_customer_creation(given, mode),
        customer_email=given.text("customer_email"),
        expires_at=expires_at,
        locale=given.text("locale"),
        metadata=given.metadata(),
        payment_method_collection=given.text("payment_method_collection", one_of=("always", "if_required")) or "always",
        payment_method_types=given.texts("payment_method_types")
        or [intents.CARD, intents.debit_of(lines[0]["currency"])],
        payment_status="unpaid" if total else "no_payment_required",
        status="open",
        submit_type=given.text("submit_type", one_of=("auto", "book", "donate", "pay", "subscribe")),
        success_url=_address(given, "success_url"),
        total_details=part(SESSION.TotalDetails, amount_shipping=0),
        ui_mode=given.text("ui_mode", one_of=("hosted_page",)) or "hosted_page",
        url=f"{base}/pay/{session['id']}",
    )
    book.write_note(session["id"], lines=[each["id"] for each in lines], about=about)
    return session


def update(book: Book, given: Given, *, id: str) -> Body:
    """POST /v1/checkout/sessions/{id}: metadata alone."""
    session = book.get("checkout.session", id)
    return book.change(session, metadata=merged(session["metadata"], given.metadata()))


def expire(book: Book, given: Given, *, id: str) -> Body:
    """POST /v1/checkout/sessions/{id}/expire: nobody can pay it any more."""
    del given
    return end(book, book.get("checkout.session", id))


def end(book: Book, session: Body) -> Body:
    """An open session can be paid no more. Raises ApiError for one that is complete or over."""
    if session["status"] != "open":
        raise ApiError(
            f'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of '
            f"{session['status']}.",
            param="session",
        )
    return _ended(book, session)


def expire_due(book: Book) -> None:
    """The sessions whose time is over end by themselves."""
    for session in book.overdue():
        _ended(book, session)


def lines_of(book: Book, session_id: str) -> list[Body]:
    """What a session sells, in its order."""
    return [book.get("item", each) for each in book.note(session_id)["lines"]]


# ------------------------------------------------------------------------------------------- what people do


def pay(book: Book, session: Body, *, delayed: bool = False, email: str = "customer@example.com") -> Body:
    """Somebody pays by card, or (`delayed`) starts a bank debit that settles or bounces later."""
    _only_open(book, session)
    if delayed and len(session["payment_method_types"]) == 1:
        raise ApiError("This session takes cards alone.", param="payment_method_types")
    known = {"email": session["customer_email"] or email, "tax_exempt": "none"}
    book.change(session, customer_details=part(SESSION.CustomerDetails, **known))
    if session["customer"] is None and session["customer_creation"] == "always":
        book.change(session, customer=customers.add(book, email=known["email"])["id"])
    if session["mode"] == "subscription":
        paid = subscriptions.begin(book, session, lines=lines_of(book, session["id"]), delayed=delayed)
    elif session["amount_total"] == 0:
        paid = "no_payment_required"
    else:
        _attempt(book, session, "pending" if delayed else "succeeded")
        paid = "unpaid" if delayed else "paid"
    book.change(session, status="complete", payment_status=paid, url=None)
    book.emit("checkout.session.completed", session)
    return session


def decline(book: Book, session: Body) -> Body:
    """Somebody tries to pay and the bank says no: the session stays open."""
    _only_open(book, session)
    if session["amount_total"] == 0:
        raise ApiError("Nothing is due, so nothing can be declined.", param="session")
    _attempt(book, session, "failed")
    return session


def settle(book: Book, session: Body) -> Body:
    """The bank debit of a completed session brings its money."""
    subscriptions.money_came(book, _awaited(book, session))
    book.change(session, payment_status="paid")
    book.emit("checkout.session.async_payment_succeeded", session)
    return session


def bounce(book: Book, session: Body) -> Body:
    """The bank debit of a completed session brings nothing."""
    subscriptions.money_failed(book, _awaited(book, session))
    book.emit("checkout.session.async_payment_failed", session)
    return session


def intent_of(book: Book, session: Body) -> Body:
    """The intent that a session's money came by; for a subscription its newest invoice's. Raises ApiError."""
    found = session["payment_intent"]
    if found is None and session["invoice"] is not None:
        found = subscriptions.intent_of(book, session["invoice"])
    if found is None:
        raise ApiError("Nobody has tried to pay this session.", param="session")
    return book.get("payment_intent", found)


def _awaited(book: Book, session: Body) -> Body:
    if session["status"] != "complete" or session["payment_status"] != "unpaid":
        raise ApiError("No bank debit of this session is on its way.", param="session")
    return intent_of(book, session)


def _attempt(book: Book, session: Body, outcome: intents.Outcome) -> None:
    about = book.note(session["id"])["about"]
    known = {"metadata": {}, "description": None} if session["mode"] == "subscription" else about
    made = book.note(session["id"]).get("intent")
    if made is None:
        money = {"amount": session["amount_total"], "currency": session["currency"]}
        intent = intents.ask(book, customer=session["customer"], **money, **known)
        book.write_note(session["id"], intent=intent["id"])
    else:
        intent = book.get("payment_intent", made)
    if session["mode"] == "payment":
        book.change(session, payment_intent=intent["id"])
    method = intents.debit_of(session["currency"]) if outcome == "pending" else intents.CARD
    intents.attempt(book, intent, outcome, method=method)


def _ended(book: Book, session: Body) -> Body:
    made = book.note(session["id"]).get("intent")
    book.change(session, status="expired", url=None)
    if made is not None:
        intents.cancel(book, book.get("payment_intent", made), reason="automatic")
    book.emit("checkout.session.expired", session)
    return session


def _only_open(book: Book, session: Body) -> None:
    if session["status"] != "open" or session["expires_at"] <= book.at:
        raise ApiError("This Checkout Session is not open.", param="session")


# ---------------------------------------------------------------------------------------- what a client gives


def _expiry(book: Book, given: Given) -> int:
    at = given.whole("expires_at")
    if at is None:
        return book.at + OPEN_SECONDS_MAX
    if at < book.at + OPEN_SECONDS_MIN:
        raise given.refused(
            "expires_at", "The `expires_at` timestamp must be at least 30 minutes from Checkout Session creation."
        )
    if at > book.at + OPEN_SECONDS_MAX:
        raise given.refused(
            "expires_at", "The `expires_at` timestamp must be less than 24 hours from Checkout Session creation."
        )
    return at


def _total(given: Given, lines: list[Body], *, mode: str, has_trial: bool) -> int:
    """What is due at once."""
    if not lines or len(lines) > prices.LINES_MAX:
        raise given.refused(
            "line_items", f"A session has 1 to {prices.LINES_MAX} line items.", code="parameter_missing"
        )
    currencies = {each["currency"] for each in lines}
    if len(currencies) > 1:
        raise given.refused("line_items", "All line items must have the same currency.")
    recurring = [each for each in lines if each["price"]["type"] == "recurring"]
    if mode == "payment" and recurring:
        raise given.refused("line_items", "You specified `payment` mode but passed a recurring price.")
    if mode == "subscription" and len(recurring) != 1:
        raise given.refused("line_items", "The sandbox's subscriptions have one recurring price.")
    amounts: list[int] = [each["amount_total"] for each in lines if not (has_trial and each in recurring)]
    total = sum(amounts)
    least = prices.AMOUNTS_MIN.get(currencies.pop(), 0)
    if 0 < total < least:
        message = f"The Checkout Session's total amount due must add up to at least {least} minor units."
        raise given.refused("line_items", message, code="amount_too_small")
    return total


def _address(given: Given, name: str) -> str | None:
    address = given.text(name)
    if address is None and name == "success_url":
        raise given.refused(name, "Missing required param: success_url.", code="parameter_missing")
    if address is not None and (not URL.fullmatch(address) or len(address) > URL_CHARACTERS_MAX):
        raise given.refused(name, "Not a valid URL", code="url_invalid")
    return address


def _switched_off(given: Given, name: str) -> bool:
    inner = given.inner(name)
    enabled = False if inner is None else inner.flag("enabled") or False
    if enabled:
        raise given.refused(name, f"The sandbox has no {name}.")
    return enabled


def _promotion_codes(given: Given) -> bool | None:
    allowed = given.flag("allow_promotion_codes")
    if allowed:
        raise given.refused("allow_promotion_codes", "The sandbox has no promotion codes.")
    return allowed


def _nothing_added(given: Given) -> None:
    if given.each("discounts"):
        raise given.refused("discounts", "The sandbox has no discounts.")


def _customer_creation(given: Given, mode: str) -> str | None:
    wanted = given.text("customer_creation", one_of=("always", "if_required"))
    if wanted is not None and mode == "subscription":
        raise given.refused("customer_creation", "`customer_creation` can only be used in `payment` mode.")
    return "always" if mode == "subscription" else wanted or "if_required"


def _about(given: Given | None, mode: str) -> dict[str, Any]:
    """What the intent or the subscription is to carry."""
    if given is None:
        return {"metadata": {}, "description": None}
    about: dict[str, Any] = {"metadata": given.metadata(), "description": given.text("description")}
    if mode == "subscription":
        about["trial_period_days"] = given.whole("trial_period_days", least=1)
        about["trial_end"] = given.whole("trial_end", least=1)
    return about
