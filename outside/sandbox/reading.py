"""One object, lists page by page, and what is inside when it is expanded: the reading half of the API."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from outside.sandbox import checkout, invoices
from outside.sandbox.book import PREFIXES, Book
from outside.sandbox.faults import missing
from outside.sandbox.forms import Given
from outside.sandbox.shapes import Body

PAGE_ROWS = 10
PAGE_ROWS_MAX = 100
EXPAND_DEPTH_MAX = 4
EVENTS_SECONDS_MAX = 30 * 24 * 3_600

# The provider's address of each kind of object, under /v1/, and by what its lists may be narrowed.
LISTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "balance_transactions": ("balance_transaction", ("source", "type")),
    "charges": ("charge", ("customer", "payment_intent")),
    "checkout/sessions": ("checkout.session", ("customer", "payment_intent", "status", "subscription")),
    "customers": ("customer", ("email",)),
    "disputes": ("dispute", ("charge", "payment_intent")),
    "events": ("event", ("type",)),
    "invoice_payments": ("invoice_payment", ("invoice", "status")),
    "invoices": ("invoice", ("collection_method", "customer", "status")),
    "payment_intents": ("payment_intent", ("customer",)),
    "payment_methods": ("payment_method", ("customer", "type")),
    "prices": ("price", ("currency", "product", "type")),
    "products": ("product", ()),
    "refunds": ("refund", ("charge", "payment_intent")),
    "subscriptions": ("subscription", ("customer", "status")),
}
# What is left out of an object until it is asked for by `expand`.
LEFT_OUT: Mapping[tuple[str, str], Callable[[Book, Body], Body]] = {
    ("checkout.session", "line_items"): lambda book, body: listed(
        checkout.lines_of(book, body["id"]), f"/v1/checkout/sessions/{body['id']}/line_items"
    ),
    ("invoice", "payments"): lambda book, body: invoices.payments_of(book, body["id"]),
    ("charge", "refunds"): lambda book, body: listed(
        list(book.each("refund", charge=body["id"])), f"/v1/charges/{body['id']}/refunds"
    ),
}


def one(book: Book, given: Given, *, kind: str, id: str) -> Body:
    """GET /v1/…/{id}."""
    del given
    return book.get(kind, id)


def page(book: Book, given: Given, *, address: str) -> Body:
    """GET /v1/…: newest first; `created`, `limit`, `starting_after`, `ending_before` and the kind's own filters."""
    kind, names = LISTS[address]
    where: dict[str, Any] = {name: value for name in names if (value := given.text(name)) is not None}
    limit = given.whole("limit", least=1) or PAGE_ROWS
    if limit > PAGE_ROWS_MAX:
        raise given.refused("limit", "This value must be less than or equal to 100.", code="parameter_invalid_integer")
    after, before = given.text("starting_after"), given.text("ending_before")
    if after and before:
        raise given.refused("ending_before", "Received both `starting_after` and `ending_before`.")
    for name, cursor in (("starting_after", after), ("ending_before", before)):
        if cursor is not None:
            book.get(kind, cursor, param=name)
    # The provider leaves subscriptions that are over out unless they are asked for.
    living = kind == "subscription" and "status" not in where
    if where.get("status") == "all":
        del where["status"]
    rows = _rows(book, given, kind, where)
    rows = (each for each in rows if each["status"] != "canceled") if living else rows
    return _cut(rows, address, limit=limit, after=after, before=before)


def lines(book: Book, given: Given, *, id: str) -> Body:
    """GET /v1/checkout/sessions/{id}/line_items."""
    given.whole("limit")
    book.get("checkout.session", id)
    return listed(checkout.lines_of(book, id), f"/v1/checkout/sessions/{id}/line_items")


def expanded(book: Book, body: Body, paths: Iterable[str]) -> Body:
    """The object with what these paths (`data.payments`, `latest_invoice.payments`) lead to in the place of ids."""
    for path in paths:
        _expand(book, body, path.split(".")[:EXPAND_DEPTH_MAX])
    return body


def listed(rows: list[Body], url: str, *, has_more: bool = False) -> Body:
    """Rows as the provider lists them."""
    return {"object": "list", "data": rows, "has_more": has_more, "url": url}


def _rows(book: Book, given: Given, kind: str, where: Mapping[str, Any], /) -> Iterable[Body]:
    least, most = _created(book, given, kind)
    types = set(given.texts("types")) if kind == "event" else set()
    subscription = given.text("subscription") if kind == "invoice" else None
    active = given.flag("active") if kind in ("price", "product") else None
    lookup = set(given.texts("lookup_keys")) if kind == "price" else set()
    paid_by = given.inner("payment") if kind == "invoice_payment" else None
    intent = None if paid_by is None else (paid_by.text("type"), paid_by.text("payment_intent"))[1]
    for each in book.each(kind, **where):
        if not least <= each.get("created", least) <= most or (types and each["type"] not in types):
            continue
        if subscription is not None and _subscription_of(each) != subscription:
            continue
        if (active is not None and each["active"] != active) or (lookup and each["lookup_key"] not in lookup):
            continue
        if intent is None or each["payment"]["payment_intent"] == intent:
            yield each


def _created(book: Book, given: Given, kind: str) -> tuple[float, float]:
    """The first and the last second that count."""
    # Events are told about for thirty days.
    least, most = (book.now() - EVENTS_SECONDS_MAX if kind == "event" else 0.0), float("inf")
    if isinstance(given.peek("created"), str):
        exact = given.whole("created") or 0
        return max(least, exact), exact
    inner = given.inner("created")
    if inner is None:
        return least, most
    bounds = {name: inner.whole(name) for name in ("gt", "gte", "lt", "lte")}
    lows = [least, *(v + (n == "gt") for n, v in bounds.items() if v is not None and n.startswith("g"))]
    highs = [most, *(v - (n == "lt") for n, v in bounds.items() if v is not None and n.startswith("l"))]
    return max(lows), min(highs)


def _cut(rows: Iterable[Body], address: str, *, limit: int, after: str | None, before: str | None) -> Body:
    if after is not None:
        rows = itertools.islice(itertools.dropwhile(lambda each: each["id"] != after, rows), 1, None)
    if before is not None:
        newer = list(itertools.takewhile(lambda each: each["id"] != before, rows))
        return listed(newer[-limit:], f"/v1/{address}", has_more=len(newer) > limit)
    found = list(itertools.islice(rows, limit + 1))
    return listed(found[:limit], f"/v1/{address}", has_more=len(found) > limit)


def _subscription_of(invoice: Body) -> str | None:
    details = (invoice["parent"] or {}).get("subscription_details")
    return None if details is None else details["subscription"]


def _expand(book: Book, here: Any, steps: list[str]) -> None:
    if isinstance(here, list):
        for each in here:
            _expand(book, each, steps)
        return
    if not steps or not isinstance(here, dict) or steps[0] not in here:
        return
    name, rest = steps[0], steps[1:]
    value = here[name]
    if value is None and (here.get("object"), name) in LEFT_OUT:
        here[name] = LEFT_OUT[here["object"], name](book, here)
    elif isinstance(value, str):
        here[name] = _named(book, value)
    _expand(book, here[name], rest)


def _named(book: Book, id: str) -> Body:
    """The object of an id, whose kind its prefix tells. Raises ApiError."""
    prefix = id.rpartition("_")[0]
    for kind, known in PREFIXES.items():
        if known == prefix:
            return book.get(kind, id)
    raise missing("object", id, param="expand")
