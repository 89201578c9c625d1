"""Fields with functions of their own over real tables: sync, async and batched, by plan and by the library.

Run by `test_python_fields.py` in a process of its own: a schema is built once a process, and these fields are in no
other.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import anyio
import anyio.lowlevel
import orjson
import pytest

from base import errors
from db.tables.central import catalog
from execution import hints, plans, types
from execution.declare import NODES, batched, computed, extends, one
from execution.drawing import drawn
from schema.catalog import Effect
from schema.media import Video
from tests.execution.stage import ALICE, BOB
from tests.execution.test_planned import compared

CALLS: Counter[str] = Counter()
SEEN: list[int] = []


def _loud(title: str) -> str:
    CALLS["loud"] += 1
    return title.upper()


async def _slow(ctx, id: int, title: str) -> str:
    CALLS["slow"] += 1
    await anyio.lowlevel.checkpoint()
    return f"{title} of {ctx.viewer.user_id}, {id % 10_000}"


async def _whole(id: int) -> int | None:
    CALLS["whole"] += 1
    await anyio.lowlevel.checkpoint()
    if id % 10_000 == 3:
        raise errors.Conflict("The fourth has no number.")
    return None if id % 10_000 == 4 else id


async def _lengths(_ctx, rows: list[tuple[str]]) -> list[object]:
    CALLS["lengths"] += 1
    SEEN.append(len(rows))
    await anyio.lowlevel.checkpoint()
    return [len(title) for (title,) in rows]


def _odd(_ctx, rows: list[tuple[int]]) -> list[object]:
    CALLS["odd"] += 1
    return [errors.Conflict("This one is odd.") if id % 2 else id for (id,) in rows]


def _likes(_ctx, rows: list[tuple[int | None]]) -> list[object]:
    CALLS["likes"] += 1
    return [None if id is None else one(Effect, where=(catalog.Effect.id == id,)) for (id,) in rows]


def _too_few(_ctx, rows: list[tuple[int]]) -> list[int]:
    return [number for (number,) in rows][1:]


async def _broken(_ctx, rows: list[tuple[int]]) -> list[object]:
    raise errors.Conflict(f"None of {len(rows)}.")


@extends(Video)
class Extras:
    loud: Annotated[str, computed(_loud)]
    slow: Annotated[str, computed(_slow)]
    whole: Annotated[int | None, computed(_whole)]
    length: Annotated[int, batched(_lengths, "title")]
    even: Annotated[int | None, batched(_odd, "id")]
    liked: Annotated[Effect | None, batched(_likes, "effect_id")]
    too_few: Annotated[int | None, batched(_too_few, "id")]
    broken: Annotated[int | None, batched(_broken, "id")]


@pytest.fixture(scope="module")
def planned(executor) -> plans.Plans:
    return plans.Plans(executor)


@pytest.fixture(autouse=True)
def counted():
    CALLS.clear()
    SEEN.clear()


async def data_of(planned, stage, query: str, user: int = ALICE):
    body = await planned.answer(stage.of(user), query)
    assert isinstance(body, bytes), body
    return orjson.loads(body)["data"]


async def test_sync_async_and_batched_fields_are_planned_and_are_the_librarys(any_stage, executor, planned):
    for query in (
        "{ videos(first: 7) { nodes { loud slow length liked { name category { name } } } } }",
        "{ videos(first: 7) { edges { cursor node { title length } } nodes { a: length b: length slow } } }",
        "{ aiJobs(first: 9) { nodes { video { slow length liked { slug } } } } }",
    ):
        for user in (ALICE, BOB):
            assert await compared(planned, executor, any_stage.of(user), query) == "plan"


async def test_a_batched_function_is_called_once_a_level_however_many_rows_there_are(stage, planned):
    query = "{ a: videos(first: 12) { nodes { length } } b: videos(first: 3) { nodes { length } } }"
    data = await data_of(planned, stage, query)
    assert [len(data[name]["nodes"]) for name in "ab"] == [12, 3]
    assert CALLS["lengths"] == 2
    assert sorted(SEEN) == [3, 12]


async def test_a_batched_function_is_called_once_for_the_library_too(stage, executor):
    query = "{ videos(first: 12) { nodes { length x: length } } }"
    answer = await executor.execute(stage.of(ALICE), query)
    assert answer.errors is None
    assert len(answer.data["videos"]["nodes"]) == 12
    # Two response names are two fields of the document.
    assert SEEN == [12, 12]


async def test_two_pages_of_an_async_batch_join_up(stage, planned):
    first = "{ videos(first: 5) { nodes { id length } pageInfo { endCursor } } }"
    page = (await data_of(planned, stage, first))["videos"]
    second = f'{{ videos(first: 20, after: "{page["pageInfo"]["endCursor"]}") {{ nodes {{ id length title }} }} }}'
    rest = (await data_of(planned, stage, second))["videos"]["nodes"]
    assert len({node["id"] for node in (*page["nodes"], *rest)}) == 12
    assert all(node["length"] == len(node["title"]) for node in rest)
    assert SEEN == [5, 7]


async def test_a_function_that_raises_for_some_rows_costs_those_alone_and_is_not_called_again(stage, executor, planned):
    query = "{ videos(first: 12) { nodes { id even whole liked { name } } } }"
    mine = await planned.answer(stage.of(ALICE), query)
    assert CALLS == {"odd": 1, "whole": 12, "likes": 1}
    nodes = mine.data["videos"]["nodes"]
    assert [node["even"] is None for node in nodes] == [at % 2 == 1 for at in range(11, -1, -1)]
    assert sum(node["whole"] is None for node in nodes) == 2
    # Every fifth names an effect that is gone.
    assert sum(node["liked"] is None for node in nodes) == 3
    theirs = await executor.execute(stage.of(ALICE), query)
    assert mine.data == theirs.data

    def told(answer):
        return sorted((str(error.path), error.message) for error in answer.errors)

    assert len(told(mine)) == 7
    assert told(mine) == told(theirs)


@pytest.mark.parametrize("name", ["tooFew", "broken"])
async def test_a_batch_that_fails_as_a_whole_is_told_for_each_row_and_costs_nothing_else(
    stage, executor, planned, name
):
    query = f"{{ videos(first: 3) {{ nodes {{ title {name} }} }} }}"
    for answer in (await planned.answer(stage.of(ALICE), query), await executor.execute(stage.of(ALICE), query)):
        assert [error.path for error in answer.errors] == [["videos", "nodes", at, name] for at in range(3)]
        assert [node[name] for node in answer.data["videos"]["nodes"]] == [None] * 3
        assert all(node["title"] for node in answer.data["videos"]["nodes"])


async def test_a_plan_says_what_is_called_for_all(planned):
    lines = drawn(planned.plan("{ videos { nodes { loud slow length liked { name } } } }"))
    assert "length from title: call _lengths for all parents at once" in lines
    assert "slow from id, title: call _slow\n" in lines
    assert "liked from effect_id: call _likes for all parents at once, then read Effect" in lines


def test_what_has_no_hash_is_refused_when_the_schema_is_built():
    hint = hints.read(Annotated[int, batched(_lengths, "tags")])
    with pytest.raises(TypeError, match=r"Video\.many is called once for equal rows, and tags is JSON"):
        types._field(NODES["Video"], "many", hint)
