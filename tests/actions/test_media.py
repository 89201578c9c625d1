"""Files, uploads and videos: what is promised of bytes is held, the quota is exact, and a refusal changes nothing."""

import asyncio
import dataclasses
import hashlib
import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from actions import media
from actions.media import checksums, files, uploads, videos
from base import errors
from base.ids import Id
from db import work
from db.columns import utc_now
from db.outbox import RECEIVERS
from db.tables.central.catalog import Algorithm, Effect
from db.tables.central.work import Job, Timer
from db.tables.pool.media import Export, ExportFormat, ExportStatus, File, FileStatus, Video, VideoStatus
from db.tables.pool.upkeep import Outbox
from outside.store import Store
from tests.world import on_every_engine

MP4 = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + b"\0\0\0\x08free" * 100
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0" * 50


# ------------------------------------------------------------------------------------------- what tests look at


async def _rows(db):
    return {file.id: file for file in await db.all(sa.select(File))}


async def _file(ctx, file_id):
    return (await ctx.on_pool(_rows))[file_id]


async def _videos(db):
    return list(await db.all(sa.select(Video).order_by(Video.id)))


async def _timers(db, /):
    return list(await db.all(sa.select(Timer).where(Timer.kind == uploads.EXPIRY)))


async def _work(db, kind, /):
    return list(await db.all(sa.select(Job).where(Job.kind == kind)))


async def _undelivered(db):
    return list(await db.all(sa.select(Outbox.type)))


async def _used(db):
    return sum(row.size_bytes for row in await db.all(sa.select(File).where(File.status != FileStatus.DELETED)))


async def _put(ctx, file_id, data):
    """The bytes arrive; over HTTP this is proven in tests/outside."""
    file = await _file(ctx, file_id)
    await ctx.house.service(Store).put_bytes(file.key, data, mime_type=file.mime_type)


async def _uploaded(ctx, data=MP4, mime_type="video/mp4", name="holiday.mp4", sha256=None):
    new = await media.create_upload(ctx, name, mime_type, size_bytes=len(data), sha256=sha256)
    await _put(ctx, new.file_id, data)
    return await media.complete_upload(ctx, new.file_id)


def _lease(ctx, kind, ref_id):
    return work.Lease(Id(1), kind, ctx.tenant_id, Id(ref_id), 0, 1, "test", utc_now(), "")


async def _alive():
    return True


def _limited(ctx, **settings):
    """The same request in a house with other settings."""
    house = dataclasses.replace(ctx.house, settings=dataclasses.replace(ctx.house.settings, **settings))
    return dataclasses.replace(ctx, house=house)


async def _sound(world, person):
    """Quota, files and videos agree."""
    assert await (await world.system(person.tenant_id)).on_pool(media.broken) is None


# ------------------------------------------------------------------------------------------- uploads


@on_every_engine
async def test_an_upload_becomes_a_ready_file_of_the_type_its_bytes_have(world):
    alice = await world.tenant("alice")
    ctx = await world.of(alice)
    new = await media.create_upload(ctx, "  my   film.mov ", "Video/QuickTime; x=1", size_bytes=len(MP4))
    file = await _file(ctx, new.file_id)
    assert (file.status, file.name, file.mime_type) == (FileStatus.UPLOADING, "my film.mov", "video/quicktime")
    assert re.fullmatch(rf"t/{b'alice1'.hex()}/[0-9a-f]{{32}}", file.key)
    assert file.key in new.url
    await _put(ctx, new.file_id, MP4)
    assert await media.complete_upload(ctx, new.file_id) == new.file_id
    file = await _file(ctx, new.file_id)
    assert (file.status, file.mime_type, file.expires_at) == (FileStatus.READY, "video/mp4", None)
    assert await media.complete_upload(ctx, new.file_id) == new.file_id
    await _sound(world, alice)


async def test_completing_before_the_bytes_are_there_is_refused_and_may_be_tried_again(world):
    alice = await world.tenant("alice")
    ctx = await world.of(alice)
    new = await media.create_upload(ctx, "a.mp4", "video/mp4", size_bytes=len(MP4))
    with pytest.raises(errors.Conflict) as refused:
        await media.complete_upload(ctx, new.file_id)
    assert refused.value.field == ("fileId",)
    assert (await _file(ctx, new.file_id)).status is FileStatus.UPLOADING
    await _put(ctx, new.file_id, MP4)
    await media.complete_upload(ctx, new.file_id)


