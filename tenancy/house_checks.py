"""Checks of what keeps the house running: fences against central, events that nobody got, work that nobody does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from base.ids import Id
from db.session import PoolSession, SystemSession
from db.sweep import SweepSession
from db.tables.central.identity import Tenant
from db.tables.central.work import FailedJob, Job, JobState
from db.tables.pool.upkeep import Fence, Outbox
from db.zones import PoolBase, TenantId, TenantState
from tenancy.checks import Finding, of_house, of_tenant
from tenancy.context import Context, House

UNDELIVERED_SECONDS_MAX = 300
WAITING_SECONDS_MAX = 3_600
ROWS_SWEPT_MAX = 100_000
SHOWN_MAX = 5
WORKER = "is a worker running (atrium worker)? its log says why a delivery fails"


@of_tenant("fences")
async def fence_agrees(ctx: Context) -> list[Finding]:
    """The pool's fence says what central says: pool, epoch, state."""
    row = await ctx.on_system(_placement, ctx.tenant_id)
    fence = await ctx.found(_fence)
    if row is None:
        return []
    if fence is None:
        return [
            Finding(f"it has no fence in {row.db_pool}", "nothing can be written: bring the pool back from a backup")
        ]
    wanted = (row.db_pool, row.epoch, row.state)
    if fence == wanted:
        return []
    return [
        Finding(
            f"its fence is {fence[0]}, epoch {fence[1]}, {fence[2].name}; "
            f"central says {wanted[0]}, epoch {wanted[1]}, {wanted[2].name}",
            f"atrium tenants {'suspend' if row.state is TenantState.SUSPENDED else 'resume'} {ctx.tenant_id}",
        )
    ]


async def _placement(db: SystemSession, tenant: TenantId, /) -> Tenant | None:
    return await db.first(sa.select(Tenant).where(Tenant.id == tenant))


async def _fence(db: PoolSession, /) -> tuple[str, int, TenantState] | None:
    here: Id[Fence] = Id(0)
    row = await db.first(sa.select(Fence).where(Fence.id == here))
    return None if row is None else (row.pool_name, row.epoch, row.state)


@of_house("tenants in the pools that central names")
async def nobody_strays(house: House) -> list[Finding]:
    """No pool holds a tenant that central places elsewhere or does not know."""
    found = []
    for pool in house.settings.pools:
        rows = await _sweep(house, pool, Fence)
        strays: list[TenantId] = []
        tenants = [tenant for tenant, _, _ in rows if tenant != ""]
        for start in range(0, len(tenants), 500):
            part = tenants[start : start + 500]
            placed = await house.system().on_system(_placed_in, part, pool)
            strays += [tenant for tenant in part if tenant not in placed]
        if strays:
            found.append(
                Finding(
                    f"{pool} holds {len(strays)} tenants that central places elsewhere or does not know "
                    f"({', '.join(strays[:SHOWN_MAX])})",
                    "compare central and the pool with their backups: one of them is older than the other",
                )
            )
    return found


async def _placed_in(db: SystemSession, tenants: Sequence[TenantId], pool: str, /) -> set[TenantId]:
    return set(await db.all(sa.select(Tenant.id).where(Tenant.id.in_(tenants), Tenant.db_pool == pool)))


@of_house("events delivered")
async def nothing_is_undelivered(house: House) -> list[Finding]:
    """No event waits longer than five minutes."""
    found = []
    before = house.sessions.clock.now() - timedelta(seconds=UNDELIVERED_SECONDS_MAX)
    for pool in house.settings.pools:
        old = Counter(tenant for tenant, _, at in await _sweep(house, pool, Outbox) if at < before)
        if old:
            most = ", ".join(f"{tenant} {count}" for tenant, count in old.most_common(SHOWN_MAX))
            found.append(
                Finding(f"{pool}: {sum(old.values())} events have waited for more than five minutes ({most})", WORKER)
            )
    return found


@of_house("leased work")
async def work_is_done(house: House) -> list[Finding]:
    """Nothing waits for hours, and what was given up is told."""
    late, dead = await house.system().on_system(_late_and_dead)
    found = [
        Finding(f"{count} pieces of work of kind {kind} have been ready for more than an hour", WORKER)
        for kind, count in late
    ]
    return found + [
        Finding(f"{count} pieces of work of kind {kind} were given up", "read failed_jobs.error", wrong=False)
        for kind, count in dead
    ]


async def _late_and_dead(db: SystemSession, /) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    before = db.now - timedelta(seconds=WAITING_SECONDS_MAX)
    late = await db.tuples(
        # Work with an algorithm waits for workers that are not ours, who come when they come.
        sa.select(Job.kind, sa.func.count())
        .where(Job.state == JobState.READY, Job.available_at < before, Job.algorithm == "")
        .group_by(Job.kind)
    )
    dead = await db.tuples(sa.select(FailedJob.kind, sa.func.count()).group_by(FailedJob.kind))
    return [(kind, int(count)) for kind, count in late], [(kind, int(count)) for kind, count in dead]


async def _sweep(house: House, pool: str, table: type[PoolBase]) -> list[tuple[TenantId, int, datetime]]:
    async def look(db: SweepSession) -> list[tuple[TenantId, int, datetime]]:
        rows = page = await db.look(table)
        while page and len(rows) < ROWS_SWEPT_MAX:
            page = await db.look(table, after=page[-1][:2])
            rows += page
        return rows

    return await house.sessions.sweep(pool, look)
