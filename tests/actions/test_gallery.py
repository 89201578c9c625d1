"""Publishing: the gallery shows what a pool has told, in any order of events, and hides it for good when told so."""

import asyncio
import dataclasses
import hashlib
import importlib

import pytest
import sqlalchemy as sa

from actions import gallery, media
from actions.gallery import showing, suspension, views
from actions.media import files, videos
from base import errors
from base.ids import Id, global_id
from db.outbox import Envelope
from db.tables.central.gallery import GalleryVideo, GalleryVideoTag
from db.tables.central.identity import Tenant
from db.tables.pool.media import Video, VideoStatus
from db.tables.pool.rewards import Reward, RewardKind
from db.tables.pool.upkeep import Outbox
from db.zones import TenantState
from execution import library
from outside.store import Store
from resolvers import roots
from tenancy import relaying
from tenancy.context import Context, receive
from tests.world import on_every_engine

MP4 = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + b"\0\0\0\x08free" * 100
JPG = b"\xff\xd8\xff\xe0" + b"\0" * 60


# ------------------------------------------------------------------------------------------- what tests make and see


async def _rows(db, /):
    return list(await db.all(sa.select(GalleryVideo).order_by(GalleryVideo.id)))


async def _tags(db, /):
    return sorted(await db.all(sa.select(GalleryVideoTag.tag_key)))


async def _outbox(db, /):
    return [Envelope.of_row(row) for row in await db.all(sa.select(Outbox).order_by(Outbox.id))]


async def _video(db, video_id, /):
    return await db.get_one(Video, video_id)


async def _add(db, title, tags, /, *, user_id, output, thumbnail):
    words = videos.Words.of(title, tags)
    made = [await files.add(db, facts, user_id=user_id) if facts is not None else None for facts in (output, thumbnail)]
    video = Video(
        id=db.new_id(),
        user_id=user_id,
        title=words.title,
        title_key=words.title_key,
        search_text=words.search_text,
        tags=words.tags,
        status=VideoStatus.READY if output is not None else VideoStatus.DRAFT,
        output_file_id=made[0],
        thumbnail_file_id=made[1],
        duration_seconds=2.5,
    )
    db.add(video)
    return video.id


async def _stored(ctx, data, mime_type):
    key = files.new_key(ctx.tenant_id)
    await ctx.house.service(Store).put_bytes(key, data, mime_type=mime_type)
    digest = hashlib.sha256(data).hexdigest()
    return files.Facts(key=key, name="result", mime_type=mime_type, size_bytes=len(data), sha256=digest)


async def _ready(ctx, title="Neon night", tags=("Night", "ＣＩＴＹ"), mime_type="video/mp4"):
    """A READY video of the caller with real objects behind it."""
    output, thumbnail = await _stored(ctx, MP4, mime_type), await _stored(ctx, JPG, "image/jpeg")
    user_id = ctx.member.user_id
    return await ctx.on_pool(_add, title, list(tags), user_id=user_id, output=output, thumbnail=thumbnail)


async def _shown(ctx):
    return [row for row in await ctx.on_system(_rows) if row.listed]


async def _exists(ctx, key):
    return await ctx.house.service(Store).head(key) is not None


@pytest.fixture
async def ctx(world):
    return await world.of(await world.tenant("alice"))


# ------------------------------------------------------------------------------------------- publishing


@on_every_engine
async def test_a_published_video_is_shown_with_public_copies_of_its_files(ctx):
    video_id = await _ready(ctx)
    done = await gallery.publish(ctx, video_id)
    assert done.is_shown
    (row,) = await _shown(ctx)
    assert (row.id, row.tenant_id, row.title, row.tags) == (done.id, "alice1", "Neon night", ["Night", "ＣＩＴＹ"])
    assert (row.search_text, row.duration_seconds, row.view_count) == ("neon night\nnight\ncity", 2.5, 0)
    assert await ctx.on_system(_tags) == ["city", "night"]
    assert row.output_key.startswith("public/")
    assert row.output_key.endswith(".mp4")
    store = ctx.house.service(Store)
    assert await store.read(row.output_key, length=1_000) == MP4
    assert await store.read(row.thumbnail_key, length=1_000) == JPG
    assert (await ctx.on_pool(_video, video_id)).gallery_video_id == done.id
    assert await ctx.on_pool(_outbox) == []