@pytest.mark.parametrize(
    "data",
    [b"just some text, renamed", b"ffconcat version 1.0\nfile /etc/passwd\n", PNG],
    ids=["text", "playlist", "image"],
)
async def test_bytes_that_are_not_what_was_said_are_discarded_with_their_quota(world, data):
    alice = await world.tenant("alice")
    ctx = await world.of(alice)
    new = await media.create_upload(ctx, "a.mp4", "video/mp4", size_bytes=len(data))
    await _put(ctx, new.file_id, data)
    with pytest.raises(errors.Invalid) as refused:
        await media.complete_upload(ctx, new.file_id)
    assert refused.value.field == ("fileId",)
    file = await _file(ctx, new.file_id)
    assert file.status is FileStatus.DELETED
    assert await ctx.house.service(Store).head(file.key) is None
    assert await ctx.on_pool(_used) == 0
    await _sound(world, alice)
    with pytest.raises(errors.Conflict):
        await media.complete_upload(ctx, new.file_id)


async def test_bytes_of_another_number_than_promised_are_discarded(world):
    ctx = await world.of(await world.tenant("alice"))
    new = await media.create_upload(ctx, "a.mp4", "video/mp4", size_bytes=len(MP4) + 1)
    await _put(ctx, new.file_id, MP4)
    with pytest.raises(errors.Invalid):
        await media.complete_upload(ctx, new.file_id)
    assert (await _file(ctx, new.file_id)).status is FileStatus.DELETED


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"size_bytes": 0}, "sizeBytes"),
        ({"size_bytes": -(2**62)}, "sizeBytes"),
        ({"size_bytes": 2 * 1024**3 + 1}, "sizeBytes"),
        ({"size_bytes": 2**62}, "sizeBytes"),
        ({"mime_type": "text/html"}, "mimeType"),
        ({"mime_type": "image/svg+xml"}, "mimeType"),
        ({"mime_type": ""}, "mimeType"),
        ({"mime_type": "video/mp4" * 100_000}, "mimeType"),
        ({"mime_type": "video/mp4\r\nx-evil: 1"}, "mimeType"),
        ({"sha256": "abc"}, "sha256"),
        ({"sha256": "g" * 64}, "sha256"),
        ({"name": "   "}, "name"),
        ({"name": "a\0b.mp4"}, "name"),
        ({"name": "../../etc/passwd"}, "name"),
        ({"name": "..\\a.mp4"}, "name"),
        ({"name": ".."}, "name"),
        ({"name": "a" * 900_000}, "name"),
        ({"name": "\ud800.mp4"}, "name"),
    ],
)
async def test_what_cannot_be_promised_names_its_field_and_leaves_nothing(world, change, field):
    ctx = await world.of(await world.tenant("alice"))
    said = {"name": "a.mp4", "mime_type": "video/mp4", "size_bytes": 10, "sha256": None} | change
    with pytest.raises(errors.Invalid) as refused:
        await media.create_upload(
            ctx, said["name"], said["mime_type"], size_bytes=said["size_bytes"], sha256=said["sha256"]
        )
    assert refused.value.field == ("input", field)
    assert await ctx.on_pool(_rows) == {}
    assert await ctx.on_system(_timers) == []


async def test_names_of_any_script_are_kept_as_they_are(world):
    ctx = await world.of(await world.tenant("alice"))
    for name in ("🎬 фильм.mp4", "סרט.mp4", "a" * 255):
        new = await media.create_upload(ctx, name, "video/mp4", size_bytes=1)
        assert (await _file(ctx, new.file_id)).name == name


