"""The GraphQL specification (October 2021), chapter 6 Execution and 7 Response, section by section.

Expected answers are written by hand and asked of the way that requests go: plans first, the library where they end.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from base.bus import Notice
from db import engines
from execution import library, plans, response
from resolvers import roots
from tests.execution import stage as stages
from tests.execution.stage import ALICE

JOBS = [f"AiJob_616c69636531_{10_000 * 10 + turn:x}" for turn in range(3)]
NO_FLOAT, TOO_LARGE = 100_000, 100_001


@pytest.fixture(scope="module")
async def spoilt(anyio_backend, tmp_path_factory):
    """A stage whose rows hold what their types cannot answer: a progress without end, tokens beyond 32 bits, a tag
    that is null.
    """
    async with stages.opened("sqlite", tmp_path_factory.mktemp("spoilt")) as opened:
        plain = engines.open_engine(opened.house.settings.pools[stages.POOL])
        async with plain.begin() as connection:
            await connection.execute(sa.text(f"UPDATE ai_jobs SET progress = 9e999 WHERE id = {NO_FLOAT}"))
            await connection.execute(sa.text(f"UPDATE ai_jobs SET tokens_reserved = 5000000000 WHERE id = {TOO_LARGE}"))
            await connection.execute(
                sa.text("UPDATE videos SET tags = :tags WHERE id = 10003"), {"tags": '["night", null, "city", null]'}
            )
        await plain.dispose()
        yield opened


@pytest.fixture
def said(stage, executor):
    """What a client of the stage is told."""
    return lambda query, ctx=None, **more: _said(executor, ctx or stage.of(ALICE), query, **more)


@pytest.fixture
def said_of_spoilt(spoilt, executor):
    """What a client of the spoilt stage is told."""
    return lambda query, **more: _said(executor, spoilt.of(ALICE), query, **more)


async def _said(executor: library.Executor, ctx: Any, query: str, *, name: str | None = None, **variables: Any) -> Any:
    answer = await plans.Plans(executor).answer(ctx, query, variables=variables, operation_name=name)
    return orjson.loads(answer if isinstance(answer, bytes) else response.dumped(response.content(answer, "r"), "r"))


def _at(told: Any) -> list[tuple[str, list[Any] | None]]:
    """The code and path of each error, sorted by path: the specification leaves their order open."""
    found = [(error["extensions"]["code"], error.get("path")) for error in told["errors"]]
    return sorted(found, key=lambda each: str(each[1]))


# -------------------------------------------------------------------- 6.1 Executing Requests


async def test_6_1_executing_requests_gets_the_operation_by_its_name(said):
    document = 'query A { effect(slug: "effect-001") { slug } } query B { b: __typename }'
    assert await said(document, name="A") == {"data": {"effect": {"slug": "effect-001"}}}
    assert await said(document, name="B") == {"data": {"b": "Query"}}
    for name in (None, "C"):
        told = await said(document, name=name)
        assert "data" not in told
        assert _at(told) == [("BAD_USER_INPUT", None)]


async def test_6_1_1_validating_requests_executes_only_what_is_valid(said, stage):
    with stage.sending() as sent:
        told = await said("{ effects { totalCount } wallet { nothing } }")
    assert "data" not in told
    assert _at(told) == [("GRAPHQL_VALIDATION_FAILED", None)]
    assert told["errors"][0]["locations"] == [{"line": 1, "column": 35}]
    assert sent == []


async def test_6_1_2_coercing_variable_values(said):
    query = "query ($n: Int = 2, $order: EffectOrder = NAME) { effects(first: $n, orderBy: $order) { nodes { slug } } }"
    two = {"data": {"effects": {"nodes": [{"slug": "effect-000"}, {"slug": "effect-001"}]}}}
    assert await said(query) == two, "a default stands where no value was given"
    assert await said(query, n=2) == two
    assert len((await said(query, n=None))["data"]["effects"]["nodes"]) == 12, "null was given: no default"
    for wrong in ("2", 2.5, True, [2], {"n": 2}, 2**31):
        told = await said(query, n=wrong)
        assert "data" not in told
        assert _at(told) == [("BAD_USER_INPUT", None)]
        assert "'$n'" in told["errors"][0]["message"], told
    assert await said(query, n=2.0) == two, "a number without a fraction is an Int (3.5.1)"
    required = "query ($n: Int!) { effects(first: $n) { totalCount } }"
    for given in ({}, {"n": None}):
        assert "'$n'" in (await said(required, **given))["errors"][0]["message"]


async def test_6_1_2_coercing_variable_values_of_input_objects_and_lists(said):
    query = "query ($filter: EffectFilter) { effects(filter: $filter) { totalCount } }"
    assert await said(query, filter={"categorySlug": "category-1"}) == {"data": {"effects": {"totalCount": 4}}}
    told = await said(query, filter={"categorySlug": "category-1", "color": "red"})
    assert _at(told) == [("BAD_USER_INPUT", None)]
    assert "color" in told["errors"][0]["message"]
    one = "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }"
    assert await said(one, ids="Effect_3e8") == {"data": {"nodes": [{"id": "Effect_3e8"}]}}, (
        "one value is a list of one"
    )
    assert _at(await said(one, ids=["Effect_3e8", None])) == [("BAD_USER_INPUT", None)]


# -------------------------------------------------------------------- 6.2 Executing Operations


async def test_6_2_1_query_executes_the_root_selection_set(said):
    told = await said('{ __typename b: effect(slug: "effect-002") { slug } a: effect(slug: "none") { slug } }')
    assert told == {"data": {"__typename": "Query", "b": {"slug": "effect-002"}, "a": None}}
    assert list(told["data"]) == ["__typename", "b", "a"]


async def test_6_2_2_mutation_executes_its_fields_one_after_the_other(world):
    """Each sees what the one before it has done; a field that fails does not undo or stop the others' effects."""
    sam = await world.staff()
    told = await _said(
        library.Executor(roots.served()),
        await world.of(sam),
        """mutation { a: createCategory(input: {slug: "night", name: "Night"}) { ...Told }
                      b: createCategory(input: {slug: "night", name: "Other"}) { ...Told }
                      c: createCategory(input: {slug: "day", name: "Day"}) { ...Told } __typename }
           fragment Told on CategoryPayload { category { slug name } userErrors { code field } }""",
    )
    assert told == {
        "data": {
            "a": {"category": {"slug": "night", "name": "Night"}, "userErrors": []},
            "b": {"category": None, "userErrors": [{"code": "TAKEN", "field": ["input", "slug"]}]},
            "c": {"category": {"slug": "day", "name": "Day"}, "userErrors": []},
            "__typename": "Mutation",
        }
    }
    assert list(told["data"]) == ["a", "b", "c", "__typename"]


