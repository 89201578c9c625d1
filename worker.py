"""The background work of one process: the relay, timers, leased work and clean-up, beside the loops of the areas.

Every worker of a deployment runs all of it; each takes its work by conditional updates. What the work is,
areas declare (`tenancy/handlers.py`); how a lease is kept stands in `tenancy/leases.py`.
"""

from __future__ import annotations

import asyncio
import time

import actions
from base import observe
from db import bus_log, work
from tenancy import handlers, leases, limits, relaying
from tenancy.context import House
from tenancy.handlers import Loop

CLEAN_SECONDS = 60
TIMER_SECONDS = 1
USED_SECONDS = 60


async def ring_timers(house: House) -> None:
    """Turn what is due into work."""
    await house.system().on_system(work.ring)


async def clean(house: House) -> None:
    """Delete old notices, rate windows and finished work."""
    system = house.system()
    await system.on_system(bus_log.forget_old)
    await system.on_system(limits.forget_rates)
    await system.on_system(work.forget_done)


async def write_used(house: House) -> None:
    """Write when access tokens were last used."""
    await house.viewers.write_used()


LOOPS = (Loop("timers", TIMER_SECONDS, ring_timers), Loop("clean", CLEAN_SECONDS, clean))
# Of every process that serves, with a worker beside it or without: only it knows which tokens were used there.
TOKENS_USED = Loop("tokens_used", USED_SECONDS, write_used)


async def tell(house: House, stop: asyncio.Event) -> None:
    """What only tells the metrics of a process, for one that serves without a worker, until `stop` is set."""
    telling = [loop for loop in handlers.LOOPS.values() if loop.tells]
    await asyncio.gather(*(repeat(house, loop, stop, at_once=False) for loop in telling))


async def run(house: House, stop: asyncio.Event) -> None:
    """Work until `stop` is set; then leases are given back and nothing is left half told."""
    handlers.load(actions)
    loops = (*LOOPS, *handlers.LOOPS.values())
    async with asyncio.TaskGroup() as group:
        group.create_task(relaying.run(house, stop), name="relay")
        group.create_task(leases.run(house, stop), name="leases")
        for loop in loops:
            group.create_task(repeat(house, loop, stop), name=f"loop:{loop.name}")


async def repeat(house: House, loop: Loop, stop: asyncio.Event, /, *, at_once: bool = True) -> None:
    """Run a loop's function, then again `seconds` after it began, or at once where it took longer, until `stop`."""
    if not at_once:
        await leases.until(stop, seconds=loop.seconds)
    while not stop.is_set():
        began = time.monotonic()
        try:
            await loop.run(house)
        except Exception as error:
            observe.note(observe.Event.LOOP_FAILED, failure=error, loop=loop.name)
        await leases.until(stop, seconds=max(0.0, began + loop.seconds - time.monotonic()))