@on_every_engine
async def test_uploads_started_at_once_take_no_more_than_the_quota(world):
    alice = await world.tenant("alice")
    ctx = _limited(await world.of(alice), storage_bytes_per_tenant=1_000)
    fields = set()

    async def start():
        try:
            return (await media.create_upload(ctx, "a.mp4", "video/mp4", size_bytes=100)).file_id
        except errors.LimitExceeded as refused:
            fields.add(refused.field)
            return None

    made = [file_id for file_id in await asyncio.gather(*(start() for _ in range(20))) if file_id is not None]
    assert (len(made), fields) == (10, {("input", "sizeBytes")})
    await _sound(world, alice)
    for file_id in made[:3]:
        await media.delete_file(ctx, file_id)
    assert [await start() is not None for _ in range(4)] == [True, True, True, False]
    await _sound(world, alice)


async def test_a_tenants_second_member_and_other_tenants_find_none_of_it(world):
    alice, bob = await world.tenant("alice"), await world.tenant("bob")
    mary = await world.member(alice.tenant_id)
    file_id = await _uploaded(await world.of(alice))
    video_id = await media.create_video(await world.of(alice), "Film", file_id)
    for stranger in (await world.of(mary), await world.of(bob)):
        for doing in (
            media.complete_upload(stranger, file_id),
            media.delete_file(stranger, file_id),
            media.create_video(stranger, "Mine", file_id),
            stranger.on_pool(media.update_video, video_id, title="Mine"),
            stranger.on_pool(media.delete_video, video_id),
        ):
            with pytest.raises(errors.NotFound):
                await doing
    ctx = await world.of(alice)
    assert (await _file(ctx, file_id)).status is FileStatus.READY
    assert [video.title for video in await ctx.on_pool(_videos)] == ["Film"]


# ------------------------------------------------------------------------------------------- ends of uploads


async def _age(db, file_id):
    await db.change(sa.update(File).where(File.id == file_id).values(expires_at=db.now - timedelta(seconds=1)))


@on_every_engine
async def test_an_upload_never_completed_ends_and_gives_its_bytes_back(world):
    alice = await world.tenant("alice")
    ctx, system = await world.of(alice), await world.system(alice.tenant_id)
    new = await media.create_upload(ctx, "a.mp4", "video/mp4", size_bytes=len(MP4))
    (timer,) = await ctx.on_system(_timers)
    assert (timer.tenant_id, timer.ref_id) == (alice.tenant_id, new.file_id)
    await uploads.end_upload(system, _lease(system, uploads.EXPIRY, new.file_id), _alive)
    assert (await _file(ctx, new.file_id)).status is FileStatus.UPLOADING, "its time is not over"
    await _put(ctx, new.file_id, MP4)
    await system.on_pool(_age, new.file_id)
    for _ in range(2):
        await uploads.end_upload(system, _lease(system, uploads.EXPIRY, new.file_id), _alive)
    file = await _file(ctx, new.file_id)
    assert file.status is FileStatus.DELETED
    assert await ctx.house.service(Store).head(file.key) is None
    await _sound(world, alice)


async def test_a_completed_upload_does_not_end(world):
    alice = await world.tenant("alice")
    ctx, system = await world.of(alice), await world.system(alice.tenant_id)
    file_id = await _uploaded(ctx)
    await uploads.end_upload(system, _lease(system, uploads.EXPIRY, file_id), _alive)
    assert (await _file(ctx, file_id)).status is FileStatus.READY


async def test_an_upload_that_ends_too_early_by_another_clock_is_looked_at_again(world):
    alice = await world.tenant("alice")
    ctx, system = await world.of(alice), await world.system(alice.tenant_id)
    new = await media.create_upload(ctx, "a.mp4", "video/mp4", size_bytes=9)

    async def forget(db):
        await db.change(sa.delete(Timer))

    await ctx.on_system(forget)
    await uploads.end_upload(system, _lease(system, uploads.EXPIRY, new.file_id), _alive)
    (timer,) = await ctx.on_system(_timers)
    assert timer.due_at == (await _file(ctx, new.file_id)).expires_at


