"""The provider's events read as facts: a pure reading of the object that an event is about.

Both shapes that the provider has had are read (an invoice's subscription and payments moved, a charge lost its
refunds). Raises Unreadable where what is needed is not there: then the object is fetched at our own version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from actions.billing import marks
from actions.billing.facts import Attempted, Disputed, Facts, Held, Invoiced, Money, Paged, Refunded, Thing
from db.tables.central.billing import AttemptStatus, RefundStatus, SessionPayment, SessionStatus

PROVIDER_ID_CHARACTERS_MAX = 255
FAILURE_CHARACTERS_MAX = 300
URL_CHARACTERS_MAX = 1_000
# The name of the payment of a purchase for which no money was due.
NOTHING_DUE = "free:"
# They announce what has not been written yet, and have no id.
_SAY_NOTHING = ("invoice.upcoming", "invoice.will_be_due", "invoice.overdue")


class Unreadable(Exception):
    """The object has not the shape that is needed."""


def kind_of(event_type: str) -> str | None:
    """The provider's address of the objects that events of this type are about; None where they say nothing here."""
    reader = _reader(event_type)
    return None if reader is None else reader.kind


def metadata_of(thing: Thing) -> object:
    """The metadata that says whose object it is; an invoice has its subscription's."""
    parent = thing.get("parent")
    details = parent.get("subscription_details") if isinstance(parent, Mapping) else thing.get("subscription_details")
    return details.get("metadata") if isinstance(details, Mapping) else thing.get("metadata")


def read(event_type: str, at: datetime, thing: Thing, /, *, event_id: str) -> Facts | None:
    """What an event of this type says of its object; None for a type that means nothing here. Raises Unreadable."""
    reader = _reader(event_type)
    return None if reader is None else reader.read(_Event(event_type, at, event_id), thing)


def _reader(event_type: str) -> _Reader | None:
    if event_type in _SAY_NOTHING:
        return None
    return next((reader for beginning, reader in _READERS.items() if event_type.startswith(beginning)), None)


@dataclass(frozen=True, slots=True)
class _Event:
    type: str
    at: datetime
    id: str


# ------------------------------------------------------------------------------------------- one reader a kind


def _session(event: _Event, thing: Thing) -> Facts:
    name, mode = _text(thing, "id"), _text(thing, "mode")
    mark = marks.read(thing.get("metadata"))
    payment = _word(thing, "payment_status", SessionPayment)
    status = SessionStatus.EXPIRED if event.type.endswith(".expired") else _word(thing, "status", SessionStatus)
    intent = _ref(thing.get("payment_intent"))
    if payment is SessionPayment.NO_PAYMENT_REQUIRED and mark is not None:
        intent = f"{NOTHING_DUE}{mark.purchase_id:x}"
    money = None
    if mode == "payment" and payment is not SessionPayment.UNPAID and status is SessionStatus.COMPLETE and intent:
        cents = _number(thing, "amount_total")
        money = Money(name=intent, is_paid=True, cents=cents, currency=_currency(thing), refs=(intent,))
    return Facts(
        mark=mark,
        session=Paged(
            name=name,
            status=status,
            payment=payment,
            failed_later=event.type.endswith(".async_payment_failed") or _came_to_nothing(thing),
            expires_at=_moment(thing.get("expires_at")),
            subscription=_ref(thing.get("subscription")),
        ),
        money=money,
    )


def _came_to_nothing(session: Thing) -> bool:
    """Whether what its money was to come by, which is embedded where it was asked for, says that none will."""
    if session.get("status") != "complete" or session.get("payment_status") != "unpaid":
        return False
    means = (session.get("payment_intent"), session.get("subscription"))
    return any(isinstance(each, Mapping) and each.get("status") in _CAME_TO_NOTHING for each in means)


# An intent whose debit failed waits for another way to pay, which a page that is complete no longer offers.
_CAME_TO_NOTHING = ("requires_payment_method", "canceled", "incomplete_expired")


def _intent(event: _Event, thing: Thing) -> Facts:
    name = _text(thing, "id")
    is_paid = _text(thing, "status") == "succeeded"
    charge = _ref(thing.get("latest_charge"))
    attempt = None
    if event.type.endswith(".payment_failed"):
        attempt = Attempted(name=charge or event.id, status=AttemptStatus.FAILED, at=event.at, failure=_failure(thing))
    refs = tuple(each for each in (charge, name) if each is not None)
    return Facts(
        mark=marks.read(thing.get("metadata")),
        refs=refs,
        money=Money(
            name=name,
            is_paid=is_paid,
            cents=_number(thing, "amount_received" if is_paid else "amount"),
            currency=_currency(thing),
            refs=refs,
        ),
        attempt=attempt,
    )


