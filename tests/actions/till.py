"""What tests of money stand on: a purchase at the provider, its events told to a house, and what a wallet then has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from actions import billing, wallet
from actions.billing import events, settlement
from actions.billing.events import Incoming
from base.ids import Id
from db.tables.central.billing import PaymentEvent, Purchase, Settlement
from db.tables.pool.wallet import TokenTransaction, TokenWallet
from tests.actions import shop as goods

SIGN_UP = 100


async def bought(shop, person, *, cents=1_000, tokens=100, currency="EUR", slug="small") -> tuple[Id[Purchase], str]:
    """A package that somebody is about to pay for: our purchase and the provider's session."""
    package = await goods.package(shop, slug, cents=cents, tokens=tokens, currency=currency)
    done = await billing.start_checkout(
        await shop.of(person), package, discount_code=None, idempotency_key=None, **goods.BACK
    )
    (session,) = [each for each in await goods.sessions(shop, person) if each.purchase_id == done.purchase_id]
    return done.purchase_id, session.provider_session_id


def incoming(event: dict[str, Any], *, is_foreign: bool = False) -> Incoming:
    """An event as the endpoint hands it on."""
    body = json.dumps(event)
    return Incoming(
        name=event["id"],
        type=event["type"],
        api_version=event["api_version"],
        occurred_at=datetime.fromtimestamp(event["created"], UTC),
        body=body,
        body_hash=hashlib.sha256(body.encode()).hexdigest(),
        is_foreign=is_foreign,
    )


async def stored(house, told: Iterable[dict[str, Any]]) -> list[Id[PaymentEvent]]:
    """Store events and do nothing about them; the ids of the new ones."""
    found = [await house.system().on_system(events.store, [incoming(event)]) for event in told]
    return [each for (each,) in found if each is not None]


async def tell(house, told: Iterable[dict[str, Any]]) -> None:
    """Store and process events one after the other, as the endpoint does, then whatever became possible by them."""
    for event in told:
        await events.handle(house, await stored(house, [event]))
    await catch_up(house)


async def catch_up(house) -> None:
    """What a worker's next rounds do, without waiting for their time."""
    for _ in range(3):
        await events.process_everything(house)
        await settlement.settle_everything(house)


async def purchase(shop, person, purchase_id) -> Purchase:
    """A purchase as it is now."""
    return next(each for each in await goods.purchases(shop, person) if each.id == purchase_id)


async def funds(shop, person) -> tuple[int, int]:
    """(spendable, owed) beyond the sign-up reward; the ledger is checked in passing."""
    system = await shop.system(person.tenant_id)
    assert await system.on_pool(wallet.broken) is None
    balance, debt = await system.on_pool(_funds)
    return balance - SIGN_UP, debt


async def _funds(db):
    (found,) = await db.tuples(sa.select(TokenWallet.balance, TokenWallet.debt))
    return found.balance, found.debt


async def keys(shop, person) -> list[str]:
    """The ledger's keys, in order, without the sign-up reward."""
    found = await (await shop.system(person.tenant_id)).on_pool(_keys)
    return [key for key in found if not key.startswith("reward:")]


async def _keys(db):
    return list(await db.all(sa.select(TokenTransaction.idempotency_key).order_by(TokenTransaction.sequence)))


async def event_states(house) -> dict[str, list[str]]:
    """State → types of the stored events in it."""
    found: dict[str, list[str]] = {}
    for row in await house.system().on_system(_events):
        found.setdefault(row.state.name, []).append(row.type)
    return found


async def _events(db, /):
    return list(await db.all(sa.select(PaymentEvent).order_by(PaymentEvent.id)))


async def settlements(house) -> list[Settlement]:
    """Every settlement, oldest first."""
    return await house.system().on_system(_settlements)


async def _settlements(db, /):
    return list(await db.all(sa.select(Settlement).order_by(Settlement.id)))
