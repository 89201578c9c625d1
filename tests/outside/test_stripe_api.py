"""The provider's client: what it answers, and which of four errors each failure is."""

from __future__ import annotations

import asyncio

import pytest
import stripe

from outside import stripe_api
from outside.stripe_api import Missing, NotSetUp, Payments, Refused, Unanswered
from tests import patience

pytestmark = pytest.mark.anyio

PRICE = {"currency": "eur", "unit_amount": 500, "product_data": {"name": "Small"}}
SESSION = {
    "mode": "payment",
    "line_items": [{"price_data": PRICE, "quantity": 1}],
    "success_url": "https://app.example.com/",
    "cancel_url": "https://app.example.com/",
}


@pytest.fixture
async def client(provider):
    made = Payments(provider.secret_key, api_base=provider.base)
    yield made
    await made.close()


async def test_objects_are_plain_and_one_key_is_one_object(client, provider):
    made = await asyncio.gather(*(client.create("checkout/sessions", SESSION, key=f"k{n % 2}") for n in range(4)))
    assert len({each["id"] for each in made}) == len(provider.all("checkout.session")) == 2
    assert all(isinstance(each["amount_total"], int) and isinstance(each, dict) for each in made)
    found = await client.get("checkout/sessions", made[0]["id"])
    assert found["id"] == made[0]["id"]
    ended = await client.expire_session(found["id"], key="e")
    assert ended["status"] == "expired"


async def test_a_list_goes_over_its_pages(client, provider, monkeypatch):
    monkeypatch.setattr(stripe_api, "PAGE_ROWS", 2)
    for number in range(5):
        await client.create("checkout/sessions", SESSION, key=f"k{number}")
    listed = [each["id"] async for each in client.list("checkout/sessions")]
    assert len(listed) == len(set(listed)) == 5
    monkeypatch.setattr(stripe_api, "PAGES_MAX", 2)
    with pytest.raises(stripe_api.ProviderError):
        [each async for each in client.list("checkout/sessions")]


async def test_a_no_is_told_from_no_answer(client, provider):
    with pytest.raises(Missing):
        await client.get("checkout/sessions", "cs_nothing")
    with pytest.raises(Missing):
        await client.get("invoices", "../../v1/balance?x=1")
    with pytest.raises(Refused) as refused:
        await client.create("checkout/sessions", {**SESSION, "success_url": ""}, key="a")
    assert refused.value.parameter == "success_url"
    await client.create("checkout/sessions", SESSION, key="b")
    with pytest.raises(Refused):
        await client.create("checkout/sessions", {**SESSION, "cancel_url": "https://b.example.com"}, key="b")
    for fault, is_kept in ((500, True), (429, False)):
        provider.next_fault[:] = [fault] * 3
        with pytest.raises(Unanswered) as unanswered:
            await client.create("checkout/sessions", SESSION, key=f"c{fault}")
        assert unanswered.value.is_kept is is_kept
        provider.next_fault.clear()


async def test_a_provider_that_hangs_is_left_after_the_limit(client, provider, monkeypatch):
    assert patience.SHIPPED["outside.stripe_api", "CALL_SECONDS_MAX"] < 15
    monkeypatch.setattr(stripe_api, "CALL_SECONDS_MAX", 0.3)
    provider.next_fault[:] = ["timeout_before"] * 3
    with pytest.raises(Unanswered):
        await client.create("checkout/sessions", SESSION, key="k")


async def test_no_key_or_a_wrong_one_is_not_set_up(provider):
    for secret_key in (None, "sk_test_wrong"):
        client = Payments(secret_key, api_base=provider.base)
        with pytest.raises(NotSetUp) as refused:
            await client.get("events", "evt_1")
        assert "ATRIUM_STRIPE_SECRET_KEY" in str(refused.value)
        assert str(secret_key) not in str(refused.value)
        await client.close()


async def test_nobody_at_the_address_is_no_answer():
    client = Payments("sk_test_1", api_base="http://127.0.0.1:9")
    with pytest.raises(Unanswered):
        await client.get("events", "evt_1")
    await client.close()


@pytest.mark.parametrize("key", ["", "sk test", "sk_test_\u00e9", "sk_test\n"])
def test_a_key_that_is_none_is_refused_by_its_variable(key):
    with pytest.raises(ValueError, match="ATRIUM_STRIPE_SECRET_KEY"):
        Payments(key)


@pytest.mark.parametrize("base", ["api.example.com", "ftp://a", "https://u:p@a", "https://a?x=1", "http://"])
def test_an_address_that_is_none_is_refused_by_its_variable(base):
    with pytest.raises(ValueError, match="ATRIUM_STRIPE_API_BASE"):
        Payments("sk_test_1", api_base=base)


def test_the_mode_is_in_the_key():
    assert Payments("sk_live_1").is_live
    assert Payments("rk_live_1").is_live
    assert not Payments("sk_test_live_1").is_live
    assert not Payments(None).is_live


def test_the_version_is_the_one_that_the_installed_library_describes():
    assert stripe._api_version._ApiVersion.CURRENT == stripe_api.API_VERSION
