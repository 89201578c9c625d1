"""Suspension: the host is closed, members' writes stop at the fence, the gallery hides it; and all of it comes back."""

from __future__ import annotations

import dataclasses

import pytest
import sqlalchemy as sa

from actions import identity, suspension
from actions.identity import registration
from base import errors
from base.ids import Id
from db import work
from db.columns import utc_now
from db.tables.central.gallery import GalleryVideo
from db.tables.central.identity import Tenant
from db.tables.central.work import Job
from db.tables.pool.upkeep import Fence
from db.zones import TenantId, TenantState
from tests.world import PASSWORD, on_every_engine

pytestmark = pytest.mark.anyio


async def nothing(_db, /):
    return True


async def alive():
    return True


async def fence_of(db, /):
    return await db.first(sa.select(Fence.state).where(Fence.id == 0))


async def listed(db, /):
    return list(await db.all(sa.select(GalleryVideo.id).where(GalleryVideo.listed).order_by(GalleryVideo.id)))


async def show(db, tenant, numbers, /):
    db.act_for(tenant=tenant)
    for number, visible in numbers.items():
        db.add(
            GalleryVideo(
                id=Id(number),
                tenant_id=tenant,
                title="t",
                tags=[],
                output_key="public/x.mp4",
                published_at=utc_now(),
                visible=visible,
                suspended=False,
                listed=visible,
                event_id=Id(number),
                search_text="t",
            )
        )


async def queued(db, /):
    return len(await db.all(sa.select(Job.id).where(Job.kind == suspension.KIND)))


@on_every_engine
async def test_a_suspended_tenant_is_closed_everywhere_and_comes_back_as_it_was(world):
    alice, bob = await world.tenant("alice"), await world.tenant("bob")
    system = world.house.system()
    await system.on_system(show, alice.tenant_id, {1: True, 2: False})
    await system.on_system(show, bob.tenant_id, {3: True})
    before = await world.of(alice)
    assert await suspension.suspend(system, alice.tenant_id)
    assert (await world.house.directory.of_tenant(alice.tenant_id)).state is TenantState.SUSPENDED
    with pytest.raises(errors.TenantSuspended):
        await before.on_pool(nothing)
    assert await system.on_system(listed) == [3]
    assert await (await world.of(bob)).on_pool(nothing)
    assert await suspension.suspend(system, alice.tenant_id)
    assert await system.on_system(queued) == 1
    assert await suspension.resume(system, alice.tenant_id)
    assert await (await world.of(alice)).on_pool(nothing)
    assert await system.on_system(listed) == [1, 3]


@on_every_engine
async def test_what_a_crash_left_between_the_databases_the_worker_settles(world):
    alice = await world.tenant("alice")
    system = world.house.system()
    tenant = await world.system(alice.tenant_id)
    await system.on_system(suspension.set_state, alice.tenant_id, TenantState.SUSPENDED)
    assert await tenant.on_pool(fence_of) is TenantState.ACTIVE
    (lease,) = await system.on_system(work.claim, [suspension.KIND], "w", most=5, seconds=60)
    assert lease.tenant_id == alice.tenant_id
    await suspension.settle(await world.system(alice.tenant_id), lease, alive)
    assert await tenant.on_pool(fence_of) is TenantState.SUSPENDED


async def test_people_of_a_suspended_tenant_sign_in_on_the_central_host_alone(world):
    alice = await world.tenant("alice")
    on_hers = await world.visitor(alice.tenant_id)
    await suspension.suspend(world.house.system(), alice.tenant_id)
    signed_in = await identity.login(world.central(), alice.email, PASSWORD)
    assert signed_in.tenant_id == alice.tenant_id
    # A request that was let in at the door before it closed.
    with pytest.raises(errors.Invalid):
        await identity.login(on_hers, alice.email, PASSWORD)


async def test_a_tenant_whose_pool_is_down_is_closed_at_its_host_at_once(world):
    alice = await world.tenant("alice")
    route = await world.house.directory.of_tenant(alice.tenant_id)
    every = world.house.sessions.databases
    others = {name: pool for name, pool in every.pools.items() if name != route.pool}
    world.house.sessions.databases = dataclasses.replace(every, pools=others)
    try:
        assert not await suspension.suspend(world.house.system(), alice.tenant_id)
    finally:
        world.house.sessions.databases = every
    assert (await world.house.directory.of_tenant(alice.tenant_id)).state is TenantState.SUSPENDED
    assert await world.house.system().on_system(queued) == 1


async def test_only_what_is_open_is_closed_and_nothing_changes_otherwise(world):
    system = world.house.system()
    with pytest.raises(errors.NotFound):
        await suspension.suspend(system, TenantId("nobody1"))
    wish = registration.Wish(name="C", email="c@example.com", slug="carol", referred_by=None, device=None)
    begun = await system.on_system(registration.begin, wish, "hash", pools=tuple(world.settings.pools))
    for change in (suspension.suspend, suspension.resume):
        with pytest.raises(errors.Conflict):
            await change(system, begun.tenant)
    assert await system.on_system(_state, begun.tenant) is TenantState.PROVISIONING
    assert await system.on_system(queued) == 0


async def _state(db, tenant, /):
    return await db.first(sa.select(Tenant.state).where(Tenant.id == tenant))
