"""From a paid page to the tenant's own endpoint, signed, and each once by its event, whoever is killed on the way:
`purchase.paid`, `wallet.credited` and `purchase.refunded`.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook as Verifier

from actions import webhooks_out
from actions.billing import processing, settlement
from actions.webhooks_out import telling
from base.ids import global_id
from db.tables.central.webhooks_out import Webhook
from db.tables.pool.upkeep import Outbox
from db.tables.pool.webhooks_out import WebhookDelivery, WebhookDeliveryStatus
from outside import egress
from outside.egress import Egress
from tenancy import relaying
from tests import provider as providers
from tests import serving
from tests import world as worlds
from tests.actions import shop as goods
from tests.actions import studio, till
from tests.actions import test_webhooks_out as acting
from tests.outside.receiver import receiving
from tests.proofs import killing, money_rules
from tests.world import on_every_engine

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

WAIT_SECONDS_MAX = 60
LOOPBACK = "127.0.0.0/8:*"
TYPES = ("purchase.paid", "purchase.refunded", "wallet.credited")
CREATE = """mutation($url: String!, $events: [String!]!) { createWebhook(input: {url: $url, events: $events}) {
  webhook { id } secret userErrors { code message } } }"""
CHECKOUT = """mutation($input: CreateCheckoutInput!) { createCheckout(input: $input) {
  checkoutUrl purchase { id } userErrors { code message } } }"""
REWARD = "mutation { claimReward(kind: DAILY) { userErrors { code message } } }"
LOG = "{ webhookDeliveries(first: 50) { totalCount nodes { eventType status } } }"

killing.load(__name__)


async def until(holds):
    """Look until it holds."""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while not (found := holds()):
            await asyncio.sleep(0.05)
        return found


def heard(receiver, secret):
    """Id → event of all that came in, each verified as a receiver would; one that came again says the same."""
    found: dict[str, dict[str, Any]] = {}
    for _, headers, body in receiver.requests:
        event = Verifier(secret).verify(body, headers)
        assert headers["webhook-id"] == event["event_id"]
        assert found.setdefault(event["event_id"], event) == event
    return found


def types(receiver, secret):
    """The types of all that came in, one for each event."""
    return sorted(event["type"] for event in heard(receiver, secret).values())


# ------------------------------------------------------------------------------------------- served


@pytest.fixture
async def selling(anyio_backend, engine, templates, tmp_path, provider):
    """A world in which things are bought, and the means to start `atrium serve` over it."""
    more = providers.environment(provider) | {"ATRIUM_EGRESS_ALLOW": LOOPBACK}
    made = await templates.fresh(engine, tmp_path)

    @contextlib.asynccontextmanager
    async def serve():
        starting = serving.process(worlds.environment(engine, made, tmp_path, **more), tmp_path)
        process = await asyncio.to_thread(starting.__enter__)
        client = serving.Client(process.port)
        try:
            yield client, process.running
        finally:
            await client.close()
            await asyncio.to_thread(starting.__exit__, None, None, None)

    async with worlds.opened(engine, made, tmp_path, **more) as shop:
        yield shop, serve


async def tell(client, provider):
    """The provider delivers all that it has to tell, what it has told before too."""
    for event in provider.events():
        headers, body = provider.signed(event)
        answer = await client.request("POST", "/webhooks/stripe", headers=headers, content=body)
        assert answer.status_code == 200


@pytest.mark.fault(23)
@on_every_engine
async def test_a_tenants_endpoint_hears_of_a_purchase_and_its_refund_also_from_a_server_that_was_killed(
    selling, provider
):
    shop, serve = selling
    alice, small = await shop.tenant("alice"), await goods.package(shop, cents=999, tokens=120)
    me = {"host": alice.host, "token": alice.token}
    wish = {"packageId": global_id("Package", small), "successUrl": goods.SUCCESS, "cancelUrl": goods.CANCEL}
    async with receiving(silent=True) as receiver:
        async with serve() as (client, process):
            made = (await client.graphql(CREATE, {"url": receiver.url, "events": TYPES}, **me)).data["createWebhook"]
            begun = (await client.graphql(CHECKOUT, {"input": wish}, **me)).data["createCheckout"]
            assert made["userErrors"] == begun["userErrors"] == []
            secret, purchase_id = made["secret"], begun["purchase"]["id"]
            session = goods.session_at(provider, begun["checkoutUrl"])
            provider.pay(session)
            await tell(client, provider)
            # The tokens are there, the endpoint is being told and says nothing: so the server dies.
            await until(lambda: receiver.requests)
            process.kill()
            await asyncio.to_thread(process.wait)
        receiver.silent = False
        await _a_day_later(shop, alice)
        async with serve() as (client, _):
            await until(lambda: types(receiver, secret) == ["purchase.paid", "wallet.credited"])
            provider.refund(provider.intent_of(session)["id"], 500)
            await tell(client, provider)
            await until(lambda: "purchase.refunded" in types(receiver, secret))
            await tell(client, provider)
            assert (await client.graphql(REWARD, **me)).data["claimReward"]["userErrors"] == []
            # What comes last has come: nothing else was on its way before it.
            await until(lambda: len(receiver.requests) > 3 and types(receiver, secret).count("wallet.credited") == 2)
            told = heard(receiver, secret)
            log = (await client.graphql(LOG, **me)).data["webhookDeliveries"]
    assert types(receiver, secret) == [*TYPES, "wallet.credited"]
    assert sorted(node["eventType"] for node in log["nodes"]) == [*TYPES, "wallet.credited"]
    data = {event["type"]: event["data"] for event in reversed(told.values())}
    assert data["purchase.paid"] == {
        "purchase_id": purchase_id, "kind": "PACKAGE", "tokens": 120, "amount_cents": 999, "currency": "EUR",
    }  # fmt: skip
    assert data["purchase.refunded"] == {
        "purchase_id": purchase_id, "tokens": 120 * 500 // 999, "refunded_cents": 500, "currency": "EUR",
    }  # fmt: skip
    credited = {key: data["wallet.credited"][key] for key in ("kind", "amount", "balance")}
    assert credited == {"kind": "PURCHASE", "amount": 120, "balance": studio.SIGN_UP + 120}
    assert await money_rules.broken(shop, [alice]) == []


# ------------------------------------------------------------------------------------------- killed at every step


async def crediting(house):
    """What is owed goes into wallets, and what is to be told of it is written down for each endpoint."""
    await settlement.settle_everything(house)


async def _a_day_later(shop, person):
    """What a dead worker held is free again, and what waits is due."""
    system = await shop.system(person.tenant_id)
    await studio.expire_leases(shop.house)
    await system.on_system(_let_go, person.tenant_id)
    await system.on_pool(_all_due)


async def _let_go(db, tenant, /):
    db.act_for(tenant=tenant)
    mine = sa.update(Webhook).where(Webhook.tenant_id == tenant)
    await db.change(mine.values(busy_until=None, resume_at=None))
    hooks = await db.all(sa.select(Webhook.id).where(Webhook.tenant_id == tenant))
    await telling.wake(db, tenant, hooks)


async def _all_due(db, /):
    pending = WebhookDelivery.status == WebhookDeliveryStatus.PENDING
    await db.change(sa.update(WebhookDelivery).where(pending).values(next_attempt_at=db.now))


async def _look(db, /):
    pending = WebhookDelivery.status == WebhookDeliveryStatus.PENDING
    waiting = await db.first(sa.select(sa.func.count(Outbox.id)))
    return waiting, await db.first(sa.select(sa.func.count(WebhookDelivery.id)).where(pending))


async def _stage(shop, person, *, credits):
    """How far the killed process got, as its databases say."""
    if len(await till.keys(shop, person)) < credits:
        return "owed"
    waiting, pending = await (await shop.system(person.tenant_id)).on_pool(_look)
    return ("recorded" if pending else "credited") if waiting else "told"


@pytest.mark.fault(23)
@on_every_engine
async def test_a_purchase_killed_at_any_step_after_its_event_is_heard_of_once_by_each_id(shop, provider):
    alice, number, stages = await shop.tenant("alice"), 0, set()
    shop.house.services[Egress] = egress.client(egress.parse_allow(LOOPBACK))

    async def another():
        nonlocal number
        number += 1
        purchase_id, session = await till.bought(shop, alice, slug=f"p{number}")
        known = provider.events()
        provider.pay(session)
        ids = await till.stored(shop.house, [each for each in provider.events() if each not in known])
        await shop.house.system().on_system(processing.process, ids, {})
        return global_id("Purchase", purchase_id)

    async with receiving() as receiver:
        shown = await webhooks_out.create_webhook(await shop.of(alice), receiver.url, TYPES)
        bought = [await another()]
        async for step in killing.each_kill(shop.settings, crediting, works_between=False):
            stages.add(await _stage(shop, alice, credits=number))
            await settlement.settle_everything(shop.house)
            assert await relaying.deliver(shop.house, alice.tenant_id)
            await _a_day_later(shop, alice)
            await acting.send(shop.house)
            told = heard(receiver, shown.secret)
            paid = [each["data"]["purchase_id"] for each in told.values() if each["type"] == "purchase.paid"]
            assert sorted(paid) == sorted(bought), step
            assert types(receiver, shown.secret) == ["purchase.paid"] * number + ["wallet.credited"] * number, step
            if step:
                bought.append(await another())
    assert stages == {"owed", "credited", "recorded", "told"}
    assert await money_rules.broken(shop, [alice]) == []
