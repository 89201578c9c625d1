"""GraphQL over HTTP from outside: methods, media types, statuses, bodies; every refusal a GraphQL body with a code."""

from __future__ import annotations

import asyncio
import json

import pytest

from execution import endpoint, request
from execution.document import OutOfBudget, Reader, too_dear
from execution.kept import Kept
from tests.world import WORKER_TOKEN, on_every_engine

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"
QUERY = {"query": "{ __typename }"}


async def post(served, body, *, accept=JSON, host="localhost", **headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    own = {"accept": accept, "content-type": JSON, **{k.replace("_", "-"): v for k, v in headers.items()}}
    return await served.request("POST", host=host, content=content, headers=own)


def code_of(response):
    """The one code of a refusal that has no data."""
    told = response.json()
    assert "data" not in told
    assert response.headers["cache-control"] == "no-store"
    assert len(response.headers["x-request-id"]) == 24
    [error] = told["errors"]
    assert error["message"]
    return error["extensions"]["code"]


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        (JSON, JSON),
        (GRAPHQL, GRAPHQL),
        ("*/*", JSON),
        ("", JSON),
        ("application/*;q=0.5", JSON),
        (f"{GRAPHQL}, {JSON};q=0.9", GRAPHQL),
        (f"{JSON}, {GRAPHQL}", JSON),
        (f"multipart/mixed;deferSpec=20220824, {JSON}", JSON),
        (f"{JSON}; charset=utf-8", JSON),
    ],
)
async def test_an_answer_has_the_media_type_asked_for(served, accept, answered):
    response = await post(served, QUERY, accept=accept or "*/*")
    assert response.status_code == 200
    assert response.headers["content-type"] == f"{answered}; charset=utf-8"
    assert response.json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize("accept", ["text/event-stream", "image/png", "multipart/mixed", f"{JSON};q=0"])
async def test_other_media_types_are_not_acceptable(served, accept):
    response = await post(served, QUERY, accept=accept)
    assert (response.status_code, code_of(response)) == (406, "BAD_USER_INPUT")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
async def test_a_post_that_a_form_could_send_is_not_read(served, kind):
    headers = {"content-type": kind} if kind else {}
    response = await served.request("POST", content=json.dumps(QUERY).encode(), headers=headers)
    assert (response.status_code, code_of(response)) == (415, "BAD_USER_INPUT")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
async def test_a_compressed_body_is_not_read(served, encoding):
    response = await post(served, b"\x1f\x8b" + bytes(100), content_encoding=encoding)
    assert (response.status_code, code_of(response)) == (415, "BAD_USER_INPUT")


BAD_BODIES = [
    b"",
    b"{",
    b"null",
    b"3",
    b'"{ __typename }"',
    b'{"query": "\xff\xfe"}',
    b'{"query": "\xc0\xaf"}',
    b"[" * 100_000,
    b'{"query": "{ __typename }", "variables": {"a": ' + b"9" * 200_000 + b"}}",
    b'{"query": "{ __typename }", "variables": {"a": NaN}}',
    b'{"query": "{ __typename }", "variables": {"a": "\\ud800"}}',
    b"{}",
    b'{"query": null}',
    b'{"query": 1}',
    b'{"query": ["{ __typename }"]}',
    b'{"query": "{ __typename }", "variables": []}',
    b'{"query": "{ __typename }", "variables": "{}"}',
    b'{"query": "{ __typename }", "operationName": 1}',
    b'{"query": "{ __typename }", "extensions": "x"}',
    b'[{"query": "{ __typename }"}]',
]


@pytest.mark.parametrize("accept", [JSON, GRAPHQL])
async def test_what_is_no_request_is_refused_with_400(served, accept):
    for body in BAD_BODIES:
        response = await post(served, body, accept=accept)
        assert (response.status_code, code_of(response)) == (400, "BAD_USER_INPUT"), body[:60]
        assert response.headers["content-type"].startswith(accept)


