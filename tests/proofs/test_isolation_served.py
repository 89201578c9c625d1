"""The same promise from outside: drawn operations over HTTP, fifty requests of all hosts at once in one process, and
subscriptions; an answer that is allowed shows the marks, so that a missing mark means something.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator

from graphql import ExecutionResult

from base.bus import Notice
from base.ids import global_id
from execution import fetch
from execution.sending import Sending
from tests.proofs import canaries, operations, stage_of_three
from tests.proofs.stage_of_three import ALICE, BOB, MARY, OWNER
from tests.world import on_every_engine

SEED = 60
EACH = 3
AT_ONCE = 50
ROUNDS = 3

DASHBOARD = """{ tenant { slug } viewer { name email tenant { slug } accessTokens { name deviceName devicePlatform } }
    wallet { balance transactions(first: 20) { totalCount nodes { note } } }
    videos(first: 20) { totalCount nodes { title tags inputFile { name } effect { slug } aiJobs { nodes { id } } } }
    files(first: 20) { nodes { name mimeType sha256 url } } aiJobs(first: 20) { nodes { errorMessage video { title } } }
    exports(first: 20) { nodes { video { title } file { name } } } rewards(first: 20) { nodes { kind } }
    purchases(first: 20) { nodes { payments { provider receiptUrl } } } }"""


async def test_an_answer_to_whoever_may_see_it_shows_the_marks(world):
    three = await stage_of_three.people(world)
    for owned, marks in ((three.alice, ALICE), (three.mary, MARY), (three.bob, BOB)):
        answer = await three.executor.execute(await world.of(owned.person), DASHBOARD)
        assert answer.errors is None
        for mark in (marks.mine, marks.ours):
            assert stage_of_three.found_in(answer.data, (mark,)) == mark
        others = {*_marks(ALICE), *_marks(MARY), *_marks(BOB)} - {*_marks(marks)}
        assert stage_of_three.found_in(answer.data, tuple(others)) is None
    [cursor, *_] = await three._cursors(three.bob)
    assert stage_of_three.found_in({"cursor": cursor}, (BOB.mine,)) == BOB.mine


def _marks(marks):
    return marks.mine, marks.ours


async def test_no_drawn_operation_over_http_tells_or_changes_what_is_anothers(served):
    three = await stage_of_three.people(served.world)
    dice, told = random.Random(SEED), stage_of_three.Told()
    words = await three.words(dice)
    before = await canaries.sums(served.world, three.bob)
    for _, name, query in operations.operations(words, each=EACH, seed=SEED):
        [(who, where, _)] = dice.choices(OWNER, [share for *_, share in OWNER])
        _ctx, token, host = await three.caller(who, where, dice)
        answer = await served.graphql(query, host=host, token=token)
        if "data" in answer.body:
            told.count(name, answer.body)
        leaked = stage_of_three.found_in([answer.body, dict(answer.raw.headers)], three.forbidden(who, where))
        assert leaked is None, f"{leaked} was told to {who} on {where}:\n{query}\n{answer.body}"
        assert "INTERNAL" not in answer.codes, f"{who} on {where}:\n{query}\n{answer.body}"
    assert told.ran > 250
    assert await canaries.sums(served.world, three.bob) == before


@on_every_engine
async def test_fifty_requests_of_all_hosts_at_once_each_get_their_own(served, monkeypatch):
    three = await stage_of_three.people(served.world)
    alice, mary, bob = (owned.person for owned in (three.alice, three.mary, three.bob))
    callers = [
        (person, host)
        for person, host in ((alice, alice.host), (mary, alice.host), (bob, bob.host), (alice, bob.host))
        for host in (host, "localhost")
    ]
    alone = [(await served.graphql(DASHBOARD, host=host, token=person.token)).body for person, host in callers]
    # At home there is something to mix up: an answer, not a refusal.
    assert all(alone[at]["data"]["videos"]["nodes"] and "errors" not in alone[at] for at in (0, 2, 4))
    dice, waits = random.Random(SEED), []

    def slowed(send):
        async def slowly(*given, **more):
            # Requests change places wherever a database is waited for.
            waits.append(send)
            await asyncio.sleep(dice.random() / 50)
            found = await send(*given, **more)
            await asyncio.sleep(dice.random() / 50)
            return found

        return slowly

    # Both ways to an answer: the library's reads and the plans'.
    monkeypatch.setattr(fetch, "_send", slowed(fetch._send))
    monkeypatch.setattr(Sending, "send", slowed(Sending.send))
    for _ in range(ROUNDS):
        asked = [dice.randrange(len(callers)) for _ in range(AT_ONCE)]
        answers = await asyncio.gather(
            *(served.graphql(DASHBOARD, host=callers[at][1], token=callers[at][0].token) for at in asked)
        )
        for at, answer in zip(asked, answers, strict=True):
            # A link says when it ends, so it may differ by a second.
            assert _without_links(answer.body) == _without_links(alone[at])
    assert len(waits) > AT_ONCE * ROUNDS


def _without_links(value):
    if isinstance(value, dict):
        return {key: _without_links(each) for key, each in value.items() if key != "url"}
    return [_without_links(each) for each in value] if isinstance(value, list) else value


async def followed(three, ctx, query, **variables) -> AsyncGenerator[ExecutionResult]:
    stream = await three.executor.subscribe(ctx, query, variables=variables)
    assert isinstance(stream, AsyncGenerator)
    return stream


JOB = "subscription($id: ID!) { aiJob(id: $id) { id errorMessage video { title } } }"


async def test_a_subscription_to_anothers_job_tells_that_there_is_none(world):
    three = await stage_of_three.people(world)
    ctx = await world.of(three.alice.person)
    jobs = {owned.person.user_id: [i for i in owned.node_ids() if i.startswith("AiJob_")] for owned in _all(three)}
    here, there = (owned.person.tenant_id.encode().hex() for owned in (three.alice, three.bob))
    bobs = jobs[three.bob.person.user_id]
    altered = [bobs[0].replace(there, here), bobs[0].replace("AiJob", "Video")]
    unknown = f"AiJob_{here}_{(1 << 60):x}"
    told = []
    for job_id in (*bobs, *jobs[three.mary.person.user_id], *altered, unknown):
        stream = await followed(three, ctx, JOB, id=job_id)
        events = [event async for event in stream]
        told += [
            (event.data, [type(error.original_error).__name__ for error in event.errors or ()]) for event in events
        ]
    assert told == [(None, ["NotFound"])] * len(told)
    assert len(told) == 2 * canaries.ROWS + 3
    stream = await followed(three, ctx, JOB, id=jobs[three.alice.person.user_id][0])
    async with contextlib.aclosing(stream):
        assert stage_of_three.found_in((await anext(stream)).data, (ALICE.mine,))


def _all(three):
    return three.alice, three.mary, three.bob


async def test_a_wallets_news_go_to_its_own_tenant_alone(served):
    three = await stage_of_three.people(served.world)
    bus, query = served.world.house.bus, "subscription { wallet { id transactions(first: 50) { nodes { note } } } }"
    contexts = [await served.world.of(owned.person) for owned in (three.alice, three.bob)]
    streams = [await followed(three, ctx, query) for ctx in contexts]
    async with contextlib.aclosing(streams[0]), contextlib.aclosing(streams[1]):
        first = [await anext(stream) for stream in streams]
        assert stage_of_three.found_in(first[0].data, (ALICE.ours,))
        assert stage_of_three.found_in(first[0].data, _marks(BOB)) is None
        waiting = asyncio.create_task(anext(streams[0]))
        await bus.tell([Notice("wallet", three.bob.person.tenant_id)])
        second = await anext(streams[1])
        assert stage_of_three.found_in(second.data, _marks(ALICE)) is None
        assert not waiting.done()
        await bus.tell([Notice("wallet", three.alice.person.tenant_id)])
        assert (await waiting).data == first[0].data


async def test_a_token_of_another_tenant_opens_no_subscription_on_this_host(served):
    three = await stage_of_three.people(served.world)
    async with served.socket(host=three.bob.person.host, token=three.alice.person.token, init=False) as socket:
        await socket.send(
            {"type": "connection_init", "payload": {"authorization": f"Bearer {three.alice.person.token}"}}
        )
        await socket.subscribe("1", "subscription { wallet { balance } }")
        code, _ = await socket.closed()
        assert code in (4401, 4403)


async def test_a_second_members_rows_stay_theirs_when_the_owner_asks_for_the_whole_list(world):
    three = await stage_of_three.people(world)
    # A tenant's members share its wallet, ledger and purchases, its owner also sees its endpoints; the rest is each
    # one's own.
    shared = {"Tenant", "GalleryVideo", "TokenTransaction", "Purchase", "Payment", "PlanSubscription"}
    owners = {"Webhook", "WebhookDelivery"}
    for owned, other, known in ((three.alice, three.mary, shared | owners), (three.mary, three.alice, shared)):
        ctx = await world.of(owned.person)
        asked = [*other.node_ids()]
        query = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }"
        answer = await three.executor.execute(ctx, query, variables={"ids": asked})
        refused = [str(error) for error in answer.errors or ()]
        assert all("catalog:write" in said or "owner alone" in said for said in refused), refused
        assert answer.data is not None
        seen = {node["__typename"] for node in answer.data["nodes"] if node}
        assert seen <= known


async def test_a_guessed_token_is_neither_ended_nor_news_to_anybody(world):
    three = await stage_of_three.people(world)
    heard: list[Notice] = []
    stop = world.house.bus.listen(heard.append)
    revoke = "mutation($id: ID!) { revokeAccessToken(id: $id) { deletedId userErrors { code field } } }"
    ctx = await world.of(three.alice.person)
    for owned in (three.mary, three.bob):
        token_id = global_id("AccessToken", owned.person.token_id)
        answer = await three.executor.execute(ctx, revoke, variables={"id": token_id})
        refused = {"deletedId": None, "userErrors": [{"code": "NOT_FOUND", "field": ["id"]}]}
        assert answer.data == {"revokeAccessToken": refused}
        assert (await world.of(owned.person)).viewer is not None
    assert heard == []
    own = global_id("AccessToken", three.alice.person.token_id)
    answer = await three.executor.execute(ctx, revoke, variables={"id": own})
    assert answer.data == {"revokeAccessToken": {"deletedId": own, "userErrors": []}}
    assert [notice.topic for notice in heard] == ["access_token"]
    stop()
