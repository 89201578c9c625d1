"""The sandbox provider as its client meets it: the published library, over real sockets."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest
import stripe

from outside.sandbox import shapes
from tests import provider as providers

HOUR = 3_600


@pytest.fixture
async def caller(provider):
    async with providers.calling(provider) as made:
        yield made


def refused(error, *, param=None, code=None, status=400):
    assert (error.value.http_status, error.value.param, error.value.code) == (status, param, code)
    return error.value


async def code_of(caller, key):
    """The provider's word for why a session could not be made; None where it was."""
    try:
        await caller.session(key=key)
    except stripe.StripeError as error:
        told: Any = error.json_body
        return told["error"]["code"]
    return None


# ------------------------------------------------------------------------------------------------ keys


async def test_one_key_makes_one_session_and_answers_the_same(provider, caller):
    first = await caller.post("/v1/checkout/sessions", key="k", **providers.checkout())
    again = await caller.post("/v1/checkout/sessions", key="k", **providers.checkout())
    assert first == again
    assert len(provider.all("checkout.session")) == 1


async def test_other_parameters_under_a_key_are_refused_and_do_nothing(provider, caller):
    await caller.session(key="k")
    with pytest.raises(stripe.IdempotencyError):
        await caller.session(key="k", amount=2_000)
    with pytest.raises(stripe.IdempotencyError):
        await caller.post("/v1/customers", key="k", email="a@example.com")
    assert len(provider.all("checkout.session")) == 1
    assert provider.all("customer") == []


async def test_a_refused_call_is_not_kept_under_its_key(provider, caller):
    with pytest.raises(stripe.InvalidRequestError):
        await caller.session(key="k", currency="euro")
    await caller.session(key="k")
    assert len(provider.all("checkout.session")) == 1
    # Nothing of the refused one is left either.
    assert len(provider.all("price")) == len(provider.all("product")) == 1


async def test_a_key_is_forgotten_after_24_hours(provider, caller):
    first = await caller.session(key="k")
    provider.clock(days=0.99)
    assert await caller.session(key="k") == first
    provider.clock(days=0.02)
    assert await caller.session(key="k") != first


async def test_a_replay_with_its_old_expiry_is_refused_once_the_key_is_forgotten(provider, caller):
    expires_at = int(time.time()) + 23 * HOUR
    await caller.session(key="k", expires_at=expires_at)
    provider.clock(days=1.01)
    with pytest.raises(stripe.InvalidRequestError) as error:
        await caller.session(key="k", expires_at=expires_at)
    refused(error, param="expires_at")
    assert [each["status"] for each in provider.all("checkout.session")] == ["expired"]


# ---------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(("fault", "made"), [(500, 0), ("500_after", 1)])
async def test_a_fault_of_the_providers_own_is_kept_under_the_key(provider, caller, fault, made):
    provider.next_fault[:] = [fault]
    for _ in range(2):
        with pytest.raises(stripe.APIError) as error:
            await caller.session(key="k")
        assert error.value.http_status == 500
    assert len(provider.all("checkout.session")) == made
    await caller.session(key="another")
    assert len(provider.all("checkout.session")) == made + 1


@pytest.mark.parametrize(("fault", "kind"), [(429, stripe.RateLimitError), (409, stripe.StripeError)])
async def test_a_conflict_and_a_limit_are_not_kept(provider, caller, fault, kind):
    provider.next_fault[:] = [fault]
    with pytest.raises(kind) as error:
        await caller.session(key="k")
    assert error.value.http_status == fault
    assert provider.all("checkout.session") == []
    await caller.session(key="k")


@pytest.mark.parametrize("fault", ["cut_before", "cut_after"])
async def test_a_lost_answer_is_asked_for_again_by_its_key(provider, fault):
    provider.next_fault[:] = [fault]
    async with providers.calling(provider, retries=2) as caller:
        await caller.session()
    assert len(provider.all("checkout.session")) == 1


