"""Videos as their owner keeps them: made of an uploaded file, renamed, deleted with what was made of them.

Jobs, exports being made and the gallery follow by the event; they are younger areas.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import sqlalchemy as sa

from actions.media import files
from base import errors, texts
from base.ids import Id
from db import faults
from db.outbox import Event
from db.session import CentralSession, PoolSession
from db.tables.central.catalog import Effect
from db.tables.pool.media import Export, File, Video, VideoStatus
from tenancy.context import Context

TITLE_KEY_CHARACTERS_MAX = 400
SEARCH_TEXT_CHARACTERS_MAX = 10_000
FILMS = ("video/", "image/gif")


@dataclass(frozen=True, kw_only=True)
class VideoDeleted(Event):
    """A video is gone; `gallery_video_id` is set where it was published."""

    type: ClassVar[str] = "video.deleted"

    video_id: int
    user_id: int
    gallery_video_id: int | None

    @property
    def aggregate(self) -> str:
        """The video."""
        return about(self.video_id)


def about(video_id: int) -> str:
    """The aggregate of everything that is told of a video."""
    return f"video:{video_id:x}"


async def create_video(
    ctx: Context,
    title: str,
    input_file_id: Id[File],
    /,
    *,
    effect_id: Id[Effect] | None = None,
    tags: Sequence[str] | None = None,
) -> Id[Video]:
    """A new DRAFT of an uploaded file.

    1 central: whether the effect is there; 2 pool: the row. A crash after 1 leaves nothing. Raises Invalid,
    NotFound, Conflict (not uploaded yet).
    """
    words = Words.of(title, tags or [])
    if effect_id is not None:
        await ctx.on_central(_check_effect, effect_id)
    return await ctx.on_pool(make, words, input_file_id, effect_id=effect_id)


async def _check_effect(db: CentralSession, effect_id: Id[Effect], /) -> None:
    if await db.first(sa.select(Effect.id).where(Effect.id == effect_id, Effect.archived_at.is_(None))) is None:
        raise errors.NotFound("There is no Effect with this id.", "input", "effectId")


@dataclass(frozen=True, slots=True)
class Words:
    """A video's title and tags as they are kept, and the forms by which it is ordered and found."""

    title: str
    tags: list[str]

    @classmethod
    def of(cls, title: str, tags: Sequence[str]) -> "Words":
        """Checked. Raises Invalid."""
        return cls(texts.line(title, "input", "title"), texts.tags(tags, "input", "tags"))

    @property
    def title_key(self) -> str:
        """What orders by title: folding may make a text many times as long."""
        return texts.fold(self.title)[:TITLE_KEY_CHARACTERS_MAX]

    @property
    def search_text(self) -> str:
        """Title and tags a line each, so that no word is found across two of them."""
        return "\n".join(texts.fold(text) for text in (self.title, *self.tags))[:SEARCH_TEXT_CHARACTERS_MAX]


async def make(db: PoolSession, words: Words, input_file_id: Id[File], /, *, effect_id: Id[Effect] | None) -> Id[Video]:
    """The row of a new video, of a file that stays as long as it does."""
    file = await files.hold(db, input_file_id, "input", "inputFileId")
    if not file.mime_type.startswith(FILMS):
        raise errors.Invalid(f"A video is made of a video or a GIF, not of {file.mime_type}.", "input", "inputFileId")
    video = Video(
        id=db.new_id(),
        title=words.title,
        title_key=words.title_key,
        search_text=words.search_text,
        tags=words.tags,
        status=VideoStatus.DRAFT,
        effect_id=effect_id,
        input_file_id=file.id,
    )
    db.add(video)
    return video.id


async def locked(db: PoolSession, video_id: Id[Video], /) -> Video | None:
    """The living video, which nobody else changes before this transaction ends.

    Many changes of one video at once wait for each other; on engines whose locks are one node's own, what is then
    compared sends the later one back.
    """
    living = sa.select(Video).where(Video.id == video_id, Video.deleted_at.is_(None))
    return await db.first(living.with_for_update())


async def update_video(
    db: PoolSession, video_id: Id[Video], /, *, title: str | None = None, tags: Sequence[str] | None = None
) -> Id[Video]:
    """Rename a video or give it other tags; None leaves as it is. What is published stays until published again."""
    video = await locked(db, video_id)
    if video is None:
        raise errors.NotFound("There is no Video with this id.", "input", "id")
    words = Words.of(video.title if title is None else title, video.tags if tags is None else tags)
    met = await db.change(
        sa.update(Video)
        .where(Video.id == video_id, Video.updated_at == video.updated_at)
        .values(
            title=words.title,
            title_key=words.title_key,
            search_text=words.search_text,
            tags=words.tags,
        )
    )
    if not met:
        # search_text is made of both: the other half may have changed since it was read.
        raise faults.RunAgain
    return video_id


async def delete_video(db: PoolSession, video_id: Id[Video], /) -> None:
    """Delete a video with its output, thumbnail and exports; the uploaded file stays.

    The receivers of VideoDeleted cancel its job and take it out of the gallery. Raises NotFound.
    """
    video = await locked(db, video_id)
    if video is None or not await _mark_deleted(db, video):
        raise errors.NotFound("There is no Video with this id.", "id")
    made = [video.output_file_id, video.thumbnail_file_id, *await _drop_exports(db, video_id)]
    db.emit(VideoDeleted(video_id=video_id, user_id=video.user_id, gallery_video_id=video.gallery_video_id))
    await files.drop_made(db, [file_id for file_id in made if file_id is not None], about=about(video_id))


async def _mark_deleted(db: PoolSession, video: Video) -> bool:
    met = await db.change(
        sa.update(Video)
        .where(Video.id == video.id, Video.deleted_at.is_(None), Video.updated_at == video.updated_at)
        .values(deleted_at=db.now, input_file_id=None, output_file_id=None, thumbnail_file_id=None)
    )
    if met:
        return True
    still = await db.first(sa.select(Video.id).where(Video.id == video.id, Video.deleted_at.is_(None)))
    if still is not None:
        # A job gave it another output since it was read: that one has to go, too.
        raise faults.RunAgain
    return False


async def _drop_exports(db: PoolSession, video_id: Id[Video]) -> list[Id[File]]:
    exports = await db.tuples(sa.select(Export.id, Export.file_id).where(Export.video_id == video_id))
    file_ids = [row.file_id for row in exports if row.file_id is not None]
    as_read = sa.or_(Export.file_id.is_(None), Export.file_id.in_(file_ids))
    gone = await db.change(sa.delete(Export).where(Export.id.in_([row.id for row in exports]), as_read))
    if gone != len(exports):
        # One was finished since it was read: its file has to go, too.
        raise faults.RunAgain
    return file_ids
