"""Studios that buy tokens, in databases of their own: purchases as checkout leaves them, and the provider's events.

The events are the sandbox provider's own for one paid purchase, with the names of each purchase put in their places
and signed as it signs them. Rows go in through the declared tables, as in `bench/fill.py`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bench import fill, places, rows
from bench.rows import Ids, Owner, Sizes
from bench.studios import TOKENS_GIVEN, Studio
from db import engines
from db.tables.central import billing
from db.tables.pool.wallet import TokenTransaction, TokenWallet
from outside.sandbox.provider import Provider

STUDIOS = 200
PRICE_CENTS, TOKENS, CURRENCY = 1_000, 100, "EUR"
DEPLOYMENT = "b" * 32
WEBHOOK_SECRET = "whsec_bench"  # noqa: S105  (of a provider that is nobody)
COMPLETED = "checkout.session.completed"
ROWS_AN_INSERT_MAX = 1_000
STUDIO, PURCHASE = "studio-of-the-purchase", "purchase-in-hand"


@dataclass(frozen=True, slots=True)
class Sale:
    """A purchase that waits for its money; `number` is in every name that the provider has given to it."""

    number: int
    purchase_id: int
    tenant: str


@dataclass(slots=True)
class Shop:
    """The studios, what they have bought so far, and the texts that the provider's events are drawn from.

    `unsent` counts purchases of which no event was sent after all.
    """

    owners: list[Owner]
    texts: dict[str, str]
    ids: Ids = field(default_factory=Ids)
    sold: int = 0
    unsent: int = 0

    async def sell(self, count: int) -> list[Sale]:
        """So many new purchases, the studios in turn, each with its page at the provider."""
        now, sales = datetime.now(UTC), []
        for number in range(self.sold + 1, self.sold + count + 1):
            owner = self.owners[number % len(self.owners)]
            sales.append(Sale(number, self.ids.at(now), owner.tenant))
        self.sold += count
        async with opened(places.SHOP_CENTRAL) as central:
            for some in chunks(sales):
                async with central.begin():
                    await central.execute(sa.insert(billing.Purchase), [self._purchase(each, now) for each in some])
                    await central.execute(
                        sa.insert(billing.CheckoutSession), [self._session(each, now) for each in some]
                    )
        return sales

    def event(self, sale: Sale, kind: str = COMPLETED) -> bytes:
        """The body of one of the purchase's events."""
        text = self.texts[kind].replace(STUDIO, sale.tenant).replace(PURCHASE, f"{sale.purchase_id:x}")
        return text.replace("000NUMBER000", f"{sale.number:012d}").encode()

    def request(self, sale: Sale, kind: str = COMPLETED) -> bytes:
        """The HTTP/1.1 request that delivers it, signed now."""
        return request(self.event(sale, kind))

    async def keep(self, sales: Iterable[Sale]) -> None:
        """Store an event of each as the endpoint does, and do nothing about it: a backlog."""
        async with opened(places.SHOP_CENTRAL) as central:
            for some in chunks(list(sales)):
                async with central.begin():
                    await central.execute(sa.insert(billing.PaymentEvent), [self._stored(each) for each in some])

    def _purchase(self, sale: Sale, now: datetime) -> dict[str, Any]:
        owner = self.owners[sale.number % len(self.owners)]
        own = {"id": sale.purchase_id, "created_at": now, "updated_at": now, "tenant_id": sale.tenant}
        money = {"price_cents": PRICE_CENTS, "amount_cents": PRICE_CENTS, "currency": CURRENCY, "tokens": TOKENS}
        wish = {"user_id": owner.user_id, "idempotency_key": f"bench:{sale.number}", "attempt_kind": "1"}
        return {**own, **money, **wish, "kind": billing.PurchaseKind.PACKAGE, "provider_params": {}}

    def _session(self, sale: Sale, now: datetime) -> dict[str, Any]:
        return {
            "id": self.ids.at(now),
            "created_at": now,
            "updated_at": now,
            "tenant_id": sale.tenant,
            "purchase_id": sale.purchase_id,
            "provider_session_id": f"cs_test_{sale.number:012d}",
            "url": f"https://checkout.example.com/{sale.number}",
            "expires_at": now + timedelta(hours=23),
        }

    def _stored(self, sale: Sale) -> dict[str, Any]:
        body, now = self.event(sale), datetime.now(UTC)
        fields = json.loads(body)
        return {
            "id": self.ids.at(now),
            "created_at": now,
            "provider_event_id": fields["id"],
            "type": fields["type"],
            "api_version": fields["api_version"],
            "occurred_at": datetime.fromtimestamp(fields["created"], UTC),
            "body": body.decode(),
            "body_hash": hashlib.sha256(body).hexdigest(),
            "state": billing.PaymentEventState.STORED,
            "tries": 0,
            "next_try_at": now,
        }


