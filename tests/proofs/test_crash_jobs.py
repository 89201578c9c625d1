"""Killed anywhere between submitting and the finished video: after a restart the job ends, its tokens are settled once.

A kill strikes before and after every transaction and every call of the store: between the pool's commit and its
delivery, after the claim, while ffmpeg runs, with the output stored and nothing said, completed and not finished.
"""

from __future__ import annotations

import asyncio
import dataclasses
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from actions import jobs, media, store_sweep, wallet
from actions.jobs import checks, lost, outside_workers, render
from db.tables.central.work import Job, JobState
from db.tables.pool.jobs import AiJob, AiJobStatus
from db.tables.pool.media import Export, ExportFormat, ExportStatus, File, FileStatus, Video, VideoStatus
from db.tables.pool.upkeep import Outbox
from db.tables.pool.wallet import TokenTransaction, TokenTransactionKind
from outside.store import Store
from tenancy import handlers, leases, relaying
from tests.actions import studio
from tests.proofs import killing
from tests.world import on_every_engine

FINAL = (AiJobStatus.SUCCEEDED, AiJobStatus.FAILED, AiJobStatus.CANCELED)
STORY_SECONDS_MAX = 60

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
killing.load(__name__)


# ------------------------------------------------------------------------------------------- stories, told in a child


async def _at_home(house, token, tenant):
    route = await house.directory.of_tenant(tenant)
    viewer = await house.viewers.of_token(token)
    origin = f"http://{tenant}.localhost:8000"
    return dataclasses.replace(house.system(tenant=route, origin=origin), viewer=viewer, is_system=False)


async def submitting(house, token, tenant, effect_id):
    """A client submits a job of its newest video, with a key."""
    ctx = await _at_home(house, token, tenant)
    video_id = await ctx.on_pool(_newest, Video)
    await jobs.submit_ai_job(ctx, video_id, effect_id, idempotency_key=f"key of {video_id}")


async def _newest(db, table, /):
    return await db.first(sa.select(table.id).order_by(table.id.desc()))


async def working(house, kind, reports):
    """A worker does what is there; `reports`: each of ffmpeg's is written, so that a kill can strike meanwhile."""
    if reports:
        render.PROGRESS_SECONDS_MIN = 0.0
    # What a killed worker leaves on disk goes with the test's folder.
    tempfile.tempdir = str(house.settings.var)
    worker = leases.Worker(house, {kind: handlers.HANDLERS[kind]})
    ended = asyncio.Event()
    if await worker.claim(wake=ended.set):
        await asyncio.wait_for(ended.wait(), STORY_SECONDS_MAX)


async def _working_outside(house, data):
    """A worker that is not ours claims, uploads and completes."""
    central = dataclasses.replace(house.system(origin="http://localhost:8000"), is_system=False, is_worker=True)
    for claim in await outside_workers.claim_ai_jobs(central, "gpu", ["gpu"]):
        new = await outside_workers.create_ai_job_output(
            central, claim.lease_token, "video/mp4", size_bytes=len(data), sha256="0" * 64
        )
        key = new.url.split("/uploads/")[1].split("?")[0]
        await house.service(Store).put_bytes(key, data, mime_type="video/mp4")
        await outside_workers.complete_ai_job(central, claim.lease_token)


async def working_outside(house):
    """The same with bytes that look like a film."""
    await _working_outside(house, studio.MP4)


async def canceling(house, token, tenant):
    """A client cancels its newest job."""
    ctx = await _at_home(house, token, tenant)
    await jobs.cancel_ai_job(ctx, await ctx.on_pool(_newest, AiJob))


# ------------------------------------------------------------------------------------------- after the restart


async def _restart(world, tenant, *, kind="ai_job", outside=False):
    """What a fresh worker does once the dead one's leases have run out."""
    house = world.house
    assert await relaying.deliver(house, tenant)
    for _ in range(5):
        await studio.expire_leases(house)
        if outside:
            await lost.take_back(house)
            await studio.expire_leases(house)
            await working_outside(house)
        else:
            await studio.work_off(house, kind)
        if kind not in await house.system().on_system(_unfinished):
            break
    assert await relaying.deliver(house, tenant)
    await studio.work_off(house, "poster")
    await (await world.system(tenant)).on_pool(_a_day_later)
    await store_sweep.remove_dead(house, "t/", older_than=timedelta(0), pause=studio.alive)


