"""Money while its databases are away or its tenant moves: nothing is acknowledged unstored, nothing credited twice."""

from __future__ import annotations

import contextlib
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from actions.billing import processing, settlement
from db import engines
from db.tables.central.identity import Tenant
from db.tables.pool.upkeep import Fence
from db.tables.pool.wallet import TokenTransaction
from db.zones import PoolBase
from tests import provider as providers
from tests import serving
from tests import world as worlds
from tests.actions import till
from tests.proofs import door
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio

PATH = "/webhooks/stripe"


@pytest.fixture(params=["mariadb", "postgresql"])
async def town(anyio_backend, request, templates, tmp_path, provider):
    """A shop whose databases stand behind doors, served; the doors by database."""
    made = await templates.fresh(request.param, tmp_path)
    behind = urlsplit(made.central_url).port
    async with contextlib.AsyncExitStack() as closing:
        doors = await closing.enter_async_context(door.doors(behind, 1 + len(made.pools)))
        by_name = dict(zip(made.urls(), doors, strict=True))
        urls = {name: url.replace(f":{behind}/", f":{by_name[name].port}/") for name, url in made.urls().items()}
        through = worlds.Migrated(urls.pop("central"), urls)
        given = providers.environment(provider)
        shop = await closing.enter_async_context(worlds.opened(request.param, through, tmp_path, **given))
        served = await closing.enter_async_context(serving.serving(shop))
        yield shop, served, by_name
        for each in doors:
            await each.open()


@pytest.mark.slow
@pytest.mark.services
async def test_while_central_is_down_nothing_is_acknowledged_and_the_redelivery_does_all(town, provider):
    shop, served, doors = town
    alice = await shop.tenant("alice")
    _, session = await till.bought(shop, alice)
    provider.pay(session)
    await doors["central"].shut()
    for event in provider.events():
        headers, body = provider.signed(event)
        answer = await served.request("POST", PATH, content=body, headers=headers)
        assert answer.status_code == 503
        assert answer.json()["errors"][0]["extensions"]["code"] == "CENTRAL_UNAVAILABLE"
    await doors["central"].open()
    assert await till.event_states(shop.house) == {}
    for event in provider.events():
        headers, body = provider.signed(event)
        assert (await served.request("POST", PATH, content=body, headers=headers)).status_code == 200
    await till.catch_up(shop.house)
    assert await till.funds(shop, alice) == (100, 0)


@pytest.mark.slow
@pytest.mark.services
async def test_while_a_pool_is_down_its_credit_waits_and_others_get_theirs(town, provider):
    shop, _, doors = town
    people: dict[str, worlds.Person] = {}
    while len(people) < 2:
        person = await shop.tenant("alice")
        people.setdefault((await shop.system(person.tenant_id)).tenant_route.pool, person)
    (down, alice), (_, bob) = people.items()
    for number, person in enumerate(people.values()):
        _, session = await till.bought(shop, person, slug=f"p{number}")
        provider.pay(session)
    await doors[down].shut()
    await till.tell(shop.house, provider.events())
    assert await till.funds(shop, bob) == (100, 0)
    states = {each.tenant_id: each for each in await till.settlements(shop.house)}
    assert (states[alice.tenant_id].state.name, states[bob.tenant_id].state.name) == ("DUE", "SETTLED")
    assert states[alice.tenant_id].tries > 0
    assert states[alice.tenant_id].error
    await doors[down].open()
    await settlement.settle_everything(shop.house)
    assert await till.funds(shop, alice) == (100, 0)
    assert {each.state.name for each in await till.settlements(shop.house)} == {"SETTLED"}


@on_every_engine
async def test_a_tenant_that_moves_before_the_credit_is_credited_in_the_new_pool_once(shop, provider):
    alice = await shop.tenant("alice")
    system = await shop.system(alice.tenant_id)
    old = system.tenant_route.pool
    (new,) = [name for name in shop.settings.pools if name != old]
    _, session = await till.bought(shop, alice)
    provider.pay(session)
    ids = await till.stored(shop.house, provider.events())
    outcome = await shop.house.system().on_system(processing.process, ids, {})
    assert outcome.owed == {alice.tenant_id}
    await _move(shop, alice.tenant_id, old, new)
    # This process still believes the old route: the pool itself refuses it.
    await settlement.settle(shop.house, outcome.owed)
    await settlement.settle_everything(shop.house)
    assert {each.state.name for each in await till.settlements(shop.house)} == {"SETTLED"}
    assert [await _credits(shop, name, alice.tenant_id) for name in (old, new)] == [0, 1]
    assert await till.funds(shop, alice) == (100, 0)


async def _move(shop, tenant, old, new) -> None:
    """Copy a tenant's rows and let the next epoch hold, as a move does in the end."""
    source, target = (engines.open_engine(shop.settings.pools[name]) for name in (old, new))
    async with source.begin() as here, target.begin() as there:
        for table in PoolBase.metadata.sorted_tables:
            rows = (await here.execute(sa.select(table).where(table.c.tenant_id == tenant))).mappings().all()
            if rows:
                await there.execute(sa.insert(table), [dict(row) for row in rows])
        mine = sa.update(Fence).where(Fence.tenant_id == tenant)
        await here.execute(mine.values(epoch=2))
        await there.execute(mine.values(epoch=2, pool_name=new))
    central = engines.open_engine(shop.settings.central_url)
    async with central.begin() as connection:
        await connection.execute(sa.update(Tenant).where(Tenant.id == tenant).values(db_pool=new, epoch=2))
    for engine in (source, target, central):
        await engine.dispose()


async def _credits(shop, pool, tenant) -> int:
    plain = engines.open_engine(shop.settings.pools[pool])
    mine = sa.and_(TokenTransaction.tenant_id == tenant, TokenTransaction.idempotency_key.like("purchase-credit:%"))
    async with plain.connect() as connection:
        count = await connection.scalar(sa.select(sa.func.count()).select_from(TokenTransaction).where(mine))
    await plain.dispose()
    return int(count or 0)