async def test_6_2_2_mutation_answers_with_what_its_own_action_has_left(world):
    """What was read before it, by this operation or another, is not what it answers with."""
    sam, executor = await world.staff(), library.Executor(roots.served())
    ctx = await world.of(sam)
    slugs = "tags { slug }"
    made = await _said(executor, ctx, 'mutation { createTag(input: {slug: "a", name: "A"}) { tag { id } } }')
    algorithm = await _said(
        executor,
        ctx,
        'mutation { createAlgorithm(input: {slug: "x", name: "X", kind: HTTP, provider: "p"}) { algorithm { id } } }',
    )
    given = {"slug": "glow", "name": "Glow", "tokenCost": 1, "tagIds": [made["data"]["createTag"]["tag"]["id"]]}
    given["algorithmId"] = algorithm["data"]["createAlgorithm"]["algorithm"]["id"]
    create = f"mutation ($in: CreateEffectInput!) {{ createEffect(input: $in) {{ effect {{ id name {slugs} }} }} }}"
    variables: dict[str, Any] = {"in": given}
    effect = await _said(executor, ctx, create, **variables)
    shown = effect["data"]["createEffect"]["effect"]
    assert shown["tags"] == [{"slug": "a"}]
    assert (await _said(executor, ctx, f'{{ effect(slug: "glow") {{ name {slugs} }} }}'))["data"]["effect"][
        "name"
    ] == "Glow"
    told = await _said(
        executor,
        ctx,
        f"""mutation ($id: ID!) {{
            a: updateEffect(input: {{id: $id, name: "Dim"}}) {{ effect {{ name {slugs} }} }}
            b: updateEffect(input: {{id: $id, tagIds: []}}) {{ effect {{ name {slugs} }} }}
            c: updateEffect(input: {{id: $id, name: "Dark"}}) {{ effect {{ name {slugs} }} }} }}""",
        id=shown["id"],
    )
    assert told["data"] == {
        "a": {"effect": {"name": "Dim", "tags": [{"slug": "a"}]}},
        "b": {"effect": {"name": "Dim", "tags": []}},
        "c": {"effect": {"name": "Dark", "tags": []}},
    }