async def _a_day_later(db):
    """Uploads that nobody completed have ended."""
    open_uploads = sa.select(File.id).where(File.status == FileStatus.UPLOADING)
    for file_id in await db.all(open_uploads):
        await db.change(sa.update(File).where(File.id == file_id).values(expires_at=db.now - timedelta(seconds=1)))
        await media.uploads.expire(db, file_id)


async def _events(db):
    return list(await db.all(sa.select(Outbox.type)))


async def _rows(db, table):
    return list(await db.all(sa.select(table).order_by(table.id)))


async def _entries(db):
    found = await db.tuples(
        sa.select(TokenTransaction.ai_job_id, TokenTransaction.kind)
        .where(TokenTransaction.ai_job_id.is_not(None))
        .order_by(TokenTransaction.sequence)
    )
    by_job: dict[int, list[TokenTransactionKind]] = {}
    for job_id, kind in found:
        by_job.setdefault(job_id, []).append(kind)
    return by_job


async def _unfinished(db, /):
    return list(await db.all(sa.select(Job.kind).where(Job.state != JobState.DONE)))


END = {
    AiJobStatus.SUCCEEDED: TokenTransactionKind.CONSUME,
    AiJobStatus.FAILED: TokenTransactionKind.RELEASE,
    AiJobStatus.CANCELED: TokenTransactionKind.RELEASE,
}


async def _check(world, tenant, *, stored=True):
    """Ledger, files, videos, work and, where asked, the store agree; the jobs."""
    system = await world.system(tenant)
    assert await system.on_pool(wallet.broken) is None
    assert await system.on_pool(media.broken) is None
    assert await system.on_pool(checks.broken) == []
    assert await checks.work_is_offered(system) == []
    assert await system.on_pool(_events) == []
    assert [kind for kind in await system.on_system(_unfinished) if kind in ("ai_job", "export", "poster")] == []
    rows = await system.on_pool(_rows, AiJob)
    entries = await system.on_pool(_entries)
    assert set(entries) == {row.id for row in rows}
    for row in rows:
        assert row.status in FINAL
        assert entries[row.id] == [TokenTransactionKind.RESERVE, END[row.status]]
        assert row.tokens_consumed == (row.tokens_reserved if row.status is AiJobStatus.SUCCEEDED else 0)
    assert (await studio.tokens(system))[1] == 0
    if stored:
        await _check_files(world, system)
    return rows


async def _check_files(world, system):
    living = [file for file in await system.on_pool(_rows, File) if file.status is not FileStatus.DELETED]
    videos = [video for video in await system.on_pool(_rows, Video) if video.deleted_at is None]
    exports = await system.on_pool(_rows, Export)
    used = {id_ for v in videos for id_ in (v.input_file_id, v.output_file_id, v.thumbnail_file_id)}
    used |= {export.file_id for export in exports}
    assert {file.id for file in living} == used - {None}
    assert {blob.key async for blob in world.house.service(Store).list("t/")} == {file.key for file in living}
    assert not any(video.status is VideoStatus.PROCESSING for video in videos)


# ------------------------------------------------------------------------------------------- proofs


@on_every_engine
async def test_submitting_killed_at_any_step_queues_the_job_once_or_not_at_all(world):
    alice = await world.tenant("alice")
    ctx, effects = await world.of(alice), await studio.catalog(world)
    facts = (alice.token, alice.tenant_id, effects["crop"])
    kills, seen = 0, []
    await studio.drafts(ctx, 1)
    async for step in killing.each_kill(world.settings, submitting, *facts):
        kills += bool(step)
        before = await ctx.on_pool(_rows, AiJob)
        seen.append(len(before))
        # The client asks again with its key: what was committed is found.
        await submitting(world.house, *facts)
        rows = await ctx.on_pool(_rows, AiJob)
        assert len(rows) == 1
        assert [row.id for row in before] in ([], [rows[0].id])
        assert await relaying.deliver(world.house, alice.tenant_id)
        assert await studio.works(world.house) == [("READY", 0)]
        await jobs.cancel_ai_job(ctx, rows[0].id)
        await _check(world, alice.tenant_id, stored=False)
        await ctx.on_pool(_clear)
        await ctx.on_system(_clear_work)
        await studio.drafts(ctx, 1)
    assert kills > 5
    assert seen == sorted(seen)
    assert set(seen) == {0, 1}


