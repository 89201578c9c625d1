"""Where money meets plans, tenants that leave or are suspended, jobs that run meanwhile, and events told twice."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random

import pytest
import sqlalchemy as sa

from actions import billing, jobs, suspension, webhooks_out
from actions.billing import processing, settlement
from actions.jobs import states
from actions.jobs.states import Result
from actions.media import files
from actions.media.files import Facts
from db.outbox import Envelope
from db.tables.central.billing import PurchaseStatus, SettlementState, SubscriptionStatus
from db.tables.pool.jobs import AiJobStatus
from db.tables.pool.upkeep import Outbox
from db.tables.pool.webhooks_out import WebhookDelivery
from outside import egress
from outside.egress import Egress
from tenancy import relaying
from tenancy.context import receive
from tests.actions import shop as goods
from tests.actions import studio, till
from tests.proofs import killing, money_rules
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio

killing.load(__name__)


async def begun(shop, person, **tier):
    """A plan that somebody is about to pay for: the provider's session."""
    tier_id = await goods.tier(shop, **tier)
    await billing.start_plan(await shop.of(person), tier_id, idempotency_key=None, **goods.BACK)
    return (await goods.sessions(shop, person))[-1].provider_session_id


# ------------------------------------------------------------------------------------------- plans


@pytest.mark.fault(16, 36)
@on_every_engine
async def test_each_renewal_brings_its_tokens_once_voided_ones_none_and_a_dispute_takes_its_own(shop, provider):
    alice, dice = await shop.tenant("alice"), random.Random(16)
    subscription = provider.pay(await begun(shop, alice))["subscription"]
    provider.clock(days=31)
    provider.renew(subscription)
    twice = provider.all("payment_intent")[-1]["id"]
    provider.clock(days=31)
    provider.renew(subscription, paid=False)
    provider.clock(days=3)
    (late,) = [each["id"] for each in provider.all("invoice") if each["status"] == "open"]
    provider.pay_invoice(late)
    provider.clock(days=31)
    provider.renew(subscription, paid=False)
    (voided,) = [each["id"] for each in provider.all("invoice") if each["status"] == "open"]
    provider.void_invoice(voided)
    provider.dispute(twice, amount=500)
    told = provider.events()
    # Each is told under a second name too: the invoice is what counts, not its events.
    told += [{**each, "id": f"{each['id']}_again"} for each in told if each["type"].startswith("invoice")]
    dice.shuffle(told)
    await till.tell(shop.house, told)
    assert await till.funds(shop, alice) == (500 * 3 - 125, 0)
    statuses = sorted(each.status.name for each in await goods.purchases(shop, alice))
    assert statuses == ["DISPUTED", "PAID", "PAID"]
    assert await money_rules.broken(shop, [alice]) == []


@pytest.mark.fault(27)
@on_every_engine
async def test_a_plan_that_costs_nothing_brings_its_tokens_once_an_invoice(shop, provider):
    alice = await shop.tenant("alice")
    subscription = provider.pay(await begun(shop, alice, cents=0, tokens=40))["subscription"]
    provider.clock(days=31)
    provider.renew(subscription)
    for _ in range(2):
        await till.tell(shop.house, provider.events())
    assert await till.funds(shop, alice) == (80, 0)
    assert {each.status for each in await goods.purchases(shop, alice)} == {PurchaseStatus.PAID}
    assert await money_rules.broken(shop, [alice]) == []


# ------------------------------------------------------------------------------------------- tenants


@pytest.mark.fault(22, 41)
@on_every_engine
@pytest.mark.parametrize("what", ["owed", "running"])
async def test_a_tenant_that_leaves_with_money_owed_and_a_job_running_leaves_nothing_dangling(shop, provider, what):
    alice, effects = await shop.tenant("alice"), await studio.catalog(shop)
    ctx, system = await shop.of(alice), await shop.system(alice.tenant_id)
    made = await studio.submit(ctx, effects["crop"])
    lease = await studio.claim(shop.house)
    assert await system.on_pool(states.begin, made.job_id, attempt=lease.attempt)
    _, session = await till.bought(shop, alice)
    provider.pay(session)
    ids = await till.stored(shop.house, provider.events())
    outcome = await shop.house.system().on_system(processing.process, ids, {})
    assert outcome.owed == {alice.tenant_id}
    await billing.close(shop.house.system(), alice.tenant_id, asked_by="ops", why="erased")
    assert [each.state for each in await goods.settlements(shop, alice)] == [SettlementState.SETTLED]
    if what == "running":
        # The job that ran goes on to its end, once.
        assert await system.on_pool(states.complete, made.job_id, attempt=lease.attempt, result=_result(ctx))
        assert not await system.on_pool(states.complete, made.job_id, attempt=lease.attempt, result=_result(ctx))
    else:
        await jobs.cancel_ai_job(ctx, made.job_id)
    spent = studio.COSTS["crop"] if what == "running" else 0
    assert await till.funds(shop, alice) == (100 - spent, 0)
    await relaying.deliver(shop.house, alice.tenant_id)
    await studio.work_off(shop.house)
    assert await money_rules.of_one(shop, alice) == []


