"""Buckets of costs: what they hold, when they are refilled, whose they are, and that processes share them by slices."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace

import pytest
import redis.asyncio

from base import errors, observe, settings
from tenancy import budgets as module
from tenancy import slices
from tenancy.budgets import Budgets
from tenancy.slices import HELD_SECONDS, Slices
from tests.world import SECRET

pytestmark = pytest.mark.anyio

REDIS = "redis://127.0.0.1:6379/12"
SMALL = {
    "ATRIUM_COST_MAX": "100",
    "ATRIUM_BUDGET_ADDRESS": "200+20",
    "ATRIUM_BUDGET_VIEWER": "400+40",
    "ATRIUM_BUDGET_TENANT": "500+50",
}


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1_000.5

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def given(tmp_path):
    return lambda **more: settings.read({"ATRIUM_VAR": str(tmp_path), "ATRIUM_SECRET_KEY": SECRET, **SMALL, **more})


@pytest.fixture
def budgets(given, clock) -> Budgets:
    return Budgets(given(), clock=clock)


def asking(user: int | None = None, *, tenant: str | None = None, address: str = "10.0.0.1", worker: bool = False):
    """As much of a context as a budget looks at."""
    viewer = None if user is None else SimpleNamespace(user_id=user)
    route = None if tenant is None else SimpleNamespace(tenant_id=tenant)
    return SimpleNamespace(viewer=viewer, route=route, address=address, is_worker=worker)


async def spend(budgets: Budgets, ctx, total: int, *, each: int = 100) -> None:
    for _ in range(total // each):
        await budgets.charge(ctx, each)


async def left(budgets: Budgets, ctx) -> int:
    """What the caller's own bucket has, which asking for does not change."""
    charge = await budgets.charge(ctx, 1)
    charge.settle(0)
    return charge.told(0)["remaining"]


async def test_a_bucket_is_emptied_and_says_when_to_come_again(budgets, clock):
    ctx = asking()
    await spend(budgets, ctx, 200)
    with pytest.raises(errors.RateLimited, match="costs 90 and this address has 0 left") as caught:
        await budgets.charge(ctx, 90)
    assert caught.value.retry_after_seconds == 5  # 90 at 20 a second
    assert caught.value.cost == {"requested": 90, "actual": 0, "limit": 100, "remaining": 0, "restoreRate": 20}
    clock.now += 4
    with pytest.raises(errors.RateLimited) as caught:
        await budgets.charge(ctx, 90)
    assert caught.value.retry_after_seconds == 1
    clock.now += 1
    assert (await budgets.charge(ctx, 90)).told(90)["remaining"] == 10


async def test_a_bucket_is_refilled_by_whole_seconds_and_never_over_its_rim(budgets, clock):
    ctx = asking()
    await spend(budgets, ctx, 200)
    clock.now += 0.4
    with pytest.raises(errors.RateLimited):
        await budgets.charge(ctx, 1)
    clock.now += 0.2
    assert await left(budgets, ctx) == 20
    clock.now += 3_600
    assert await left(budgets, ctx) == 200


async def test_what_was_not_used_is_paid_back_and_what_was_used_beyond_is_taken(budgets):
    ctx = asking(5, tenant="alice1")
    charge = await budgets.charge(ctx, 100)
    charge.settle(30)
    assert charge.told(30) == {"requested": 100, "actual": 30, "limit": 100, "remaining": 370, "restoreRate": 40}
    more = await budgets.charge(ctx, 10)
    more.settle(60)
    assert more.told(60)["remaining"] == 310
    most = await budgets.charge(ctx, 1)
    most.settle(10_000)
    assert most.told(1)["remaining"] == 0, "never below nothing"
    back = await budgets.charge(asking(6), 1)
    back.settle(-10_000)
    assert back.told(1)["remaining"] == 400, "never over the rim"


async def test_one_that_is_dearer_than_any_may_be_costs_one_and_names_both_numbers(budgets):
    ctx = asking()
    with pytest.raises(errors.CostLimitExceeded, match="costs 101, and at most 100 is served") as caught:
        await budgets.charge(ctx, 101)
    assert caught.value.cost == {"requested": 101, "actual": 1, "limit": 100, "remaining": 199, "restoreRate": 20}
    with pytest.raises(errors.CostLimitExceeded, match="costs more than 1,000,000,000,000,") as caught:
        await budgets.charge(ctx, 2**500)
    assert caught.value.cost is not None
    assert caught.value.cost["requested"] == 10**12
    assert await left(budgets, ctx) == 198


