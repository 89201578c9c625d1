"""What came while something was set wrong, or never came at all, is made good by the commands that are there for it."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from actions import billing
from actions.billing import desk, events, expiry, reconcile, sessions
from actions.billing.desk import Person
from actions.billing.reconcile import Repaired
from base import errors
from db.tables.central.billing import PaymentEvent, PlanSubscription, Purchase, SubscriptionStatus
from db.tables.central.work import Timer
from outside import stripe_api
from outside.stripe_api import Payments
from tests.actions import shop as goods
from tests.actions import till
from tests.provider import calling
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio

BY = Person("sam@desk", "the endpoint was set up with another key")
DAY = timedelta(days=1)


async def held(shop, provider, person, tier):
    """Somebody has begun a plan and paid for it; the provider's subscription."""
    begun = await billing.start_plan(await shop.of(person), tier, idempotency_key=None, **goods.BACK)
    return provider.pay(goods.session_at(provider, begun.url))["subscription"]


async def replay(shop, *, event=None, since=None, failed=False):
    return await desk.replay(shop.house.system(), event=event, since=since, failed=failed, by=BY)


async def repair(shop, ago):
    since = shop.house.sessions.clock.now() - ago
    return await desk.repair(shop.house.system(), since, by=BY)


async def due_again(shop, *, age):
    """Every stored event came so long ago, and its time has come."""
    await shop.house.system().on_system(_due_again, age)


async def _due_again(db, age, /):
    now = db.now
    await db.change(sa.update(PaymentEvent).values(created_at=now - age, next_try_at=now - timedelta(seconds=1)))


# ------------------------------------------------------------------------------------------- the key was another


async def kept_as_foreign(shop, provider):
    """A renewal whose events all came while our key was of the other mode: the subscriber and the events."""
    alice, lite = await shop.tenant("alice"), await goods.tier(shop, "lite", cents=1_000, tokens=100)
    subscription = await held(shop, provider, alice, lite)
    await till.tell(shop.house, provider.events())
    last = provider.events()[-1]
    provider.clock(days=31)
    provider.renew(subscription)
    told = provider.events(since=last)
    for event in told:
        await shop.house.system().on_system(events.store, [till.incoming(event, is_foreign=True)])
    await till.catch_up(shop.house)
    assert await till.funds(shop, alice) == (100, 0)
    return alice, told


@on_every_engine
async def test_events_that_came_under_a_key_of_the_other_mode_are_taken_up_when_they_are_listed_as_ours(shop, provider):
    alice, told = await kept_as_foreign(shop, provider)
    assert (await repair(shop, 3 * DAY)).new == len(told)
    assert await till.funds(shop, alice) == (200, 0)
    assert "FOREIGN" not in await till.event_states(shop.house)
    assert (await repair(shop, 3 * DAY)).new == 0


@on_every_engine
async def test_events_that_came_under_a_key_of_the_other_mode_can_be_processed_anew(shop, provider):
    alice, told = await kept_as_foreign(shop, provider)
    (paid,) = [each["id"] for each in told if each["type"] == "invoice.paid"]
    assert await replay(shop, event=paid) == 1
    assert await till.funds(shop, alice) == (200, 0)
    assert await replay(shop, since=shop.house.sessions.clock.now() - DAY) == len(provider.events())
    assert "FOREIGN" not in await till.event_states(shop.house)
    assert await till.funds(shop, alice) == (200, 0)


@on_every_engine
async def test_what_is_still_another_modes_or_accounts_stays_foreign(shop, provider):
    alice = await shop.tenant("alice")
    _, session = await till.bought(shop, alice)
    provider.pay(session)
    told = provider.events()
    for number, event in enumerate(told):
        event.update({"livemode": True} if number % 2 else {"account": "acct_other"})
        await shop.house.system().on_system(events.store, [till.incoming(event, is_foreign=True)])
        assert await shop.house.system().on_system(events.store, [till.incoming(event, is_foreign=True)]) == [None]
    assert await replay(shop, since=shop.house.sessions.clock.now() - DAY) == 0
    with pytest.raises(errors.NotFound):
        await replay(shop, event=told[0]["id"])
    assert set(await till.event_states(shop.house)) == {"FOREIGN"}
    assert await till.funds(shop, alice) == (0, 0)


# ------------------------------------------------------------------------------------------- nothing came