def _result(ctx):
    return Result(
        output=Facts(
            key=files.new_key(ctx.tenant_id), name="o.mp4", mime_type="video/mp4", size_bytes=9, sha256="0" * 64
        ),
        duration_seconds=1.0,
    )


@pytest.mark.fault(42)
@on_every_engine
async def test_money_for_a_suspended_tenant_is_credited_its_plan_goes_on_and_its_jobs_wait(shop, provider):
    alice, effects = await shop.tenant("alice"), await studio.catalog(shop)
    ctx = await shop.of(alice)
    subscription = provider.pay(await begun(shop, alice))["subscription"]
    purchase_id, debit = await till.bought(shop, alice)
    provider.pay(debit, delayed=True)
    await till.tell(shop.house, provider.events())
    before, _ = await till.funds(shop, alice)
    made = await studio.submit(ctx, effects["crop"])
    await suspension.suspend(shop.house.system(), alice.tenant_id)
    provider.settle(debit)
    provider.clock(days=31)
    provider.renew(subscription)
    await till.tell(shop.house, provider.events())
    assert (await goods.plans(shop, alice))[0].status is SubscriptionStatus.ACTIVE
    assert (await till.purchase(shop, alice, purchase_id)).status is PurchaseStatus.PAID
    assert (await till.funds(shop, alice))[0] == before + 100 + 500 - studio.COSTS["crop"]
    assert (await studio.job(await shop.system(alice.tenant_id), made.job_id)).status is AiJobStatus.QUEUED
    assert await money_rules.of_one(shop, alice) == []
    await suspension.resume(shop.house.system(), alice.tenant_id)
    await studio.work_off(shop.house)
    assert (await studio.job(await shop.system(alice.tenant_id), made.job_id)).status in (
        AiJobStatus.FAILED,
        AiJobStatus.SUCCEEDED,
    )
    assert await money_rules.of_one(shop, alice) == []


# ------------------------------------------------------------------------------------------- told twice


async def _rows(db):
    return list(await db.all(sa.select(Outbox).order_by(Outbox.id)))


async def _deliveries(db):
    return list(await db.all(sa.select(WebhookDelivery.event_type).order_by(WebhookDelivery.id)))


async def settling(house):
    """What is owed goes into wallets, and what wallets tell is handed over."""
    await settlement.settle_everything(house)


async def relaying_on(house):
    """The relay's round: what a crash left behind is handed over."""
    for tenant in await relaying._undelivered(house):
        await relaying.deliver(house, tenant)


async def _killed(settings, story, died):
    """Tell a story until it was killed where `died` says so."""
    async with contextlib.aclosing(killing.each_kill(settings, story, works_between=False)) as kills:
        async for step in kills:
            assert step, f"{story.__name__} came to its end and never died there"
            if await died():
                return


@pytest.mark.fault(23)
@on_every_engine
async def test_what_wallets_tell_is_handed_over_twice_and_out_of_order_without_a_second_effect(shop, provider):
    alice = await shop.tenant("alice")
    shop.house.services[Egress] = egress.client(egress.parse_allow("127.0.0.0/8:*"))
    heard = ("purchase.paid", "purchase.refunded")
    await webhooks_out.create_webhook(await shop.of(alice), "http://127.0.0.1:9/hook", heard)
    _, session = await till.bought(shop, alice)
    provider.pay(session)
    provider.refund(provider.intent_of(session)["id"], 500)
    ids = await till.stored(shop.house, provider.events())
    await shop.house.system().on_system(processing.process, ids, {})
    system = await shop.system(alice.tenant_id)

    async def told():
        return tuple(row.type for row in await system.on_pool(_rows) if row.type in heard)

    async def nothing_is_handed_over():
        return await told() == heard

    async def some_is_handed_over():
        return len(await system.on_pool(_deliveries)) == 1

    # The process that credits dies between its commit and the delivery, and the relay in the middle of its batch.
    await _killed(shop.settings, settling, nothing_is_handed_over)
    envelopes = [Envelope.of_row(row) for row in await system.on_pool(_rows) if row.type in heard]
    await _killed(shop.settings, relaying_on, some_is_handed_over)
    assert await told() in (heard, heard[1:])
    for order in itertools.permutations(envelopes):
        await asyncio.gather(*(receive(system, each) for each in order))
        for each in order:
            await receive(system, each)
    assert await relaying.deliver(shop.house, alice.tenant_id)
    await till.catch_up(shop.house)
    assert await till.funds(shop, alice) == (50, 0)
    assert await system.on_pool(_rows) == []
    assert await system.on_pool(_deliveries) == list(heard)
    assert await money_rules.broken(shop, [alice]) == []