async def test_6_2_3_1_source_stream_refuses_what_cannot_begin(stage, executor):
    """An error while the source stream is made is a request error: one answer, no stream."""
    found = await executor.subscribe(stage.of(None, tenant="alice1"), "subscription { wallet { balance } }")
    told = response.content(found, "r")
    assert _at(told) == [("UNAUTHENTICATED", ["wallet"])]
    two = await executor.subscribe(stage.of(ALICE), "subscription { wallet { balance } b: wallet { balance } }")
    assert "data" not in response.content(two, "r")


async def test_6_2_3_2_response_stream_and_6_2_3_3_unsubscribe(stage, executor):
    """One answer an event, each executed anew; ending the response stream ends the source."""
    stream = await executor.subscribe(stage.of(ALICE), "subscription { mine: wallet { balance } }")
    assert (await anext(stream)).data == {"mine": {"balance": 100}}
    listening = len(stage.house.bus._listeners)
    await stage.house.bus.tell([Notice("wallet", "alice1")])
    assert (await anext(stream)).data == {"mine": {"balance": 100}}
    await stream.aclose()
    async with asyncio.timeout(20):
        while len(stage.house.bus._listeners) != listening - 1:
            await asyncio.sleep(0)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_6_2_3_2_response_stream_tells_the_errors_of_an_event_and_goes_on(spoilt, executor):
    """A field error belongs to its event alone: the stream has not failed."""
    query = "subscription ($id: ID!) { aiJob(id: $id) { id progress } }"
    stream = await executor.subscribe(spoilt.of(ALICE), query, variables={"id": JOBS[0]})
    for _ in range(2):
        told = response.content(await anext(stream), "r")
        assert told["data"] is None
        assert _at(told) == [("INTERNAL", ["aiJob", "progress"])]
        await spoilt.house.bus.tell([Notice("ai_job", f"alice1:{NO_FLOAT}")])
    await stream.aclose()


# -------------------------------------------------------------------- 6.3 Executing Selection Sets


async def test_6_3_executing_selection_sets_keeps_the_order_of_the_document(said):
    """The first mention of a response name decides its place, also through fragments."""
    told = await said(
        """{ effect(slug: "effect-001") { ...Late tokenCost slug ... on Node { id } name } }
           fragment Late on Effect { name popularity }"""
    )
    assert list(told["data"]["effect"]) == ["name", "popularity", "tokenCost", "slug", "id"]


async def test_6_3_1_normal_execution_in_any_order_gives_one_answer(said):
    parts = ['a: effect(slug: "effect-001") { slug }', "b: effects(first: 1) { totalCount }", "c: wallet { balance }"]
    one, other = await said(f"{{ {' '.join(parts)} }}"), await said(f"{{ {' '.join(reversed(parts))} }}")
    assert one == other == {"data": {"a": {"slug": "effect-001"}, "b": {"totalCount": 12}, "c": {"balance": 100}}}


