"""Webhooks: an endpoint hears of each event at least once, signed, and a dead one harms nobody but itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import timedelta

import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook as Verifier

from actions import wallet, webhooks_out
from actions.wallet import Cause
from actions.webhooks_out import endpoints, faring, notices, sending, telling
from actions.webhooks_out.messages import Message, moment
from base import errors
from base.ids import Id
from base.sealing import Place, SealBroken, Sealed
from db import work
from db.tables.central.webhooks_out import Webhook, WebhookStatus
from db.tables.central.work import Timer
from db.tables.pool.wallet import TokenTransactionKind
from db.tables.pool.webhooks_out import WebhookDelivery, WebhookDeliveryStatus
from db.zones import TenantId
from outside import egress
from outside.egress import Egress
from tenancy import checks, handlers
from tests.actions import studio
from tests.outside.receiver import receiving
from tests.world import on_every_engine

PENDING, SUCCEEDED, FAILED = WebhookDeliveryStatus


# ------------------------------------------------------------------------------------------- what tests do and see


@pytest.fixture
async def ctx(world, monkeypatch):
    """Alice on her own host; loopback may be sent to, and time passes only where a test says so (`pass_by`)."""
    world.house.services[Egress] = egress.client(egress.parse_allow("127.0.0.0/8:*"))
    alice = await world.of(await world.tenant("alice"))
    # A busy machine would otherwise let pauses of seconds pass by themselves.
    stopped = world.house.sessions.clock.now()
    monkeypatch.setattr(world.house.sessions.clock, "now", lambda: stopped)
    return alice


@pytest.fixture
async def receiver():
    async with receiving(status=204, body=b"") as made:
        yield made


async def _alive():
    return True


async def credit(ctx, key, amount=7, note=None):
    cause = Cause(key=key, note=note)
    system = await ctx.house.system_of(ctx.tenant_id)
    assert await system.on_pool(wallet.credit, TokenTransactionKind.ADJUSTMENT, amount, cause=cause)


async def hook(ctx, receiver, *events):
    return await webhooks_out.create_webhook(ctx, receiver.url, events or ("wallet.credited",))


async def _ring(db, kind, /):
    """Timers of this kind that are due become work, as the worker's loop does; how many wait for later."""
    await work.ring(db)
    return await db.first(sa.select(sa.func.count(Timer.id)).where(Timer.kind == kind))


async def send(house, *, kind=None):
    """Do what is due now, what was asked for first, with the real handlers under real leases."""
    for _ in range(20):
        await house.system().on_system(_ring, kind)
        kinds = [telling.ASKED, telling.WEBHOOK] if kind is None else [kind]
        leases = await house.system().on_system(work.claim, kinds, "test", most=20, seconds=60)
        if not leases:
            return
        for lease in leases:
            ctx = await house.system_of(lease.tenant_id)
            await handlers.HANDLERS[lease.kind].run(ctx, lease, _alive)
            await house.system().on_system(work.finish, lease)
    raise AssertionError("there is no end to it")


def pass_by(world, monkeypatch, **time):
    """The database's clock goes on by so much."""
    now = world.house.sessions.clock.now
    monkeypatch.setattr(world.house.sessions.clock, "now", lambda: now() + timedelta(**time))


async def deliveries(ctx):
    system = await ctx.house.system_of(ctx.tenant_id)
    return await system.on_pool(_deliveries)


async def _deliveries(db, /):
    return list(await db.all(sa.select(WebhookDelivery).order_by(WebhookDelivery.id)))


async def the_hook(ctx, webhook_id):
    return await ctx.house.system().on_system(_hook, ctx.tenant_id, webhook_id)


async def _hook(db, tenant, webhook_id, /):
    return await db.first(sa.select(Webhook).where(Webhook.tenant_id == tenant, Webhook.id == webhook_id))


def events_of(receiver, secret):
    """What came in, verified as a receiver would."""
    return [Verifier(secret).verify(body, headers) for _, headers, body in receiver.requests]


async def tell(ctx, count=1, *, start=0):
    """So many messages, recorded as receivers do."""
    system = await ctx.house.system_of(ctx.tenant_id)
    for number in range(start, start + count):
        message = Message(1_000 + number, "wallet.credited", json.dumps({"number": number}))
        await telling.tell(system, message)


