"""What an event can say about our purchases: values without a database, drawn by `readings.py`, kept by `book.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from actions.billing.marks import Mark
from db.tables.central.billing import AttemptStatus, RefundStatus, SessionPayment, SessionStatus

Thing = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """A payment as the provider has it: an intent's id (or an invoice's), and whether the money is there."""

    name: str
    is_paid: bool
    cents: int
    currency: str
    refs: tuple[str, ...] = ()
    receipt_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """One try to pay."""

    name: str
    status: AttemptStatus
    at: datetime
    failure: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refunded:
    """Money on its way back."""

    name: str
    cents: int
    currency: str
    status: RefundStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Disputed:
    """A dispute as it was at `at`; `movements` as in `disputes.movements`."""

    name: str
    cents: int
    currency: str
    word: str
    at: datetime
    movements: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paged:
    """A checkout session; `subscription` where it began one."""

    name: str
    status: SessionStatus
    payment: SessionPayment
    failed_later: bool
    expires_at: datetime | None
    subscription: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoiced:
    """An invoice of a subscription; `reason` is the provider's word for why it was written.

    `tier` and `from_tier` are our ids, `change` is the order that changed the tier, `dearer` is by how many cents
    its tier is dearer; each as the subscription's metadata had them when the invoice was written.
    """

    name: str
    subscription: str
    reason: str
    tier: int | None
    from_tier: int | None
    dearer: int | None
    change: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A subscription as it was at `at`; `thing` is the provider's own object."""

    name: str
    at: datetime
    thing: Thing


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that one event says. It is matched by its mark, else by any of `refs`; the last is what it waits for.

    `refunded_cents` is what a charge says was given back of it: a sum that names no refund.
    """

    mark: Mark | None = None
    refs: tuple[str, ...] = ()
    session: Paged | None = None
    money: Money | None = None
    attempt: Attempted | None = None
    refunds: tuple[Refunded, ...] = ()
    dispute: Disputed | None = None
    invoice: Invoiced | None = None
    held: Held | None = None
    refunded_cents: int | None = None
