"""Corner cases by hand, asked of plans and of the library: the same data, and errors in the places that are named."""

from __future__ import annotations

from typing import Any

import pytest

from db.zones import CentralBase, PoolBase
from tests.execution import spoiling
from tests.execution import stage as stages
from tests.execution.oracle import Oracle
from tests.execution.stage import ALICE

CENTRAL = [
    ("effects", 1002, "token_cost", 2**40),
    ("effects", 1003, "name", None),
    ("effects", 1004, "created_at", "0000-00-00 00:00:00"),
    ("gallery_videos", 10_001, "tags", '["a", null]'),
    ("gallery_videos", 10_003, "tags", "{broken"),
]
POOL = [
    ("videos", 10_001, "title", None),
    ("videos", 10_002, "tags", '["a", null]'),
    ("videos", 10_003, "tags", "{}"),
    ("files", 10_004, "name", None),
    ("files", 10_005, "status", "UNHEARD_OF"),
    ("ai_jobs", 100_061, "status", "UNHEARD_OF"),
    ("ai_jobs", 100_060, "progress", None),
    ("ai_jobs", 100_070, "attempts", 2**40),
]
# What no server of ours stores: a number without end, a word in a number's place.
SQLITE_ALONE = [("ai_jobs", 100_080, "progress", 9e999), ("ai_jobs", 100_081, "tokens_reserved", "many")]


@pytest.fixture
def oracle(executor) -> Oracle:
    return Oracle(executor)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("mariadb", marks=pytest.mark.services)])
async def damaged(request, anyio_backend, tmp_path_factory):
    """A stage with a few values that no type takes, each in a row that is known."""
    async with stages.opened(request.param, tmp_path_factory.mktemp("damaged")) as opened:
        settings = opened.house.settings
        rows = POOL + (SQLITE_ALONE if request.param == "sqlite" else [])
        for url, base, cells in (
            (settings.central_url, CentralBase, CENTRAL),
            (settings.pools[stages.POOL], PoolBase, rows),
        ):
            async with spoiling.loosened(url, base) as engine:
                for table, key, column, value in cells:
                    assert await spoiling.put(engine, table, key, column=column, value=value)
        yield opened


def global_id(kind: str, key: int) -> str:
    """Of a row of the pool."""
    return f"{kind}_616c69636531_{key:x}"


