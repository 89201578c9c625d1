"""Killed anywhere while uploading, making and deleting: after a restart nothing is lost, left over or counted twice."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest
import sqlalchemy as sa

from actions import media, store_sweep
from actions.media import checksums, uploads
from base.ids import Id
from db import work
from db.columns import utc_now
from db.tables.central.work import Job, JobState, Timer
from db.tables.pool.media import File, FileStatus, Video
from db.tables.pool.upkeep import Outbox
from outside.store import Store
from tenancy import relaying
from tests.proofs import killing
from tests.world import on_every_engine

MP4 = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + b"\0\0\0\x08free" * 100


async def _at_home(house, token, tenant):
    route = await house.directory.of_tenant(tenant)
    viewer = await house.viewers.of_token(token)
    origin = f"http://{tenant}.localhost:8000"
    return dataclasses.replace(house.system(tenant=route, origin=origin), viewer=viewer, is_system=False)


async def uploading(house, token, tenant):
    """A client uploads a film."""
    ctx = await _at_home(house, token, tenant)
    new = await media.create_upload(ctx, "film.mp4", "video/mp4", size_bytes=len(MP4))
    key = new.url.split("/uploads/")[1].split("?")[0]
    await house.service(Store).put_bytes(key, MP4, mime_type="video/mp4")
    await media.complete_upload(ctx, new.file_id)


async def making_and_deleting(house, token, tenant):
    """A client makes a video of the newest file, then deletes both."""
    ctx = await _at_home(house, token, tenant)
    file_id = await ctx.on_pool(_newest)
    video_id = await media.create_video(ctx, "Film", file_id)
    await ctx.on_pool(media.delete_video, video_id)
    await media.delete_file(ctx, file_id)


async def _newest(db):
    return await db.first(sa.select(File.id).where(File.status == FileStatus.READY).order_by(File.id.desc()))


# ------------------------------------------------------------------------------------------- after the restart


async def _restart(world, tenant):
    """What a worker does within a day of the crash, without waiting for the day to pass."""
    system = await world.system(tenant)
    assert await relaying.deliver(world.house, tenant)
    await system.on_pool(_a_day_later)
    for ref_id in await system.on_system(_due):
        await uploads.end_upload(system, _lease(tenant, uploads.EXPIRY, ref_id), _alive)
    for ref_id in await system.on_system(_unhashed):
        await checksums.fill_checksum(system, _lease(tenant, checksums.CHECKSUM, ref_id), _alive)
    await store_sweep.remove_dead(world.house, "t/", older_than=timedelta(0), pause=_alive)


async def _a_day_later(db):
    past = db.now - timedelta(seconds=1)
    await db.change(sa.update(File).where(File.status == FileStatus.UPLOADING).values(expires_at=past))


async def _due(db):
    return await db.all(sa.select(Timer.ref_id).where(Timer.kind == uploads.EXPIRY))


async def _unhashed(db):
    return await db.all(sa.select(Job.ref_id).where(Job.kind == checksums.CHECKSUM, Job.state != JobState.DONE))


async def _alive():
    return True


def _lease(tenant, kind, ref_id):
    return work.Lease(Id(1), kind, tenant, ref_id, 0, 1, "test", utc_now(), "")


async def _files(db):
    return list(await db.all(sa.select(File).where(File.status != FileStatus.DELETED)))


async def _events(db):
    return list(await db.all(sa.select(Outbox.type)))


async def _check(world, tenant):
    system = await world.system(tenant)
    assert await system.on_pool(media.broken) is None
    assert await system.on_pool(_events) == []
    living = await system.on_pool(_files)
    assert {file.status for file in living} <= {FileStatus.READY}
    assert all(file.sha256 for file in living)
    stored = {blob.key async for blob in world.house.service(Store).list("t/")}
    assert stored == {file.key for file in living}
    return living


def _telling(world, story, person):
    """The kills of a story: what lies between its steps is the same whatever the engine, and tried on one."""
    whole = world.engine == "sqlite"
    return killing.each_kill(world.settings, story, person.token, person.tenant_id, works_between=whole)


@pytest.mark.slow
@on_every_engine
async def test_an_upload_killed_at_any_step_is_whole_or_gone_after_a_restart(world):
    alice = await world.tenant("alice")
    kills = whole = 0
    async for step in _telling(world, uploading, alice):
        kills += bool(step)
        await _restart(world, alice.tenant_id)
        whole = len(await _check(world, alice.tenant_id))
    assert kills > (10 if world.engine == "sqlite" else 5)
    assert whole >= 1


async def _videos(db):
    return list(await db.all(sa.select(Video).where(Video.deleted_at.is_(None))))


@pytest.mark.slow
async def test_deleting_killed_at_any_step_leaves_no_object_and_no_bytes_counted(world):
    alice = await world.tenant("alice")
    ctx = await world.of(alice)
    kills = 0
    await uploading(world.house, alice.token, alice.tenant_id)
    async for step in _telling(world, making_and_deleting, alice):
        kills += bool(step)
        await _restart(world, alice.tenant_id)
        living = await _check(world, alice.tenant_id)
        used = {video.input_file_id for video in await ctx.on_pool(_videos)}
        assert used <= {file.id for file in living}
        for video in await ctx.on_pool(_videos):
            await ctx.on_pool(media.delete_video, video.id)
        if not living:
            await uploading(world.house, alice.token, alice.tenant_id)
    assert kills > 10
