"""Planned answers are the library's, byte for byte; what a plan cannot answer the library does."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter

import orjson
import pytest
from graphql import get_operation_ast, parse

from base import observe
from base.bus import Notice
from execution import emit, plans, run
from execution.drawing import drawn
from execution.plan import Planner
from execution.run import Run
from execution.variables import NONE
from tests.execution.operations import Operations
from tests.execution.stage import ALICE, BOB, MARY
from tests.execution.test_library import DASHBOARD, GALLERY


@pytest.fixture(scope="module")
def planned(executor) -> plans.Plans:
    return plans.Plans(executor)


def fixed(body: bytes) -> bytes:
    """Without what a signed address has of the clock."""
    return re.sub(rb'expires=\d+[^"]*', b"", body)


async def compared(planned, executor, ctx, query: str, **variables) -> str:
    """Who answered: "plan", or "library" where it says errors itself; the answers are the same."""
    before = observe.counts()["plan_failed"]
    mine = await planned.answer(ctx, query, variables=variables)
    theirs = await executor.execute(ctx, query, variables=variables)
    assert observe.counts()["plan_failed"] == before, query
    if isinstance(mine, bytes):
        assert theirs.errors is None, (query, theirs.errors)
        assert fixed(mine) == fixed(orjson.dumps({"data": theirs.data})), query
        return "plan"
    assert theirs.errors, f"needlessly handed over: {query}"
    assert [error.path for error in mine.errors or ()] == [error.path for error in theirs.errors]
    assert fixed(orjson.dumps(mine.data)) == fixed(orjson.dumps(theirs.data))
    return "library"


async def test_the_same_on_every_engine(any_stage, executor, planned):
    drawn, who = Operations(executor.core, 7), Counter[str]()
    for at in range(40):
        ctx = any_stage.of(ALICE if at % 2 else None)
        who[await compared(planned, executor, ctx, drawn.query(), yes=bool(at % 3))] += 1
    assert who["plan"] > 10, who
    for query, user in ((GALLERY, None), (DASHBOARD, ALICE)):
        assert await compared(planned, executor, any_stage.of(user), query, n=5) == "plan"


@pytest.mark.parametrize(
    "query",
    [
        "{ __typename }",
        "{ a: __typename effects { __typename } }",
        "{ effects(first: 0) { nodes { slug } pageInfo { hasNextPage endCursor } totalCount } }",
        "{ effects(first: 2) { edges { cursor node { id } } nodes { __typename } pageInfo { endCursor } } }",
        "{ effects(first: 2) { a: nodes { x: name } b: nodes { x: slug category { x: name } } } }",
        '{ a: effect(slug: "effect-001") { id } b: effect(slug: "no") { id } c: effect(slug: "é") { id } }',
        '{ effect(slug: "effect-003") { tags { slug } filters { slug } parameters { name kind default } } }',
        '{ effect(slug: "effect-001") { a: galleryVideos(first: 1) { nodes { id } } galleryVideos { totalCount } } }',
        "{ viewer { name tenant { slug domains url } accessTokens { name abilities } } tenant { slug } }",
        "{ wallet { id balance transactions(first: 2) { nodes { kind amount balanceAfter aiJob { id } } } } }",
        "{ videos(first: 5, orderBy: TITLE) { nodes { tags isPublished inputFile { url } exports { totalCount } } } }",
        '{ effects(filter: {search: "ne", categorySlug: "category-1", maxTokenCost: 9}) { nodes { id } } }',
        '{ nodes(ids: ["Effect_3e8", "Effect_1", "Video_616c69636531_2710"]) { id ... on Video { title } } }',
        '{ node(id: "Tenant_616c69636531") { __typename ... on Tenant { url } } b: node(id: "x") { id } }',
        "{ categories { name effects(first: 3) { nodes { galleryVideos(first: 2) { nodes { title } } } } } }",
    ],
)
async def test_corner_cases_are_planned_and_equal(stage, executor, planned, query):
    assert await compared(planned, executor, stage.of(ALICE), query) == "plan"


@pytest.mark.parametrize(
    "query",
    [
        "{ effects(first: -1) { nodes { id } } }",
        '{ effects(after: "x") { nodes { id } } }',
        "{ effects { nodes { galleryVideos(first: 51) { nodes { id } } } } a: tenant { slug } }",
        "{ discounts { id } tiers { id } }",
        "query ($n: Int!) { effects(first: $n) { totalCount } }",
        "{ nothing }",
        "{ effects ",
    ],
)
async def test_what_is_refused_is_told_by_the_library(stage, executor, planned, query):
    assert await compared(planned, executor, stage.of(None), query) == "library"


async def test_cursors_lead_on_and_are_the_librarys(stage, executor, planned):
    query = "query ($after: String) { effects(first: 5, after: $after) { nodes { id } pageInfo { endCursor } } }"
    after, seen = None, []
    for _ in range(3):
        body = await planned.answer(stage.of(None), query, variables={"after": after})
        assert await compared(planned, executor, stage.of(None), query, after=after) == "plan"
        page = orjson.loads(body)["data"]["effects"]
        seen += [node["id"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
    assert len(seen) == len(set(seen)) == 12


async def test_conditions_have_a_plan_each_and_values_share_one(stage, executor, planned):
    query = "query ($yes: Boolean!, $n: Int) { effects(first: $n) { nodes { slug name @include(if: $yes) } } }"
    for yes in (True, False, True):
        for n in (1, 2, 3):
            assert await compared(planned, executor, stage.of(None), query, yes=yes, n=n) == "plan"
    assert len(executor.documents.get(query).plans) == 2


async def test_the_number_of_statements_depends_on_the_depth_and_every_pool_statement_names_the_tenant(
    wide_stage, planned
):
    for query, user, name in ((GALLERY, None, "gallery"), (DASHBOARD, ALICE, "videos")):
        counts = []
        for n in (10, 100):
            ctx = wide_stage.of(user)
            document = await planned.document(ctx, query)
            ready = await planned.ready(ctx, document, variables={"n": n}, operation_name=None)
            wide_stage.house.bus.hear(Notice("catalog", ""))
            one = Run(ctx, ready.values)
            data = await one.answered(ready.plan)
            assert len(data[name]["nodes"]) == n
            counts.append(len(one.texts))
            for sql in one.texts:
                pool = any(f" {table}" in sql for table in ("videos ", "ai_jobs", "files", "token_"))
                assert not pool or "tenant_id" in sql or "gallery_videos" in sql, sql
        assert counts[0] == counts[1] <= 17


async def test_every_member_gets_the_own_rows_from_one_plan_at_once(stage, executor, planned):
    query = "{ videos(first: 100) { nodes { title inputFile { name } } } wallet { id } }"

    async def asked(user: int) -> None:
        data = orjson.loads(await planned.answer(stage.of(user), query))["data"]
        assert {node["inputFile"]["name"] for node in data["videos"]["nodes"]} == {f"file of {user}"}
        assert data["wallet"]["id"].endswith("_6" if user == BOB else "_5")

    await asyncio.gather(*(asked((ALICE, MARY, BOB)[at % 3]) for at in range(60)))


async def test_a_function_that_sees_no_request_is_called_once_for_equal_arguments_and_access_is_asked_each_time(
    stage, executor, planned
):
    query = "query ($n: Int) { files(first: $n) { nodes { name } } }"
    for user in (ALICE, BOB, ALICE, MARY):
        assert await compared(planned, executor, stage.of(user), query, n=3) == "plan"
    assert await compared(planned, executor, stage.of(None, tenant="alice1"), query, n=3) == "library"
    assert await compared(planned, executor, stage.of(BOB, tenant="alice1"), query, n=3) == "library"
    by_slug = "query ($slug: String!) { effect(slug: $slug) { slug } }"
    for slug in ("effect-001", "effect-002", "effect-001", "nothing"):
        assert await compared(planned, executor, stage.of(None), by_slug, slug=slug) == "plan"
    assert len({given for function, given in run.READS if function.__name__ == "effect"}) >= 3


async def test_the_number_of_a_plans_statements_depends_on_the_depth_not_on_the_rows(wide_stage, planned):
    for query, ctx in ((GALLERY, wide_stage.of(None)), (DASHBOARD, wide_stage.of(ALICE))):
        # Once before it is counted: what the catalog remembers then is not read again.
        counts = []
        for rows in (100, 10, 100):
            body, sent = await planned.traced(ctx, query, variables={"n": rows})
            assert isinstance(body, bytes), body
            data = orjson.loads(body)["data"]
            assert len(data.get("gallery", data.get("videos"))["nodes"]) == rows
            counts.append(len(sent))
        assert counts[1] == counts[2]
        assert counts[0] <= 17


def test_fragments_nested_thirty_levels_are_planned_by_looking_at_each_once_a_type(executor):
    counts = []
    for levels in (5, 10, 20, 30):
        spreads = [f"fragment F{at} on Effect {{ ...F{at + 1} slug ...F{at + 1} }}" for at in range(levels)]
        text = f"{{ effects {{ nodes {{ ...F0 }} }} }} {' '.join(spreads)} fragment F{levels} on Effect {{ name }}"
        looked = 0

        def tick() -> None:
            nonlocal looked
            looked += 1

        ast = parse(text)
        operation = get_operation_ast(ast)
        assert operation is not None
        plan = Planner(executor.schema, ast, operation, variables=NONE, tick=tick).plan()
        assert "show → name, slug" in drawn(plan) or "show → slug, name" in drawn(plan)
        counts.append(looked)
    # Each level adds as much as the one before; doubled, thirty levels would be a billion.
    assert counts[3] - counts[2] == counts[2] - counts[1] < 100


async def test_what_is_kept_by_its_arguments_is_kept_by_short_ones(stage, planned):
    ctx, query = stage.of(None), "query ($s: String!) { effect(slug: $s) { id } }"
    run.READS.clear()
    for at in range(20):
        for slug, kept in ((f"short-{at}", True), (f"{at}" + "x" * 900_000, False)):
            before = len(run.READS)
            assert await planned.answer(ctx, query, variables={"s": slug}) == b'{"data":{"effect":null}}'
            assert len(run.READS) == before + kept
    page = "query ($c: String) { effects(after: $c) { totalCount nodes { id } } }"
    before = len(run.READS)
    said = await planned.answer(ctx, page, variables={"c": "x" * 900_000})
    assert [error.original_error.code for error in said.errors] == ["BAD_USER_INPUT"]
    assert len(run.READS) == before
    held = [key for of in Run(ctx, NONE)._catalog._displays.values() for key in of]
    assert max((len(str(key)) for key in held), default=0) < 1_000


async def test_what_shows_rows_is_generated_off_the_loop_and_once(stage, planned, monkeypatch):
    threads, made = [], emit.Emitter.__init__

    def seen(*given, **named):
        threads.append(threading.current_thread().name)
        made(*given, **named)

    monkeypatch.setattr(emit.Emitter, "__init__", seen)
    fields = " ".join(f"n{at}: name" for at in range(15))
    query = f'{{ wide: effect(slug: "effect-003") {{ {fields} category {{ slug }} }} }}'
    for _ in range(3):
        assert isinstance(await planned.answer(stage.of(None), query), bytes)
    assert threads
    assert set(threads) == {"emitting_0"}
    assert len(threads) <= 2