@on_every_engine
async def test_a_plan_whose_renewal_and_end_no_list_holds_any_more_is_found_out_by_asking(shop, provider):
    alice, lite = await shop.tenant("alice"), await goods.tier(shop, "lite", cents=1_000, tokens=100)
    subscription = await held(shop, provider, alice, lite)
    await till.tell(shop.house, provider.events())
    provider.clock(days=31)
    provider.renew(subscription)
    async with calling(provider) as caller:
        await caller.delete(f"/v1/subscriptions/{subscription}")
    provider.clock(days=31)
    done = await repair(shop, 3 * DAY)
    assert (done.listed, done.plans, done.unknown) == (0, 1, 0)
    assert [each.status for each in await goods.plans(shop, alice)] == [SubscriptionStatus.CANCELED]
    assert await till.funds(shop, alice) == (200, 0)
    assert (await repair(shop, 3 * DAY)).plans == 0
    provider.clock(days=-62)  # it makes no page that would be over at once by its own clock
    begun = await billing.start_plan(await shop.of(alice), lite, idempotency_key=None, **goods.BACK)
    assert begun.url is not None


@on_every_engine
async def test_the_worker_asks_for_a_plan_whose_period_has_ended_without_a_word(shop, provider):
    alice, lite = await shop.tenant("alice"), await goods.tier(shop, "lite", cents=1_000, tokens=100)
    subscription = await held(shop, provider, alice, lite)
    await till.tell(shop.house, provider.events())
    provider.clock(days=31)
    provider.renew(subscription)
    provider.clock(days=31)  # no list holds it any more
    await reconcile.reconcile_lately(shop.house)
    assert await till.funds(shop, alice) == (100, 0)
    await shop.house.system().on_system(_end_period, alice.tenant_id)
    await reconcile.reconcile_lately(shop.house)
    assert await till.funds(shop, alice) == (200, 0)
    done = Repaired()
    await reconcile.follow_late(shop.house, done)
    assert done.plans == 0


@pytest.mark.fault(14, 36)
@on_every_engine
async def test_a_refund_that_waited_for_a_renewal_is_woken_when_the_renewal_is_found_by_asking(shop, provider):
    alice, lite = await shop.tenant("alice"), await goods.tier(shop, "lite", cents=1_000, tokens=100)
    subscription = await held(shop, provider, alice, lite)
    await till.tell(shop.house, provider.events())
    provider.clock(days=31)
    provider.renew(subscription)
    last = provider.events()[-1]
    provider.refund(provider.all("payment_intent")[-1]["id"], 400)
    early = [each for each in provider.events(since=last) if each["type"] == "refund.created"]
    await till.tell(shop.house, early)
    assert (await till.event_states(shop.house))["WAITING"] == ["refund.created"]
    system = shop.house.system()
    await system.on_system(_try_tomorrow)
    assert await events.process_due(shop.house) == 0
    # Nobody has told of the renewal's invoice.
    (plan,) = await goods.plans(shop, alice)
    assert await expiry.follow(system, alice.tenant_id, plan.id, subscription=subscription)
    assert await events.process_due(shop.house) == 1
    assert "WAITING" not in await till.event_states(shop.house)
    await till.catch_up(shop.house)
    assert await till.funds(shop, alice) == (160, 0)


async def _try_tomorrow(db, /):
    await db.change(sa.update(PaymentEvent).values(next_try_at=db.now + DAY))


async def _end_period(db, tenant, /):
    """The plan's period ended long ago."""
    late = db.now - timedelta(seconds=reconcile.LATE_SECONDS + 60)
    await db.change(
        sa.update(PlanSubscription).where(PlanSubscription.tenant_id == tenant).values(current_period_end=late)
    )


@pytest.mark.fault(38, 40)
@on_every_engine
async def test_the_worker_asks_what_became_of_a_purchase_whose_timer_came_to_nothing(shop, provider, monkeypatch):
    people = {name: await shop.tenant(name) for name in ("alice", "bob", "carol", "dave")}
    bought = {name: await till.bought(shop, person, slug=name) for name, person in people.items()}
    provider.pay(bought["alice"][1])
    provider.expire(bought["bob"][1])
    provider.pay(bought["carol"][1], delayed=True)
    system = shop.house.system()

    async def lists_nothing(_house, _since, _done, /):
        """No list holds any of it any more."""

    monkeypatch.setattr(reconcile, "fetch_events", lists_nothing)
    await system.on_system(_over, [people[name].tenant_id for name in ("alice", "bob", "carol")])
    await reconcile.reconcile_lately(shop.house)
    statuses = [(await goods.purchases(shop, each))[0].status.name for each in people.values()]
    assert statuses == ["PENDING"] * 4  # each has its timer, and is left to it
    await system.on_system(_no_timers)
    done = Repaired()
    await reconcile.look_at_forgotten(shop.house, done)
    assert (done.purchases, done.undecided) == (3, 1)
    statuses = [(await goods.purchases(shop, each))[0].status.name for each in people.values()]
    assert statuses == ["PAID", "CANCELED", "PENDING", "PENDING"]
    assert await till.funds(shop, people["alice"]) == (100, 0)
    # The hourly round does it, too.
    provider.settle(bought["carol"][1])
    await reconcile.reconcile_lately(shop.house)
    assert await till.funds(shop, people["carol"]) == (100, 0)


