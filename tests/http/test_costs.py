"""Costs from outside: what is refused before it runs, what is charged and paid back, what a client is told of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests import serving
from tests import world as worlds
from tests.http.test_live import credit

PAGES = "{ effects(first: 100) { nodes { galleryVideos(first: 100) { nodes { effect { galleryVideos(first: 100) {"
PAGES += " nodes { id } } } } } } } }"
THING = '{ effect(slug: "a") { name } }'
PAGE = "query ($n: Int) { effects(first: $n) { nodes { id } } }"
# It costs 100, and nothing of that is paid back.
DEAR = '{ a: __type(name: "Effect") { name } b: __type(name: "Tag") { name } }'
TELL = {"cost": True}
GRAPHQL = "application/graphql-response+json"


async def ask(client, query, variables=None, *, host="localhost", token=None, **more):
    body = {"query": query, "variables": variables, "extensions": TELL, **more}
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return serving.Answer(await client.request("POST", host=host, json=body, headers=headers))


def told(answer) -> dict[str, int]:
    return answer.body["extensions"]["cost"]


@pytest.fixture
async def frugal(anyio_backend, templates, tmp_path):
    """The product with budgets that a few operations empty, and hardly any come back."""
    made = await templates.fresh("sqlite", tmp_path)
    small = {"ATRIUM_BUDGET_ADDRESS": "500+1", "ATRIUM_BUDGET_VIEWER": "800+1", "ATRIUM_BUDGET_TENANT": "1200+1"}
    async with worlds.opened("sqlite", made, tmp_path, **small) as world, serving.serving(world) as client:
        yield client


# ---------------------------------------------------------------- what is told


async def test_a_client_that_asks_is_told_what_it_costs_and_nobody_else(served):
    answer = await ask(served, PAGE, {"n": 30})
    assert list(answer.body) == ["data", "extensions"]
    assert answer.data == {"effects": {"nodes": []}}
    assert set(told(answer)) == {"requested", "actual", "limit", "remaining", "restoreRate"}
    assert (told(answer)["requested"], told(answer)["actual"], told(answer)["limit"]) == (35, 5, 2_000)
    for extensions in (None, {}, {"cost": False}, {"cost": "yes"}, {"cost": 1}, {"other": True}):
        assert list((await ask(served, PAGE, {"n": 30}, extensions=extensions)).body) == ["data"]


async def test_it_is_told_the_same_by_a_plan_the_library_and_a_get(served):
    first, again = await ask(served, PAGE, {"n": 3}), await ask(served, PAGE, {"n": 3})
    assert first.body["data"] == again.body["data"]
    parameters = {"query": PAGE, "variables": '{"n": 3}', "extensions": json.dumps(TELL)}
    got = serving.Answer(await served.request("GET", params=parameters))
    introspected = await ask(served, '{ __type(name: "Effect") { name } }')
    assert {told(each)["requested"] for each in (first, again, got)} == {8}
    assert (told(introspected)["requested"], told(introspected)["actual"]) == (50, 50)


async def test_an_answer_with_errors_tells_it_too(served):
    answer = await ask(served, "{ wallet { balance } effects { nodes { id } } }")
    assert answer.codes == ["TENANT_REQUIRED"]
    assert told(answer)["requested"] == 1 + 5 + 20


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "query",
    [
        PAGES,
        "{ categories { effects { nodes { galleryVideos { nodes { id } } } } } }",
        "{ effects(first: 100) { nodes { tags { id } filters { id } } } }",
        "{ " + " ".join(f"a{at}: effects(first: 100) {{ nodes {{ category {{ id }} }} }}" for at in range(12)) + " }",
        "mutation { "
        + " ".join(f'a{at}: login(input: {{email: "a", password: "b"}}) {{ token }}' for at in range(15))
        + " ".join(f'b{at}: changePassword(input: {{current: "a", password: "b"}}) {{ token }}' for at in range(6))
        + " }",
    ],
    ids=["100-100-100", "bounded-lists", "plain-lists", "aliases", "passwords"],
)
async def test_what_is_too_dear_is_refused_before_its_first_fetch(served, monkeypatch, query):
    async def never(*_, **__):
        raise AssertionError("something was fetched")

    monkeypatch.setattr("db.leases.Leases.read", never)
    monkeypatch.setattr("execution.fetch.rows", never)
    for _ in range(3):
        answer = await ask(served, query)
        assert answer.codes == ["COST_LIMIT_EXCEEDED"]
        assert "data" not in answer.body
        assert f"{told(answer)['requested']:,}" in answer.body["errors"][0]["message"]
        assert "2,000" in answer.body["errors"][0]["message"]
        assert (told(answer)["limit"], told(answer)["actual"]) == (2_000, 1)
        assert told(answer)["requested"] > 2_000


async def test_a_refusal_tells_its_cost_unasked_and_has_the_status_of_its_media_type(served):
    plain = await served.graphql(PAGES)
    other = await served.graphql(PAGES, headers={"accept": GRAPHQL})
    assert (plain.status, other.status) == (200, 400)
    for answer in (plain, other):
        assert told(answer) == answer.body["errors"][0]["extensions"]["cost"]


async def test_the_same_document_is_refused_or_served_by_its_variables(served):
    query = "query ($n: Int, $m: Int) { effects(first: $n) { nodes { galleryVideos(first: $m) { nodes { id } } } } }"
    assert (await ask(served, query, {"n": 100, "m": 50})).codes == ["COST_LIMIT_EXCEEDED"]
    assert (await ask(served, query, {"n": 10, "m": 50})).data == {"effects": {"nodes": []}}
    assert (await ask(served, query, {"n": 1_000_000, "m": 1})).codes == ["BAD_USER_INPUT"]
    chosen = "query ($yes: Boolean!) { effects { totalCount } categories { effects @include(if: $yes) { nodes { "
    chosen += "galleryVideos { nodes { id } } } } } }"
    assert (await ask(served, chosen, {"yes": True})).codes == ["COST_LIMIT_EXCEEDED"]
    assert (await ask(served, chosen, {"yes": False})).data["categories"] == []


async def test_a_bomb_that_is_nested_thirty_levels_is_refused_by_its_cost(served):
    parts = ['query { effect(slug: "a") { ...F0 } }']
    inner = "category {{ id ...C{0} }}"
    for at in range(4):
        parts.append(f"fragment F{at} on Effect {{ a: {inner.format(at)} b: {inner.format(at)} }}")
        parts.append(f"fragment C{at} on Category {{ effects {{ nodes {{ ...F{at + 1} }} }} }}")
    answer = await ask(served, " ".join([*parts, "fragment F4 on Effect { id }"]))
    assert answer.codes == ["COST_LIMIT_EXCEEDED"]
    assert told(answer)["requested"] > 1_000_000


# ---------------------------------------------------------------- what is charged


async def test_an_address_is_told_when_to_come_again(frugal):
    for query in (DEAR, DEAR, DEAR, DEAR, '{ __type(name: "Effect") { name } }'):
        assert "errors" not in (await ask(frugal, query)).body
    answer = await ask(frugal, DEAR)
    assert (answer.status, answer.codes) == (429, ["RATE_LIMITED"])
    wait = int(answer.raw.headers["retry-after"])
    assert 1 <= wait <= 50
    assert answer.body["errors"][0]["extensions"]["retryAfter"] == wait
    assert "this address" in answer.body["errors"][0]["message"]
    assert told(answer)["restoreRate"] == 1
    # Others, and what is small enough, are served on.
    assert "errors" not in (await ask(frugal, THING)).body


async def test_what_was_not_answered_is_paid_back(frugal):
    answer = await ask(frugal, THING)
    before = told(answer)["remaining"]
    for _ in range(10):
        answer = await ask(frugal, PAGE, {"n": 100})
        assert (told(answer)["requested"], told(answer)["actual"]) == (105, 5)
    assert before - 50 <= told(answer)["remaining"] <= before - 50 + 30


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("{ nothing }", None),
        ("{ effects { ", None),
        (PAGE, {"n": "x"}),
        (PAGES, None),
        ("query A { __typename } query B { __typename }", None),
    ],
    ids=["invalid", "no-document", "variables", "too-dear", "no-operation"],
)
async def test_a_refused_query_costs_one(frugal, query, variables):
    before = told(await ask(frugal, THING))["remaining"]
    for _ in range(40):
        answer = await frugal.graphql(query, variables)
        assert "data" not in answer.body
    after = told(await ask(frugal, THING))["remaining"]
    assert before - 41 <= after <= before - 41 + 30


async def test_viewers_and_tenants_have_budgets_of_their_own(frugal):
    alice, bob = await frugal.world.tenant("alice"), await frugal.world.tenant("bob")
    for _ in range(8):
        assert "errors" not in (await ask(frugal, DEAR, host=alice.host, token=alice.token)).body
    refused = await ask(frugal, DEAR, host=alice.host, token=alice.token)
    assert (refused.codes, "you have" in refused.body["errors"][0]["message"]) == (["RATE_LIMITED"], True)
    # A stranger on the tenant's host takes from the tenant what its members took from too.
    for _ in range(4):
        assert "errors" not in (await ask(frugal, DEAR, host=alice.host)).body
    refused = await ask(frugal, DEAR, host=alice.host)
    assert "this tenant" in refused.body["errors"][0]["message"]
    assert "errors" not in (await ask(frugal, DEAR, host=bob.host, token=bob.token)).body


async def test_many_at_once_are_served_no_more_than_there_is(frugal):
    answers = await asyncio.gather(*(ask(frugal, DEAR) for _ in range(20)))
    assert sum("errors" not in each.body for each in answers) == 5
    assert {each.codes[0] for each in answers if "errors" in each.body} == {"RATE_LIMITED"}


# ---------------------------------------------------------------- over a socket


async def test_operations_over_a_socket_are_charged_and_told_too(frugal):
    alice = await frugal.world.tenant("alice")
    async with frugal.socket(host=alice.host, token=alice.token) as socket:
        payload = {"query": PAGE, "variables": {"n": 10}, "extensions": TELL}
        await socket.send({"id": "a", "type": "subscribe", "payload": payload})
        first = (await socket.receive())["payload"]
        assert (first["extensions"]["cost"]["requested"], first["extensions"]["cost"]["actual"]) == (15, 5)
        assert (await socket.receive())["type"] == "complete"
        await socket.subscribe("b", PAGES)
        refused = await socket.receive()
        assert (refused["type"], refused["payload"][0]["extensions"]["code"]) == ("error", "COST_LIMIT_EXCEEDED")
        assert refused["payload"][0]["extensions"]["cost"]["limit"] == 2_000
        answer: dict[str, Any] = {}
        for at in range(9):
            await socket.subscribe(f"c{at}", DEAR)
            answer = await socket.receive()
            if answer["type"] == "error":
                break
            await socket.receive()
        assert answer["payload"][0]["extensions"]["code"] == "RATE_LIMITED"
        assert answer["payload"][0]["extensions"]["retryAfter"] >= 1


async def test_each_event_of_a_subscription_costs_what_it_answers_and_none_is_withheld(frugal):
    alice = await frugal.world.tenant("alice")

    async def left() -> int:
        return told(await ask(frugal, "{ __typename }", host=alice.host, token=alice.token))["remaining"]

    dear = "subscription { wallet { balance transactions(first: 50) { totalCount nodes { id } } } }"
    async with frugal.socket(host=alice.host, token=alice.token) as socket:
        before, rows = await left(), []
        await socket.subscribe("a", dear)
        for at in range(3):
            rows = (await socket.receive())["payload"]["data"]["wallet"]["transactions"]["nodes"]
            await credit(frugal.world, alice, 1, f"k{at}")
        assert len(rows) >= 2
        # Each event: the wallet, its connection, the count, and the rows; and 1 to begin.
        took = before - await left()
        least = 1 + 3 * (1 + 1 + 5)
        assert least - 30 <= took <= least + 4 * len(rows) + 12


async def test_what_is_asked_and_refused_is_in_the_metrics(served):
    async def figures() -> dict[str, float]:
        lines = (await served.request("GET", "/metrics")).text.splitlines()
        return {
            name: float(value)
            for name, _, value in (line.rpartition(" ") for line in lines if "atrium_cost" in line and line[0] != "#")
        }

    before = await figures()
    await served.graphql(PAGE, {"n": 30})
    await served.graphql(PAGES)
    after = await figures()
    grown = {name: after[name] - before.get(name, 0) for name in after}
    assert grown['atrium_cost_total{kind="requested"}'] == 35
    assert grown['atrium_cost_total{kind="paid_back"}'] == 30
    assert grown['atrium_cost_refused_total{limit="operation"}'] == 1
