"""What workers that are not ours ask and answer: claim, heartbeat, output, complete, fail, over all pools.

A lease token is signed and names tenant, job and attempt; each call is a compare-and-set on
them, so a late or double one changes nothing and says `canceled`.
"""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
import sqlalchemy as sa

from actions import media
from actions.jobs import states
from actions.jobs.states import Begun, Result
from actions.jobs.submit import AI_JOB
from actions.media import NewUpload
from base import errors, texts
from base.ids import GlobalId, Id, global_id
from db import work
from db.session import PoolSession, SystemSession
from db.tables.central.catalog import Effect
from db.tables.central.identity import User
from db.tables.pool.jobs import AiJob, AiJobStatus
from db.tables.pool.media import File, FileStatus
from db.zones import TenantId, TenantState
from outside.signing import Signer
from outside.store import Store
from tenancy.context import Context, House

CLAIMS_MAX = 20
ALGORITHMS_MAX = 50
PUT_OFF_SECONDS = 10
SUSPENDED_SECONDS = 60
LEASE_SECONDS_MIN = 10
LEASE_SECONDS_MAX = 600
TOKEN_CHARACTERS_MAX = 600
GIVEN_AWAY = "The job was canceled or given to another worker."
ALGORITHM_CHARACTERS_MAX = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A job that a worker now holds."""

    job_id: GlobalId
    tenant_slug: str
    effect_slug: str
    params: dict[str, object] | None
    attempt: int
    input_url: str
    lease_token: str
    lease_expires_at: datetime

    def as_json(self) -> dict[str, object]:
        """As providers get it: the contract's AiJobClaim."""
        return {
            "jobId": str(self.job_id),
            "tenantSlug": self.tenant_slug,
            "effectSlug": self.effect_slug,
            "params": self.params,
            "attempt": self.attempt,
            "inputUrl": self.input_url,
            "leaseToken": self.lease_token,
            "leaseExpiresAt": self.lease_expires_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }


@dataclass(frozen=True, slots=True)
class LeaseState:
    """Whether to go on, and until when the job is held."""

    canceled: bool
    lease_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Held:
    tenant: TenantId
    ai_job_id: Id[AiJob]
    lease: work.Lease
    seconds: int


async def claim_ai_jobs(
    ctx: Context, worker_name: str, algorithms: list[str], /, *, most: int = 1, lease_seconds: int = 60
) -> list[Claim]:
    """Lease up to `most` jobs whose algorithm is one of these, fairly between tenants.

    1 central leases; 2 each job's pool says RUNNING. A crash after 1 lets the lease run out.
    """
    name = texts.line(worker_name, "input", "workerName", most=40)
    if not 1 <= most <= CLAIMS_MAX:
        raise errors.Invalid(f"At least 1, at most {CLAIMS_MAX}.", "input", "max")
    if not LEASE_SECONDS_MIN <= lease_seconds <= LEASE_SECONDS_MAX:
        raise errors.Invalid(f"From {LEASE_SECONDS_MIN} to {LEASE_SECONDS_MAX} seconds.", "input", "leaseSeconds")
    if not 1 <= len(algorithms) <= ALGORITHMS_MAX or any(
        not (slug.isascii() and 0 < len(slug) <= ALGORITHM_CHARACTERS_MAX) for slug in algorithms
    ):
        raise errors.Invalid(f"Name 1 to {ALGORITHMS_MAX} algorithms by their slugs.", "input", "algorithms")
    owner = f"outside:{name}".encode("ascii", "replace").decode()
    leases = await ctx.on_system(
        work.claim, [AI_JOB], owner, most=most, seconds=lease_seconds, algorithms=sorted(set(algorithms))
    )
    claims = [await _begin(ctx, lease, seconds=lease_seconds) for lease in leases]
    return [claim for claim in claims if claim is not None]


