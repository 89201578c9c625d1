"""Webhooks as a tenant's developer has them: over the served product, with its worker, into a real receiver."""

from __future__ import annotations

import asyncio
import dataclasses
import json

import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook as Verifier

from actions import webhooks_out
from actions.webhooks_out import endpoints
from actions.webhooks_out.messages import moment
from base import errors
from base.ids import global_id
from db import columns
from db.tables.central.webhooks_out import Webhook
from execution.declare import NODES, Column, Computed
from outside import egress
from outside.egress import Egress
from resolvers import roots
from tests import serving
from tests.actions import studio
from tests.actions import test_webhooks_asked as asking_for
from tests.actions import test_webhooks_out as acting
from tests.outside.receiver import receiving
from tests.outside.test_egress import LOOPBACK_SPELLINGS, NEVER_PUBLIC, Names
from tests.world import on_every_engine

WAIT_SECONDS_MAX = 90
CREATE = """mutation($url: String!, $events: [String!]!) { createWebhook(input: {url: $url, events: $events}) {
  webhook { id url events status failures } secret userErrors { code field message } } }"""
LIST = "{ webhooks { id status failures disabledReason failingSince oldSecretUntil updatedAt } }"
ROTATE = "mutation($id: ID!) { rotateWebhookSecret(id: $id) { secret webhook { oldSecretUntil } } }"
REPLAY = "mutation($id: ID!) { replayWebhookDelivery(id: $id) { webhookDelivery { status attempts } } }"
UPDATE = """mutation($input: UpdateWebhookInput!) { updateWebhook(input: $input) {
          webhook { status events failures } userErrors { code field } } }"""
LOG = """query($of: ID, $status: WebhookDeliveryStatus) {
  webhookDeliveries(first: 50, webhookId: $of, status: $status) { totalCount nodes { id eventType status attempts body
    responseStatus responseBody error durationMs nextAttemptAt webhook { url } } } }"""


@pytest.fixture
async def sending(world):
    """The product with its worker; loopback may be sent to, on every engine."""
    world.settings = dataclasses.replace(world.settings, egress_allow="127.0.0.0/8:*")
    async with serving.serving(world, with_worker=True) as client:
        yield client


async def until(holds):
    """Ask until it holds."""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while not (found := await holds()):
            await asyncio.sleep(0.1)
        return found


def asking(client, person):
    async def ask(query, **variables):
        return (await client.graphql(query, variables, host=person.host, token=person.token)).data

    return ask


@pytest.mark.slow
@on_every_engine
async def test_a_registered_endpoint_hears_that_a_video_is_ready_and_published(world, sending):
    alice = await world.tenant("alice")
    ask, ctx = asking(sending, alice), await world.of(alice)
    effect = (await studio.catalog(world))["crop"]
    async with receiving(status=200) as receiver:
        wanted = ["video.ready", "ai_job.succeeded", "video.published", "video.unpublished", "wallet.credited"]
        made = (await ask(CREATE, url=receiver.url, events=wanted))["createWebhook"]
        assert made["userErrors"] == []
        secret, hook_id = made["secret"], made["webhook"].pop("id")
        assert made["webhook"] == {"url": receiver.url, "events": wanted, "status": "ACTIVE", "failures": 0}
        submitted = await studio.submit(ctx, effect, await studio.film(0.5))
        video = global_id("Video", submitted.video_id, alice.tenant_id)
        job = global_id("AiJob", submitted.job_id, alice.tenant_id)

        async def heard(*types):
            events = [Verifier(secret).verify(body, headers) for _, headers, body in receiver.requests]
            return {event["type"]: event for event in events if event["type"] in types} if events else {}

        await until(lambda: heard("video.ready", "ai_job.succeeded"))
        await until(lambda: _all(heard, "video.ready", "ai_job.succeeded"))
        await ask("mutation($id: ID!) { publishVideo(id: $id) { userErrors { message } } }", id=video)
        await ask("mutation($id: ID!) { unpublishVideo(id: $id) { userErrors { message } } }", id=video)
        await ask("mutation { claimReward(kind: DAILY) { userErrors { message } } }")
        told = await until(lambda: _all(heard, *wanted))
    assert told["video.ready"]["data"]["video_id"] == told["ai_job.succeeded"]["data"]["video_id"] == video
    assert told["video.ready"]["data"]["ai_job_id"] == told["ai_job.succeeded"]["data"]["ai_job_id"] == job
    assert told["video.ready"]["data"]["effect_id"] == global_id("Effect", effect)
    assert told["video.published"]["data"]["title"] == told["video.ready"]["data"]["title"] == "Film"
    assert told["video.unpublished"]["data"]["gallery_video_id"].startswith("GalleryVideo_")
    assert told["wallet.credited"]["data"]["kind"] == "REWARD"
    for event in told.values():
        shown = json.dumps(event)
        # Keys in the store and numbers of rows are ours.
        assert "t/" not in shown
        assert str(submitted.video_id) not in shown
        assert str(alice.user_id) not in shown
    log = (await ask(LOG, of=hook_id, status="SUCCEEDED"))["webhookDeliveries"]
    assert {node["eventType"] for node in log["nodes"]} == set(wanted)
    assert {(node["responseStatus"], node["attempts"], node["webhook"]["url"]) for node in log["nodes"]} == {
        (200, 1, receiver.url)
    }
    assert [json.loads(node["body"])["type"] for node in log["nodes"]] == [node["eventType"] for node in log["nodes"]]