_CHARGES = {
    "succeeded": AttemptStatus.SUCCEEDED,
    "pending": AttemptStatus.PENDING,
    "failed": AttemptStatus.FAILED,
}


def _charge(event: _Event, thing: Thing) -> Facts:
    name, status = _text(thing, "id"), _text(thing, "status")
    if status not in _CHARGES:
        raise Unreadable(f"a charge's status {status!r}")
    intent = _ref(thing.get("payment_intent"))
    refs = tuple(each for each in (name, intent) if each is not None)
    is_paid = status == "succeeded" and thing.get("captured", True) is True
    embedded = thing.get("refunds")
    return Facts(
        mark=marks.read(thing.get("metadata")),
        refs=refs,
        money=Money(
            name=intent or name,
            is_paid=is_paid,
            cents=_number(thing, "amount_captured" if is_paid and "amount_captured" in thing else "amount"),
            currency=_currency(thing),
            refs=refs,
            receipt_url=_url(thing.get("receipt_url")),
        ),
        attempt=Attempted(
            name=name,
            status=_CHARGES[status],
            at=_moment(thing.get("created")) or event.at,
            failure=_failure(thing),
        ),
        refunds=refunds_of(embedded) if isinstance(embedded, Mapping) else (),
        refunded_cents=_number(thing, "amount_refunded") if event.type == "charge.refunded" else None,
    )


def _refund(_event: _Event, thing: Thing) -> Facts:
    return Facts(refs=_refs(thing, "charge", "payment_intent"), refunds=(_one_refund(thing),))


def refunds_of(listed: Thing) -> tuple[Refunded, ...]:
    """The refunds of the provider's list of them. Raises Unreadable."""
    return tuple(_one_refund(each) for each in _listed(listed) if isinstance(each, Mapping))


def _one_refund(thing: Thing) -> Refunded:
    status = thing.get("status") or "succeeded"
    return Refunded(
        name=_text(thing, "id"),
        cents=_number(thing, "amount"),
        currency=_currency(thing),
        # A refund that asks something of the buyer first is on its way like a pending one.
        status=RefundStatus.PENDING if status == "requires_action" else _member(status, RefundStatus),
    )


def _dispute(event: _Event, thing: Thing) -> Facts:
    cents, currency = _number(thing, "amount"), _currency(thing)
    listed = thing.get("balance_transactions")
    if not isinstance(listed, list):
        raise Unreadable("a dispute without its balance transactions")
    movements = {}
    for each in listed:
        if not isinstance(each, Mapping):
            raise Unreadable("a dispute whose balance transactions are named alone")
        moved = _number(each, "amount")
        if each.get("currency") != thing.get("currency"):
            # Booked in the account's own currency: of ours it is all that the dispute is about.
            moved = cents if moved > 0 else -cents
        movements[_text(each, "id")] = moved
    return Facts(
        refs=_refs(thing, "charge", "payment_intent"),
        dispute=Disputed(
            name=_text(thing, "id"),
            cents=cents,
            currency=currency,
            word=_text(thing, "status")[:40],
            at=event.at,
            movements=movements,
        ),
    )


def _invoice(event: _Event, thing: Thing) -> Facts | None:
    name = _text(thing, "id")
    parent = thing.get("parent")
    details = parent.get("subscription_details") if isinstance(parent, Mapping) else thing.get("subscription_details")
    details = details if isinstance(details, Mapping) else {}
    subscription = _ref(details.get("subscription")) or _ref(thing.get("subscription"))
    if subscription is None:
        return None  # not of a plan: we write none of those
    refs = (*_payments_of(thing), name)
    is_paid = _text(thing, "status") == "paid"
    attempt = None
    if event.type == "invoice.payment_failed":
        attempt = Attempted(name=event.id, status=AttemptStatus.FAILED, at=event.at, failure=None)
    return Facts(
        mark=marks.read(details.get("metadata")),
        refs=refs,
        money=Money(
            name=name,
            is_paid=is_paid,
            cents=_number(thing, "amount_paid" if is_paid else "amount_due"),
            currency=_currency(thing),
            refs=refs,
            receipt_url=_url(thing.get("hosted_invoice_url")),
        ),
        attempt=attempt,
        invoice=Invoiced(
            name=name,
            subscription=subscription,
            reason=_text(thing, "billing_reason"),
            tier=marks.number_of(details.get("metadata"), "tier"),
            from_tier=marks.number_of(details.get("metadata"), "from_tier"),
            dearer=marks.cents_of(details.get("metadata"), "dearer"),
            change=marks.number_of(details.get("metadata"), "change"),
        ),
    )