async def _begin(ctx: Context, lease: work.Lease, /, *, seconds: int) -> Claim | None:
    job_id: Id[AiJob] = Id(lease.ref_id)
    try:
        theirs = await ctx.house.system_of(lease.tenant_id, request_id=ctx.request_id)
        if theirs.tenant_route.state is TenantState.SUSPENDED:
            await ctx.on_system(work.give_back, lease, seconds=SUSPENDED_SECONDS)
            return None
        if lease.attempt > states.ATTEMPTS_MAX:
            await theirs.on_pool(states.fail, job_id, attempt=lease.attempt, message=states.LOST, retry=False)
            await ctx.on_system(work.fail, lease, states.LOST, retry=False)
            return None
        begun = await theirs.on_pool(states.begin, job_id, attempt=lease.attempt)
    except errors.Denial:
        # Its pool does not answer: the others' jobs go out, this one waits.
        await ctx.on_system(work.give_back, lease, seconds=PUT_OFF_SECONDS)
        return None
    if begun is None:
        await ctx.on_system(work.finish, lease)
        return None
    slug = await ctx.on_system(_effect_slug, begun.effect_id)
    return claim_of(theirs, lease, begun, effect_slug=slug or "", origin=ctx.origin, seconds=seconds)


def claim_of(
    ctx: Context, lease: work.Lease, begun: Begun, /, *, effect_slug: str, origin: str, seconds: int = 60
) -> Claim:
    """The claim as its holder sees it: where the input is, and the signed lease."""
    url = ctx.house.service(Store).download_url(
        begun.input_key, mime_type=begun.input_mime, name=begun.input_name, inline=False, origin=origin
    )
    return Claim(
        job_id=global_id("AiJob", begun.ai_job_id, ctx.tenant_id),
        tenant_slug=ctx.tenant_id,
        effect_slug=effect_slug,
        params=begun.params or None,
        attempt=begun.attempt,
        input_url=url,
        lease_token=_seal(ctx.house, lease, seconds),
        lease_expires_at=lease.until,
    )


async def heartbeat_ai_job(ctx: Context, lease_token: str, progress: float, /) -> LeaseState:
    """Hold the job for another span and note its progress (0.0–1.0)."""
    if not 0.0 <= progress <= 1.0:
        raise errors.Invalid("Progress goes from 0.0 to 1.0.", "progress")
    held = _open(ctx.house, lease_token)
    theirs = await ctx.house.system_of(held.tenant, request_id=ctx.request_id)
    attempt = held.lease.attempt
    if not await ctx.on_system(work.extend, held.lease, seconds=held.seconds) or not await theirs.on_pool(
        states.progress, held.ai_job_id, attempt=attempt, done=progress
    ):
        return LeaseState(canceled=True)
    return LeaseState(canceled=False, lease_expires_at=_until(ctx, held))


async def create_ai_job_output(
    ctx: Context, lease_token: str, mime_type: str, /, *, size_bytes: int, sha256: str
) -> NewUpload:
    """Where the worker puts the result: a signed link that binds length, type and checksum.

    1 the tenant's pool keeps the file as UPLOADING; 2 it is tied to this attempt, and one asked for before
    goes. A crash after 1 leaves an upload that ends by itself. Raises Invalid, Conflict where the lease is lost.
    """
    held = _open(ctx.house, lease_token)
    theirs = await ctx.house.system_of(held.tenant, request_id=ctx.request_id)
    attempt = held.lease.attempt
    user_id = await theirs.on_pool(_owner, held.ai_job_id, attempt=attempt)
    upload = await media.new_output(theirs, user_id, mime_type, size_bytes=size_bytes, sha256=sha256, origin=ctx.origin)
    if not await theirs.on_pool(states.expect, held.ai_job_id, upload.file_id, attempt=attempt):
        raise errors.Conflict(GIVEN_AWAY, "leaseToken")
    return upload


async def complete_ai_job(ctx: Context, lease_token: str, /) -> LeaseState:
    """The output is uploaded: check it, consume the tokens, give it to the video.

    1 the bytes are checked in the store; 2 one pool transaction; 3 the event takes the work away and has the
    length and thumbnail read from the real file. Running it again after a crash, or late, changes nothing.
    Raises Conflict (nothing uploaded yet), Invalid (other bytes than were promised: they are discarded).
    """
    held = _open(ctx.house, lease_token)
    theirs = await ctx.house.system_of(held.tenant, request_id=ctx.request_id)
    attempt = held.lease.attempt
    file_id = await theirs.on_pool(_output_of, held.ai_job_id, attempt=attempt)
    if file_id is not None:
        await media.check_output(theirs, file_id)
        await theirs.on_pool(states.complete, held.ai_job_id, attempt=attempt, result=Result(output=file_id))
    # Asked again, also by who completed it and did not hear the answer: it has succeeded, or it is not theirs.
    done = await theirs.on_pool(_succeeded, held.ai_job_id, attempt=attempt)
    await ctx.on_system(work.finish, held.lease)
    return LeaseState(canceled=not done)