async def _all(heard, *types):
    found = await heard(*types)
    return found if set(found) == set(types) else None


@pytest.mark.slow
@on_every_engine
async def test_an_endpoint_is_tested_changed_replayed_given_another_secret_and_deleted(world, sending):
    alice = await world.tenant("alice")
    ask = asking(sending, alice)
    async with receiving(status=500, body=b"out of order") as receiver:
        made = (await ask(CREATE, url=receiver.url, events=["video.ready"]))["createWebhook"]
        hook = made["webhook"]["id"]
        tested = await ask("mutation($id: ID!) { testWebhook(id: $id) { webhookDelivery { id status } } }", id=hook)
        delivery = tested["testWebhook"]["webhookDelivery"]
        assert delivery["status"] == "PENDING"

        async def attempts(count):
            nodes = (await ask(LOG, of=hook))["webhookDeliveries"]["nodes"]
            return nodes[0] if nodes[0]["attempts"] >= count else None

        seen = await until(lambda: attempts(1))
        assert (seen["responseStatus"], seen["responseBody"], seen["eventType"]) == (
            500,
            "out of order",
            "webhook.test",
        )

        async def failing():
            return [each for each in (await ask(LIST))["webhooks"] if each["failures"] == 1]

        [listed] = await until(failing)
        changed = await ask(UPDATE, input={"id": hook, "status": "PAUSED", "events": ["purchase.paid"]})
        assert changed["updateWebhook"]["webhook"] == {
            "status": "PAUSED",
            "events": ["purchase.paid"],
            "failures": listed["failures"],
        }

        async def ended():
            return (await ask(LOG, status="FAILED"))["webhookDeliveries"]["nodes"]

        [failed] = await until(ended)
        assert failed["id"] == delivery["id"]
        receiver.status = 200
        changed = await ask(UPDATE, input={"id": hook, "status": "ACTIVE"})
        assert changed["updateWebhook"]["webhook"]["failures"] == 0
        rotated = (await ask(ROTATE, id=hook))["rotateWebhookSecret"]
        assert rotated["secret"] != made["secret"]
        assert rotated["webhook"]["oldSecretUntil"] is not None
        count = len(receiver.requests)
        again = (await ask(REPLAY, id=delivery["id"]))["replayWebhookDelivery"]["webhookDelivery"]
        assert again == {"status": "PENDING", "attempts": 0}

        async def taken():
            return (await ask(LOG, status="SUCCEEDED"))["webhookDeliveries"]["nodes"]

        await until(taken)
        _, headers, body = receiver.requests[count]
        for secret in (made["secret"], rotated["secret"]):
            assert Verifier(secret).verify(body, headers)["type"] == "webhook.test"
        assert len({headers["webhook-id"] for _, headers, _ in receiver.requests}) == 1
        gone = await ask("mutation($id: ID!) { deleteWebhook(id: $id) { deletedId userErrors { code } } }", id=hook)
        assert gone == {"deleteWebhook": {"deletedId": hook, "userErrors": []}}
        assert await ask(LIST) == {"webhooks": []}
        assert (await ask(LOG))["webhookDeliveries"]["totalCount"] == 0


