"""Queueing and canceling AI jobs; what then runs them is in `render.py` (ours) and `outside_workers.py`."""

from dataclasses import dataclass
from typing import ClassVar

import sqlalchemy as sa

from actions import wallet
from actions.jobs import states
from actions.media import videos
from actions.wallet import Cause
from base import errors
from base.ids import Id
from db import faults, work
from db.outbox import Envelope, Event, receives
from db.session import CentralSession, PoolSession, SystemSession
from db.tables.central.catalog import Algorithm, Effect
from db.tables.pool.jobs import AiJob, AiJobStatus
from db.tables.pool.media import File, FileStatus, Video, VideoStatus
from outside import graphs
from tenancy.context import Context

AI_JOB = "ai_job"
KEY_CHARACTERS_MAX = 200


@dataclass(frozen=True, kw_only=True)
class AiJobQueued(Event):
    """A job waits for a worker that can carry out `algorithm` (its slug)."""

    type: ClassVar[str] = "ai_job.queued"

    ai_job_id: int
    algorithm: str

    @property
    def aggregate(self) -> str:
        """Its job."""
        return f"ai_job:{self.ai_job_id:x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be done and for how many tokens, checked against the catalog."""

    effect_id: Id[Effect]
    algorithm: str
    token_cost: int
    params: dict[str, object]


async def submit_ai_job(
    ctx: Context,
    video_id: Id[Video],
    effect_id: Id[Effect],
    /,
    *,
    idempotency_key: str | None = None,
    params: object = None,
) -> Id[AiJob]:
    """Apply an effect to a video, for tokens.

    1 central checks effect and params; 2 one pool transaction reserves the tokens, marks the video and
    queues the job with its event; 3 the event's receiver puts the work before workers. A crash after 2
    leaves the event to the relay. Idempotent by the caller's key, also where the effect is gone by now.
    """
    # Engines disagree on blanks at the end of a text: a key has none, so that one key is one key everywhere.
    if idempotency_key is not None and not (
        0 < len(idempotency_key) <= KEY_CHARACTERS_MAX and idempotency_key == idempotency_key.strip()
    ):
        told = f"A key has 1 to {KEY_CHARACTERS_MAX} characters and no blanks around them."
        raise errors.Invalid(told, "input", "idempotencyKey")
    try:
        order = await ctx.on_central(_order, effect_id, params)
    except errors.NotFound:
        known = None if idempotency_key is None else await ctx.on_pool(_known, idempotency_key)
        if known is None or (known.video_id, known.effect_id) != (video_id, effect_id):
            raise
        return known.id
    return await ctx.on_pool(queue, video_id, order, key=idempotency_key)


async def _order(db: CentralSession, effect_id: Id[Effect], params: object, /) -> Order:
    found = await db.tuples(
        sa.select(Effect, Algorithm.slug)
        .join(Algorithm, Algorithm.id == Effect.algorithm_id)
        .where(Effect.id == effect_id, Effect.archived_at.is_(None))
    )
    if not found:
        raise errors.NotFound("There is no Effect with this id.", "input", "effectId")
    effect, algorithm = found[0]
    try:
        values = graphs.check_params(graphs.parse_parameters(effect.parameters), params)
    except graphs.InvalidParameter as refused:
        raise errors.Invalid(str(refused), "input", "params", *filter(None, [refused.name])) from None
    return Order(effect_id=effect.id, algorithm=algorithm, token_cost=effect.token_cost, params=dict(values))


