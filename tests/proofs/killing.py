"""Kills a real process at every step of a story: before and after each transaction, each call of the store and each
request to an endpoint of a tenant's.

A story is a module-level `async def story(house, *facts)`. The process is forked off a server that has
loaded the product once, so that a kill costs a start of a house and no start of Python.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import multiprocessing
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from multiprocessing.process import BaseProcess
from typing import Any

from sqlalchemy.orm import configure_mappers

import actions
from base.settings import Settings
from db import alike
from outside import egress, services
from outside.egress import Egress
from outside.store import Store
from outside.stripe_api import Payments
from tenancy import handlers
from tenancy.context import House
from tenancy.house import close_house, open_house
from tests import patience

STEPS_MAX = 120
STORY_SECONDS_MAX = 120

Story = Callable[..., Awaitable[object]]

# The areas are loaded here, and whom this machine trusts, once for the server and not by each process to be killed.
handlers.load(actions)
patience.ease()
egress._trusting()
# Half of what a telling computed was how tables are mapped.
configure_mappers()
_FORKS = multiprocessing.get_context("forkserver")
# What a house loads when it first connects or asks the provider, which each process would load anew.
for _late in ("mysql.aiomysql", "postgresql.asyncpg", "sqlite.aiosqlite"):
    importlib.import_module(f"sqlalchemy.dialects.{_late}")
for _late in ("aiomysql", "aiosqlite", "anyio._backends._asyncio", "asyncpg", "stripe._stripe_client"):
    importlib.import_module(_late)
_LOADED = [__name__]
_FORKS.set_forkserver_preload(_LOADED)


def load(module: str) -> None:
    """Have a module of stories loaded once, by the server too; said when the module is loaded here."""
    _LOADED.append(module)
    _FORKS.set_forkserver_preload(_LOADED)


async def each_kill(
    settings: Settings, story: Story, *facts: object, works_between: bool = True
) -> AsyncGenerator[int, None]:
    """Tell the story again and again, each time killed one step later; yields after each kill, ends when it was told.

    The last telling, which nobody interrupts, is yielded as 0. Where nothing of a story that lasts happens between its
    steps (`works_between=False`), before a step is after the one before it, and one kill stands for both.
    """
    for step in range(1, STEPS_MAX):
        process = _FORKS.Process(target=_tell, args=(settings, _Fate(step, works_between=works_between), story, facts))
        process.start()
        code = await asyncio.to_thread(_ended, process)
        if code == 0:
            yield 0
            return
        assert code == -signal.SIGKILL, f"step {step} of {story.__name__} ended with {code}, its own fault"
        yield step
    raise AssertionError(f"{story.__name__} has no end after {STEPS_MAX} steps")


async def side_by_side(settings: Settings, story: Story, *facts: object, count: int) -> None:
    """Tell the story in as many processes at once, each to its end."""
    processes = [
        _FORKS.Process(target=_tell, args=(settings, _Fate(0, works_between=True), story, facts)) for _ in range(count)
    ]
    for process in processes:
        process.start()
    codes = [await asyncio.to_thread(_ended, process) for process in processes]
    assert codes == [0] * count, f"{story.__name__} ended with {codes}"


def _ended(process: BaseProcess) -> int | None:
    process.join(STORY_SECONDS_MAX)
    if process.exitcode is None:
        process.kill()
        process.join()
    code = process.exitcode
    process.close()
    return code


def _tell(settings: Settings, fate: _Fate, story: Story, facts: tuple[object, ...]) -> None:
    asyncio.run(_live(settings, fate, story, facts))


async def _live(settings: Settings, fate: _Fate, story: Story, facts: tuple[object, ...]) -> None:
    house = await open_house(settings, services.open_services(settings), hears=False)
    _make_mortal(house, fate)
    await story(house, *facts)
    await close_house(house)


class _Fate:
    """Counts steps and kills this process at the one that was chosen."""

    def __init__(self, last: int, *, works_between: bool) -> None:
        self._left = last
        self._works_between = works_between
        self._began = False

    def step(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, does: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(does)
        async def done(*args: Any, **kwargs: Any) -> Any:
            if self._works_between or not self._began:
                self._began = True
                self.step()
            answer = await does(*args, **kwargs)
            self.step()
            return answer

        return done


def _make_mortal(house: House, fate: _Fate) -> None:
    # Reads of the directory and of access tokens pass here too: a kill there is a kill between two steps.
    sessions: Any = house.sessions
    sessions._run = fate.around(sessions._run)
    alone: Any = alike  # as this process knows it
    alone.insert_alone = fate.around(alike.insert_alone)
    for kind in (Store, Payments):
        house.services[kind] = _Mortal(house.service(kind), fate)
    egress: Any = house.service(Egress)
    egress.post = fate.around(egress.post)


class _Mortal:
    """A system outside whose every awaited call may be the last."""

    def __init__(self, outside: object, fate: _Fate) -> None:
        self._outside = outside
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._outside, name)
        return self._fate.around(found) if inspect.iscoroutinefunction(found) else found