# ------------------------------------------------------------------------------------------- what is sent


@on_every_engine
async def test_each_endpoint_that_wants_an_event_gets_it_once_and_can_verify_it(world, ctx, receiver):
    other = await world.of(await world.tenant("bob"))
    async with receiving() as second, receiving() as unasked, receiving() as bobs:
        shown = [await hook(ctx, each) for each in (receiver, second)]
        await hook(ctx, unasked, "video.ready")
        await hook(other, bobs)
        await credit(ctx, "a", note="thank you")
        await send(world.house)
        for each, (_, secret) in zip((receiver, second), ((one.webhook_id, one.secret) for one in shown), strict=True):
            [event] = events_of(each, secret)
            assert event["data"] == {"kind": "ADJUSTMENT", "amount": 7, "balance": 107, "note": "thank you"}
            assert (event["type"], event["version"], event["tenant"]) == ("wallet.credited", 1, ctx.tenant_id)
            [(line, headers, _)] = each.requests
            assert line == "POST /hook HTTP/1.1"
            assert headers["webhook-id"] == event["event_id"]
            assert headers["content-type"] == "application/json"
        assert (unasked.requests, bobs.requests) == ([], [])
    assert [(row.status, row.attempts, row.next_attempt_at) for row in await deliveries(ctx)] == [
        (SUCCEEDED, 1, None)
    ] * 2
    await send(world.house)
    assert len(receiver.requests) == 1


@on_every_engine
async def test_an_event_that_comes_again_and_again_makes_one_delivery(world, ctx, receiver):
    await hook(ctx, receiver)
    await asyncio.gather(*(tell(ctx) for _ in range(8)))
    await send(world.house)
    await tell(ctx)
    await send(world.house)
    assert len(await deliveries(ctx)) == len(receiver.requests) == 1


@on_every_engine
async def test_a_failed_attempt_is_made_again_under_the_same_id_with_the_same_body(world, ctx, receiver, monkeypatch):
    shown = await hook(ctx, receiver)
    receiver.status = 500
    await tell(ctx)
    await send(world.house)
    [row] = await deliveries(ctx)
    assert (row.status, row.attempts, row.response_status) == (PENDING, 1, 500)
    wait = (row.next_attempt_at - row.last_attempt_at).total_seconds()
    assert 5 <= wait <= 6
    await send(world.house)
    assert len(receiver.requests) == 1, "its time has not come"
    pass_by(world, monkeypatch, seconds=7)
    receiver.status = 200
    await send(world.house)
    [row] = await deliveries(ctx)
    assert (row.status, row.attempts, row.response_status) == (SUCCEEDED, 2, 200)
    first, second = ((headers["webhook-id"], body) for _, headers, body in receiver.requests)
    assert first == second
    assert (await the_hook(ctx, shown.webhook_id)).failures == 0


@on_every_engine
async def test_ten_attempts_over_three_days_then_it_is_failed_the_endpoint_disabled_and_its_owner_told(
    world, ctx, receiver, monkeypatch
):
    receiver.status = 503
    shown = await hook(ctx, receiver)
    before = (await the_hook(ctx, shown.webhook_id)).updated_at
    began = world.house.sessions.clock.now()
    await tell(ctx)
    waits = []
    for _ in range(sending.ATTEMPTS_MAX):
        await send(world.house)
        [row] = await deliveries(ctx)
        if row.next_attempt_at is not None:
            assert (await the_hook(ctx, shown.webhook_id)).updated_at == before, "attempts are no change of the owner's"
            waits.append((row.next_attempt_at - row.last_attempt_at).total_seconds())
            # The endpoint's own pause is the longer one at first.
            pass_by(world, monkeypatch, seconds=max(waits[-1], faring.PAUSE_SECONDS_MAX) + 1)
    assert [least <= wait <= 1.2 * least for least, wait in zip(sending.RETRY_SECONDS, waits, strict=True)] == [
        True
    ] * 9
    assert timedelta(days=3) < world.house.sessions.clock.now() - began < timedelta(days=4)
    [row] = await deliveries(ctx)
    assert (row.status, row.attempts, len(receiver.requests)) == (FAILED, 10, 10)
    after = await the_hook(ctx, shown.webhook_id)
    assert (after.status, after.disabled_reason) == (WebhookStatus.DISABLED, faring.FAILED_FOR_DAYS)
    assert after.updated_at > before
    await letter(world, receiver.url, after.disabled_reason)


