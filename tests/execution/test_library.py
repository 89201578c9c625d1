"""The library's executor over the served schema: answers, statement counts, cursors, and what a failure takes along."""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from typing import Any

import pytest

from base import errors
from base.bus import Notice
from db.session import open_databases
from execution import library, prefetch, selection
from resolvers import roots
from tests.execution.stage import ALICE, BOB, MARY, POOL

NOWHERE = "mysql+aiomysql://root@127.0.0.1:1/nowhere"

GALLERY = """query ($n: Int) { gallery(first: $n) {
  totalCount pageInfo { hasNextPage endCursor }
  nodes { id title tags viewCount effect { slug category { name } } } } }"""

DASHBOARD = """query ($n: Int) {
  viewer { name tenant { slug domains } }
  wallet { balance transactions(first: 3) { nodes { amount aiJob { id } } } }
  videos(first: $n) { totalCount nodes { title effect { name } inputFile { name } galleryVideo { title }
    aiJobs(first: 2) { totalCount nodes { status effect { slug } } } } }
  aiJobs(first: $n) { nodes { status video { title } effect { slug } } } }"""


async def answer(executor, ctx, query: str, **variables) -> Any:
    """The data of an operation that must not fail."""
    result = await executor.execute(ctx, query, variables=variables)
    assert result.errors is None, [(error.message, error.original_error) for error in result.errors]
    return result.data


def codes(result) -> set[str | None]:
    """The `extensions.code` of every error."""
    return {(error.extensions or {}).get("code") for error in result.errors or ()}


async def refusal(executor, ctx, query: str, **variables):
    """The one error of an operation, as what was raised."""
    result = await executor.execute(ctx, query, variables=variables)
    assert len(result.errors or ()) == 1, result
    return result.errors[0]


@contextmanager
def broken(stage, *, central: bool = False, pool: bool = False):
    """Meanwhile a database does not answer."""
    gone, sessions = open_databases(NOWHERE, {POOL: NOWHERE}), stage.house.sessions
    here = sessions.databases
    sessions.databases = dataclasses.replace(
        here, central=gone.central if central else here.central, pools=gone.pools if pool else here.pools
    )
    try:
        yield
    finally:
        sessions.databases = here


async def test_a_nested_page_is_the_same_on_every_engine(any_stage, executor):
    data = await answer(
        executor,
        any_stage.of(None),
        """{ categories { name effects(first: 1) { totalCount nodes { slug style { slug } tags { slug }
             galleryVideos(first: 2) { totalCount pageInfo { hasNextPage hasPreviousPage }
               nodes { title tenantSlug publishedAt effect { slug } } } } } } }""",
    )
    assert data["categories"][1] == {
        "name": "Category-1",
        "effects": {
            "totalCount": 4,
            "nodes": [
                {
                    "slug": "effect-010",
                    "style": None,
                    "tags": [{"slug": "tag-0"}, {"slug": "tag-1"}],
                    "galleryVideos": {
                        "totalCount": 4,
                        "pageInfo": {"hasNextPage": True, "hasPreviousPage": False},
                        "nodes": [
                            {
                                "title": f"Shown 10.{place}",
                                "tenantSlug": slug,
                                "publishedAt": f"2026-01-01T1{2 + place}:00:00.000Z",
                                "effect": {"slug": "effect-010"},
                            }
                            for place, slug in ((3, "alice1"), (2, "bob2"))
                        ],
                    },
                }
            ],
        },
    }


async def test_the_number_of_statements_depends_on_the_depth_not_on_the_rows(wide_stage, executor):
    for query, ctx in ((GALLERY, wide_stage.of(None)), (DASHBOARD, wide_stage.of(ALICE))):
        counts, sizes = [], []
        for rows in (10, 100):
            with wide_stage.sending() as sent:
                data = await answer(executor, ctx, query, n=rows)
            counts.append(len(sent))
            sizes.append(len(data.get("gallery", data.get("videos"))["nodes"]))
        assert sizes == [10, 100]
        assert counts[0] == counts[1]
        assert counts[0] <= 17


async def test_a_level_of_a_thousand_rows_is_still_one_statement_a_level(wide_stage, executor):
    with wide_stage.sending() as sent:
        data = await answer(
            executor,
            wide_stage.of(None),
            "{ effects(first: 100) { nodes { galleryVideos { nodes { effect { slug } } } } } }",
        )
    assert sum(len(effect["galleryVideos"]["nodes"]) for effect in data["effects"]["nodes"]) == 400
    assert len(sent) == 3


