"""Money among several processes: what many take up at once happens once, and what one does the others hear."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from actions import billing, suspension
from actions.billing import desk, events, orders, settlement
from actions.billing.desk import Person
from base import errors
from db.tables.central.billing import PurchaseStatus, SessionStatus
from db.tables.central.provider import OrderState
from tests import provider as providers
from tests import serving
from tests import world as worlds
from tests.actions import shop as goods
from tests.actions import studio, till
from tests.proofs import killing, restart
from tests.proofs.test_crash_checkout import nobody_waits
from tests.world import on_every_engine

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PROCESSES = 3
BOUGHT = 4
TURN = "turn"
BY = Person("sam@desk", "the buyer asked for it")
WALLET = "subscription { wallet { balance } }"

killing.load(__name__)


async def working_off(house):
    """What a worker's rounds do with stored events and what wallets are owed."""
    await events.process_everything(house)
    await settlement.settle_everything(house)


async def sending(house):
    """A worker's round over orders without an answer."""
    await orders.send_open(house)


async def leaving(house):
    """The tenant leaves whose name stands in a file beside the databases."""
    await billing.close(house.system(), (house.settings.var / TURN).read_text(), asked_by=BY.who, why="erased")


@pytest.mark.fault(44, 45)
@on_every_engine
async def test_processes_that_take_up_the_same_events_and_orders_credit_and_change_once(shop, provider):
    alice = await shop.tenant("alice")
    for number in range(BOUGHT):
        _, session = await till.bought(shop, alice, slug=f"p{number}")
        provider.pay(session)
    told = await till.stored(shop.house, provider.events())
    await killing.side_by_side(shop.settings, working_off, count=PROCESSES)
    assert await till.funds(shop, alice) == (100 * BOUGHT, 0)
    assert len(set(await till.keys(shop, alice))) == len(await till.keys(shop, alice)) == BOUGHT
    assert [each.state.name for each in await till.settlements(shop.house)] == ["SETTLED"] * BOUGHT
    states = await till.event_states(shop.house)
    assert sum(map(len, states.values())) == len(told)
    assert set(states) <= {"PROCESSED", "IGNORED"}
    # Refunds that nobody answered: each is asked for once, whoever of them sends it.
    intents = [each["id"] for each in provider.all("payment_intent")]
    for intent in intents:
        provider.next_fault[:] = [429] * 9
        with pytest.raises(errors.ProviderUnavailable):
            await desk.refund(shop.house.system(), intent, cents=None, by=BY)
    provider.next_fault.clear()
    await shop.house.system().on_system(nobody_waits)
    await killing.side_by_side(shop.settings, sending, count=PROCESSES)
    assert {each.state for each in await goods.orders(shop, alice)} == {OrderState.DONE}
    assert sorted(each["payment_intent"] for each in provider.all("refund")) == sorted(intents)
    await till.catch_up(shop.house)
    assert await till.funds(shop, alice) == (0, 0)
    assert {each.status for each in await goods.purchases(shop, alice)} == {PurchaseStatus.REFUNDED}
    assert await restart.complaints(shop.house) == []


@pytest.mark.fault(2, 42)
@on_every_engine
async def test_a_worker_of_another_process_closes_pages_credits_and_is_heard_by_the_socket(
    engine, templates, tmp_path, provider
):
    made, more = await templates.fresh(engine, tmp_path), providers.environment(provider)
    environment = worlds.environment(engine, made, tmp_path, **more)
    async with worlds.opened(engine, made, tmp_path, **more) as shop:
        alice, bob, small = await shop.tenant("alice"), await shop.tenant("bob"), await goods.package(shop)
        async with serving.serving(shop) as client, client.socket(host=alice.host, token=alice.token) as socket:
            await socket.subscribe("a", WALLET)
            assert (await socket.receive())["payload"]["data"] == {"wallet": {"balance": studio.SIGN_UP}}
            begun = await goods.buy(shop, alice, small)
            provider.pay(goods.session_at(provider, begun.url))
            await goods.buy(shop, bob, small)
            # Stored and nothing more, as by a process that was killed then: the worker does the rest.
            await till.stored(shop.house, provider.events())
            await suspension.suspend(shop.house.system(), bob.tenant_id)
            with _worker(environment, tmp_path):
                told = (await socket.receive())["payload"]["data"]["wallet"]["balance"]
                while told == studio.SIGN_UP:
                    told = (await socket.receive())["payload"]["data"]["wallet"]["balance"]
                assert told == studio.SIGN_UP + 100
                while (await goods.sessions(shop, bob))[0].status is SessionStatus.OPEN:
                    await asyncio.sleep(0.1)
        assert [each["status"] for each in provider.all("checkout.session")] == ["complete", "expired"]
        assert (await goods.purchases(shop, bob))[0].status is PurchaseStatus.CANCELED


@contextlib.contextmanager
def _worker(environment, folder):
    """`atrium worker` as an operator starts it; ended with the block."""
    with (folder / "worker.log").open("wb") as out:
        running = serving.start("worker", environment=environment, out=out)
        try:
            yield running
        finally:
            running.terminate()
            running.wait(serving.STOP_SECONDS_MAX)


@pytest.mark.fault(41)
@on_every_engine
async def test_a_leaving_tenant_killed_at_any_step_leaves_nothing_to_be_paid(shop, provider):
    pro, small = await goods.tier(shop), await goods.package(shop)

    async def another():
        """Somebody with a plan, an open page, and tokens that are owed."""
        person = await shop.tenant("alice")
        begun = await billing.start_plan(await shop.of(person), pro, idempotency_key=None, **goods.BACK)
        provider.pay(goods.session_at(provider, begun.url))
        await goods.deliver(shop, provider)
        await goods.buy(shop, person, small)
        return person

    turn, kills = await another(), 0
    _turn(shop, turn)
    async for step in killing.each_kill(shop.settings, leaving, works_between=False):
        kills += 1
        await shop.house.system().on_system(nobody_waits)
        await orders.send_open(shop.house)
        await billing.close(shop.house.system(), turn.tenant_id, asked_by=BY.who, why="erased")
        (plan,) = await goods.plans(shop, turn)
        assert plan.status.name == "CANCELED", step
        assert {each.status for each in await goods.sessions(shop, turn)} <= {
            SessionStatus.COMPLETE,
            SessionStatus.EXPIRED,
        }
        assert {each.state for each in await goods.orders(shop, turn)} <= {OrderState.DONE, OrderState.REFUSED}
        assert {each.state.name for each in await goods.settlements(shop, turn)} == {"SETTLED"}
        if step:
            turn = await another()
            _turn(shop, turn)
    assert kills > 5
    assert {each["status"] for each in provider.all("subscription")} == {"canceled"}
    assert "open" not in {each["status"] for each in provider.all("checkout.session")}


def _turn(shop, person):
    (shop.settings.var / TURN).write_text(person.tenant_id)
