"""How much operations may cost: a bucket for each viewer or address and one for each tenant, refilled every second.

Buckets are numbers in this process. With Redis all processes share them: each leases a slice at a time, so that most
operations ask nobody (`tenancy/slices.py`). What an operation costs is computed in `execution/cost.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from base import errors, observe
from base.settings import Budget, Settings
from tenancy import hosts
from tenancy.slices import HELD_SECONDS, Slices

if TYPE_CHECKING:  # which holds the budgets
    from tenancy.context import Context

ENTRIES_MAX = 50_000  # of a kind; who has not asked for longest is forgotten, and by then is mostly full again
COST_TOLD_MAX = 10**12  # a bomb's cost has hundreds of digits
COST_OF_REFUSAL = 1

_REQUESTED, _PAID_BACK = observe.COST.labels("requested"), observe.COST.labels("paid_back")
_WHOSE = {"address": "this address has", "viewer": "you have", "tenant": "this tenant has"}


class Bucket:
    """What one viewer, address or tenant has left."""

    __slots__ = ("at", "empty_at", "held_until", "left", "lock")

    def __init__(self, left: int, at: int) -> None:
        self.left = left
        self.at = at  # the second in which it was last refilled
        self.held_until = 0  # of a slice that was leased
        self.empty_at = 0  # the second in which no more was to be leased
        self.lock: asyncio.Lock | None = None  # of whoever leases


class Buckets:
    """The buckets of one kind, by whose they are; bounded."""

    def __init__(self, kind: str, budget: Budget) -> None:
        self.kind = kind
        self.budget = budget
        self._kept: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, who: str, now: int) -> Bucket:
        """The bucket as it was left."""
        bucket = self._kept.get(who)
        if bucket is not None:
            self._kept.move_to_end(who)
            return bucket
        bucket = self._kept[who] = Bucket(self.budget.most, now)
        if len(self._kept) > ENTRIES_MAX:
            self._kept.popitem(last=False)
        return bucket

    def refill(self, bucket: Bucket, now: int) -> None:
        """Add what the seconds since the last time bring."""
        if now > bucket.at:
            bucket.left = min(self.budget.most, bucket.left + (now - bucket.at) * self.budget.per_second)
            bucket.at = now


@dataclass(slots=True)
class Charge:
    """What was taken for one operation, and from which buckets: the caller's own first."""

    requested: int
    limit: int
    taken: Sequence[tuple[Budget, Bucket]]

    def settle(self, actual: int) -> None:
        """Pay back what was asked for and not answered; what was answered beyond it is taken too."""
        over = self.requested - actual
        if over == 0:
            return
        if over > 0:
            _PAID_BACK.inc(over)
        for budget, bucket in self.taken:
            bucket.left = max(0, min(budget.most, bucket.left + over))

    def told(self, actual: int) -> dict[str, int]:
        """`extensions.cost`; `remaining` and `restoreRate` (a second) are the caller's own."""
        budget, bucket = self.taken[0]
        return {
            "requested": min(self.requested, COST_TOLD_MAX),
            "actual": actual,
            "limit": self.limit,
            "remaining": bucket.left,
            "restoreRate": budget.per_second,
        }


