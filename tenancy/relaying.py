"""The relay: events that were committed but not delivered are found in every pool and handed to their receivers.

It delivers again what a crash left between a commit and its delivery, in the order of each aggregate.
"""

from __future__ import annotations

import asyncio
import time

from base import observe
from base.bus import Notice
from db import relay
from db.outbox import Envelope
from db.sweep import SweepSession
from db.tables.pool.upkeep import Outbox
from db.zones import TenantId
from tenancy.context import Context, House, receive
from tenancy.leases import first_of, noticed

SWEEP_SECONDS = 30.0
AGAIN_SECONDS = 2.0
TENANTS_MAX = 10_000
TOPIC = "outbox"


async def run(house: House, stop: asyncio.Event) -> None:
    """Sweep every pool each half minute, and a tenant as soon as the bus says that its delivery failed."""
    waiting: dict[TenantId, float] = {}
    told = asyncio.Event()

    def hear(notice: Notice) -> None:
        if notice.topic == TOPIC and len(waiting) < TENANTS_MAX:
            waiting.setdefault(TenantId(notice.key), time.monotonic() + AGAIN_SECONDS)
            told.set()

    with noticed(house, hear):
        next_sweep = 0.0
        while not stop.is_set():
            now = time.monotonic()
            if now >= next_sweep:
                next_sweep = now + SWEEP_SECONDS
                for tenant in await _undelivered(house):
                    waiting[tenant] = now
            for tenant in [tenant for tenant, at in waiting.items() if at <= now]:
                del waiting[tenant]
                if not await deliver(house, tenant):
                    waiting[tenant] = time.monotonic() + AGAIN_SECONDS
            soonest = min([next_sweep, *waiting.values()])
            await first_of(stop, told, seconds=soonest - time.monotonic())
            told.clear()


async def deliver(house: House, tenant: TenantId) -> bool:
    """Deliver what this tenant's outbox holds and is due; True where nothing is left to be tried soon."""
    try:
        system = await house.system_of(tenant)
        envelopes = await system.on_pool(relay.due)
    except Exception as error:
        # A pool that is down, a tenant that is going: the sweep finds it again.
        observe.note(observe.Event.DELIVERY_FAILED, tenant=tenant, error=repr(error))
        return True
    failed: set[str] = set()
    for envelope in envelopes:
        if envelope.aggregate not in failed and not await _hand_over(system, envelope):
            failed.add(envelope.aggregate)
    return not failed


async def _hand_over(system: Context, envelope: Envelope) -> bool:
    try:
        await receive(system, envelope)
    except Exception as error:
        observe.note(
            observe.Event.DELIVERY_FAILED,
            type=envelope.type,
            id=envelope.event_id,
            tenant=system.tenant_id,
            error=repr(error),
        )
        await system.on_pool(relay.postpone, envelope.event_id)
        return False
    return True


async def _undelivered(house: House) -> list[TenantId]:
    """The tenants with rows in their outbox, over all pools that answer; a pool that does not is left out."""
    found: dict[TenantId, None] = {}
    for pool in house.settings.pools:
        try:
            found |= dict.fromkeys(await house.sessions.sweep(pool, _tenants))
        except Exception as error:
            observe.note(observe.Event.LOOP_FAILED, loop="relay", pool=pool, error=repr(error))
    return list(found)


async def _tenants(db: SweepSession) -> list[TenantId]:
    found: dict[TenantId, None] = {}
    rows = await db.look(Outbox)
    while rows and len(found) < TENANTS_MAX:
        found |= dict.fromkeys(row[0] for row in rows)
        # One tenant with a long outbox is passed over: its first row says enough.
        rows = await db.look(Outbox, after=(rows[-1][0], 2**63 - 1))
    return list(found)
