"""Reads by the second door: whose rows they are, which columns, in which order, by how many statements."""

from __future__ import annotations

import dataclasses

import pytest
import sqlalchemy as sa

from base import errors
from db.session import open_databases
from db.tables.central import catalog, gallery, identity
from db.tables.pool import media, upkeep
from execution import fetch, statements
from execution.declare import NODES, Children, Read, Through, ToMany, Values, node_of
from execution.keyset import Window, first_of, order_of
from schema.catalog import Effect, Tag
from schema.gallery import GalleryVideo
from schema.identity import User
from schema.jobs import AiJob
from schema.media import Video
from tests.execution.stage import ALICE, BOB, MARY, POOL

NEWEST = Read(Video, "page", order=("-created_at",))
SHOWN = ToMany("effect_id", GalleryVideo, order=("-published_at",))


async def walked(ctx, read: Read, size: int) -> list[int]:
    """The ids of a whole list, page by page."""
    order, found, after = order_of(node_of(read.node).table, read.order), [], None
    while True:
        page = await fetch.page(ctx, read, keys=order.keys, window=Window(size, after))
        found += [row.values["id"] for row in page.rows]
        if not page.has_next:
            return found
        after = tuple(page.rows[-1].values[key] for key in order.keys)


async def test_walking_a_list_page_by_page_meets_every_row_once_in_order_on_every_engine(any_stage):
    visitor = any_stage.of(None)
    assert await walked(visitor, Read(Effect, "page", order=("-popularity",)), 3) == list(range(1011, 999, -1))
    assert await walked(visitor, Read(Effect, "page", order=("name_key",)), 5) == list(range(1000, 1012))
    # Moments a microsecond apart stay apart.
    assert await walked(visitor, Read(Effect, "page", order=("created_at",)), 1) == list(range(1000, 1012))


async def test_equal_values_may_end_a_page_and_orders_of_two_directions_hold(any_stage):
    mixed = await walked(any_stage.of(None), Read(Effect, "page", order=("popularity", "-token_cost")), 1)
    assert mixed == [1001, 1000, 1003, 1002, 1005, 1004, 1007, 1006, 1009, 1008, 1011, 1010]


async def test_a_member_reads_the_own_private_rows_alone_whatever_ids_are_guessed(any_stage):
    for user in (ALICE, MARY, BOB):
        ctx = any_stage.of(user)
        mine = {user * 10_000 + at for at in range(12)}
        page = await fetch.page(ctx, NEWEST, keys={"id"}, window=Window(100), want_count=True)
        assert {row.values["id"] for row in page.rows} == mine
        assert page.total == 12
        every = [number for other in (ALICE, MARY, BOB) for number in (other * 10_000, other * 10_000 + 1)]
        found = await fetch.by_ids(ctx, NODES["Video"], keys={"title"}, ids=every)
        assert set(found) == mine & set(every)
        jobs = await fetch.pages(ctx, ToMany("video_id", AiJob), keys={"id"}, parents=every, window=Window(9))
        assert {parent for parent, page in jobs.items() if page.rows} == mine & set(every)


async def test_a_worker_reads_its_whole_tenant_and_no_other(any_stage):
    page = await fetch.page(
        any_stage.of(None, tenant="alice1", system=True), NEWEST, keys={"id", "user_id"}, window=Window(100)
    )
    assert {row.values["user_id"] for row in page.rows} == {ALICE, MARY}


async def test_a_tenants_rows_are_all_its_members_and_nobody_elses(any_stage):
    read = Read(node_of(NODES["TokenWallet"].cls).cls, "rows")
    for user, wallet in ((ALICE, 5), (MARY, 5), (BOB, 6)):
        assert [row.values["id"] for row in await fetch.rows(any_stage.of(user), read, keys={"id"})] == [wallet]


async def test_private_central_rows_are_the_viewers_own(any_stage):
    for user in (ALICE, MARY, BOB):
        found = await fetch.rows(any_stage.of(user), Read(User, "rows"), keys={"name"})
        assert [row.name for row in found] == [f"User {user}"]