async def fail_ai_job(ctx: Context, lease_token: str, message: str, /, *, retry: bool = True) -> LeaseState:
    """The worker could not do it: queued again while attempts are left, else failed and the tokens released."""
    held = _open(ctx.house, lease_token)
    reason = texts.line(message, "message", most=states.MESSAGE_CHARACTERS_MAX)
    theirs = await ctx.house.system_of(held.tenant, request_id=ctx.request_id)
    attempt = held.lease.attempt
    failed = await theirs.on_pool(states.fail, held.ai_job_id, attempt=attempt, message=reason, retry=retry)
    again = retry and attempt < states.ATTEMPTS_MAX
    await ctx.on_system(work.fail if again else _finish, held.lease, reason)
    return LeaseState(canceled=not failed)


async def _finish(db: SystemSession, lease: work.Lease, _reason: str, /) -> bool:
    return await work.finish(db, lease)


# ------------------------------------------------------------------------------------------- lease tokens


def _signer(house: House) -> Signer:
    return Signer(house.settings.secret_key, label="ai-job-lease")


def _seal(house: House, lease: work.Lease, seconds: int) -> str:
    facts = [lease.job_id, lease.tenant_id, lease.ref_id, lease.generation, lease.attempt, lease.owner, seconds]
    body = base64.urlsafe_b64encode(orjson.dumps(facts)).rstrip(b"=").decode()
    return f"{body}.{_signer(house).sign(body)}"


def _open(house: House, token: str) -> _Held:
    body, _, signature = token.partition(".")
    if len(token) <= TOKEN_CHARACTERS_MAX and token.isascii() and _signer(house).verify(signature, body):
        try:
            facts: list[Any] = orjson.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        except (binascii.Error, orjson.JSONDecodeError):
            facts = []
        if facts:
            job_id, tenant, ref_id, generation, attempt, owner, seconds = facts
            lease = work.Lease(
                job_id=Id(job_id),
                kind=AI_JOB,
                tenant_id=TenantId(tenant),
                ref_id=ref_id,
                generation=generation,
                attempt=attempt,
                owner=owner,
                until=house.sessions.clock.now(),
                algorithm="",
            )
            return _Held(TenantId(tenant), Id(ref_id), lease, seconds)
    raise errors.Invalid("This is no lease token.", "leaseToken")


def _until(ctx: Context, held: _Held) -> datetime:
    return ctx.house.sessions.clock.now() + timedelta(seconds=held.seconds)


# ------------------------------------------------------------------------------------------- in the pool


async def _effect_slug(db: SystemSession, effect_id: Id[Effect] | None, /) -> str | None:
    return await db.first(sa.select(Effect.slug).where(Effect.id == effect_id))


async def _owner(db: PoolSession, ai_job_id: Id[AiJob], /, *, attempt: int) -> Id[User]:
    user_id = await db.first(
        sa.select(AiJob.user_id).where(
            AiJob.id == ai_job_id, AiJob.status == AiJobStatus.RUNNING, AiJob.attempts == attempt
        )
    )
    if user_id is None:
        raise errors.Conflict(GIVEN_AWAY, "leaseToken")
    return user_id


async def _succeeded(db: PoolSession, ai_job_id: Id[AiJob], /, *, attempt: int) -> bool:
    by_them = (AiJob.id == ai_job_id, AiJob.status == AiJobStatus.SUCCEEDED, AiJob.attempts == attempt)
    return await db.first(sa.select(AiJob.id).where(*by_them)) is not None


async def _output_of(db: PoolSession, ai_job_id: Id[AiJob], /, *, attempt: int) -> Id[File] | None:
    job = await db.first(
        sa.select(AiJob).where(AiJob.id == ai_job_id, AiJob.status == AiJobStatus.RUNNING, AiJob.attempts == attempt)
    )
    if job is None:
        return None
    file = await db.first(sa.select(File).where(File.id == job.output_file_id, File.status != FileStatus.DELETED))
    if file is None:
        raise errors.Conflict("Upload the output first: createAiJobOutput says where.", "leaseToken")
    return file.id