class Budgets:
    """All buckets of this process."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._limit = settings.cost_max
        self._addresses = Buckets("address", settings.budget_address)
        self._viewers = Buckets("viewer", settings.budget_viewer)
        self._tenants = Buckets("tenant", settings.budget_tenant)
        self._slices = Slices(settings.redis_url) if settings.redis_url else None

    async def charge(self, ctx: Context, cost: int) -> Charge:
        """Take what an operation is going to cost, before it does anything.

        Raises CostLimitExceeded for one that is dearer than any may be (which costs 1), and RateLimited, with the
        seconds to wait, when a bucket has less; nothing is taken then.
        """
        charge = self.charge_known(ctx, cost)
        if charge is not None:
            return charge
        fits = cost <= self._limit
        takes = cost if fits else COST_OF_REFUSAL
        now = int(self._clock())
        kind, who = self._own(ctx)
        own = kind.of(who, now)
        taken = [(kind.budget, own)]
        charge = Charge(cost, self._limit, taken)
        await self._take(charge, kind, who, bucket=own, takes=takes, now=now)
        if ctx.route is not None:
            tenant = str(ctx.route.tenant_id)
            theirs = self._tenants.of(tenant, now)
            try:
                await self._take(charge, self._tenants, tenant, bucket=theirs, takes=takes, now=now)
            except errors.RateLimited as denial:
                own.left += takes
                denial.cost = charge.told(0)
                raise
            taken.append((self._tenants.budget, theirs))
        if not fits:
            raise self._too_dear(charge)
        _REQUESTED.inc(cost)
        return charge

    def charge_known(self, ctx: Context, cost: int) -> Charge | None:
        """The same where there is enough and nobody has to be asked; None, and nothing taken, otherwise."""
        if cost > self._limit:
            return None
        now = int(self._clock())
        kind, who = self._own(ctx)
        own = kind.of(who, now)
        taken = [(kind.budget, own)]
        if not self._has(kind, own, takes=cost, now=now):
            return None
        if ctx.route is not None:
            theirs = self._tenants.of(str(ctx.route.tenant_id), now)
            if not self._has(self._tenants, theirs, takes=cost, now=now):
                return None
            theirs.left -= cost
            taken.append((self._tenants.budget, theirs))
        own.left -= cost
        _REQUESTED.value += cost
        return Charge(cost, self._limit, taken)

    def spend(self, ctx: Context, cost: int) -> None:
        """Take for what has been answered already, an event of a stream: as much as is there."""
        now = int(self._clock())
        places = [self._own(ctx)]
        if ctx.route is not None:
            places.append((self._tenants, str(ctx.route.tenant_id)))
        for buckets, who in places:
            bucket = buckets.of(who, now)
            if self._slices is None:
                buckets.refill(bucket, now)
            bucket.left = max(0, bucket.left - cost)
        _REQUESTED.inc(cost)

    async def close(self) -> None:
        """End what is open."""
        if self._slices is not None:
            await self._slices.close()

    def _own(self, ctx: Context) -> tuple[Buckets, str]:
        if ctx.viewer is not None:
            return self._viewers, str(ctx.viewer.user_id)
        # Outside workers hold a secret of the house, but many of them may stand behind one address.
        return self._viewers if ctx.is_worker else self._addresses, hosts.network(ctx.address)

    def _has(self, buckets: Buckets, bucket: Bucket, /, *, takes: int, now: int) -> bool:
        if self._slices is None:
            buckets.refill(bucket, now)
        elif now >= bucket.held_until:
            return False
        return bucket.left >= takes

    async def _take(
        self, charge: Charge, buckets: Buckets, who: str, /, *, bucket: Bucket, takes: int, now: int
    ) -> None:
        if self._slices is None:
            buckets.refill(bucket, now)
        elif bucket.left < takes or now >= bucket.held_until:
            await self._lease(self._slices, buckets, who, bucket=bucket, takes=takes, now=now)
        # What is dearer than a full bucket is served by a full one.
        if bucket.left < min(takes, buckets.budget.most):
            raise self._too_much(charge, buckets, bucket, takes=takes)
        bucket.left = max(0, bucket.left - takes)

    async def _lease(
        self, slices: Slices, buckets: Buckets, who: str, /, *, bucket: Bucket, takes: int, now: int
    ) -> None:
        """Lease a slice that is enough from what all processes share; while Redis is away, each refills its own."""
        bucket.lock = bucket.lock or asyncio.Lock()
        async with bucket.lock:
            # Whoever waited finds what the one before has leased, or that there is no more in this second.
            if bucket.empty_at < now and (bucket.left < takes or now >= bucket.held_until):
                await self._fill(slices, buckets, who, bucket=bucket, takes=takes, now=now)

    async def _fill(
        self, slices: Slices, buckets: Buckets, who: str, /, *, bucket: Bucket, takes: int, now: int
    ) -> None:
        kept, need = 0, takes
        if now >= bucket.held_until:
            # What was not used goes stale: what all share has been refilled meanwhile.
            kept, bucket.left = bucket.left, 0
            bucket.held_until = now + HELD_SECONDS
        need -= min(takes, bucket.left)
        granted = await slices.lease(f"{buckets.kind}:{who}", buckets.budget, need=need)
        if granted is None:
            bucket.left = max(bucket.left, kept)
            buckets.refill(bucket, now)
        else:
            bucket.left += granted
            bucket.at = now
            if granted < need:
                bucket.empty_at = now

    def _too_much(self, charge: Charge, buckets: Buckets, bucket: Bucket, /, *, takes: int) -> errors.RateLimited:
        observe.COST_REFUSED.labels(buckets.kind).inc()
        lacking = min(takes, buckets.budget.most) - bucket.left
        seconds = max(1, -(-lacking // buckets.budget.per_second))
        denial = errors.RateLimited(
            f"The operation costs {takes:,} and {_WHOSE[buckets.kind]} {bucket.left:,} left: "
            f"wait {seconds} seconds and try again.",
            seconds,
        )
        denial.cost = charge.told(0)
        return denial

    def _too_dear(self, charge: Charge) -> errors.CostLimitExceeded:
        observe.COST_REFUSED.labels("operation").inc()
        costs = f"{charge.requested:,}" if charge.requested < COST_TOLD_MAX else f"more than {COST_TOLD_MAX:,}"
        denial = errors.CostLimitExceeded(
            f"The operation costs {costs}, and at most {self._limit:,} is served: ask for fewer rows or levels."
        )
        denial.cost = charge.told(COST_OF_REFUSAL)
        return denial