async def letter(world, *said):
    """The one letter that was written."""
    assert list((world.settings.var / "mail").glob("*.eml")) == []
    await send(world.house, kind=notices.NOTICE)
    [mail] = (world.settings.var / "mail").glob("*.eml")
    text = mail.read_text().replace("=\n", "")
    assert "alice.1@example.com" in text
    assert [each for each in said if each not in text] == []


@on_every_engine
async def test_410_disables_at_once_and_ends_what_waits(world, ctx, receiver):
    receiver.status = 410
    shown = await hook(ctx, receiver)
    await tell(ctx, 12)
    await send(world.house)
    assert len(receiver.requests) == sending.SIDE_BY_SIDE_MAX
    assert {row.status for row in await deliveries(ctx)} == {FAILED}
    after = await the_hook(ctx, shown.webhook_id)
    assert (after.status, after.disabled_reason) == (WebhookStatus.DISABLED, faring.GONE)
    await letter(world, receiver.url, "410")
    await tell(ctx, start=50)
    await send(world.house)
    assert len(receiver.requests) == sending.SIDE_BY_SIDE_MAX
    await webhooks_out.update_webhook(ctx, shown.webhook_id, status=WebhookStatus.ACTIVE)
    receiver.status = 200
    await tell(ctx, start=60)
    await send(world.house)
    assert [row.status for row in await deliveries(ctx)][-1] is SUCCEEDED
    healed = await the_hook(ctx, shown.webhook_id)
    assert (healed.failures, healed.failing_since, healed.disabled_reason) == (0, None, None)


@on_every_engine
async def test_a_dead_endpoint_takes_one_attempt_while_others_get_all_that_is_theirs(world, ctx, monkeypatch):
    monkeypatch.setattr(sending, "SEND_SECONDS_MAX", 1.0)
    other = await world.of(await world.tenant("bob"))
    async with receiving(silent=True) as dead, receiving() as living, receiving() as bobs:
        for asks, where in ((ctx, dead), (ctx, living), (other, bobs)):
            await hook(asks, where)
        await tell(ctx, 1)
        await send(world.house)
        assert len(dead.requests) == 1
        await tell(ctx, 30, start=100)
        await tell(other, 30)
        await send(world.house)
        assert (len(living.requests), len(bobs.requests)) == (31, 30)
        assert len(dead.requests) == 1, "it pauses"
        pass_by(world, monkeypatch, seconds=faring.PAUSE_SECONDS + 1)
        await send(world.house)
        assert len(dead.requests) == 2, "one attempt shows whether it lives again"


@on_every_engine
async def test_an_endpoint_that_lives_again_gets_all_that_waited(world, ctx, receiver, monkeypatch):
    receiver.status = 500
    shown = await hook(ctx, receiver)
    await tell(ctx, 20)
    await send(world.house)
    assert len(receiver.requests) == sending.SIDE_BY_SIDE_MAX
    receiver.status = 200
    pass_by(world, monkeypatch, seconds=faring.PAUSE_SECONDS_MAX)
    await send(world.house)
    assert {row.status for row in await deliveries(ctx)} == {SUCCEEDED}
    assert (await the_hook(ctx, shown.webhook_id)).failures == 0


@on_every_engine
async def test_workers_that_come_to_one_endpoint_at_once_send_each_delivery_once(world, ctx, receiver):
    shown = await hook(ctx, receiver)
    await tell(ctx, 12)
    system = await world.house.system_of(ctx.tenant_id)
    lease = work.Lease(
        job_id=Id(1), kind="webhook", tenant_id=ctx.tenant_id, ref_id=shown.webhook_id, generation=1, attempt=1,
        owner="t", until=world.house.sessions.clock.now(), algorithm="",
    )  # fmt: skip
    await asyncio.gather(*(sending.send_due(system, lease, _alive) for _ in range(6)))
    assert sorted(json.loads(body)["number"] for _, _, body in receiver.requests) == list(range(12))
    assert {row.status for row in await deliveries(ctx)} == {SUCCEEDED}
    assert (await the_hook(ctx, shown.webhook_id)).busy_until is None


