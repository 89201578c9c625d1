"""What a person asks for is sent at once, also to an endpoint that pauses; and when everything else is sent."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from actions import webhooks_out
from actions.webhooks_out import deliveries, faring, sending
from base import errors
from db.tables.central.webhooks_out import Webhook
from db.tables.pool.webhooks_out import WebhookDelivery
from tests.actions import studio
from tests.actions import test_webhooks_out as acting
from tests.actions.test_webhooks_out import FAILED, PENDING, SUCCEEDED
from tests.world import on_every_engine

ctx, receiver = acting.ctx, acting.receiver
FAILURES = 8


async def _fails(db, tenant, webhook_id, /):
    """So many attempts in a row failed, the last a moment ago; the answer is the end of its pause."""
    resume_at = db.now + faring.pause(FAILURES)
    values = {"failures": FAILURES, "failing_since": db.now, "resume_at": resume_at}
    here = sa.and_(Webhook.tenant_id == tenant, Webhook.id == webhook_id)
    assert await db.change(sa.update(Webhook).where(here).values(values)) == 1
    return resume_at


async def _hold(db, tenant, webhook_id, /):
    """Another worker sends to it."""
    here = sa.and_(Webhook.tenant_id == tenant, Webhook.id == webhook_id)
    held = sa.update(Webhook).where(here).values(busy_until=db.now + timedelta(seconds=sending.HELD_SECONDS))
    assert await db.change(held) == 1


async def _free(db, tenant, webhook_id, /):
    here = sa.and_(Webhook.tenant_id == tenant, Webhook.id == webhook_id)
    assert await db.change(sa.update(Webhook).where(here).values(busy_until=None)) == 1


async def _due(ctx):
    """When each delivery is said to be sent, the oldest first."""
    rows = await acting.deliveries(ctx)
    return await webhooks_out.due_at(ctx, [(row.id, row.webhook_id, row.next_attempt_at) for row in rows])


async def _ended(ctx, receiver, world):
    """An endpoint, and a delivery to it that has ended."""
    shown = await acting.hook(ctx, receiver)
    await acting.tell(ctx)
    await acting.send(world.house)
    [row] = await acting.deliveries(ctx)
    assert row.status is SUCCEEDED
    receiver.requests.clear()
    return shown, row.id


@on_every_engine
async def test_a_test_and_a_replay_are_tried_at_once_while_the_endpoint_pauses(world, ctx, receiver, monkeypatch):
    shown, ended = await _ended(ctx, receiver, world)
    resume_at = await ctx.on_system(_fails, ctx.tenant_id, shown.webhook_id)
    receiver.status = 500
    await acting.tell(ctx, 5, start=10)
    await acting.send(world.house)
    assert receiver.requests == [], "it pauses"
    await webhooks_out.replay_delivery(ctx, ended)
    tested = await webhooks_out.send_test(ctx, shown.webhook_id)
    await acting.send(world.house)
    asked = [row for row in await acting.deliveries(ctx) if row.id in (ended, tested)]
    assert [(row.status, row.attempts, row.response_status) for row in asked] == [(PENDING, 1, 500)] * 2
    assert len(receiver.requests) == 2, "what nobody asked for waits"
    failing = await acting.the_hook(ctx, shown.webhook_id)
    assert failing.failures == FAILURES + 2
    assert failing.resume_at >= resume_at
    # Tried once at once, they wait like everything.
    acting.pass_by(world, monkeypatch, seconds=30)
    await acting.send(world.house)
    assert len(receiver.requests) == 2
    receiver.status = 204
    await webhooks_out.send_test(ctx, shown.webhook_id)
    await acting.send(world.house)
    assert {row.status for row in await acting.deliveries(ctx)} == {SUCCEEDED}, "it is mended: all that waited is sent"
    assert (await acting.the_hook(ctx, shown.webhook_id)).failures == 0
    assert await studio.dead(world.house) == []


@on_every_engine
async def test_what_is_said_of_the_next_attempt_is_true(world, ctx, receiver, monkeypatch):
    shown, ended = await _ended(ctx, receiver, world)
    resume_at = await ctx.on_system(_fails, ctx.tenant_id, shown.webhook_id)
    await acting.tell(ctx, 1, start=10)
    now = world.house.sessions.clock.now()
    assert await _due(ctx) == [None, resume_at]
    await webhooks_out.replay_delivery(ctx, ended)
    await webhooks_out.send_test(ctx, shown.webhook_id)
    assert await _due(ctx) == [now, resume_at, now]
    receiver.status = 500
    await acting.send(world.house)
    resume_at = (await acting.the_hook(ctx, shown.webhook_id)).resume_at
    assert await _due(ctx) == [resume_at] * 3
    acting.pass_by(world, monkeypatch, seconds=(resume_at - now).total_seconds() - 1)
    await acting.send(world.house)
    assert len(receiver.requests) == 2
    acting.pass_by(world, monkeypatch, seconds=1)
    await acting.send(world.house)
    assert len(receiver.requests) == 3
    # Its own time is the later one.
    own = [row.next_attempt_at for row in await acting.deliveries(ctx)]
    resume_at = (await acting.the_hook(ctx, shown.webhook_id)).resume_at
    assert await _due(ctx) == [max(each, resume_at) for each in own]


@on_every_engine
async def test_what_was_ended_untried_is_sent_at_once_when_it_is_replayed(world, ctx, receiver):
    shown = await acting.hook(ctx, receiver)
    await acting.tell(ctx)
    await ctx.on_pool(sending.end_all, shown.webhook_id, error="The webhook was paused.")
    [row] = await acting.deliveries(ctx)
    assert (row.status, row.last_attempt_at) == (FAILED, None)
    await ctx.on_system(_fails, ctx.tenant_id, shown.webhook_id)
    await webhooks_out.replay_delivery(ctx, row.id)
    await acting.send(world.house)
    assert [row.status for row in await acting.deliveries(ctx)] == [SUCCEEDED]


@on_every_engine
async def test_what_is_asked_for_waits_for_the_worker_that_sends_to_the_endpoint(world, ctx, receiver, monkeypatch):
    shown = await acting.hook(ctx, receiver)
    await ctx.on_system(_fails, ctx.tenant_id, shown.webhook_id)
    await ctx.on_system(_hold, ctx.tenant_id, shown.webhook_id)
    await webhooks_out.send_test(ctx, shown.webhook_id)
    await acting.send(world.house)
    assert receiver.requests == []
    await ctx.on_system(_free, ctx.tenant_id, shown.webhook_id)
    acting.pass_by(world, monkeypatch, seconds=sending.BUSY_SECONDS)
    await acting.send(world.house)
    assert [row.status for row in await acting.deliveries(ctx)] == [SUCCEEDED]


@on_every_engine
async def test_a_crash_after_the_delivery_sends_it_some_seconds_later(world, ctx, receiver, monkeypatch):
    shown = await acting.hook(ctx, receiver)
    await ctx.on_system(_fails, ctx.tenant_id, shown.webhook_id)
    await ctx.on_system(deliveries._ready_for, ctx.tenant_id, shown.webhook_id)
    await ctx.on_pool(deliveries._make_test, shown.webhook_id, correlation_id="c")
    await acting.send(world.house)
    assert receiver.requests == []
    acting.pass_by(world, monkeypatch, seconds=deliveries.SOON_SECONDS)
    await acting.send(world.house)
    assert len(receiver.requests) == 1


# ------------------------------------------------------------------------------------------- how often


@on_every_engine
async def test_tests_and_replays_have_a_limit_of_their_own_for_each_tenant(world, ctx, receiver, monkeypatch):
    assert (deliveries.TESTS_AN_HOUR_MAX, deliveries.REPLAYS_AN_HOUR_MAX) == (60, 1_000)
    monkeypatch.setattr(deliveries, "TESTS_AN_HOUR_MAX", 2)
    monkeypatch.setattr(deliveries, "REPLAYS_AN_HOUR_MAX", 3)
    bob = await world.of(await world.tenant("bob"))
    shown, ended = await _ended(ctx, receiver, world)
    for _ in range(2):
        await webhooks_out.send_test(ctx, shown.webhook_id)
    with pytest.raises(errors.RateLimited):
        await webhooks_out.send_test(ctx, shown.webhook_id)
    for _ in range(3):
        await webhooks_out.replay_delivery(ctx, ended)
        await acting.send(world.house)
    with pytest.raises(errors.RateLimited):
        await webhooks_out.replay_delivery(ctx, ended)
    assert len(receiver.requests) == 5
    his = await acting.hook(bob, receiver)
    await webhooks_out.send_test(bob, his.webhook_id)
    assert await ctx.on_pool(_count) == 3


async def _count(db, /):
    return await db.first(sa.select(sa.func.count(WebhookDelivery.id)))
