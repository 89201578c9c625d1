"""Files and videos of the caller."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa

from actions import media
from base.ids import GlobalId, Id
from db.session import CentralSession
from db.tables.central.catalog import Effect as EffectTable
from db.tables.pool import media as tables
from execution.access import member
from execution.declare import FIRST_DEFAULT, After, Connection, Doc, First, mutation, page, query
from resolvers import search
from resolvers.payload import payload, row
from schema.media import (
    CreateUploadInput,
    CreateUploadPayload,
    CreateVideoInput,
    File,
    FilePayload,
    UpdateVideoInput,
    Video,
    VideoFilter,
    VideoOrder,
    VideoPayload,
)
from schema.payloads import DeletePayload
from tenancy.context import Context

NO_ID: Id[EffectTable] = Id(0)  # no row has it, so an unknown effect fits no video

ORDERS = {
    VideoOrder.NEWEST: ("-created_at",),
    VideoOrder.OLDEST: ("created_at",),
    VideoOrder.TITLE: ("title_key",),
}


@query(member, cost=5)
async def videos(
    ctx: Context,
    first: First = FIRST_DEFAULT,
    *,
    after: After = None,
    filter: Annotated[VideoFilter | None, Doc("Which videos; null: all.")] = None,
    order_by: Annotated[VideoOrder | None, Doc("In which order; null: NEWEST.")] = VideoOrder.NEWEST,
) -> Connection[Video]:
    """The caller's videos, newest first unless told otherwise."""
    where = () if filter is None else await _fits(ctx, filter)
    return page(Video, first=first, after=after, where=where, order=ORDERS[order_by or VideoOrder.NEWEST])


@query(member)
async def video(id: Annotated[GlobalId, Doc("The video's id.")]) -> Video | None:
    """One of the caller's videos."""
    return row(Video, id.of(tables.Video))


@query(member, cost=5)
async def files(first: First = FIRST_DEFAULT, after: After = None) -> Connection[File]:
    """The caller's files that are not deleted, newest first."""
    where = [tables.File.status != tables.FileStatus.DELETED]
    return page(File, first=first, after=after, where=where)


@mutation(member)
async def create_upload(
    ctx: Context, input: Annotated[CreateUploadInput, Doc("What is going to be uploaded.")]
) -> CreateUploadPayload:
    """Ask for a place to PUT a file's bytes."""
    new = await media.create_upload(ctx, input.name, input.mime_type, size_bytes=input.size_bytes, sha256=input.sha256)
    return CreateUploadPayload(file=row(File, new.file_id), upload_url=new.url, upload_headers=new.headers)


@mutation(member, cost=20)
async def complete_upload(
    ctx: Context, file_id: Annotated[GlobalId, Doc("What createUpload answered.")]
) -> FilePayload:
    """Say that the bytes are there: size and type are checked, then the file is READY."""
    return await payload(FilePayload, media.complete_upload(ctx, file_id.of(tables.File)))


@mutation(member)
async def delete_file(ctx: Context, id: Annotated[GlobalId, Doc("The file; no video may use it.")]) -> DeletePayload:
    """Delete a file and its bytes."""
    return await payload(DeletePayload, media.delete_file(ctx, id.of(tables.File)), deleted_id=id)


@mutation(member, cost=20)
async def create_video(ctx: Context, input: Annotated[CreateVideoInput, Doc("What it is made of.")]) -> VideoPayload:
    """Make a video of a READY file."""
    doing = media.create_video(
        ctx,
        input.title,
        input.input_file_id.of(tables.File),
        effect_id=None if input.effect_id is None else input.effect_id.of(EffectTable),
        tags=input.tags,
    )
    return await payload(VideoPayload, doing)


@mutation(member)
async def update_video(ctx: Context, input: Annotated[UpdateVideoInput, Doc("What changes.")]) -> VideoPayload:
    """Change a video's title or tags."""
    doing = ctx.on_pool(media.update_video, input.id.of(tables.Video), title=input.title, tags=input.tags)
    return await payload(VideoPayload, doing)


@mutation(member)
async def delete_video(ctx: Context, id: Annotated[GlobalId, Doc("The video.")]) -> DeletePayload:
    """Delete a video; it leaves the gallery too."""
    return await payload(DeletePayload, ctx.on_pool(media.delete_video, id.of(tables.Video)), deleted_id=id)


async def _fits(ctx: Context, asked: VideoFilter) -> list[sa.ColumnElement[bool] | None]:
    video = tables.Video
    where = [
        None if asked.status is None else video.status == asked.status,
        None
        if asked.is_published is None
        else (video.gallery_video_id.is_not(None) if asked.is_published else video.gallery_video_id.is_(None)),
        search.has_words(video.search_text, asked.search),
    ]
    if asked.effect_slug is not None:
        # Effects are in central, so the slug is looked up first.
        effect_id = await ctx.on_central(_effect_id, asked.effect_slug)
        where.append(video.effect_id == (effect_id or NO_ID))
    return where


async def _effect_id(db: CentralSession, slug: str, /) -> Id[EffectTable] | None:
    return await db.first(sa.select(EffectTable.id).where(search.has_slug(EffectTable.slug, slug)))