@on_every_engine
async def test_what_an_endpoint_answers_is_kept_short_and_clean_on_every_engine(world, ctx, receiver):
    await hook(ctx, receiver)
    receiver.status, receiver.body = 400, b"no\x00\x07\xff \xf0\x9f\x98\x80 " + b"x" * 2_000_000
    await tell(ctx)
    await send(world.house)
    [row] = await deliveries(ctx)
    assert row.response_body.startswith("no  \ufffd \U0001f600 xxx")
    assert len(row.response_body) <= sending.ANSWER_CHARACTERS_MAX
    assert row.duration_ms >= 0


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@on_every_engine
async def test_a_redirect_is_a_failure_and_is_not_followed(world, ctx, receiver, status):
    receiver.status = status
    async with receiving() as elsewhere:
        receiver.headers = f"location: {elsewhere.url}\r\n"
        await hook(ctx, receiver)
        await tell(ctx)
        await send(world.house)
        assert elsewhere.connections == 0
    [row] = await deliveries(ctx)
    assert (row.status, row.response_status) == (PENDING, status)


@on_every_engine
async def test_nobody_there_is_told_in_the_log(world, ctx):
    async with receiving() as gone:
        await hook(ctx, gone)
    await tell(ctx)
    await send(world.house)
    [row] = await deliveries(ctx)
    assert (row.status, row.response_status, row.attempts) == (PENDING, None, 1)
    assert "no answer from 127.0.0.1" in row.error


# ------------------------------------------------------------------------------------------- secrets


@on_every_engine
async def test_for_a_day_after_a_rotation_either_secret_verifies(world, ctx, receiver, monkeypatch):
    old = await hook(ctx, receiver)
    new = await webhooks_out.rotate_secret(ctx, old.webhook_id)
    assert new.secret != old.secret
    await tell(ctx)
    await send(world.house)
    assert events_of(receiver, old.secret) == events_of(receiver, new.secret) == [{"number": 0}]
    receiver.requests.clear()
    pass_by(world, monkeypatch, hours=endpoints.OLD_SECRET_HOURS, seconds=1)
    await tell(ctx, start=1)
    await send(world.house)
    [(_, headers, _)] = receiver.requests
    assert " " not in headers["webhook-signature"]


@on_every_engine
async def test_a_secret_is_not_changed_again_while_the_one_before_is_promised(world, ctx, receiver, monkeypatch):
    old = await hook(ctx, receiver)
    new = await webhooks_out.rotate_secret(ctx, old.webhook_id)
    before = await the_hook(ctx, old.webhook_id)
    pass_by(world, monkeypatch, hours=endpoints.OLD_SECRET_HOURS, seconds=-1)
    with pytest.raises(errors.Conflict, match=moment(before.old_secret_until)) as refused:
        await webhooks_out.rotate_secret(ctx, old.webhook_id)
    assert refused.value.field == ("id",)
    row = await the_hook(ctx, old.webhook_id)
    assert row.old_secret_until == before.old_secret_until
    assert endpoints.secrets_of(world.house.vault, row, old_too=True) == [new.secret, old.secret]
    await tell(ctx)
    await send(world.house)
    [(_, headers, _)] = receiver.requests
    assert " " in headers["webhook-signature"], "its second is not over"
    pass_by(world, monkeypatch, seconds=1)
    third = await webhooks_out.rotate_secret(ctx, old.webhook_id)
    row = await the_hook(ctx, old.webhook_id)
    assert endpoints.secrets_of(world.house.vault, row, old_too=True) == [third.secret, new.secret]