@on_every_engine
async def test_publishing_again_renews_the_snapshot_in_its_place(ctx):
    video_id = await _ready(ctx)
    first = await ctx.on_pool(gallery.publish_video, video_id)
    (before,) = await _shown(ctx)
    await ctx.on_pool(media.update_video, video_id, title="Dawn", tags=["Sun"])
    assert (await _shown(ctx))[0].title == "Neon night"
    assert await ctx.on_pool(gallery.publish_video, video_id) == first
    (row,) = await _shown(ctx)
    assert (row.title, await ctx.on_system(_tags), row.published_at > before.published_at) == ("Dawn", ["sun"], True)
    assert row.output_key != before.output_key


@on_every_engine
async def test_only_a_ready_video_of_the_caller_is_published(world, ctx):
    draft = await ctx.on_pool(_add, "Draft", [], user_id=ctx.member.user_id, output=None, thumbnail=None)
    for action, kind in ((gallery.publish_video, errors.Conflict), (gallery.unpublish_video, errors.Conflict)):
        with pytest.raises(kind) as refused:
            await ctx.on_pool(action, draft)
        assert refused.value.field == ("id",)
    ready = await _ready(ctx)
    mary = await world.of(await world.member(ctx.tenant_id))
    for other in (mary, await world.of(await world.tenant("bob"))):
        with pytest.raises(errors.NotFound):
            await other.on_pool(gallery.publish_video, ready)
    assert await ctx.on_system(_rows) == []


async def test_what_no_player_knows_is_not_published(ctx):
    odd = await _ready(ctx, mime_type="video/x-matroska")
    with pytest.raises(errors.Conflict):
        await ctx.on_pool(gallery.publish_video, odd)
    assert await ctx.on_pool(_outbox) == []


@on_every_engine
async def test_an_unpublished_video_is_hidden_and_its_public_files_are_gone(ctx):
    video_id = await _ready(ctx)
    first = await ctx.on_pool(gallery.publish_video, video_id)
    (row,) = await _shown(ctx)
    assert await ctx.on_pool(gallery.unpublish_video, video_id) == video_id
    assert await _shown(ctx) == []
    assert (await ctx.on_system(_tags), await ctx.on_system(_rows))[0] == []
    assert not await _exists(ctx, row.output_key)
    assert not await _exists(ctx, row.thumbnail_key)
    assert (await ctx.on_pool(_video, video_id)).gallery_video_id is None
    with pytest.raises(errors.Conflict):
        await ctx.on_pool(gallery.unpublish_video, video_id)
    again = await ctx.on_pool(gallery.publish_video, video_id)
    assert again != first
    assert [row.id for row in await _shown(ctx)] == [again]


@on_every_engine
async def test_a_deleted_video_leaves_the_gallery(ctx):
    video_id = await _ready(ctx)
    await ctx.on_pool(gallery.publish_video, video_id)
    (row,) = await _shown(ctx)
    await ctx.on_pool(media.delete_video, video_id)
    assert await _shown(ctx) == []
    assert not await _exists(ctx, row.output_key)
    assert await ctx.on_pool(_outbox) == []


# ------------------------------------------------------------------------------------------- events, twice and late


async def _told(ctx, *actions):
    """What these actions leave in the outbox when the process dies right after each commit."""
    done = [await ctx._in_pool(action, video_id) for action, video_id in actions]
    return [envelope for each in done for envelope in each.envelopes]


@on_every_engine
async def test_what_could_not_be_delivered_is_delivered_by_the_relay(world, ctx):
    video_id = await _ready(ctx)
    assert len(await _told(ctx, (gallery.publish_video, video_id))) == 1
    assert await _shown(ctx) == []
    assert await relaying.deliver(world.house, ctx.tenant_id)
    assert [row.title for row in await _shown(ctx)] == ["Neon night"]
    assert await ctx.on_pool(_outbox) == []


@on_every_engine
async def test_events_delivered_twice_and_in_any_order_leave_the_newest(world, ctx):
    video_id = await _ready(ctx)
    system = await world.system(ctx.tenant_id)
    older, newer = await _told(ctx, (gallery.publish_video, video_id), (gallery.publish_video, video_id))
    for envelope in (newer, older, newer, older):
        await receive(system, envelope)
    (row,) = await _shown(ctx)
    assert (row.event_id, row.output_key) == (newer.event_id, newer.data["output_key"])
    assert await _exists(ctx, newer.data["output_key"])
    assert not await _exists(ctx, older.data["output_key"])


@on_every_engine
async def test_a_withdrawal_is_final_whenever_it_comes(world, ctx):
    video_id = await _ready(ctx)
    system = await world.system(ctx.tenant_id)
    published, withdrawn = await _told(ctx, (gallery.publish_video, video_id), (gallery.unpublish_video, video_id))
    for envelope in (withdrawn, published, withdrawn, published):
        await receive(system, envelope)
        assert await _shown(ctx) == []
    (tombstone,) = await ctx.on_system(_rows)
    assert (tombstone.visible, tombstone.title, tombstone.search_text) == (False, "", "")
    assert not await _exists(ctx, published.data["output_key"])


