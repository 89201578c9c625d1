"""graphql-transport-ws from outside: the protocol's codes, the limits of a socket, and its end with its token."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
import websockets

from actions import wallet
from base import errors
from base.bus import Notice
from db.columns import utc_now
from db.tables.central.identity import AccessToken
from db.tables.pool.wallet import TokenTransactionKind
from db.zones import TenantState
from execution import live
from execution.plans import Plans
from tenancy import middleware
from tests import serving
from tests.http.test_hosts import _set_state
from tests.world import on_every_engine

WALLET = "subscription { wallet { balance } }"
# Below live.FULL_CHECK_SECONDS: what ends sooner was told by a notice or by the token's own time.
PROMPT_SECONDS_MAX = 25
HOLDS = "subscription Holds { wallet { balance } }"


async def credit(world, person, amount, key):
    system = await world.system(person.tenant_id)
    cause = wallet.Cause(key=key)
    await system.on_pool(wallet.credit, TokenTransactionKind.ADJUSTMENT, amount, cause=cause)


@on_every_engine
async def test_a_subscription_begins_with_the_present_and_follows_every_change(served):
    alice, bob = await served.world.tenant("alice"), await served.world.tenant("bob")
    async with served.socket(host=alice.host, token=alice.token) as socket:
        await socket.subscribe("a", WALLET)
        first = await socket.receive()
        assert (first["type"], first["id"]) == ("next", "a")
        before = first["payload"]["data"]["wallet"]["balance"]
        await credit(served.world, bob, 1_000, "not hers")
        await credit(served.world, alice, 7, "hers")
        after = await socket.receive()
        assert after["payload"]["data"]["wallet"]["balance"] == before + 7
        await socket.send({"id": "a", "type": "complete"})
        await socket.send({"type": "ping"})
        assert (await socket.receive())["type"] == "pong"


async def test_queries_and_mutations_run_over_the_socket_too(served):
    alice = await served.world.tenant("alice")
    async with served.socket(host=alice.host, token=alice.token) as socket:
        await socket.subscribe("q", "query($a: Int) { effects(first: $a) { totalCount } viewer { email } }", {"a": 1})
        told = await socket.receive()
        assert told["payload"] == {"data": {"effects": {"totalCount": 0}, "viewer": {"email": alice.email}}}
        assert await socket.receive() == {"id": "q", "type": "complete"}
        await socket.subscribe("q", "{ nowhere }")
        refused = await socket.receive()
        assert (refused["type"], refused["payload"][0]["extensions"]["code"]) == ("error", "GRAPHQL_VALIDATION_FAILED")
        await socket.subscribe("q", "query($a: Int!) { effects(first: $a) { totalCount } }")
        assert (await socket.receive())["payload"][0]["extensions"]["code"] == "BAD_USER_INPUT"
        await socket.subscribe("q", "{" + " __typename" * 3_000 + "}")
        assert (await socket.receive())["payload"][0]["extensions"]["code"] == "COST_LIMIT_EXCEEDED"


@pytest.mark.parametrize("how", ["completes it", "hangs up"])
async def test_a_mutation_that_was_begun_goes_on_whoever(served, monkeypatch, how):
    begun, opened, answer = asyncio.Event(), asyncio.Event(), Plans.answer

    async def slowly(*given, **named):
        begun.set()
        await opened.wait()
        return await answer(*given, **named)

    alice = await served.world.tenant("alice")
    monkeypatch.setattr(Plans, "answer", slowly)
    async with served.socket(host=alice.host, token=alice.token) as socket:
        await socket.subscribe("m", "mutation { logout { ok } }")
        await begun.wait()
        if how == "completes it":
            await socket.send({"id": "m", "type": "complete"})
            await socket.send({"type": "ping"})
            assert (await socket.receive())["type"] == "pong"
            opened.set()
            # Nothing is told of it any more, and the token that it has ended ends the socket.
            assert (await socket.closed())[0] == live.FORBIDDEN
    opened.set()
    async with asyncio.timeout(60):
        while (await served.graphql("{ viewer { id } }", host=alice.host, token=alice.token)).data["viewer"]:
            await asyncio.sleep(0.05)


async def test_a_fault_within_one_operation_is_told_masked_and_the_others_go_on(served, monkeypatch):
    answer = Plans.answer

    async def breaks(plans, ctx, query, **named):
        if "Breaks" in getattr(query, "text", query):
            raise RuntimeError("secret")
        return await answer(plans, ctx, query, **named)

    alice = await served.world.tenant("alice")
    monkeypatch.setattr(Plans, "answer", breaks)
    async with served.socket(host=alice.host, token=alice.token) as socket:
        await socket.subscribe("s", WALLET)
        assert (await socket.receive())["type"] == "next"
        await socket.subscribe("b", "query Breaks { __typename }")
        told = await socket.receive()
        assert (told["type"], told["id"]) == ("error", "b")
        [error] = told["payload"]
        assert error["extensions"] == {"code": "INTERNAL"}
        assert "secret" not in error["message"]
        await credit(served.world, alice, 7, "after the fault")
        assert (await socket.receive())["id"] == "s"
        await socket.subscribe("b", "{ __typename }")
        assert (await socket.receive())["payload"] == {"data": {"__typename": "Query"}}


async def test_whoever_may_not_gets_no_stream(served):
    alice = await served.world.tenant("alice")
    for host, code in ((alice.host, "UNAUTHENTICATED"), ("localhost", "TENANT_REQUIRED")):
        async with served.socket(host=host) as socket:
            await socket.subscribe("a", WALLET)
            refused = await socket.receive()
            assert (refused["type"], refused["payload"][0]["extensions"]["code"]) == ("error", code)


INIT = {"type": "connection_init"}
ASK = {"id": "a", "type": "subscribe", "payload": {"query": "{ __typename }"}}


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([ASK], 4401),
        ([INIT, INIT], 4429),
        (["no json"], 4400),
        (["[1]"], 4400),
        (["[" * 5_000], 4400),
        ([b"\x00\x01"], 4400),
        ([{"type": "start"}], 4400),
        ([INIT, {"type": "subscribe", "payload": {"query": "{ a }"}}], 4400),
        ([INIT, {"id": "", "type": "subscribe", "payload": {"query": "{ a }"}}], 4400),
        ([INIT, {"id": "a" * 300, "type": "subscribe", "payload": {"query": "{ a }"}}], 4400),
        ([INIT, {"id": "a", "type": "subscribe"}], 4400),
        ([INIT, {"id": "a", "type": "subscribe", "payload": {"query": 1}}], 4400),
        (["x" * 300_000], 1009),
    ],
)
async def test_a_message_against_the_protocol_ends_the_socket_with_its_code(served, messages, code):
    async with served.socket(init=False) as socket:
        with contextlib.suppress(websockets.ConnectionClosed):
            for message in messages:
                await socket.raw.send(json.dumps(message) if isinstance(message, dict) else message)
        assert (await socket.closed())[0] == code
    assert (await served.request("GET", "/healthz")).status_code == 200


async def test_a_socket_that_never_begins_is_ended(served, monkeypatch):
    monkeypatch.setattr(live, "INIT_SECONDS_MAX", 0.2)
    async with served.socket(init=False) as socket:
        assert (await socket.closed())[0] == 4408


async def test_an_unknown_subprotocol_is_not_spoken(served):
    for spoken in (["graphql-ws"], None):
        async with served.socket(init=False, subprotocols=spoken) as socket:
            assert (await socket.closed())[0] == 4406


async def test_one_socket_holds_a_hundred_operations_of_different_names(served):
    alice = await served.world.tenant("alice")
    async with served.socket(host=alice.host, token=alice.token) as socket:
        await socket.subscribe("same", HOLDS)
        await socket.subscribe("same", HOLDS)
        assert await socket.closed() == (4409, "Subscriber for same already exists")
    async with served.socket(host=alice.host, token=alice.token) as socket:
        for number in range(live.OPERATIONS_MAX + 1):
            await socket.subscribe(str(number), HOLDS)
        assert (await socket.closed())[0] == 4429


async def test_a_foreign_page_cannot_open_a_socket(served):
    alice = await served.world.tenant("alice")
    for origin in ("https://evil.example", "null", "http://localhost.evil.example"):
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with served.socket(host=alice.host, origin=origin):
                pass
        assert refused.value.response.status_code == 403
        assert b"FORBIDDEN" in refused.value.response.body
    for origin in (f"http://{alice.host}:{served.port}", "http://localhost:5173"):
        async with served.socket(host=alice.host, origin=origin):
            pass


async def test_an_unknown_host_has_no_sockets(served):
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with served.socket(host="nobody.localhost"):
            pass
    assert refused.value.response.status_code == 404
    assert b"TENANT_NOT_FOUND" in refused.value.response.body


async def test_a_token_of_another_tenant_opens_nothing(served):
    alice, bob = await served.world.tenant("alice"), await served.world.tenant("bob")
    for token in (bob.token, "1|nonsense"):
        async with served.socket(host=alice.host, init=False) as socket:
            await socket.send({"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}})
            assert (await socket.closed())[0] == 4403


async def _expire(db, person, /):
    db.act_for(person.user_id, tenant=person.tenant_id)
    soon = utc_now() + timedelta(seconds=5)
    here = (AccessToken.id == person.token_id, AccessToken.user_id == person.user_id)
    await db.change(sa.update(AccessToken).where(*here).values(expires_at=soon))


async def test_a_socket_ends_within_a_second_of_its_token(served):
    alice, bob = await served.world.tenant("alice"), await served.world.tenant("bob")
    async with (
        served.socket(host=alice.host, token=alice.token) as hers,
        served.socket(host=bob.host, token=bob.token) as his,
    ):
        await hers.subscribe("a", HOLDS)
        await hers.receive()
        query = "mutation { logout { userErrors { code } } }"
        assert (await served.graphql(query, host=alice.host, token=alice.token)).codes == []
        assert await asyncio.wait_for(hers.closed(), PROMPT_SECONDS_MAX) == (4403, "The access token was revoked")
        await his.send({"type": "ping"})
        assert (await his.receive())["type"] == "pong"


def _sockets():
    return [task for task in asyncio.all_tasks() if "run_asgi" in repr(task.get_coro())]


async def test_sockets_that_end_in_the_moment_of_a_notice_leave_nothing_behind(served):
    alice = await served.world.tenant("alice")
    before = len(_sockets())

    async def leave(token, delay):
        async with served.socket(host=alice.host, token=token) as socket:
            await socket.subscribe("a", HOLDS)
            await socket.receive()
            await asyncio.sleep(delay)
            left = await served.graphql("mutation { logout { ok } }", host=alice.host, token=token)
            assert left.data == {"logout": {"ok": True}}
            assert (await socket.closed())[0] == 4403

    tokens = [await served.world.token(alice) for _ in range(40)]
    await asyncio.gather(*(leave(token, number * 0.013) for number, token in enumerate(tokens)))
    async with asyncio.timeout(60):
        while len(_sockets()) > before:
            await asyncio.sleep(0.05)


@pytest.fixture
def houses(monkeypatch):
    """The server's house, once for each socket that is opened."""
    found = []

    class Known(live.Socket):
        def __init__(self, *given) -> None:
            super().__init__(*given)
            found.append(self._context.house)

    monkeypatch.setattr(live, "Socket", Known)
    return found


