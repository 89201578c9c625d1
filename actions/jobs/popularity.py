"""How popular an effect is: the jobs that succeeded with it in 30 days, counted once a day over all tenants."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta

import sqlalchemy as sa

from base import errors
from db import work
from db.session import PoolSession, SystemSession
from db.tables.central.catalog import Effect
from db.tables.central.identity import Tenant
from db.tables.pool.jobs import AiJob, AiJobStatus
from db.zones import TenantId, TenantState
from tenancy.context import Context, House
from tenancy.handlers import Alive, every, handles

POPULARITY = "popularity"
COUNTED_DAYS = 30
TENANTS_A_PAGE = 500
SECONDS_BETWEEN_LOOKS = 3_600


@every(SECONDS_BETWEEN_LOOKS, POPULARITY)
async def see_to_it(house: House) -> None:
    """Set the timer of the next night; it rings once for the deployment, however many workers there are."""
    await house.system().on_system(_set_timer)


async def _set_timer(db: SystemSession, /) -> None:
    tomorrow = datetime.combine(db.now.date() + timedelta(days=1), time(), tzinfo=UTC)
    await work.set_timer(db, POPULARITY, tomorrow)


@handles(POPULARITY)
async def count_popularity(ctx: Context, _lease: work.Lease, alive: Alive) -> None:
    """Count over every tenant, one statement each, then write the effects whose count has changed.

    Reads pools one after the other; a crash leaves yesterday's numbers, and the work is done again. A
    pool that does not answer puts the whole count off.
    """
    counts: Counter[int] = Counter()
    after = TenantId("")
    while page := await ctx.on_system(_tenants, after):
        for tenant in page:
            try:
                theirs = await ctx.house.system_of(tenant)
            except errors.TenantNotFound:
                continue
            counts.update(await theirs.on_pool(_succeeded))
        after = page[-1]
        await alive()
    await ctx.on_system(_write, counts)


async def _tenants(db: SystemSession, after: TenantId, /) -> Sequence[TenantId]:
    counted = (TenantState.ACTIVE, TenantState.SUSPENDED)
    return await db.all(
        sa.select(Tenant.id)
        .where(Tenant.id > after, Tenant.state.in_(counted))
        .order_by(Tenant.id)
        .limit(TENANTS_A_PAGE)
    )


async def _succeeded(db: PoolSession, /) -> dict[int, int]:
    since = db.now - timedelta(days=COUNTED_DAYS)
    rows = await db.tuples(
        sa.select(AiJob.effect_id, sa.func.count(AiJob.id))
        .where(AiJob.status == AiJobStatus.SUCCEEDED, AiJob.finished_at >= since, AiJob.effect_id.is_not(None))
        .group_by(AiJob.effect_id)
    )
    return {effect_id: int(count) for effect_id, count in rows}


async def _write(db: SystemSession, counts: Counter[int], /) -> None:
    for effect in await db.all(sa.select(Effect).where(Effect.archived_at.is_(None))):
        if effect.popularity != counts[effect.id]:
            effect.popularity = counts[effect.id]
    db.tell("catalog", "effects")
