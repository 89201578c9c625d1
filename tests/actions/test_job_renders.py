"""Jobs and exports carried out by our own worker with the real ffmpeg: results, refusals, retries, pictures."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import io
import os
import time
from pathlib import Path

import av
import pytest
import sqlalchemy as sa

from actions import jobs, media
from actions.jobs import folders
from base import errors
from db.tables.central.catalog import Overlay
from db.tables.pool.jobs import AiJobStatus
from db.tables.pool.media import Export, ExportFormat, ExportStatus, File, FileStatus, VideoStatus
from outside import ffmpeg, probe
from outside.confined import MediaError, NotStarted
from outside.store import Store, StoreUnavailable
from tests.actions import studio
from tests.actions.studio import COSTS, SIGN_UP
from tests.world import on_every_engine

SUCCEEDED, FAILED, CANCELED = AiJobStatus.SUCCEEDED, AiJobStatus.FAILED, AiJobStatus.CANCELED


async def _open(world):
    person = await world.tenant("alice")
    return await world.of(person), await studio.catalog(world)


async def _probed(ctx, file_id, tmp_path):
    path = tmp_path / "probed"
    path.write_bytes(await studio.bytes_of(ctx, file_id))
    return await probe.probe(path)


async def _pixel(ctx, file_id, at):
    with av.open(io.BytesIO(await studio.bytes_of(ctx, file_id)), "r") as opened:
        picture = next(opened.decode(video=0)).reformat(format="rgb24")
    plane = picture.planes[0]
    start = int(picture.height * at[1]) * plane.line_size + int(picture.width * at[0]) * 3
    return tuple(bytes(plane)[start : start + 3])


def _failing(monkeypatch, error, *, times=99):
    """The first runs of ffmpeg end in this error; then it is the real one."""
    real, left = ffmpeg.run, [times]

    async def run(job, **more):
        left[0] -= 1
        if left[0] >= 0:
            raise error
        return await real(job, **more)

    monkeypatch.setattr(ffmpeg, "run", run)


# ------------------------------------------------------------------------------------------- effects


@on_every_engine
async def test_a_job_makes_a_real_video_with_its_length_and_thumbnail(world, tmp_path):
    ctx, effects = await _open(world)
    made = await studio.submit(ctx, effects["grayscale"], await studio.film())
    await studio.work_off(world.house)
    job, video = await studio.job(ctx, made.job_id), await studio.the_video(ctx, made.video_id)
    assert (job.status, job.error_message) == (SUCCEEDED, None)
    assert (job.attempts, job.progress, job.tokens_consumed) == (1, 1.0, COSTS["grayscale"])
    assert video.status is VideoStatus.READY
    probed = await _probed(ctx, video.output_file_id, tmp_path)
    assert (probed.width, probed.height, probed.has_audio) == (160, 90, True)
    assert video.duration_seconds == pytest.approx(probed.duration_seconds)
    assert probed.duration_seconds == pytest.approx(1.0, abs=0.2)
    output = await studio.file(ctx, video.output_file_id)
    data = await studio.bytes_of(ctx, output.id)
    assert (output.size_bytes, output.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert (output.name, output.mime_type, output.status) == ("grayscale.mp4", "video/mp4", FileStatus.READY)
    for place in ((0.2, 0.5), (0.5, 0.5), (0.8, 0.5)):
        red, green, blue = await _pixel(ctx, video.thumbnail_file_id, place)
        assert max(red, green, blue) - min(red, green, blue) < 16
    assert await studio.tokens(ctx) == (SIGN_UP - COSTS["grayscale"], 0)
    assert await studio.works(world.house) == [("DONE", 1)]
    assert await studio.works(world.house, "poster") == []
    await studio.sound(ctx)


async def test_overlay_and_watermark_of_the_effect_are_in_the_result(world):
    ctx, effects = await _open(world)
    plain = await studio.submit(ctx, effects["grayscale"], await studio.film())
    branded = await studio.submit(ctx, effects["branded"], await studio.film())
    await studio.work_off(world.house)
    for made, dark in ((plain, False), (branded, True)):
        assert (await studio.job(ctx, made.job_id)).status is SUCCEEDED
        still = (await studio.the_video(ctx, made.video_id)).thumbnail_file_id
        # The overlay is a black square that fills the picture.
        assert (max(await _pixel(ctx, still, (0.5, 0.5))) < 24) is dark
    await studio.sound(ctx)


async def test_a_picture_that_is_gone_or_none_fails_the_job_with_a_reason(world):
    ctx, effects = await _open(world)

    async def point(db):
        await db.change(sa.update(Overlay).values(asset_key=f"c/{'0' * 32}"))

    await world.house.system().on_system(point)
    made = await studio.submit(ctx, effects["branded"], await studio.film())
    await studio.work_off(world.house)
    job = await studio.job(ctx, made.job_id)
    assert (job.status, "0000" in (job.error_message or "")) == (FAILED, False)
    assert await studio.tokens(ctx) == (SIGN_UP, 0)


async def test_words_of_the_user_are_drawn_and_never_read_as_a_graph(world):
    ctx, effects = await _open(world)
    params = {"text": "',metadata=print:file=pwned.txt %{pts} עברית 🎬"}
    made = await studio.submit(ctx, effects["caption"], await studio.film(), params=params)
    await studio.work_off(world.house)
    assert (await studio.job(ctx, made.job_id)).status is SUCCEEDED
    assert await studio.tokens(ctx) == (SIGN_UP - COSTS["caption"], 0)


async def _damaged(kind):
    data = await studio.film(2.0)
    if kind == "cut":
        return data[: len(data) * 6 // 10]
    if kind == "zeroed":
        return data[: len(data) // 2] + bytes(len(data) - len(data) // 2)
    return studio.MP4 if kind == "empty-boxes" else data[:64] + b"\xff" * 4_000


@on_every_engine
@pytest.mark.parametrize("kind", ["cut", "zeroed", "empty-boxes", "noise"])
async def test_a_video_that_is_damaged_or_none_never_costs_tokens(world, kind):
    ctx, effects = await _open(world)
    made = await studio.submit(ctx, effects["grayscale"], await _damaged(kind))
    await studio.work_off(world.house)
    job = await studio.job(ctx, made.job_id)
    assert (job.status, job.attempts, job.tokens_consumed, job.output_file_id) == (FAILED, 1, 0, None)
    assert job.error_message
    assert (await studio.the_video(ctx, made.video_id)).status is VideoStatus.FAILED
    assert await studio.tokens(ctx) == (SIGN_UP, 0)
    assert await studio.ledger(ctx, made.job_id) == ["RESERVE", "RELEASE"]
    assert await studio.dead(world.house) == []
    await studio.sound(ctx)


async def test_a_text_renamed_to_mp4_does_not_get_as_far_as_a_job(world):
    ctx, _ = await _open(world)
    with pytest.raises(errors.Invalid):
        await studio.video(ctx, b"ffconcat version 1.0\nfile 'other.mp4'\n" * 3)


@on_every_engine
async def test_a_result_shorter_than_its_input_or_a_limit_that_ends_it_costs_nothing(world, monkeypatch):
    ctx, effects = await _open(world)
    made = await studio.submit(ctx, effects["grayscale"], await studio.film(2.0))
    real = ffmpeg.run

    async def run(job, **more):
        return await real(dataclasses.replace(job, limits=dataclasses.replace(job.limits, file_bytes=2_000)), **more)

    monkeypatch.setattr(ffmpeg, "run", run)
    await studio.work_off(world.house)
    job = await studio.job(ctx, made.job_id)
    assert (job.status, job.error_message) == (FAILED, "The result would be too large.")
    assert await studio.tokens(ctx) == (SIGN_UP, 0)


# ------------------------------------------------------------------------------------------- attempts


@on_every_engine
async def test_what_this_machine_got_wrong_is_tried_again_and_consumes_once(world, monkeypatch):
    ctx, effects = await _open(world)
    _failing(monkeypatch, NotStarted("no room to start"), times=2)
    made = await studio.submit(ctx, effects["crop"], await studio.film())
    async with studio.working(world.house):
        for attempt in (1, 2):
            async with asyncio.timeout(studio.WAIT_SECONDS_MAX):
                while await studio.works(world.house) != [("READY", attempt)]:
                    await asyncio.sleep(0.05)
            job = await studio.job(ctx, made.job_id)
            assert (job.status, job.attempts) == (AiJobStatus.QUEUED, attempt)
            await studio.expire_leases(world.house)
        async with asyncio.timeout(studio.WAIT_SECONDS_MAX):
            while await studio.works(world.house) != [("DONE", 3)]:
                await asyncio.sleep(0.05)
    job = await studio.job(ctx, made.job_id)
    assert (job.status, job.attempts) == (SUCCEEDED, 3)
    assert await studio.ledger(ctx, made.job_id) == ["RESERVE", "CONSUME"]
    await studio.sound(ctx)


async def test_after_the_last_attempt_the_job_has_failed_and_the_operator_has_the_reason(world, monkeypatch):
    ctx, effects = await _open(world)
    _failing(monkeypatch, NotStarted("/secret/path is full"))
    made = await studio.submit(ctx, effects["crop"], await studio.film())
    await studio.work_off(world.house)
    job = await studio.job(ctx, made.job_id)
    assert (job.status, job.attempts) == (FAILED, 3)
    assert "secret" not in (job.error_message or "")
    assert await studio.dead(world.house) == [("ai_job", 3)]
    assert await studio.tokens(ctx) == (SIGN_UP, 0)
    await studio.sound(ctx)


async def test_a_store_that_does_not_answer_counts_no_attempt(world, monkeypatch):
    ctx, effects = await _open(world)
    store = world.house.service(Store)
    real, down = store.fetch_to, [5]

    async def fetch_to(key, path):
        down[0] -= 1
        if down[0] >= 0:
            raise StoreUnavailable("the store does not answer")
        await real(key, path)

    monkeypatch.setattr(store, "fetch_to", fetch_to)
    made = await studio.submit(ctx, effects["crop"], await studio.film())
    await studio.work_off(world.house)
    job = await studio.job(ctx, made.job_id)
    assert (job.status, job.attempts, down[0] < 0) == (SUCCEEDED, 1, True)
    assert await studio.dead(world.house) == []


async def test_progress_is_told_and_a_canceled_job_stops_its_ffmpeg(world, monkeypatch):
    ctx, effects = await _open(world)
    monkeypatch.setattr("actions.jobs.render.PROGRESS_SECONDS_MIN", 0.0)
    made = await studio.submit(ctx, effects["vivid"], await studio.film(30.0))
    async with studio.working(world.house):
        async with asyncio.timeout(studio.WAIT_SECONDS_MAX):
            while not 0 < (await studio.job(ctx, made.job_id)).progress < 1:
                await asyncio.sleep(0.05)
        await jobs.cancel_ai_job(ctx, made.job_id)
        async with asyncio.timeout(studio.WAIT_SECONDS_MAX):
            while await studio.works(world.house) != [("DONE", 1)] or _children():
                await asyncio.sleep(0.05)
    assert (await studio.job(ctx, made.job_id)).status is CANCELED
    assert await studio.tokens(ctx) == (SIGN_UP, 0)
    await studio.sound(ctx)


def _children():
    """This process's ffmpegs that live; /proc says `pid (name) state parent …`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            head, _, rest = entry.read_text().rpartition(") ")
            state, parent = rest.split()[:2]
            if "(ffmpeg" in head and int(parent) == os.getpid() and state != "Z":
                found.append(head)
    return found


