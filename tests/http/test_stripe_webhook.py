"""`/webhooks/stripe` from outside: who is believed, what is acknowledged, and that nobody gets a traceback."""

from __future__ import annotations

import asyncio
import hmac
import json
import time

import pytest
import stripe

from base import observe
from tests import provider as providers
from tests import serving
from tests import world as worlds
from tests.actions import till
from tests.world import on_every_engine
from webhooks import stripe_signature
from webhooks.stripe_signature import Rejected

pytestmark = pytest.mark.anyio

PATH = "/webhooks/stripe"
EVENT = {"id": "evt_1", "object": "event", "type": "customer.created", "created": 1_767_225_600, "livemode": False}
BODY = json.dumps({**EVENT, "api_version": None, "data": {"object": {"id": "cus_1"}}}).encode()
SECRET = "whsec_0123456789"


def library_signs(body: bytes, secret: str = SECRET, at: float | None = None) -> str:
    return stripe.WebhookSignature.generate_signature_header(
        body.decode(), secret, timestamp=int(time.time() if at is None else at)
    )


# ------------------------------------------------------------------------------------------- the verifier by itself


def test_what_the_library_signs_is_believed_with_any_of_the_live_secrets():
    for secrets in ([SECRET], ["whsec_new", SECRET], [SECRET, "whsec_new"]):
        event = stripe_signature.verify(BODY, library_signs(BODY), secrets, now_s=time.time())
        assert (event.name, event.type, event.created_s) == ("evt_1", "customer.created", 1_767_225_600)
    rotated = f"{library_signs(BODY, 'whsec_old')},{library_signs(BODY).partition(',')[2]}"
    assert stripe_signature.verify(BODY, rotated, [SECRET], now_s=time.time()).name == "evt_1"


DEEP = b"[" * 100_000
HEADERS = {
    "no header": None,
    "empty": "",
    "words": "hello",
    "no moment": "v1=" + "0" * 64,
    "no signature": "t=1767225600",
    "moment in other digits": "t=１７６７,v1=" + "0" * 64,
    "moment below zero": "t=-5,v1=" + "0" * 64,
    "moment without end": "t=" + "9" * 400 + ",v1=" + "0" * 64,
    "latin": "t=1767225600,v1=" + "é" * 64,
    "upper case": "t=1767225600,v1=" + "A" * 64,
    "short": "t=1767225600,v1=00",
    "other scheme": "t=1767225600,v0=" + "0" * 64,
    "many parts": ",".join(["v1=" + "0" * 64] * 100_000),
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=list(HEADERS))
def test_a_header_that_is_none_of_the_providers_is_rejected_and_nothing_else_is_raised(header):
    with pytest.raises(Rejected):
        stripe_signature.verify(BODY, header, [SECRET], now_s=1_767_225_600)


