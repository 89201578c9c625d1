"""What a plan cannot complete is completed over the rows it has read: the same errors, nothing asked twice."""

from __future__ import annotations

import gc
from collections import Counter

import pytest
import sqlalchemy as sa
from graphql import ExecutionResult

from base import errors
from db import engines
from db.leases import Leases
from db.tables.central.catalog import Effect
from db.tables.central.gallery import GalleryVideo
from db.tables.pool.media import Video
from execution import plans
from tests.execution import stage as stages
from tests.execution.stage import ALICE, POOL

LARGE = 2**40  # no Int


@pytest.fixture
async def damaged(anyio_backend, executor, tmp_path):
    """A stage with values that no type takes: only SQLite lets them in."""
    async with stages.opened("sqlite", tmp_path, rows=6) as opened:
        settings = opened.house.settings
        await written(settings.central_url, sa.update(Effect).where(Effect.id == 1002).values(token_cost=LARGE))
        await written(settings.central_url, sa.update(GalleryVideo).where(GalleryVideo.id == 10_001).values(tags=[[1]]))
        await written(settings.pools[POOL], sa.update(Video).where(Video.id == 10_002).values(tags=["a", None]))
        yield opened


@pytest.fixture(scope="module")
def planned(executor) -> plans.Plans:
    return plans.Plans(executor)


async def written(url, statement) -> None:
    engine = engines.open_engine(str(url))
    async with engine.begin() as connection:
        await connection.execute(statement)
    await engine.dispose()


@pytest.fixture
def read(monkeypatch) -> Counter:
    """How often each statement was read by a plan."""
    counted: Counter = Counter()
    before = Leases.read

    async def counting(self, sql, values, permit):
        counted[sql, values] += 1
        return await before(self, sql, values, permit)

    monkeypatch.setattr(Leases, "read", counting)
    return counted


def told(result: ExecutionResult) -> list[tuple[object, str]]:
    return sorted((str(error.path), error.message) for error in result.errors or ())


CASES = {
    "an Int too large nulls its nullable parent": "{ effects(first: 9) { nodes { id tokenCost } } }",
    "in a row that is led to": "{ gallery(first: 20) { nodes { title effect { name tokenCost } } } }",
    "a null in a list of what is never null": "{ videos(first: 9) { nodes { id tags outputFile { name } } } }",
    "in the middle of nested lists": "{ effects(first: 9) { nodes { "
    "galleryVideos(first: 5) { nodes { id tags } } } } }",
    "beside what goes well": "{ a: videos(first: 9) { nodes { tags } } effect(slug: "
    '"effect-001") { name } wallet { balance } }',
    "below a joined row": "{ aiJobs(first: 30) { totalCount edges { cursor node { "
    "video { tags inputFile { name } } } } } }",
    "an argument of a nested field": "{ videos(first: 2) { nodes { id aiJobs(first: 51) { "
    "nodes { id } } } } wallet { balance } }",
    "by id": '{ nodes(ids: ["Effect_3ea", "x", "Effect_3e8"]) { id ... on Effect { tokenCost } } }',
}


@pytest.mark.parametrize("case", CASES)
async def test_errors_paths_and_data_are_the_librarys_and_nothing_is_read_twice(damaged, executor, planned, read, case):
    query, ctx = CASES[case], damaged.of(ALICE)
    with damaged.sending() as by_the_library:
        mine = await planned.answer(ctx, query)
    assert isinstance(mine, ExecutionResult), "the plan answered what cannot be answered"
    assert mine.errors
    assert [statement for statement in by_the_library if "effects" in statement or "videos" in statement] == []
    pool = {key: times for key, times in read.items() if times > 1}
    assert pool == {}, pool
    theirs = await executor.execute(ctx, await planned.document(ctx, query))
    assert told(mine) == told(theirs)
    assert mine.data == theirs.data


async def test_a_database_that_is_gone_costs_the_fields_that_it_had_and_nothing_else(stage, executor, planned):
    databases = stage.house.sessions.databases
    query = "{ gallery(first: 2) { nodes { title } } videos(first: 2) { nodes { title } } }"
    stage.house.sessions.databases = type(databases)(databases.central, {})
    try:
        mine = await planned.answer(stage.of(ALICE), query)
    finally:
        stage.house.sessions.databases = databases
    assert isinstance(mine, ExecutionResult)
    assert mine.errors is not None
    (error,) = mine.errors
    assert error.path == ["videos"]
    assert isinstance(error.original_error, errors.PoolUnavailable)


async def test_an_answer_with_an_error_leaves_none_of_its_rows_to_the_garbage_collector(stage, planned):
    """What it collects it collects at once, and everybody waits for that."""
    query = """query ($n: Int) { effect(slug: "\\u0000") { id } effects(first: $n) { nodes { tokenCost
      galleryVideos(first: 4) { nodes { id title tags } } } } }"""

    async def left(rows: int) -> int:
        said = await planned.answer(stage.of(None), query, variables={"n": rows})
        assert isinstance(said, ExecutionResult)
        assert said.data is not None
        assert len(said.data["effects"]["nodes"]) == rows
        del said
        return gc.collect()

    await left(1)
    gc.collect()
    gc.disable()
    try:
        few, many = await left(1), await left(12)
    finally:
        gc.enable()
    # Eleven effects with four videos each were as many rows, each with two dictionaries.
    assert many - few < 55, (few, many)