async def test_only_what_is_asked_is_selected_through_fragments_and_conditions(stage, executor):
    query = """query ($yes: Boolean!, $no: Boolean!) {
      effects(first: 2) { ...Page } }
      fragment Page on EffectConnection { nodes { ... on Node { id }
        ... on Effect { named: name ...More @include(if: $yes) }
        popularity @skip(if: $yes) tokenCost @include(if: $no) } }
      fragment More on Effect { slug kind: category @skip(if: $no) { __typename } }"""
    with stage.sending() as sent:
        data = await answer(executor, stage.of(None), query, yes=True, no=False)
    assert data["effects"]["nodes"][0] == {
        "id": "Effect_3f3",
        "named": "Effect-011",
        "slug": "effect-011",
        "kind": {"__typename": "Category"},
    }
    columns = {name.strip().partition(".")[2] for name in sent[0].partition(" FROM")[0].partition("\n")[0].split(",")}
    assert columns == {"id", "name", "slug", "category_id"}
    assert len(sent) == 2


async def test_nothing_is_fetched_for_rows_that_nobody_asked(stage, executor):
    for query, statements in (
        ("{ effects { __typename } }", 0),
        ("{ effects { totalCount } }", 1),
        ("{ effects(first: 0) { nodes { slug } pageInfo { hasNextPage endCursor } } }", 1),
        ("{ effects(first: 1) { nodes { __typename } } }", 1),
    ):
        with stage.sending() as sent:
            await answer(executor, stage.of(None), query)
        assert len(sent) == statements, query
    data = await answer(
        executor, stage.of(None), "{ effects(first: 0) { nodes { slug } pageInfo { hasNextPage endCursor } } }"
    )
    assert data["effects"] == {"nodes": [], "pageInfo": {"hasNextPage": True, "endCursor": None}}


async def test_one_field_under_two_names_has_two_answers(stage, executor):
    data = await answer(
        executor,
        stage.of(None),
        """{ effect(slug: "effect-001") { a: galleryVideos(first: 1) { nodes { title } }
             b: galleryVideos(first: 2) { edges { node { title } } nodes { id } } } }""",
    )
    assert [node["title"] for node in data["effect"]["a"]["nodes"]] == ["Shown 1.3"]
    assert [edge["node"]["title"] for edge in data["effect"]["b"]["edges"]] == ["Shown 1.3", "Shown 1.2"]
    assert [node["id"] for node in data["effect"]["b"]["nodes"]] == ["GalleryVideo_271d", "GalleryVideo_271c"]


async def test_one_name_below_two_names_of_a_list_stands_for_what_each_says(stage, executor):
    data = await answer(
        executor,
        stage.of(None),
        """{ effects(first: 1, orderBy: NAME) {
             a: nodes { x: name y: galleryVideos(first: 1) { nodes { title } } z: category { id } }
             b: nodes { x: slug y: galleryVideos(first: 2) { nodes { title } } z: style { id } } } }""",
    )
    first, second = data["effects"]["a"][0], data["effects"]["b"][0]
    assert (first["x"], second["x"]) == ("Effect-000", "effect-000")
    assert [len(each["y"]["nodes"]) for each in (first, second)] == [1, 2]
    assert (first["z"], second["z"]) == ({"id": "Category_1e"}, None)


async def test_every_member_sees_the_own_rows_and_relations_alone(stage, executor):
    query = (
        "{ videos(first: 100) { totalCount nodes { title inputFile { name } aiJobs { totalCount } } } wallet { id } }"
    )
    for user in (ALICE, MARY, BOB):
        data = await answer(executor, stage.of(user), query)
        assert data["videos"]["totalCount"] == 12
        assert {node["inputFile"]["name"] for node in data["videos"]["nodes"]} == {f"file of {user}"}
        assert all(node["title"].endswith(f"of {user}") for node in data["videos"]["nodes"])
        assert {node["aiJobs"]["totalCount"] for node in data["videos"]["nodes"]} == {3}
        assert data["wallet"]["id"].endswith("_6" if user == BOB else "_5")


async def test_an_id_finds_its_own_row_and_no_other_members_or_tenants(stage, executor):
    ids = [f"Video_616c69636531_{number:x}" for number in (10_000, 20_000, 30_000)]
    data = await answer(
        executor,
        stage.of(ALICE),
        """query ($ids: [ID!]!) { nodes(ids: $ids) { id __typename
             ... on Video { title effect { slug } } ... on Effect { name } } }""",
        ids=[*ids, "Effect_3e8", "Video_626f6232_7530", ids[0]],
    )
    own = {"id": ids[0], "__typename": "Video", "title": "Video 0 of 1", "effect": None}
    shown = {"id": "Effect_3e8", "__typename": "Effect", "name": "Effect-000"}
    assert data["nodes"] == [own, None, None, shown, None, own]
    assert (await answer(executor, stage.of(BOB), "query ($id: ID!) { node(id: $id) { id } }", id=ids[0])) == {
        "node": None
    }