async def test_a_worker_that_is_told_to_stop_gives_the_job_back(world):
    ctx, effects = await _open(world)
    made = await studio.submit(ctx, effects["vivid"], await studio.film(30.0))
    async with studio.working(world.house), asyncio.timeout(studio.WAIT_SECONDS_MAX):
        while (await studio.job(ctx, made.job_id)).status is not AiJobStatus.RUNNING:
            await asyncio.sleep(0.05)
    assert await studio.works(world.house) == [("READY", 0)]
    assert _children() == []
    await jobs.cancel_ai_job(ctx, made.job_id)
    assert await studio.tokens(ctx) == (SIGN_UP, 0)


async def test_folders_of_killed_workers_go_and_living_ones_stay(world, tmp_path, monkeypatch):
    root = tmp_path / "temporary"
    root.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(root))
    with folders.folder() as young:
        old = root / f"{folders.PREFIX}old"
        (old / "work").mkdir(parents=True)
        other = root / "other"
        other.mkdir()
        for place in (old, other):
            os.utime(place, (0, time.time() - 13 * 3_600))
        assert await folders.sweep(world.house) == 1
        assert sorted(root.iterdir()) == sorted([young, other])
    assert not young.exists()


# ------------------------------------------------------------------------------------------- exports


async def _ready(world, seconds=1.0):
    ctx, effects = await _open(world)
    made = await studio.submit(ctx, effects["crop"], await studio.film(seconds))
    await studio.work_off(world.house)
    return ctx, made.video_id


