"""What is known is answered without a task and without parsing twice, and is the same answer, for the same price."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import pytest

from base import observe
from execution import repeated
from execution.endpoint import Endpoint
from execution.exchange import Exchange
from server import Application
from tests import serving
from tests import world as worlds
from tests.http.test_exchange import BODY, DATA, HEAD, answer, connected

NAMED = "query Named($yes: Boolean!) { categories @include(if: $yes) { name } __typename }"
TENANT = "{ tenant { slug } }"


@pytest.fixture
def at_once(monkeypatch):
    """For each request so far, whether it was answered at once."""
    real, found = Application.at_once, []

    def seen(self, exchange: Exchange) -> bool:
        found.append(real(self, exchange))
        return found[-1]

    monkeypatch.setattr(Application, "at_once", seen)
    return found


@dataclass
class Said:
    """An answer, and the lines of its head by name."""

    head: dict[str, str]
    text: bytes

    @property
    def data(self):
        body = json.loads(self.text)
        assert "errors" not in body, body
        return body["data"]

    @property
    def codes(self):
        return [error["extensions"]["code"] for error in json.loads(self.text).get("errors", [])]


async def say(served, query, *, host="localhost", token=None, **more):
    """Ask with a request that is sent as a whole, as most clients send a small one."""
    body = json.dumps({"query": query, **more}).encode()
    lines = [f"host: {host}:{served.port}", "content-type: application/json", f"content-length: {len(body)}"]
    lines += [f"authorization: Bearer {token}"] if token else []
    reader, writer = await connected(served)
    writer.write("\r\n".join(["POST /graphql HTTP/1.1", *lines, "", ""]).encode() + body)
    head, text = await answer(reader)
    writer.close()
    return Said(dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:-2]), text)


async def made(served):
    """A category, and somebody of the staff."""
    staff = await served.world.staff()
    mutation = 'mutation { createCategory(input: {name: "Lights", slug: "lights"}) { category { id } } }'
    answered = await say(served, mutation, host=staff.host, token=staff.token)
    return answered.data["createCategory"]["category"]["id"], staff


async def test_a_known_answer_is_given_at_once_word_for_word_until_the_catalog_changes(served, at_once):
    category, staff = await made(served)
    del at_once[:]
    answers = [await say(served, NAMED, variables={"yes": True}) for _ in range(4)]
    assert at_once == [False, True, True, True]
    assert {each.text for each in answers} == {b'{"data":{"categories":[{"name":"Lights"}],"__typename":"Query"}}'}
    assert len({each.head.pop("x-request-id") for each in answers}) == 4
    assert all(each.head == answers[0].head for each in answers)
    assert (await say(served, NAMED, variables={"yes": False})).data == {"__typename": "Query"}
    change = f'mutation {{ updateCategory(input: {{id: "{category}", name: "Lamps"}}) {{ category {{ name }} }} }}'
    await say(served, change, host=staff.host, token=staff.token)
    assert (await say(served, NAMED, variables={"yes": True})).data["categories"] == [{"name": "Lamps"}]


async def test_each_is_counted_and_has_its_line_as_any_other(served, at_once, caplog):
    caplog.set_level("INFO", "atrium")
    names: tuple[tuple[str, dict[str, str]], ...] = (
        ("atrium_requests_total", {"outcome": "ok"}),
        ("atrium_operations_total", {"answered_by": "planned"}),
        ("atrium_documents_total", {"outcome": "known"}),
        ("atrium_cost_total", {"kind": "requested"}),
        ("atrium_request_seconds_count", {}),
        ("atrium_events_total", {"event": "request"}),
    )
    asked = {"variables": {"yes": True}, "operationName": "Named"}
    await say(served, NAMED, **asked)
    figures = []
    for _ in range(3):
        before = [observe.REGISTRY.get_sample_value(*name) or 0 for name in names]
        caplog.clear()
        answered = await say(served, NAMED, **asked)
        after = [observe.REGISTRY.get_sample_value(*name) or 0 for name in names]
        figures.append([now - then for then, now in zip(before, after, strict=True)])
        [line] = [record.carried for record in caplog.records if record.getMessage() == "request"]
        assert line.pop("ms") >= 0
        assert line == {
            "id": answered.head["x-request-id"],
            "kind": "http",
            "path": "/graphql",
            "host": "central",
            "tenant": None,
            "operation": "Named",
            "status": 200,
        }
    # The catalog of nobody has one answer: the first of these was shown, the others were known.
    assert at_once[-1]
    assert figures[0] == figures[-1]
    assert figures[-1][:3] == [1, 1, 1]
    assert figures[-1][4:] == [1, 1]


async def test_what_is_a_tenants_own_is_never_given_to_another(served, at_once):
    alice, bob = await served.world.tenant("alice"), await served.world.tenant("bob")
    for _ in range(3):
        for person in (alice, bob):
            answered = await say(served, TENANT, host=person.host, token=person.token)
            assert answered.data == {"tenant": {"slug": person.tenant_id}}
    assert at_once == [False] * 6


async def test_mutations_and_subscriptions_are_never_answered_at_once(served, at_once):
    for _ in range(3):
        assert (await say(served, "subscription { wallet { balance } }")).codes == ["BAD_USER_INPUT"]
        assert (await say(served, "mutation { __typename }")).data == {"__typename": "Mutation"}
    assert at_once == [False] * 6


async def test_a_known_answer_is_paid_for_and_refused_as_any_other(templates, tmp_path, at_once):
    databases = await templates.fresh("sqlite", tmp_path)
    small = {"ATRIUM_BUDGET_ADDRESS": "60+1", "ATRIUM_BUDGET_VIEWER": "10000+1", "ATRIUM_BUDGET_TENANT": "90+1"}
    async with worlds.opened("sqlite", databases, tmp_path, **small) as world, serving.serving(world) as client:
        alice = await world.tenant("alice")
        # The tenant's first: an address that has nothing left is not told who is behind a token that is new here.
        for asker in ({"host": alice.host, "token": alice.token}, {}):
            del at_once[:]
            answered = await say(client, "{ __typename }", **asker)
            while not answered.codes:
                answered = await say(client, "{ __typename }", **asker)
            assert answered.codes == ["RATE_LIMITED"]
            assert int(answered.head["retry-after"]) >= 1
            assert at_once.count(True) > 30
            assert not at_once[-1]


async def test_what_goes_wrong_at_once_is_left_to_the_way_that_others_take(served, at_once, monkeypatch):
    def fails(_self, _exchange):
        raise RuntimeError("of no use to anybody")

    monkeypatch.setattr(Endpoint, "known", fails)
    assert (await say(served, "{ __typename }")).data == {"__typename": "Query"}
    assert at_once == [False]


# ---------------------------------------------------------------- heads that come again


@pytest.fixture(autouse=True)
def forgotten():
    repeated._KNOWN.clear()


async def test_a_head_that_came_before_is_not_parsed_again_whatever_its_body_is(served):
    reader, writer = await connected(served)
    other = b'{"query": "{ a:__typename }"}'.ljust(27)
    assert len(other) >= len(BODY)
    for body, expected in ((BODY, DATA), (BODY, DATA), (BODY.replace(b"__typename", b"_nothing__"), b"errors")):
        writer.write(HEAD + b"\r\n" + body)
        _, told = await answer(reader)
        assert expected in told
    assert list(repeated._KNOWN) == [HEAD + b"\r\n"]
    # In pieces, with more behind it, and as a whole again.
    for pieces in ([HEAD + b"\r\n", BODY], [HEAD, b"\r\n" + BODY], [HEAD + b"\r\n" + BODY[:3], BODY[3:]]):
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.01)
        assert (await answer(reader))[1] == DATA
    writer.write((HEAD + b"\r\n" + BODY) * 3)
    assert [(await answer(reader))[1] for _ in range(3)] == [DATA] * 3
    writer.write(HEAD + b"\r\n" + BODY)
    assert (await answer(reader))[1] == DATA
    writer.close()


@pytest.mark.parametrize(
    "lines",
    [
        b"connection: close\r\n",
        b"expect: 100-continue\r\n",
        b"upgrade: h2c\r\nconnection: upgrade\r\n",
        b"x-long: " + b"x" * repeated.HEAD_BYTES_KEPT_MAX + b"\r\n",
    ],
)
async def test_a_head_that_means_more_than_itself_is_parsed_each_time(served, lines):
    for _ in range(2):
        reader, writer = await connected(served)
        writer.write(HEAD + lines + b"\r\n" + BODY)
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        writer.close()
    assert not repeated._KNOWN


async def test_a_chunked_body_and_a_get_are_not_remembered(served):
    reader, writer = await connected(served)
    head = HEAD.replace(b"content-length: 27", b"transfer-encoding: chunked")
    get = b"GET /graphql?query=%7B__typename%7D HTTP/1.1\r\nhost: localhost\r\n\r\n"
    for _ in range(2):
        for request in (head + b"\r\n1b\r\n" + BODY + b"\r\n0\r\n\r\n", get):
            writer.write(request)
            assert (await answer(reader))[1] == DATA
    assert not repeated._KNOWN
    writer.close()


async def test_known_heads_are_bounded(served, monkeypatch):
    monkeypatch.setattr(repeated, "HEADS_MAX", 5)
    reader, writer = await connected(served)
    for number in range(12):
        writer.write(HEAD + b"x-number: %d\r\n\r\n" % number + BODY)
        assert (await answer(reader))[1] == DATA
        assert 1 <= len(repeated._KNOWN) <= 5
    writer.close()
