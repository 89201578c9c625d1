"""How much a stranger, an account or a tenant may: rates over a window, and quotas that are taken and given back.

Rates are counted in Redis where configured, otherwise in central's `rate_counters`, so they
hold over all processes. Quotas are conditional updates in the tenant's pool.
"""

import hashlib
import time
from typing import Protocol

import redis.asyncio
import redis.exceptions
import sqlalchemy as sa

from base import errors
from base.settings import Settings
from db.guard import Permit
from db.session import PoolSession, Sessions, SystemSession
from db.tables.central.work import RateCounter
from db.tables.pool.upkeep import UsageCounter

FOR_EVER = ""
COUNTED_SECONDS_MAX = 86_400
STORAGE_BYTES = "storage_bytes"


class Counter(Protocol):
    """Counts hits over fixed windows."""

    async def add(self, key: str, window_seconds: int, amount: int) -> int:
        """Add to the window that runs now; the answer is its count afterwards."""

    async def close(self) -> None:
        """End what is open."""


class Rates:
    """Rates of this deployment, over all its processes."""

    def __init__(self, sessions: Sessions, settings: Settings) -> None:
        self._counter: Counter = _RedisCounter(settings.redis_url) if settings.redis_url else _CentralCounter(sessions)

    async def hit(self, kind: str, who: str, *, most: int, window_seconds: int, amount: int = 1) -> None:
        """Count a hit of `who`. Raises RateLimited over `most` in the window."""
        count = await self._counter.add(_key(kind, who), window_seconds, amount)
        if count > most:
            left = window_seconds - int(time.time()) % window_seconds
            raise errors.RateLimited(f"Too many tries: wait {left} seconds and try again.", left)

    async def close(self) -> None:
        """End the counter's connections."""
        await self._counter.close()

    async def take_back(self, kind: str, who: str, *, window_seconds: int, amount: int = 1) -> None:
        """Let a hit of this window not have been one."""
        await self._counter.add(_key(kind, who), window_seconds, -amount)


def _key(kind: str, who: str) -> str:
    # A digest: an address or e-mail does not stand in a counter, and its length is known.
    return f"{kind}:{hashlib.blake2b(who.encode(errors='replace'), digest_size=16).hexdigest()}"


class _CentralCounter:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def add(self, key: str, window_seconds: int, amount: int) -> int:
        start = int(time.time()) // window_seconds * window_seconds
        return await self._sessions.central(SystemSession, Permit(infra=True), _add, key, start, amount)

    async def close(self) -> None:
        """Its connections are the sessions' own."""


async def _add(db: SystemSession, key: str, /, start: int, amount: int) -> int:
    here = sa.and_(RateCounter.key == key, RateCounter.window_start_s == start)
    if not await db.change(sa.update(RateCounter).where(here).values(count=RateCounter.count + amount)):
        if await db.insert_once(RateCounter(key=key, window_start_s=start, count=amount)):
            return amount
        await db.change(sa.update(RateCounter).where(here).values(count=RateCounter.count + amount))
    return await db.first(sa.select(RateCounter.count).where(here)) or amount


class _RedisCounter:
    def __init__(self, url: str) -> None:
        self._redis = redis.asyncio.Redis.from_url(url, socket_connect_timeout=2, socket_timeout=2)

    async def add(self, key: str, window_seconds: int, amount: int) -> int:
        name = f"atrium:rate:{key}:{int(time.time()) // window_seconds}"
        try:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.incrby(name, amount)
                pipe.expire(name, window_seconds)
                count, _ = await pipe.execute()
            return int(count)
        except (redis.exceptions.RedisError, OSError) as error:
            # Without the counter nobody is let through to guess passwords.
            raise errors.RateLimited("Tries cannot be counted just now: wait a moment.", 5) from error

    async def close(self) -> None:
        await self._redis.aclose()


async def forget_rates(db: SystemSession) -> int:
    """Delete counters of windows that are over."""
    return await db.change(
        sa.delete(RateCounter).where(RateCounter.window_start_s < int(time.time()) - COUNTED_SECONDS_MAX)
    )


def limit(settings: Settings, key: str) -> int:
    """How much of `key` a tenant may use; plans will refine it."""
    return {STORAGE_BYTES: settings.storage_bytes_per_tenant}[key]


async def take(db: PoolSession, key: str, /, amount: int, *, most: int, field: tuple[str, ...] = ()) -> None:
    """Use `amount` of a quota of this tenant. Raises LimitExceeded on `field`; nothing is taken then."""
    here = sa.and_(UsageCounter.key == key, UsageCounter.period == FOR_EVER)
    if await db.first(sa.select(UsageCounter.id).where(here)) is None:
        await db.insert_once(UsageCounter(key=key, period=FOR_EVER, used=0))
    if not await db.change(
        sa.update(UsageCounter).where(here, UsageCounter.used + amount <= most).values(used=UsageCounter.used + amount)
    ):
        raise errors.LimitExceeded(f"This tenant's {key.replace('_', ' ')} are used up: the limit is {most:,}.", *field)


async def give_back(db: PoolSession, key: str, amount: int) -> None:
    """Return `amount` to a quota; never below zero."""
    await db.change(
        sa.update(UsageCounter)
        .where(UsageCounter.key == key, UsageCounter.period == FOR_EVER)
        .values(used=sa.case((UsageCounter.used >= amount, UsageCounter.used - amount), else_=0))
    )