@on_every_engine
async def test_exports_are_real_files_in_the_asked_format_and_size(world, tmp_path):
    ctx, video_id = await _ready(world)
    asked = {
        ExportFormat.MP4: {"width": 120},
        ExportFormat.WEBM: {"height": 64},
        ExportFormat.GIF: {},
    }
    ids = {one: await ctx.on_pool(jobs.create_export, video_id, one, **size) for one, size in asked.items()}
    await studio.work_off(world.house, "export")
    found = {}
    for one, export_id in ids.items():
        export = await studio.export(ctx, export_id)
        assert (export.status, export.error_message) == (ExportStatus.READY, None)
        file = await studio.file(ctx, export.file_id)
        probed = await _probed(ctx, file.id, tmp_path)
        found[one.name] = (file.mime_type, probed.container, probed.width, probed.height)
    assert found == {
        "MP4": ("video/mp4", "mp4", 120, 120),
        "WEBM": ("video/webm", "webm", 64, 64),
        "GIF": ("image/gif", "gif", 90, 90),
    }
    assert await studio.tokens(ctx) == (SIGN_UP - COSTS["crop"], 0)
    await studio.sound(ctx)
    await ctx.on_pool(media.delete_video, video_id)

    async def left(db):
        living = await db.all(sa.select(File.id).where(File.status != FileStatus.DELETED, File.name != "film.mp4"))
        return list(living), list(await db.all(sa.select(Export.id)))

    assert await ctx.on_pool(left) == ([], [])
    await studio.sound(ctx)


