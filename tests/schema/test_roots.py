"""Root fields over real databases: ids, filters and orders on every engine, refusals, signing in, live fields."""

from __future__ import annotations

import contextlib
import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from base import errors, texts
from base.ids import global_id
from db.tables.central.catalog import (
    Algorithm,
    Category,
    Discount,
    DiscountPackage,
    Effect,
    EffectTag,
    Package,
    Style,
    Tag,
)
from db.tables.central.gallery import GalleryVideo, GalleryVideoTag
from db.tables.pool.jobs import AiJob, AiJobStatus
from db.tables.pool.media import Video
from execution import library
from resolvers import roots
from tests.world import PASSWORD, on_every_engine

pytestmark = pytest.mark.anyio

DAY = datetime(2026, 1, 1, tzinfo=UTC)


async def answered(ctx, query, **variables):
    """The whole answer."""
    return await library.Executor(roots.served()).execute(ctx, query, variables=variables)


async def followed(ctx, query, **variables):
    """The answers of a subscription, or the one that says why there are none."""
    return await library.Executor(roots.served()).subscribe(ctx, query, variables=variables)


async def ask(ctx, query, **variables):
    """The data of an answer without errors."""
    answer = await answered(ctx, query, **variables)
    assert answer.errors is None, answer.errors
    return answer.data


async def refusal(ctx, query, **variables):
    """What the one error of an answer was raised as."""
    answer = await answered(ctx, query, **variables)
    assert answer.errors is not None
    assert len(answer.errors) == 1
    return answer.errors[0].original_error


def named(slug):
    return {"slug": slug, "name": slug.title(), "name_key": slug}


async def stock(db, /):
    """A small catalog: three effects in two categories, two packages, discounts."""
    ids = {name: db.new_id() for name in ("retro", "modern", "neon", "grain", "old", "night", "city", "small", "large")}
    algorithm = db.new_id()
    vintage = db.new_id()
    db.add(Algorithm(id=algorithm, **named("ffmpeg")))
    db.add(Style(id=vintage, **named("vintage")))
    db.add(Category(id=ids["retro"], position=2, **named("retro")))
    db.add(Category(id=ids["modern"], position=1, **named("modern")))
    for tag in ("night", "city"):
        db.add(Tag(id=ids[tag], **named(tag)))
    await db.flush()
    for at, (slug, category) in enumerate((("neon", "modern"), ("grain", "retro"), ("old", "retro"))):
        db.add(
            Effect(
                id=ids[slug],
                created_at=DAY + timedelta(hours=at),
                token_cost=at + 1,
                popularity=10 - at,
                is_premium=slug == "neon",
                category_id=ids[category],
                style_id=vintage if slug == "grain" else None,
                algorithm_id=algorithm,
                archived_at=DAY if slug == "old" else None,
                search_text=texts.fold(f"{slug} 100%_Straße night"),
                **named(slug),
            )
        )
    for slug, cents in (("small", 1000), ("large", 999)):
        db.add(Package(id=ids[slug], price_cents=cents, currency="EUR", tokens=100, **named(slug)))
    await db.flush()
    db.add(EffectTag(effect_id=ids["neon"], tag_id=ids["night"]))
    db.add(EffectTag(effect_id=ids["neon"], tag_id=ids["city"]))
    db.add(EffectTag(effect_id=ids["grain"], tag_id=ids["night"]))
    return ids


async def discount(db, percent, /, *, package=None, **more):
    row = Discount(id=db.new_id(), percent_off=percent, **more)
    db.add(row)
    await db.flush()
    if package is not None:
        db.add(DiscountPackage(discount_id=row.id, package_id=package))


EFFECTS = """query($filter: EffectFilter, $by: EffectOrder) {
    effects(filter: $filter, orderBy: $by) { nodes { slug } totalCount } }"""


