"""AI jobs and exports of the caller, and the fields that outside workers call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from actions import jobs
from base import errors
from base.ids import GlobalId
from db.tables.central.catalog import Effect as EffectTable
from db.tables.pool import jobs as tables
from db.tables.pool.media import Video as VideoTable
from execution import fetch
from execution.access import lease, member, worker
from execution.declare import FIRST_DEFAULT, After, Connection, Doc, First, Read, live, mutation, page, query, the
from execution.scalars import BigInt
from resolvers.payload import payload, row
from schema.jobs import (
    AiJob,
    AiJobClaim,
    AiJobPayload,
    ClaimAiJobsInput,
    ClaimAiJobsPayload,
    CreateExportInput,
    Export,
    ExportPayload,
    LeasePayload,
    SubmitAiJobInput,
)
from schema.media import CreateUploadPayload
from schema.wallet import TokenWallet
from tenancy.context import Context

FINAL = (tables.AiJobStatus.SUCCEEDED, tables.AiJobStatus.FAILED, tables.AiJobStatus.CANCELED)

LeaseToken = Annotated[str, Doc("What claimAiJobs gave, or the provider was sent.")]


@query(member, cost=5)
async def ai_jobs(
    first: First = FIRST_DEFAULT,
    *,
    after: After = None,
    status: Annotated[tables.AiJobStatus | None, Doc("Only jobs in this state, e.g. RUNNING.")] = None,
) -> Connection[AiJob]:
    """The caller's jobs, newest first."""
    where = [None if status is None else tables.AiJob.status == status]
    return page(AiJob, first=first, after=after, where=where)


@query(member)
async def ai_job(id: Annotated[GlobalId, Doc("The job's id.")]) -> AiJob | None:
    """One of the caller's jobs."""
    return row(AiJob, id.of(tables.AiJob))


@query(member, cost=5)
async def exports(first: First = FIRST_DEFAULT, after: After = None) -> Connection[Export]:
    """The caller's exports, newest first."""
    return page(Export, first=first, after=after)


@mutation(member, cost=20)
async def submit_ai_job(
    ctx: Context, input: Annotated[SubmitAiJobInput, Doc("What is to be done to which video.")]
) -> AiJobPayload:
    """Queue a job; its price is held until it ends."""
    doing = jobs.submit_ai_job(
        ctx,
        input.video_id.of(VideoTable),
        input.effect_id.of(EffectTable),
        idempotency_key=input.idempotency_key,
        params=input.params,
    )
    return await payload(AiJobPayload, doing, wallet=the(TokenWallet))


@mutation(member)
async def cancel_ai_job(ctx: Context, id: Annotated[GlobalId, Doc("A job that has not ended.")]) -> AiJobPayload:
    """End a job before its time; what was held for it is free again."""
    return await payload(AiJobPayload, jobs.cancel_ai_job(ctx, id.of(tables.AiJob)), wallet=the(TokenWallet))


@mutation(member, cost=20)
async def create_export(
    ctx: Context, input: Annotated[CreateExportInput, Doc("Which video, in which format.")]
) -> ExportPayload:
    """Have a READY video made into another format."""
    doing = ctx.on_pool(
        jobs.create_export, input.video_id.of(VideoTable), input.format, width=input.width, height=input.height
    )
    return await payload(ExportPayload, doing)


@live(member, name="ai_job")
async def ai_job_changed(ctx: Context, id: Annotated[GlobalId, Doc("The job's id.")]) -> AsyncIterator[AiJob]:
    """at most 2 a second; completes after a final state"""  # noqa: D403  (the contract's words)
    job_id = id.of(tables.AiJob)
    job = the(AiJob, where=[tables.AiJob.id == job_id])
    async for _ in ctx.changes("ai_job", f"{ctx.tenant_id}:{job_id}"):
        # Looked at before the event is read: an event that shows a final state is followed by none.
        seen = await fetch.one(ctx, _read(job), keys=("status",))
        if seen is None:
            raise errors.NotFound("There is no AiJob with this id.", *id.path)
        yield job
        if seen.status in FINAL:
            return


def _read(job: AiJob) -> Read:
    if not isinstance(job, Read):
        raise TypeError("a read is wanted")
    return job


@mutation(worker)
async def claim_ai_jobs(
    ctx: Context, input: Annotated[ClaimAiJobsInput, Doc("What the worker can do.")]
) -> ClaimAiJobsPayload:
    """worker fields: central hosts, `Authorization: Bearer $ATRIUM_WORKER_TOKEN`"""  # noqa: D403  (the contract's words)
    claims = await jobs.claim_ai_jobs(
        ctx,
        input.worker_name,
        input.algorithms,
        most=1 if input.max is None else input.max,
        lease_seconds=60 if input.lease_seconds is None else input.lease_seconds,
    )
    return ClaimAiJobsPayload(
        claims=[
            AiJobClaim(
                job_id=claim.job_id,
                tenant_slug=claim.tenant_slug,
                effect_slug=claim.effect_slug,
                params=claim.params,
                attempt=claim.attempt,
                input_url=claim.input_url,
                lease_token=claim.lease_token,
                lease_expires_at=claim.lease_expires_at,
            )
            for claim in claims
        ]
    )


@mutation(lease)
async def heartbeat_ai_job(
    ctx: Context, lease_token: LeaseToken, progress: Annotated[float, Doc("0.0 to 1.0.")]
) -> LeasePayload:
    """Keep the job and tell how far it is."""
    return _lease(await jobs.heartbeat_ai_job(ctx, lease_token, progress))


@mutation(lease)
async def create_ai_job_output(
    ctx: Context,
    lease_token: LeaseToken,
    *,
    mime_type: Annotated[str, Doc("As it is in the bytes, e.g. video/mp4.")],
    size_bytes: Annotated[BigInt, Doc("Exactly, in bytes: 1 to 2147483648 (2 GiB).")],
    sha256: Annotated[str, Doc("Of the bytes, 64 hexadecimal digits.")],
) -> CreateUploadPayload:
    """Ask for a place to PUT the result's bytes."""
    new = await jobs.create_ai_job_output(ctx, lease_token, mime_type, size_bytes=size_bytes, sha256=sha256)
    return CreateUploadPayload(upload_url=new.url, upload_headers=new.headers)


@mutation(lease)
async def complete_ai_job(ctx: Context, lease_token: LeaseToken) -> LeasePayload:
    """Say that the result's bytes are there: they are checked, then the job has succeeded."""
    return _lease(await jobs.complete_ai_job(ctx, lease_token))


@mutation(lease)
async def fail_ai_job(
    ctx: Context,
    lease_token: LeaseToken,
    *,
    message: Annotated[str, Doc("Why, for the user's eyes; at most 1000 characters.")],
    retry: Annotated[bool | None, Doc("Whether another try may succeed; null: true.")] = True,
) -> LeasePayload:
    """Give the job up."""
    return _lease(await jobs.fail_ai_job(ctx, lease_token, message, retry=retry is not False))


def _lease(state: jobs.LeaseState) -> LeasePayload:
    return LeasePayload(canceled=state.canceled, lease_expires_at=state.lease_expires_at)
