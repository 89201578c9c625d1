"""What people and banks do about purchases, told to `/webhooks/stripe` in any order and more than once: each story has
one end, by status and by tokens, whichever of its events came first.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from db.tables.central.billing import SettlementState
from tests import serving
from tests.actions import shop as goods
from tests.actions import till
from tests.proofs import money_rules
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio

PATH = "/webhooks/stripe"
SAMPLES = 200
# A story of so many events is told in every order there is: by `paid` each time.
WHOLE_EVENTS_MAX = 4
WHOLE_ORDERS = 24
AT_ONCE_MAX = 24
CENTS, TOKENS = 1_000, 100

Acts = Callable[[Any, str], Iterator[None]]


@dataclass(frozen=True)
class Story:
    """What happens to one session, a day passing at each `yield`; how the purchase ends and how many tokens stay."""

    acts: Acts
    ends: str
    stays: int
    currency: str = "EUR"


STORIES: dict[str, Story] = {}


def story(ends: str, stays: int, **more: str) -> Callable[[Acts], Acts]:
    def keep(acts: Acts) -> Acts:
        STORIES[acts.__name__] = Story(acts, ends, stays, **more)
        return acts

    return keep


@story("PAID", TOKENS)
def paid(bank, session):
    bank.pay(session)
    yield


@story("PAID", TOKENS, currency="JPY")
def paid_in_yen(bank, session):
    bank.pay(session)
    yield


@story("CANCELED", 0)
def left(bank, session):
    bank.expire(session)
    yield


@story("PAID", TOKENS)
def debit_that_came(bank, session):
    bank.pay(session, delayed=True)
    yield
    bank.settle(session)


@story("FAILED", 0)
def debit_that_bounced(bank, session):
    bank.pay(session, delayed=True)
    yield
    bank.bounce(session)


@story("PAID", TOKENS)
def declined_then_paid(bank, session):
    bank.decline(session)
    bank.pay(session)
    yield


@story("PAID", TOKENS)
def refund_that_failed(bank, session):
    bank.pay(session)
    refund = bank.refund(bank.intent_of(session)["id"], pending=True)
    yield
    bank.fail_refund(refund["id"])


@story("PARTIALLY_REFUNDED", 60)
def refund_that_was_called_off(bank, session):
    bank.pay(session)
    intent = bank.intent_of(session)["id"]
    bank.refund(intent, 400)
    refund = bank.refund(intent, 300, pending=True)
    yield
    bank.cancel_refund(refund["id"])


@story("REFUNDED", 0)
def refunded(bank, session):
    bank.pay(session)
    yield
    bank.refund(bank.intent_of(session)["id"])


@story("PARTIALLY_REFUNDED", 50)
def two_equal_refunds(bank, session):
    bank.pay(session)
    intent = bank.intent_of(session)["id"]
    bank.refund(intent, 250)
    bank.refund(intent, 250)
    yield


@story("PARTIALLY_REFUNDED", 1)
def three_thirds(bank, session):
    bank.pay(session)
    for _ in range(3):
        bank.refund(bank.intent_of(session)["id"], 333)
    yield


@story("PAID", TOKENS)
def inquiry(bank, session):
    bank.pay(session)
    dispute = bank.dispute(bank.intent_of(session)["id"], kind="inquiry")
    yield
    bank.close_dispute(dispute["id"], won=True)


@story("DISPUTED", 60)
def disputed_in_part(bank, session):
    bank.pay(session)
    yield
    bank.dispute(bank.intent_of(session)["id"], amount=400)


@story("DISPUTED", 0)
def disputed_after_a_refund(bank, session):
    bank.pay(session)
    intent = bank.intent_of(session)["id"]
    bank.refund(intent, 300)
    yield
    bank.dispute(intent, amount=700)


@story("PAID", TOKENS)
def disputed_twice_and_won(bank, session):
    bank.pay(session)
    intent = bank.intent_of(session)["id"]
    for _ in range(2):
        dispute = bank.dispute(intent, amount=500)
        yield
        bank.close_dispute(dispute["id"], won=True)
        yield


@story("REFUNDED", 0)
def won_and_refunded_later(bank, session):
    bank.pay(session)
    intent = bank.intent_of(session)["id"]
    dispute = bank.dispute(intent)
    yield
    bank.close_dispute(dispute["id"], won=True)
    yield
    bank.refund(intent)


@story("REFUNDED", 0)
def lost(bank, session):
    bank.pay(session)
    dispute = bank.dispute(bank.intent_of(session)["id"])
    yield
    bank.close_dispute(dispute["id"], won=False)


@story("PAID", TOKENS)
def lost_appealed_won(bank, session):
    bank.pay(session)
    dispute = bank.dispute(bank.intent_of(session)["id"])
    yield
    bank.close_dispute(dispute["id"], won=False)
    yield
    bank.appeal(dispute["id"])
    yield
    bank.close_dispute(dispute["id"], won=True)


@dataclass
class Telling:
    """One purchase whose story is told; `order` is chosen when its events are known."""

    name: str
    person: Any
    purchase_id: Any
    session: str
    order: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture
async def desk(shop):
    """The product over the shop, without a worker."""
    async with serving.serving(shop) as client:
        yield client


@pytest.mark.fault(8, 9, 13, 25, 26, 29, 30, 31, 32)
@pytest.mark.slow
@on_every_engine
async def test_any_order_of_any_story_told_more_than_once_has_one_end(shop, provider, desk):
    dice = random.Random(9)
    people = [await shop.tenant(name) for name in ("alice", "bob", "carol")]
    tellings = await _begin(shop, people)
    _happen(provider, tellings)
    _choose_orders(provider, tellings, dice)
    assert len({_types(each) for each in tellings if each.name == paid.__name__}) == WHOLE_ORDERS
    gate = asyncio.Semaphore(AT_ONCE_MAX)
    await asyncio.gather(*(_tell(desk, provider, telling, gate) for telling in tellings))
    await till.catch_up(shop.house)
    told = {event["id"] for telling in tellings for event in telling.order}
    assert await money_rules.broken(shop, people, acknowledged=told) == []
    assert await _differences(shop, people, tellings) == []
    # What comes once more, a month later to another process, changes nothing.
    before = await _wallets(shop, people)
    await till.tell(shop.house, [event for telling in tellings[::10] for event in telling.order[:2]])
    assert await _wallets(shop, people) == before


def _types(telling: Telling) -> tuple[str, ...]:
    return tuple(event["type"] for event in telling.order[:WHOLE_EVENTS_MAX])


async def _begin(shop, people) -> list[Telling]:
    """As many purchases of each story as it will have orders."""
    packages = {
        currency: await goods.package(shop, currency.lower(), cents=CENTS, tokens=TOKENS, currency=currency)
        for currency in ("EUR", "JPY")
    }
    gate = asyncio.Semaphore(4)

    async def buy(name: str, person: Any) -> Telling:
        async with gate:
            done = await goods.buy(shop, person, packages[STORIES[name].currency])
        return Telling(name, person, done.purchase_id, "")

    others = itertools.cycle(name for name in STORIES if name != paid.__name__)
    names = [paid.__name__] * WHOLE_ORDERS + list(itertools.islice(others, SAMPLES))
    tellings = await asyncio.gather(*(buy(name, person) for name, person in zip(names, itertools.cycle(people))))
    by_purchase = {each.purchase_id: each for person in people for each in await goods.sessions(shop, person)}
    for telling in tellings:
        telling.session = by_purchase[telling.purchase_id].provider_session_id
    return tellings


def _happen(provider, tellings: list[Telling]) -> None:
    running = [STORIES[telling.name].acts(provider, telling.session) for telling in tellings]
    while running:
        running = [each for each in running if next(each, StopIteration) is not StopIteration]
        provider.clock(days=1)


def _choose_orders(provider, tellings: list[Telling], dice: random.Random) -> None:
    """Every order where a story has few events, as far as there are tellings; else drawn ones; some told twice."""
    events = _by_purchase(provider)
    drawn: dict[str, Iterator[tuple[int, ...]]] = {}
    for telling in tellings:
        told = events[f"{telling.purchase_id:x}"]
        if len(told) <= WHOLE_EVENTS_MAX:
            places = drawn.setdefault(telling.name, itertools.cycle(itertools.permutations(range(len(told)))))
            telling.order = [told[place] for place in next(places)]
        else:
            telling.order = dice.sample(told, len(told))
        telling.order += dice.sample(told, min(2, len(told)))


def _by_purchase(provider) -> dict[str, list[dict[str, Any]]]:
    """Purchase in metadata → its events in order; what has no metadata is found by its intent."""
    intents: dict[str, str] = {}
    found: dict[str, list[dict[str, Any]]] = {}
    events = provider.events()
    for event in events:
        thing = event["data"]["object"]
        named = (thing.get("metadata") or {}).get("purchase")
        if named and thing["object"] == "payment_intent":
            intents[thing["id"]] = named
    for event in events:
        thing = event["data"]["object"]
        named = (thing.get("metadata") or {}).get("purchase") or intents.get(str(thing.get("payment_intent")))
        if named:
            found.setdefault(named, []).append(event)
    return found


async def _tell(desk, provider, telling: Telling, gate: asyncio.Semaphore) -> None:
    async with gate:
        for event in telling.order:
            headers, body = provider.signed(event)
            answer = await desk.request("POST", PATH, content=body, headers=headers)
            assert answer.status_code == 200, answer.text


async def _differences(shop, people, tellings: list[Telling]) -> list[str]:
    statuses: dict[Any, str] = {}
    stays: collections.Counter[Any] = collections.Counter()
    for person in people:
        statuses |= {each.id: each.status.name for each in await goods.purchases(shop, person)}
        for each in await goods.settlements(shop, person):
            stays[each.purchase_id] += each.tokens if each.state is SettlementState.SETTLED else 0
    return [
        f"{each.name} ended {statuses[each.purchase_id]} with {stays[each.purchase_id]} after "
        f"{[event['type'] for event in each.order]}"
        for each in tellings
        if (statuses[each.purchase_id], stays[each.purchase_id]) != (STORIES[each.name].ends, STORIES[each.name].stays)
    ]


async def _wallets(shop, people) -> list[tuple[int, int]]:
    return [await till.funds(shop, person) for person in people]
