"""Reads length and thumbnail off the real file, where a worker that is not ours made it."""

import sqlalchemy as sa

from actions.jobs import folders, render
from actions.jobs.states import AiJobEnded
from actions.media import files, videos
from actions.media.files import Facts
from base.ids import Id
from db import work
from db.outbox import Envelope, receives
from db.session import PoolSession, SystemSession
from db.tables.pool.jobs import AiJobStatus
from db.tables.pool.media import File, FileStatus, Video
from outside import probe
from outside.confined import MediaError
from outside.store import Missing, Store, StoreUnavailable
from tenancy.context import Context
from tenancy.handlers import Alive, PutOff, handles

POSTER = "poster"


@receives(AiJobEnded)
async def ask_for_poster(ctx: Context, event: AiJobEnded, envelope: Envelope) -> None:
    """A job succeeded without a thumbnail: have one made of its output. Idempotent by the job."""
    if event.status == AiJobStatus.SUCCEEDED.name and event.video_id is not None and not event.has_poster:
        await ctx.on_system(_ask, event.video_id, envelope)


async def _ask(db: SystemSession, video_id: int, envelope: Envelope, /) -> None:
    await work.enqueue(db, POSTER, envelope.tenant, ref_id=video_id, generation=envelope.event_id)


@handles(POSTER, concurrent=1)
async def make_poster(ctx: Context, lease: work.Lease, _alive: Alive) -> None:
    """Length and thumbnail of a video's output, unless it has them. Idempotent: a second run finds them."""
    video_id: Id[Video] = Id(lease.ref_id)
    output = await ctx.on_pool(_without_poster, video_id)
    if output is None:
        return
    with folders.folder() as place:
        source, folder = place / "input", place / "still"
        folder.mkdir()
        try:
            await ctx.house.service(Store).fetch_to(output.key, source)
            seconds = (await probe.probe(source)).duration_seconds
            still = await render.thumbnail_of(ctx, source, folder)
        except (MediaError, Missing):
            return  # what the worker delivered has no picture to show; the video stays as it is
        except StoreUnavailable as error:
            raise PutOff(str(error), seconds=render.PUT_OFF_SECONDS) from error
    await ctx.on_pool(_give, video_id, output_file_id=output.id, still=still, seconds=seconds)


async def _without_poster(db: PoolSession, video_id: Id[Video], /) -> File | None:
    video = await db.first(sa.select(Video).where(Video.id == video_id, Video.deleted_at.is_(None)))
    if video is None or video.thumbnail_file_id is not None:
        return None
    return await db.first(sa.select(File).where(File.id == video.output_file_id, File.status == FileStatus.READY))


async def _give(
    db: PoolSession, video_id: Id[Video], /, *, output_file_id: Id[File], still: Facts, seconds: float
) -> None:
    video = await videos.locked(db, video_id)
    if video is not None and video.output_file_id == output_file_id and video.thumbnail_file_id is None:
        video.thumbnail_file_id = await files.add(db, still, user_id=video.user_id)
        video.duration_seconds = seconds