async def test_an_export_needs_a_ready_video_and_a_size_that_can_be(world):
    ctx, effects = await _open(world)
    made = await studio.submit(ctx, effects["crop"])
    with pytest.raises(errors.Conflict):
        await ctx.on_pool(jobs.create_export, made.video_id, ExportFormat.MP4)
    for size in ({"width": 0}, {"width": -1}, {"height": 15}, {"height": 2**31}):
        with pytest.raises(errors.Invalid) as refused:
            await ctx.on_pool(jobs.create_export, made.video_id, ExportFormat.MP4, **size)
        assert refused.value.field == ("input", *size)
    bob = await world.of(await world.tenant("bob"))
    with pytest.raises(errors.NotFound):
        await bob.on_pool(jobs.create_export, made.video_id, ExportFormat.MP4)


async def test_an_export_that_cannot_be_made_has_failed_and_one_interrupted_is_made_again(world, monkeypatch):
    ctx, video_id = await _ready(world)
    _failing(monkeypatch, MediaError("It cannot be."), times=1)
    first = await ctx.on_pool(jobs.create_export, video_id, ExportFormat.MP4)
    await studio.work_off(world.house, "export")
    assert (await studio.export(ctx, first)).status is ExportStatus.FAILED
    _failing(monkeypatch, NotStarted("later"), times=2)
    second = await ctx.on_pool(jobs.create_export, video_id, ExportFormat.MP4)
    await studio.work_off(world.house, "export")
    export = await studio.export(ctx, second)
    assert (export.status, export.attempts) == (ExportStatus.READY, 3)
    _failing(monkeypatch, NotStarted("never"))
    third = await ctx.on_pool(jobs.create_export, video_id, ExportFormat.MP4)
    await studio.work_off(world.house, "export")
    assert (await studio.export(ctx, third)).status is ExportStatus.FAILED
    await studio.sound(ctx)