@pytest.mark.parametrize(("fault", "made"), [("timeout_before", 0), ("timeout_after", 1)])
async def test_a_provider_that_hangs_leaves_the_caller_without_an_answer(provider, caller, fault, made):
    provider.next_fault[:] = [fault]
    async with providers.calling(provider, timeout=0.5) as hasty:
        with pytest.raises(stripe.APIConnectionError):
            await hasty.session(key="k")
    assert len(provider.all("checkout.session")) == made
    async with asyncio.timeout(30):
        # The provider may not have seen yet that the other caller left.
        while await code_of(caller, "k") is not None:
            await asyncio.sleep(0.05)
    assert len(provider.all("checkout.session")) == 1


async def test_a_key_in_flight_is_a_conflict(provider, caller):
    provider.next_fault[:] = ["timeout_before"]
    async with providers.calling(provider, timeout=60) as other:
        hanging = asyncio.create_task(other.session(key="k"))
        while provider.next_fault:
            await asyncio.sleep(0.01)
        assert await code_of(caller, "k") == "idempotency_key_in_use"
        hanging.cancel()
        await asyncio.wait([hanging])
    assert provider.all("checkout.session") == []


# ------------------------------------------------------------------------------------- who, and what


async def test_only_the_key_opens(provider):
    async with providers.calling(provider, key="sk_test_other") as stranger:
        with pytest.raises(stripe.AuthenticationError):
            await stranger.get("/v1/events")


def test_no_key_and_another_kind_of_key_open_nothing(provider):
    for headers in ({}, {"authorization": "Bearer"}, {"authorization": "Basic abc"}):
        answer = httpx.get(f"{provider.base}/v1/events", headers=headers, trust_env=False)
        assert (answer.status_code, answer.json()["error"]["type"]) == (401, "invalid_request_error")


def test_another_version_another_host_and_another_kind_of_body_are_refused(provider):
    key = {"authorization": f"Bearer {provider.secret_key}"}

    def ask(method, path, **more):
        headers = {**key, **more.pop("headers", {})}
        return httpx.request(method, f"{provider.base}{path}", headers=headers, trust_env=False, **more).status_code

    assert ask("GET", "/v1/events") == 200
    assert ask("GET", "/v1/events", headers={"stripe-version": "2019-01-01"}) == 400
    assert ask("GET", "/v1/events", headers={"host": "evil.example"}) == 400
    assert ask("POST", "/v1/customers", json={"email": "a@example.com"}) == 400
    assert ask("POST", "/v1/customers", content=b"\xff=\xff") == 400
    assert ask("POST", "/v1/customers", content=b"a=" + b"b" * 1_100_000) == 413
    assert ask("POST", "/v1/customers", content=b"a[b[c=1&[]=2&x[[y]]=3") == 400
    assert ask("GET", "/v1/nothing") == 404
    assert provider.all("customer") == []


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no lines": ({"line_items": []}, "line_items"),
    "unknown name": ({"colour": "red"}, "colour"),
    "unknown inner name": ({"payment_intent_data": {"colour": "red"}}, "payment_intent_data[colour]"),
    "no mode": ({"mode": ""}, "mode"),
    "another mode": ({"mode": "setup"}, "mode"),
    "too soon": ({"expires_at": 29 * 60}, "expires_at"),
    "too late": ({"expires_at": 24 * HOUR + 60}, "expires_at"),
    "no whole number": ({"expires_at": "soon"}, "expires_at"),
    "no success": ({"success_url": ""}, "success_url"),
    "no address": ({"cancel_url": "javascript:alert(1)"}, "cancel_url"),
    "a header in the address": ({"success_url": "https://a.example; script-src *"}, "success_url"),
    "adaptive pricing": ({"adaptive_pricing": {"enabled": True}}, "adaptive_pricing"),
    "taxes": ({"automatic_tax": {"enabled": True}}, "automatic_tax"),
    "promotion codes": ({"allow_promotion_codes": True}, "allow_promotion_codes"),
    "no such customer": ({"customer": "cus_none"}, "customer"),
    "discounts": ({"discounts": [{"coupon": "x"}]}, "discounts"),
}


