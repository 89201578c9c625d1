"""What doctor asks of money is seen to fail: each invariant is broken on purpose, told, and mended again."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa

from actions.billing import checks, counting, desk, processing
from base import observe
from db.tables.central.billing import PaymentEvent, PaymentEventState, Purchase, Settlement, SettlementState
from tenancy import checks as asked
from tenancy import handlers
from tests import serving
from tests.actions import shop as goods
from tests.actions import till
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio

LATE = timedelta(seconds=checks.LATE_SECONDS_MAX + 60)


async def wrong(shop) -> list[str]:
    """What the doctor's checks of money find wrong."""
    found = await asked.run(shop.house)
    return [finding.what for each in found for finding in each.findings if finding.wrong]


async def change(shop, table, condition, **values):
    """Write straight into central, past all rules."""
    return await shop.house.system().on_system(_change, table, condition, values)


async def _change(db, table, condition, values, /):
    return await db.change(sa.update(table).where(condition).values(**values))


async def moment(shop, *, ago):
    return shop.house.sessions.clock.now() - ago


@pytest.fixture
async def credited(shop, provider):
    """A purchase that is paid, settled and in the wallet: its buyer, and its settlement."""
    alice = await shop.tenant("alice")
    _, session = await till.bought(shop, alice)
    provider.pay(session)
    await till.tell(shop.house, provider.events())
    assert await wrong(shop) == []
    (settlement,) = await till.settlements(shop.house)
    return alice, settlement


@on_every_engine
async def test_a_credit_that_one_side_alone_knows_is_told(shop, credited):
    alice, settlement = credited
    mine = Settlement.id == settlement.id
    assert await change(shop, Settlement, mine, ledger_key="purchase-credit:dead")
    assert sorted(await wrong(shop)) == [
        f"{alice.tenant_id}: 1 ledger entries of purchases have no settlement ({settlement.ledger_key})",
        f"{alice.tenant_id}: 1 settlements are marked settled and have no ledger entry (purchase-credit:dead)",
    ]
    assert await change(shop, Settlement, mine, ledger_key=settlement.ledger_key)
    assert await wrong(shop) == []
    # A paid purchase whose tokens nobody has written down.
    bob = await shop.tenant("bob")
    purchase_id, _ = await till.bought(shop, bob, slug="other")
    theirs = sa.and_(Purchase.tenant_id == bob.tenant_id, Purchase.id == purchase_id)
    assert await change(shop, Purchase, theirs, earned_by=1)
    # Another of doctor's questions may miss the payment as well, where it is loaded.
    told = f"{bob.tenant_id}: 1 purchases were paid and nothing was written about their tokens ({purchase_id:x})"
    assert told in await wrong(shop)
    assert await till.funds(shop, alice) == (100, 0)


@on_every_engine
async def test_what_is_late_or_waits_for_a_person_is_told(shop, credited):
    _, settlement = credited
    mine, before = Settlement.id == settlement.id, await moment(shop, ago=LATE)
    await change(shop, Settlement, mine, state=SettlementState.DUE, created_at=before)
    (told,) = await wrong(shop)
    assert "1 settlements have been due for more than ten minutes" in told
    await change(shop, Settlement, mine, state=SettlementState.PARKED)
    (told,) = await wrong(shop)
    assert f"100 tokens of purchase {settlement.purchase_id:x} wait for a person" in told
    await change(shop, Settlement, mine, state=SettlementState.SETTLED)
    assert await wrong(shop) == []


@on_every_engine
async def test_an_event_that_is_left_lying_is_told(shop, credited):
    del credited
    one, before = PaymentEvent.type == "payment_intent.succeeded", await moment(shop, ago=LATE)
    for state, is_wrong in (
        (PaymentEventState.STORED, True),
        (PaymentEventState.FAILED, True),
        (PaymentEventState.WAITING, False),
        (PaymentEventState.PROCESSED, False),
    ):
        await change(shop, PaymentEvent, one, state=state, created_at=before)
        assert [f"are {state.name} for more than ten minutes" in each for each in await wrong(shop)] == (
            [True] if is_wrong else []
        )


async def told_of_events(shop) -> list[tuple[str, bool]]:
    """What doctor says of the provider's events, and whether it calls it wrong."""
    return [(each.what, each.wrong) for each in await checks.events_are_processed(shop.house)]