def _payments_of(invoice: Thing) -> tuple[str, ...]:
    """The intents and charges that paid an invoice, in either shape."""
    found = [_ref(invoice.get("payment_intent")), _ref(invoice.get("charge"))]
    payments = invoice.get("payments")
    for each in _listed(payments) if isinstance(payments, Mapping) else ():
        paid = each.get("payment") if isinstance(each, Mapping) else None
        if isinstance(paid, Mapping):
            found += [_ref(paid.get("payment_intent")), _ref(paid.get("charge"))]
    return tuple(dict.fromkeys(each for each in found if each is not None))


def _invoice_payment(_event: _Event, thing: Thing) -> Facts:
    """Only the names that belong together: the invoice's own events say whether it is paid."""
    paid = thing.get("payment")
    paid = paid if isinstance(paid, Mapping) else {}
    names = (_ref(paid.get("charge")), _ref(paid.get("payment_intent")), _ref(thing.get("invoice")))
    return Facts(refs=tuple(each for each in names if each is not None))


def _subscription(event: _Event, thing: Thing) -> Facts:
    name = _text(thing, "id")
    _text(thing, "status")
    return Facts(mark=marks.read(thing.get("metadata")), held=Held(name=name, at=event.at, thing=thing))


@dataclass(frozen=True, slots=True)
class _Reader:
    kind: str
    read: Callable[[_Event, Thing], Facts | None]


# The first beginning that fits is the reader: the longer ones stand first.
_READERS: dict[str, _Reader] = {
    "checkout.session.": _Reader("checkout/sessions", _session),
    "payment_intent.": _Reader("payment_intents", _intent),
    "charge.dispute.": _Reader("disputes", _dispute),
    "charge.refund.": _Reader("refunds", _refund),
    "charge.": _Reader("charges", _charge),
    "refund.": _Reader("refunds", _refund),
    "invoice.": _Reader("invoices", _invoice),
    "invoice_payment.": _Reader("invoice_payments", _invoice_payment),
    "customer.subscription.": _Reader("subscriptions", _subscription),
}

# ------------------------------------------------------------------------------------------- values

E = TypeVar("E", SessionStatus, SessionPayment, RefundStatus)


def _text(thing: Thing, name: str) -> str:
    value = thing.get(name)
    if not isinstance(value, str) or not value or len(value) > PROVIDER_ID_CHARACTERS_MAX or not value.isascii():
        raise Unreadable(f"no {name}")
    return value


def _number(thing: Thing, name: str) -> int:
    value = thing.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**53:
        raise Unreadable(f"no {name}")
    return value


def _listed(thing: Thing) -> list[object]:
    """What one of the provider's lists holds."""
    value = thing.get("data")
    if not isinstance(value, list):
        raise Unreadable("a list without its data")
    return value


def _currency(thing: Thing) -> str:
    value = _text(thing, "currency").upper()
    if len(value) != 3:
        raise Unreadable("no currency")
    return value


def _word(thing: Thing, name: str, kind: type[E]) -> E:
    return _member(_text(thing, name), kind)


def _member(word: object, kind: type[E]) -> E:
    try:
        return kind[str(word).upper()]
    except KeyError:
        raise Unreadable(f"a {kind.__name__} of {str(word)[:40]!r}") from None


def _ref(value: object) -> str | None:
    """A reference, as an id or as the object itself."""
    if isinstance(value, Mapping):
        value = value.get("id")
    is_name = isinstance(value, str) and 0 < len(value) <= PROVIDER_ID_CHARACTERS_MAX and value.isascii()
    return value if is_name and isinstance(value, str) else None


def _refs(thing: Thing, *names: str) -> tuple[str, ...]:
    found = tuple(each for each in (_ref(thing.get(name)) for name in names) if each is not None)
    if not found:
        raise Unreadable(f"neither {' nor '.join(names)}")
    return found


def _moment(value: object) -> datetime | None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**33:
        return None
    return datetime.fromtimestamp(value, UTC)


def _url(value: object) -> str | None:
    if not isinstance(value, str) or not value.startswith("https://") or len(value) > URL_CHARACTERS_MAX:
        return None
    return value if value.isascii() and value.isprintable() else None


def _failure(thing: Thing) -> str | None:
    """Why a try failed, in the provider's words for the buyer."""
    told = thing.get("last_payment_error") or thing.get("outcome")
    words = thing.get("failure_message")
    if words is None and isinstance(told, Mapping):
        words = told.get("message") or told.get("seller_message")
    if not isinstance(words, str):
        return None
    return "".join(character for character in words if character.isprintable())[:FAILURE_CHARACTERS_MAX]