async def test_refusals_empty_a_bucket_too(budgets):
    ctx = asking()
    for _ in range(200):
        with pytest.raises(errors.CostLimitExceeded):
            await budgets.charge(ctx, 1_000)
    with pytest.raises(errors.RateLimited):
        await budgets.charge(ctx, 1_000)


async def test_callers_have_buckets_of_their_own_and_members_share_their_tenants(budgets):
    await spend(budgets, asking(), 200)
    await budgets.charge(asking(address="10.0.0.2"), 100)
    await budgets.charge(asking(5), 100)
    with pytest.raises(errors.RateLimited, match="this address"):
        await budgets.charge(asking(), 1)
    await spend(budgets, asking(6, tenant="alice1"), 300)
    await spend(budgets, asking(7, tenant="alice1"), 200)
    with pytest.raises(errors.RateLimited, match="this tenant has 0 left") as caught:
        await budgets.charge(asking(7, tenant="alice1"), 100)
    assert caught.value.cost is not None
    assert caught.value.cost["remaining"] == 200, "nothing is taken of the caller's own"
    await budgets.charge(asking(7, tenant="bob2"), 100)
    await budgets.charge(asking(7), 100)


async def test_a_user_has_one_bucket_wherever_the_user_asks_from(budgets):
    for at, tenant in enumerate((None, "alice1", None, "bob2")):
        await budgets.charge(asking(5, tenant=tenant, address=f"10.0.0.{at}"), 100)
    with pytest.raises(errors.RateLimited, match="you have 0 left"):
        await budgets.charge(asking(5), 1)


async def test_a_worker_has_as_much_as_a_user(budgets):
    await spend(budgets, asking(worker=True), 400)
    with pytest.raises(errors.RateLimited):
        await budgets.charge(asking(worker=True), 1)
    assert await left(budgets, asking()) == 200


async def test_a_subscriber_of_ipv6_is_one_caller(budgets):
    await spend(budgets, asking(address="2001:db8:1:2:3:4:5:6"), 200)
    with pytest.raises(errors.RateLimited):
        await budgets.charge(asking(address="2001:db8:1:2::9"), 1)
    await budgets.charge(asking(address="2001:db8:1:3::9"), 1)


async def test_the_buckets_are_bounded_and_addresses_do_not_push_out_users(budgets, monkeypatch):
    monkeypatch.setattr(module, "ENTRIES_MAX", 50)
    await spend(budgets, asking(5), 400)
    await spend(budgets, asking(address="10.9.9.9"), 200)
    for at in range(500):
        await budgets.charge(asking(address=f"10.1.{at // 250}.{at % 250}"), 1)
    assert len(budgets._addresses) == 50
    assert await left(budgets, asking(address="10.9.9.9")) == 200, "forgotten, and full again"
    with pytest.raises(errors.RateLimited):
        await budgets.charge(asking(5), 1)


async def test_never_more_is_served_at_once_than_a_bucket_holds(budgets):
    async def ask() -> int:
        charge = await budgets.charge(asking(5, tenant="alice1"), 30)
        await asyncio.sleep(0)
        charge.settle(30)
        return 30

    served = await asyncio.gather(*(ask() for _ in range(100)), return_exceptions=True)
    assert sum(each for each in served if isinstance(each, int)) == 390
    assert all(isinstance(each, int | errors.RateLimited) for each in served)


async def test_an_event_takes_what_is_there_and_is_never_refused(budgets):
    ctx = asking(5, tenant="alice1")
    budgets.spend(ctx, 150)
    assert await left(budgets, ctx) == 250
    budgets.spend(ctx, 1_000)
    with pytest.raises(errors.RateLimited):
        await budgets.charge(ctx, 1)


async def test_an_operation_dearer_than_a_full_bucket_is_served_by_a_full_one(given, clock):
    budgets = Budgets(given(ATRIUM_BUDGET_ADDRESS="50+5"), clock=clock)
    await budgets.charge(asking(), 100)
    with pytest.raises(errors.RateLimited) as caught:
        await budgets.charge(asking(), 100)
    assert caught.value.retry_after_seconds == 10


