"""Health, readiness, metrics, the webhook's door: answered on any host, whatever else is down."""

from __future__ import annotations

import json

import httpx
import pytest

from tests import serving
from tests.world import opened

METRICS_TOKEN = "m" * 32


@pytest.fixture
async def guarded(templates, tmp_path):
    """A server with a token for metrics."""
    made = await templates.fresh("sqlite", tmp_path)
    async with (
        opened("sqlite", made, tmp_path, ATRIUM_METRICS_TOKEN=METRICS_TOKEN) as world,
        serving.serving(world) as client,
    ):
        yield client


async def test_probes_answer_on_any_host(served):
    for host in ("localhost", "nobody.example", "10.0.0.1"):
        assert (await served.request("GET", "/healthz", host=host)).json() == {"status": "ok"}
        ready = await served.request("GET", "/readyz", host=host)
        assert ready.status_code == 200
        assert ready.json() == {
            "status": "ok",
            "central": "up",
            "pools": {"tenant_pool_1": "up", "tenant_pool_2": "up"},
        }
        metrics = await served.request("GET", "/metrics", host=host)
        assert metrics.headers["content-type"].startswith("text/plain")
        assert "atrium_sql_statements_total" in metrics.text
    assert (await served.request("POST", "/healthz")).status_code == 405


async def test_a_pool_that_is_down_is_told_and_the_rest_goes_on(templates, tmp_path):
    made = await templates.fresh("sqlite", tmp_path)
    pools = json.dumps({**made.pools, "tenant_pool_1": "sqlite+aiosqlite:////nowhere/at/all.db"})
    async with opened("sqlite", made, tmp_path, ATRIUM_POOLS=pools) as world, serving.serving(world) as served:
        ready = await served.request("GET", "/readyz")
        assert ready.status_code == 200
        assert ready.json()["status"] == "degraded"
        assert ready.json()["pools"] == {"tenant_pool_1": "down", "tenant_pool_2": "up"}
        assert (await served.graphql("{ effects { totalCount } }")).data == {"effects": {"totalCount": 0}}


async def test_without_central_nobody_is_ready_and_a_tenants_host_says_why(templates, tmp_path):
    made = await templates.fresh("sqlite", tmp_path)
    nowhere = "sqlite+aiosqlite:////nowhere/at/all.db"
    async with opened("sqlite", made, tmp_path, ATRIUM_CENTRAL_URL=nowhere) as world, serving.serving(world) as served:
        ready = await served.request("GET", "/readyz")
        assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
        assert (await served.request("GET", "/healthz")).status_code == 200
        answer = await served.graphql("{ __typename }", host="alice1.localhost")
        assert (answer.status, answer.codes) == (503, ["CENTRAL_UNAVAILABLE"])


async def test_strangers_see_neither_metrics_nor_names_of_pools(guarded):
    # What came through a proxy did not come from this machine.
    stranger = {"x-forwarded-for": "203.0.113.9"}
    refused = await guarded.request("GET", "/metrics", headers=stranger)
    assert (refused.status_code, refused.json()["errors"][0]["extensions"]["code"]) == (403, "FORBIDDEN")
    assert (await guarded.request("GET", "/readyz", headers=stranger)).json()["pools"] == {"up": 2, "down": 0}
    known = {**stranger, "authorization": f"Bearer {METRICS_TOKEN}"}
    assert (await guarded.request("GET", "/metrics", headers=known)).status_code == 200
    assert "tenant_pool_1" in (await guarded.request("GET", "/readyz", headers=known)).text


async def test_the_payment_providers_events_are_asked_to_come_back(served):
    response = await served.request("POST", "/webhooks/stripe", host="pay.example", content=b"junk" * 1000)
    assert response.status_code == 503
    assert response.json()["errors"][0]["extensions"]["code"] == "PROVIDER_UNAVAILABLE"
    assert (await served.request("GET", "/webhooks/stripe")).status_code == 405


async def test_the_explorer_is_served_from_here_alone(served):
    alice = await served.world.tenant("alice")
    page = await served.request("GET", host=alice.host, headers={"accept": "text/html,*/*;q=0.8"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert '"tenantSlug":"alice1"' in page.text
    assert "__ATRIUM_CONFIG__" not in page.text
    for part in page.text.split('"/explorer/')[1:]:
        asset = await served.request("GET", f"/explorer/{part.split(chr(34))[0]}")
        assert asset.status_code == 200
        assert "immutable" in asset.headers["cache-control"]
    home = await served.request("GET", "/", headers={"accept": "text/html"})
    assert (home.status_code, home.headers["location"]) == (307, "/graphql")


async def test_large_heads_and_junk_are_refused_with_a_body(served):
    async with httpx.AsyncClient(trust_env=False) as client:
        url = f"http://127.0.0.1:{served.port}/graphql"
        response = await client.get(url, headers={"x-large": "a" * 40_000})
        assert response.status_code == 431
        response = await client.get(url, headers=[(f"x-{number}", "a") for number in range(150)])
        assert response.status_code == 431
        assert response.json()["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