async def test_who_may_not_is_refused_before_anything_is_sent(stage):
    cases = [
        (stage.of(None), Read(User, "rows"), errors.Unauthenticated),
        (stage.of(None, tenant="alice1"), NEWEST, errors.Unauthenticated),
        (stage.of(BOB, tenant="alice1"), NEWEST, errors.Unauthenticated),
        (stage.of(ALICE, tenant=None), NEWEST, errors.TenantRequired),
    ]
    with stage.sending() as sent:
        for ctx, read, refusal in cases:
            with pytest.raises(refusal):
                await fetch.rows(ctx, read, keys={"id"})
    assert sent == []


def test_no_request_reaches_an_infra_table():
    with pytest.raises(PermissionError, match="INFRA"):
        statements.mine(upkeep.Outbox)
    with pytest.raises(PermissionError, match="INFRA"):
        statements.mine(identity.TenantMember)


async def test_only_the_asked_columns_and_the_key_are_selected(stage):
    with stage.sending() as sent:
        await fetch.page(stage.of(ALICE), NEWEST, keys={"title"}, window=Window(2))
    selected = sent[0].partition("FROM")[0]
    assert "title" in selected
    assert "id" in selected
    assert not {"search_text", "tags", "status"} & set(selected.replace(".", " ").replace(",", " ").split())


async def test_rows_that_are_no_nodes_are_in_no_read(stage):
    # Every fifth gallery video is not listed.
    ctx, ids = stage.of(None), [10_000, 10_004]
    assert set(await fetch.by_ids(ctx, NODES["GalleryVideo"], keys={"id"}, ids=ids)) == {10_000}
    pages = await fetch.pages(ctx, SHOWN, keys={"id"}, parents=[1000], window=Window(50), want_count=True)
    assert [row.values["id"] for row in pages[1000].rows] == [10_003, 10_002, 10_001, 10_000]
    assert pages[1000].total == 4


async def test_children_come_by_one_statement_whether_the_parents_fit_a_union_or_need_a_window(wide_stage):
    ctx, every = wide_stage.of(None), list(range(1000, 1120))
    with wide_stage.sending() as sent:
        window = await fetch.pages(ctx, SHOWN, keys={"title"}, parents=every, window=Window(3))
    assert len(sent) == 1
    assert "row_number" in sent[0].lower()
    with wide_stage.sending() as sent:
        union = await fetch.pages(ctx, SHOWN, keys={"title"}, parents=every[:100], window=Window(3))
    assert len(sent) == 1
    assert sent[0].count("UNION ALL") == 99
    for parent, page in union.items():
        assert page.has_next
        assert [row.title for row in page.rows] == [f"Shown {parent - 1000}.{place}" for place in (3, 2, 1)]
        assert [row.title for row in page.rows] == [row.title for row in window[parent].rows]
        assert window[parent].has_next


async def test_a_window_over_a_pools_rows_is_the_members_own_too(wide_stage):
    every = [user * 10_000 + at for user in (ALICE, MARY) for at in range(120)]
    with wide_stage.sending() as sent:
        jobs = await fetch.pages(
            wide_stage.of(MARY), ToMany("video_id", AiJob), keys={"user_id"}, parents=every, window=Window(2)
        )
    assert len(sent) == 1
    assert {parent for parent, page in jobs.items() if page.rows} == set(every[120:])
    assert {(len(page.rows), page.has_next) for page in jobs.values()} == {(0, False), (2, True)}


async def test_children_behind_a_cursor_are_the_same_by_union_and_by_window(wide_stage):
    ctx, every = wide_stage.of(None), list(range(1000, 1120))
    first = await fetch.pages(ctx, SHOWN, keys={"published_at"}, parents=[1000], window=Window(1))
    place = (first[1000].rows[0].values["published_at"], first[1000].rows[0].values["id"])
    for parents in (every, every[:7]):
        found = await fetch.pages(ctx, SHOWN, keys={"title"}, parents=parents, window=Window(2, place))
        assert [row.title for row in found[1000].rows] == ["Shown 0.2", "Shown 0.1"]
        assert found[1000].has_next


async def test_a_union_is_made_for_a_few_numbers_of_parents_alone(stage):
    with stage.sending() as sent:
        for count in (5, 6, 7, 8):
            await fetch.pages(stage.of(None), SHOWN, keys={"id"}, parents=range(1000, 1000 + count), window=Window(1))
    assert len(set(sent)) == 1


