"""Customers, as a client makes them; a checkout makes its own where none is named."""

from __future__ import annotations

from outside.sandbox.book import Book
from outside.sandbox.forms import Given, merged
from outside.sandbox.shapes import Body


def create(book: Book, given: Given) -> Body:
    """POST /v1/customers."""
    return add(book, **_known(given), metadata=given.metadata())


def update(book: Book, given: Given, *, id: str) -> Body:
    """POST /v1/customers/{id}."""
    customer = book.get("customer", id)
    changed = {name: value for name, value in _known(given).items() if value is not None}
    before = {name: customer[name] for name in changed}
    book.change(customer, metadata=merged(customer["metadata"], given.metadata()), **changed)
    book.emit("customer.updated", customer, before=before)
    return customer


def add(book: Book, **known: object) -> Body:
    """A new customer."""
    standing = {"balance": 0, "delinquent": False, "tax_exempt": "none", "metadata": {}}
    customer = book.add("customer", **standing | known)
    book.emit("customer.created", customer)
    return customer


def _known(given: Given) -> dict[str, str | None]:
    return {name: given.text(name) for name in ("description", "email", "name", "phone")}
