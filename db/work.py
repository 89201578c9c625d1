"""Leased work and timers: one mechanism for jobs, exports, deliveries and clean-up.

A row of `jobs` says that something about a tenant's row is to be done; the pool row stays
the truth, changed by compare-and-set. Claims are conditional updates, so no engine needs
SKIP LOCKED, and fair: by priority (one more for every five minutes waited), then fewest
running of that tenant, then age. An area adds a kind and a handler, never a loop.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from base.ids import Id
from db.session import SystemSession
from db.tables.central.work import FailedJob, Job, JobState, Timer
from db.zones import TenantId

LEASE_SECONDS = 60
LEASE_SECONDS_MAX = 3_600
CLAIMS_MAX = 50
HEADS_MAX = 500
PRIORITY_MAX = 9
WAIT_SECONDS_A_PRIORITY = 300
ATTEMPTS_MAX = 3
RETRY_SECONDS = 5
RETRY_SECONDS_MAX = 600
ERROR_CHARACTERS_MAX = 2_000
DONE_DAYS_MAX = 1
TIMERS_MAX = 200
NO_TENANT = TenantId("")


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on something until `until`; `attempt` tells this lease from earlier ones."""

    job_id: Id[Job]
    kind: str
    tenant_id: TenantId
    ref_id: int
    generation: int
    attempt: int
    owner: str
    until: datetime
    algorithm: str


async def enqueue(
    db: SystemSession,
    kind: str,
    tenant: TenantId,
    /,
    *,
    ref_id: int,
    algorithm: str = "",
    priority: int = 0,
    generation: int = 0,
    available_at: datetime | None = None,
) -> bool:
    """Queue work once: False where this (kind, tenant, ref, generation) is known already."""
    made = await db.insert_once(
        Job(
            kind=kind,
            tenant_id=tenant,
            ref_id=Id(ref_id),
            generation=generation,
            priority=priority,
            available_at=available_at or db.now,
            algorithm=algorithm,
            state=JobState.READY,
            attempts=0,
        )
    )
    if made:
        db.tell("work", kind)
    return made


async def claim(
    db: SystemSession,
    kinds: Sequence[str],
    owner: str,
    /,
    *,
    most: int,
    seconds: int,
    algorithms: Sequence[str] = ("",),
) -> list[Lease]:
    """Lease up to `most` pieces of work for `seconds`, fairly between tenants."""
    leases: list[Lease] = []
    running: Counter[TenantId] = Counter()
    until = db.now + timedelta(seconds=seconds)
    while len(leases) < min(most, CLAIMS_MAX):
        heads = await _heads(db, kinds, algorithms)
        if heads and not leases:
            running = await _running(db)
        heads.sort(key=lambda job: (-_urgency(job, db.now), running[job.tenant_id], job.id))
        # One a tenant and round, so that a tenant's thousand do not stand before another's one.
        taken = [job for job in _one_a_tenant(heads)[: most - len(leases)] if await _take(db, job, owner, until)]
        if not taken:
            break
        for job in taken:
            running[job.tenant_id] += 1
            leases.append(_lease(job, owner, until))
    return leases


async def kinds_waiting(db: SystemSession, kinds: Sequence[str], /) -> set[str]:
    """Which of these kinds have work that can be claimed now, of whatever algorithm: one statement for all of them."""
    return set(await db.all(sa.select(Job.kind).where(Job.kind.in_(kinds), _claimable(db.now)).distinct()))


async def take_expired(
    db: SystemSession, kinds: Sequence[str], owner: str, /, *, most: int, seconds: int
) -> list[Lease]:
    """Lease what was leased and whose time ran out, of any algorithm, oldest first: to end it, not to do it."""
    expired = sa.and_(Job.state == JobState.LEASED, Job.lease_until < db.now)
    jobs = await db.all(sa.select(Job).where(Job.kind.in_(kinds), expired).order_by(Job.lease_until).limit(most))
    until = db.now + timedelta(seconds=seconds)
    return [_lease(job, owner, until) for job in jobs if await _take(db, job, owner, until)]


async def extend(db: SystemSession, lease: Lease, *, seconds: int) -> bool:
    """Heartbeat: hold the work `seconds` from now on. False when it is somebody else's, or done."""
    return bool(
        await db.change(sa.update(Job).where(*_mine(lease)).values(lease_until=db.now + timedelta(seconds=seconds)))
    )


async def finish(db: SystemSession, lease: Lease) -> bool:
    """The work is done. False when the lease was lost; late completion changes nothing."""
    return bool(
        await db.change(
            sa.update(Job).where(*_mine(lease)).values(state=JobState.DONE, lease_owner=None, lease_until=None)
        )
    )


async def give_back(db: SystemSession, lease: Lease, *, seconds: int = 0) -> bool:
    """Undo a claim that nothing was done under (shutdown, a pool that is down): the attempt does not count.

    Ready again at once, or `seconds` from now.
    """
    later = {} if seconds == 0 else {"available_at": db.now + timedelta(seconds=seconds)}
    return bool(
        await db.change(
            sa.update(Job)
            .where(*_mine(lease))
            .values(state=JobState.READY, lease_owner=None, lease_until=None, attempts=Job.attempts - 1, **later)
        )
    )


