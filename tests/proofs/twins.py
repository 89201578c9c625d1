"""Two worlds that are one: the same people, rows, ids, clock and secrets. What one is told by plans, the other is told
by the library; then both hold the same rows.

Nothing of the product is replaced but what it takes from outside: the clock, the entropy and the lease of ids.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import sqlalchemy as sa

from base.ids import IdGenerator, Lease
from db import columns, engines
from db.clock import Clock
from db.zones import CentralBase, PoolBase
from execution import response
from execution.plans import Plans
from outside.files_local.links import Links
from outside.store import Store
from tenancy.context import Context
from tests.proofs import stage_of_three
from tests.proofs.stage_of_three import Three
from tests.world import Person, World

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)
DAYS_OF_IDS = 30
# Counted by the real clock's windows, or not used here.
NOT_COMPARED = {"rate_counters", "id_workers"}


class Noon(datetime):
    """A clock that stands."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        """Noon."""
        return NOON.astimezone(tz)


class Standing(Clock):
    """Central's clock, standing."""

    def now(self) -> datetime:
        return NOON

    async def ensure(self, central: object) -> None:
        """Nothing is measured."""


class Entropy:
    """Bytes nobody else could guess, but the same for the same step."""

    def __init__(self, monkeypatch: Any) -> None:
        self._dice = random.Random(0)
        monkeypatch.setattr(columns, "datetime", Noon)
        # Where secrets, uuid, salts and nonces come from.
        monkeypatch.setattr(os, "urandom", self._bytes)
        monkeypatch.setattr(random, "_urandom", self._bytes)

    def begin(self, step: object) -> None:
        """What comes now depends on the step alone."""
        self._dice = random.Random(repr(step))

    def _bytes(self, count: int) -> bytes:
        return self._dice.randbytes(count)


@dataclass
class Twin:
    """One of the two, peopled."""

    three: Three
    sam: Person

    @property
    def world(self) -> World:
        """Its world."""
        return self.three.world

    async def caller(self, who: str) -> Context:
        """A request of alice, mary, bob or sam (staff) on the own host, or of a visitor of the centre."""
        if who == "visitor":
            ctx = self.world.central()
        else:
            people = {"alice": self.three.alice, "mary": self.three.mary, "bob": self.three.bob}
            ctx = await self.world.of(people[who].person if who in people else self.sam)
        return dataclasses.replace(ctx, request_id="request")


@dataclass
class Twins:
    """Both, with what was compared."""

    mine: Twin
    theirs: Twin
    entropy: Entropy
    ran: int = 0
    changed: int = 0
    planned: int = 0
    steps: int = field(default=0)

    async def run(self, who: str, query: str, **variables: Any) -> dict[str, Any]:
        """What both were told. Raises AssertionError where that differs."""
        self.steps += 1
        self.entropy.begin(self.steps)
        mine = await self.mine.three.plans.answer(await self.mine.caller(who), query, variables=variables)
        # What goes on after the answer takes from the same entropy.
        await asyncio.gather(*self.mine.world.house.tasks)
        self.entropy.begin(self.steps)
        theirs = await self.theirs.three.executor.execute(await self.theirs.caller(who), query, variables=variables)
        await asyncio.gather(*self.theirs.world.house.tasks)
        told = orjson.loads(mine) if isinstance(mine, bytes) else response.content(mine, "request")
        expected = response.content(theirs, "request")
        assert orjson.dumps(told.get("data")) == orjson.dumps(expected.get("data")), (query, variables, told, expected)
        assert errors(told) == errors(expected), (query, variables, errors(told), errors(expected))
        self.ran += "data" in told
        self.planned += isinstance(mine, bytes)
        self.changed += "data" in told and isinstance(told["data"], dict) and _did(told["data"])
        return told

    async def check_rows(self) -> int:
        """How many rows both have, and they are the same. Raises AssertionError."""
        mine, theirs = await rows(self.mine.world), await rows(self.theirs.world)
        assert mine.keys() == theirs.keys()
        for table in mine:
            assert mine[table] == theirs[table], (table, *(set(mine[table]) ^ set(theirs[table])))
        return sum(map(len, mine.values()))


async def people(world: World, entropy: Entropy) -> Twin:
    """Fill a world that is new, so that another filled alike is its twin."""
    entropy.begin("people")
    world.house.sessions.ids = IdGenerator(_leased, clock_ms=lambda: NOON_MS)
    world.house.sessions.clock = Standing()
    store: Any = world.house.service(Store)
    store.links = Links(world.settings.secret_key, clock=NOON.timestamp)
    three = await stage_of_three.people(world)
    three.plans = Plans(three.executor)
    return Twin(three, await world.staff("sam"))


async def _leased(now_ms: int) -> Lease:
    return Lease(1, now_ms, now_ms + int(timedelta(days=DAYS_OF_IDS).total_seconds() * 1000))


async def rows(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, by database and table."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for name, url in (("central", world.settings.central_url), *world.settings.pools.items()):
        engine = engines.open_engine(url)
        base = CentralBase if name == "central" else PoolBase
        async with engine.connect() as connection:
            for table in base.metadata.sorted_tables:
                if table.name not in NOT_COMPARED:
                    bare = sa.select(*(sa.type_coerce(column, sa.types.NullType()) for column in table.columns))
                    some = (await connection.execute(bare)).all()
                    found[f"{name}.{table.name}"] = sorted((tuple(row) for row in some), key=repr)
        await engine.dispose()
    return found


def errors(told: dict[str, Any]) -> list[Any]:
    """Path, code and message of each, in an order of ours: the specification leaves theirs open."""
    return (
        sorted([error.get("path"), error["extensions"]["code"], error["message"]] for error in told.get("errors", ()))
        if "errors" in told
        else []
    )


def _did(data: dict[str, Any]) -> bool:
    return any(isinstance(each, dict) and each.get("userErrors") == [] for each in data.values())
