"""Publishing and unpublishing as the tenant's pool knows it: the video's place in the gallery and what is told of it.

What the gallery makes of the events is in `showing.py`; nothing of the gallery's own is read or written here.
"""

import asyncio
import secrets
import time
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

import sqlalchemy as sa

from actions.media import videos
from base import errors
from base.ids import Id
from db import faults
from db.outbox import Event
from db.session import CentralSession, PoolSession
from db.tables.central.gallery import GalleryVideo
from db.tables.pool.media import File, FileStatus, Video, VideoStatus
from db.zones import TenantId
from outside import blob
from tenancy.context import DELIVERY_SECONDS_MAX, Context

EXTENSIONS = {mime_type: extension for extension, mime_type in blob.PUBLIC_TYPES.items()}
KEY_BYTES = 16
ASK_SECONDS_MIN = 0.2


@dataclass(frozen=True, kw_only=True)
class VideoPublished(Event):
    """A video is to be seen as it is now: the snapshot, its files in the store, and the public keys drawn for them."""

    type: ClassVar[str] = "video.published"

    video_id: int
    user_id: int
    gallery_video_id: int
    published_at: datetime
    title: str
    tags: list[str]
    effect_id: int | None
    duration_seconds: float | None
    output_source: str
    output_key: str
    thumbnail_source: str | None
    thumbnail_key: str | None

    @property
    def aggregate(self) -> str:
        """The video."""
        return videos.about(self.video_id)

    def copies(self) -> list[tuple[str, str]]:
        """(private key, public key) of what is shown."""
        made = [(self.output_source, self.output_key)]
        if self.thumbnail_source is not None and self.thumbnail_key is not None:
            made.append((self.thumbnail_source, self.thumbnail_key))
        return made


@dataclass(frozen=True, kw_only=True)
class VideoUnpublished(Event):
    """A video is to be seen no more. Final for this place in the gallery: published again, it gets another."""

    type: ClassVar[str] = "video.unpublished"

    video_id: int
    user_id: int
    gallery_video_id: int

    @property
    def aggregate(self) -> str:
        """The video."""
        return videos.about(self.video_id)


@dataclass(frozen=True, slots=True)
class Published:
    """A publication: its place in the gallery, what was told of it, and whether the gallery has shown it already."""

    id: Id[GalleryVideo]
    tenant_id: TenantId
    snapshot: VideoPublished
    is_shown: bool


async def publish(ctx: Context, video_id: Id[Video], /) -> Published:
    """Publish a video and see whether the gallery shows it, which is waited for 2 s and little more.

    1 one pool transaction: `publish_video`; 2 the receiver of VideoPublished copies the files and writes the
    gallery's row; 3 central is asked for that row. A crash after 1 leaves the event to the relay. Central
    being down is no failure: `is_shown` is False then, and the snapshot says all that will be seen.
    """
    until = time.monotonic() + DELIVERY_SECONDS_MAX
    snapshot = await ctx.on_pool(_publish, video_id)
    gallery_id: Id[GalleryVideo] = Id(snapshot.gallery_video_id)
    try:
        async with asyncio.timeout(max(ASK_SECONDS_MIN, until - time.monotonic())):
            shown = await ctx.on_central(_shows, snapshot)
    except (TimeoutError, errors.CentralUnavailable):
        shown = False
    return Published(gallery_id, ctx.tenant_id, snapshot, shown)


async def publish_video(db: PoolSession, video_id: Id[Video], /) -> Id[GalleryVideo]:
    """Put a READY video into the public gallery; again: show it as it is now.

    The place in the gallery is kept while the video is published; the keys of its public files are drawn
    anew each time. Raises NotFound, Conflict (not READY).
    """
    return Id((await _publish(db, video_id)).gallery_video_id)


async def unpublish_video(db: PoolSession, video_id: Id[Video], /) -> Id[Video]:
    """Take a video out of the gallery. Raises NotFound, Conflict (it is not published)."""
    video = await _video(db, video_id)
    if video.gallery_video_id is None:
        raise errors.Conflict("This video is not published.", "id")
    await _place(db, video, None)
    db.emit(VideoUnpublished(video_id=video_id, user_id=video.user_id, gallery_video_id=video.gallery_video_id))
    return video_id


async def _publish(db: PoolSession, video_id: Id[Video], /) -> VideoPublished:
    video = await _video(db, video_id)
    if video.status is not VideoStatus.READY:
        raise errors.Conflict(f"Only a READY video is published; this one is {video.status.name}.", "id")
    output = await _ready(db, video.output_file_id)
    if output is None:
        raise errors.Conflict("This video has no result to publish.", "id")
    output_key = _public_key(output)
    if output_key is None:
        raise errors.Conflict(f"What is of type {output.mime_type} cannot be published.", "id")
    thumbnail = await _ready(db, video.thumbnail_file_id)
    thumbnail_key = None if thumbnail is None else _public_key(thumbnail)
    gallery_id = video.gallery_video_id or db.new_id()
    await _place(db, video, gallery_id)
    told = VideoPublished(
        video_id=video.id,
        user_id=video.user_id,
        gallery_video_id=gallery_id,
        published_at=db.now,
        title=video.title,
        tags=video.tags,
        effect_id=video.effect_id,
        duration_seconds=video.duration_seconds,
        output_source=output.key,
        output_key=output_key,
        thumbnail_source=None if thumbnail is None else thumbnail.key,
        thumbnail_key=thumbnail_key,
    )
    db.emit(told)
    return told


async def _video(db: PoolSession, video_id: Id[Video]) -> Video:
    video = await videos.locked(db, video_id)
    if video is None:
        raise errors.NotFound("There is no Video with this id.", "id")
    return video


async def _place(db: PoolSession, video: Video, gallery_id: Id[GalleryVideo] | None) -> None:
    """Note the place in the gallery; runs again where a job or a deletion changed the video since it was read."""
    met = await db.change(
        sa.update(Video)
        .where(Video.id == video.id, Video.deleted_at.is_(None), Video.updated_at == video.updated_at)
        .values(gallery_video_id=gallery_id)
    )
    if not met:
        raise faults.RunAgain


async def _ready(db: PoolSession, file_id: Id[File] | None) -> File | None:
    if file_id is None:
        return None
    return await db.first(sa.select(File).where(File.id == file_id, File.status == FileStatus.READY))


def _public_key(file: File) -> str | None:
    """A public key that nobody guesses, None for what players do not know; its ending tells the type."""
    extension = EXTENSIONS.get(file.mime_type)
    return None if extension is None else f"public/{secrets.token_hex(KEY_BYTES)}.{extension}"


async def _shows(db: CentralSession, snapshot: VideoPublished, /) -> bool:
    row = sa.select(GalleryVideo.id).where(
        GalleryVideo.id == snapshot.gallery_video_id, GalleryVideo.output_key == snapshot.output_key
    )
    return await db.first(row) is not None