@on_every_engine
async def test_effects_are_found_by_all_that_is_asked(world):
    await world.house.system().on_system(stock)
    ctx = world.central()

    async def slugs(by="POPULAR", **asked):
        found = (await ask(ctx, EFFECTS, filter=asked, by=by))["effects"]
        assert found["totalCount"] == len(found["nodes"])
        return [node["slug"] for node in found["nodes"]]

    assert await slugs() == ["neon", "grain"]
    assert await slugs(by="NEWEST") == ["grain", "neon"]
    assert await slugs(by="NAME") == ["grain", "neon"]
    assert await slugs(by="TOKEN_COST") == ["neon", "grain"]
    assert await slugs(categorySlug="retro") == ["grain"]
    assert await slugs(styleSlug="vintage") == ["grain"]
    assert await slugs(tagSlugs=["night"]) == ["neon", "grain"]
    assert await slugs(tagSlugs=["night", "city"]) == ["neon"]
    assert await slugs(isPremium=True) == ["neon"]
    assert await slugs(isPremium=False) == ["grain"]
    assert await slugs(maxTokenCost=1) == ["neon"]
    assert await slugs(search="STRASSE 100%_") == ["neon", "grain"]
    assert await slugs(search="00_s") == []
    assert await slugs(search="neon night") == ["neon"]
    assert await slugs(categorySlug="rétro ☃") == []
    assert await slugs(categorySlug="x" * 10_000) == []


async def test_an_unfit_search_is_refused_by_name(world):
    ctx = world.central()
    assert "search" in (await refusal(ctx, EFFECTS, filter={"search": "x"})).message
    assert "tagSlugs" in (await refusal(ctx, EFFECTS, filter={"tagSlugs": [str(n) for n in range(21)]})).message


@on_every_engine
async def test_a_package_shows_the_best_discount_running_now(world):
    system = world.house.system()
    ids = await system.on_system(stock)
    prices = "{ packages { slug priceCents discountedPriceCents } }"
    shown = (await ask(world.central(), prices))["packages"]
    assert [(p["slug"], p["discountedPriceCents"]) for p in shown] == [("large", 999), ("small", 1000)]
    await system.on_system(discount, 10)
    await system.on_system(discount, 25, package=ids["large"])
    await system.on_system(discount, 90, code="SPRING", code_key="spring")
    await system.on_system(discount, 91, ends_at=DAY)
    await system.on_system(discount, 92, starts_at=DAY.replace(year=9_000))
    await system.on_system(discount, 93, archived_at=DAY)
    shown = (await ask(world.central(), prices))["packages"]
    assert [(p["slug"], p["discountedPriceCents"]) for p in shown] == [("large", 749), ("small", 900)]


async def show(db, effect_id, tenant, /):
    """Three gallery videos, the third unlisted."""
    ids = []
    for at in range(3):
        db.act_for(tenant=tenant)
        row = GalleryVideo(
            id=db.new_id(),
            tenant_id=tenant,
            title=f"Night {at}",
            tags=["Night"],
            effect_id=effect_id if at else None,
            output_key=f"public/{at:032x}.mp4",
            published_at=DAY + timedelta(hours=at),
            view_count=10 - at,
            visible=at != 2,
            listed=at != 2,
            event_id=1,
            search_text=f"night {at}",
        )
        db.add(row)
        await db.flush()
        db.add(GalleryVideoTag(tag_key="night", gallery_video_id=row.id, tenant_id=tenant))
        ids.append(row.id)
    return ids


@on_every_engine
async def test_the_gallery_shows_what_is_listed_and_asked_for(world):
    alice = await world.tenant("alice")
    system = world.house.system()
    effects = await system.on_system(stock)
    shown = await system.on_system(show, effects["grain"], alice.tenant_id)
    ctx = world.central()
    gallery = (
        "query($filter: GalleryFilter, $by: GalleryOrder) { gallery(filter: $filter, orderBy: $by) "
        "{ nodes { title tenantSlug processedFileUrl effect { slug } } totalCount } }"
    )

    async def titles(by="NEWEST", **asked):
        found = (await ask(ctx, gallery, filter=asked, by=by))["gallery"]
        assert found["totalCount"] == len(found["nodes"])
        return [node["title"] for node in found["nodes"]]

    assert await titles() == ["Night 1", "Night 0"]
    assert await titles(by="MOST_VIEWED") == ["Night 0", "Night 1"]
    assert await titles(effectSlug="grain") == ["Night 1"]
    assert await titles(categorySlug="retro") == ["Night 1"]
    assert await titles(categorySlug="modern") == []
    assert await titles(tags=["NIGHT"]) == ["Night 1", "Night 0"]
    assert await titles(tags=["night", "day"]) == []
    assert await titles(tenantSlug=alice.tenant_id) == ["Night 1", "Night 0"]
    assert await titles(tenantSlug="bob9") == []
    assert await titles(search="night 1") == ["Night 1"]
    one = "query($id: ID!) { galleryVideo(id: $id) { title processedFileUrl } node(id: $id) { id } }"
    listed, unlisted = [await ask(ctx, one, id=global_id("GalleryVideo", shown[at])) for at in (0, 2)]
    assert listed["galleryVideo"]["processedFileUrl"].startswith("http://localhost:8000/")
    assert unlisted == {"galleryVideo": None, "node": None}


