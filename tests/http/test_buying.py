"""Buying as a frontend does it: a page, the provider's events, and then what the fields say."""

from __future__ import annotations

import asyncio

import pytest

from base.ids import global_id
from tests import serving
from tests.actions import shop as goods
from tests.actions import studio
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio

CHECKOUT = """mutation($input: CreateCheckoutInput!) { createCheckout(input: $input) {
  checkoutUrl purchase { id kind status amountCents currency tokens tokensCredited package { slug } payments { id } }
  userErrors { code field } } }"""
PURCHASES = """{ purchases { totalCount nodes { status tokensCredited
  payments { status amountCents refundedCents currency provider } } } wallet { balance } }"""
PLAN = "planSubscription { status cancelAtPeriodEnd currentPeriodEnd tier { slug } } userErrors { code field }"
HELD = "{ planSubscription { status cancelAtPeriodEnd tier { slug } } }"
BACK = {"successUrl": goods.SUCCESS, "cancelUrl": goods.CANCEL}


@pytest.fixture
async def selling(shop):
    """The product over the shop, with the worker."""
    async with serving.serving(shop, with_worker=True) as client:
        yield client


async def tell(client, provider):
    for event in provider.events():
        headers, body = provider.signed(event)
        answer = await client.request("POST", "/webhooks/stripe", headers=headers, content=body)
        assert answer.status_code == 200


async def balance(socket):
    """What the wallet's subscription tells next."""
    return (await socket.receive())["payload"]["data"]["wallet"]["balance"]


async def until(ask, told):
    """Ask again until it is told, within the test's time."""
    while not told(found := await ask()):
        await asyncio.sleep(0.1)
    return found


@on_every_engine
async def test_a_buyer_pays_and_sees_the_tokens(shop, selling, provider):
    alice, small = await shop.tenant("alice"), await goods.package(shop, cents=999, tokens=120)
    me = {"host": alice.host, "token": alice.token}
    wish = {"packageId": global_id("Package", small), "idempotencyKey": "k", **BACK}
    first = (await selling.graphql(CHECKOUT, {"input": wish}, **me)).data["createCheckout"]
    again = (await selling.graphql(CHECKOUT, {"input": wish}, token=alice.token)).data["createCheckout"]
    assert first == again
    assert first["purchase"] | {"id": ""} == {
        "id": "",
        "kind": "PACKAGE",
        "status": "PENDING",
        "amountCents": 999,
        "currency": "EUR",
        "tokens": 120,
        "tokensCredited": False,
        "package": {"slug": "small"},
        "payments": [],
    }
    before = (await selling.graphql(PURCHASES, **me)).data["wallet"]["balance"]
    async with selling.socket(**me) as socket:
        await socket.subscribe("a", "subscription { wallet { balance } }")
        assert await balance(socket) == before
        provider.pay(goods.session_at(provider, first["checkoutUrl"]))
        await tell(selling, provider)
        # Nobody asks again: the socket says so.
        while (told := await balance(socket)) == before:
            pass
        assert told == before + 120

    async def look():
        return (await selling.graphql(PURCHASES, **me)).data

    seen = await until(look, lambda data: data["purchases"]["nodes"][0]["tokensCredited"])
    assert seen["wallet"]["balance"] == before + 120
    paid = {"status": "SUCCEEDED", "amountCents": 999, "refundedCents": 0, "currency": "EUR", "provider": "stripe"}
    assert seen["purchases"] == {
        "totalCount": 1,
        "nodes": [{"status": "PAID", "tokensCredited": True, "payments": [paid]}],
    }
    bob = await shop.tenant("bob")
    others = (await selling.graphql(PURCHASES, host=bob.host, token=bob.token)).data
    assert others["purchases"]["totalCount"] == 0
    over = (await selling.graphql(CHECKOUT, {"input": wish}, **me)).data["createCheckout"]
    assert (over["checkoutUrl"], over["purchase"]["status"]) == (None, "PAID")


@on_every_engine
async def test_refusals_name_the_field(shop, selling):
    alice, small = await shop.tenant("alice"), await goods.package(shop)
    good = {"packageId": global_id("Package", small), "idempotencyKey": "k", **BACK}
    me = {"host": alice.host, "token": alice.token}
    await selling.graphql(CHECKOUT, {"input": good}, **me)
    for change, code, field in (
        ({"successUrl": "http://app.example.com"}, "INVALID", "successUrl"),
        ({"cancelUrl": "javascript:alert(1)"}, "INVALID", "cancelUrl"),
        ({"idempotencyKey": ""}, "INVALID", "idempotencyKey"),
        ({"discountCode": "none"}, "CONFLICT", "idempotencyKey"),
        ({"discountCode": "none", "idempotencyKey": "l"}, "NOT_FOUND", "discountCode"),
        ({"packageId": global_id("Package", 7), "idempotencyKey": "m"}, "NOT_FOUND", "packageId"),
    ):
        answer = (await selling.graphql(CHECKOUT, {"input": {**good, **change}}, **me)).data["createCheckout"]
        assert answer["userErrors"] == [{"code": code, "field": ["input", field]}]
        assert answer["purchase"] is answer["checkoutUrl"] is None
    assert len(await goods.purchases(shop, alice)) == 1
    no_ability = await shop.token(alice, "read", "write")
    assert (await selling.graphql(CHECKOUT, {"input": good}, host=alice.host, token=no_ability)).codes == ["FORBIDDEN"]
    assert (await selling.graphql(CHECKOUT, {"input": good})).codes == ["UNAUTHENTICATED"]


