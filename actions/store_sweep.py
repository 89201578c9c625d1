"""Removes objects that no row stands for: what a crash between store and database, or a late PUT, left behind.

Each area says which keys its rows live by; a prefix is swept once every area that writes there has spoken.
No area is known here.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from base import observe
from db import work
from db.columns import utc_now
from db.session import SystemSession
from outside.store import Store
from tenancy.checks import Finding, of_house
from tenancy.context import Context, House
from tenancy.handlers import Alive, every, handles

Keeper = Callable[[House, Sequence[str]], Awaitable[set[str]]]

SWEEP = "store_sweep"
LOOK_SECONDS = 3_600
# Longer than any URL lives, any upload takes and any worker holds an object before its row is written.
OBJECT_HOURS_MIN = 24
SECOND_LOOK_SECONDS = 60
KEYS_A_LOOK_MAX = 500
REMOVALS_A_SWEEP_MAX = 10_000

KEEPERS: dict[str, list[Keeper]] = {}
COMPLETE: set[str] = set()


def keeps(prefix: str, *, complete: bool = False) -> Callable[[Keeper], Keeper]:
    """Register `async def keeper(house, keys) -> those of the keys that a row of this area lives by`.

    The youngest area that writes under the prefix says `complete=True`: until then it is not swept, since
    nobody could tell what is dead there. A keeper that cannot tell raises, and nothing of that look goes.
    """

    def register(keeper: Keeper) -> Keeper:
        KEEPERS.setdefault(prefix, []).append(keeper)
        if complete:
            COMPLETE.add(prefix)
        return keeper

    return register


@every(LOOK_SECONDS, "store sweep")
async def want_sweep(house: House) -> bool:
    """Queue today's sweep, once over all workers."""
    return await house.system().on_system(_enqueue)


async def _enqueue(db: SystemSession, /) -> bool:
    return await work.enqueue(db, SWEEP, work.NO_TENANT, ref_id=0, generation=db.now.toordinal())


@handles(SWEEP, concurrent=1)
async def sweep_store(ctx: Context, _lease: work.Lease, alive: Alive) -> None:
    """Sweep every prefix and what interrupted transfers left; may stop anywhere, tomorrow's goes on."""
    await ctx.house.service(Store).tidy()
    for prefix in sorted(COMPLETE):
        if await alive():
            removed = await remove_dead(ctx.house, prefix)
            observe.note(observe.Event.SWEPT, what=f"store {prefix}", rows=removed)


async def _pause() -> None:
    await asyncio.sleep(SECOND_LOOK_SECONDS)


async def remove_dead(
    house: House,
    prefix: str,
    /,
    *,
    older_than: timedelta = timedelta(hours=OBJECT_HOURS_MIN),
    pause: Callable[[], Awaitable[object]] = _pause,
) -> int:
    """Remove the objects under a prefix that no keeper keeps, at two looks; how many.

    A copy has the age of what it was copied from, so age alone does not tell that its row is not just being
    written: hence the second look, `pause_seconds` later.
    """
    store, before = house.service(Store), utc_now() - older_than
    dead: list[str] = []
    async for keys in _batches(store, prefix, before=before):
        dead += await _dead(house, prefix, keys)
        if len(dead) >= REMOVALS_A_SWEEP_MAX:
            break
    if dead:
        await pause()
    removed = 0
    for start in range(0, len(dead), KEYS_A_LOOK_MAX):
        for key in await _dead(house, prefix, dead[start : start + KEYS_A_LOOK_MAX]):
            await store.delete(key)
            removed += 1
    return removed


async def count_dead(house: House, prefix: str, /) -> int:
    """How many old objects under a prefix no keeper keeps; what the next sweep will remove."""
    before = utc_now() - timedelta(hours=OBJECT_HOURS_MIN)
    dead = 0
    async for keys in _batches(house.service(Store), prefix, before=before):
        dead += len(await _dead(house, prefix, keys))
    return dead


@of_house("objects without a row")
async def sweep_comes_after(house: House) -> list[Finding]:
    """What the sweep has still to remove."""
    counted = [(prefix, await count_dead(house, prefix)) for prefix in sorted(COMPLETE)]
    return [
        Finding(f"{count} objects under {prefix} have no row", "the worker's daily sweep removes them", wrong=False)
        for prefix, count in counted
        if count
    ]


async def _batches(store: Store, prefix: str, *, before: datetime) -> AsyncIterator[list[str]]:
    keys: list[str] = []
    async for blob in store.list(prefix):
        if blob.modified_at < before:
            keys.append(blob.key)
        if len(keys) >= KEYS_A_LOOK_MAX:
            yield keys
            keys = []
    if keys:
        yield keys


async def _dead(house: House, prefix: str, keys: Sequence[str]) -> list[str]:
    kept: set[str] = set()
    for keeper in KEEPERS[prefix]:
        kept |= await keeper(house, keys)
    return [key for key in keys if key not in kept]
