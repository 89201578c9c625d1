"""What must hold of jobs and exports between pool, ledger and leased work; for doctor, and for tests that kill."""

from collections.abc import Sequence

import sqlalchemy as sa

from actions.jobs import states
from actions.jobs.exports import EXPORT
from actions.jobs.submit import AI_JOB
from db.session import PoolSession, SystemSession
from db.tables.central.work import Job, JobState
from db.tables.pool.jobs import AiJob
from db.tables.pool.media import Export, ExportStatus, Video, VideoStatus
from db.tables.pool.upkeep import Outbox
from db.tables.pool.wallet import TokenWallet
from db.zones import TenantId
from tenancy.checks import Finding, of_tenant
from tenancy.context import Context

SHOWN_MAX = 3
UNFINISHED_EXPORTS = (ExportStatus.QUEUED, ExportStatus.RUNNING)
REPORT = "report it with this line; canceling the job gives its tokens back"


@of_tenant("jobs in the pool")
async def jobs_agree(ctx: Context) -> list[Finding]:
    """A video is PROCESSING while it has an unfinished job, and what jobs hold is what the wallet has reserved."""
    return [Finding(wrong, REPORT) for wrong in await ctx.on_pool(broken)]


async def broken(db: PoolSession, /) -> list[str]:
    """What is wrong between this tenant's jobs, videos and wallet."""
    found = []
    unfinished = AiJob.status.in_(states.UNFINISHED)
    held = int(await db.first(sa.select(sa.func.sum(AiJob.tokens_reserved)).where(unfinished)) or 0)
    reserved = int(await db.first(sa.select(TokenWallet.reserved)) or 0)
    if held != reserved:
        found.append(f"unfinished jobs hold {held} tokens, the wallet has {reserved} reserved")
    worked_on = sa.select(AiJob.video_id).where(unfinished, AiJob.video_id.is_not(None))
    processing = sa.select(Video.id).where(Video.status == VideoStatus.PROCESSING, Video.deleted_at.is_(None))
    for what, statement in (
        ("videos are PROCESSING without an unfinished job", processing.where(Video.id.not_in(worked_on))),
        (
            "videos have an unfinished job and are not PROCESSING",
            sa.select(Video.id).where(
                Video.id.in_(worked_on), Video.status != VideoStatus.PROCESSING, Video.deleted_at.is_(None)
            ),
        ),
    ):
        ids = await db.all(statement.order_by(Video.id))
        if ids:
            found.append(f"{len(ids)} {what} ({', '.join(f'{one:x}' for one in ids[:SHOWN_MAX])})")
    return found


@of_tenant("jobs before workers")
async def work_is_offered(ctx: Context) -> list[Finding]:
    """What is unfinished in the pool waits before workers or is about to be told to them."""
    found = []
    for kind in (AI_JOB, EXPORT):
        refs = await ctx.on_pool(_untold, kind)
        offered = await ctx.on_system(_offered, kind, ctx.tenant_id) if refs else set()
        lost = [ref for ref in refs if ref not in offered]
        if lost:
            found.append(
                Finding(
                    f"{len(lost)} unfinished of kind {kind} are before no worker "
                    f"({', '.join(f'{one:x}' for one in lost[:SHOWN_MAX])})",
                    "is a worker running (atrium worker)? failed_jobs.error says more; cancel and submit again",
                )
            )
    return found


async def _untold(db: PoolSession, kind: str, /) -> Sequence[int]:
    told = set(await db.all(sa.select(Outbox.aggregate)))
    unfinished = (
        sa.select(AiJob.id).where(AiJob.status.in_(states.UNFINISHED))
        if kind == AI_JOB
        else sa.select(Export.id).where(Export.status.in_(UNFINISHED_EXPORTS))
    )
    return [ref for ref in await db.all(unfinished) if f"{kind}:{ref:x}" not in told]


async def _offered(db: SystemSession, kind: str, tenant: TenantId, /) -> set[int]:
    mine = sa.select(Job.ref_id).where(Job.kind == kind, Job.tenant_id == tenant, Job.state != JobState.DONE)
    return set(await db.all(mine))