async def test_what_is_asked_paid_back_and_refused_is_counted(budgets):
    def counted() -> list[int]:
        cells = [observe.COST.labels("requested"), observe.COST.labels("paid_back")]
        return [
            each.value for each in (*cells, *(observe.COST_REFUSED.labels(name) for name in ("operation", "viewer")))
        ]

    before = counted()
    (await budgets.charge(asking(5), 100)).settle(40)
    with pytest.raises(errors.CostLimitExceeded):
        await budgets.charge(asking(5), 500)
    await spend(budgets, asking(5), 300)
    with pytest.raises(errors.RateLimited):
        await budgets.charge(asking(5), 100)
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [400, 60, 1, 1]


@pytest.mark.parametrize("text", ["5000", "5000+", "+5", "0+5", "5+0", "-5+5", "5+5+5", "a+b", "5.0+1"])
def test_a_budget_that_is_none_names_its_variable(given, text):
    with pytest.raises(settings.SettingsError, match="ATRIUM_BUDGET_TENANT must be what it holds"):
        given(ATRIUM_BUDGET_TENANT=text)


# ---------------------------------------------------------------- shared by Redis


@pytest.fixture
async def redis_url():
    client = redis.asyncio.Redis.from_url(REDIS, socket_connect_timeout=60)
    try:
        await client.flushdb()
    except (redis.exceptions.RedisError, OSError):
        if os.environ.get("ATRIUM_REQUIRE_SERVICES") == "1":
            raise
        pytest.skip("redis does not answer")
    finally:
        await client.aclose()
    return REDIS


@pytest.fixture
async def processes(given, clock, redis_url, monkeypatch):
    """Two processes' budgets over one Redis, which refill nothing while a test runs; and how often each asks it."""
    monkeypatch.setattr(slices, "ANSWER_SECONDS_MAX", 30)
    slow = {name: f"{text.split('+')[0]}+1" for name, text in SMALL.items() if "BUDGET" in name}
    made = [Budgets(given(ATRIUM_REDIS_URL=redis_url, **slow), clock=clock) for _ in range(2)]
    yield made
    for each in made:
        await each.close()


async def served(budgets: Budgets, ctx, *, each: int) -> int:
    """How much of a cost is served until the first refusal."""
    total = 0
    while True:
        try:
            await budgets.charge(ctx, each)
        except errors.RateLimited:
            return total
        total += each


async def test_processes_share_a_bucket(processes):
    one, other = processes
    ctx = asking(5)
    await spend(one, ctx, 300)
    rest = await served(other, ctx, each=10)
    # What the first still holds of its slice, and a second or two of Redis' own clock.
    assert 400 - 300 - 400 // 20 <= rest <= 400 - 300 + 20
    with pytest.raises(errors.RateLimited):
        await other.charge(ctx, 50)


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """Whose slices Redis was asked for."""
    names: list[str] = []
    lease = Slices.lease

    async def noted(self, name, budget, *, need):
        names.append(name)
        return await lease(self, name, budget, need=need)

    monkeypatch.setattr(Slices, "lease", noted)
    return names


async def test_most_operations_ask_redis_nothing(processes, asked):
    for _ in range(200):
        (await processes[0].charge(asking(5, tenant="alice1"), 1)).settle(1)
    assert asked.count("viewer:5") == 200 // (400 // 20)
    assert asked.count("tenant:alice1") == 200 // (500 // 20)


async def test_concurrent_callers_of_two_processes_are_served_no_more_than_there_is(processes, asked):
    async def ask(budgets: Budgets) -> int:
        await budgets.charge(asking(5), 10)
        return 10

    answers = await asyncio.gather(*(ask(processes[at % 2]) for at in range(100)), return_exceptions=True)
    total = sum(each for each in answers if isinstance(each, int))
    assert 360 <= total <= 430
    assert len(asked) <= 400 // 20 + 4, "one asks for all who wait, and nobody again in the second that brought nothing"


async def test_what_a_process_did_not_use_goes_stale(processes, clock):
    one, _ = processes
    ctx = asking(5)
    await one.charge(ctx, 1)
    assert await left(one, ctx) == 19
    clock.now += HELD_SECONDS
    await one.charge(ctx, 1)
    assert await left(one, ctx) == 19


async def test_without_redis_every_process_goes_on_with_buckets_of_its_own(given, clock):
    before = observe.counts()["budgets_not_shared"]
    budgets = Budgets(given(ATRIUM_REDIS_URL="redis://127.0.0.1:1/0"), clock=clock)
    ctx = asking(5)
    assert await served(budgets, ctx, each=100) == 400
    assert observe.counts()["budgets_not_shared"] == before + 1, "told once, and not asked again at once"
    clock.now += 5
    assert await served(budgets, ctx, each=100) == 200
    await budgets.close()