async def opening() -> Shop:
    """A shop in new databases. Raises RuntimeError where they could not be made."""
    await fill.make([places.SHOP_CENTRAL, *places.SHOP_POOLS.values()], fill.targets(*places.SHOP))
    sizes = Sizes(tenants=STUDIOS, published=0, unfinished=0)
    owners = rows.owners(sizes)
    async with opened(places.SHOP_CENTRAL) as central, central.begin():
        for table, found in rows.identities(owners):
            await central.execute(sa.insert(table), found)
        await central.execute(sa.insert(billing.Deployment), [{"number": 1, "name": DEPLOYMENT}])
    for name, database in places.SHOP_POOLS.items():
        async with opened(database) as pool, pool.begin():
            for number, owner in enumerate(owners):
                if owner.pool == name:
                    for table, found in Studio(owner, sizes, number=number, effects=[]).pool():
                        if found:
                            await pool.execute(sa.insert(table), found)
    return Shop(owners, await texts())


async def closing() -> None:
    """Remove the databases."""
    await fill.remove([places.SHOP_CENTRAL, *places.SHOP_POOLS.values()])


async def waiting(central: AsyncConnection) -> int:
    """How many events and settlements are not at their end."""
    events = sa.select(sa.func.count()).where(billing.PaymentEvent.state == billing.PaymentEventState.STORED)
    due = sa.select(sa.func.count()).where(billing.Settlement.state == billing.SettlementState.DUE)
    found = (await central.execute(sa.select(events.scalar_subquery(), due.scalar_subquery()))).one()
    await central.rollback()
    return sum(found)


async def credited() -> tuple[int, int]:
    """(purchases whose tokens stand in a ledger, tokens in wallets beyond what all were given at first)."""
    count = tokens = 0
    for database in places.SHOP_POOLS.values():
        async with opened(database) as pool:
            bought = TokenTransaction.idempotency_key.startswith("purchase-credit:")
            count += int(await pool.scalar(sa.select(sa.func.count()).where(bought)) or 0)
            tokens += int(await pool.scalar(sa.select(sa.func.sum(TokenWallet.balance - TOKENS_GIVEN))) or 0)
    return count, tokens


async def texts() -> dict[str, str]:
    """What the provider tells of one paid purchase, by type; names that differ from purchase to purchase are marked."""
    provider = Provider()
    provider.base = "http://127.0.0.1"
    marks = {"deployment": DEPLOYMENT, "tenant": STUDIO, "purchase": PURCHASE}
    price = "line_items[0][price_data]"
    form = {
        "mode": "payment",
        f"{price}[currency]": CURRENCY.lower(),
        f"{price}[unit_amount]": str(PRICE_CENTS),
        f"{price}[product_data][name]": f"{TOKENS} tokens",
        "line_items[0][quantity]": "1",
        "success_url": "https://app.example.com/done",
        "cancel_url": "https://app.example.com/back",
        **{f"metadata[{name}]": value for name, value in marks.items()},
        **{f"payment_intent_data[metadata][{name}]": value for name, value in marks.items()},
    }
    asks = {"authorization": f"Bearer {provider.secret_key}", "idempotency-key": secrets.token_hex(8)}
    try:
        transport = httpx.ASGITransport(app=provider.app)
        async with httpx.AsyncClient(transport=transport, base_url=provider.base) as client:
            made = await client.post("/v1/checkout/sessions", data=form, headers=asks)
        provider.pay(made.raise_for_status().json()["id"])
        return {event["type"]: _marked(event) for event in provider.events()}
    finally:
        provider.close()


def _marked(event: dict[str, Any]) -> str:
    text = json.dumps(event, indent=2)
    for name in sorted({*_names(event)}):
        beginning = name.rpartition("_")[0]
        # Two events of one kind about one purchase do not occur, so a type's beginning tells events apart.
        kind = event["type"].replace(".", "") if beginning == "evt" else ""
        text = text.replace(name, f"{beginning}_{kind}000NUMBER000")
    return text


def _names(value: Any) -> Iterator[str]:
    """Every id of the provider's in an object."""
    if isinstance(value, dict):
        for each in value.values():
            yield from _names(each)
    elif isinstance(value, list):
        for each in value:
            yield from _names(each)
    elif isinstance(value, str) and value.startswith(("evt_", "cs_test_", "pi_", "ch_", "txn_", "pm_", "cus_")):
        yield value.partition("_secret_")[0]


def request(body: bytes) -> bytes:
    """A delivery of these bytes, signed now."""
    at = int(time.time())
    digest = hmac.digest(WEBHOOK_SECRET.encode(), b"%d.%b" % (at, body), "sha256").hex()
    lines = [
        "POST /webhooks/stripe HTTP/1.1",
        f"Host: {places.BASE_DOMAIN}",
        "Content-Type: application/json; charset=utf-8",
        f"Stripe-Signature: t={at},v1={digest}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunks(sales: Sequence[Sale]) -> Iterator[Sequence[Sale]]:
    """Parts of a size that one statement takes."""
    for start in range(0, len(sales), ROWS_AN_INSERT_MAX):
        yield sales[start : start + ROWS_AN_INSERT_MAX]


@asynccontextmanager
async def opened(database: str) -> AsyncIterator[AsyncConnection]:
    """A connection to one of the shop's databases."""
    engine = engines.open_engine(places.url(database))
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()