async def test_a_socket_initialised_amid_notices_still_ends_with_its_token(served, houses):
    alice = await served.world.tenant("alice")
    tokens = [await served.world.token(alice) for _ in range(10)]
    stormy = asyncio.Event()

    async def storm():
        while not stormy.is_set():
            for house in houses[:1]:
                house.bus.hear(Notice("directory", alice.tenant_id))
            await asyncio.sleep(0.001)

    async def leave(token):
        async with served.socket(host=alice.host, token=token) as socket:
            await socket.subscribe("a", HOLDS)
            await socket.receive()
            stormy.set()
            await served.graphql("mutation { logout { ok } }", host=alice.host, token=token)
            assert await socket.closed() == (4403, "The access token was revoked")

    await asyncio.gather(storm(), *(leave(token) for token in tokens))


async def test_a_socket_whose_check_found_no_database_is_checked_again(served, monkeypatch):
    alice = await served.world.tenant("alice")
    asked = []

    async def thrice_unanswered(context, header):
        asked.append(header)
        if len(asked) <= 3:
            raise errors.CentralUnavailable("no answer")
        return await middleware.authorised(context, header)

    async with served.socket(host=alice.host, token=alice.token) as socket:
        await socket.subscribe("a", HOLDS)
        await socket.receive()
        # Only what the socket itself asks fails, and more often than notices come of its token.
        monkeypatch.setattr(live, "middleware", SimpleNamespace(authorised=thrice_unanswered))
        await served.graphql("mutation { logout { ok } }", host=alice.host, token=alice.token)
        assert await asyncio.wait_for(socket.closed(), PROMPT_SECONDS_MAX) == (4403, "The access token was revoked")
    assert len(asked) == 4


async def test_a_socket_ends_when_its_token_expires(served):
    alice = await served.world.tenant("alice")
    await served.world.house.system().on_system(_expire, alice)
    async with served.socket(host=alice.host, token=alice.token) as socket:
        assert await asyncio.wait_for(socket.closed(), PROMPT_SECONDS_MAX) == (4403, "The access token has expired")


async def test_a_socket_ends_within_a_second_of_its_tenants_suspension(served):
    alice = await served.world.tenant("alice")
    async with (
        served.socket(host=alice.host, token=alice.token) as hers,
        served.socket(host=alice.host) as visitors,
    ):
        await served.world.house.system().on_system(_set_state, alice.tenant_id, TenantState.SUSPENDED)
        for socket in (hers, visitors):
            assert (await asyncio.wait_for(socket.closed(), PROMPT_SECONDS_MAX))[0] == 4403


async def test_a_stopping_server_says_that_it_goes_away(world):
    alice = await world.tenant("alice")
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(serving.serving(world))
        async with client.socket(host=alice.host, token=alice.token) as socket:
            await socket.subscribe("a", HOLDS)
            await socket.receive()
            closing = asyncio.create_task(stack.aclose())
            assert await socket.closed() == (1001, "The server is going away")
            await closing
