"""What other areas are told of money: emitted in the pool beside the ledger entry that came of it, as often as that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from db.outbox import Event


@dataclass(frozen=True, kw_only=True)
class PurchasePaid(Event):
    """A purchase was paid and its tokens are in the wallet; `kind` is a PurchaseKind by name, money in minor units."""

    type: ClassVar[str] = "purchase.paid"

    purchase_id: int
    kind: str
    tokens: int
    amount_cents: int
    currency: str

    @property
    def aggregate(self) -> str:
        """The purchase."""
        return f"purchase:{self.purchase_id:x}"


@dataclass(frozen=True, kw_only=True)
class PurchaseRefunded(Event):
    """Money of a purchase went back, by a refund or a dispute, and `tokens` of it were taken from the wallet.

    `refunded_cents` is all that is gone of it now, by refunds and disputes together, in minor units.
    """

    type: ClassVar[str] = "purchase.refunded"

    purchase_id: int
    tokens: int
    refunded_cents: int
    currency: str

    @property
    def aggregate(self) -> str:
        """The purchase."""
        return f"purchase:{self.purchase_id:x}"
