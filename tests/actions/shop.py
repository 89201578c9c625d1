"""What is sold in a test, and what is known of what was bought; a shop is a `world` with a provider."""

from __future__ import annotations

import sqlalchemy as sa

from actions import billing
from actions.billing import events, reconcile
from base import texts
from base.ids import Id
from db.tables.central.billing import CheckoutSession, Payment, PlanSubscription, Purchase, Settlement
from db.tables.central.catalog import Discount, DiscountPackage, Package, Tier
from db.tables.central.provider import ProviderOrder

SUCCESS = "https://app.example.com/done"
CANCEL = "https://app.example.com/back"
BACK = {"success_url": SUCCESS, "cancel_url": CANCEL}


async def package(world, slug="small", *, cents=1_000, tokens=100, currency="EUR") -> Id[Package]:
    """A package on sale."""
    values = {"price_cents": cents, "tokens": tokens, "currency": currency}
    return await world.house.system().on_system(_named, Package, slug, values=values)


async def tier(world, slug="pro", *, cents=2_000, tokens=500, currency="EUR", **more) -> Id[Tier]:
    """A tier on sale."""
    values = {"monthly_price_cents": cents, "monthly_tokens": tokens, "currency": currency, **more}
    return await world.house.system().on_system(_named, Tier, slug, values=values)


async def discount(world, percent, *, code=None, only=None, **more) -> Id[Discount]:
    """A discount that runs; `only`: for this package."""
    return await world.house.system().on_system(_discount, percent, code=code, only=only, more=more)


async def _named(db, table, slug, /, *, values):
    row = table(id=db.new_id(), slug=slug, name=slug.title(), name_key=slug, **values)
    db.add(row)
    return row.id


async def _discount(db, percent, /, *, code, only, more):
    row = Discount(id=db.new_id(), percent_off=percent, code=code, **more)
    if code is not None:
        row.code_key = texts.fold(code)
    db.add(row)
    await db.flush()
    if only is not None:
        db.add(DiscountPackage(discount_id=row.id, package_id=only))
    return row.id


async def buy(world, person, package, *, key=None, code=None, back=BACK) -> billing.Checkout:
    """Somebody begins to buy a package."""
    ctx = await world.of(person)
    return await billing.start_checkout(ctx, package, discount_code=code, idempotency_key=key, **back)


async def rows(world, table, tenant) -> list:
    """A tenant's rows of a billing table, oldest first."""
    return await world.house.system().on_system(_rows, table, tenant)


async def _rows(db, table, tenant, /):
    return list(await db.all(sa.select(table).where(table.tenant_id == tenant).order_by(table.id)))


async def purchases(world, person) -> list[Purchase]:
    return await rows(world, Purchase, person.tenant_id)


async def payments(world, person) -> list[Payment]:
    return await rows(world, Payment, person.tenant_id)


async def sessions(world, person) -> list[CheckoutSession]:
    return await rows(world, CheckoutSession, person.tenant_id)


async def plans(world, person) -> list[PlanSubscription]:
    return await rows(world, PlanSubscription, person.tenant_id)


async def orders(world, person) -> list[ProviderOrder]:
    return await rows(world, ProviderOrder, person.tenant_id)


async def settlements(world, person) -> list[Settlement]:
    return await rows(world, Settlement, person.tenant_id)


def session_at(provider, url) -> str:
    """The provider's id of the session whose page this is."""
    (found,) = [each for each in provider.all("checkout.session") if each["url"] == url]
    return found["id"]


async def deliver(world, provider, *types, since=None) -> int:
    """Everything that the provider has to tell (of these types) comes in by the webhook's door, in its order."""
    told = [reconcile.incoming(event, is_live=False) for event in provider.events(*types, since=since)]
    stored = await world.house.system().on_system(events.store, told) if told else []
    new = [each for each in stored if each is not None]
    if new:
        await events.handle(world.house, new)
    return len(new)