async def _clear(db):
    """The next telling begins where this one did; the ledger, being one, stays."""
    await db.change(sa.update(TokenTransaction).values(ai_job_id=None))
    await db.change(sa.delete(AiJob))


async def _clear_work(db, /):
    await db.change(sa.delete(Job))


def _working(world, kind):
    """The kills of a worker: what ffmpeg does between its steps is the same whatever the engine, and tried on one."""
    whole = world.engine == "sqlite"
    return killing.each_kill(world.settings, working, kind, whole, works_between=whole)


@on_every_engine
async def test_a_worker_killed_at_any_step_leaves_a_job_that_another_ends_once(world):
    alice = await world.tenant("alice")
    ctx, effects = await world.of(alice), await studio.catalog(world)
    film = await studio.film()
    kills, told = 0, set()
    await studio.submit(ctx, effects["crop"], film)
    async for step in _working(world, "ai_job"):
        kills += bool(step)
        job = (await ctx.on_pool(_rows, AiJob))[-1]
        told.add((job.status, *await studio.works(world.house)))
        await _restart(world, alice.tenant_id)
        for row in await _check(world, alice.tenant_id):
            assert row.status is AiJobStatus.SUCCEEDED
        if step:
            await studio.submit(ctx, effects["crop"], film)
    assert kills > (20 if world.engine == "sqlite" else 8)
    assert {status for status, *_ in told} >= {AiJobStatus.QUEUED, AiJobStatus.RUNNING, AiJobStatus.SUCCEEDED}
    assert _left_at_work() == [], "an ffmpeg outlived its worker"


def _left_at_work():
    """Processes whose folder holds a result that nobody waits for."""
    return list(Path("/proc").glob("[0-9]*/cwd/out.mp4"))


@on_every_engine
async def test_an_outside_worker_killed_at_any_step_leaves_a_job_that_another_ends_once(world):
    alice = await world.tenant("alice")
    ctx, effects = await world.of(alice), await studio.catalog(world)
    kills = 0
    await studio.submit(ctx, effects["upscale"])
    async for step in killing.each_kill(world.settings, working_outside, works_between=False):
        kills += bool(step)
        await _restart(world, alice.tenant_id, outside=True)
        rows = await _check(world, alice.tenant_id)
        assert rows[-1].status is AiJobStatus.SUCCEEDED
        if step:
            await ctx.on_pool(_gift)
            await studio.submit(ctx, effects["upscale"])
    assert kills > 6


async def _gift(db):
    cause = wallet.Cause(key=f"gift:{db.new_id()}")
    await wallet.credit(db, TokenTransactionKind.REWARD, 50, cause=cause)


@on_every_engine
async def test_canceling_killed_at_any_step_releases_once_or_not_yet(world):
    alice = await world.tenant("alice")
    ctx, effects = await world.of(alice), await studio.catalog(world)
    kills, seen = 0, set()
    made = await studio.submit(ctx, effects["crop"])
    async for step in killing.each_kill(world.settings, canceling, alice.token, alice.tenant_id):
        kills += bool(step)
        assert await relaying.deliver(world.house, alice.tenant_id)
        status = (await studio.job(ctx, made.job_id)).status
        seen.add(status)
        if status is not AiJobStatus.CANCELED:
            await jobs.cancel_ai_job(ctx, made.job_id)
        await _check(world, alice.tenant_id)
        made = await studio.submit(ctx, effects["crop"])
    assert kills > 3
    assert seen == {AiJobStatus.QUEUED, AiJobStatus.CANCELED}


async def test_an_export_killed_at_any_step_is_made_by_another_once(world):
    alice = await world.tenant("alice")
    ctx, effects = await world.of(alice), await studio.catalog(world)
    made = await studio.submit(ctx, effects["crop"], await studio.film())
    await studio.work_off(world.house)
    kills = 0
    await ctx.on_pool(jobs.create_export, made.video_id, ExportFormat.WEBM)
    async for step in _working(world, "export"):
        kills += bool(step)
        await _restart(world, alice.tenant_id, kind="export")
        await _check(world, alice.tenant_id)
        assert {row.status for row in await ctx.on_pool(_rows, Export)} == {ExportStatus.READY}
        if step:
            await ctx.on_pool(jobs.create_export, made.video_id, ExportFormat.WEBM)
    assert kills > 8
