"""An AI job's life in its pool: begin, progress, complete, fail, cancel; each a compare-and-set on status and attempt.

Tokens are reserved when a job is queued, consumed when it succeeds and released otherwise, each
once, in the transaction that changes its state. Late and double calls change nothing and say so.
"""

from dataclasses import dataclass
from typing import ClassVar

import sqlalchemy as sa

from actions import wallet
from actions.media import files, videos
from actions.media.files import Facts
from actions.wallet import Cause
from base.ids import Id
from db.outbox import Event
from db.session import PoolSession
from db.tables.central.catalog import Effect
from db.tables.pool.jobs import AiJob, AiJobStatus
from db.tables.pool.media import File, FileStatus, Video, VideoStatus

UNFINISHED = (AiJobStatus.QUEUED, AiJobStatus.RUNNING)
ATTEMPTS_MAX = 3
MESSAGE_CHARACTERS_MAX = 1_000
LOST = "The workers that began this job did not come back. Nothing was charged; you may submit it again."


@dataclass(frozen=True, kw_only=True)
class AiJobEnded(Event):
    """A job reached its final state: `status` is an AiJobStatus by name; `has_poster`: its video got a thumbnail."""

    type: ClassVar[str] = "ai_job.ended"

    ai_job_id: int
    user_id: int
    video_id: int | None
    effect_id: int | None
    output_file_id: int | None
    status: str
    has_poster: bool = False

    @property
    def aggregate(self) -> str:
        """Its job."""
        return f"ai_job:{self.ai_job_id:x}"