async def test_a_file_that_is_gone_does_not_hold_up_what_follows(world, ctx):
    video_id = await _ready(ctx)
    (published,) = await _told(ctx, (gallery.publish_video, video_id))
    await ctx.house.service(Store).delete(published.data["output_source"])
    assert await relaying.deliver(world.house, ctx.tenant_id)
    assert await _shown(ctx) == []
    assert await ctx.on_pool(_outbox) == []


async def test_a_publication_of_many_at_once_is_one_row_each(ctx):
    video_id = await _ready(ctx)
    done = await asyncio.gather(*(ctx.on_pool(gallery.publish_video, video_id) for _ in range(5)))
    assert len(set(done)) == 1
    assert len(await _shown(ctx)) == 1


PUBLISH = """mutation($id: ID!) { publishVideo(id: $id) { userErrors { code } galleryVideo {
    id title tags tenantSlug viewCount durationSeconds processedFileUrl thumbnailUrl publishedAt
    effect { slug } } } }"""


async def _mutated(ctx, video_id):
    asked = {"id": global_id("Video", video_id, ctx.tenant_id)}
    answer = await library.Executor(roots.served()).execute(ctx, PUBLISH, variables=asked)
    assert answer.errors is None, answer.errors
    assert answer.data is not None
    assert answer.data["publishVideo"]["userErrors"] == []
    return answer.data["publishVideo"]["galleryVideo"]


async def test_publishing_answers_from_the_event_while_central_does_not_answer(world, ctx, monkeypatch):
    video_id = await _ready(ctx)
    closed = asyncio.Event()

    async def silent(*_args, **_more):
        await closed.wait()
        raise errors.CentralUnavailable("The central database does not answer.")

    for module in ("actions.gallery.publish", "tenancy.context"):
        monkeypatch.setattr(importlib.import_module(module), "DELIVERY_SECONDS_MAX", 0.1)
    monkeypatch.setattr(world.house.sessions, "central", silent)
    told = await _mutated(ctx, video_id)
    assert (told["title"], told["tags"], told["tenantSlug"]) == ("Neon night", ["Night", "ＣＩＴＹ"], "alice1")
    closed.set()
    await asyncio.wait(world.house.tasks)
    monkeypatch.undo()
    assert await _shown(ctx) == []
    assert await relaying.deliver(world.house, ctx.tenant_id)
    (row,) = await _shown(ctx)
    assert told["id"] == global_id("GalleryVideo", row.id)
    assert told["processedFileUrl"] == f"http://alice1.localhost:8000/files/{row.output_key}"


async def test_publishing_answers_with_what_the_gallery_shows(ctx):
    shown = await _mutated(ctx, await _ready(ctx))
    (row,) = await _shown(ctx)
    assert (shown["id"], shown["viewCount"]) == (global_id("GalleryVideo", row.id), 0)
    assert shown["thumbnailUrl"] == f"http://alice1.localhost:8000/files/{row.thumbnail_key}"


async def _rewards(db, /):
    return list(await db.all(sa.select(Reward.claimed_at).where(Reward.kind == RewardKind.FIRST_PUBLISH)))


async def test_the_first_publication_earns_a_reward_once(ctx):
    for _ in range(2):
        await ctx.on_pool(gallery.publish_video, await _ready(ctx))
    assert await ctx.on_pool(_rewards) == [None]


# ------------------------------------------------------------------------------------------- suspension


async def _set_state(db, tenant, state, /):
    db.act_for(tenant=tenant)
    await db.change(sa.update(Tenant).where(Tenant.id == tenant).values(state=state))
    return await suspension.hide_tenant(db, tenant, hidden=state is TenantState.SUSPENDED)


@on_every_engine
async def test_a_suspended_tenants_videos_are_hidden_and_come_back_but_for_the_withdrawn(world, ctx):
    kept, gone = await _ready(ctx, "Kept"), await _ready(ctx, "Gone")
    for video_id in (kept, gone):
        await ctx.on_pool(gallery.publish_video, video_id)
    bob = await world.of(await world.tenant("bob"))
    await bob.on_pool(gallery.publish_video, await _ready(bob, "Bob's"))
    assert await ctx.on_system(_set_state, "alice1", TenantState.SUSPENDED) == 2
    assert [row.title for row in await _shown(ctx)] == ["Bob's"]
    system = await world.system(ctx.tenant_id)
    await system.on_pool(gallery.unpublish_video, gone)
    await ctx.on_system(_set_state, "alice1", TenantState.ACTIVE)
    assert sorted(row.title for row in await _shown(ctx)) == ["Bob's", "Kept"]


