"""While databases are down: what needs them says so at once, all else goes on, and everything comes back by itself.

Real servers behind doors on loopback that are shut and opened; what two processes tell each other is in
`test_processes.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from actions import gallery
from db import leases
from tests import serving
from tests import world as worlds
from tests.actions.test_gallery import _ready
from tests.proofs import door

# A busy machine takes its time; whoever waits for a connection or a statement waits for 60 seconds (tests/patience.py).
AT_ONCE_SECONDS_MAX = 40.0
BACK_SECONDS_MAX = 40.0

PUBLIC = (
    "{ gallery { totalCount nodes { title tenantSlug effect { slug } } } categories { slug } effects { totalCount } }"
)
LOGIN = """mutation ($input: LoginInput!) { login(input: $input) {
    token tenant { slug } user { email } userErrors { code } } }"""
REGISTER = "mutation ($input: RegisterInput!) { register(input: $input) { token userErrors { code field } } }"
WALLET = "{ wallet { balance reserved } videos { totalCount } }"
CLAIM = "mutation { claimReward(kind: DAILY) { wallet { balance } userErrors { code } } }"
MIXED = "query ($id: ID!) { gallery { totalCount } viewer { email tenant { slug } } video(id: $id) { id } }"
ME = "{ tenant { slug } viewer { email } }"


@dataclass
class Town:
    """A served world whose databases stand behind doors; alice and bob live in two pools."""

    served: serving.Client
    alice: worlds.Person
    bob: worlds.Person
    central: door.Door
    pools: dict[str, door.Door]

    async def ask(self, query: str, person: worlds.Person | None = None, **variables: Any) -> serving.Answer:
        """A request on somebody's host with their token, or a visitor's on the central host."""
        if person is None:
            return await self.served.graphql(query, variables)
        return await self.served.graphql(query, variables, host=person.host, token=person.token)

    async def refused(self, query: str, person: worlds.Person | None = None, **variables: Any) -> list[str]:
        """The codes of a refusal that comes at once."""
        began = time.monotonic()
        answer = await self.ask(query, person, **variables)
        assert time.monotonic() - began < AT_ONCE_SECONDS_MAX
        return answer.codes

    async def works(self, query: str, person: worlds.Person | None = None) -> None:
        """It comes back by itself within moments."""
        began = time.monotonic()
        while (await self.ask(query, person)).codes:
            assert time.monotonic() - began < BACK_SECONDS_MAX
            await asyncio.sleep(0.05)

    async def status(self) -> dict[str, Any]:
        """What `/readyz` says, its HTTP status with it."""
        ready = await self.served.request("GET", "/readyz")
        return {"http": ready.status_code, **ready.json()}


@pytest.fixture(params=["mariadb", "postgresql"])
async def town(anyio_backend, request, templates, tmp_path):
    """Everything up, one video of each published."""
    made = await templates.fresh(request.param, tmp_path)
    behind = urlsplit(made.central_url).port
    async with contextlib.AsyncExitStack() as closing:
        doors = await closing.enter_async_context(door.doors(behind, 1 + len(made.pools)))
        by_name = dict(zip(made.urls(), doors, strict=True))
        urls = {name: url.replace(f":{behind}/", f":{by_name[name].port}/") for name, url in made.urls().items()}
        through = worlds.Migrated(urls.pop("central"), urls)
        world = await closing.enter_async_context(worlds.opened(request.param, through, tmp_path))
        people: dict[str, worlds.Person] = {}
        while len(people) < len(made.pools):
            person = await world.tenant("alice")
            people.setdefault((await world.system(person.tenant_id)).tenant_route.pool, person)
        for person in people.values():
            ctx = await world.of(person)
            await ctx.on_pool(gallery.publish_video, await _ready(ctx))
        served = await closing.enter_async_context(serving.serving(world, with_worker=True))
        central = by_name.pop("central")
        alice, bob = (people[name] for name in by_name)
        yield Town(served, alice, bob, central, by_name)
        # Whoever was shut out says goodbye through an open door.
        for each in doors:
            await each.open()


def _pool_of(town: Town, person: worlds.Person) -> door.Door:
    return list(town.pools.values())[0 if person is town.alice else 1]


def _login(person: worlds.Person) -> dict[str, str]:
    return {"email": person.email, "password": person.password}


@pytest.mark.slow
@pytest.mark.services
async def test_while_every_pool_is_down_the_gallery_the_catalog_and_signing_in_go_on(town):
    before = (await town.ask(PUBLIC)).data
    assert before["gallery"]["totalCount"] == 2
    assert (await town.ask(WALLET, town.alice)).codes == []
    for pool in town.pools.values():
        await pool.shut()
    assert (await town.ask(PUBLIC)).data == before
    assert (await town.ask(PUBLIC, town.alice)).data == before
    signed_in = (await town.ask(LOGIN, input=_login(town.alice))).data["login"]
    assert (signed_in["tenant"], signed_in["userErrors"]) == ({"slug": town.alice.tenant_id}, [])
    for person in (town.alice, town.bob):
        assert (await town.ask(ME, person)).data["viewer"] == {"email": person.email}
        for query in (WALLET, CLAIM):
            assert set(await town.refused(query, person)) == {"POOL_UNAVAILABLE"}
    mixed = await town.ask(MIXED, town.alice, id=f"Video_{town.alice.tenant_id.encode().hex()}_1")
    assert mixed.codes == ["POOL_UNAVAILABLE"]
    assert mixed.body["data"] == {
        "gallery": {"totalCount": 2},
        "viewer": {"email": town.alice.email, "tenant": {"slug": town.alice.tenant_id}},
        "video": None,
    }
    told = await town.status()
    assert (told["http"], told["status"], set(told["pools"].values())) == (200, "degraded", {"down"})
    for pool in town.pools.values():
        await pool.open()
    for person in (town.alice, town.bob):
        await town.works(WALLET, person)
        await town.works(CLAIM, person)


@pytest.mark.slow
@pytest.mark.services
async def test_while_one_pool_is_down_the_tenants_of_the_other_notice_nothing(town):
    await _pool_of(town, town.alice).shut()
    for _ in range(3):
        assert set(await town.refused(WALLET, town.alice)) == {"POOL_UNAVAILABLE"}
        assert (await town.ask(WALLET, town.bob)).codes == []
    assert (await town.ask(CLAIM, town.bob)).data["claimReward"]["userErrors"] == []
    assert sorted((await town.status())["pools"].values()) == ["down", "up"]
    # Whoever would be placed there is told, and what was begun is finished when it is back.
    newcomers = [
        await town.ask(
            REGISTER, input={"name": "New", "email": f"new.{n}@example.com", "password": worlds.PASSWORD, "slug": "new"}
        )
        for n in range(2)
    ]
    assert {code for answer in newcomers for code in answer.codes} <= {"POOL_UNAVAILABLE"}
    await _pool_of(town, town.alice).open()
    await town.works(WALLET, town.alice)
    for n, answer in enumerate(newcomers):
        said = {"name": "New", "email": f"new.{n}@example.com", "password": worlds.PASSWORD, "slug": "new"}
        again = (await town.ask(REGISTER, input=said)).data["register"]
        assert [error["code"] for error in again["userErrors"]] == ([] if answer.codes else ["TAKEN"])


@pytest.mark.slow
@pytest.mark.services
async def test_a_pool_that_says_nothing_holds_up_its_own_tenants_alone(town, monkeypatch):
    assert (await town.ask(WALLET, town.alice)).codes == []
    _pool_of(town, town.alice).jam()
    waiting = asyncio.create_task(town.ask(WALLET, town.alice))
    for query, person in ((WALLET, town.bob), (PUBLIC, None), (PUBLIC, town.alice), (ME, town.alice)):
        assert (await asyncio.wait_for(town.ask(query, person), AT_ONCE_SECONDS_MAX)).codes == []
    assert not waiting.done()
    # Nothing tells a server that is silent from one that is slow: time alone ends it.
    monkeypatch.setattr(leases, "ANSWER_SECONDS_MAX", 0.5)
    assert set((await waiting).codes) <= {"POOL_UNAVAILABLE", "TIMEOUT"}
    assert (await waiting).codes != []
    await _pool_of(town, town.alice).open()
    await town.works(WALLET, town.alice)


@pytest.mark.slow
@pytest.mark.services
async def test_while_central_is_down_what_is_known_goes_on_and_the_rest_says_so(town):
    for query in (WALLET, ME):
        assert (await town.ask(query, town.alice)).codes == []
    await town.central.shut()
    assert set(await town.refused(PUBLIC)) == {"CENTRAL_UNAVAILABLE"}
    assert set(await town.refused(LOGIN, input=_login(town.alice))) == {"CENTRAL_UNAVAILABLE"}
    # Route and access token are known here: what stands in the pool is read as before.
    known = await town.ask("{ wallet { balance reserved } }", town.alice)
    assert known.codes in ([], ["CENTRAL_UNAVAILABLE"])
    stranger = await town.served.graphql(ME, host="nobody.localhost")
    assert (stranger.status, stranger.codes) == (503, ["CENTRAL_UNAVAILABLE"])
    assert (await town.served.request("GET", "/healthz")).status_code == 200
    told = await town.status()
    assert (told["http"], told["status"]) == (503, "unavailable")
    await town.central.open()
    await town.works(PUBLIC)
    await town.works(WALLET, town.alice)
    assert (await town.ask(LOGIN, input=_login(town.alice))).data["login"]["userErrors"] == []