@pytest.mark.parametrize("name", MISTAKES)
async def test_a_checkout_that_is_wrong_is_refused_by_the_name_of_the_parameter(provider, caller, name):
    changed, param = MISTAKES[name]
    if isinstance(changed.get("expires_at"), int):
        changed = {"expires_at": int(time.time()) + changed["expires_at"]}
    with pytest.raises(stripe.InvalidRequestError) as error:
        await caller.session(**changed)
    assert error.value.param == param
    assert [provider.all(kind) for kind in ("checkout.session", "price", "product", "event")] == [[], [], [], []]


@pytest.mark.parametrize(
    ("price", "param"),
    [
        ({"unit_amount": -1}, "line_items[0][price_data][unit_amount]"),
        ({"unit_amount": "10.5"}, "line_items[0][price_data][unit_amount]"),
        ({"unit_amount": 49}, "line_items"),
        ({"currency": "e"}, "line_items[0][price_data][currency]"),
        ({"recurring": {"interval": "month"}}, "line_items"),
        ({"product_data": {"name": ""}}, "line_items[0][price_data][product_data][name]"),
    ],
    ids=["below nothing", "a fraction", "too little", "no currency", "recurring", "no name"],
)
async def test_a_price_that_is_wrong_is_refused(caller, price, param):
    params = providers.checkout()
    params["line_items"][0]["price_data"] |= price
    with pytest.raises(stripe.InvalidRequestError) as error:
        await caller.post("/v1/checkout/sessions", **params)
    assert error.value.param == param


async def test_metadata_is_bounded_and_can_be_taken_away(provider, caller):
    made = await caller.session(metadata={"a": "1", "b": "2"})
    changed = await caller.post(f"/v1/checkout/sessions/{made}", metadata={"a": "", "c": "3"})
    assert changed["metadata"] == {"b": "2", "c": "3"}
    for wrong in ({"a": "x" * 501}, {"x" * 41: "a"}, {str(number): "a" for number in range(51)}):
        with pytest.raises(stripe.InvalidRequestError) as error:
            await caller.session(metadata=wrong)
        assert error.value.param == "metadata"


# ------------------------------------------------------------------------------------------- reading


async def test_what_is_not_there_is_missing_by_its_kind(caller):
    for path in ("checkout/sessions", "payment_intents", "charges", "refunds", "disputes", "invoices", "subscriptions"):
        with pytest.raises(stripe.InvalidRequestError) as error:
            await caller.get(f"/v1/{path}/nothing")
        refused(error, param="id", code="resource_missing", status=404)


async def test_every_object_is_read_by_its_id_as_it_is_kept(provider, caller):
    paid = provider.pay(await caller.plan())
    provider.renew(paid["subscription"])
    intent = provider.intent_of(paid["id"])["id"]
    provider.refund(intent, 100)
    provider.dispute(intent, "inquiry")
    addresses = {
        "balance_transaction": "balance_transactions",
        "charge": "charges",
        "checkout.session": "checkout/sessions",
        "customer": "customers",
        "dispute": "disputes",
        "event": "events",
        "invoice": "invoices",
        "invoice_payment": "invoice_payments",
        "payment_intent": "payment_intents",
        "payment_method": "payment_methods",
        "price": "prices",
        "product": "products",
        "refund": "refunds",
        "subscription": "subscriptions",
    }
    for kind, path in addresses.items():
        kept = provider.all(kind)
        assert kept, kind
        assert await caller.get(f"/v1/{path}/{kept[0]['id']}") == kept[0]
        listed = await caller.get(f"/v1/{path}", limit=100)
        assert listed["data"] == kept[::-1]
        assert listed["has_more"] is False


async def test_lists_go_page_by_page_newest_first(provider, caller):
    made = [await caller.session() for _ in range(7)][::-1]
    first = await caller.get("/v1/checkout/sessions", limit=3)
    assert [each["id"] for each in first["data"]] == made[:3]
    assert first["has_more"] is True
    second = await caller.get("/v1/checkout/sessions", limit=3, starting_after=made[2])
    assert [each["id"] for each in second["data"]] == made[3:6]
    last = await caller.get("/v1/checkout/sessions", limit=3, starting_after=made[5])
    assert ([each["id"] for each in last["data"]], last["has_more"]) == (made[6:], False)
    back = await caller.get("/v1/checkout/sessions", limit=3, ending_before=made[3])
    assert [each["id"] for each in back["data"]] == made[:3]
    assert len((await caller.get("/v1/checkout/sessions"))["data"]) == 7
    for wrong in ({"limit": 101}, {"limit": 0}, {"starting_after": "cs_test_none"}):
        with pytest.raises(stripe.InvalidRequestError):
            await caller.get("/v1/checkout/sessions", **wrong)


