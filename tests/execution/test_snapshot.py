"""What is remembered of the catalog: nothing but it, by nobody's eyes, until a change is told."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import orjson
import pytest
import sqlalchemy as sa

from base.bus import Notice
from db import engines
from db.tables.central import catalog
from db.tables.central.catalog import Discount, Package
from execution import plans, snapshot
from execution.run import Run
from tests.execution import stage as stages
from tests.execution.stage import ALICE

SHOWN = "{ gallery(first: 3) { nodes { effect { name category { name } } } } }"
SHELF = '{ categories { name } effect(slug: "effect-001") { name } }'
OWN = "{ videos(first: 2) { nodes { title effect { name } } } wallet { balance } viewer { name } }"


@pytest.fixture
async def own_stage(anyio_backend, executor, tmp_path):
    async with stages.opened("sqlite", tmp_path, rows=4) as opened:
        yield opened


@pytest.fixture(scope="module")
def planned(executor) -> plans.Plans:
    return plans.Plans(executor)


async def sent(planned, ctx, query: str) -> int:
    """The number of statements of an operation."""
    body, statements = await planned.traced(ctx, query)
    assert isinstance(body, bytes), body
    return len(statements)


async def written(stage, statement) -> None:
    engine = engines.open_engine(str(stage.house.settings.central_url))
    async with engine.begin() as connection:
        await connection.execute(statement)
    await engine.dispose()


async def test_the_catalog_is_read_once_and_what_is_private_each_time(own_stage, planned):
    visitor, alice = own_stage.of(None), own_stage.of(ALICE)
    assert [await sent(planned, visitor, SHOWN) for _ in range(3)] == [3, 1, 1]
    assert [await sent(planned, visitor, SHELF) for _ in range(3)] == [2, 0, 0]
    assert [await sent(planned, alice, OWN) for _ in range(3)] == [4, 3, 3]


async def test_a_change_that_was_told_is_seen_at_once_and_one_that_was_not_within_seconds(
    own_stage, planned, monkeypatch
):
    visitor = own_stage.of(None)

    async def name() -> str:
        body = await planned.answer(visitor, '{ effect(slug: "effect-001") { name } }')
        return orjson.loads(body)["data"]["effect"]["name"]

    assert await name() == "Effect-001"
    for told, new in ((True, "Told"), (False, "Silent")):
        before = await name()
        change = sa.update(catalog.Effect).where(catalog.Effect.slug == "effect-001").values(name=new)
        await written(own_stage, change)
        assert await name() == before
        if told:
            own_stage.house.bus.hear(Notice("catalog", "Effect"))
        else:
            monkeypatch.setattr(snapshot, "VERSION_SECONDS_MAX", 0.0)
        assert await name() == new


async def test_what_was_read_before_a_change_is_not_remembered_after_it(own_stage, planned):
    visitor = own_stage.of(None)
    document = await planned.document(visitor, SHOWN)
    ready = await planned.ready(visitor, document, variables=None, operation_name=None)
    early = Run(visitor, ready.values)
    own_stage.house.bus.hear(Notice("catalog", "Effect"))
    await early.answered(ready.plan)
    assert await sent(planned, visitor, SHOWN) == 3


async def test_a_price_follows_the_clock_and_is_never_remembered(own_stage, planned):
    now, query = datetime.now(UTC), "{ packages { discountedPriceCents } }"
    await written(
        own_stage,
        sa.insert(Package).values(
            id=90, slug="p", name="P", name_key="p", price_cents=1000, currency="EUR", tokens=10, created_at=now
        ),
    )

    async def price() -> int:
        body = await planned.answer(own_stage.of(None), query)
        return orjson.loads(body)["data"]["packages"][0]["discountedPriceCents"]

    assert await price() == 1000
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    await written(own_stage, sa.insert(Discount).values(id=91, percent_off=10, starts_at=soon, created_at=now))
    async with asyncio.timeout(60):
        while (told := await price()) == 1000:
            await asyncio.sleep(0.1)
    assert told == 900
    assert datetime.now(UTC) >= soon


async def test_it_stays_within_its_bounds(monkeypatch):
    monkeypatch.setattr(snapshot, "ANSWERS_MAX", 10)
    monkeypatch.setattr(snapshot, "ROWS_MAX", 30)
    version = snapshot.Version()
    for at in range(100):
        version.keep(f"SELECT {at}", (), [(at,)] * 4)
        assert len(version._answers) <= 10
        assert version._rows <= 30
    version.keep("SELECT much", (), [(1,)] * 31)
    assert version.answer("SELECT much", ()) is None