async def test_what_a_row_refers_to_may_be_gone(stage, executor):
    data = await answer(executor, stage.of(ALICE), "{ videos(first: 12) { nodes { effect { slug } } } }")
    effects = [node["effect"] for node in data["videos"]["nodes"]]
    assert [effect is None for effect in effects] == [at % 5 == 0 for at in range(11, -1, -1)]


async def test_a_zone_that_does_not_answer_takes_its_own_fields_along_and_no_more(stage, executor):
    query = "{ videos(first: 2) { nodes { title effect { slug } } } effects(first: 1) { nodes { slug } } }"
    with broken(stage, pool=True):
        result = await executor.execute(stage.of(ALICE), "{ wallet { balance } }")
        assert isinstance(result.errors[0].original_error, errors.PoolUnavailable)
        assert (await answer(executor, stage.of(ALICE), "{ effects(first: 1) { nodes { slug } } }"))["effects"]["nodes"]
    with broken(stage, central=True):
        result = await executor.execute(stage.of(ALICE), query.replace("effects(first: 1) { nodes { slug } }", ""))
    assert [node["title"] for node in result.data["videos"]["nodes"]] == ["Video 11 of 1", "Video 10 of 1"]
    assert [node["effect"] for node in result.data["videos"]["nodes"]] == [None, None]
    assert [error.path for error in result.errors] == [["videos", "nodes", at, "effect"] for at in (0, 1)]
    assert all(isinstance(error.original_error, errors.CentralUnavailable) for error in result.errors)


async def test_no_more_than_20_errors_are_told(stage, executor):
    with broken(stage, central=True):
        result = await executor.execute(
            stage.of(ALICE), "{ videos(first: 12) { nodes { a: effect { id } b: effect { id } galleryVideo { id } } } }"
        )
    assert len(result.errors) == library.ERRORS_MAX == 20


async def test_cursors_lead_on_and_are_good_for_one_list_of_one_caller_alone(stage, executor):
    page = "query ($after: String) { effects(first: 5, after: $after, orderBy: %s) { %s } }"
    asked = "nodes { slug } edges { cursor } pageInfo { startCursor endCursor hasPreviousPage }"
    slugs, after = [], None
    for _ in range(3):
        found = (await answer(executor, stage.of(None), page % ("NAME", asked), after=after))["effects"]
        slugs += [node["slug"] for node in found["nodes"]]
        cursors = [edge["cursor"] for edge in found["edges"]]
        assert found["pageInfo"] == {
            "startCursor": cursors[0],
            "endCursor": cursors[-1],
            "hasPreviousPage": after is not None,
        }
        after = cursors[-1]
    assert slugs == [f"effect-{at:03}" for at in range(12)]
    mine = await answer(
        executor,
        stage.of(ALICE),
        "{ videos(first: 1) { pageInfo { endCursor } } files(first: 1) { pageInfo { endCursor } } }",
    )
    video, file = (mine[name]["pageInfo"]["endCursor"] for name in ("videos", "files"))
    for ctx, query, cursor in (
        (stage.of(None), page % ("POPULAR", asked), after),
        (stage.of(None), "query ($after: String) { gallery(after: $after) { nodes { id } } }", after),
        (
            stage.of(None),
            'query ($after: String) { effects(after: $after, orderBy: NAME, filter: {search: "ne"}) { nodes { id } } }',
            after,
        ),
        (stage.of(None), page % ("NAME", asked), str(after)[:-1]),
        (stage.of(None), page % ("NAME", asked), "é" * 20),
        (stage.of(None), page % ("NAME", asked), ""),
        (stage.of(MARY), "query ($after: String) { videos(after: $after) { nodes { id } } }", video),
        (stage.of(ALICE), "query ($after: String) { exports(after: $after) { nodes { id } } }", file),
    ):
        error = await refusal(executor, ctx, query, after=cursor)
        assert isinstance(error.original_error, errors.BadUserInput)
        assert '"after"' in error.message


async def test_a_nested_cursor_leads_on_below_every_parent(stage, executor):
    # Both effects have a video at each moment; the cursor's id parts those of the last one.
    query = """query ($after: String) { effects(first: 2, orderBy: NAME) { nodes {
      galleryVideos(first: 1, after: $after) { nodes { title } pageInfo { endCursor hasNextPage } } } } }"""
    first = (await answer(executor, stage.of(None), query))["effects"]["nodes"]
    after = first[0]["galleryVideos"]["pageInfo"]["endCursor"]
    nodes = (await answer(executor, stage.of(None), query, after=after))["effects"]["nodes"]
    assert [node["galleryVideos"]["nodes"] for node in nodes] == [[{"title": "Shown 0.2"}], [{"title": "Shown 1.2"}]]


