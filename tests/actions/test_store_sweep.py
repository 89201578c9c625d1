"""The sweep of the store: what no row stands for goes, everything else stays, whatever state its tenant is in."""

import asyncio
import secrets
from datetime import timedelta

import sqlalchemy as sa

from actions import media, store_sweep
from actions.media import files
from base.ids import Id
from db import work
from db.columns import utc_now
from db.tables.central.identity import Tenant
from db.tables.central.work import Job
from db.zones import TenantState
from outside.store import Store
from tests.world import on_every_engine


async def _no_pause():
    await asyncio.sleep(0)


async def _sweep(world, prefix):
    return await store_sweep.remove_dead(world.house, prefix, older_than=timedelta(0), pause=_no_pause)


MP4 = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + b"\0\0\0\x08free" * 10


def _object_of(tenant):
    return files.new_key(tenant)


async def _kept(world, *keys):
    store = world.house.service(Store)
    return [await store.head(key) is not None for key in keys]


async def _store(world, *keys):
    for key in keys:
        await world.house.service(Store).put_bytes(key, MP4, mime_type="video/mp4")


async def _ready(db, key, user_id):
    facts = files.Facts(key=key, name="a.mp4", mime_type="video/mp4", size_bytes=len(MP4))
    return await files.add(db, facts, user_id=user_id)


@on_every_engine
async def test_objects_without_a_living_file_go_and_the_others_stay(world):
    alice, bob = await world.tenant("alice"), await world.tenant("bob")
    living, dropped, orphan = (_object_of(alice.tenant_id) for _ in range(3))
    of_bob, promised = _object_of(bob.tenant_id), None
    await _store(world, living, dropped, orphan, of_bob)
    system = await world.system(alice.tenant_id)
    await system.on_pool(_ready, living, alice.user_id)
    dropped_id = await system.on_pool(_ready, dropped, alice.user_id)
    await system.on_pool(files.drop, [dropped_id], about="file:1")
    # A PUT that comes after the deletion, while its URL still lives.
    if not (await _kept(world, dropped))[0]:
        await _store(world, dropped)
    await (await world.system(bob.tenant_id)).on_pool(_ready, of_bob, bob.user_id)
    new = await media.create_upload(await world.of(alice), "a.mp4", "video/mp4", size_bytes=len(MP4))
    promised = new.url.split("/uploads/")[1].split("?")[0]
    await _store(world, promised)
    assert await _sweep(world, "t/") == 2
    assert await _kept(world, living, of_bob, promised, dropped, orphan) == [True, True, True, False, False]
    assert await _sweep(world, "t/") == 0


async def test_young_objects_stay_since_their_row_may_be_on_its_way(world):
    alice = await world.tenant("alice")
    orphan = _object_of(alice.tenant_id)
    await _store(world, orphan)
    assert await store_sweep.remove_dead(world.house, "t/", pause=_no_pause) == 0
    assert await _kept(world, orphan) == [True]


async def test_a_row_written_between_the_two_looks_saves_its_object(world):
    alice = await world.tenant("alice")
    key = _object_of(alice.tenant_id)
    await _store(world, key)

    async def meanwhile():
        await (await world.system(alice.tenant_id)).on_pool(_ready, key, alice.user_id)

    assert await store_sweep.remove_dead(world.house, "t/", older_than=timedelta(0), pause=meanwhile) == 0
    assert await _kept(world, key) == [True]


async def test_objects_of_unknown_tenants_stay_and_those_of_erased_ones_go(world):
    gone = await world.tenant("gone")
    unknown, erased = _object_of("nobody1"), _object_of(gone.tenant_id)
    await _store(world, unknown, erased)

    async def erase(db):
        db.act_for(gone.user_id, tenant=gone.tenant_id)
        await db.change(sa.update(Tenant).where(Tenant.id == gone.tenant_id).values(state=TenantState.ERASED))

    await world.house.system().on_system(erase)
    world.house.directory.forget(gone.tenant_id)
    assert await _sweep(world, "t/") == 1
    assert await _kept(world, unknown, erased) == [True, False]


async def test_every_prefix_that_somebody_writes_under_is_swept(world):
    assert {"c/", "public/", "t/"} >= store_sweep.COMPLETE >= {"c/", "t/"}
    assert set(store_sweep.KEEPERS) == {"c/", "public/", "t/"}
    old = f"c/{secrets.token_hex(16)}"
    await _store(world, old)
    assert await _sweep(world, "c/") == 1


async def test_a_day_has_one_sweep_however_many_workers_ask(world):
    answers = await asyncio.gather(*(store_sweep.want_sweep(world.house) for _ in range(5)))
    assert answers.count(True) == 1

    async def queued(db):
        return list(await db.all(sa.select(Job).where(Job.kind == store_sweep.SWEEP)))

    (job,) = await world.house.system().on_system(queued)
    assert job.tenant_id == work.NO_TENANT
    looked = []

    async def alive():
        looked.append(True)
        return True

    lease = work.Lease(Id(job.id), job.kind, job.tenant_id, 0, job.generation, 1, "test", utc_now(), "")
    await store_sweep.sweep_store(world.house.system(), lease, alive)
    assert len(looked) == len(store_sweep.COMPLETE)
