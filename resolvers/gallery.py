"""The public gallery, and publishing into it."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa

from actions import gallery as gallery_actions
from base.ids import GlobalId
from db.tables.central import gallery as tables
from db.tables.central.catalog import Effect as EffectTable
from db.tables.pool.media import Video as VideoTable
from execution.access import member, public
from execution.declare import FIRST_DEFAULT, After, Connection, Doc, First, mutation, page, query
from resolvers import catalog, search
from resolvers.payload import known, payload, row
from schema.gallery import GalleryFilter, GalleryOrder, GalleryVideo, GalleryVideoPayload
from schema.media import VideoPayload
from tenancy.context import Context

ORDERS = {GalleryOrder.NEWEST: ("-published_at",), GalleryOrder.MOST_VIEWED: ("-view_count",)}


@query(public, cost=5)
async def gallery(
    first: First = FIRST_DEFAULT,
    *,
    after: After = None,
    filter: Annotated[GalleryFilter | None, Doc("Which videos; null: all.")] = None,
    order_by: Annotated[GalleryOrder | None, Doc("In which order; null: NEWEST.")] = GalleryOrder.NEWEST,
) -> Connection[GalleryVideo]:
    """Published videos of all tenants, newest first unless told otherwise."""
    where = _fits(filter or GalleryFilter())
    return page(GalleryVideo, first=first, after=after, where=where, order=ORDERS[order_by or GalleryOrder.NEWEST])


@query(public)
async def gallery_video(id: Annotated[GlobalId, Doc("Its id in the gallery.")]) -> GalleryVideo | None:
    """One published video."""
    return row(GalleryVideo, id.of(tables.GalleryVideo))


@mutation(member, cost=20)
async def publish_video(
    ctx: Context, id: Annotated[GlobalId, Doc("A READY video of the caller.")]
) -> GalleryVideoPayload:
    """Put a video into the public gallery; again: show it as it is now."""
    return GalleryVideoPayload(gallery_video=_published(await gallery_actions.publish(ctx, id.of(VideoTable))))


@mutation(member)
async def unpublish_video(
    ctx: Context, id: Annotated[GlobalId, Doc("A published video of the caller.")]
) -> VideoPayload:
    """Take a video out of the public gallery."""
    return await payload(VideoPayload, ctx.on_pool(gallery_actions.unpublish_video, id.of(VideoTable)))


@mutation(public, cost=2)
async def record_view(
    ctx: Context, gallery_video_id: Annotated[GlobalId, Doc("What was watched.")]
) -> GalleryVideoPayload:
    """Count a view: one a viewer, or address, and hour."""
    doing = gallery_actions.record_view(ctx, gallery_video_id.of(tables.GalleryVideo))
    return await payload(GalleryVideoPayload, doing)


def _published(done: gallery_actions.Published) -> GalleryVideo | None:
    """What the gallery shows; while it cannot be asked, what it was told."""
    if done.is_shown:
        return row(GalleryVideo, done.id)
    told = done.snapshot
    values = {
        "id": done.id,
        "tenant_id": done.tenant_id,
        "title": told.title,
        "tags": told.tags,
        "effect_id": told.effect_id,
        "output_key": told.output_key,
        "thumbnail_key": told.thumbnail_key,
        "duration_seconds": told.duration_seconds,
        "published_at": told.published_at,
        "view_count": 0,
    }
    return known(GalleryVideo, values)


def _fits(asked: GalleryFilter) -> list[sa.ColumnElement[bool] | None]:
    video, tag = tables.GalleryVideo, tables.GalleryVideoTag
    tagged = [
        video.id.in_(sa.select(tag.gallery_video_id).where(tag.tag_key == key))
        for key in gallery_actions.tag_keys(search.all_of(asked.tags, "tags"))
    ]
    wanted = []
    if asked.effect_slug is not None:
        wanted.append(search.has_slug(EffectTable.slug, asked.effect_slug))
    if asked.category_slug is not None:
        wanted.append(catalog.of_category(asked.category_slug))
    return [
        *tagged,
        video.effect_id.in_(sa.select(EffectTable.id).where(*wanted)) if wanted else None,
        None if asked.tenant_slug is None else search.has_slug(video.tenant_id, asked.tenant_slug),
        search.has_words(video.search_text, asked.search),
    ]
