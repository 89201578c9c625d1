"""Builds and closes what a process has; the systems outside are given by whoever starts it."""

import asyncio
from typing import Any

from base import errors, observe
from base.bus import Bus, RedisTransport
from base.ids import Cursors
from base.sealing import Vault
from base.settings import Settings
from db.bus_log import BusLogTransport
from db.session import Sessions, open_databases
from tenancy.budgets import Budgets
from tenancy.context import House
from tenancy.directory import Directory
from tenancy.limits import Rates
from tenancy.viewer import Viewers

TASKS_SECONDS_MAX = 10


async def open_house(settings: Settings, services: dict[type[Any], Any], *, hears: bool = True) -> House:
    """The house of this process. `hears` connects it with the other processes (a short command need not)."""
    bus = Bus()
    sessions = Sessions(
        open_databases(settings.central_url, settings.pools), bus, logs_notices=settings.redis_url is None
    )
    house = House(
        settings=settings,
        sessions=sessions,
        bus=bus,
        directory=Directory(sessions),
        viewers=Viewers(sessions),
        rates=Rates(sessions, settings),
        budgets=Budgets(settings),
        cursors=Cursors(settings.secret_key),
        vault=Vault(settings.secret_keys),
        services=services,
    )
    if settings.redis_url is not None:
        bus.start(RedisTransport(settings.redis_url))
    elif hears:
        bus.start(BusLogTransport(sessions))
    return house


async def close_house(house: House) -> None:
    """Stop hearing, write what is still to be written, close every connection."""
    if house.tasks:
        await asyncio.wait(set(house.tasks), timeout=TASKS_SECONDS_MAX)
    await house.bus.close()
    await house.directory.close()
    await house.viewers.close()
    await house.rates.close()
    await house.budgets.close()
    try:
        await house.viewers.write_used()
    except errors.CentralUnavailable as error:
        # Only when tokens were last used is lost; what is open is closed all the same.
        observe.note(observe.Event.LOOP_FAILED, loop="tokens_used", error=repr(error))
    for service in house.services.values():
        close = getattr(service, "close", None)
        if close is not None:
            await close()
    await house.sessions.databases.close()