BODIES = {
    "empty": b"",
    "list": b"[]",
    "null": b"null",
    "number": b"7",
    "truncated": BODY[:-3],
    "not utf-8": b"\xff\xfe" + BODY,
    "utf-16": BODY.decode().encode("utf-16"),
    "deep": DEEP,
    "deep object": b'{"a":' * 100_000,
    "no event": b'{"id": "evt_1", "object": "charge", "type": "a.b", "created": 1}',
    "no id": b'{"object": "event", "type": "a.b", "created": 1}',
    "id of a kind": b'{"id": 7, "object": "event", "type": "a.b", "created": 1}',
    "endless id": b'{"id": "' + b"e" * 300 + b'", "object": "event", "type": "a.b", "created": 1}',
    "strange id": b'{"id": "evt_\\u0000", "object": "event", "type": "a.b", "created": 1}',
    "no moment": b'{"id": "evt_1", "object": "event", "type": "a.b"}',
    "moment of a kind": b'{"id": "evt_1", "object": "event", "type": "a.b", "created": true}',
    "moment without end": b'{"id": "evt_1", "object": "event", "type": "a.b", "created": 1e400}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=list(BODIES))
def test_a_signed_body_that_is_no_event_is_rejected_and_nothing_else_is_raised(body):
    digest = hmac.digest(SECRET.encode(), b"1767225600." + body, "sha256").hex()
    with pytest.raises(Rejected):
        stripe_signature.verify(body, f"t=1767225600,v1={digest}", [SECRET], now_s=1_767_225_600)


@pytest.mark.parametrize("seconds", [-301, 301, 86_400 * 365, -86_400 * 365])
def test_old_and_future_moments_are_rejected(seconds):
    header = library_signs(BODY, at=1_767_225_600 + seconds)
    with pytest.raises(Rejected):
        stripe_signature.verify(BODY, header, [SECRET], now_s=1_767_225_600)
    for near in (-299, 299):
        near_one = library_signs(BODY, at=1_767_225_600 + near)
        assert stripe_signature.verify(BODY, near_one, [SECRET], now_s=1_767_225_600).name == "evt_1"


@pytest.mark.parametrize("change", ["body", "secret"])
def test_another_body_or_secret_is_rejected(change):
    header = library_signs(BODY)
    body, secrets = (BODY + b" ", [SECRET]) if change == "body" else (BODY, ["whsec_other"])
    with pytest.raises(Rejected):
        stripe_signature.verify(body, header, secrets, now_s=time.time())


# ------------------------------------------------------------------------------------------- the endpoint


@pytest.fixture
async def desk(shop):
    """The product over a shop, without a worker."""
    async with serving.serving(shop) as client:
        yield client


async def post(client, provider, event, **how):
    headers, body = provider.signed(event, **how)
    return await client.request("POST", PATH, content=body, headers=headers)


async def count(shop) -> int:
    states = await till.event_states(shop.house)
    return sum(map(len, states.values()))


@on_every_engine
async def test_posted_events_reach_the_wallet_and_a_duplicate_is_known(shop, provider, desk):
    alice = await shop.tenant("alice")
    _, session = await till.bought(shop, alice)
    provider.pay(session)
    told = provider.events()
    answers = [await post(desk, provider, event) for event in told]
    assert [(each.status_code, each.json()["code"]) for each in answers] == [(200, "STORED")] * len(told)
    again = [await post(desk, provider, event) for event in told]
    assert [(each.status_code, each.json()["code"]) for each in again] == [(200, "KNOWN")] * len(told)
    await asyncio.gather(*shop.house.tasks)
    await till.catch_up(shop.house)
    assert await till.funds(shop, alice) == (100, 0)
    assert await count(shop) == len(told)


@on_every_engine
async def test_fifty_deliveries_at_once_store_one_event_and_credit_once(shop, provider, desk):
    alice = await shop.tenant("alice")
    _, session = await till.bought(shop, alice)
    provider.pay(session)
    (paid,) = provider.events("checkout.session.completed")
    answers = await asyncio.gather(*(post(desk, provider, paid) for _ in range(50)))
    assert {each.status_code for each in answers} == {200}
    assert sorted(each.json()["code"] for each in answers) == ["KNOWN"] * 49 + ["STORED"]
    await till.catch_up(shop.house)
    assert await till.funds(shop, alice) == (100, 0)
    assert await count(shop) == 1


async def test_duplicates_and_junk_cost_no_statement(shop, provider, desk):
    event = {**provider_event(provider), "id": "evt_once"}
    assert (await post(desk, provider, event)).status_code == 200
    await asyncio.gather(*shop.house.tasks)
    before = statements()
    for _ in range(100):
        assert (await post(desk, provider, event)).json()["code"] == "KNOWN"
        junk = await desk.request("POST", PATH, content=b"{}", headers={"stripe-signature": "t=1,v1=00"})
        assert junk.status_code == 400
    # What the process does by the clock is counted too, and is far less than one a request.
    assert statements() - before < 100


def statements() -> float:
    (metric,) = observe.STATEMENTS.collect()
    return sum(sample.value for sample in metric.samples if sample.name.endswith("_total"))


def provider_event(provider) -> dict:
    return {**EVENT, "api_version": None, "account": None, "data": {"object": {"id": "cus_1", "object": "customer"}}}


@on_every_engine
async def test_another_mode_or_account_is_acknowledged_and_kept_as_foreign(shop, provider, desk):
    changes: tuple[dict[str, object], ...] = ({"livemode": True}, {"account": "acct_other"})
    for number, change in enumerate(changes):
        event = {**provider_event(provider), **change, "id": f"evt_{number}", "type": "charge.succeeded"}
        assert (await post(desk, provider, event)).status_code == 200
    assert await till.event_states(shop.house) == {"FOREIGN": ["charge.succeeded"] * 2}


@pytest.mark.fault(12)
@on_every_engine
async def test_under_a_live_key_what_is_of_test_mode_is_acknowledged_and_never_credited(engine, templates, tmp_path):
    made = await templates.fresh(engine, tmp_path)
    with providers.running(secret_key=f"sk_live_{'0' * 32}") as provider:
        given = providers.environment(provider)
        async with worlds.opened(engine, made, tmp_path, **given) as live, serving.serving(live) as client:
            alice = await live.tenant("alice")
            purchase_id, session = await till.bought(live, alice)
            provider.pay(session)
            told = provider.events()
            assert {event["livemode"] for event in told} == {False}
            assert {(await post(client, provider, event)).status_code for event in told} == {200}
            await till.catch_up(live.house)
            assert set(await till.event_states(live.house)) == {"FOREIGN"}
            assert (await till.purchase(live, alice, purchase_id)).status.name == "PENDING"
            assert (await till.settlements(live.house), await till.funds(live, alice)) == ([], (0, 0))
            # The same of live mode is ours.
            for event in told:
                await post(client, provider, {**event, "livemode": True, "id": f"{event['id']}_live"})
            await till.catch_up(live.house)
            assert await till.funds(live, alice) == (100, 0)


@on_every_engine
async def test_a_version_that_no_database_could_keep_is_left_out(shop, provider, desk):
    for number, odd in enumerate(("2026\u0000", "2026-ä", "2" * 500, 7)):
        event = {**provider_event(provider), "id": f"evt_{number}", "api_version": odd}
        assert (await post(desk, provider, event)).status_code == 200
    assert await count(shop) == 4


@on_every_engine
async def test_what_is_not_believed_is_400_and_nothing_is_stored(shop, provider, desk):
    event, now = provider_event(provider), time.time()
    for how in ({"secret": "whsec_wrong"}, {"at": now - 3_600}, {"at": now + 3_600}):
        answer = await post(desk, provider, event, **how)
        assert answer.status_code == 400, how
        assert answer.json()["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    for name, body in BODIES.items():
        answer = await desk.request("POST", PATH, content=body, headers=provider.signature(body))
        assert answer.status_code == 400, name
        assert "Traceback" not in answer.text
    for header in (b"t=1,v1=\xe9", b"\xff\xfe", b"t=,v1="):
        answer = await desk.request("POST", PATH, content=BODY, headers={"stripe-signature": header})
        assert answer.status_code == 400, header
    assert await count(shop) == 0


@on_every_engine
async def test_an_old_secret_within_rotation_is_believed_and_an_empty_one_is_none(
    engine, templates, tmp_path, provider
):
    secrets = {**providers.environment(provider)}
    secrets["ATRIUM_STRIPE_WEBHOOK_SECRET"] = f"whsec_newest, {provider.webhook_secret},"
    made = await templates.fresh(engine, tmp_path)
    async with worlds.opened(engine, made, tmp_path, **secrets) as rotating, serving.serving(rotating) as client:
        for number, (secret, status) in enumerate({provider.webhook_secret: 200, "whsec_newest": 200, "": 400}.items()):
            body = json.dumps({**provider_event(provider), "id": f"evt_{number}"}).encode()
            headers = {"stripe-signature": library_signs(body, secret)}
            assert (await client.request("POST", PATH, content=body, headers=headers)).status_code == status


@on_every_engine
async def test_ten_megabytes_are_413_whether_their_length_is_told_or_not(shop, provider, desk):
    told = b"content-length: 10485760\r\n\r\n"
    untold = b"transfer-encoding: chunked\r\n\r\n" + b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    # Refused by its head alone, and while it comes: neither is waited for to its end.
    assert await first_line(desk.port, told) == b"HTTP/1.1 413 Request Entity Too Large"
    more = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    assert await first_line(desk.port, untold + 17 * more) == b"HTTP/1.1 413 Request Entity Too Large"
    assert await count(shop) == 0


async def first_line(port: int, rest: bytes) -> bytes:
    """The first line of the answer to a POST that is never ended."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /webhooks/stripe HTTP/1.1\r\nhost: localhost\r\n" + rest)
    line = await asyncio.wait_for(reader.readline(), 30)
    writer.close()
    return line.strip()


JSON_TYPES = ("application/json", "application/json; charset=utf-8", "Application/JSON ;charset=UTF-8", None)
OTHER_TYPES = ("text/plain", "application/x-www-form-urlencoded", "image/png", "application/jsonp", "", "json, */*")


@pytest.mark.fault(15)
@on_every_engine
async def test_only_json_that_is_posted_is_taken_whoever_signed_it(shop, provider, desk):
    assert (await desk.request("GET", PATH)).status_code == 405
    for number, kind in enumerate((*OTHER_TYPES, *JSON_TYPES)):
        headers, body = provider.signed({**provider_event(provider), "id": f"evt_{number}"})
        del headers["content-type"]
        if kind is not None:
            headers["content-type"] = kind
        answer = await desk.request("POST", PATH, content=body, headers=headers)
        assert answer.status_code == (400 if kind in OTHER_TYPES else 200), kind
        if kind in OTHER_TYPES:
            assert answer.json()["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert await count(shop) == len(JSON_TYPES)


async def test_without_a_provider_the_events_are_kept_by_who_sends_them(world, served):
    answer = await served.request("POST", PATH, content=BODY, headers={"stripe-signature": library_signs(BODY)})
    assert answer.status_code == 503
    assert answer.json()["errors"][0]["extensions"]["code"] == "PROVIDER_UNAVAILABLE"


async def test_a_secret_without_our_key_takes_no_event_since_nobody_knows_its_mode(templates, tmp_path, provider):
    given = providers.environment(provider)
    del given["ATRIUM_STRIPE_SECRET_KEY"]
    made = await templates.fresh("sqlite", tmp_path)
    async with worlds.opened("sqlite", made, tmp_path, **given) as keyless, serving.serving(keyless) as client:
        for live in (True, False):
            answer = await post(client, provider, {**provider_event(provider), "livemode": live})
            assert answer.status_code == 503
            assert answer.json()["errors"][0]["extensions"]["code"] == "PROVIDER_UNAVAILABLE"
        assert await till.event_states(keyless.house) == {}
