"""The same rows on every engine: each list in each of its orders, page by page, each filter and each search answers the
same as on SQLite, and orders by name stand as Python folds and compares them.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from base import texts
from base.ids import Id
from db import engines
from db.tables.central.catalog import Algorithm, Category, Effect, EffectTag, Style, Tag
from db.tables.central.gallery import GalleryVideo, GalleryVideoTag
from db.tables.pool.media import Video
from execution import library
from resolvers import roots
from tests import world as worlds

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
PAGE = 7

# Case, accents composed and not, ligatures, wide and half-width forms, other scripts, characters beyond the first
# plane, trailing blanks, digits, LIKE's and SQL's own characters, and names that fold alike.
NAMES = (
    *("apple", "Apple", "APPLE", "äpfel", "Äpfel", "Apfel", "zebra", "Zebra", "éclair", "e\u0301clair", "eclair"),
    *(
        "straße",
        "STRASSE",
        "Strasse",
        "ﬁlm",
        "film",
        "Ｆｕｌｌ",
        "full",
        "😀",
        "😀 smile",
        "🎬 night",
        "𝒜rt",
        "ｱﾆﾒ",
        "アニメ",
    ),
    *(
        "trail",
        "trail ",
        "trail  end",
        "a b",
        "a_b",
        "a%b",
        "a\\b",
        "a!b",
        "a'b",
        'a"b',
        "İstanbul",
        "istanbul",
        "ıstanbul",
    ),
    *("Ωmega", "ωmega", "σας", "ΣΑΣ", "10", "9", "ночь", "Ночь", "夜", "שלום", "\uffee", "\ue000", "~", "zebra"),
)
SEARCHES = (
    *(
        "apple",
        "APPLE",
        "äpfel",
        "a\u0308pfel",
        "apfel",
        "strasse",
        "STRASSE",
        "film",
        "ﬁlm",
        "full",
        "😀 s",
        "アニメ",
    ),
    *(
        "trail",
        "trail ",
        "a_b",
        "a%b",
        "%b",
        "__",
        "a\\b",
        "a!b",
        "a'b",
        "istanbul",
        "ωmega",
        "ΣΑΣ",
        "ночь",
        "שלום",
        "b a",
        "zebra ze",
    ),
)
SLUGS = ("name-1", "NAME-1", "name-1 ", "Name-1", "name-é")


def named(at: int) -> dict[str, Any]:
    return {"slug": f"name-{at}", "name": NAMES[at], "name_key": texts.fold(NAMES[at])[:400]}


def catalog() -> list[list[object]]:
    """Two generations of rows; popularity, prices and moments come in groups of equals."""
    count = len(NAMES)
    first: list[object] = [Algorithm(id=Id(1), **named(0))]
    for table, base in ((Category, 1000), (Style, 2000), (Tag, 3000)):
        more = {"position": 1} if table is Category else {}
        first += [table(id=Id(base + at), **named(at), **more) for at in range(count)]
    effects: list[object] = [
        Effect(
            id=Id(4000 + (at * 7) % count),
            created_at=START + timedelta(microseconds=at // 3),
            token_cost=at % 4,
            popularity=at // 5,
            is_premium=at % 2 == 0,
            category_id=Id(1000 + at % 3),
            style_id=Id(2000 + at % 2),
            algorithm_id=Id(1),
            search_text=texts.fold(f"{NAMES[at]} {NAMES[-1 - at]}"),
            **named(at),
        )
        for at in range(count)
    ]
    links: list[object] = [
        EffectTag(effect_id=Id(4000 + at), tag_id=Id(3000 + (at + more) % count))
        for at, more in itertools.product(range(count), range(3))
    ]
    return [first, effects, links]


def gallery(tenant: str) -> list[list[object]]:
    """Everybody's rows of one tenant."""
    videos: list[object] = []
    tags: list[object] = []
    for at, name in enumerate(NAMES):
        keys = {texts.fold(name), texts.fold(NAMES[at - 1])}
        videos.append(
            GalleryVideo(
                id=Id(5000 + at),
                tenant_id=tenant,
                title=name,
                tags=[name, NAMES[at - 1]],
                effect_id=Id(4000 + at % 5),
                output_key=f"public/{at:032x}.mp4",
                published_at=START + timedelta(seconds=at // 4),
                view_count=at // 6,
                event_id=Id(1),
                search_text=texts.fold(name),
            )
        )
        tags += [GalleryVideoTag(tag_key=key, gallery_video_id=Id(5000 + at), tenant_id=tenant) for key in sorted(keys)]
    return [videos, tags]


def videos(tenant: str, user_id: int) -> list[list[object]]:
    """A member's own rows."""
    return [
        [
            Video(
                tenant_id=tenant,
                id=Id(6000 + (at * 11) % len(NAMES)),
                user_id=user_id,
                created_at=START + timedelta(microseconds=at // 2),
                title=name,
                title_key=texts.fold(name)[:400],
                search_text=texts.fold(name),
                tags=[name],
                effect_id=Id(4000 + at % 5),
                gallery_video_id=Id(5000 + at) if at % 3 == 0 else None,
            )
            for at, name in enumerate(NAMES)
        ]
    ]


async def put(url: str, generations: list[list[object]]) -> None:
    engine = engines.open_engine(url)
    async with AsyncSession(engine) as session:
        for generation in generations:
            session.add_all(generation)
            await session.flush()
        await session.commit()
    await engine.dispose()


LISTS = {
    "effects": ("EffectFilter", "EffectOrder", ("NEWEST", "POPULAR", "NAME", "TOKEN_COST"), "name"),
    "gallery": ("GalleryFilter", "GalleryOrder", ("NEWEST", "MOST_VIEWED"), "title"),
    "videos": ("VideoFilter", "VideoOrder", ("NEWEST", "OLDEST", "TITLE"), "title"),
}


def filters(field: str) -> list[dict[str, Any]]:
    """What is asked of each list beside everything."""
    found: list[dict[str, Any]] = [{"search": word} for word in SEARCHES]
    found += [{"effectSlug" if field != "effects" else "categorySlug": slug} for slug in SLUGS]
    if field == "effects":
        found += [{"tagSlugs": [slug]} for slug in SLUGS] + [{"tagSlugs": ["name-1", "name-2"]}, {"isPremium": True}]
        found += [{"maxTokenCost": cost} for cost in (-1, 0, 2, 2**31 - 1)]
    if field == "gallery":
        found += [{"tags": [name]} for name in NAMES] + [{"tags": ["APPLE", "zebra"]}]
        found += [{"tenantSlug": slug} for slug in ("alice1", "Alice1", "alice1 ")]
    if field == "videos":
        found += [{"isPublished": True}, {"isPublished": False}, {"status": "DRAFT"}]
    return found


async def told(engine: str, templates, folder) -> dict[str, Any]:
    """All that a peopled engine answers, by what was asked."""
    folder.mkdir()
    made = await templates.fresh(engine, folder)
    async with worlds.opened(engine, made, folder) as world:
        alice = await world.tenant("alice")
        route = await world.house.directory.of_tenant(alice.tenant_id)
        assert route is not None
        await put(world.settings.central_url, [*catalog(), *gallery(alice.tenant_id)])
        await put(world.settings.pools[route.pool], videos(alice.tenant_id, alice.user_id))
        ctx, executor = await world.of(alice), library.Executor(roots.served())
        found: dict[str, Any] = {}
        for field, (of_filter, of_order, orders, name) in LISTS.items():
            tags = "tags { slug }" if field == "effects" else "tags"
            query = f"""query($first: Int, $after: String, $filter: {of_filter}, $by: {of_order}) {{
                {field}(first: $first, after: $after, filter: $filter, orderBy: $by) {{
                    totalCount nodes {{ id {name} {tags} }} pageInfo {{ endCursor hasNextPage }} }} }}"""
            for order in orders:
                found[f"{field} by {order}"] = await walked(executor, ctx, query, field, order)
            for asked in filters(field):
                answer = await executor.execute(ctx, query, variables={"first": 100, "filter": asked})
                assert answer.data is not None, (asked, answer.errors)
                found[f"{field} {asked}"] = [answer.data[field]["totalCount"], answer.data[field]["nodes"]]
        for field in ("categories", "styles", "tags"):
            answer = await executor.execute(ctx, f"{{ {field} {{ id name }} }}")
            assert answer.data is not None
            found[field] = answer.data[field]
        return found


async def walked(executor, ctx, query, field, order) -> list[Any]:
    """A whole list, page by page."""
    found: list[Any] = []
    after = None
    while True:
        variables = {"first": PAGE, "after": after, "by": order}
        answer = await executor.execute(ctx, query, variables=variables)
        assert answer.errors is None, (order, answer.errors)
        page = answer.data[field]
        assert page["totalCount"] == len(NAMES)
        found += page["nodes"]
        if not page["pageInfo"]["hasNextPage"]:
            return found
        after = page["pageInfo"]["endCursor"]


def by_fold(nodes: list[Any], name: str) -> list[Any]:
    """The order that the contract means: folded, by code point, then id."""
    return sorted(nodes, key=lambda node: (texts.fold(node[name]), int(node["id"].rpartition("_")[2], 16)))


async def test_orders_by_name_stand_as_folded_and_no_row_is_met_twice(templates, tmp_path):
    found = await told("sqlite", templates, tmp_path / "sqlite")
    for key, name in (("effects by NAME", "name"), ("videos by TITLE", "title"), ("styles", "name"), ("tags", "name")):
        assert found[key] == by_fold(found[key], name)
    for field, (_, _, orders, _) in LISTS.items():
        for order in orders:
            assert len({node["id"] for node in found[f"{field} by {order}"]}) == len(NAMES)
    assert [node["title"] for node in found["gallery {'search': 'a_b'}"][1]] == ["a_b"]
    assert found["effects {'categorySlug': 'NAME-1'}"] == [0, []]
    assert found["gallery {'tenantSlug': 'Alice1'}"] == [0, []]
    assert sum(bool(answer[0]) for key, answer in found.items() if "search" in key) > len(SEARCHES)


@pytest.mark.parametrize("engine", worlds.ENGINES[1:])
async def test_every_list_filter_and_search_answers_as_on_sqlite(engine, templates, tmp_path):
    expected = await told("sqlite", templates, tmp_path / "sqlite")
    found = await told(engine, templates, tmp_path / engine)
    assert found.keys() == expected.keys()
    assert {key: found[key] for key in found if found[key] != expected[key]} == {}