async def make_videos(db, effect_id, user_id, /):
    ids = []
    for at in range(3):
        row = Video(
            id=db.new_id(),
            user_id=user_id,
            title=f"Video {at}",
            title_key=f"video {2 - at}",
            search_text=f"video {at}",
            created_at=DAY + timedelta(hours=at),
            effect_id=effect_id if at == 1 else None,
            gallery_video_id=77 if at == 0 else None,
            deleted_at=DAY if at == 2 else None,
        )
        db.add(row)
        ids.append(row.id)
    await db.flush()
    return ids


@on_every_engine
async def test_videos_are_found_by_all_that_is_asked_and_deleted_ones_never(world):
    alice = await world.tenant("alice")
    effects = await world.house.system().on_system(stock)
    ctx = await world.of(alice)
    ids = await ctx.on_pool(make_videos, effects["grain"], alice.user_id)
    videos = """query($filter: VideoFilter, $by: VideoOrder) { videos(filter: $filter, orderBy: $by) {
        nodes { title isPublished effect { slug } } totalCount } }"""

    async def titles(by="NEWEST", **asked):
        found = (await ask(ctx, videos, filter=asked, by=by))["videos"]
        assert found["totalCount"] == len(found["nodes"])
        return [node["title"] for node in found["nodes"]]

    assert await titles() == ["Video 1", "Video 0"]
    assert await titles(by="OLDEST") == ["Video 0", "Video 1"]
    assert await titles(by="TITLE") == ["Video 1", "Video 0"]
    assert await titles(effectSlug="grain") == ["Video 1"]
    assert await titles(effectSlug="unknown") == []
    assert await titles(isPublished=True) == ["Video 0"]
    assert await titles(isPublished=False) == ["Video 1"]
    assert await titles(status="READY") == []
    assert await titles(search="video 1") == ["Video 1"]
    deleted = global_id("Video", ids[2], alice.tenant_id)
    assert await ask(ctx, "query($id: ID!) { video(id: $id) { id } node(id: $id) { id } }", id=deleted) == {
        "video": None,
        "node": None,
    }


async def test_nodes_answer_in_order_and_tell_nothing_of_others(world):
    alice, bob = await world.tenant("alice"), await world.tenant("bob")
    effects = await world.house.system().on_system(stock)
    ctx, other = await world.of(alice), await world.of(bob)
    ids = await ctx.on_pool(make_videos, effects["grain"], alice.user_id)
    asked = [
        global_id("Video", ids[0], alice.tenant_id),
        global_id("Effect", effects["neon"]),
        "nonsense",
        global_id("Video", 1, alice.tenant_id),
        global_id("Tenant", alice.tenant_id),
        global_id("File", ids[0], alice.tenant_id),
        global_id("Effect", effects["neon"]),
        "Video_" + f"{ids[0]:x}",
        "User_1",
    ]
    query = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id ... on Video { title } ... on Tenant { slug } } }"
    found = (await ask(ctx, query, ids=asked))["nodes"]
    assert [node and node["__typename"] for node in found] == [
        "Video", "Effect", None, None, "Tenant", None, "Effect", None, None
    ]  # fmt: skip
    assert found[0] == {"__typename": "Video", "id": asked[0], "title": "Video 0"}
    assert found[4]["slug"] == alice.tenant_id
    stranger = (await ask(other, query, ids=asked))["nodes"]
    assert [node and node["__typename"] for node in stranger] == [
        None, "Effect", None, None, "Tenant", None, "Effect", None, None
    ]  # fmt: skip
    visitor = await world.visitor(alice.tenant_id)
    answer = await answered(visitor, query, ids=asked[:2])
    assert answer.data["nodes"][0] is None
    assert answer.data["nodes"][1]["id"] == asked[1]
    assert [error.path for error in answer.errors] == [["nodes", 0]]
    assert (await refusal(ctx, query, ids=["x"] * 101)).message.startswith('Argument "ids"')


