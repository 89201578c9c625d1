"""What a package costs at this moment, and what a change of tier brings. One discount lowers a price: the largest.

A discount without a code applies by itself, one with a code for whoever says it; never both together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from base import errors, texts
from base.ids import Id
from db.columns import UtcDateTime
from db.session import CentralSession
from db.tables.central.catalog import Discount, Package, Tier, discounted_cents, running_for

CODE_CHARACTERS_MAX = 80
DISCOUNTS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Price:
    """A package with the discount that counts; `amount_cents` is due, in minor units of the package's currency."""

    package: Package
    discount: Discount | None

    @property
    def percent_off(self) -> int:
        """Whole percent, 0 without a discount."""
        return 0 if self.discount is None else self.discount.percent_off

    @property
    def amount_cents(self) -> int:
        """What is due."""
        return discounted_cents(self.package.price_cents, self.percent_off)


async def of_package(db: CentralSession, package_id: Id[Package], /, *, code: str | None) -> Price:
    """The price now. Raises NotFound for a package that is not sold, or a code that does not lower its price now."""
    package = await db.get(Package, package_id)
    if package is None or package.archived_at is not None:
        raise errors.NotFound("There is no package with this id.", "input", "packageId")
    wanted = None if code is None else texts.fold(texts.line(code, "input", "discountCode", most=CODE_CHARACTERS_MAX))
    said = Discount.code.is_(None) if wanted is None else sa.or_(Discount.code.is_(None), Discount.code_key == wanted)
    running = running_for(sa.literal(package_id, sa.BigInteger()), sa.literal(db.now, UtcDateTime()))
    found = await db.all(sa.select(Discount).where(said, running).order_by(Discount.id).limit(DISCOUNTS_MAX))
    if wanted is not None and all(each.code is None for each in found):
        raise errors.NotFound("No discount that runs now for this package has this code.", "input", "discountCode")
    return Price(package, best(found))


def best(discounts: Sequence[Discount]) -> Discount | None:
    """The one that takes off most; of two alike, the one that applies by itself, then the older."""
    return min(discounts, key=lambda each: (-each.percent_off, each.code is not None, each.id), default=None)


def zero_invoice_tokens(tier: Tier, /) -> int:
    """What an invoice of a tier brings that takes no money: nothing, unless the tier costs nothing or says so."""
    return tier.monthly_tokens if tier.monthly_price_cents == 0 or tier.credits_zero_invoices else 0


def prorated_tokens(old: Tier, new: Tier, /, *, paid_cents: int, dearer: int | None = None) -> int:
    """What an upgrade brings: of the difference in monthly tokens the part that was paid of the difference in price.

    `dearer` is that difference as it was when the upgrade was asked for; None: as the catalog has it now.
    """
    if dearer is None:
        dearer = new.monthly_price_cents - old.monthly_price_cents
    more = new.monthly_tokens - old.monthly_tokens
    if dearer <= 0 or more <= 0:
        return 0
    return more * min(max(paid_cents, 0), dearer) // dearer