@on_every_engine
async def test_completing_and_ending_at_once_have_one_winner(world):
    alice = await world.tenant("alice")
    ctx, system = await world.of(alice), await world.system(alice.tenant_id)
    for _ in range(5):
        new = await media.create_upload(ctx, "a.mp4", "video/mp4", size_bytes=len(MP4))
        await _put(ctx, new.file_id, MP4)
        await system.on_pool(_age, new.file_id)
        lease = _lease(system, uploads.EXPIRY, new.file_id)
        completed, _ = await asyncio.gather(
            media.complete_upload(ctx, new.file_id),
            uploads.end_upload(system, lease, _alive),
            return_exceptions=True,
        )
        file = await _file(ctx, new.file_id)
        if isinstance(completed, errors.Conflict):
            assert file.status is FileStatus.DELETED
        else:
            assert (completed, file.status) == (new.file_id, FileStatus.READY)
            assert await ctx.house.service(Store).head(file.key) is not None
    await _sound(world, alice)


# ------------------------------------------------------------------------------------------- checksums


@on_every_engine
async def test_the_worker_fills_a_checksum_that_the_client_did_not_give(world):
    alice = await world.tenant("alice")
    ctx, system = await world.of(alice), await world.system(alice.tenant_id)
    file_id = await _uploaded(ctx)
    (job,) = await ctx.on_system(_work, checksums.CHECKSUM)
    assert (job.tenant_id, job.ref_id) == (alice.tenant_id, file_id)
    for _ in range(2):
        await checksums.fill_checksum(system, _lease(system, checksums.CHECKSUM, file_id), _alive)
    assert (await _file(ctx, file_id)).sha256 == hashlib.sha256(MP4).hexdigest()


async def test_a_checksum_that_was_given_is_kept_and_not_computed_again(world):
    ctx = await world.of(await world.tenant("alice"))
    digest = hashlib.sha256(MP4).hexdigest()
    file_id = await _uploaded(ctx, sha256=digest.upper())
    assert (await _file(ctx, file_id)).sha256 == digest
    assert await ctx.on_system(_work, checksums.CHECKSUM) == []


# ------------------------------------------------------------------------------------------- deleting files


@on_every_engine
async def test_a_file_that_a_video_uses_is_not_deleted(world):
    alice = await world.tenant("alice")
    ctx = await world.of(alice)
    file_id = await _uploaded(ctx)
    video_id = await media.create_video(ctx, "Film", file_id)
    with pytest.raises(errors.Conflict) as refused:
        await media.delete_file(ctx, file_id)
    assert refused.value.field == ("id",)
    file = await _file(ctx, file_id)
    assert (file.status, file.deleted_at) == (FileStatus.READY, None)
    assert await ctx.house.service(Store).head(file.key) is not None
    await _sound(world, alice)
    await ctx.on_pool(media.delete_video, video_id)
    await media.delete_file(ctx, file_id)
    assert (await _file(ctx, file_id)).status is FileStatus.DELETED
    assert await ctx.house.service(Store).head(file.key) is None
    with pytest.raises(errors.NotFound):
        await media.delete_file(ctx, file_id)
    await _sound(world, alice)


@on_every_engine
async def test_deleting_a_file_while_a_video_is_made_of_it_has_one_winner(world):
    alice = await world.tenant("alice")
    ctx = await world.of(alice)
    for _ in range(5):
        file_id = await _uploaded(ctx)
        await asyncio.gather(
            media.create_video(ctx, "Film", file_id),
            media.delete_file(ctx, file_id),
            media.create_video(ctx, "Film", file_id),
            return_exceptions=True,
        )
        await _sound(world, alice)


@on_every_engine
async def test_deleting_one_file_many_times_at_once_gives_its_bytes_back_once(world):
    alice = await world.tenant("alice")
    ctx = await world.of(alice)
    await _uploaded(ctx)
    file_id = await _uploaded(ctx)
    answers = await asyncio.gather(*(media.delete_file(ctx, file_id) for _ in range(10)), return_exceptions=True)
    assert answers.count(None) == 1
    assert all(answer is None or isinstance(answer, errors.NotFound) for answer in answers)
    await _sound(world, alice)


# ------------------------------------------------------------------------------------------- videos


async def _effect(db, slug="neon", archived_at=None):
    algorithm = Algorithm(slug=f"by-{slug}", name="ffmpeg", name_key="ffmpeg")
    db.add(algorithm)
    await db.flush()
    effect = Effect(
        slug=slug,
        name="Neon",
        name_key="neon",
        token_cost=1,
        algorithm_id=algorithm.id,
        search_text="neon",
        archived_at=archived_at,
    )
    db.add(effect)
    await db.flush()
    return effect.id


