"""Hosts from outside: who answers to which name, who is believed about it, and whose token counts where."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from db.session import SystemSession
from db.tables.central.identity import Tenant
from db.zones import TenantState
from tenancy import directory
from tests import serving
from tests.world import on_every_engine, opened

QUERY = "{ tenant { slug } viewer { email } }"


async def _set_state(db: SystemSession, tenant, state, /):
    db.act_for(tenant=tenant)
    await db.change(sa.update(Tenant).where(Tenant.id == tenant).values(state=state))
    db.tell("directory", tenant)


async def raw(served, *lines):
    """The answer to a request written by hand."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write("\r\n".join((*lines, "connection: close", "", "")).encode("latin-1"))
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


@on_every_engine
async def test_the_host_decides_whose_data_is_seen(served):
    alice, bob = await served.world.tenant("alice"), await served.world.tenant("bob")
    for person in (alice, bob):
        answer = await served.graphql(QUERY, host=person.host, token=person.token)
        assert answer.data == {"tenant": {"slug": person.tenant_id}, "viewer": {"email": person.email}}
    answer = await served.graphql(QUERY, host=bob.host, token=alice.token)
    assert answer.data == {"tenant": {"slug": "bob1"}, "viewer": None}
    answer = await served.graphql(QUERY, token=alice.token)
    assert answer.data == {"tenant": None, "viewer": {"email": alice.email}}
    answer = await served.graphql("{ wallet { balance } }", host=bob.host, token=alice.token)
    assert answer.codes == ["UNAUTHENTICATED"]
    answer = await served.graphql("{ wallet { balance } }", token=alice.token)
    assert answer.codes == ["TENANT_REQUIRED"]


async def test_one_host_has_many_spellings(served):
    await served.world.tenant("alice")
    for host in (
        "alice1.localhost",
        "ALICE1.LocalHost",
        "alice1.localhost.",
        "alice1.localhost:1",
        "ａlice1.localhost",
    ):
        answer = await raw(
            served, "GET /graphql?query={tenant{slug}} HTTP/1.1", f"host: {host.encode().decode('latin-1')}"
        )
        assert b'{"data":{"tenant":{"slug":"alice1"}}}' in answer, host
    for host in ("localhost", "www.localhost", "127.0.0.1", "[::1]:8000", "10.1.2.3"):
        answer = await raw(served, "GET /graphql?query={tenant{slug}} HTTP/1.1", f"host: {host}")
        assert b'{"data":{"tenant":null}}' in answer, host


async def test_nobody_answers_to_an_unknown_host(served):
    alice = await served.world.tenant("alice")
    for host in ("alice2.localhost", "x.alice1.localhost", "example.com", "alice1.localhost.evil.example"):
        answer = await served.graphql(QUERY, host=host, token=alice.token)
        assert (answer.status, answer.codes) == (404, ["TENANT_NOT_FOUND"])
        for path in ("/uploads/x", "/files/x", "/explorer/x", "/nothing"):
            assert (await served.request("GET", path, host=host)).status_code == 404


async def test_a_host_that_cannot_be_read_is_refused_and_never_central(served):
    for lines in (
        ("host: alice1.localhost", "host: localhost"),
        ("host: ",),
        ("host: a b",),
        ("host: alice1.localhost:99999",),
        ("host: alice1.localhost@localhost",),
        ("host: [::1",),
        ("host: -.localhost",),
        ("host: " + "a" * 300,),
        (),
    ):
        answer = await raw(served, "GET /graphql?query={__typename} HTTP/1.1", *lines)
        assert answer.startswith(b"HTTP/1.1 400"), lines
        assert b'"code":"BAD_USER_INPUT"' in answer, lines
    # Health is asked by machines that know no name.
    assert (await raw(served, "GET /healthz HTTP/1.1", "host: a b")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [
        (TenantState.PROVISIONING, 404, "TENANT_NOT_FOUND"),
        (TenantState.ERASED, 404, "TENANT_NOT_FOUND"),
        (TenantState.SUSPENDED, 403, "TENANT_SUSPENDED"),
    ],
)
async def test_only_an_active_tenant_is_served_and_a_change_is_known_within_a_second(served, state, status, code):
    alice = await served.world.tenant("alice")
    assert (await served.graphql(QUERY, host=alice.host)).status == 200
    await served.world.house.system().on_system(_set_state, alice.tenant_id, state)
    answer = await _told(served, alice, status)
    assert answer.codes == [code]
    await served.world.house.system().on_system(_set_state, alice.tenant_id, TenantState.ACTIVE)
    await _told(served, alice, 200)