@pytest.mark.parametrize(
    ("skip", "include", "stands"),
    [(False, True, True), (False, False, False), (True, True, False), (True, False, False)],
)
async def test_6_3_2_field_collection_skips_and_includes(said, skip, include, stands):
    """Of fields, spreads and inline fragments; both directives must let pass."""
    query = """query ($s: Boolean!, $i: Boolean!) { effect(slug: "effect-001") { id
        field: slug @skip(if: $s) @include(if: $i)
        ... @skip(if: $s) @include(if: $i) { inline: slug }
        ...F @skip(if: $s) @include(if: $i) } }
        fragment F on Effect { spread: slug }"""
    told = (await said(query, s=skip, i=include))["data"]["effect"]
    names = ["field", "inline", "spread"] if stands else []
    assert told == {"id": "Effect_3e9", **dict.fromkeys(names, "effect-001")}


async def test_6_3_2_field_collection_applies_fragments_by_type(said):
    """DoesFragmentTypeApply: an object type by its name, an interface by who implements it."""
    told = await said(
        """{ node(id: "Effect_3e9") { ... on Effect { slug } ... on Video { title } ... on Node { id } ...F ...F } }
           fragment F on Node { __typename ... on Tenant { slug } }"""
    )
    assert told == {"data": {"node": {"slug": "effect-001", "id": "Effect_3e9", "__typename": "Effect"}}}


async def test_6_3_2_field_collection_uses_a_spread_once_but_not_a_skipped_one(said):
    told = await said(
        """query ($no: Boolean!) { effect(slug: "effect-001") { ...F @include(if: $no) ...F } }
           fragment F on Effect { slug }""",
        no=False,
    )
    assert told == {"data": {"effect": {"slug": "effect-001"}}}


# -------------------------------------------------------------------- 6.4 Executing Fields


async def test_6_4_1_coercing_field_arguments(said):
    """A literal, a variable, the argument's default where a variable is missing, null where it is given."""
    count = "effects(first: {}) {{ nodes {{ slug }} }}"

    async def rows(query: str, **variables: Any) -> int:
        return len((await said(query, **variables))["data"]["effects"]["nodes"])

    assert await rows("{" + count.format(3) + "}") == 3
    assert await rows("query ($n: Int) {" + count.format("$n") + "}", n=4) == 4
    assert await rows("query ($n: Int) {" + count.format("$n") + "}") == 12, "20 by default, of 12"
    assert await rows("{" + count.format("null") + "}") == 12
    told = await said('query ($slug: String = "effect-004") { effect(slug: $slug) { slug } }', slug=None)
    assert told["data"] == {"effect": None}
    assert _at(told) == [("BAD_USER_INPUT", ["effect"])]
    assert "'slug'" in told["errors"][0]["message"]


async def test_6_4_2_value_resolution_finds_columns_relations_and_functions(said):
    """A field of one object is the same value however it is reached and however long it takes."""
    told = await said(
        """{ videos(first: 1) { nodes { id title inputFile { name sizeBytes } effect { slug category { name } } } }
             node(id: "Video_616c69636531_271b") { ... on Video { title inputFile { sizeBytes } } } }"""
    )
    video = told["data"]["videos"]["nodes"][0]
    assert video == {
        "id": "Video_616c69636531_271b",
        "title": "Video 11 of 1",
        "inputFile": {"name": "file of 1", "sizeBytes": 7},
        "effect": {"slug": "effect-011", "category": {"name": "Category-2"}},
    }
    assert told["data"]["node"] == {"title": "Video 11 of 1", "inputFile": {"sizeBytes": 7}}