async def test_only_the_owner_sees_or_touches_any_of_it_and_needs_the_ability(world, served):
    world.house.services[Egress] = egress.client(egress.parse_allow("127.0.0.0/8:*"))
    alice, bob = await world.tenant("alice"), await world.tenant("bob")
    mary = await world.member(alice.tenant_id)
    ask = asking(served, alice)
    async with receiving() as receiver:
        hook = (await ask(CREATE, url=receiver.url, events=["video.ready"]))["createWebhook"]["webhook"]["id"]
        tested = await ask("mutation($id: ID!) { testWebhook(id: $id) { webhookDelivery { id } } }", id=hook)
        delivery = tested["testWebhook"]["webhookDelivery"]["id"]

        async def codes(query, token, host, **variables):
            answer = await served.graphql(query, variables, host=host, token=token)
            shown = json.dumps(answer.body)
            assert receiver.url not in shown
            return answer.codes

        node = "query($id: ID!) { node(id: $id) { id ... on WebhookDelivery { body } ... on Webhook { url } } }"
        create = {"url": receiver.url, "events": ["video.ready"]}
        for query, variables in (
            (LIST, {}),
            (LOG, {}),
            (CREATE, create),
            (node, {"id": hook}),
            (node, {"id": delivery}),
        ):
            assert await codes(query, mary.token, alice.host, **variables) == ["FORBIDDEN"]
            assert await codes(query, None, alice.host, **variables) == ["UNAUTHENTICATED"]
        for query in (LIST, LOG):
            assert await codes(query, bob.token, alice.host) == ["UNAUTHENTICATED"]
            assert await codes(query, alice.token, "localhost") == ["TENANT_REQUIRED"]
        assert await codes(CREATE, await world.token(alice, "read", "write"), alice.host, **create) == ["FORBIDDEN"]
        assert await codes(LIST, await world.token(alice, "webhooks"), alice.host) == ["FORBIDDEN"]
        hooks = await world.token(alice, "webhooks")
        made = await served.graphql(CREATE, create, host=alice.host, token=hooks)
        assert made.data["createWebhook"]["userErrors"] == []
        assert (await ask(node, id=hook))["node"] == {"id": hook, "url": receiver.url}


@on_every_engine
async def test_the_log_says_when_what_waits_is_sent_at_the_earliest(world, served):
    world.house.services[Egress] = egress.client(egress.parse_allow("127.0.0.0/8:*"))
    alice = await world.tenant("alice")
    ask, ctx = asking(served, alice), await world.of(alice)
    async with receiving(status=204, body=b"") as receiver:
        shown = await webhooks_out.create_webhook(ctx, receiver.url, ["wallet.credited"])
        await acting.tell(ctx)
        await acting.send(world.house)
        resume_at = await ctx.on_system(asking_for._fails, ctx.tenant_id, shown.webhook_id)
        await acting.tell(ctx, start=1)
        hook = global_id("Webhook", shown.webhook_id)
        made = "mutation($id: ID!) { testWebhook(id: $id) { webhookDelivery { nextAttemptAt } } }"
        tested = (await ask(made, id=hook))["testWebhook"]["webhookDelivery"]["nextAttemptAt"]
        assert tested == moment((await acting.deliveries(ctx))[-1].next_attempt_at), "at once"
        nodes = (await ask(LOG, of=hook))["webhookDeliveries"]["nodes"]
        assert [node["nextAttemptAt"] for node in nodes] == [tested, moment(resume_at), None]


def test_no_field_shows_a_sealed_column():
    roots.served()
    seen = set()
    for node in NODES.values():
        kept = {c.key for c in node.table.__table__.columns if isinstance(c.type, columns.Sealed)}
        seen |= kept
        shown = {field.key for field in node.fields.values() if isinstance(field, Column)}
        made_of = {key for field in node.fields.values() if isinstance(field, Computed) for key in field.needs}
        assert (shown | made_of) & kept == set()
    assert seen >= {"secret", "old_secret"}


# ------------------------------------------------------------------------------------------- where it does not go

