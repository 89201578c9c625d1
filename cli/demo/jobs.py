"""A few finished jobs of each demo tenant, paid through the real ledger, and how popular that makes the effects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from actions import wallet
from actions.wallet import Cause
from base.ids import Id
from cli.demo.media import SOURCE_NAME
from db.session import CentralSession, PoolSession, SystemSession
from db.tables.central.catalog import Effect
from db.tables.central.identity import User
from db.tables.pool.jobs import AiJob, AiJobStatus
from db.tables.pool.media import File, Video, VideoStatus
from db.tables.pool.wallet import TokenTransactionKind

if TYPE_CHECKING:
    from cli.demo.frame import Demo, Studio
    from tenancy.context import Context

AFTER = ("media",)
JOBS_A_STUDIO = 4
TOKENS = 400
SECONDS_A_JOB = 9
KEY = "demo"


async def fill(demo: Demo) -> None:
    """Give every tenant tokens and the jobs that made its newest videos."""
    costs = await demo.house.system().on_central(_costs)
    await demo.over_studios("jobs", lambda studio, ctx: _fill(studio, ctx, costs))
    await demo.house.system().on_system(_popularity, demo)


async def _costs(db: CentralSession, /) -> dict[int, int]:
    return {row.id: row.token_cost for row in await db.tuples(sa.select(Effect.id, Effect.token_cost))}


async def _fill(studio: Studio, ctx: Context, costs: Mapping[int, int]) -> int:
    return await ctx.on_pool(_add, studio.user_id, costs)


async def _add(db: PoolSession, user_id: Id[User], costs: Mapping[int, int], /) -> int:
    cause = Cause(key=f"{KEY}:tokens", user_id=user_id, note="tokens to try things out")
    await wallet.credit(db, TokenTransactionKind.ADJUSTMENT, TOKENS, cause=cause)
    known = await db.first(sa.select(sa.func.count(AiJob.id)).where(AiJob.idempotency_key.startswith(KEY)))
    clips = sa.select(File.id).where(File.name.startswith(SOURCE_NAME))
    without = Video.id.not_in(sa.select(AiJob.video_id).where(AiJob.video_id.is_not(None)))
    videos = await db.all(
        sa.select(Video)
        .where(Video.status == VideoStatus.READY, Video.deleted_at.is_(None), Video.input_file_id.in_(clips), without)
        .order_by(Video.created_at.desc(), Video.id.desc())
        .limit(max(0, JOBS_A_STUDIO - (known or 0)))
    )
    for video in videos:
        await _job(db, video, cost=costs.get(video.effect_id or 0, 0))
    return len(videos)


async def _job(db: PoolSession, video: Video, *, cost: int) -> None:
    job_id: Id[AiJob] = db.new_id()
    began = video.created_at + timedelta(seconds=2)
    db.add(
        AiJob(
            id=job_id,
            user_id=video.user_id,
            created_at=video.created_at,
            video_id=video.id,
            effect_id=video.effect_id,
            status=AiJobStatus.SUCCEEDED,
            progress=1.0,
            tokens_reserved=cost,
            tokens_consumed=cost,
            attempts=1,
            params={},
            input_file_id=video.input_file_id,
            output_file_id=video.output_file_id,
            idempotency_key=f"{KEY}:{video.id:x}",
            started_at=began,
            finished_at=began + timedelta(seconds=SECONDS_A_JOB),
        )
    )
    await db.flush()
    held = Cause(key=f"job:{job_id}:reserve", user_id=video.user_id, ai_job_id=job_id)
    if await wallet.reserve(db, cost, cause=held):
        spent = Cause(key=f"job:{job_id}:consume", user_id=video.user_id, ai_job_id=job_id)
        await wallet.consume(db, cost, cause=spent)


async def _popularity(db: SystemSession, demo: Demo, /) -> None:
    """A first order of the shelves; from the first night on it is counted."""
    effects = await db.all(sa.select(Effect).order_by(Effect.id))
    if any(effect.popularity for effect in effects):
        return
    drawn = Counter(
        {effect.slug: int(demo.dice("popularity", effect.slug).paretovariate(1.2) * 4) for effect in effects}
    )
    for effect in effects:
        effect.popularity = drawn[effect.slug]
    db.tell("catalog", Effect.__name__)
