"""Where an endpoint may be when it is changed and each time it is sent to, and names that nobody answers for."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from actions import webhooks_out
from actions.webhooks_out import endpoints, sending
from base import errors
from db.tables.central.webhooks_out import WebhookStatus
from outside import egress, lookups
from outside.egress import Egress
from tests.actions import test_webhooks_out as acting
from tests.actions.test_webhooks_out import PENDING, SUCCEEDED
from tests.outside.receiver import receiving
from tests.outside.test_egress import PUBLIC, Names, silence, to_nowhere

ctx, receiver = acting.ctx, acting.receiver
LOOPBACK = egress.parse_allow("127.0.0.0/8:*")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "https://10.0.0.1/", "http://1.1.1.1/", "https://1.1.1.1:22/", "x", "", "a" * 2_000]
)
async def test_an_endpoint_is_not_moved_to_where_none_may_be_registered(world, ctx, receiver, url):
    shown = await acting.hook(ctx, receiver)
    async with egress.client() as nothing_allowed:
        world.house.services[Egress] = nothing_allowed
        with pytest.raises(errors.Invalid) as refused:
            await webhooks_out.update_webhook(ctx, shown.webhook_id, url=url, status=WebhookStatus.PAUSED)
    assert refused.value.field == ("input", "url")
    after = await acting.the_hook(ctx, shown.webhook_id)
    assert (after.url, after.status) == (receiver.url, WebhookStatus.ACTIVE)


async def test_an_endpoint_is_moved_and_what_waits_is_sent_there(world, ctx, receiver):
    receiver.status = 500
    shown = await acting.hook(ctx, receiver)
    await acting.tell(ctx)
    await acting.send(world.house)
    async with receiving() as elsewhere:
        await webhooks_out.update_webhook(ctx, shown.webhook_id, url=elsewhere.url)
        [row] = await acting.deliveries(ctx)
        assert (await acting.the_hook(ctx, shown.webhook_id)).url == elsewhere.url
        await webhooks_out.send_test(ctx, shown.webhook_id)
        await acting.send(world.house)
        assert len(elsewhere.requests) == 1
    assert (row.status, len(receiver.requests)) == (PENDING, 1)


async def test_addresses_are_looked_at_so_often_an_hour_whether_new_or_changed(world, ctx, receiver, monkeypatch):
    assert endpoints.CHECKS_AN_HOUR_MAX == 100
    monkeypatch.setattr(endpoints, "CHECKS_AN_HOUR_MAX", 3)
    names = Names(["127.0.0.1"])
    async with egress.client(LOOPBACK, resolver=names) as client:
        world.house.services[Egress] = client
        url = f"http://hooks.example:{receiver.port}/"
        shown = await webhooks_out.create_webhook(ctx, url, ["video.ready"])
        for _ in range(2):
            await webhooks_out.update_webhook(ctx, shown.webhook_id, url=url)
        for refused in (
            webhooks_out.create_webhook(ctx, url, ["video.ready"]),
            webhooks_out.update_webhook(ctx, shown.webhook_id, url=url),
        ):
            with pytest.raises(errors.RateLimited):
                await refused
        assert names.looked_up == 3
        # What needs no look, and another tenant.
        await webhooks_out.update_webhook(ctx, shown.webhook_id, status=WebhookStatus.PAUSED)
        bob = await world.of(await world.tenant("bob"))
        await webhooks_out.create_webhook(bob, url, ["video.ready"])


async def test_a_name_that_was_the_operators_and_is_public_now_is_sent_nothing_in_the_clear(world, ctx):
    async with egress.client(LOOPBACK, resolver=Names(["127.0.0.1"], [PUBLIC])) as client:
        nowhere = to_nowhere(client)
        world.house.services[Egress] = client
        await webhooks_out.create_webhook(ctx, "http://hooks.example/", ["wallet.credited"])
        await acting.tell(ctx)
        await acting.send(world.house)
        [row] = await acting.deliveries(ctx)
        assert (row.status, row.attempts, row.response_status) == (PENDING, 1, None)
        assert "is asked in the clear: use https" in row.error
        assert nowhere.asked == []


# ------------------------------------------------------------------------------------------- silent names


async def _silent(client, of):
    """All places of a tenant are held by names that nobody answers for."""
    checks = (client.check(f"https://silent{number}.example/", of=of) for number in range(lookups.AT_ONCE_EACH_MAX))
    ended = await asyncio.gather(*checks, return_exceptions=True)
    assert {type(each) for each in ended} == {egress.EgressFailed}


async def test_silent_names_of_a_tenant_cost_its_other_endpoints_time_and_no_attempt(world, ctx, receiver, monkeypatch):
    with silence() as resolver:

        def names(host, port):
            resolver(host, port)
            return ["127.0.0.1"]

        async with egress.client(LOOPBACK, resolver=names) as client:
            world.house.services[Egress] = client
            bob = await world.of(await world.tenant("bob"))
            url = f"http://hooks.example:{receiver.port}/"
            mine, his = [await webhooks_out.create_webhook(each, url, ["wallet.credited"]) for each in (ctx, bob)]
            monkeypatch.setattr(lookups, "LOOKUP_SECONDS_MAX", 0.1)
            await _silent(client, ctx.tenant_id)
            await acting.tell(ctx)
            await acting.send(world.house)
            [row] = await acting.deliveries(ctx)
            assert (row.status, row.attempts, row.error, receiver.requests) == (PENDING, 0, None, [])
            now = world.house.sessions.clock.now()
            assert row.next_attempt_at == now + timedelta(seconds=sending.HELD_SECONDS)
            after = await acting.the_hook(ctx, mine.webhook_id)
            assert (after.failures, after.failing_since, after.busy_until) == (0, None, None)
            with pytest.raises(errors.LimitExceeded, match=r"hooks\.example could not be looked up yet"):
                await webhooks_out.update_webhook(ctx, mine.webhook_id, url=url)
            monkeypatch.setattr(lookups, "LOOKUP_SECONDS_MAX", 60)
            await acting.tell(bob)
            await acting.send(world.house)
            assert [each.status for each in await acting.deliveries(bob)] == [SUCCEEDED], "nobody else's matter"
            assert his.webhook_id != mine.webhook_id
    # The resolver has returned.
    async with egress.client(LOOPBACK, resolver=Names(["127.0.0.1"])) as client:
        world.house.services[Egress] = client
        acting.pass_by(world, monkeypatch, seconds=sending.HELD_SECONDS)
        await acting.send(world.house)
        assert [(each.status, each.attempts) for each in await acting.deliveries(ctx)] == [(SUCCEEDED, 1)]
