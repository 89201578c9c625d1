"""What the directory promises: told of a change at once, asked once however many wait, bounded, never behind."""

from __future__ import annotations

import asyncio
import time

import pytest
import sqlalchemy as sa

from base import observe
from base.bus import Notice
from db.tables.central.identity import Domain, Tenant
from db.zones import TenantState
from tenancy import directory
from tenancy.asked import Asked
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio


async def set_state(db, tenant, state, /):
    db.act_for(tenant=tenant)
    await db.change(sa.update(Tenant).where(Tenant.id == tenant).values(state=state))
    db.tell("directory", tenant)


async def quietly_suspend(db, tenant, /):
    db.act_for(tenant=tenant)
    await db.change(sa.update(Tenant).where(Tenant.id == tenant).values(state=TenantState.SUSPENDED))


async def add_host(db, tenant, host, /):
    db.act_for(tenant=tenant)
    db.add(Domain(tenant_id=tenant, host=host))


def statements():
    """How many statements central has been sent by this process."""
    for metric in observe.STATEMENTS.collect():
        for sample in metric.samples:
            if sample.name.endswith("_total") and sample.labels["database"] == "central":
                return int(sample.value)
    return 0


@on_every_engine
async def test_a_host_leads_to_its_tenant_and_a_change_is_seen_at_once(world):
    alice = await world.tenant("alice")
    routes = world.house.directory
    found = await routes.of_host(alice.host)
    assert found == await routes.of_tenant(alice.tenant_id)
    assert (found.tenant_id, found.state, found.epoch, found.slug) == ("alice1", TenantState.ACTIVE, 1, "alice1")
    assert found.pool in world.settings.pools
    await world.house.system().on_system(set_state, alice.tenant_id, TenantState.SUSPENDED)
    for route in (await routes.of_host(alice.host), await routes.of_tenant(alice.tenant_id)):
        assert route.state is TenantState.SUSPENDED


async def test_a_host_that_nobody_has_is_remembered_until_somebody_gets_it(world):
    alice = await world.tenant("alice")
    routes = world.house.directory
    assert await routes.of_host("studio.example") is None
    before = statements()
    assert await routes.of_host("studio.example") is None
    assert statements() == before
    await world.house.system().on_system(add_host, alice.tenant_id, "studio.example")
    await world.house.bus.tell([Notice("directory", "studio.example")])
    assert (await routes.of_host("studio.example")).tenant_id == alice.tenant_id


async def test_what_is_known_costs_no_statement_and_ends_by_itself(world, monkeypatch):
    alice = await world.tenant("alice")
    routes = world.house.directory
    await routes.of_host(alice.host)
    before = statements()
    for _ in range(100):
        await routes.of_host(alice.host)
    assert statements() == before
    later = time.monotonic() + directory.FOUND_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    await world.house.system().on_system(quietly_suspend, alice.tenant_id)
    assert (await routes.of_host(alice.host)).state is TenantState.SUSPENDED


async def test_a_thousand_who_ask_at_once_ask_once(world, monkeypatch):
    alice = await world.tenant("alice")
    asked = 0
    find = directory._read

    async def counted(db, keys):
        nonlocal asked
        asked += 1
        return await find(db, keys)

    monkeypatch.setattr(directory, "_read", counted)
    routes = world.house.directory
    answers = await asyncio.gather(*(routes.of_host(alice.host) for _ in range(1_000)))
    assert {route.tenant_id for route in answers} == {alice.tenant_id}
    assert asked == 1


async def test_hosts_and_tenants_that_are_asked_for_at_once_are_read_by_one_transaction(world, monkeypatch):
    alice, bob = await world.tenant("alice"), await world.tenant("bob")
    find, taken = directory._read, []

    async def counted(db, keys):
        taken.append(len(keys))
        return await find(db, keys)

    monkeypatch.setattr(directory, "_read", counted)
    routes = world.house.directory
    found = await asyncio.gather(
        routes.of_host(alice.host), routes.of_host("nobody.example"), routes.of_tenant(bob.tenant_id)
    )
    assert [route and route.tenant_id for route in found] == [alice.tenant_id, None, bob.tenant_id]
    assert taken == [3]


@pytest.mark.parametrize("ending", [asyncio.CancelledError, GeneratorExit, LookupError])
async def test_whatever_ends_a_look_up_nobody_waits_for_ever(anyio_backend, ending):
    async def ends(_keys):
        await asyncio.sleep(0)
        raise ending

    asked = Asked(ends)
    waiting = [asked.begin(key) for key in "abc"]
    async with asyncio.timeout(60):
        done = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in done] == [ending] * 3
    assert not len(asked)


async def test_who_hangs_up_does_not_take_the_answer_from_those_who_wait(world):
    alice = await world.tenant("alice")
    routes = world.house.directory
    first = asyncio.create_task(routes.of_host(alice.host))
    second = asyncio.create_task(routes.of_host(alice.host))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).tenant_id == alice.tenant_id
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_an_answer_that_was_on_its_way_when_the_tenant_changed_is_not_kept(world, monkeypatch):
    alice = await world.tenant("alice")
    read, go_on = asyncio.Event(), asyncio.Event()
    find = directory._read

    async def slow(db, keys):
        found = await find(db, keys)
        read.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(directory, "_read", slow)
    routes = world.house.directory
    asking = asyncio.create_task(routes.of_host(alice.host))
    await read.wait()
    monkeypatch.setattr(directory, "_read", find)
    # The change is another process's: only its notice comes here, while our own look-up still holds the old row.
    await world.house.bus.tell([Notice("directory", alice.tenant_id)])
    assert not len(routes._asked)
    go_on.set()
    assert (await asking).state is TenantState.ACTIVE
    await world.house.system().on_system(quietly_suspend, alice.tenant_id)
    assert (await routes.of_host(alice.host)).state is TenantState.SUSPENDED


async def test_a_lost_connection_to_the_others_forgets_everything(world):
    alice = await world.tenant("alice")
    routes = world.house.directory
    await routes.of_host(alice.host)
    await world.house.system().on_system(quietly_suspend, alice.tenant_id)
    assert (await routes.of_host(alice.host)).state is TenantState.ACTIVE
    await world.house.bus.tell([Notice("reset", "")])
    assert (await routes.of_host(alice.host)).state is TenantState.SUSPENDED


async def test_strangers_names_push_out_the_least_used_and_no_more_than_the_bound(world, monkeypatch):
    monkeypatch.setattr(directory, "ENTRIES_MAX", 10)
    alice = await world.tenant("alice")
    routes = world.house.directory
    await routes.of_host(alice.host)
    for number in range(30):
        await routes.of_host(f"nobody{number}.localhost")
        await routes.of_host(alice.host)
    assert len(routes._entries) == 10
    before = statements()
    await routes.of_host(alice.host)
    assert statements() == before


async def test_a_route_near_its_end_is_read_anew_while_the_known_one_answers(world, monkeypatch):
    alice = await world.tenant("alice")
    routes = world.house.directory
    await routes.of_host(alice.host)
    await world.house.system().on_system(quietly_suspend, alice.tenant_id)
    monkeypatch.setattr(directory, "AHEAD_SECONDS", directory.FOUND_SECONDS + 1)
    assert (await routes.of_host(alice.host)).state is TenantState.ACTIVE
    for _ in range(200):
        await asyncio.sleep(0.01)
        if (await routes.of_host(alice.host)).state is TenantState.SUSPENDED:
            return
    pytest.fail("the route was never read anew")