async def fail(db: SystemSession, lease: Lease, error: str, /, *, retry: bool = True) -> bool:
    """The attempt failed: ready again later, or moved to `failed_jobs` after the last one. True when it is dead."""
    job = await db.first(sa.select(Job).where(*_mine(lease)))
    if job is None:
        return False
    if retry and job.attempts < ATTEMPTS_MAX:
        pause = min(RETRY_SECONDS_MAX, RETRY_SECONDS * 2 ** (job.attempts - 1))
        job.state, job.lease_owner, job.lease_until = JobState.READY, None, None
        job.available_at = db.now + timedelta(seconds=pause)
        return False
    db.add(
        FailedJob(
            kind=job.kind,
            tenant_id=job.tenant_id,
            ref_id=job.ref_id,
            generation=job.generation,
            priority=job.priority,
            attempts=job.attempts,
            algorithm=job.algorithm,
            error=error[:ERROR_CHARACTERS_MAX],
            failed_at=db.now,
        )
    )
    await db.delete(job)
    return True


async def drop(db: SystemSession, kind: str, tenant: TenantId, /, *, ref_id: int) -> None:
    """The work is not wanted any more (canceled, deleted)."""
    await db.change(
        sa.update(Job)
        .where(Job.kind == kind, Job.tenant_id == tenant, Job.ref_id == ref_id, Job.state != JobState.DONE)
        .values(state=JobState.DONE, lease_owner=None, lease_until=None)
    )


async def forget_done(db: SystemSession) -> int:
    """Delete work that was done more than a day ago."""
    before = db.now - timedelta(days=DONE_DAYS_MAX)
    return await db.change(sa.delete(Job).where(Job.state == JobState.DONE, Job.available_at < before))


async def set_timer(
    db: SystemSession, kind: str, due_at: datetime, /, *, tenant: TenantId = NO_TENANT, ref_id: int = 0
) -> None:
    """Something becomes due at `due_at`; a timer that stands already keeps the earlier moment."""
    timer = Timer(kind=kind, tenant_id=tenant, ref_id=Id(ref_id), due_at=due_at)
    if not await db.insert_once(timer):
        await db.change(
            sa.update(Timer)
            .where(Timer.kind == kind, Timer.tenant_id == tenant, Timer.ref_id == ref_id, Timer.due_at > due_at)
            .values(due_at=due_at)
        )


async def ring(db: SystemSession) -> int:
    """Turn every timer that is due into work of its kind, each once."""
    timers = await db.all(sa.select(Timer).where(Timer.due_at <= db.now).order_by(Timer.due_at).limit(TIMERS_MAX))
    rung = 0
    for timer in timers:
        # Whoever takes the timer out rings it; another worker that read it as well does not.
        if await db.change(sa.delete(Timer).where(Timer.id == timer.id)):
            # The timer's id is the generation: the same thing may become due again later.
            await enqueue(db, timer.kind, timer.tenant_id, ref_id=timer.ref_id, generation=timer.id)
            rung += 1
    return rung


async def waiting(db: SystemSession) -> dict[str, int]:
    """How many pieces of work of each kind are ready or leased."""
    rows = await db.tuples(sa.select(Job.kind, sa.func.count()).where(Job.state != JobState.DONE).group_by(Job.kind))
    return {kind: int(count) for kind, count in rows}


# ------------------------------------------------------------------------------------------- claiming


def _claimable(now: datetime) -> sa.ColumnElement[bool]:
    return sa.or_(
        sa.and_(Job.state == JobState.READY, Job.available_at <= now),
        sa.and_(Job.state == JobState.LEASED, Job.lease_until < now),
    )


async def _running(db: SystemSession) -> Counter[TenantId]:
    rows = await db.tuples(
        sa.select(Job.tenant_id, sa.func.count())
        .where(Job.state == JobState.LEASED, Job.lease_until >= db.now)
        .group_by(Job.tenant_id)
    )
    return Counter({tenant: int(count) for tenant, count in rows})


async def _heads(db: SystemSession, kinds: Sequence[str], algorithms: Sequence[str]) -> list[Job]:
    # The oldest of each tenant and priority: a bounded number however long the queue of one tenant is.
    first = (
        sa.select(sa.func.min(Job.id))
        .where(Job.kind.in_(kinds), Job.algorithm.in_(algorithms), _claimable(db.now))
        .group_by(Job.tenant_id, Job.priority)
        .order_by(sa.func.min(Job.id))
        .limit(HEADS_MAX)
    )
    ids = await db.all(first)
    if not ids:
        return []
    return list(await db.all(sa.select(Job).where(Job.id.in_(ids)).execution_options(populate_existing=True)))


def _one_a_tenant(jobs: Iterable[Job]) -> list[Job]:
    seen: set[TenantId] = set()
    chosen = []
    for job in jobs:
        if job.tenant_id not in seen:
            seen.add(job.tenant_id)
            chosen.append(job)
    return chosen


def _urgency(job: Job, now: datetime) -> int:
    waited = int((now - job.available_at).total_seconds())
    return min(PRIORITY_MAX, job.priority + waited // WAIT_SECONDS_A_PRIORITY)


async def _take(db: SystemSession, job: Job, owner: str, until: datetime, /) -> bool:
    return bool(
        await db.change(
            sa.update(Job)
            .where(Job.id == job.id, Job.attempts == job.attempts, _claimable(db.now))
            .values(state=JobState.LEASED, lease_owner=owner, lease_until=until, attempts=job.attempts + 1)
        )
    )


def _mine(lease: Lease) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        Job.id == lease.job_id,
        Job.state == JobState.LEASED,
        Job.lease_owner == lease.owner,
        Job.attempts == lease.attempt,
    )


def _lease(job: Job, owner: str, until: datetime) -> Lease:
    # `job` was read before it was taken: this is its next attempt.
    return Lease(
        job_id=job.id,
        kind=job.kind,
        tenant_id=job.tenant_id,
        ref_id=job.ref_id,
        generation=job.generation,
        attempt=job.attempts + 1,
        owner=owner,
        until=until,
        algorithm=job.algorithm,
    )