async def _over(db, tenants, /):
    """The pages of these tenants were made so long ago that none can be open."""
    past = db.now - timedelta(seconds=sessions.OVER_SECONDS + reconcile.LATE_SECONDS + 60)
    await db.change(sa.update(Purchase).where(Purchase.tenant_id.in_(tenants)).values(created_at=past))


async def _no_timers(db, /):
    await db.change(sa.delete(Timer))


@on_every_engine
async def test_the_worker_lists_days_once_and_then_what_came_since_its_last_whole_round(shop, provider, monkeypatch):
    windows, listing = [], Payments.list

    def watched(self, kind, **filters):
        if kind == "events":
            windows.append(filters["created"]["gte"])
        return listing(self, kind, **filters)

    async def seconds_back():
        """How long ago the first window of a round begins."""
        windows.clear()
        await reconcile.reconcile_lately(shop.house)
        return shop.house.sessions.clock.now().timestamp() - windows[0]

    monkeypatch.setattr(Payments, "list", watched)
    days, hours = reconcile.WINDOW_DAYS * 86_400, reconcile.OVERLAP_SECONDS
    provider.next_fault[:] = [429] * 9
    assert await seconds_back() >= days
    provider.next_fault.clear()
    assert await seconds_back() >= days
    assert hours <= await seconds_back() < days


@on_every_engine
async def test_a_plan_that_the_provider_does_not_know_keeps_no_other_from_being_asked_for(shop, provider):
    lite = await goods.tier(shop, "lite", cents=1_000, tokens=100)
    alice, bob = await shop.tenant("alice"), await shop.tenant("bob")
    for person in (alice, bob):
        await held(shop, provider, person, lite)
    await till.tell(shop.house, provider.events())
    await shop.house.system().on_system(_rename, alice.tenant_id)
    done = await repair(shop, DAY)
    assert (done.plans, done.unknown) == (2, 1)


async def _rename(db, tenant, /):
    mine = PlanSubscription.tenant_id == tenant
    await db.change(sa.update(PlanSubscription).where(mine).values(provider_subscription_id="sub_elsewhere"))


# ------------------------------------------------------------------------------------------- many


@on_every_engine
async def test_events_are_processed_anew_batch_by_batch_and_each_of_them(shop, provider, monkeypatch):
    alice = await shop.tenant("alice")
    _, session = await till.bought(shop, alice)
    provider.pay(session)
    told = provider.events()
    await till.tell(shop.house, told)
    monkeypatch.setattr(events, "EVENTS_A_BATCH", 2)
    assert len(told) > 2
    assert await replay(shop, since=shop.house.sessions.clock.now() - DAY) == len(told)
    assert await till.funds(shop, alice) == (100, 0)


@on_every_engine
async def test_a_time_with_more_events_than_one_list_holds_is_read_window_by_window(shop, provider, monkeypatch):
    monkeypatch.setattr(stripe_api, "PAGE_ROWS", 8)
    monkeypatch.setattr(stripe_api, "PAGES_MAX", 1)
    provider.clock(days=-2)
    async with calling(provider) as caller:
        for _ in range(3):
            provider.pay(await caller.session())
            provider.clock(days=1)
    listed = len(provider.events())
    assert listed > 8
    assert (await repair(shop, 3 * DAY)).listed == listed


# ------------------------------------------------------------------------------------------- of nobody here


@on_every_engine
async def test_another_products_plan_is_foreign_and_asked_for_no_more(shop, provider, monkeypatch):
    async with calling(provider) as caller:
        provider.pay(await caller.plan())
    await till.tell(shop.house, provider.events())
    states = await till.event_states(shop.house)
    assert not [each for each in states.get("WAITING", []) if each.startswith(("invoice.", "customer."))]
    assert not states.get("FAILED")
    asked, payments = [], shop.house.service(Payments)
    real = payments.get

    async def noted(kind, name, /):
        asked.append(name)
        return await real(kind, name)

    monkeypatch.setattr(payments, "get", noted)
    await due_again(shop, age=DAY)
    await events.process_due(shop.house)
    assert asked == []
    # What carries no mark at all may still be told of; not longer than the provider lists anything.
    assert (await till.event_states(shop.house)).get("WAITING")
    await due_again(shop, age=31 * DAY)
    await events.process_due(shop.house)
    assert "WAITING" not in await till.event_states(shop.house)


@on_every_engine
async def test_what_names_a_purchase_of_ours_waits_for_it_however_long(shop, provider):
    alice = await shop.tenant("alice")
    _, session = await till.bought(shop, alice)
    provider.pay(session)
    (told,) = provider.events("checkout.session.completed")
    told["data"]["object"]["metadata"]["purchase"] = "1a2b"
    await till.tell(shop.house, [told])
    await due_again(shop, age=31 * DAY)
    await events.process_due(shop.house)
    assert await till.event_states(shop.house) == {"WAITING": ["checkout.session.completed"]}