@dataclass(frozen=True, kw_only=True)
class VideoReady(Event):
    """A video got a new result, made by a job."""

    type: ClassVar[str] = "video.ready"

    video_id: int
    user_id: int
    ai_job_id: int
    effect_id: int | None
    title: str
    duration_seconds: float | None

    @property
    def aggregate(self) -> str:
        """The video."""
        return videos.about(self.video_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What a worker needs to know of the job it has begun."""

    ai_job_id: Id[AiJob]
    user_id: int
    attempt: int
    effect_id: Id[Effect] | None
    params: dict[str, object]
    input_key: str
    input_mime: str
    input_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a job has made of the video: our own object, or the READY file of a worker that is not ours.

    A length of None is not known yet.
    """

    output: Facts | Id[File]
    thumbnail: Facts | None = None
    duration_seconds: float | None = None


async def begin(db: PoolSession, ai_job_id: Id[AiJob], /, *, attempt: int) -> Begun | None:
    """The attempt begins: RUNNING, without what an earlier one left. None where the job is final or has a newer one."""
    won = await db.change(
        sa.update(AiJob)
        .where(AiJob.id == ai_job_id, AiJob.status.in_(UNFINISHED), AiJob.attempts <= attempt)
        .values(
            status=AiJobStatus.RUNNING,
            attempts=attempt,
            progress=0.0,
            started_at=sa.func.coalesce(AiJob.started_at, db.now),
            updated_at=db.now,
        )
    )
    job = await db.first(sa.select(AiJob).where(AiJob.id == ai_job_id).execution_options(populate_existing=True))
    if not won or job is None:
        return None
    await _drop_output(db, job)
    _tell(db, ai_job_id)
    file = await db.first(sa.select(File).where(File.id == job.input_file_id, File.status == FileStatus.READY))
    if file is None:
        # The video and then its file were deleted before anybody began.
        await fail(db, ai_job_id, attempt=attempt, message="The video's file is gone.", retry=False)
        return None
    return Begun(
        ai_job_id=job.id,
        user_id=job.user_id,
        attempt=attempt,
        effect_id=job.effect_id,
        params=job.params,
        input_key=file.key,
        input_mime=file.mime_type,
        input_name=file.name,
    )


async def progress(db: PoolSession, ai_job_id: Id[AiJob], /, *, attempt: int, done: float) -> bool:
    """Note how far the attempt is (0.0–1.0). False where it is not this attempt's job any more."""
    met = await db.change(
        sa.update(AiJob).where(*_running(ai_job_id, attempt)).values(progress=min(1.0, max(0.0, done)))
    )
    if met:
        _tell(db, ai_job_id)
    return bool(met)


async def expect(db: PoolSession, ai_job_id: Id[AiJob], file_id: Id[File], /, *, attempt: int) -> bool:
    """The attempt's worker uploads its result as this file, instead of one before. Where it is lost the file goes."""
    # A write that changes nothing locks the row before it is read.
    held = sa.update(AiJob).where(*_running(ai_job_id, attempt)).values(attempts=attempt)
    job = await db.first(sa.select(AiJob).where(AiJob.id == ai_job_id)) if await db.change(held) else None
    if job is None:
        await files.drop(db, [file_id], about=f"file:{file_id:x}")
        return False
    await _drop_output(db, job)
    job.output_file_id = file_id
    return True


async def wait(db: PoolSession, ai_job_id: Id[AiJob], /, *, attempt: int) -> bool:
    """Back to QUEUED, whatever this attempt or an earlier one had; who may try when is the lease's business."""
    if not await db.change(
        sa.update(AiJob)
        .where(AiJob.id == ai_job_id, AiJob.status == AiJobStatus.RUNNING, AiJob.attempts <= attempt)
        .values(status=AiJobStatus.QUEUED, progress=0.0, updated_at=db.now)
    ):
        return False
    _tell(db, ai_job_id)
    job = await db.first(sa.select(AiJob).where(AiJob.id == ai_job_id).execution_options(populate_existing=True))
    if job is not None:
        await _drop_output(db, job)
    return True


async def complete(db: PoolSession, ai_job_id: Id[AiJob], /, *, attempt: int, result: Result) -> bool:
    """SUCCEEDED: the tokens are consumed and the video gets its output. False for a late or double call.

    Raises Conflict or NotFound where a worker's file was deleted meanwhile.
    """
    if not isinstance(result.output, Facts):
        # Locked before it is used: its owner may delete any file that no video has.
        await files.hold(db, result.output, "leaseToken")
    video = await _video(db, ai_job_id)
    if video is None:
        # Its deletion was first: what is told of it has the job canceled, and nothing is paid for nothing.
        await cancel(db, ai_job_id)
        return False
    ended = await _end(db, ai_job_id, AiJobStatus.SUCCEEDED, where=_running(ai_job_id, attempt))
    if ended is None:
        return False
    await wallet.consume(
        db,
        ended.tokens_reserved,
        cause=Cause(key=f"job:{ai_job_id}:consume", user_id=ended.user_id, ai_job_id=ai_job_id),
    )
    ended.tokens_consumed, ended.progress = ended.tokens_reserved, 1.0
    output = result.output
    ended.output_file_id = await files.add(db, output, user_id=ended.user_id) if isinstance(output, Facts) else output
    await replace_files(db, video, ended=ended, thumbnail=result.thumbnail)
    video.effect_id, video.status = ended.effect_id, VideoStatus.READY
    video.duration_seconds = result.duration_seconds
    _emit_ended(db, ended, has_poster=result.thumbnail is not None)
    _emit_ready(db, video, ended)
    return True


async def fail(db: PoolSession, ai_job_id: Id[AiJob], /, *, attempt: int, message: str, retry: bool) -> bool:
    """The attempt failed: QUEUED again while attempts are left, else FAILED and the tokens released."""
    if retry and attempt < ATTEMPTS_MAX:
        return await wait(db, ai_job_id, attempt=attempt)
    video = await _video(db, ai_job_id)
    unfinished = (AiJob.id == ai_job_id, AiJob.status.in_(UNFINISHED), AiJob.attempts <= attempt)
    ended = await _end(db, ai_job_id, AiJobStatus.FAILED, where=unfinished)
    if ended is None:
        return False
    ended.error_message = " ".join(message.split())[:MESSAGE_CHARACTERS_MAX]
    await _release(db, ended, video, otherwise=VideoStatus.FAILED)
    return True


async def cancel(db: PoolSession, ai_job_id: Id[AiJob], /) -> bool:
    """CANCELED, the tokens released. False where the job was final already."""
    video = await _video(db, ai_job_id)
    unfinished = (AiJob.id == ai_job_id, AiJob.status.in_(UNFINISHED))
    ended = await _end(db, ai_job_id, AiJobStatus.CANCELED, where=unfinished)
    if ended is None:
        return False
    await _release(db, ended, video, otherwise=VideoStatus.DRAFT)
    return True


async def replace_files(db: PoolSession, video: Video, /, *, ended: AiJob, thumbnail: Facts | None) -> None:
    """Give a video its new output and thumbnail; the ones it had go."""
    old = {video.output_file_id, video.thumbnail_file_id} - {None, ended.output_file_id}
    video.output_file_id = ended.output_file_id
    video.thumbnail_file_id = None if thumbnail is None else await files.add(db, thumbnail, user_id=ended.user_id)
    await db.flush()
    await files.drop_made(db, [file_id for file_id in old if file_id is not None], about=videos.about(video.id))


def _running(ai_job_id: Id[AiJob], attempt: int) -> tuple[sa.ColumnElement[bool], ...]:
    return (AiJob.id == ai_job_id, AiJob.status == AiJobStatus.RUNNING, AiJob.attempts == attempt)


async def _end(
    db: PoolSession, ai_job_id: Id[AiJob], status: AiJobStatus, /, *, where: tuple[sa.ColumnElement[bool], ...]
) -> AiJob | None:
    met = await db.change(sa.update(AiJob).where(*where).values(status=status, finished_at=db.now, updated_at=db.now))
    if not met:
        return None
    _tell(db, ai_job_id)
    return await db.first(sa.select(AiJob).where(AiJob.id == ai_job_id).execution_options(populate_existing=True))


async def _release(db: PoolSession, ended: AiJob, video: Video | None, /, *, otherwise: VideoStatus) -> None:
    cause = Cause(key=f"job:{ended.id}:release", user_id=ended.user_id, ai_job_id=ended.id)
    await wallet.release(db, ended.tokens_reserved, cause=cause)
    await _drop_output(db, ended)
    if video is not None:
        video.status = VideoStatus.READY if video.output_file_id is not None else otherwise
    _emit_ended(db, ended)


async def _drop_output(db: PoolSession, job: AiJob) -> None:
    """What a worker uploaded for an attempt that came to nothing goes, and its bytes leave the quota."""
    if job.output_file_id is not None:
        dropped, job.output_file_id = job.output_file_id, None
        await db.flush()
        await files.drop_made(db, [dropped], about=f"file:{dropped:x}")


async def _video(db: PoolSession, ai_job_id: Id[AiJob]) -> Video | None:
    # Locked before the job, as submitting does; deleting it meanwhile has to see the output that it gets.
    video_id = await db.first(sa.select(AiJob.video_id).where(AiJob.id == ai_job_id))
    living = sa.select(Video).where(Video.id == video_id, Video.deleted_at.is_(None))
    return await db.first(living.with_for_update().execution_options(populate_existing=True))


def _emit_ended(db: PoolSession, job: AiJob, *, has_poster: bool = False) -> None:
    db.emit(
        AiJobEnded(
            ai_job_id=job.id,
            user_id=job.user_id,
            video_id=job.video_id,
            effect_id=job.effect_id,
            output_file_id=job.output_file_id,
            status=job.status.name,
            has_poster=has_poster,
        )
    )


def _emit_ready(db: PoolSession, video: Video, job: AiJob) -> None:
    db.emit(
        VideoReady(
            video_id=video.id,
            user_id=video.user_id,
            ai_job_id=job.id,
            effect_id=job.effect_id,
            title=video.title,
            duration_seconds=video.duration_seconds,
        )
    )


def _tell(db: PoolSession, ai_job_id: Id[AiJob]) -> None:
    db.tell("ai_job", f"{db.tenant}:{ai_job_id}")
