"""Client libraries against the real server: what they ask by themselves, and what they make of our answers."""

from __future__ import annotations

import asyncio

import pytest
import websockets
from gql import Client, GraphQLRequest, gql
from gql.dsl import DSLMutation, DSLQuery, DSLSchema, dsl_gql
from gql.transport.exceptions import TransportConnectionFailed, TransportQueryError
from graphql import GraphQLObjectType, get_introspection_query, print_schema

from tests.http import gql_clients
from tests.http.test_live import credit
from tests.world import on_every_engine

VIEWER = "{ viewer { id email } tenant { slug } }"
WALLET = "subscription { wallet { balance reserved } }"
LOGIN = """mutation ($input: LoginInput!) { login(input: $input) {
    token user { email } userErrors { code message field } } }"""
EFFECTS = "query ($n: Int) { effects(first: $n) { totalCount nodes { slug } } }"


def _codes(refused):
    """The codes of the errors that the library raised for."""
    return [error["extensions"]["code"] for error in refused.value.errors]


async def _run(client: Client, query: str, **variables):
    async with client as session:
        return await session.execute(GraphQLRequest(query, variable_values=variables))


@on_every_engine
async def test_queries_and_mutations_over_http(served):
    alice = await served.world.tenant("alice")
    visitor = gql_clients.over_http(served)
    said = {"email": alice.email, "password": alice.password, "device": {"name": "gql", "platform": "python"}}
    signed_in = (await _run(visitor, LOGIN, input=said))["login"]
    assert (signed_in["user"], signed_in["userErrors"]) == ({"email": alice.email}, [])
    mine = gql_clients.over_http(served, host=alice.host, token=signed_in["token"])
    answer = await _run(mine, VIEWER)
    assert (answer["viewer"]["email"], answer["tenant"]) == (alice.email, {"slug": alice.tenant_id})
    wrong = (await _run(visitor, LOGIN, input=said | {"password": "not this one, surely"}))["login"]
    assert (wrong["token"], [error["code"] for error in wrong["userErrors"]]) == (None, ["INVALID"])


async def test_refusals_reach_the_program_with_their_codes(served):
    alice = await served.world.tenant("alice")
    for host, query, code in (
        ("localhost", "{ wallet { balance } }", "TENANT_REQUIRED"),
        (alice.host, "{ wallet { balance } }", "UNAUTHENTICATED"),
        (alice.host, "{ nowhere }", "GRAPHQL_VALIDATION_FAILED"),
    ):
        with pytest.raises(TransportQueryError) as refused:
            await _run(gql_clients.over_http(served, host=host), query)
        assert _codes(refused) == [code]
    with pytest.raises(TransportQueryError) as refused:
        await _run(gql_clients.over_http(served, host="nobody.localhost"), VIEWER)
    assert _codes(refused) == ["TENANT_NOT_FOUND"]
    with pytest.raises(TransportConnectionFailed) as unknown:
        await _run(gql_clients.over_socket(served, host="nobody.localhost"), VIEWER)
    cause = unknown.value.__cause__
    assert isinstance(cause, websockets.InvalidStatus)
    assert cause.response.status_code == 404


async def test_the_schema_that_a_client_asks_for_checks_its_queries_and_writes_them(served):
    client = gql_clients.over_http(served)
    client.fetch_schema_from_transport = True
    alice = await served.world.tenant("alice")
    async with client as session:
        schema = client.schema
        assert schema is not None
        for name in ("Query", "Mutation", "Subscription", "GalleryVideo", "TokenWallet"):
            assert isinstance(schema.type_map[name], GraphQLObjectType)
        assert "type Query" in print_schema(schema)
        ds = DSLSchema(schema)
        read = DSLQuery(ds.Query.effects(first=2).select(ds.EffectConnection.totalCount))
        assert await session.execute(dsl_gql(read)) == {"effects": {"totalCount": 0}}
        said = {"email": alice.email, "password": alice.password}
        payload = ds.AuthPayload
        written = DSLMutation(ds.Mutation.login(input=said).select(payload.tenant.select(ds.Tenant.slug)))
        assert await session.execute(dsl_gql(written)) == {"login": {"tenant": {"slug": alice.tenant_id}}}
        with pytest.raises(Exception, match="Cannot query field 'nowhere'"):
            await session.execute(gql("{ nowhere }"))


async def test_every_introspection_that_tools_send_is_answered(served):
    for asked in (
        get_introspection_query(),
        get_introspection_query(descriptions=True, specified_by_url=True, directive_is_repeatable=True),
        get_introspection_query(schema_description=True, input_value_deprecation=True),
    ):
        answer = await _run(gql_clients.over_http(served), asked)
        assert len(answer["__schema"]["types"]) > 50


@on_every_engine
async def test_queries_mutations_and_subscriptions_share_one_socket(served):
    alice = await served.world.tenant("alice")
    async with gql_clients.over_socket(served, host=alice.host, token=alice.token) as session:
        heard = []
        changed = asyncio.Event()

        async def follow():
            async for told in session.subscribe(gql(WALLET)):
                heard.append(told["wallet"]["balance"])
                changed.set()
                if len(heard) == 2:
                    return

        following = asyncio.create_task(follow())
        await asyncio.wait_for(changed.wait(), 30)
        answer = await session.execute(GraphQLRequest(EFFECTS, variable_values={"n": 1}))
        assert answer == {"effects": {"totalCount": 0, "nodes": []}}
        await credit(served.world, alice, 9, "by the way")
        await asyncio.wait_for(following, 30)
        assert heard == [heard[0], heard[0] + 9]
        # Its subscription ended by the client, the socket goes on.
        assert (await session.execute(gql(VIEWER)))["viewer"]["email"] == alice.email


async def test_a_socket_refuses_as_http_does_and_ends_with_its_token(served):
    alice = await served.world.tenant("alice")
    async with gql_clients.over_socket(served, host=alice.host) as session:
        with pytest.raises(TransportQueryError) as refused:
            async for _ in session.subscribe(gql(WALLET)):
                pass
        assert _codes(refused) == ["UNAUTHENTICATED"]
    async with gql_clients.over_socket(served, host=alice.host, token=alice.token) as session:
        events = session.subscribe(gql(WALLET))
        await anext(events)
        leave = "mutation { logout { ok userErrors { code } } }"
        left = await _run(gql_clients.over_http(served, host=alice.host, token=alice.token), leave)
        assert left["logout"] == {"ok": True, "userErrors": []}
        with pytest.raises(TransportConnectionFailed) as ended:
            await asyncio.wait_for(_all(events), 30)
        closed = ended.value.__cause__
        assert isinstance(closed, websockets.ConnectionClosed)
        assert closed.rcvd is not None
        assert (closed.rcvd.code, closed.rcvd.reason) == (4403, "The access token was revoked")


async def _all(events):
    return [event async for event in events]