async def test_6_4_3_value_completion_of_leaves_lists_and_objects(said):
    """Result coercion: enums by name, dates and numbers as their scalars say, lists in order, null as null."""
    told = await said(
        """{ gallery(first: 1) { nodes { title tags viewCount publishedAt } }
             aiJobs(first: 1) { nodes { status progress attempts errorMessage finishedAt } } }"""
    )
    assert told == {
        "data": {
            "gallery": {
                "nodes": [
                    {
                        "title": "Shown 11.3",
                        "tags": ["night"],
                        "viewCount": 0,
                        "publishedAt": "2026-01-01T15:00:00.000Z",
                    }
                ]
            },
            "aiJobs": {
                "nodes": [
                    {"status": "QUEUED", "progress": 0.0, "attempts": 0, "errorMessage": None, "finishedAt": None}
                ]
            },
        }
    }


async def test_6_4_3_resolving_abstract_types(said):
    told = await said(
        """{ nodes(ids: ["Effect_3e8", "Tenant_616c69636531", "Category_1e"]) { __typename id
               ... on Effect { slug } ... on Tenant { slug } } }"""
    )
    assert told["data"]["nodes"] == [
        {"__typename": "Effect", "id": "Effect_3e8", "slug": "effect-000"},
        {"__typename": "Tenant", "id": "Tenant_616c69636531", "slug": "alice1"},
        {"__typename": "Category", "id": "Category_1e"},
    ]


async def test_6_4_3_null_in_a_list_stands_where_its_items_may_be_null(said):
    told = await said('{ nodes(ids: ["Effect_1", "Effect_3e8", "Video_x", "Effect_3e9"]) { id } }')
    assert told == {"data": {"nodes": [None, {"id": "Effect_3e8"}, None, {"id": "Effect_3e9"}]}}
    assert await said("{ effects(first: 0) { nodes { id } edges { cursor } } }") == {
        "data": {"effects": {"nodes": [], "edges": []}}
    }


async def test_6_4_3_null_in_a_list_of_what_is_never_null_is_the_lists_error(said_of_spoilt):
    """[String!]! with a null in it: the list, then whatever holds it, until something may be null (6.4.4)."""
    query = "query ($ids: [ID!]!) { nodes(ids: $ids) { id ... on Video { tags } } }"
    told = await said_of_spoilt(query, ids=["Video_616c69636531_2712", "Video_616c69636531_2713"])
    assert told["data"] == {"nodes": [{"id": "Video_616c69636531_2712", "tags": []}, None]}
    assert _at(told) == [("INTERNAL", ["nodes", 1, "tags", 1])], "one of the two nulls tells it"


async def test_6_4_3_abstract_types_take_the_fragments_that_apply_and_refuse_those_that_never_do(said):
    told = await said(
        """{ node(id: "Effect_3e8") { ... { id } ...Any ... on Video { title } ... on Effect { ...Any slug } } }
           fragment Any on Node { again: id kind: __typename ... on Effect { name } }"""
    )
    assert told["data"]["node"] == {
        "id": "Effect_3e8",
        "again": "Effect_3e8",
        "kind": "Effect",
        "name": "Effect-000",
        "slug": "effect-000",
    }
    never = await said('{ node(id: "Effect_3e8") { ... on PageInfo { hasNextPage } } }')
    assert _at(never) == [("GRAPHQL_VALIDATION_FAILED", None)]


async def test_6_4_3_merging_selection_sets(said):
    """Fields of one response name are merged through every level."""
    told = await said(
        """{ effect(slug: "effect-001") { category { slug } } ...More }
           fragment More on Query { effect(slug: "effect-001") { category { name } style { slug } } }"""
    )
    assert told == {
        "data": {"effect": {"category": {"slug": "category-1", "name": "Category-1"}, "style": {"slug": "vintage"}}}
    }


