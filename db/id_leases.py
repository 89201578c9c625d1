"""Leases of worker numbers for `base/ids.py`, taken by compare-and-set on central's `id_workers`."""

import random

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from base.ids import LEASE_MS, WORKER_NUMBERS_MAX, Lease
from db.tables.central.work import IdWorker

FREE_LOOKED_AT = 16


async def take(inner: AsyncSession, now_ms: int) -> Lease | None:
    """One try at a number with the span [max(now, its old end), + LEASE_MS); None when somebody was faster."""
    free = (
        await inner.execute(
            sa.select(IdWorker.number, IdWorker.until_ms).where(IdWorker.until_ms <= now_ms).limit(FREE_LOOKED_AT)
        )
    ).all()
    if free:
        number, old_until = random.choice(free)  # noqa: S311  (spreads contenders; nothing secret)
        until = max(now_ms, old_until) + LEASE_MS
        taken = (
            sa.update(IdWorker)
            .where(IdWorker.number == number, IdWorker.until_ms == old_until)
            .values(until_ms=until)
            .execution_options(synchronize_session=False)
        )
        done = await inner.execute(taken)
        met = done.rowcount if isinstance(done, sa.CursorResult) else 0
        return Lease(number, max(now_ms, old_until), until) if met == 1 else None
    # Drawn blindly, a number would mostly be somebody's long before all of them are.
    known = set((await inner.execute(sa.select(IdWorker.number).limit(WORKER_NUMBERS_MAX))).scalars())
    unknown = [number for number in range(WORKER_NUMBERS_MAX) if number not in known]
    if not unknown:
        return None
    number = random.choice(unknown)  # noqa: S311  (spreads contenders; nothing secret)
    await inner.execute(sa.insert(IdWorker).values(number=number, until_ms=now_ms + LEASE_MS))
    return Lease(number, now_ms, now_ms + LEASE_MS)
