"""Budgets that all processes share, in Redis: a process leases a slice of one and spends it without asking again."""

from __future__ import annotations

import hashlib
import time

import redis.asyncio
import redis.exceptions

from base import observe
from base.settings import Budget

SLICES = 20  # of a full bucket
HELD_SECONDS = 5  # a slice; what is left of it then is forgotten
AWAY_SECONDS = 5.0  # Redis is not asked again for so long after it did not answer
ANSWER_SECONDS_MAX = 1.0

# What is left is refilled by whole seconds of Redis' own clock, then given: the slice if it is there, else what is.
_LEASE = """
local most, per_second, wants = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = tonumber(redis.call('TIME')[1])
local kept = redis.call('HMGET', KEYS[1], 'left', 'at')
local left = most
if kept[1] then
  left = math.min(most, tonumber(kept[1]) + math.max(0, now - tonumber(kept[2])) * per_second)
end
local given = math.min(left, wants)
redis.call('HSET', KEYS[1], 'left', left - given, 'at', now)
redis.call('EXPIRE', KEYS[1], math.ceil(most / per_second) + 1)
return given
"""


class Slices:
    """The lender of slices."""

    def __init__(self, url: str) -> None:
        self._redis = redis.asyncio.Redis.from_url(
            url, socket_connect_timeout=ANSWER_SECONDS_MAX, socket_timeout=ANSWER_SECONDS_MAX
        )
        self._script = self._redis.register_script(_LEASE)
        self._away_until = 0.0

    async def lease(self, name: str, budget: Budget, *, need: int) -> int | None:
        """A slice of this bucket, at least `need` where so much is left; None while Redis does not answer."""
        if time.monotonic() < self._away_until:
            return None
        wants = max(need, budget.most // SLICES)
        key = f"atrium:budget:{hashlib.blake2b(name.encode(errors='replace'), digest_size=16).hexdigest()}"
        try:
            return int(await self._script(keys=[key], args=[budget.most, budget.per_second, wants]))
        except (redis.exceptions.RedisError, OSError) as error:
            # Unlike guesses at passwords, reading goes on: every process then has budgets of its own.
            self._away_until = time.monotonic() + AWAY_SECONDS
            observe.note(observe.Event.BUDGETS_NOT_SHARED, error=repr(error))
            return None

    async def close(self) -> None:
        """End its connections."""
        await self._redis.aclose()