async def test_6_4_4_handling_field_errors_makes_a_nullable_parent_null(said_of_spoilt):
    """In a list of nullable items the others stand; each error names its path with the index."""
    told = await said_of_spoilt(
        "query ($ids: [ID!]!) { nodes(ids: $ids) { id ... on AiJob { progress tokensReserved } } }", ids=JOBS
    )
    assert told["data"] == {"nodes": [None, None, {"id": JOBS[2], "progress": 0.0, "tokensReserved": 0}]}
    assert _at(told) == [("INTERNAL", ["nodes", 0, "progress"]), ("INTERNAL", ["nodes", 1, "tokensReserved"])]


async def test_6_4_4_handling_field_errors_propagates_through_non_null_up_to_data(said_of_spoilt):
    """aiJobs, its nodes and each of them are non-null: nothing between the field and `data` may be null."""
    told = await said_of_spoilt(
        '{ wallet { balance } node(id: "Video_616c69636531_2710") { ... on Video { aiJobs { nodes { progress } } } } }'
    )
    assert told["data"] == {"wallet": {"balance": 100}, "node": None}
    assert _at(told) == [("INTERNAL", ["node", "aiJobs", "nodes", 2, "progress"])]
    told = await said_of_spoilt("{ wallet { balance } aiJobs(first: 100) { nodes { id tokensReserved } } }")
    assert told["data"] is None
    assert _at(told) == [("INTERNAL", ["aiJobs", "nodes", 34, "tokensReserved"])]


async def test_6_4_4_handling_field_errors_tells_one_error_a_place_and_keeps_aliases(said_of_spoilt):
    told = await said_of_spoilt(
        "query ($id: ID!) { a: node(id: $id) { ... on AiJob { p: progress } } b: node(id: $id) { id } }", id=JOBS[0]
    )
    assert told["data"] == {"a": None, "b": {"id": JOBS[0]}}
    assert _at(told) == [("INTERNAL", ["a", "p"])]


# -------------------------------------------------------------------- 7 Response


async def test_7_1_response_format_has_errors_only_where_there_are_some(said, said_of_spoilt):
    assert set(await said("{ __typename }")) == {"data"}
    assert set(await said("{ nothing }")) == {"errors"}
    told = await said_of_spoilt("query ($id: ID!) { node(id: $id) { ... on AiJob { progress } } }", id=JOBS[0])
    assert list(told) == ["errors", "data"], "errors first, so that they are not overlooked"


async def test_7_1_2_errors_tell_message_locations_path_and_extensions(said_of_spoilt):
    told = await said_of_spoilt("query ($id: ID!) { node(id: $id) { ... on AiJob {\n  progress } } }", id=JOBS[0])
    (error,) = told["errors"]
    assert set(error) == {"message", "locations", "path", "extensions"}
    assert error["locations"] == [{"line": 2, "column": 3}]
    assert "Infinity" not in orjson.dumps(told).decode()


async def test_7_2_2_serialised_maps_are_in_the_order_of_the_request(said):
    query = '{ b: effect(slug: "effect-001") { z: slug a: name m: tokenCost } a: __typename }'
    told = await said(query)
    assert list(told["data"]) == ["b", "a"]
    assert list(told["data"]["b"]) == ["z", "a", "m"]


async def test_concurrent_runs_of_one_plan_do_not_mix(stage, executor):
    """A plan holds no value: many requests of it at once each get their own answer (6.4.1 by variables)."""
    planned = plans.Plans(executor)
    query = "query ($slug: String!, $n: Int) { effect(slug: $slug) { slug } effects(first: $n) { nodes { id } } }"
    asked = [({"slug": f"effect-{at % 12:03}", "n": at % 12}) for at in range(60)]
    answers = await asyncio.gather(*(planned.answer(stage.of(None), query, variables=each) for each in asked))
    for given, answer in zip(asked, answers, strict=True):
        data = orjson.loads(answer if isinstance(answer, bytes) else b"null")["data"]
        assert data["effect"] == {"slug": given["slug"]}
        assert len(data["effects"]["nodes"]) == given["n"]