async def queue(db: PoolSession, video_id: Id[Video], order: Order, /, *, key: str | None) -> Id[AiJob]:
    """Reserve the tokens and queue the job. Raises NotFound, Conflict (video busy, key reused), InsufficientTokens."""
    # The video before the key: who sees it busy sees the job, too, that another call of this key has queued.
    video = await videos.locked(db, video_id)
    known = None if key is None else await _known(db, key)
    if known is not None:
        return _same(known, video_id, order)
    if video is None:
        raise errors.NotFound("There is no Video with this id.", "input", "videoId")
    file = await db.first(sa.select(File).where(File.id == video.input_file_id, File.status == FileStatus.READY))
    if file is None:
        raise errors.Conflict("The video's file is not uploaded.", "input", "videoId")
    if video.status is VideoStatus.PROCESSING:
        raise errors.Conflict("The video has an unfinished job: wait for it or cancel it.", "input", "videoId")
    if not await db.change(
        sa.update(Video)
        .where(Video.id == video_id, Video.status == video.status, Video.deleted_at.is_(None))
        .values(status=VideoStatus.PROCESSING, updated_at=db.now)
    ):
        # Somebody was faster since it was read, perhaps with this very key: the next run finds what they did.
        raise faults.RunAgain
    job_id: Id[AiJob] = db.new_id()
    job = AiJob(
        id=job_id,
        user_id=video.user_id,
        video_id=video_id,
        effect_id=order.effect_id,
        status=AiJobStatus.QUEUED,
        tokens_reserved=order.token_cost,
        params=order.params,
        input_file_id=file.id,
        idempotency_key=key or f"#{job_id:x}",
    )
    if not await db.insert_once(job):
        # The same key came in twice at the same moment: the loser runs again and finds the winner's job.
        raise faults.RunAgain
    cause = Cause(key=f"job:{job_id}:reserve", user_id=video.user_id, ai_job_id=job_id)
    await wallet.reserve(db, order.token_cost, cause=cause)
    db.emit(AiJobQueued(ai_job_id=job_id, algorithm=order.algorithm))
    db.tell("ai_job", f"{db.tenant}:{job_id}")
    return job_id


async def _known(db: PoolSession, key: str, /) -> AiJob | None:
    return await db.first(sa.select(AiJob).where(AiJob.idempotency_key == key))


def _same(known: AiJob, video_id: Id[Video], order: Order) -> Id[AiJob]:
    if (known.video_id, known.effect_id, known.params) != (video_id, order.effect_id, order.params):
        raise errors.Conflict("This key was used with another input.", "input", "idempotencyKey")
    return known.id


async def cancel_ai_job(ctx: Context, ai_job_id: Id[AiJob], /) -> Id[AiJob]:
    """Stop a job and release its tokens; a job that has ended is a Conflict.

    1 one pool transaction; 2 the event's receiver takes the work from the workers. A crash after 1 leaves
    the event to the relay; a worker that goes on meanwhile is told at its next heartbeat.
    """
    await ctx.on_pool(_cancel, ai_job_id)
    return ai_job_id


async def _cancel(db: PoolSession, ai_job_id: Id[AiJob], /) -> None:
    if not await states.cancel(db, ai_job_id):
        job = await db.get_one(AiJob, ai_job_id, "id")
        raise errors.Conflict(f"The job has ended: it is {job.status.name}.", "id")


@receives(videos.VideoDeleted)
async def cancel_of_deleted(ctx: Context, event: videos.VideoDeleted, _envelope: Envelope) -> None:
    """A video is gone: its unfinished job is canceled and its tokens released. Idempotent."""
    await ctx.on_pool(_cancel_of_video, Id(event.video_id))


async def _cancel_of_video(db: PoolSession, video_id: Id[Video], /) -> None:
    unfinished = sa.select(AiJob.id).where(AiJob.video_id == video_id, AiJob.status.in_(states.UNFINISHED))
    for job_id in await db.all(unfinished):
        await states.cancel(db, job_id)


@receives(AiJobQueued)
async def offer(ctx: Context, event: AiJobQueued, envelope: Envelope) -> None:
    """Put the job before the workers. Idempotent by the job."""
    await ctx.on_system(_offer, event, envelope)


async def _offer(db: SystemSession, event: AiJobQueued, envelope: Envelope, /) -> None:
    await work.enqueue(db, AI_JOB, envelope.tenant, ref_id=event.ai_job_id, algorithm=event.algorithm)


@receives(states.AiJobEnded)
async def take_away(ctx: Context, event: states.AiJobEnded, envelope: Envelope) -> None:
    """Nobody needs to work on a job that has ended. Idempotent.

    A failed one is left to who holds its lease: the last failure goes to `failed_jobs`.
    """
    if event.status != AiJobStatus.FAILED.name:
        await ctx.on_system(_take_away, event, envelope)


async def _take_away(db: SystemSession, event: states.AiJobEnded, envelope: Envelope, /) -> None:
    await work.drop(db, AI_JOB, envelope.tenant, ref_id=event.ai_job_id)