ADDRESSES = [
    *(f"http://{spelling}/hook" for spelling in LOOPBACK_SPELLINGS),
    *(f"https://{spelling}/hook" for spelling in LOOPBACK_SPELLINGS),
    *(f"https://[{address}]/" if ":" in address else f"https://{address}/" for address in NEVER_PUBLIC),
    "https://user:pw@example.com/", "ftp://example.com/", "file:///etc/hostname", "//example.com/", "example.com", "",
    "https://example.com:22/", "https://1.1.1.1:8080/", "http://1.1.1.1/", "https://exa mple.com/", "https://ä.example/",
    "https://example.com/\r\nx: y", "javascript:alert(1)", "https://" + "a" * 1_000,
]  # fmt: skip


@on_every_engine
async def test_no_notation_of_an_inner_address_is_registered(world, monkeypatch):
    monkeypatch.setattr(endpoints, "CHECKS_AN_HOUR_MAX", 10_000)
    alice = await world.of(await world.tenant("alice"))
    assert len(ADDRESSES) > 60
    async with egress.client() as nothing_allowed:
        world.house.services[Egress] = nothing_allowed
        for url in ADDRESSES:
            with pytest.raises(errors.Invalid) as refused:
                await webhooks_out.create_webhook(alice, url, ["video.ready"])
            assert refused.value.field == ("input", "url"), url
    rows = await alice.on_system(_count, alice.tenant_id)
    assert rows == 0


async def _count(db, tenant, /):
    db.act_for(tenant=tenant)
    return await db.first(sa.select(sa.func.count(Webhook.id)).where(Webhook.tenant_id == tenant))


@on_every_engine
async def test_a_name_that_leads_inside_later_is_refused_when_it_is_sent_to(world):
    """Registered while it was public, as a name that rebinds is; nothing is connected to."""
    alice = await world.of(await world.tenant("alice"))
    async with receiving() as inside, egress.client(resolver=Names(["93.184.215.14"], ["127.0.0.1"])) as client:
        world.house.services[Egress] = client
        url = f"https://rebinding.example:443/{inside.port}"
        await webhooks_out.create_webhook(alice, url, ["wallet.credited"])
        await acting.tell(alice)
        await acting.send(world.house)
        [row] = await acting.deliveries(alice)
        assert (row.status.name, row.attempts, row.response_status) == ("PENDING", 1, None)
        assert "is not a public address" in row.error
        assert inside.connections == 0


@pytest.mark.parametrize("address", LOOPBACK_SPELLINGS)
@on_every_engine
async def test_an_inner_address_that_got_into_the_table_is_refused_when_it_is_sent_to(world, address):
    alice = await world.of(await world.tenant("alice"))
    async with receiving() as inside:
        world.house.services[Egress] = egress.client(egress.parse_allow("127.0.0.0/8:*"))
        shown = await webhooks_out.create_webhook(alice, inside.url, ["wallet.credited"])
        await alice.on_system(_plant, alice.tenant_id, shown.webhook_id, f"http://{address}:{inside.port}/")
        async with egress.client() as nothing_allowed:
            world.house.services[Egress] = nothing_allowed
            await acting.tell(alice)
            await acting.send(world.house)
        [row] = await acting.deliveries(alice)
        assert "is not a public address" in row.error
        assert inside.connections == 0


async def _plant(db, tenant, webhook_id, url, /):
    db.act_for(tenant=tenant)
    await db.change(sa.update(Webhook).where(Webhook.tenant_id == tenant, Webhook.id == webhook_id).values(url=url))


async def test_the_embedded_set_up_sends_to_loopback_and_no_other_does_unless_told(world, served):
    alice = await world.tenant("alice")
    async with receiving() as receiver:
        made = await asking(served, alice)(CREATE, url=receiver.url, events=["video.ready"])
        assert made["createWebhook"]["userErrors"] == []
        closed = dataclasses.replace(world.settings, egress_allow=None)
        world.settings = closed
        async with serving.serving(world) as other:
            refused = (await asking(other, alice)(CREATE, url=receiver.url, events=["video.ready"]))["createWebhook"]
        assert [(error["code"], error["field"]) for error in refused["userErrors"]] == [("INVALID", ["input", "url"])]
        assert (refused["webhook"], refused["secret"]) == (None, None)
        assert receiver.connections == 0