@on_every_engine
async def test_an_endpoint_whose_key_is_lost_is_given_another_secret(world, ctx, receiver):
    one, other = await hook(ctx, receiver), await hook(ctx, receiver)
    sealed_elsewhere = (await the_hook(ctx, other.webhook_id)).secret
    await world.house.system().on_system(_reseal, ctx.tenant_id, one.webhook_id, sealed_elsewhere)
    # Also while the one before is promised: nothing is signed with either.
    await webhooks_out.rotate_secret(ctx, one.webhook_id)
    await world.house.system().on_system(_reseal, ctx.tenant_id, one.webhook_id, sealed_elsewhere)
    new = await webhooks_out.rotate_secret(ctx, one.webhook_id)
    row = await the_hook(ctx, one.webhook_id)
    assert row.old_secret is None
    assert endpoints.secrets_of(world.house.vault, row, old_too=True) == [new.secret]


async def _reseal(db, tenant, webhook_id, sealed, /):
    here = (Webhook.tenant_id == tenant, Webhook.id == webhook_id)
    assert await db.change(sa.update(Webhook).where(*here).values(secret=sealed)) == 1


@on_every_engine
async def test_a_sealed_secret_in_another_row_or_column_opens_nothing(world, ctx, receiver):
    one, other = await hook(ctx, receiver), await hook(ctx, receiver)
    rows = [await the_hook(ctx, each.webhook_id) for each in (one, other)]
    vault = world.house.vault
    assert endpoints.secrets_of(vault, rows[0], old_too=False) == [one.secret]
    rows[0].secret = rows[1].secret
    with pytest.raises(SealBroken):
        endpoints.secrets_of(vault, rows[0], old_too=False)
    with pytest.raises(SealBroken):
        vault.open(rows[1].secret, Place("tenant_webhooks", "old_secret", ctx.tenant_id, other.webhook_id))
    with pytest.raises(SealBroken):
        vault.open(rows[1].secret, Place("tenant_webhooks", "secret", TenantId("bob1"), other.webhook_id))
    assert isinstance(rows[1].secret, Sealed)
    for said in (repr(one), str(rows[1].secret), repr(vars(rows[1]))):
        assert one.secret not in said
        assert rows[1].secret.stored not in said


# ------------------------------------------------------------------------------------------- endpoints


@on_every_engine
async def test_a_tenant_has_twenty_endpoints_at_most_however_many_are_made_at_once(world, ctx, receiver):
    async def one():
        with contextlib.suppress(errors.LimitExceeded):
            return await hook(ctx, receiver)

    for _ in range(18):
        await one()
    assert len([made for made in await asyncio.gather(*(one() for _ in range(6))) if made]) == 2
    with pytest.raises(errors.LimitExceeded, match="20"):
        await hook(ctx, receiver)


@pytest.mark.parametrize("events", [[], ["video.read"], ["wallet.credited", "x"], ["webhook.test"], ["x"] * 100_000])
async def test_events_that_there_are_not_are_refused_by_name(ctx, receiver, events):
    with pytest.raises(errors.Invalid) as refused:
        await webhooks_out.create_webhook(ctx, receiver.url, events)
    assert refused.value.field == ("input", "events")


@on_every_engine
async def test_a_paused_endpoint_hears_nothing_and_what_waited_may_be_replayed(world, ctx, receiver, monkeypatch):
    receiver.status = 500
    shown = await hook(ctx, receiver)
    await tell(ctx)
    await send(world.house)
    await webhooks_out.update_webhook(ctx, shown.webhook_id, status=WebhookStatus.PAUSED)
    await tell(ctx, start=1)
    await send(world.house)
    [row] = await deliveries(ctx)
    assert (row.status, row.error) == (FAILED, "The webhook was paused.")
    for refused in (webhooks_out.replay_delivery(ctx, row.id), webhooks_out.send_test(ctx, shown.webhook_id)):
        with pytest.raises(errors.Conflict, match="PAUSED"):
            await refused
    with pytest.raises(errors.Invalid, match="PAUSED"):
        await webhooks_out.update_webhook(ctx, shown.webhook_id, status=WebhookStatus.DISABLED)
    receiver.status = 200
    await webhooks_out.update_webhook(ctx, shown.webhook_id, status=WebhookStatus.ACTIVE)
    await webhooks_out.replay_delivery(ctx, row.id)
    with pytest.raises(errors.Conflict, match="on its way"):
        await webhooks_out.replay_delivery(ctx, row.id)
    await send(world.house)
    [row] = await deliveries(ctx)
    assert (row.status, row.attempts) == (SUCCEEDED, 1)
    assert len({headers["webhook-id"] for _, headers, _ in receiver.requests}) == 1