HALF, HUGE = "half of a surrogate pair, which is no text", "a number that is out of range"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b'"variables": {"a": 1, "b": {"c": ["\\ud800"]}}', f'Variable "$b" has {HALF}.'),
        (b'"variables": {"a": ' + b"9" * 400 + b"}", f'Variable "$a" has {HUGE}.'),
        (b'"variables": {"a": [1e999]}', f'Variable "$a" has {HUGE}.'),
        (b'"variables": {"\\ud800": 1}', f'Parameter "variables" has {HALF}.'),
        (b'"operationName": "\\udc00"', f'Parameter "operationName" has {HALF}.'),
        (b'"variables": {"a": NaN}', "The body is no JSON in UTF-8."),
        (
            b'"variables": {"a": [' + b"0," * 20_000 + b"1e999]}",
            "The body is no JSON in UTF-8, or has half of a surrogate pair or a number that is out of range.",
        ),
        (b'"variables": {"a": 1', "The body is no JSON in UTF-8."),
    ],
)
async def test_what_is_written_like_json_and_has_no_value_is_told_with_its_place(served, given, said):
    response = await post(served, b'{"query": "{ __typename }", ' + given + b"}")
    assert response.status_code == 400
    assert response.json()["errors"][0]["message"] == said
    if given.startswith(b'"variables"') and "body" not in said:
        got = await served.request(
            "GET", params={"query": "{ __typename }", "variables": given.partition(b": ")[2].decode()}
        )
        assert (got.status_code, got.json()["errors"][0]["message"]) == (400, said)


async def test_parameters_that_are_null_or_unknown_are_passed_over(served):
    body = {**QUERY, "variables": None, "operationName": None, "extensions": {"a": 1}, "onError": "NULL", "x": [1]}
    assert (await post(served, body)).json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"query": "{"}, "GRAPHQL_PARSE_FAILED"),
        ({"query": ""}, "GRAPHQL_PARSE_FAILED"),
        ({"query": "{ nowhere }"}, "GRAPHQL_VALIDATION_FAILED"),
        ({"query": "query($a: Int!) { effects(first: $a) { totalCount } }"}, "BAD_USER_INPUT"),
        ({"query": "query A { __typename } query B { __typename }"}, "BAD_USER_INPUT"),
        ({"query": "query A { __typename }", "operationName": "B"}, "BAD_USER_INPUT"),
        ({"query": "{" + " __typename" * 3_000 + "}"}, "COST_LIMIT_EXCEEDED"),
    ],
)
async def test_an_operation_that_cannot_begin_has_its_code_and_the_status_of_its_media_type(served, body, code):
    for accept, status in ((JSON, 200), (GRAPHQL, 400)):
        response = await post(served, body, accept=accept)
        assert (response.status_code, code_of(response)) == (status, code)


async def test_arguments_that_do_not_fit_are_the_clients_fault(served):
    asked = [
        ("query($a: Int) { effects(first: $a) { totalCount } }", {"a": 1e300}),
        ("query($a: Int) { effects(first: $a) { totalCount } }", {"a": "ten"}),
        ("query($a: Int) { effects(first: $a) { totalCount } }", {"a": 2**40}),
        ("query($a: ID!) { node(id: $a) { id } }", {"a": {"b": 1}}),
        ("{ effects(first: -1) { totalCount nodes { id } } }", None),
        ("{ effects(first: 1000000) { nodes { id } } }", None),
        ('{ effects(after: "no cursor") { nodes { id } } }', None),
    ]
    for query, variables in asked:
        answer = await served.graphql(query, variables)
        assert answer.status == 200
        assert answer.codes == ["BAD_USER_INPUT"], (query, answer.body)


async def test_get_runs_queries_alone(served):
    response = await served.request(
        "GET",
        params={
            "query": "query($a: Int) { effects(first: $a) { totalCount } }",
            "variables": '{"a": 1}',
            "operationName": "",
        },
    )
    assert response.json() == {"data": {"effects": {"totalCount": 0}}}
    mutation = "mutation { logout { userErrors { message } } }"
    response = await served.request("GET", params={"query": mutation})
    assert (response.status_code, code_of(response)) == (405, "BAD_USER_INPUT")
    assert response.headers["allow"] == "POST"
    for params in ({}, {"query": "{ __typename }", "variables": "{"}, {"query": "{ __typename }", "variables": "[]"}):
        response = await served.request("GET", params=params, headers={"accept": JSON})
        assert (response.status_code, code_of(response)) == (400, "BAD_USER_INPUT")
    response = await served.request("GET", "/graphql?query=%FF%FE", headers={"accept": JSON})
    assert (response.status_code, code_of(response)) == (400, "BAD_USER_INPUT")


