"""Killed anywhere while publishing, unpublishing or deleting what is published: gallery, store and pool agree again."""

from __future__ import annotations

import dataclasses

import pytest
import sqlalchemy as sa

from actions import gallery, media
from db.tables.central.gallery import GalleryVideo, GalleryVideoTag
from db.tables.pool.media import File, FileStatus, Video, VideoStatus
from db.tables.pool.rewards import Reward, RewardKind
from db.tables.pool.upkeep import Outbox
from outside.store import Store
from tests.actions import studio
from tests.actions.test_gallery import _ready
from tests.proofs import killing, restart

killing.load(__name__)


async def _at_home(house, token, tenant):
    route = await house.directory.of_tenant(tenant)
    viewer = await house.viewers.of_token(token)
    origin = f"http://{tenant}.localhost:8000"
    return dataclasses.replace(house.system(tenant=route, origin=origin), viewer=viewer, is_system=False)


async def publishing(house, token, tenant, video_id):
    """A client publishes, renames and publishes again."""
    ctx = await _at_home(house, token, tenant)
    await gallery.publish(ctx, video_id)
    await ctx.on_pool(media.update_video, video_id, title="Dawn", tags=["Sun"])
    await gallery.publish(ctx, video_id)


async def unpublishing(house, token, tenant, video_id):
    """A client takes it back."""
    ctx = await _at_home(house, token, tenant)
    await ctx.on_pool(gallery.unpublish_video, video_id)


async def deleting(house, token, tenant):
    """A client deletes the newest published video."""
    ctx = await _at_home(house, token, tenant)
    video_id = await ctx.on_pool(_newest)
    await ctx.on_pool(media.delete_video, video_id)


async def _newest(db):
    published = sa.select(Video.id).where(Video.deleted_at.is_(None), Video.gallery_video_id.is_not(None))
    return await db.first(published.order_by(Video.id.desc()))


# ------------------------------------------------------------------------------------------- what must agree


@dataclasses.dataclass(frozen=True)
class Seen:
    """Both sides of a tenant's publications: (place, title) as the pool has it and as everybody sees it."""

    published: set
    listed: set


async def _places(db):
    rows = await db.tuples(
        sa.select(Video.gallery_video_id, Video.title).where(
            Video.gallery_video_id.is_not(None), Video.deleted_at.is_(None)
        )
    )
    return {tuple(row) for row in rows}


async def _rows(db, /):
    rows = await db.all(sa.select(GalleryVideo).where(GalleryVideo.listed.is_(True)))
    tags = set(await db.all(sa.select(GalleryVideoTag.gallery_video_id)))
    return list(rows), tags


async def _private(db):
    living = sa.select(File.key).where(File.status == FileStatus.READY)
    earned = sa.select(Reward.id).where(Reward.kind == RewardKind.FIRST_PUBLISH)
    return set(await db.all(living)), len(await db.all(earned)), list(await db.all(sa.select(Outbox.type)))


async def _look(world, tenant):
    """Both sides, after everything that holds whatever was being done has been checked."""
    system = await world.system(tenant)
    rows, tagged = await system.on_system(_rows)
    private, _, untold = await system.on_pool(_private)
    assert untold == []
    assert tagged <= {row.id for row in rows}
    stored = {blob.key async for blob in world.house.service(Store).list("") if not blob.key.startswith("c/")}
    public = {key for row in rows for key in (row.output_key, row.thumbnail_key) if key}
    assert stored == public | private
    assert len(public) == 2 * len(rows)
    assert await system.on_pool(media.broken) is None
    assert await restart.complaints(world.house) == []
    return Seen(await system.on_pool(_places), {(row.id, row.title) for row in rows})


async def _film(world, ctx, effect, count=1):
    """READY videos with a real result and thumbnail, made by the worker."""
    videos = [(await studio.submit(ctx, effect, await studio.film(0.5))).video_id for _ in range(count)]
    await studio.work_off(world.house, "ai_job", "poster")
    for video_id in videos:
        video = await studio.the_video(ctx, video_id)
        assert video.status is VideoStatus.READY
        assert video.thumbnail_file_id is not None
    return videos


@pytest.fixture
async def ctx(world):
    alice = await world.tenant("alice")
    return await world.of(alice), alice.token, (await studio.catalog(world))["crop"]


@pytest.mark.slow
async def test_publishing_killed_at_any_step_shows_what_the_pool_says_after_a_restart(world, ctx):
    ctx, token, effect = ctx
    (video_id,) = await _film(world, ctx, effect)
    ends, seen = [], Seen(set(), set())
    async for _ in killing.each_kill(world.settings, publishing, token, ctx.tenant_id, video_id):
        await restart.settle(world.house)
        seen = await _look(world, ctx.tenant_id)
        ends.append(len(seen.listed))
        assert {place for place, _ in seen.listed} == {place for place, _ in seen.published}
        if seen.listed:
            await ctx.on_pool(gallery.unpublish_video, video_id)
            await ctx.on_pool(media.update_video, video_id, title="Night", tags=["Moon"])
    assert seen.listed == seen.published
    assert {title for _, title in seen.listed} == {"Dawn"}
    # Shown from the pool's commit on; nobody saw it before.
    assert ends == sorted(ends)
    assert set(ends) == {0, 1}
    assert len(ends) > 20
    _, earned, _ = await (await world.system(ctx.tenant_id)).on_pool(_private)
    assert earned == 1
    code, told = restart.doctor(world)
    assert code == 0, told


@pytest.mark.slow
async def test_unpublishing_killed_at_any_step_hides_it_after_a_restart_or_has_not_begun(world, ctx):
    ctx, token, effect = ctx
    (video_id,) = await _film(world, ctx, effect)
    await ctx.on_pool(gallery.publish_video, video_id)
    ends = []
    async for _ in killing.each_kill(world.settings, unpublishing, token, ctx.tenant_id, video_id):
        await restart.settle(world.house)
        seen = await _look(world, ctx.tenant_id)
        assert seen.listed == seen.published
        ends.append(len(seen.listed))
        if not seen.listed:
            await ctx.on_pool(gallery.publish_video, video_id)
    assert ends == sorted(ends, reverse=True)
    assert set(ends) == {0, 1}
    assert len(ends) > 10
    code, told = restart.doctor(world)
    assert code == 0, told


@pytest.mark.slow
async def test_deleting_a_published_video_killed_at_any_step_leaves_nothing_of_it_or_all(world, ctx):
    ctx, token, effect = ctx
    for video_id in await _film(world, ctx, effect, count=2):
        await ctx.on_pool(gallery.publish_video, video_id)
    left = []
    async for _ in killing.each_kill(world.settings, deleting, token, ctx.tenant_id):
        await restart.settle(world.house)
        seen = await _look(world, ctx.tenant_id)
        assert seen.listed == seen.published
        left.append(len(seen.listed))
        if len(seen.listed) == 1:
            await ctx.on_pool(gallery.publish_video, await _ready(ctx))
    assert set(left) == {1, 2}
    assert left == sorted(left, reverse=True)
    assert len(left) > 10
    code, told = restart.doctor(world)
    assert code == 0, told
