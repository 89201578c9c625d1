"""Buying a package: its price and tokens are fixed in a purchase first, then the provider has a page made for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actions.billing import deployment, observed, pricing, sessions, settlement, wishes
from actions.billing.pricing import Price
from actions.billing.wishes import Wish
from base import errors
from base.ids import Id
from db import faults
from db.session import SystemSession
from db.tables.central.billing import Purchase, PurchaseKind
from db.tables.central.catalog import Package
from outside.stripe_api import Payments
from tenancy.context import Context


@dataclass(frozen=True, slots=True)
class Checkout:
    """A purchase that was begun, and where the buyer pays; no address where there is nothing to pay any more."""

    purchase_id: Id[Purchase]
    url: str | None


async def start_checkout(
    ctx: Context,
    package_id: Id[Package],
    /,
    *,
    discount_code: str | None,
    success_url: str,
    cancel_url: str,
    idempotency_key: str | None,
) -> Checkout:
    """Begin to buy a package for the caller's tenant.

    1 one central transaction: the purchase with its price, and what the provider is to be asked; where nothing is
    due it is paid, and its settlement stands beside it; 2 the provider's page, as `sessions.page` says, or the
    tokens. A crash after 1 leaves a purchase that the same key takes up again; the worker credits what is due.
    Idempotent by the caller's key. Raises Invalid, NotFound, Conflict (key used with another input),
    ProviderUnavailable, TenantSuspended.
    """
    wanted = ("package", package_id, discount_code)
    wish = wishes.checked(ctx, *wanted, success_url=success_url, cancel_url=cancel_url, key=idempotency_key)
    can_pay = ctx.house.service(Payments).is_set_up
    purchase_id = await ctx.on_system(begin, wish, package_id, code=discount_code, can_pay=can_pay)
    url = await sessions.page(ctx, wish.tenant, purchase_id)
    if url is None:
        await settlement.settle(ctx.house, [wish.tenant])
    return Checkout(purchase_id, url)


async def begin(
    db: SystemSession, wish: Wish, package_id: Id[Package], /, *, code: str | None, can_pay: bool
) -> Id[Purchase]:
    """The purchase of this wish, made unless it is known by its key."""
    db.act_for(wish.user_id, tenant=wish.tenant)
    known = await wishes.known(db, wish)
    if known is not None:
        return known.id
    await wishes.check_open(db, wish.tenant)
    price = await pricing.of_package(db, package_id, code=code)
    if price.amount_cents > 0 and not can_pay:
        raise errors.ProviderUnavailable("No payment provider is set up here, so nothing can be bought.")
    purchase = await _purchase(db, wish, price)
    if not await db.insert_once(purchase):
        # Another call with this key was faster: the next run finds what it made.
        raise faults.RunAgain
    if price.amount_cents == 0:
        await observed.nothing_due(db, purchase)
    else:
        await sessions.set_end(db, purchase)
    return purchase.id


async def _purchase(db: SystemSession, wish: Wish, price: Price, /) -> Purchase:
    purchase_id: Id[Purchase] = db.new_id()
    package = price.package
    return Purchase(
        id=purchase_id,
        created_at=db.now,
        tenant_id=wish.tenant,
        user_id=wish.user_id,
        kind=PurchaseKind.PACKAGE,
        package_id=package.id,
        discount_id=None if price.discount is None else price.discount.id,
        price_cents=package.price_cents,
        percent_off=price.percent_off,
        amount_cents=price.amount_cents,
        currency=package.currency,
        tokens=package.tokens,
        idempotency_key=wish.key_or(purchase_id),
        input_hash=wish.digest,
        attempt_kind=sessions.FIRST_ATTEMPT,
        provider_params=await _params(db, wish, price, purchase_id) if price.amount_cents else None,
    )


async def _params(db: SystemSession, wish: Wish, price: Price, /, purchase_id: Id[Purchase]) -> dict[str, Any]:
    item = {
        "currency": price.package.currency.lower(),
        "unit_amount": price.amount_cents,
        "product_data": {"name": price.package.name},
    }
    named = deployment.metadata(await deployment.name(db), wish.tenant, purchase_id=purchase_id)
    return sessions.params("payment", item, back=(wish.success_url, wish.cancel_url), named=named, now=db.now)
