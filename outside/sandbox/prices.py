"""What is sold: products, prices and the lines of a checkout."""

from __future__ import annotations

import stripe

from outside.sandbox.book import Book
from outside.sandbox.faults import ApiError
from outside.sandbox.forms import Given, merged
from outside.sandbox.shapes import Body, part

LINES_MAX = 100
QUANTITY_MAX = 1_000_000
AMOUNT_MAX = 99_999_999
INTERVALS = ("day", "week", "month", "year")
# Minor units below which the provider takes no payment.
AMOUNTS_MIN = {"chf": 50, "eur": 50, "gbp": 30, "jpy": 50, "usd": 50}


def create_product(book: Book, given: Given) -> Body:
    """POST /v1/products, and `product_data` of a price."""
    name = given.required("name")
    product = book.make("product")
    known = {"name": name, "description": given.text("description"), "images": given.texts("images")}
    return book.change(product, active=True, type="service", updated=book.at, metadata=given.metadata(), **known)


def create_price(book: Book, given: Given) -> Body:
    """POST /v1/prices, and `price_data` of a line: an amount in minor units, once or by interval."""
    currency = given.required("currency").lower()
    if len(currency) != 3 or not currency.isalpha():
        raise given.refused("currency", f"Invalid currency: {currency}")
    amount = given.whole("unit_amount")
    if amount is None:
        raise given.refused("unit_amount", "Missing required param: unit_amount.", code="parameter_missing")
    if amount > AMOUNT_MAX:
        raise given.refused("unit_amount", f"Amount must be no more than {AMOUNT_MAX}", code="amount_too_large")
    recurring = given.inner("recurring")
    return book.add(
        "price",
        active=True,
        billing_scheme="per_unit",
        currency=currency,
        lookup_key=given.text("lookup_key"),
        metadata=given.metadata(),
        nickname=given.text("nickname"),
        product=_product(book, given),
        recurring=None if recurring is None else _recurring(recurring),
        tax_behavior=given.text("tax_behavior", one_of=("exclusive", "inclusive", "unspecified")) or "unspecified",
        type="one_time" if recurring is None else "recurring",
        unit_amount=amount,
        unit_amount_decimal=str(amount),
    )


def update_price(book: Book, given: Given, *, id: str) -> Body:
    """POST /v1/prices/{id}: an amount never changes."""
    price = book.get("price", id)
    active = given.flag("active")
    return book.change(
        price,
        active=price["active"] if active is None else active,
        metadata=merged(price["metadata"], given.metadata()),
        nickname=given.text("nickname") or price["nickname"],
    )


def price_of(book: Book, given: Given) -> Body:
    """The price that a line names or describes. Raises ApiError."""
    named, described = given.text("price"), given.inner("price_data")
    if (named is None) == (described is None):
        raise given.refused("price", "You must specify either `price` or `price_data`.", code="parameter_missing")
    if described is not None:
        return create_price(book, described)
    price = book.get("price", str(named), param="price")
    if not price["active"]:
        raise given.refused("price", "The price specified is inactive.")
    return price


def line(book: Book, given: Given) -> Body:
    """One line of a checkout, kept."""
    price = price_of(book, given)
    quantity = given.whole("quantity", least=1)
    if quantity is None or quantity > QUANTITY_MAX:
        raise given.refused("quantity", "Quantity is required, from 1 to 1,000,000.")
    total = price["unit_amount"] * quantity
    name = book.get("product", price["product"])["name"]
    known = {"amount_subtotal": total, "amount_total": total, "currency": price["currency"], "description": name}
    return book.add("item", price=price, quantity=quantity, metadata=None, **known)


def plan_of(price: Body) -> Body:
    """The older shape of a recurring price, which subscription items still carry."""
    recurring = price["recurring"]
    plan = part(stripe.Plan, id=price["id"], object="plan", active=price["active"], created=price["created"])
    known = {name: price[name] for name in ("billing_scheme", "currency", "metadata", "nickname", "product")}
    amounts = {"amount": price["unit_amount"], "amount_decimal": price["unit_amount_decimal"]}
    when = {name: recurring[name] for name in ("interval", "interval_count", "usage_type")}
    return plan | known | amounts | when


def _product(book: Book, given: Given) -> str:
    named, described = given.text("product"), given.inner("product_data")
    if (named is None) == (described is None):
        raise given.refused("product", "You must specify either `product` or `product_data`.", code="parameter_missing")
    made = (
        create_product(book, described) if described is not None else book.get("product", str(named), param="product")
    )
    return str(made["id"])


def _recurring(given: Given) -> Body:
    count = given.whole("interval_count", least=1) or 1
    if count > 36:
        raise ApiError("Intervals reach three years at most.", param="recurring[interval_count]")
    return part(
        stripe.Price.Recurring,
        interval=given.required("interval", one_of=INTERVALS),
        interval_count=count,
        usage_type="licensed",
    )