@on_every_engine
async def test_a_new_video_is_a_draft_found_by_what_it_is_called(world):
    ctx = await world.of(await world.tenant("alice"))
    effect_id = await ctx.on_system(_effect)
    file_id = await _uploaded(ctx)
    await media.create_video(ctx, "  Ｎight   STRASSE ß ", file_id, effect_id=effect_id, tags=["Neon", "neon ", "Rain"])
    (video,) = await ctx.on_pool(_videos)
    assert (video.title, video.tags, video.status) == ("Ｎight STRASSE ß", ["Neon", "Rain"], VideoStatus.DRAFT)
    assert (video.title_key, video.search_text) == ("night strasse ss", "night strasse ss\nneon\nrain")
    assert (video.effect_id, video.input_file_id, video.output_file_id) == (effect_id, file_id, None)


async def test_what_no_video_can_be_made_of_names_its_field_and_leaves_nothing(world):
    ctx = await world.of(await world.tenant("alice"))
    archived = await ctx.on_system(_effect, "old", utc_now())
    film, picture = await _uploaded(ctx), await _uploaded(ctx, PNG, "image/png")
    begun = (await media.create_upload(ctx, "a.mp4", "video/mp4", size_bytes=9)).file_id
    gone = await _uploaded(ctx)
    await media.delete_file(ctx, gone)
    for doing, refusal, field in (
        (media.create_video(ctx, "Film", begun), errors.Conflict, "inputFileId"),
        (media.create_video(ctx, "Film", gone), errors.NotFound, "inputFileId"),
        (media.create_video(ctx, "Film", picture), errors.Invalid, "inputFileId"),
        (media.create_video(ctx, "Film", Id(7)), errors.NotFound, "inputFileId"),
        (media.create_video(ctx, "Film", film, effect_id=Id(7)), errors.NotFound, "effectId"),
        (media.create_video(ctx, "Film", film, effect_id=archived), errors.NotFound, "effectId"),
        (media.create_video(ctx, " ", film), errors.Invalid, "title"),
        (media.create_video(ctx, "x" * 201, film), errors.Invalid, "title"),
        (media.create_video(ctx, "x" * 900_000, film), errors.Invalid, "title"),
        (media.create_video(ctx, "Film", film, tags=["x" * 41]), errors.Invalid, "tags"),
        (media.create_video(ctx, "Film", film, tags=[str(n) for n in range(21)]), errors.Invalid, "tags"),
    ):
        with pytest.raises(refusal) as refused:
            await doing
        assert refused.value.field[:2] == ("input", field)
    assert await ctx.on_pool(_videos) == []


async def test_a_title_that_grows_when_folded_still_fits(world):
    ctx = await world.of(await world.tenant("alice"))
    await media.create_video(ctx, "ﷺ" * 200, await _uploaded(ctx), tags=[f"{n}{'ﷺ' * 38}" for n in range(20)])
    (video,) = await ctx.on_pool(_videos)
    assert len(video.title_key) == videos.TITLE_KEY_CHARACTERS_MAX


@on_every_engine
async def test_changing_title_and_tags_at_once_loses_neither(world):
    ctx = await world.of(await world.tenant("alice"))
    video_id = await media.create_video(ctx, "Old", await _uploaded(ctx), tags=["old"])
    for n in range(8):
        await asyncio.gather(
            ctx.on_pool(media.update_video, video_id, title=f"Brand NEW {n}"),
            ctx.on_pool(media.update_video, video_id, tags=[f"Fresh{n}"]),
        )
        (video,) = await ctx.on_pool(_videos)
        assert (video.title, video.title_key, video.tags) == (f"Brand NEW {n}", f"brand new {n}", [f"Fresh{n}"])
        assert video.search_text == f"brand new {n}\nfresh{n}"
    await ctx.on_pool(media.update_video, video_id, tags=[])
    (video,) = await ctx.on_pool(_videos)
    assert (video.tags, video.search_text) == ([], "brand new 7")