async def test_ids_go_in_chunks_of_a_thousand_padded_to_few_lengths(stage):
    ids = range(1000, 2500)
    with stage.sending() as sent:
        found = await fetch.by_ids(stage.of(None), NODES["Effect"], keys={"slug"}, ids=ids)
    assert len(found) == 12
    assert [statement.count("?") for statement in sent] == [1000, 512]
    with stage.sending() as sent:
        assert await fetch.by_ids(stage.of(None), NODES["Effect"], keys={"slug"}, ids=[]) == {}
    assert sent == []


async def test_links_values_and_bounded_children_keep_their_order_and_their_bounds(any_stage):
    ctx = any_stage.of(ALICE)
    tags = Through(catalog.EffectTag, "effect_id", "tag_id", Tag, order=("-name_key",))
    found = await fetch.through(ctx, tags, keys={"slug"}, parents=[1000, 1001, 1003])
    assert {parent: [row.slug for row in rows] for parent, rows in found.items()} == {
        1000: [],
        1001: ["tag-0"],
        1003: ["tag-2", "tag-1", "tag-0"],
    }
    few = await fetch.through(ctx, dataclasses.replace(tags, limit=2), keys={"slug"}, parents=[1003])
    assert [row.slug for row in few[1003]] == ["tag-2", "tag-1"]
    hosts = Values(identity.Domain, "tenant_id", "host", order=("host",))
    assert await fetch.values(ctx, hosts, parents=["alice1", "nobody"]) == {
        "alice1": ["alice1.localhost", "films.example"],
        "nobody": [],
    }
    jobs = await fetch.pages(ctx, Children("video_id", AiJob), keys={"id"}, parents=[10_000], window=Window(2))
    assert [row.values["id"] for row in jobs[10_000].rows] == [100_000, 100_001]


async def test_more_lists_than_one_level_may_hold_are_refused_before_anything_is_sent(stage):
    with stage.sending() as sent, pytest.raises(errors.CostLimitExceeded):
        await fetch.pages(stage.of(None), SHOWN, keys={"id"}, parents=range(1000), window=Window(50))
    assert sent == []


async def test_a_conditions_values_do_not_stick_to_the_kept_statement(stage):
    ctx = stage.of(None)
    for number in (1, 5, 9):
        read = Read(Effect, "one", where=(catalog.Effect.slug == f"effect-{number:03}",), limit=1)
        row = await fetch.one(ctx, read, keys={"token_cost"})
        assert row is not None
        assert row.token_cost == number


async def test_a_database_that_does_not_answer_is_told_as_its_own_denial(stage, tmp_path):
    nowhere = "mysql+aiomysql://root@127.0.0.1:1/nowhere"
    gone = open_databases(nowhere, {POOL: nowhere})
    sessions = stage.house.sessions
    here, sessions.databases = sessions.databases, gone
    try:
        with pytest.raises(errors.PoolUnavailable):
            await fetch.rows(stage.of(ALICE), NEWEST, keys={"id"})
        with pytest.raises(errors.CentralUnavailable):
            await fetch.rows(stage.of(ALICE), Read(Effect, "rows"), keys={"id"})
        sessions.databases = dataclasses.replace(here, pools={})
        with pytest.raises(errors.PoolUnavailable, match="not configured"):
            await fetch.rows(stage.of(ALICE), NEWEST, keys={"id"})
    finally:
        sessions.databases = here
        await gone.close()


def test_a_page_size_is_20_unless_said_and_wrong_ones_name_the_argument():
    assert [first_of(given) for given in (None, 0, 7, 100)] == [20, 0, 7, 100]
    for given, most in ((-1, 100), (101, 100), (51, 50), (2**31, 100)):
        with pytest.raises(errors.BadUserInput, match='"first"'):
            first_of(given, most)


def test_a_column_that_may_be_null_or_has_no_order_cannot_order_a_list():
    for table, key in ((media.Video, "effect_id"), (media.Video, "status"), (gallery.GalleryVideo, "tags")):
        with pytest.raises(TypeError, match=key):
            order_of(table, (key,))
    assert order_of(media.Video, ("-created_at",)).keys == ("created_at", "id")
    assert sa.select(media.Video.id).order_by(*order_of(media.Video, ("-id",)).by()).compile().string.endswith("DESC")