@pytest.mark.fault(38)
@on_every_engine
async def test_how_old_the_newest_event_is_and_what_still_misses_something_is_told(shop, provider):
    assert await told_of_events(shop) == []  # none has ever come
    alice = await shop.tenant("alice")
    _, session = await till.bought(shop, alice)
    provider.pay(session)
    await till.tell(shop.house, provider.events())
    assert await told_of_events(shop) == [("the newest event of the provider came 0.0 hours ago", False)]
    # The newest counts, whichever is the oldest.
    await change(shop, PaymentEvent, PaymentEvent.id > 0, created_at=await moment(shop, ago=timedelta(days=4)))
    newest = PaymentEvent.type == "checkout.session.completed"
    await change(shop, PaymentEvent, newest, created_at=await moment(shop, ago=timedelta(hours=30)))
    age = ("the newest event of the provider came 30.0 hours ago", False)
    assert await told_of_events(shop) == [age]
    waiting = PaymentEvent.type.in_(("charge.succeeded", "payment_intent.succeeded"))
    assert await change(shop, PaymentEvent, waiting, state=PaymentEventState.WAITING) == 2
    missed = ("2 events of the provider miss something that has not come", False)
    assert await told_of_events(shop) == [missed, age]
    # What has come a moment ago may wait.
    await change(shop, PaymentEvent, waiting, created_at=await moment(shop, ago=timedelta(seconds=1)))
    assert await told_of_events(shop) == [("the newest event of the provider came 0.0 hours ago", False)]


@pytest.fixture
async def owed(shop, provider):
    """Two purchases that are paid for and not yet posted, the first of them five hours ago, tried again later."""
    alice = await shop.tenant("alice")
    for slug in ("first", "second"):
        _, session = await till.bought(shop, alice, slug=slug)
        provider.pay(session)
    await shop.house.system().on_system(processing.process, await till.stored(shop.house, provider.events()), {})
    first, _ = await till.settlements(shop.house)
    before, later = await moment(shop, ago=timedelta(hours=5)), await moment(shop, ago=-timedelta(days=1))
    assert await change(shop, Settlement, Settlement.id == first.id, created_at=before, next_try_at=later)
    return alice


def gauge(name) -> float:
    """What `/metrics` of this process says."""
    (found,) = [line for line in observe.metrics().decode().splitlines() if line.startswith(f"{name} ")]
    return float(found.split()[1])


@on_every_engine
async def test_the_oldest_that_is_due_is_told_also_when_it_is_tried_later_than_others(shop, owed):
    del owed
    await counting.count_open(shop.house)
    assert 18_000 <= gauge("atrium_unsettled_seconds") < 18_600
    assert 0 <= gauge("atrium_payment_event_seconds") < 600
    assert observe.MONEY.labels("settlements", "DUE")._value.get() == 2
    newest = await moment(shop, ago=timedelta(hours=3))
    assert await change(shop, PaymentEvent, PaymentEvent.created_at > newest, created_at=newest)
    await counting.count_open(shop.house)
    assert 10_800 <= gauge("atrium_payment_event_seconds") < 11_400


@on_every_engine
async def test_a_process_that_serves_without_a_worker_tells_of_money_too(shop, owed, monkeypatch):
    del owed
    for name in ("money_open", "money_by_state"):
        loop = handlers.LOOPS[name]
        monkeypatch.setitem(handlers.LOOPS, name, handlers.Loop(name, 0.1, loop.run, loop.tells))
    observe.UNSETTLED_SECONDS.set(-1)
    observe.MONEY.clear()
    async with serving.serving(shop) as client, asyncio.timeout(120):
        while True:
            told = (await client.request("GET", "/metrics")).text
            if 'atrium_money{state="PAID",table="purchases"} 2.0' in told and "atrium_unsettled_seconds 18" in told:
                break
            await asyncio.sleep(0.1)


@on_every_engine
async def test_of_many_that_wait_for_a_person_the_number_is_told(shop, provider, monkeypatch):
    monkeypatch.setattr(checks, "SHOWN_MAX", 2)
    alice = await shop.tenant("alice")
    for number in range(4):
        _, session = await till.bought(shop, alice, slug=f"p{number}")
        provider.pay(session)
    told = provider.events()
    for event in told:
        thing = event["data"]["object"]
        for name in ("amount_total", "amount_received", "amount_captured", "amount"):
            if thing.get(name) == 1_000:
                thing[name] = 900
    await till.tell(shop.house, told)
    found = await checks.money_is_settled(shop.house)
    assert [each.what for each in found][2:] == ["2 more settlements wait for a person"]
    assert all("--credit|--refund|--close" in each.do for each in found[:2])
    before = await moment(shop, ago=LATE)
    assert await change(shop, Settlement, Settlement.id > 0, state=SettlementState.DUE, created_at=before)
    (late,) = await checks.money_is_settled(shop.house)
    assert late.what.startswith("4 settlements have been due for more than ten minutes")
    assert [each.status.name for each in await goods.purchases(shop, alice)] == ["PENDING"] * 4


@on_every_engine
async def test_what_waits_for_a_person_is_shown_however_much_is_due_before_it(shop, owed, monkeypatch):
    del owed
    monkeypatch.setattr(desk, "SHOWN_MAX", 1)
    first, second = await till.settlements(shop.house)
    assert await change(shop, Settlement, Settlement.id == second.id, state=SettlementState.PARKED)
    now = await desk.status(shop.house)
    assert [each.id for each in now.unsettled] == [second.id, first.id]