async def test_another_users_row_is_no_node_even_inside_the_tenant(world):
    alice = await world.tenant("alice")
    mary = await world.member(alice.tenant_id)
    effects = await world.house.system().on_system(stock)
    ids = await (await world.of(alice)).on_pool(make_videos, effects["grain"], alice.user_id)
    query = "query($id: ID!) { video(id: $id) { id } node(id: $id) { id } videos { totalCount } }"
    found = await ask(await world.of(mary), query, id=global_id("Video", ids[0], alice.tenant_id))
    assert found == {"video": None, "node": None, "videos": {"totalCount": 0}}


async def test_whoever_lists_their_rewards_finds_todays(world, monkeypatch):
    alice = await world.of(await world.tenant("alice"))
    clock = world.house.sessions.clock
    told = []
    for day in (clock.now(), clock.now() + timedelta(days=1)):
        monkeypatch.setattr(clock, "now", lambda day=day: day)
        found = await ask(alice, "{ rewards { totalCount nodes { id kind claimedAt } } }")
        assert found["rewards"]["totalCount"] == 2
        told.append(found["rewards"]["nodes"][0])
    assert [(each["kind"], each["claimedAt"]) for each in told] == [("DAILY", None)] * 2
    assert told[0]["id"] != told[1]["id"]


async def test_a_person_is_a_node_to_nobody_else(world):
    alice, bob = await world.tenant("alice"), await world.tenant("bob")
    mine, theirs = (global_id("User", person.user_id, None) for person in (alice, bob))
    query = "query($mine: ID!, $theirs: ID!) { a: node(id: $mine) { id } b: node(id: $theirs) { id } "
    query += "nodes(ids: [$mine, $theirs]) { id } }"
    found = await ask(await world.of(alice), query, mine=mine, theirs=theirs)
    assert found == {"a": {"id": mine}, "b": None, "nodes": [{"id": mine}, None]}


async def test_whoever_left_a_tenant_reads_nothing_of_it_on_any_host(world):
    alice = await world.tenant("alice")
    mary = await world.member(alice.tenant_id)
    ctx = await world.of(mary)
    on_central = dataclasses.replace(ctx, route=None)
    assert await ask(on_central, "{ purchases { totalCount } }") == {"purchases": {"totalCount": 0}}
    left = dataclasses.replace(ctx.viewer, is_member=False)
    for gone in (dataclasses.replace(ctx, viewer=left), dataclasses.replace(on_central, viewer=left)):
        assert isinstance(await refusal(gone, "{ purchases { totalCount } }"), errors.Unauthenticated)


REGISTER = """mutation($input: RegisterInput!) { register(input: $input) {
    token tenant { slug url domains } user { email tenant { slug } accessTokens { name } }
    userErrors { code message field } } }"""


async def test_whoever_registers_sees_themselves_in_the_answer(world):
    wish = {"name": "Alice", "email": "alice@example.com", "password": PASSWORD, "slug": "alice"}
    done = (await ask(world.central(), REGISTER, input=wish))["register"]
    assert done["userErrors"] == []
    assert done["token"]
    assert done["tenant"] == {
        "slug": "alice1",
        "url": "http://alice1.localhost:8000/graphql",
        "domains": ["alice1.localhost"],
    }
    assert done["user"]["email"] == "alice@example.com"
    assert done["user"]["tenant"] == {"slug": "alice1"}
    assert len(done["user"]["accessTokens"]) == 1
    # Whom one field has signed in, the next is not.
    login = "mutation($input: LoginInput!) { login(input: $input) { user { name } } logout { ok } }"
    answer = await answered(world.central(), login, input={"email": "alice@example.com", "password": PASSWORD})
    assert answer.errors[0].path == ["logout"]