@on_every_engine
async def test_a_test_is_sent_and_logged_like_everything(world, ctx, receiver):
    shown = await hook(ctx, receiver)
    made = await webhooks_out.send_test(ctx, shown.webhook_id)
    await send(world.house)
    [event] = events_of(receiver, shown.secret)
    assert event["type"] == "webhook.test"
    assert event["correlation_id"] == ctx.request_id
    assert [(row.id, row.status) for row in await deliveries(ctx)] == [(made, SUCCEEDED)]


@on_every_engine
async def test_another_tenant_finds_none_of_it(world, ctx, receiver):
    shown = await hook(ctx, receiver)
    await tell(ctx)
    [row] = await deliveries(ctx)
    bob = await world.of(await world.tenant("bob"))
    for doing in (
        webhooks_out.update_webhook(bob, shown.webhook_id, status=WebhookStatus.PAUSED),
        webhooks_out.rotate_secret(bob, shown.webhook_id),
        webhooks_out.delete_webhook(bob, shown.webhook_id),
        webhooks_out.send_test(bob, shown.webhook_id),
        webhooks_out.replay_delivery(bob, row.id),
    ):
        with pytest.raises(errors.NotFound):
            await doing
    after = await the_hook(ctx, shown.webhook_id)
    assert (after.status, after.old_secret) == (WebhookStatus.ACTIVE, None)


@on_every_engine
async def test_a_deleted_endpoint_takes_its_log_along_also_what_came_meanwhile(world, ctx, receiver):
    shown = await hook(ctx, receiver)
    kept = await hook(ctx, receiver)
    await tell(ctx, 3)
    await webhooks_out.delete_webhook(ctx, shown.webhook_id)
    system = await world.house.system_of(ctx.tenant_id)
    # Its event was on its way when the endpoint was deleted.
    await system.on_pool(telling.record, [shown.webhook_id], Message(9, "wallet.credited", "{}"))
    await system.on_system(telling.wake, ctx.tenant_id, [shown.webhook_id])
    await send(world.house)
    assert {row.webhook_id for row in await deliveries(ctx)} == {kept.webhook_id}
    assert len(receiver.requests) == 3
    with pytest.raises(errors.NotFound):
        await webhooks_out.delete_webhook(ctx, shown.webhook_id)


@on_every_engine
async def test_the_log_is_kept_for_thirty_days(world, ctx, receiver, monkeypatch):
    await hook(ctx, receiver)
    await tell(ctx, 2)
    await send(world.house)
    pass_by(world, monkeypatch, days=endpoints.RETENTION_DAYS - 1)
    await send(world.house, kind=endpoints.RETENTION)
    assert len(await deliveries(ctx)) == 2
    pass_by(world, monkeypatch, days=2)
    await send(world.house, kind=endpoints.RETENTION)
    assert await deliveries(ctx) == []
    assert await world.house.system().on_system(_ring, endpoints.RETENTION) == 1, "tomorrow again"


@on_every_engine
async def test_doctor_tells_of_deliveries_that_are_stuck_and_of_endpoints_that_were_disabled(
    world, ctx, receiver, monkeypatch
):
    async def told():
        monkeypatch.setattr(checks, "SECOND_LOOK_SECONDS", 0)
        [found] = [each for each in await checks.run(world.house) if each.name == "webhooks"]
        return [(finding.what, finding.wrong) for finding in found.findings]

    shown = await hook(ctx, receiver)
    await tell(ctx, 2)
    assert await told() == []
    pass_by(world, monkeypatch, minutes=31)
    assert await told() == [("alice1: 2 deliveries of webhooks are stuck: due for more than half an hour", True)]
    receiver.status = 410
    await send(world.house)
    assert await told() == [("alice1: 1 webhooks were disabled after failures", False)]
    assert (await the_hook(ctx, shown.webhook_id)).status is WebhookStatus.DISABLED
    assert await studio.dead(world.house) == []