async def _told(served, person, status):
    """The first answer of this status: it comes before the route that is kept would be looked up again."""
    async with asyncio.timeout(directory.FOUND_SECONDS - directory.AHEAD_SECONDS - 2):
        while (answer := await served.graphql(QUERY, host=person.host, token=person.token)).status != status:
            await asyncio.sleep(0.05)
    return answer


async def test_forwarded_hosts_of_strangers_are_not_believed(served):
    await served.world.tenant("alice")
    headers = {"x-forwarded-host": "alice1.localhost", "x-forwarded-for": "9.9.9.9"}
    answer = await served.graphql(QUERY, headers=headers)
    assert answer.data["tenant"] is None


async def test_forwarded_hosts_of_a_trusted_proxy_are_the_nearest_ones(templates, tmp_path):
    made = await templates.fresh("sqlite", tmp_path)
    async with opened("sqlite", made, tmp_path, ATRIUM_TRUSTED_PROXIES="127.0.0.0/8") as world:
        await world.tenant("alice")
        async with serving.serving(world) as served:
            headers = {"x-forwarded-host": "evil.example, alice1.localhost"}
            answer = await served.graphql(QUERY, host="inner.example", headers=headers)
            assert answer.data["tenant"] == {"slug": "alice1"}


async def test_origins_of_loopback_may_call_the_embedded_set_up_and_no_others(served):
    for origin in ("http://localhost:5173", "http://alice1.localhost:3000", "http://127.0.0.1:1", "https://[::1]"):
        answer = await served.graphql("{ __typename }", headers={"origin": origin})
        assert answer.raw.headers["access-control-allow-origin"] == origin
        assert "Origin" in answer.raw.headers["vary"]
        preflight = await served.request("OPTIONS", headers={"origin": origin, "access-control-request-method": "POST"})
        assert preflight.status_code == 204
        assert "authorization" in preflight.headers["access-control-allow-headers"]
        assert preflight.headers.get_list("access-control-allow-origin") == [origin]
    evil = ("null", "http://localhost.evil.example", "http://evillocalhost", "http://localhost@evil.example", "file://")
    for origin in evil:
        for response in (
            (await served.graphql("{ __typename }", headers={"origin": origin})).raw,
            await served.request("OPTIONS", headers={"origin": origin, "access-control-request-method": "POST"}),
        ):
            assert not [name for name in response.headers if name.startswith("access-control-")], origin


async def test_requests_of_many_hosts_at_once_keep_to_their_own(served):
    people = [await served.world.tenant(name) for name in ("alice", "bob", "carol")]

    async def ask(person):
        answer = await served.graphql(QUERY, host=person.host, token=person.token)
        assert answer.data == {"tenant": {"slug": person.tenant_id}, "viewer": {"email": person.email}}

    await asyncio.gather(*(ask(people[number % 3]) for number in range(150)))


async def test_each_request_writes_one_line_without_secrets(served, caplog):
    caplog.set_level("INFO", "atrium")
    alice = await served.world.tenant("alice")
    query = "query Mine($a: ID!) { node(id: $a) { id } }"
    body = {"query": query, "variables": {"a": "Video_secret"}, "operationName": "Mine"}
    headers = {"authorization": f"Bearer {alice.token}"}
    response = await served.request("POST", host=alice.host, json=body, headers=headers)
    lines = [record.carried for record in caplog.records if record.getMessage() == "request"]
    assert [line["id"] for line in lines] == [response.headers["x-request-id"]]
    assert {**lines[0], "ms": 0} == {
        "id": lines[0]["id"],
        "kind": "http",
        "path": "/graphql",
        "host": "tenant",
        "tenant": "alice1",
        "operation": "Mine",
        "status": 200,
        "ms": 0,
    }
    assert alice.token not in str(lines)
