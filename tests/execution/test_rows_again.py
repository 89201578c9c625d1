"""Rows that anybody may see are written once and read each time: another row, or another origin, is written anew."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
import sqlalchemy as sa

from base.bus import Notice
from db import engines
from db.tables.central.catalog import Effect
from db.tables.central.gallery import GalleryVideo
from execution import plans, snapshot
from tests.execution import stage as stages
from tests.world import ENGINES

SHOWN = "{ gallery(first: 50) { nodes { id title processedFileUrl publishedAt effect { name } } } }"
NESTED = "{ effects(first: 2) { nodes { galleryVideos(first: 3) { nodes { id title } } } } }"
LENGTH = "{ gallery(first: 50) { nodes { title durationSeconds } } }"


@pytest.fixture(params=ENGINES)
async def own_stage(request, anyio_backend, executor, tmp_path):
    async with stages.opened(request.param, tmp_path, rows=3) as opened:
        yield opened


@pytest.fixture(scope="module")
def planned(executor) -> plans.Plans:
    return plans.Plans(executor)


async def changed(stage, statement) -> None:
    engine = engines.open_engine(str(stage.house.settings.central_url))
    async with engine.begin() as connection:
        await connection.execute(statement)
    await engine.dispose()


async def nodes(planned, ctx, query: str = SHOWN) -> dict[str, dict[str, object]]:
    """By title."""
    body = await planned.answer(ctx, query)
    assert isinstance(body, bytes), body
    return {node["title"]: node for node in orjson.loads(body)["data"]["gallery"]["nodes"]}


def written(stage) -> int:
    """How many rows are remembered as they were written."""
    return sum(map(len, snapshot.of(stage.house.bus).version()._written.values()))


@pytest.fixture(autouse=True)
def one_version(monkeypatch):
    """However slow the machine is."""
    monkeypatch.setattr(snapshot, "VERSION_SECONDS_MAX", 1_000.0)


async def test_a_row_that_was_shown_is_written_once_and_one_that_has_changed_anew(own_stage, planned):
    visitor = own_stage.of(None)
    first = await nodes(planned, visitor)
    assert len(first) == 12
    # A row of SQLite's may equal one of other types.
    assert written(own_stage) == (0 if own_stage.engine == "sqlite" else 12)
    assert await nodes(planned, visitor) == first
    one = sa.update(GalleryVideo).where(GalleryVideo.id == 10_000)
    await changed(own_stage, one.values(title="Renamed"))
    second = await nodes(planned, visitor)
    assert second["Renamed"] == {**first["Shown 0.0"], "title": "Renamed"}
    assert set(second) - set(first) == {"Renamed"}
    assert written(own_stage) == (0 if own_stage.engine == "sqlite" else 13)
    await changed(own_stage, one.values(listed=False))
    assert set(await nodes(planned, visitor)) == set(second) - {"Renamed"}


async def test_what_a_row_leads_to_is_as_the_catalog_has_it_now(own_stage, planned):
    visitor = own_stage.of(None)
    assert (await nodes(planned, visitor))["Shown 0.0"]["effect"] == {"name": "Effect-000"}
    await changed(own_stage, sa.update(Effect).where(Effect.id == 1_000).values(name="Other"))
    own_stage.house.bus.hear(Notice("catalog", "Effect"))
    assert (await nodes(planned, visitor))["Shown 0.0"]["effect"] == {"name": "Other"}


async def test_addresses_are_those_of_the_origin_that_was_asked(own_stage, planned):
    for origin in ("http://localhost:8000", "https://films.example", "http://localhost:8000"):
        found = await nodes(planned, replace(own_stage.of(None), origin=origin))
        assert all(str(node["processedFileUrl"]).startswith(f"{origin}/files/") for node in found.values())


async def test_nested_rows_are_the_same_the_second_time(own_stage, planned):
    visitor = own_stage.of(None)
    first = await planned.answer(visitor, NESTED)
    assert b"Shown 2.3" in first
    assert await planned.answer(visitor, NESTED) == first


async def test_a_row_that_cannot_be_shown_is_none_the_second_time_either(own_stage, planned):
    visitor = own_stage.of(None)
    await nodes(planned, visitor)
    await changed(own_stage, sa.update(GalleryVideo).where(GalleryVideo.id == 10_000).values(output_key="elsewhere"))
    for _ in range(2):
        result = await planned.answer(visitor, SHOWN)
        assert not isinstance(result, bytes)
        assert [error.path for error in result.errors] == [["gallery", "nodes", 11, "processedFileUrl"]]


async def test_what_two_equal_values_may_be_written_as_is_not_remembered(own_stage, planned):
    visitor = own_stage.of(None)
    for length in (0.0, -0.0):
        one = sa.update(GalleryVideo).where(GalleryVideo.id == 10_000)
        await changed(own_stage, one.values(duration_seconds=length))
        await nodes(planned, visitor, LENGTH)
    assert written(own_stage) == 0


async def test_it_stays_within_its_bounds(monkeypatch):
    monkeypatch.setattr(snapshot, "WRITTEN_MAX", 10)
    version = snapshot.Version()
    for at in range(100):
        assert bytes(orjson.dumps(version.write("view", (at,), {"at": at}))) == orjson.dumps({"at": at})
        assert len(version.written("view")) <= 10
    version.write("view", ("long",), {"text": "x" * snapshot.WRITTEN_BYTES_MAX})
    assert ("long",) not in version.written("view")