async def test_events_are_listed_by_time_and_type_for_thirty_days(provider, caller):
    provider.pay(await caller.session())
    provider.clock(days=10)
    middle = int(provider.book.now())
    provider.pay(await caller.session())
    everything = await caller.get("/v1/events", limit=100)
    assert len(everything["data"]) == 8
    late = await caller.get("/v1/events", limit=100, created={"gte": middle})
    early = await caller.get("/v1/events", limit=100, created={"lt": middle})
    assert [*late["data"], *early["data"]] == everything["data"]
    assert len(late["data"]) == 4
    one = await caller.get("/v1/events", type="charge.succeeded")
    assert {each["type"] for each in one["data"]} == {"charge.succeeded"}
    two = await caller.get("/v1/events", types=["charge.succeeded", "checkout.session.completed"])
    assert len(two["data"]) == 4
    provider.clock(days=21)
    assert (await caller.get("/v1/events", limit=100))["data"] == late["data"]
    assert len(provider.events()) == 8


async def test_what_is_left_out_comes_when_it_is_asked_for(provider, caller):
    session = provider.pay(await caller.plan())
    invoice = await caller.get(f"/v1/invoices/{session['invoice']}")
    assert invoice["payments"] is None
    asked = await caller.get(f"/v1/invoices/{session['invoice']}", expand=["payments", "payments.data.payment"])
    intent = asked["payments"]["data"][0]["payment"]["payment_intent"]
    assert intent == provider.intent_of(session["id"])["id"]
    found = await caller.get(
        f"/v1/checkout/sessions/{session['id']}", expand=["line_items", "subscription", "invoice.payments"]
    )
    assert found["line_items"]["data"][0]["description"] == "Plus"
    assert found["subscription"]["id"] == session["subscription"]
    assert found["invoice"]["payments"]["data"][0]["status"] == "paid"
    listed = await caller.get("/v1/charges", payment_intent=intent, expand=["data.refunds"])
    assert listed["data"][0]["refunds"]["data"] == []
    lines = await caller.get(f"/v1/checkout/sessions/{session['id']}/line_items")
    assert [each["amount_total"] for each in lines["data"]] == [1_000]
    by_intent = await caller.get("/v1/invoice_payments", payment={"type": "payment_intent", "payment_intent": intent})
    assert [each["invoice"] for each in by_intent["data"]] == [session["invoice"]]


# -------------------------------------------------------------------------------------------- shapes


def test_every_class_made_empty_is_what_the_library_describes():
    for kind, cls in shapes.CLASSES.items():
        if kind != "event":
            assert shapes.differences(shapes.blank(cls)) == []


def test_a_field_that_moved_is_named():
    refund = shapes.blank(stripe.Refund)
    assert shapes.differences(refund | {"amount": "5"}) == ["refund.amount: '5' is no int"]
    assert shapes.differences(refund | {"colour": None}) == ["refund.colour: unknown"]
    assert shapes.differences({k: v for k, v in refund.items() if k != "amount"}) == ["refund.amount: missing"]
    assert "none of" in shapes.differences(shapes.blank(stripe.Charge) | {"status": "gone"})[0]
    price = shapes.blank(stripe.Price) | {
        "recurring": {"interval": "eon", "interval_count": 1, "usage_type": "licensed"}
    }
    assert shapes.differences(price) == ["price.recurring.interval: 'eon' is none of 'day', 'month', 'week', 'year'"]
    with pytest.raises(KeyError, match="colour"):
        shapes.filled(refund, {"colour": "red"})
    event = shapes.blank(stripe.Event) | {"data": {"object": refund | {"amount": None}}}
    assert shapes.differences(event)[-1] == "event.data.object: refund.amount: None is no int"
