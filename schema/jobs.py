"""AI jobs and exports of videos, and what outside workers ask and answer."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from typing import Annotated

from base.ids import GlobalId
from db.tables.pool import jobs as tables
from db.tables.pool.media import Export as ExportTable
from db.tables.pool.media import ExportFormat, ExportStatus
from execution.access import member
from execution.declare import Connection, Doc, extends, input, node, payload, plain, to_many, to_one  # noqa: A004  (GraphQL's word)
from execution.prices import sized
from execution.scalars import Json
from schema.catalog import Effect
from schema.media import File, Video
from schema.payloads import UserError, UserErrors
from schema.wallet import TokenTransaction, TokenWallet


@node(tables.AiJob, access=member)
class AiJob:
    """An effect applied to a video; its tokens are held until it ends."""

    status: tables.AiJobStatus
    progress: Annotated[float, Doc("0.0 to 1.0.")]
    tokens_reserved: Annotated[int, Doc("Tokens held while it is unfinished.")]
    tokens_consumed: Annotated[int, Doc("Tokens it has cost.")]
    attempts: Annotated[int, Doc("How often a worker has begun it.")]
    error_message: Annotated[str | None, Doc("Why it failed.")]
    video: Annotated[Video | None, to_one("video_id")]
    effect: Annotated[Effect | None, to_one("effect_id")]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@node(ExportTable, access=member)
class Export:
    """A video in another format."""

    status: ExportStatus
    format: ExportFormat
    width: Annotated[int | None, Doc("In pixels; null: as in the source.")]
    height: Annotated[int | None, Doc("In pixels; null: as in the source.")]
    video: Annotated[Video, to_one("video_id")]
    file: Annotated[File | None, to_one("file_id"), Doc("The result; null until READY.")]
    created_at: datetime


@extends(Video)
class _Video:
    ai_jobs: Annotated[Connection[AiJob], to_many("video_id"), Doc("Newest first.")]
    exports: Annotated[Connection[Export], to_many("video_id"), Doc("Newest first.")]


@extends(TokenTransaction)
class _TokenTransaction:
    ai_job: Annotated[AiJob | None, to_one("ai_job_id"), Doc("The job it was for.")]


@input
class SubmitAiJobInput:
    """A job to be queued; its price is reserved in the same step."""

    video_id: Annotated[GlobalId, Doc("A video of the caller with a READY file.")]
    effect_id: Annotated[GlobalId, Doc("What is to be done.")]
    idempotency_key: Annotated[str | None, Doc("same key, same job: safe to retry")] = None
    params: Annotated[Json | None, Doc('What the effect declares, e.g. {"strength": 0.5}.')] = None


@input
class CreateExportInput:
    """A READY video in another format."""

    video_id: Annotated[GlobalId, Doc("A READY video of the caller.")]
    format: Annotated[ExportFormat, Doc("E.g. WEBM.")]
    width: Annotated[int | None, Doc("In pixels, e.g. 1280; null: as in the source.")] = None
    height: Annotated[int | None, Doc("In pixels, e.g. 720; null: as in the source.")] = None


@payload
class AiJobPayload:
    """The job and what is left in the wallet."""

    ai_job: AiJob | None = None
    wallet: TokenWallet | None = None
    user_errors: UserErrors = field(default_factory=list[UserError])


@payload
class ExportPayload:
    """The export; null when refused."""

    export: Export | None = None
    user_errors: UserErrors = field(default_factory=list[UserError])


@plain
class AiJobClaim:
    """inputUrl is time-limited; leaseToken names tenant, job and attempt"""

    job_id: GlobalId
    tenant_slug: str
    effect_slug: str
    params: Json | None
    attempt: Annotated[int, Doc("1 for the first.")]
    input_url: str
    lease_token: str
    lease_expires_at: datetime


@input
class ClaimAiJobsInput:
    """What a worker can do and how much it takes."""

    worker_name: Annotated[str, Doc("For the log, e.g. gpu-7.")]
    algorithms: Annotated[list[str], Doc('Slugs of algorithms it can carry out, e.g. ["upscale"]; at most 50.')]
    max: Annotated[int | None, Doc("At most this many jobs, 1 to 20.")] = 1
    lease_seconds: Annotated[int | None, Doc("How long it may be silent before the job is given away, 10 to 600.")] = 60


@payload
class ClaimAiJobsPayload:
    """What the worker now holds."""

    claims: Annotated[list[AiJobClaim], sized(20), Doc("At most 20.")] = field(default_factory=list[AiJobClaim])
    user_errors: UserErrors = field(default_factory=list[UserError])


@payload
class LeasePayload:
    """Whether the job is to be dropped, and until when it is held."""

    canceled: Annotated[bool, Doc("Stop working: the job was canceled or given away.")] = False
    lease_expires_at: datetime | None = None
    user_errors: UserErrors = field(default_factory=list[UserError])