async def test_a_document_that_was_out_of_budget_once_is_not_looked_at_again_unasked(served, monkeypatch):
    """The second look might find a mutation that nobody has kept from running by GET."""
    alice = await served.world.tenant("alice")
    read, tries = Reader.read, []

    def late(reader, text, budget=None):
        tries.append(text)
        if len(tries) <= 2:
            raise OutOfBudget(too_dear("The document takes too long to plan.").errors)
        return read(reader, text, budget)

    monkeypatch.setattr(Reader, "read", late)
    params = {"query": "mutation { logout { ok } }"}
    headers = {"authorization": f"Bearer {alice.token}"}
    for status, code in ((200, "COST_LIMIT_EXCEEDED"), (405, "BAD_USER_INPUT")):
        response = await served.request("GET", host=alice.host, params=params, headers=headers)
        assert (response.status_code, code_of(response)) == (status, code)
    kept = await served.graphql("{ viewer { id } }", host=alice.host, token=alice.token)
    assert kept.data["viewer"] is not None


TOO_MUCH = {
    "[String!]": ("effects(filter: {tagSlugs: $v}) { totalCount }", list(range(120_000))),
    "EffectFilter": ("effects(filter: $v) { totalCount }", {f"searc{at}": 1 for at in range(50_000)}),
}


@pytest.mark.parametrize("kind", TOO_MUCH)
async def test_a_variable_that_holds_too_much_is_named_by_new_documents_and_known_ones(served, kind):
    place, value = TOO_MUCH[kind]
    query = f"query Much($v: {kind}) {{ {place} }}"
    for given in (value, None, value):
        answer = await served.graphql(query, {"v": given})
        if given is None:
            assert answer.data == {"effects": {"totalCount": 0}}
        else:
            assert answer.codes == ["BAD_USER_INPUT"]
            assert answer.body["errors"][0]["message"].startswith('Variable "$v" has ')
            assert answer.body["errors"][0]["locations"]


async def test_a_wrong_number_is_told_with_its_place(served):
    given = '{name: "a", mimeType: "image/png", sizeBytes: 1.5}'
    query = f"mutation {{ createUpload(input: {given}) {{ userErrors {{ code }} }} }}"
    told = (await served.graphql(query)).body["errors"]
    assert [error["locations"] for error in told] == [[{"line": 1, "column": query.index("1.5") + 1}]]
    assert "'BigInt'" in told[0]["message"]
    answer = await served.graphql("{ effects(first: " + "9" * 5_000 + ") { totalCount } }")
    assert answer.codes == ["COST_LIMIT_EXCEEDED"]
    assert "set_int_max_str_digits" not in answer.body["errors"][0]["message"]


async def test_what_comes_once_is_taken_for_known_by_nobody_whatever_it_does(served, monkeypatch):
    """Looked up twice by one request it would be, and a flood of such would push out what is asked for again."""
    asked, get = [], Kept.get

    def seen(kept, key):
        asked.append(get(kept, key))
        return asked[-1]

    monkeypatch.setattr(Kept, "get", seen)
    for text in ("{ mutationOnce: __typename }", "mutation Once { logout { ok } }"):
        await served.graphql(text)
    async with served.socket() as spoken:
        await spoken.subscribe("1", "query OnceSpoken { __typename }")
        await spoken.receive()
    assert asked
    assert set(asked) == {None}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_other_methods_are_refused_with_those_there_are(served, method):
    response = await served.request(method)
    assert (response.status_code, code_of(response)) == (405, "BAD_USER_INPUT")
    assert "POST" in response.headers["allow"]