@pytest.mark.parametrize(
    "query",
    [
        "{ effects(first: -1) { nodes { id } } }",
        "{ effects(first: 101) { nodes { id } } }",
        "{ effects(first: 1) { nodes { galleryVideos(first: 51) { nodes { id } } } } }",
        "{ effects(first: 1) { nodes { galleryVideos(first: -1) { totalCount } } } }",
    ],
)
async def test_a_page_size_out_of_bounds_names_the_argument(stage, executor, query):
    error = await refusal(executor, stage.of(None), query)
    assert isinstance(error.original_error, errors.BadUserInput)
    assert '"first"' in error.message


async def test_null_as_a_page_size_is_the_default(wide_stage, executor):
    data = await answer(
        executor, wide_stage.of(None), "{ a: effects(first: null) { nodes { id } } b: effects { nodes { id } } }"
    )
    assert len(data["a"]["nodes"]) == len(data["b"]["nodes"]) == 20


async def test_rows_that_are_fetched_once_still_count_each_time_they_are_answered(wide_stage, executor):
    # 100 effects, 4 videos each, back to the effect, and so on: few rows, but 100 × 4 × 4 × 4 × 4 objects.
    level = "{ id }"
    for _ in range(4):
        level = f"{{ galleryVideos(first: 50) {{ nodes {{ effect {level} }} }} }}"
    result = await executor.execute(wide_stage.of(None), f"{{ effects(first: 100) {{ nodes {level} }} }}")
    assert {type(error.original_error) for error in result.errors} == {errors.CostLimitExceeded}
    shallow = """{ effects(first: 100) { nodes { galleryVideos(first: 50) { nodes {
      effect { galleryVideos { totalCount } } } } } } }"""
    assert await answer(executor, wide_stage.of(None), shallow)


async def test_a_field_that_leads_to_too_many_relations_is_refused_before_the_first_fetch(stage, executor):
    inner = " ".join(f"i{at}: effect {{ id }}" for at in range(12))
    outer = " ".join(f"o{at}: galleryVideos {{ nodes {{ {inner} }} }}" for at in range(9))
    # Written once as a fragment, met once a place.
    query = f"{{ effects {{ nodes {{ {outer.replace(inner, '...I')} }} }} }} fragment I on GalleryVideo {{ {inner} }}"
    with stage.sending() as sent:
        error = await refusal(executor, stage.of(None), query)
    assert isinstance(error.original_error, errors.CostLimitExceeded)
    assert str(selection.RELATIONS_MAX) in error.message
    assert sent == []


async def test_a_live_field_is_read_anew_for_every_event(stage, executor, monkeypatch):
    # Each event is an answer of its own: the wallet is one object, and one is what an answer may have.
    monkeypatch.setattr(prefetch, "OBJECTS_MAX", 1)
    stream = await executor.subscribe(
        stage.of(ALICE), "subscription { wallet { balance transactions(first: 1) { totalCount } } }"
    )
    first = await anext(stream)
    with stage.sending() as sent:
        await stage.house.bus.tell([Notice("wallet", "alice1")])
        second = await anext(stream)
    await stream.aclose()
    assert first.data == second.data == {"wallet": {"balance": 100, "transactions": {"totalCount": 4}}}
    assert len(sent) == 2


async def test_a_live_field_that_the_caller_may_not_use_is_one_answer(stage, executor):
    for ctx, refused in (
        (stage.of(None, tenant="alice1"), errors.Unauthenticated),
        (stage.of(ALICE, tenant=None), errors.TenantRequired),
    ):
        result = await executor.subscribe(ctx, "subscription { wallet { balance } }")
        assert isinstance(result.errors[0].original_error, refused)
    for wrong in ("{ wallet { balance } }", "subscription { nothing }", "subscription {"):
        result = await executor.subscribe(stage.of(ALICE), wrong)
        assert None not in codes(result)


async def test_an_operation_that_never_began_says_why_by_a_code(stage, executor):
    for query, variables, code in (
        ("{ effects ", {}, "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", {}, "GRAPHQL_VALIDATION_FAILED"),
        ("query ($n: Int!) { effects(first: $n) { totalCount } }", {}, "BAD_USER_INPUT"),
        ("query ($n: Int!) { effects(first: $n) { totalCount } }", {"n": "many"}, "BAD_USER_INPUT"),
        ("query A { __typename } query B { __typename }", {}, "BAD_USER_INPUT"),
    ):
        assert codes(await executor.execute(stage.of(None), query, variables=variables)) == {code}


async def test_introspection_and_suggestions_can_be_switched_off(stage):
    closed = library.Executor(roots.served(), introspection=False)
    result = await closed.execute(stage.of(None), "{ __schema { types { name } } }")
    assert codes(result) == {"GRAPHQL_VALIDATION_FAILED"}
    assert "Did you mean" not in (await refusal(closed, stage.of(None), "{ effectss { totalCount } }")).message
