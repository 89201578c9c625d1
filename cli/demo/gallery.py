"""The gallery's rows of the demo videos: the same few public files in many places, with dates and views to order by."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from actions.gallery import tag_keys
from actions.gallery.showing import search_text
from base.ids import Id
from cli.demo.media import SOURCE_NAME
from db.session import PoolSession, SystemSession
from db.tables.central.gallery import GalleryVideo, GalleryVideoTag
from db.tables.central.identity import Tenant
from db.tables.pool.media import File, Video
from db.zones import TenantState

if TYPE_CHECKING:
    from cli.demo.frame import Demo, Studio
    from tenancy.context import Context

AFTER = ("media",)
ROWS_A_TRANSACTION = 250
PUBLISHED_HOURS_MAX = 72


async def fill(demo: Demo) -> None:
    """Show every published demo video that has no place yet, as its receiver would have."""
    if demo.samples:
        await demo.over_studios("gallery", lambda studio, ctx: _fill(demo, studio, ctx))


async def _fill(demo: Demo, studio: Studio, ctx: Context) -> int:
    videos = await ctx.on_pool(_published)
    added = 0
    for start in range(0, len(videos), ROWS_A_TRANSACTION):
        added += await ctx.on_system(_show, demo, studio, videos[start : start + ROWS_A_TRANSACTION])
    return added


async def _published(db: PoolSession, /) -> Sequence[Video]:
    clips = sa.select(File.id).where(File.name.startswith(SOURCE_NAME))
    return await db.all(
        sa.select(Video)
        .where(Video.gallery_video_id.is_not(None), Video.deleted_at.is_(None), Video.input_file_id.in_(clips))
        .order_by(Video.id)
    )


async def _show(db: SystemSession, demo: Demo, studio: Studio, videos: Sequence[Video], /) -> int:
    db.act_for(tenant=studio.tenant_id)
    tenant = await db.first(sa.select(Tenant).where(Tenant.id == studio.tenant_id).with_for_update(read=True))
    ids = [video.gallery_video_id for video in videos]
    known = set(await db.all(sa.select(GalleryVideo.id).where(GalleryVideo.id.in_(ids))))
    fresh = [video for video in videos if video.gallery_video_id not in known]
    for video in fresh:
        db.add(_row(demo, studio, video, suspended=tenant is None or tenant.state is not TenantState.ACTIVE))
    await db.flush()
    for video in fresh:
        for key in tag_keys(video.tags):
            db.add(GalleryVideoTag(tag_key=key, gallery_video_id=video.gallery_video_id, tenant_id=studio.tenant_id))
    return len(fresh)


def _row(demo: Demo, studio: Studio, video: Video, /, *, suspended: bool) -> GalleryVideo:
    # By its age, so that the same is shown whatever the day.
    age = demo.today - video.created_at
    dice = demo.dice("shown", studio.number, video.title, int(age.total_seconds()))
    slugs = {effect_id: slug for slug, effect_id in demo.effects.items()}
    made_with = {sample.effect: sample for sample in demo.samples}
    sample = made_with.get(slugs.get(video.effect_id or 0, "")) or dice.choice(demo.samples)
    later = dice.random() * min(age, timedelta(hours=PUBLISHED_HOURS_MAX))
    return GalleryVideo(
        id=video.gallery_video_id,
        tenant_id=studio.tenant_id,
        title=video.title,
        tags=video.tags,
        effect_id=video.effect_id,
        output_key=sample.output.key,
        thumbnail_key=sample.thumbnail.key,
        duration_seconds=sample.seconds,
        published_at=video.created_at + later,
        view_count=int(dice.paretovariate(0.9) * 3),
        visible=True,
        suspended=suspended,
        listed=not suspended,
        # Older than any event that is yet to be told of this place.
        event_id=Id(video.gallery_video_id or 0),
        search_text=search_text(video.title, video.tags),
    )