async def _finish(db, video_id, user_id):
    """What jobs leave behind: output, thumbnail and two exports, one of them made."""
    facts = files.Facts(key=files.new_key(db.tenant), name="o", mime_type="video/mp4", size_bytes=len(MP4))
    made = [
        await files.add(db, dataclasses.replace(facts, key=files.new_key(db.tenant)), user_id=user_id) for _ in range(3)
    ]
    await db.change(
        sa.update(Video)
        .where(Video.id == video_id)
        .values(output_file_id=made[0], thumbnail_file_id=made[1], status=VideoStatus.READY)
    )
    for file_id, status in ((made[2], ExportStatus.READY), (None, ExportStatus.QUEUED)):
        db.add(Export(user_id=user_id, video_id=video_id, status=status, format=ExportFormat.GIF, file_id=file_id))
    return made


async def _exports(db):
    return list(await db.all(sa.select(Export)))


@on_every_engine
async def test_deleting_a_video_takes_what_was_made_of_it_and_leaves_what_was_uploaded(world):
    alice = await world.tenant("alice")
    ctx, system = await world.of(alice), await world.system(alice.tenant_id)
    file_id = await _uploaded(ctx)
    kept = await media.create_video(ctx, "Kept", file_id)
    video_id = await media.create_video(ctx, "Gone", file_id)
    made = await system.on_pool(_finish, video_id, alice.user_id)
    for row in (await ctx.on_pool(_rows)).values():
        if row.id in made:
            await ctx.house.service(Store).put_bytes(row.key, MP4, mime_type="video/mp4")
    await ctx.on_pool(media.delete_video, video_id)
    rows = await ctx.on_pool(_rows)
    assert {rows[each].status for each in made} == {FileStatus.DELETED}
    assert [await ctx.house.service(Store).head(rows[each].key) for each in made] == [None] * 3
    assert rows[file_id].status is FileStatus.READY
    assert await ctx.on_pool(_exports) == []
    assert [video.id for video in await ctx.on_pool(_videos) if video.deleted_at is None] == [kept]
    assert await ctx.on_pool(_undelivered) == []
    await _sound(world, alice)
    for doing in (
        ctx.on_pool(media.delete_video, video_id),
        ctx.on_pool(media.update_video, video_id, title="Back"),
    ):
        with pytest.raises(errors.NotFound):
            await doing


async def test_everything_told_of_media_has_somebody_who_listens():
    for event in (media.FileUploaded, media.FilesDeleted, media.VideoDeleted):
        assert RECEIVERS.get(event), f"nobody receives {event.type}"


async def test_an_export_keeps_its_row_when_its_file_is_deleted(world):
    alice = await world.tenant("alice")
    ctx, system = await world.of(alice), await world.system(alice.tenant_id)
    video_id = await media.create_video(ctx, "Film", await _uploaded(ctx))
    exported = (await system.on_pool(_finish, video_id, alice.user_id))[2]
    await media.delete_file(ctx, exported)
    assert [export.file_id for export in await ctx.on_pool(_exports)] == [None, None]
    await _sound(world, alice)


# ------------------------------------------------------------------------------------------- results of workers


async def test_a_workers_result_is_its_users_and_never_refused_by_the_quota(world):
    alice = await world.tenant("alice")
    ctx, system = await world.of(alice), _limited(await world.system(alice.tenant_id), storage_bytes_per_tenant=1)
    digest = hashlib.sha256(MP4).hexdigest()
    new = await media.new_output(
        system, alice.user_id, "video/mp4", size_bytes=len(MP4), sha256=digest, origin="http://localhost:8000"
    )
    assert "http://localhost:8000/uploads/" in new.url
    with pytest.raises(errors.Conflict):
        await media.check_output(system, new.file_id)
    await _put(ctx, new.file_id, MP4)
    for _ in range(2):
        await media.check_output(system, new.file_id)
    file = await _file(ctx, new.file_id)
    assert (file.status, file.user_id, file.sha256) == (FileStatus.READY, alice.user_id, digest)
    await _sound(world, alice)
    for mime_type, field in (("image/png", "mimeType"), ("video/mp4", "sizeBytes")):
        with pytest.raises(errors.Invalid) as refused:
            await media.new_output(
                system, alice.user_id, mime_type, size_bytes=0, sha256=digest, origin="http://localhost:8000"
            )
        assert refused.value.field == (field,)