async def test_a_refusal_is_a_user_error_on_its_field_and_a_query_shows_null(world):
    short = {"name": "Bob", "email": "bob@example.com", "password": "short"}
    done = (await ask(world.central(), REGISTER, input=short))["register"]
    assert done["token"] is None
    assert done["user"] is None
    assert [(error["code"], error["field"]) for error in done["userErrors"]] == [("INVALID", ["input", "password"])]
    alice = await world.tenant("alice")
    ctx = await world.of(alice)
    done = await ask(ctx, 'mutation { revokeAccessToken(id: "Video_1") { deletedId userErrors { code field } } }')
    assert done["revokeAccessToken"] == {"deletedId": None, "userErrors": [{"code": "NOT_FOUND", "field": ["id"]}]}
    assert await ask(ctx, '{ video(id: "Effect_1") { id } node(id: "☃") { id } }') == {"video": None, "node": None}


async def test_a_live_job_ends_with_its_final_state_and_a_foreign_one_is_not_there(world):
    alice = await world.tenant("alice")
    ctx = await world.of(alice)

    async def queue(db, status, /):
        job = AiJob(id=db.new_id(), user_id=alice.user_id, status=status, idempotency_key=status.name)
        db.add(job)
        await db.flush()
        return job.id

    done = await ctx.on_pool(queue, AiJobStatus.SUCCEEDED)
    query = "subscription($id: ID!) { aiJob(id: $id) { id status } }"
    stream = await followed(ctx, query, id=global_id("AiJob", done, alice.tenant_id))
    events = [event async for event in stream]
    assert [event.data["aiJob"]["status"] for event in events] == ["SUCCEEDED"]
    stream = await followed(ctx, query, id=global_id("AiJob", done + 1, alice.tenant_id))
    events = [event async for event in stream]
    assert [event.data for event in events] == [None]
    refused = await followed(await world.visitor(alice.tenant_id), query, id="AiJob_1")
    assert refused.data is None
    assert refused.errors is not None


async def test_a_live_job_shows_each_change_until_the_last(world):
    alice = await world.tenant("alice")
    ctx = await world.of(alice)

    async def put(db, /):
        job = AiJob(id=db.new_id(), user_id=alice.user_id, status=AiJobStatus.QUEUED, idempotency_key="one")
        db.add(job)
        await db.flush()
        return job.id

    job_id = await ctx.on_pool(put)
    stream = await followed(
        ctx, "subscription($id: ID!) { aiJob(id: $id) { status } }", id=global_id("AiJob", job_id, alice.tenant_id)
    )
    assert (await anext(stream)).data == {"aiJob": {"status": "QUEUED"}}
    done = await ask(
        ctx,
        "mutation($id: ID!) { cancelAiJob(id: $id) { aiJob { status } userErrors { code message } } }",
        id=global_id("AiJob", job_id, alice.tenant_id),
    )
    assert done["cancelAiJob"] == {"aiJob": {"status": "CANCELED"}, "userErrors": []}
    assert [event.data async for event in stream] == [{"aiJob": {"status": "CANCELED"}}]


async def test_a_live_wallet_shows_each_change(world):
    alice = await world.tenant("alice")
    ctx = await world.of(alice)

    async def tell(db, /):
        db.tell("wallet", db.tenant)

    stream = await followed(ctx, "subscription { wallet { balance } }")
    async with contextlib.aclosing(stream):
        assert (await anext(stream)).data == {"wallet": {"balance": 100}}
        await ctx.on_pool(tell)
        assert (await anext(stream)).data == {"wallet": {"balance": 100}}


async def test_staff_fields_are_for_staff(world):
    alice, sam = await world.tenant("alice"), await world.staff()

    await world.house.system().on_system(discount, 10)
    query = "{ discounts { id percentOff } algorithms { slug } aiModels { slug } }"
    found = await ask(await world.of(sam), query)
    assert [each["percentOff"] for each in found["discounts"]] == [10]
    node = "query($id: ID!) { node(id: $id) { ... on Discount { percentOff } } }"
    assert await ask(await world.of(sam), node, id=found["discounts"][0]["id"]) == {"node": {"percentOff": 10}}
    assert "catalog:write" in (await refusal(await world.of(alice), node, id=found["discounts"][0]["id"])).message