def nulls(value: Any, place: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where an answer has null."""
    if value is None:
        return [place]
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, each in inner for found in nulls(each, (*place, key))]


# Operation → where `data` has null because of an error below it.
WRONG: dict[str, tuple[str, list[tuple[str | int, ...]]]] = {
    "a null in a non-null place nulls the nearest that may be null": (
        "query ($a: ID!, $b: ID!) { a: node(id: $a) { ...V } b: node(id: $b) { ...V } } fragment V on Video { title }",
        [("a",)],
    ),
    "a list of nullable items loses those that are wrong": (
        "query ($a: ID!, $b: ID!) { nodes(ids: [$a, $b, $a]) { id ... on Video { title } } }",
        [("nodes", 0), ("nodes", 2)],
    ),
    "aliases of one field have an error each": (
        "query ($a: ID!) { a: node(id: $a) { ... on Video { x: title y: title } } c: node(id: $a) { id } }",
        [("a",)],
    ),
    "an error in the middle of a nested list nulls the parent of its connection": (
        "query ($b: ID!) { wallet { balance } b: node(id: $b) { ... on Video { id aiJobs { nodes { status } } } } }",
        [("b",)],
    ),
    "a function that raises for some parents": (
        "query ($c: ID!, $d: ID!) { nodes(ids: [$d, $c, $d]) { ... on Video { id inputFile { id url } } } }",
        [("nodes", 1, "inputFile", "url")],
    ),
    "a word nobody knows": (
        "query ($e: ID!) { node(id: $e) { ... on Video { id inputFile { id status } } } }",
        [("node", "inputFile")],
    ),
    "a function is not called with what is none of its type": (
        "query ($e: ID!) { node(id: $e) { ... on Video { id inputFile { id url } } } }",
        [("node", "inputFile", "url")],
    ),
    "two fragments that merge see one error": (
        "query ($a: ID!) { node(id: $a) { ...A ... on Video { title id } } } fragment A on Video { title }",
        [("node",)],
    ),
    "everything above is non-null": ("{ videos(first: 20) { nodes { id title } } wallet { balance } }", [()]),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_wrong_costs_what_the_specification_says(damaged, oracle, case):
    query, places = WRONG[case]
    keys = {"a": 10_001, "b": 10_006, "c": 10_004, "d": 10_003, "e": 10_005}
    variables = {name: global_id("Video", key) for name, key in keys.items() if f"${name}:" in query}
    told = await oracle.compare(damaged.of(ALICE), query, **variables)
    assert oracle.by["errors"] == bool(places)
    assert nulls(told["data"]) == places


SPOILT = [
    "{ effects(first: 20) { nodes { id tokenCost } } }",
    "{ effects(first: 20) { edges { cursor node { name } } pageInfo { endCursor } } }",
    "{ effects(first: 20) { nodes { createdAt } } }",
    "{ gallery(first: 50) { nodes { title tags effect { name tokenCost createdAt } } } }",
    "{ gallery(first: 50) { nodes { a: tags b: tags } totalCount } a: effects(first: 1) { nodes { slug } } }",
    "{ effects(first: 20) { nodes { slug galleryVideos(first: 5) { nodes { id tags } totalCount } } } }",
    "{ categories { effects { nodes { galleryVideos(first: 3) { edges { node { tags effect { tokenCost } } } } } } } }",
    "{ videos(first: 20) { nodes { id tags effect { name } inputFile { url } } } }",
    "{ videos(first: 20, orderBy: TITLE) { edges { cursor node { title } } pageInfo { startCursor endCursor } } }",
    "{ videos(first: 20) { nodes { aiJobs(first: 3) { nodes { status progress attempts } } } } }",
    "{ aiJobs(first: 100) { nodes { id status video { title inputFile { url status } } } } }",
    "{ aiJobs(first: 100) { nodes { id progress attempts tokensReserved effect { name } } } }",
    "{ files(first: 20) { nodes { name } } } ",
    "{ a: files(first: 20) { nodes { url } } b: files(first: 20) { nodes { status } } c: files { totalCount } }",
    """{ a: effect(slug: "effect-003") { id name } b: effect(slug: "effect-002") { tokenCost }
         c: effect(slug: "effect-004") { createdAt } }""",
    """{ nodes(ids: ["Effect_3ea", "Effect_3eb", "GalleryVideo_2711", "x", "Effect_3e8"]) {
         id __typename ... on Effect { name tokenCost } ... on GalleryVideo { tags } } }""",
]


@pytest.mark.parametrize("at", range(len(SPOILT)))
async def test_lists_over_damaged_rows(damaged, oracle, at):
    await oracle.compare(damaged.of(ALICE), SPOILT[at])
    await oracle.compare(damaged.of(ALICE), SPOILT[at])
    assert oracle.ran == 2


SOUND = [
    """{ a: effects(first: 1) { nodes { id } } b: effects(first: 2, orderBy: NAME) { nodes { id } }
         c: effects(first: 0) { nodes { id } } }""",
    """{ effects(first: 2) { nodes { a: galleryVideos(first: 1) { nodes { id } }
         b: galleryVideos(first: 2) { nodes { title } totalCount } } } }""",
    """{ categories { effects(first: 2) { nodes { category {
         effects(first: 1) { nodes { category { name } } } } } } } }""",
    "query ($id: ID!) { node(id: $id) { ... on Node { id ... on Video { ... on Node { id } title } } __typename } }",
    """query ($id: ID!) { node(id: $id) { ...N } } fragment N on Node { id ...V }
       fragment V on Video { effect { ...E } } fragment E on Effect { id ... on Node { __typename } }""",
    """query ($ids: [ID!]!) { nodes(ids: $ids) {
         ... on Effect { slug } ... on Video { title tags } ... on AiJob { status video { id } } } }""",
]


@pytest.mark.parametrize("at", range(len(SOUND)))
async def test_shapes_that_plans_could_trip_over(stage, oracle, at):
    ids = [global_id("Video", 10_001), "Effect_3e8", global_id("AiJob", 100_000), "Effect_3e8", "Effect_1"]
    for given in ids[:3] if "$id:" in SOUND[at] else [""]:
        await oracle.compare(
            stage.of(ALICE),
            SOUND[at],
            **({"id": given} if given else {}),
            **({"ids": ids} if "$ids" in SOUND[at] else {}),
        )
    assert oracle.by["plan"] == oracle.ran > 0


VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    3,
    2**31 - 1,
    2**31,
    2**63,
    -(2**31) - 1,
    2.0,
    2.5,
    1e300,
    float("nan"),
    "3",
    "",
    [],
    [1],
    {},
    {"n": 1},
]
TYPES = ["Int", "Int!", "Int = 2", "[Int]", "Float", "String", "Boolean", "ID", "EffectOrder", "EffectFilter"]
PLACES = {
    "Int": "effects(first: $v) { nodes { id } }",
    "Float": "__typename",
    "String": "effect(slug: $v) { id }",
    "Boolean": "effects(first: 2, filter: {isPremium: $v}) { totalCount }",
    "ID": "node(id: $v) { id }",
    "EffectOrder": "effects(first: 2, orderBy: $v) { nodes { id } }",
    "EffectFilter": "effects(first: 2, filter: $v) { nodes { id } }",
}


@pytest.mark.parametrize("type_", TYPES)
async def test_variables_of_every_kind_are_taken_or_refused_alike(stage, oracle, type_):
    place = PLACES[type_.strip("![]").partition(" ")[0]]
    for value in [*VALUES, "Effect_3e8", "NAME", "effect-001", {"search": "ne"}, {"search": None, "color": 1}]:
        await oracle.compare(stage.of(ALICE), f"query ($v: {type_}) {{ {place} }}", v=value)
    await oracle.compare(stage.of(ALICE), f"query ($v: {type_}) {{ {place} }}")
    assert oracle.ran + oracle.refused == len(VALUES) + 6


@pytest.mark.parametrize("given", [{}, {"x": True}, {"x": False}, {"x": None}])
@pytest.mark.parametrize("word", ["skip", "include"])
async def test_a_condition_may_be_null_where_its_variable_has_a_default(stage, oracle, word, given):
    query = "query ($x: Boolean = true) { __typename effects(first: 1) %s { totalCount nodes { id } } }"
    nested = "query ($x: Boolean = true) { effects(first: 2) { nodes { id name %s category { id slug %s } } } }"
    for text in (query, nested):
        told = await oracle.compare(stage.of(ALICE), text.replace("%s", f"@{word}(if: $x)"), **given)
        assert ("errors" in told) == (given == {"x": None})


async def test_what_a_null_condition_would_have_read_is_charged_as_if_it_were_asked(stage, oracle):
    query = (
        "query ($x: Boolean = true) { effects(first: 100) { nodes { galleryVideos(first: 50) { nodes { id %s } } } } }"
    )
    for text in (query, query.replace("galleryVideos(first: 50)", "galleryVideos(first: 50) @skip(if: $x)")):
        ctx, given = stage.of(None), {"x": None}
        document = await oracle.plans.document(ctx, text.replace("%s", "@include(if: $x)"), variables=given)
        ready = await oracle.plans.ready(ctx, document, variables=given, operation_name=None)
        assert ready.cost.requested(ready.values) > 100 * 50


BESIDE = "query A ($x: Boolean!) { __typename @include(if: $x) effects(first: 1) { totalCount } } "


@pytest.mark.parametrize(
    ("other", "given"),
    [
        ("query B ($x: [ID!]!) { nodes(ids: $x) { __typename id } }", ["Effect_3e8", "y"]),
        ("query B ($x: EffectFilter) { effects(first: 1, filter: $x) { totalCount } }", {"search": "ne"}),
        ("query B ($x: Int) { effects(first: $x) { nodes { id } } }", 2),
    ],
)
async def test_another_operation_has_a_variable_of_the_same_name_for_something_else(stage, oracle, other, given):
    ctx, text = stage.of(ALICE), BESIDE + other
    for name, value in (("B", given), ("A", False), ("A", True), ("B", given)):
        told = await oracle.compare(ctx, text, operation_name=name, x=value)
        assert "errors" not in told
    assert oracle.by["plan"] == 4
    if isinstance(given, int):
        for value in range(5):
            await oracle.compare(ctx, text, operation_name="B", x=value)
        document = oracle.executor.documents.get(text)
        assert len([key for key in document.plans if key[0] == "B"]) == 1
