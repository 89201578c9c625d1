"""Money while something around it is not as it should be: databases that are busy or gone, clocks that differ, events
that come a month late, before our own commit, in shapes of the future, or far too large. On every engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
import tracemalloc
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from actions.billing import events, settlement
from actions.billing.inbox import Inbox
from db import columns, work
from db import session as db_session
from db.tables.central.billing import CheckoutSession, PaymentEvent, PurchaseStatus
from outside import services
from tenancy.house import close_house, open_house
from tests import serving
from tests.actions import shop as goods
from tests.actions import till
from tests.proofs import killing, money_rules
from tests.world import Person, World, on_every_engine

pytestmark = pytest.mark.anyio

killing.load(__name__)

PATH = "/webhooks/stripe"
MEGABYTE = 1024 * 1024
SKEW_SECONDS = 600
CHILD_SECONDS_MAX = 120


@pytest.fixture
async def desk(shop):
    """The product over the shop, without a worker."""
    async with serving.serving(shop) as client:
        yield client


async def post(client, provider, event, **how):
    headers, body = provider.signed(event, **how)
    return await client.request("POST", PATH, content=body, headers=headers)


# ------------------------------------------------------------------------------------------- the same again


async def _a_month_ago(db, /):
    past = db.now - timedelta(days=events.BODY_DAYS_MAX + 1)
    await db.change(sa.update(PaymentEvent).values(created_at=past))


async def _bodies(db, /):
    return list(await db.all(sa.select(PaymentEvent.body).where(PaymentEvent.body.is_not(None))))


@pytest.mark.fault(7, 8)
@on_every_engine
async def test_what_comes_again_after_its_body_was_let_go_of_is_known_and_changes_nothing(shop, provider, desk):
    alice = await shop.tenant("alice")
    _, session = await till.bought(shop, alice)
    provider.pay(session)
    told = provider.events()
    await till.tell(shop.house, told)
    await shop.house.system().on_system(_a_month_ago)
    await events.prune(shop.house)
    assert await shop.house.system().on_system(_bodies) == []
    # Another process, which remembers none of them, is told: fifty times at once, then each of the others.
    (paid,) = [each for each in told if each["type"] == "checkout.session.completed"]
    answers = await asyncio.gather(*(post(desk, provider, paid) for _ in range(50)))
    answers += [await post(desk, provider, event) for event in told]
    assert {(each.status_code, each.json()["code"]) for each in answers} == {(200, "KNOWN")}
    await till.catch_up(shop.house)
    assert await till.funds(shop, alice) == (100, 0)
    assert await money_rules.broken(shop, [alice], acknowledged=[each["id"] for each in told]) == []


# ------------------------------------------------------------------------------------------- databases


@contextlib.contextmanager
def held(url: str):
    """A SQLite file that somebody else writes to and does not let go of; nobody tries it twice meanwhile."""
    other = sqlite3.connect(make_url(url).database or "", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.MonkeyPatch.context() as impatient:
            impatient.setattr(db_session, "TRIES_MAX", 1)
            yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@pytest.mark.fault(10)
async def test_while_centrals_file_is_held_nothing_is_acknowledged_and_the_redelivery_does_all(shop, provider, desk):
    alice = await shop.tenant("alice")
    _, session = await till.bought(shop, alice)
    provider.pay(session)
    told = provider.events()
    with held(shop.settings.central_url):
        answers = [await post(desk, provider, event) for event in told[:2]]
    assert [each.status_code for each in answers] == [503, 503]
    assert {each.json()["errors"][0]["extensions"]["code"] for each in answers} == {"CENTRAL_UNAVAILABLE"}
    assert await till.event_states(shop.house) == {}
    assert {(await post(desk, provider, event)).status_code for event in told} == {200}
    await till.catch_up(shop.house)
    assert await till.funds(shop, alice) == (100, 0)


@pytest.mark.fault(5)
async def test_while_a_pools_file_is_held_its_credit_waits_and_others_get_theirs(shop, provider):
    people: dict[str, Person] = {}
    while len(people) < 2:
        person = await shop.tenant("alice")
        people.setdefault((await shop.system(person.tenant_id)).tenant_route.pool, person)
    (pool, alice), (_, bob) = people.items()
    for number, person in enumerate(people.values()):
        _, session = await till.bought(shop, person, slug=f"p{number}")
        provider.pay(session)
    with held(shop.settings.pools[pool]):
        await till.tell(shop.house, provider.events())
    assert await till.funds(shop, bob) == (100, 0)
    (waiting,) = await goods.settlements(shop, alice)
    assert (waiting.state.name, waiting.tries > 0, bool(waiting.error)) == ("DUE", True, True)
    await settlement.settle_everything(shop.house)
    assert await till.funds(shop, alice) == (100, 0)
    assert await money_rules.broken(shop, people.values()) == []


# ------------------------------------------------------------------------------------------- before we were ready


@pytest.mark.fault(14, 25)
@on_every_engine
async def test_what_names_a_purchase_that_is_not_there_yet_is_replayed_by_itself_when_it_is(shop, provider, desk):
    alice, bob = await shop.tenant("alice"), await shop.tenant("bob")
    early, session = await till.bought(shop, alice)
    _, other = await till.bought(shop, bob, slug="other")
    provider.pay(session)
    provider.pay(other)
    told = [each for each in provider.events() if each["type"] == "checkout.session.completed"]
    strange = json.loads(json.dumps(told[1]).replace(bob.tenant_id, "nobody9"))
    unknown = {**told[0], "id": "evt_type", "type": "treasury.outbound_payment.canceled"}
    # The purchase is there and its page is not: our own commit of it is still to come.
    await shop.house.system().on_system(_forget_page, early)
    for event in (told[0], {**strange, "id": "evt_tenant"}, unknown):
        assert (await post(desk, provider, event)).status_code == 200
    await asyncio.gather(*shop.house.tasks)
    await till.catch_up(shop.house)
    assert (await till.purchase(shop, alice, early)).status is PurchaseStatus.PAID
    assert (await till.funds(shop, alice), await till.funds(shop, bob)) == ((100, 0), (0, 0))
    states = await till.event_states(shop.house)
    assert states["WAITING"] == ["checkout.session.completed"]
    assert states["IGNORED"] == ["treasury.outbound_payment.canceled"]
    assert await money_rules.of_one(shop, alice) == []


async def _forget_page(db, purchase_id, /):
    await db.change(sa.delete(CheckoutSession).where(CheckoutSession.purchase_id == purchase_id))


@pytest.mark.fault(14)
@on_every_engine
async def test_an_event_of_a_version_that_moved_its_fields_is_read_by_asking_for_its_object(shop, provider, desk):
    alice = await shop.tenant("alice")
    purchase_id, session = await till.bought(shop, alice)
    provider.pay(session)
    for event in provider.events():
        thing = event["data"]["object"]
        moved = {"api_version": "2031-01-01.elm", "id": f"{event['id']}_later"}
        for name in ("amount_received", "amount_captured", "amount_total", "payment_status"):
            thing.pop(name, None)
        assert (await post(desk, provider, {**event, **moved})).status_code == 200
    await till.catch_up(shop.house)
    assert (await till.purchase(shop, alice, purchase_id)).status is PurchaseStatus.PAID
    assert await till.funds(shop, alice) == (100, 0)
    assert await money_rules.broken(shop, [alice]) == []


# ------------------------------------------------------------------------------------------- far too much


@pytest.mark.fault(15)
@on_every_engine
async def test_ten_megabytes_are_refused_in_constant_memory_and_what_is_no_json_by_400(shop, provider, desk):
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(5):
            assert await _first_line_after_ten_megabytes(desk.port) in (b"HTTP/1.1 413 Request Entity Too Large", b"")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # At most a body's worth is held and what the server reads ahead, never ten megabytes.
    assert peak - before < 6 * MEGABYTE
    for body in (b"", b"{", b"[]", json.dumps(provider_like()).encode()[:-9], b"\xff\xfe{}"):
        headers = {"content-type": "application/json", **provider.signature(body)}
        answer = await desk.request("POST", PATH, content=body, headers=headers)
        assert (answer.status_code, "Traceback" in answer.text) == (400, False)
    assert await till.event_states(shop.house) == {}


async def _first_line_after_ten_megabytes(port: int) -> bytes:
    """What a caller reads who sends it all, whatever it is told meanwhile; nothing where the connection was ended."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    piece = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    line = asyncio.ensure_future(reader.readline())
    with contextlib.suppress(ConnectionError):
        writer.write(b"POST /webhooks/stripe HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(160):
            writer.write(piece)
            await writer.drain()
    try:
        return (await asyncio.wait_for(line, 30)).strip()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def provider_like():
    return {"id": "evt_1", "object": "event", "type": "charge.succeeded", "created": 1_767_225_600, "livemode": False}


# ------------------------------------------------------------------------------------------- clocks


def _elsewhere(settings, seconds, story, facts):
    """A process whose own clock is wrong by so much, from before its house is opened."""
    real = time.time
    time.time = lambda: real() + seconds
    columns.utc_now.__code__ = _wrong_now(seconds).__code__
    asyncio.run(_there(settings, story, facts))


async def _there(settings, story, facts):
    house = await open_house(settings, services.open_services(settings), hears=False)
    await story(house, *facts)
    await close_house(house)


def _wrong_now(seconds):
    body = f"from datetime import timedelta\n    return datetime.now(UTC) + timedelta(seconds={seconds})"
    made: dict = {}
    exec(f"def utc_now():\n    {body}\n", made)  # noqa: S102  (a function whose code can stand in place of another's needs no closure)
    return made["utc_now"]


async def _believing(house, engine, fresh, stale):
    """In the other process: what is signed now is believed, what is old is not, and nobody's lease has run out."""
    assert abs((columns.utc_now() - house.sessions.clock.now()).total_seconds()) < SKEW_SECONDS * 2
    async with serving.serving(World(engine, house.settings, house)) as client:
        for (headers, body), status in ((fresh, 200), (stale, 400)):
            answer = await client.request("POST", PATH, content=body.encode(), headers=headers)
            assert answer.status_code == status, answer.text
    assert await house.system().on_system(work.claim, ["held"], "late", most=5, seconds=60) == []
    (mine,) = await house.system().on_system(work.claim, ["free"], "late", most=5, seconds=60)
    assert mine.kind == "free"


async def _queue(db, tenant, kind, /):
    await work.enqueue(db, kind, tenant, ref_id=1)


@pytest.mark.fault(24)
@on_every_engine
@pytest.mark.parametrize("minutes", [-10, 10])
async def test_a_process_whose_clock_is_wrong_goes_by_the_databases(shop, provider, minutes):
    alice = await shop.tenant("alice")
    _, session = await till.bought(shop, alice)
    provider.pay(session)
    system = shop.house.system()
    for kind in ("held", "free"):
        await system.on_system(_queue, alice.tenant_id, kind)
    (ours,) = await system.on_system(work.claim, ["held"], "here", most=5, seconds=60)
    (event,) = provider.events("checkout.session.completed")
    fresh = _text(provider.signed(event))
    stale = _text(provider.signed({**event, "id": "evt_stale"}, at=time.time() - 400))
    process = killing._FORKS.Process(
        target=_elsewhere, args=(shop.settings, minutes * 60, _believing, (shop.engine, fresh, stale))
    )
    process.start()
    assert await asyncio.to_thread(killing._ended, process) == 0
    # What the other process claimed has not run out here either, and ours is still ours.
    assert await system.on_system(work.claim, ["free", "held"], "here", most=5, seconds=60) == []
    assert await system.on_system(work.extend, ours, seconds=60)
    await till.catch_up(shop.house)
    assert await till.funds(shop, alice) == (100, 0)
    assert "evt_stale" not in Inbox.of(shop.house)._known


def _text(signed):
    headers, body = signed
    return headers, body.decode()