async def test_subscriptions_are_told_where_to_go(served):
    response = await post(served, {"query": "subscription { wallet { balance } }"})
    assert (response.status_code, code_of(response)) == (400, "BAD_USER_INPUT")
    assert "WebSocket" in response.json()["errors"][0]["message"]


async def test_unknown_paths_have_a_graphql_body_too(served):
    for path in ("/", "/nothing", "/graphql/", "/explorer/nothing.js", "/explorer/../server.py", "/webhooks/other"):
        response = await served.request("GET", path, headers={"accept": JSON})
        assert (response.status_code, code_of(response)) == (404, "NOT_FOUND"), path


async def pieces(size, count):
    for _ in range(count):
        yield b"x" * size


async def test_a_body_over_its_limit_is_cut_while_it_is_read(served):
    response = await post(served, b"x" * (request.BODY_BYTES_MAX + 1))
    assert (response.status_code, code_of(response)) == (413, "BAD_USER_INPUT")
    # Chunked: nobody said how long it would be.
    response = await served.request("POST", content=pieces(64 * 1024, 40), headers={"content-type": JSON})
    assert (response.status_code, code_of(response)) == (413, "BAD_USER_INPUT")


async def test_a_body_that_dribbles_is_cut(served, monkeypatch):
    monkeypatch.setattr(request, "BODY_SECONDS_MAX", 0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(
        b"POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"
    )
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"code":"TIMEOUT"' in answer


async def test_an_operation_over_its_time_is_cancelled_and_says_so(served, monkeypatch):
    monkeypatch.setattr(endpoint, "EXECUTION_SECONDS_MAX", 0.0)
    for accept, status in ((JSON, 503), (GRAPHQL, 503)):
        response = await post(served, {"query": "{ effects { totalCount } }"}, accept=accept)
        assert (response.status_code, code_of(response)) == (status, "TIMEOUT")


async def test_a_fault_of_ours_shows_its_request_id_and_nothing_else(served, monkeypatch, caplog):
    async def breaks(*_, **__):
        raise RuntimeError("SELECT secret FROM users")

    # The plan's way to the rows, and the library's, which is tried after it.
    monkeypatch.setattr("db.leases.Leases.read", breaks)
    monkeypatch.setattr("execution.fetch.page", breaks)
    answer = await served.graphql("{ effects { nodes { id } } }")
    assert answer.codes == ["INTERNAL"]
    assert answer.raw.headers["x-request-id"] in answer.body["errors"][0]["message"]
    assert "secret" not in answer.raw.text
    assert any(record.getMessage() == "internal_error" for record in caplog.records)


@on_every_engine
async def test_a_query_and_a_mutation_work_on_every_engine(served):
    alice = await served.world.tenant("alice")
    answer = await served.graphql("{ wallet { balance } viewer { email } }", host=alice.host, token=alice.token)
    assert answer.data["viewer"]["email"] == alice.email
    answer = await served.graphql("mutation { logout { userErrors { code } } }", host=alice.host, token=alice.token)
    assert answer.data == {"logout": {"userErrors": []}}
    answer = await served.graphql("{ wallet { balance } }", host=alice.host, token=alice.token)
    assert answer.codes == ["UNAUTHENTICATED"]


async def test_the_workers_token_counts_on_central_hosts_alone(served):
    alice = await served.world.tenant("alice")
    claim = 'mutation { claimAiJobs(input: {workerName: "w", algorithms: ["a"]}) { userErrors { code } } }'
    assert (await served.graphql(claim)).codes == ["UNAUTHENTICATED"]
    assert (await served.graphql(claim, token=WORKER_TOKEN)).codes == []
    assert (await served.graphql(claim, token=WORKER_TOKEN, host=alice.host)).codes == ["FORBIDDEN"]


async def test_a_client_that_hangs_up_ends_its_query(served, monkeypatch):
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def waits(*_, **__):
        began.set()
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    monkeypatch.setattr("db.leases.Leases.read", waits)
    asking = asyncio.create_task(served.graphql("{ effects { nodes { id } } }"))
    await asyncio.wait_for(began.wait(), 10)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await asyncio.wait_for(cancelled.wait(), 10)