@on_every_engine
async def test_a_plan_from_its_page_to_its_end(shop, selling, provider):
    alice, pro = await shop.tenant("alice"), await goods.tier(shop)
    lite = await goods.tier(shop, "lite", cents=500, tokens=50)
    me = {"host": alice.host, "token": alice.token}
    start = f"mutation($input: StartPlanInput!) {{ startPlan(input: $input) {{ checkoutUrl {PLAN} }} }}"
    begun = (await selling.graphql(start, {"input": {"tierId": global_id("Tier", pro), **BACK}}, **me)).data
    assert begun["startPlan"]["planSubscription"]["status"] == "INCOMPLETE"
    provider.pay(goods.session_at(provider, begun["startPlan"]["checkoutUrl"]))
    await tell(selling, provider)

    async def held():
        return (await selling.graphql(HELD, **me)).data["planSubscription"]

    await until(held, lambda plan: plan["status"] == "ACTIVE")
    second = (await selling.graphql(start, {"input": {"tierId": global_id("Tier", lite), **BACK}}, **me)).data
    assert second["startPlan"]["userErrors"][0]["code"] == "CONFLICT"
    change = f"mutation($input: ChangePlanInput!) {{ changePlan(input: $input) {{ checkoutUrl {PLAN} }} }}"
    changed = (await selling.graphql(change, {"input": {"tierId": global_id("Tier", lite)}}, **me)).data["changePlan"]
    assert (changed["planSubscription"]["tier"], changed["checkoutUrl"]) == ({"slug": "lite"}, None)
    for name, canceled in (("cancelPlan", True), ("resumePlan", False)):
        done = (await selling.graphql(f"mutation {{ {name} {{ {PLAN} }} }}", **me)).data[name]
        assert (done["planSubscription"]["cancelAtPeriodEnd"], done["userErrors"]) == (canceled, [])
    again = (await selling.graphql(f"mutation {{ resumePlan {{ {PLAN} }} }}", **me)).data["resumePlan"]
    assert again["userErrors"][0]["code"] == "CONFLICT"


@on_every_engine
async def test_staff_set_a_trial_and_a_buyer_has_it_once(shop, selling, provider):
    sam, alice = await shop.staff(), await shop.tenant("alice")
    tier = "tier { id trialDays creditsZeroInvoices } userErrors { code field }"
    create = f"mutation($input: CreateTierInput!) {{ createTier(input: $input) {{ {tier} }} }}"
    update = f"mutation($input: UpdateTierInput!) {{ updateTier(input: $input) {{ {tier} }} }}"
    given = {"slug": "pro", "name": "Pro", "monthlyPriceCents": 2_000, "currency": "EUR", "monthlyTokens": 500}
    plain = (await selling.graphql(create, {"input": given}, token=sam.token)).data["createTier"]["tier"]
    assert (plain["trialDays"], plain["creditsZeroInvoices"]) == (0, False)
    for days, told in ((731, ["input", "trialDays"]), (-1, ["input", "trialDays"])):
        refused = (
            await selling.graphql(update, {"input": {"id": plain["id"], "trialDays": days}}, token=sam.token)
        ).data
        assert refused["updateTier"] == {"tier": None, "userErrors": [{"code": "INVALID", "field": told}]}
    changed = {"id": plain["id"], "trialDays": 14, "creditsZeroInvoices": True}
    done = (await selling.graphql(update, {"input": changed}, token=sam.token)).data["updateTier"]
    assert done == {"tier": {**changed}, "userErrors": []}
    me = {"host": alice.host, "token": alice.token}
    start = "mutation($input: StartPlanInput!) { startPlan(input: $input) { checkoutUrl userErrors { code } } }"
    begun = (await selling.graphql(start, {"input": {"tierId": plain["id"], **BACK}}, **me)).data["startPlan"]
    (session,) = provider.all("checkout.session")
    assert (session["amount_total"], begun["checkoutUrl"]) == (0, session["url"])
    provider.pay(session["id"])
    await tell(selling, provider)
    held = "{ planSubscription { status trialEndsAt tier { trialDays } } wallet { balance } }"

    async def look():
        return (await selling.graphql(held, **me)).data

    seen = await until(look, lambda data: data["wallet"]["balance"] == studio.SIGN_UP + 500)
    plan = seen["planSubscription"]
    assert (plan["status"], plan["tier"], plan["trialEndsAt"] is None) == ("TRIALING", {"trialDays": 14}, False)
    emptied = {"id": plain["id"], "trialDays": None, "creditsZeroInvoices": None}
    done = (await selling.graphql(update, {"input": emptied}, token=sam.token)).data["updateTier"]
    assert done["tier"] | {"id": ""} == {"id": "", "trialDays": 0, "creditsZeroInvoices": False}