@on_every_engine
async def test_what_is_delivered_during_a_suspension_is_not_listed(world, ctx):
    video_id = await _ready(ctx)
    await _told(ctx, (gallery.publish_video, video_id))
    await ctx.on_system(_set_state, "alice1", TenantState.SUSPENDED)
    assert await relaying.deliver(world.house, ctx.tenant_id)
    assert await _shown(ctx) == []
    await ctx.on_system(_set_state, "alice1", TenantState.ACTIVE)
    assert len(await _shown(ctx)) == 1


@on_every_engine
async def test_many_changes_of_one_video_at_once_wait_for_each_other_and_are_all_made(world, ctx):
    video_id = await _ready(ctx)
    renamed = [ctx.on_pool(media.update_video, video_id, title=f"Take {number}") for number in range(12)]
    published = [ctx.on_pool(gallery.publish_video, video_id) for _ in range(12)]
    # Also of what failed the end is awaited: nothing of it may still run when the databases go.
    done = await asyncio.gather(*renamed, *published, return_exceptions=True)
    (row,) = await _shown(ctx)
    assert set(done) == {video_id, row.id}


# ------------------------------------------------------------------------------------------- views


@on_every_engine
async def test_a_view_counts_once_a_viewer_or_address_and_hour(world, ctx):
    place = await ctx.on_pool(gallery.publish_video, await _ready(ctx))
    now = 0.0
    counter = world.house.services[views.Views] = views.Views(world.house, clock=lambda: now)
    visitor = world.central()
    for watching in (visitor, visitor, dataclasses.replace(visitor, address="10.9.9.9"), ctx, ctx):
        assert await gallery.record_view(watching, place) == place
    await counter.write()
    assert (await _shown(ctx))[0].view_count == 3
    now = views.AGAIN_SECONDS + 1.0
    await gallery.record_view(visitor, place)
    await counter.close()
    assert (await _shown(ctx))[0].view_count == 4


async def test_views_that_come_at_once_count_once(world, ctx):
    place = await ctx.on_pool(gallery.publish_video, await _ready(ctx))
    await asyncio.gather(*(gallery.record_view(world.central(), place) for _ in range(10)))
    await views.views_of(world.house).close()
    assert (await _shown(ctx))[0].view_count == 1


async def test_what_is_not_listed_is_not_counted(world, ctx):
    video_id = await _ready(ctx)
    place = await ctx.on_pool(gallery.publish_video, video_id)
    await ctx.on_pool(gallery.unpublish_video, video_id)
    unknown: Id[GalleryVideo]
    for unknown in (place, Id(place + 1)):
        with pytest.raises(errors.NotFound) as refused:
            await gallery.record_view(world.central(), unknown)
        assert refused.value.field == ("galleryVideoId",)


async def test_views_are_written_when_the_house_closes(world, ctx):
    place = await ctx.on_pool(gallery.publish_video, await _ready(ctx))
    await gallery.record_view(world.central(), place)
    await views.views_of(world.house).close()
    assert (await _shown(ctx))[0].view_count == 1


async def test_a_house_that_closes_while_views_are_written_counts_none_twice(world, ctx, monkeypatch):
    place = await ctx.on_pool(gallery.publish_video, await _ready(ctx))
    committed, real = asyncio.Event(), Context.on_system

    async def slowly(self, action, /, *args, **more):
        answer = await real(self, action, *args, **more)
        if action is views._add and not committed.is_set():
            committed.set()
            await asyncio.sleep(0.05)
        return answer

    monkeypatch.setattr(views, "WRITE_SECONDS", 0.0)
    monkeypatch.setattr(Context, "on_system", slowly)
    await gallery.record_view(world.central(), place)
    await committed.wait()
    await views.views_of(world.house).close()
    assert (await _shown(ctx))[0].view_count == 1


# ------------------------------------------------------------------------------------------- the sweep


async def test_the_sweep_keeps_what_is_shown_and_no_more(world, ctx):
    video_id = await _ready(ctx)
    await ctx.on_pool(gallery.publish_video, video_id)
    (old,) = await _shown(ctx)
    await ctx.on_pool(gallery.publish_video, video_id)
    (row,) = await _shown(ctx)
    keys = [old.output_key, row.output_key, row.thumbnail_key]
    assert await showing.shown(world.house, keys) == {row.output_key, row.thumbnail_key}
