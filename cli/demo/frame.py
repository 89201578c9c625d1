"""What every part of the demo data is given: the sizes, the tenants, dice that fall alike, and a bar of its own.

A part is a module of this folder with `AFTER` (the parts it builds on) and `fill(demo)`; an area that comes later
adds a file. Parts look at what is there and add what is missing, so any of them may be stopped and run again.
"""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from graphlib import TopologicalSorter
from types import ModuleType, TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

import cli.demo
from base.ids import Id
from cli.demo.samples import Sample
from db.columns import utc_now
from db.tables.central.identity import User
from db.zones import TenantId
from tenancy.context import Context, House

STUDIOS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Size:
    """How much of it."""

    tenants: int
    gallery: int
    videos_per_tenant: int


@dataclass(frozen=True, slots=True)
class Studio:
    """A demo tenant and its owner; `number` counts from 1."""

    number: int
    tenant_id: TenantId
    user_id: Id[User]
    name: str
    email: str
    pool: str


class Bars:
    """A bar for each part on a terminal, otherwise a line when it is done."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, what: str, total: int) -> Bar:
        """A new bar."""
        return Bar(self._progress, self._progress.add_task(what, total=total))


@dataclass(frozen=True, slots=True)
class Bar:
    """How far one part is."""

    progress: Progress
    task: TaskID

    def forward(self, count: int = 1) -> None:
        """So many more are done."""
        self.progress.advance(self.task, count)


@dataclass
class Demo:
    """One run: what was asked, and what the parts before have left for those after."""

    house: House
    size: Size
    seed: int
    password: str
    bars: Bars
    # Moments are counted back from the day it is loaded, so that the data looks as fresh as it is.
    today: datetime = field(default_factory=lambda: datetime.combine(utc_now().date(), time(), tzinfo=UTC))
    studios: list[Studio] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    effects: dict[str, int] = field(default_factory=dict)
    added: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def dice(self, *about: object) -> random.Random:
        """Dice that fall alike for the same seed and subject, whatever was thrown before."""
        return random.Random(f"{self.seed}:{':'.join(map(str, about))}")  # noqa: S311  (demo data, no secret)

    def published_of(self, studio: Studio) -> int:
        """How many videos of the gallery are this tenant's: all alike, the first ones one more."""
        each, more = divmod(self.size.gallery, max(1, len(self.studios)))
        return each + (studio.number <= more)

    async def over_studios(self, what: str, doing: Callable[[Studio, Context], Awaitable[int]], /) -> None:
        """Run `doing` for every tenant, a few at a time; it answers how many rows of `what` it has added."""
        bar, turn = self.bars.begin(what, len(self.studios)), asyncio.Semaphore(STUDIOS_AT_ONCE)

        async def one(studio: Studio) -> None:
            async with turn:
                added = await doing(studio, await self.house.system_of(studio.tenant_id))
                self.added[what] += added
                bar.forward()

        async with asyncio.TaskGroup() as group:
            for studio in self.studios:
                group.create_task(one(studio))

    def lines(self) -> list[str]:
        """What was done, in words."""
        added = ", ".join(f"{count:,} {what}" for what, count in self.added.items() if count)
        return [*self.notes, f"Added: {added}." if added else "Everything was there already."]


def parts() -> Sequence[tuple[str, ModuleType]]:
    """The parts, each after those it builds on."""
    found: dict[str, Any] = {}
    for module in pkgutil.iter_modules(cli.demo.__path__):
        loaded = importlib.import_module(f"cli.demo.{module.name}")
        if hasattr(loaded, "fill"):
            found[module.name] = loaded
    order = TopologicalSorter({name: loaded.AFTER for name, loaded in sorted(found.items())}).static_order()
    return [(name, found[name]) for name in order]


async def load(house: House, size: Size, *, seed: int, password: str, bars: Bars) -> Demo:
    """Run every part; the answer says what was added."""
    demo = Demo(house, size, seed, password, bars)
    for _, part in parts():
        await part.fill(demo)
    return demo
