"""Killed anywhere between an event and an endpoint's answer: one delivery, heard at least once, under one id."""

from __future__ import annotations

import dataclasses
import json

import pytest
import sqlalchemy as sa

from actions import wallet, webhooks_out
from actions.wallet import Cause
from actions.webhooks_out import notices, sending, telling
from base.ids import Id
from db import work
from db.tables.central.webhooks_out import Webhook, WebhookStatus
from db.tables.pool.upkeep import Outbox
from db.tables.pool.wallet import TokenTransaction, TokenTransactionKind
from db.tables.pool.webhooks_out import WebhookDelivery, WebhookDeliveryStatus
from outside import egress
from outside.egress import Egress
from tenancy import relaying
from tests.actions import studio
from tests.actions import test_webhooks_out as acting
from tests.outside.receiver import receiving
from tests.proofs import killing, restart
from tests.world import on_every_engine

killing.load(__name__)


async def being_credited(house, tenant):
    """Tokens come in: the ledger's entry, its event, the deliveries, and the endpoints being woken."""
    ctx = await house.system_of(tenant)
    entries = await ctx.on_pool(_entries)
    cause = Cause(key=f"crash:{entries}")
    await ctx.on_pool(wallet.credit, TokenTransactionKind.ADJUSTMENT, 1, cause=cause)


async def being_sent(house, tenant, webhook_id):
    """A worker sends what is due to an endpoint."""
    ctx = await house.system_of(tenant)
    lease = work.Lease(
        job_id=Id(1), kind="webhook", tenant_id=tenant, ref_id=webhook_id, generation=1, attempt=1, owner="t",
        until=house.sessions.clock.now(), algorithm="",
    )  # fmt: skip
    await sending.send_due(ctx, lease, studio.alive)


def _open(world):
    """The settings of a process that may send to loopback."""
    return dataclasses.replace(world.settings, egress_allow="127.0.0.0/8:*")


async def _entries(db, /):
    return await db.first(sa.select(sa.func.count(TokenTransaction.id)))


async def _look(db, /):
    rows = list(await db.all(sa.select(WebhookDelivery).order_by(WebhookDelivery.id)))
    return rows, list(await db.all(sa.select(Outbox.type)))


async def _let_time_pass(db, tenant, /):
    """What a dead worker held is free again, and no endpoint pauses."""
    db.act_for(tenant=tenant)
    mine = sa.update(Webhook).where(Webhook.tenant_id == tenant)
    await db.change(mine.values(busy_until=None, resume_at=None))


async def _all_due(db, /):
    pending = WebhookDelivery.status == WebhookDeliveryStatus.PENDING
    await db.change(sa.update(WebhookDelivery).where(pending).values(next_attempt_at=db.now))


@pytest.mark.slow
@on_every_engine
async def test_an_event_killed_at_any_step_makes_one_delivery_that_is_sent(world):
    alice = await world.of(await world.tenant("alice"))
    world.house.services[Egress] = egress.client(egress.parse_allow("127.0.0.0/8:*"))
    system = await world.system(alice.tenant_id)
    async with receiving() as receiver:
        await webhooks_out.create_webhook(alice, receiver.url, ["wallet.credited"])
        counted = []
        async for _ in killing.each_kill(world.settings, being_credited, alice.tenant_id):
            for tenant in await relaying._undelivered(world.house):
                assert await relaying.deliver(world.house, tenant)
            await studio.expire_leases(world.house)
            await acting.send(world.house)
            rows, untold = await system.on_pool(_look)
            assert untold == []
            # The first of the ledger's entries was there before the endpoint.
            assert len(rows) == await system.on_pool(_entries) - 1
            assert {row.status for row in rows} <= {WebhookDeliveryStatus.SUCCEEDED}
            counted.append(len(rows))
        assert counted == sorted(counted)
        assert counted[-1] > 5, "it was killed after the entry, too"
        assert counted[0] == 0, "and before it"
        heard = [headers["webhook-id"] for _, headers, _ in receiver.requests]
        assert len(set(heard)) == counted[-1]
    assert await restart.complaints(world.house) == []


@pytest.mark.slow
@on_every_engine
async def test_a_worker_killed_at_any_step_of_sending_loses_nothing_and_repeats_under_the_same_id(world):
    alice = await world.of(await world.tenant("alice"))
    world.house.services[Egress] = egress.client(egress.parse_allow("127.0.0.0/8:*"))
    system = await world.system(alice.tenant_id)
    async with receiving() as receiver:
        shown = await webhooks_out.create_webhook(alice, receiver.url, ["wallet.credited"])
        told = 0
        async for step in killing.each_kill(_open(world), being_sent, alice.tenant_id, shown.webhook_id):
            if step:
                # What it held is not taken by others until its time is over, then it is.
                await system.on_system(_let_time_pass, alice.tenant_id)
                await system.on_pool(_all_due)
                await system.on_system(telling.wake, alice.tenant_id, [shown.webhook_id])
                await acting.send(world.house)
            rows, _ = await system.on_pool(_look)
            assert {row.status for row in rows} <= {WebhookDeliveryStatus.SUCCEEDED}
            assert {row.attempts for row in rows} <= {1}
            heard = {json.loads(body)["number"] for _, _, body in receiver.requests}
            assert heard == set(range(told))
            await acting.tell(alice, start=told)
            told += 1
    ids = [headers["webhook-id"] for _, headers, _ in receiver.requests]
    assert told > 8
    # Killed between the request and the note of it, an endpoint hears twice: at least once, never less.
    assert len(set(ids)) == told - 1 < len(ids)


@pytest.mark.slow
async def test_the_owner_is_written_to_however_often_the_worker_dies_over_it(world):
    alice = await world.of(await world.tenant("alice"))
    world.house.services[Egress] = egress.client(egress.parse_allow("127.0.0.0/8:*"))
    async with receiving(status=410) as receiver:
        shown = await webhooks_out.create_webhook(alice, receiver.url, ["wallet.credited"])
        await acting.tell(alice)
        disabled = None
        async for _ in killing.each_kill(_open(world), being_sent, alice.tenant_id, shown.webhook_id):
            hook = await acting.the_hook(alice, shown.webhook_id)
            waiting = await studio.works(world.house, notices.NOTICE)
            # Disabled and the letter queued: both, or neither.
            assert (hook.status is WebhookStatus.DISABLED) == (len(waiting) == 1)
            if hook.status is WebhookStatus.DISABLED:
                disabled = hook
                break
            await alice.on_system(_let_time_pass, alice.tenant_id)
            await (await world.system(alice.tenant_id)).on_pool(_all_due)
    assert disabled is not None
    await acting.letter(world, receiver.url)
