"""The catalog as staff change it: each refusal names its field and leaves nothing; nothing is ever deleted."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from actions import catalog
from base import errors
from db.tables.central import catalog as tables
from outside.builtin_effects import BUILTIN_EFFECTS
from tests.world import on_every_engine

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BLUR = {
    "parameters": [{"name": "strength", "kind": "number", "minimum": 0, "maximum": 40, "default": 8}],
    "graph": [{"filter": "gblur", "options": {"sigma": "{strength}"}}],
}


async def _all(db, table):
    return list(await db.all(sa.select(table).order_by(table.id)))


async def _links(db, table):
    return {tuple(row) for row in await db.tuples(sa.select(*table.__table__.columns))}


async def _get(ctx, table, row_id):
    return next(row for row in await ctx.on_central(_all, table) if row.id == row_id)


async def _refused(kind, doing):
    with pytest.raises(kind) as refused:
        await doing
    return refused.value.field


async def _made(ctx, table, **values):
    return await ctx.on_central(catalog.create, table, {"slug": "a-slug", "name": "A name", **values})


@pytest.fixture
async def ctx(world):
    return await world.of(await world.staff())


async def _algorithm(ctx, **values):
    given = {"slug": "ffmpeg", "name": "ffmpeg", "kind": tables.AlgorithmKind.FFMPEG, **values}
    return await _made(ctx, tables.Algorithm, **given)


async def _effect(ctx, **values):
    given = {"slug": "soft", "name": "Soft", "token_cost": 5, **BLUR, **values}
    return await _made(ctx, tables.Effect, **given)


@on_every_engine
async def test_a_row_is_kept_as_it_was_sent_with_its_folded_name(ctx):
    made = await _made(ctx, tables.Category, name="  Straße  im Licht ", description="Text.\nMore.", position=3)
    row = await _get(ctx, tables.Category, made)
    assert (row.slug, row.name, row.name_key) == ("a-slug", "Straße im Licht", "strasse im licht")
    assert (row.description, row.position, row.archived_at) == ("Text.\nMore.", 3, None)


@on_every_engine
async def test_a_slug_is_given_once_also_to_what_is_archived(ctx):
    first = await _made(ctx, tables.Tag)
    assert await _refused(errors.Taken, _made(ctx, tables.Tag)) == ("input", "slug")
    await ctx.on_central(catalog.archive, tables.Tag, first)
    assert await _refused(errors.Taken, _made(ctx, tables.Tag)) == ("input", "slug")
    other = await _made(ctx, tables.Tag, slug="other")
    renamed = ctx.on_central(catalog.update, tables.Tag, other, {"slug": "a-slug"})
    assert await _refused(errors.Taken, renamed) == ("input", "slug")
    await _made(ctx, tables.Style)
    assert [row.slug for row in await ctx.on_central(_all, tables.Tag)] == ["a-slug", "other"]


@on_every_engine
async def test_archiving_is_idempotent_and_keeps_the_row(ctx):
    made = await _made(ctx, tables.Package, price_cents=999, currency="EUR", tokens=100)
    assert await ctx.on_central(catalog.archive, tables.Package, made) == made
    first = (await _get(ctx, tables.Package, made)).archived_at
    await ctx.on_central(catalog.archive, tables.Package, made)
    assert first is not None
    assert (await _get(ctx, tables.Package, made)).archived_at == first
    unknown = ctx.on_central(catalog.archive, tables.Package, made + 1)
    assert await _refused(errors.NotFound, unknown) == ("id",)


async def test_an_update_changes_what_was_sent_and_null_empties_what_may_be_empty(ctx):
    made = await _made(ctx, tables.Tier, monthly_price_cents=900, currency="EUR", monthly_tokens=500, features=["4K"])
    await ctx.on_central(catalog.update, tables.Tier, made, {"monthly_price_cents": 1_000, "name": "Pro"})
    row = await _get(ctx, tables.Tier, made)
    assert (row.monthly_price_cents, row.name, row.name_key, row.features) == (1_000, "Pro", "pro", ["4K"])
    emptied = ctx.on_central(catalog.update, tables.Tier, made, {"name": None})
    assert await _refused(errors.Invalid, emptied) == ("input", "name")
    style = await _made(ctx, tables.Style, description="Old.")
    await ctx.on_central(catalog.update, tables.Style, style, {"description": None})
    assert (await _get(ctx, tables.Style, style)).description is None
    unknown = ctx.on_central(catalog.update, tables.Style, style + 1, {"name": "X"})
    assert await _refused(errors.NotFound, unknown) == ("input", "id")


@pytest.mark.parametrize(
    ("table", "values", "field"),
    [
        (tables.Tag, {"slug": "Neon Glow"}, "slug"),
        (tables.Tag, {"slug": "neon--glow"}, "slug"),
        (tables.Tag, {"slug": "n" * 81}, "slug"),
        (tables.Tag, {"slug": "ñandú"}, "slug"),
        (tables.Tag, {"slug": None}, "slug"),
        (tables.Tag, {"name": "  "}, "name"),
        (tables.Tag, {"name": "n" * 201}, "name"),
        (tables.Tag, {"name": "a\0b"}, "name"),
        (tables.Style, {"description": "d" * 5_001}, "description"),
        (tables.Category, {"position": -1}, "position"),
        (tables.Category, {"position": True}, "position"),
        (tables.Tier, {"monthly_price_cents": -1, "currency": "EUR", "monthly_tokens": 1}, "monthlyPriceCents"),
        (tables.Tier, {"monthly_price_cents": 1, "currency": "eur", "monthly_tokens": 1}, "currency"),
        (tables.Tier, {"monthly_price_cents": 1, "currency": "EUR", "monthly_tokens": 0}, "monthlyTokens"),
        (tables.Package, {"price_cents": 1, "currency": "EUR"}, "tokens"),
        (tables.Package, {"price_cents": 10**10, "currency": "EUR", "tokens": 1}, "priceCents"),
        (tables.Algorithm, {}, "kind"),
        (tables.Algorithm, {"kind": tables.AlgorithmKind.HTTP}, "provider"),
        (tables.Algorithm, {"kind": tables.AlgorithmKind.FFMPEG, "provider": "acme"}, "provider"),
        (tables.Algorithm, {"kind": tables.AlgorithmKind.HTTP, "provider": "a b"}, "provider"),
    ],
)
async def test_a_value_that_cannot_be_names_its_field_and_leaves_no_row(ctx, table, values, field):
    assert await _refused(errors.Invalid, _made(ctx, table, **values)) == ("input", field)
    assert await ctx.on_central(_all, table) == []


@on_every_engine
async def test_a_discount_applies_by_code_or_by_itself(ctx):
    package = await _made(ctx, tables.Package, price_cents=999, currency="EUR", tokens=100)

    async def add(**values):
        return await ctx.on_central(catalog.create, tables.Discount, values)

    await add(percent_off=10)
    await add(percent_off=20)
    spring = await add(percent_off=30, code="Spring", package_ids=[package, package])
    assert await _refused(errors.Taken, add(percent_off=5, code="SPRING")) == ("input", "code")
    assert await _refused(errors.Invalid, add(percent_off=5, code="#1")) == ("input", "code")
    assert await _refused(errors.Invalid, add(percent_off=0)) == ("input", "percentOff")
    late = add(percent_off=5, starts_at=NOON, ends_at=NOON - timedelta(hours=1))
    assert await _refused(errors.Invalid, late) == ("input", "endsAt")
    assert await _refused(errors.NotFound, add(percent_off=5, package_ids=[1])) == ("input", "packageIds")
    assert await ctx.on_central(_links, tables.DiscountPackage) == {(spring, package)}
    await ctx.on_central(catalog.update, tables.Discount, spring, {"code": None, "package_ids": None})
    assert await ctx.on_central(_links, tables.DiscountPackage) == set()
    assert [row.code for row in await ctx.on_central(_all, tables.Discount)] == [None, None, None]
    await add(percent_off=5, code="SPRING")


@on_every_engine
async def test_an_effect_carries_its_filters_and_tags_and_is_found_by_their_names(ctx):
    algorithm = await _algorithm(ctx)
    night = await _made(ctx, tables.Tag, slug="night", name="Night")
    blur = await _made(ctx, tables.Filter, slug="blur", name="Blur")
    made = await _effect(ctx, algorithm_id=algorithm, tag_ids=[night, night], filter_ids=[blur], description="Ä hush.")
    row = await _get(ctx, tables.Effect, made)
    assert row.search_text == "soft\nä hush.\nnight"
    assert await ctx.on_central(_links, tables.EffectTag) == {(made, night)}
    assert await ctx.on_central(_links, tables.EffectFilter) == {(made, blur)}
    await ctx.on_central(catalog.update, tables.Tag, night, {"name": "Nocturne"})
    assert (await _get(ctx, tables.Effect, made)).search_text == "soft\nä hush.\nnocturne"
    await ctx.on_central(catalog.update, tables.Effect, made, {"tag_ids": [], "name": "Softer"})
    assert (await _get(ctx, tables.Effect, made)).search_text == "softer\nä hush."
    assert await ctx.on_central(_links, tables.EffectTag) == set()


@on_every_engine
async def test_the_longest_texts_are_kept_whatever_they_fold_to(ctx):
    widest = "\U0001d160"  # folded it is three characters of four bytes each
    await _algorithm(ctx)
    algorithm = (await ctx.on_central(_all, tables.Algorithm))[0].id
    tags = [await _made(ctx, tables.Tag, slug=f"tag{number}", name=widest * 200) for number in range(20)]
    made = await _effect(ctx, algorithm_id=algorithm, name=widest * 200, description=widest * 5_000, tag_ids=tags)
    row = await _get(ctx, tables.Effect, made)
    assert (row.name, row.description) == (widest * 200, widest * 5_000)


@on_every_engine
async def test_a_reference_must_be_there_and_offered(ctx):
    algorithm = await _algorithm(ctx)
    style = await _made(ctx, tables.Style)
    await ctx.on_central(catalog.archive, tables.Style, style)
    for name, field in (("style_id", "styleId"), ("category_id", "categoryId"), ("overlay_id", "overlayId")):
        refused = _effect(ctx, **{"algorithm_id": algorithm, name: style})
        assert await _refused(errors.NotFound, refused) == ("input", field)
    refused = _effect(ctx, algorithm_id=algorithm, tag_ids=[style])
    assert await _refused(errors.NotFound, refused) == ("input", "tagIds")
    assert await _refused(errors.Invalid, _effect(ctx)) == ("input", "algorithmId")
    made = await _effect(ctx, algorithm_id=algorithm)
    changed = ctx.on_central(catalog.update, tables.Effect, made, {"category_id": style})
    assert await _refused(errors.NotFound, changed) == ("input", "categoryId")
    assert len(await ctx.on_central(_all, tables.Effect)) == 1


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"graph": [{"filter": "movie", "options": {"filename": "x"}}]}, ("graph", "0", "filter")),
        (
            {"graph": [{"filter": "gblur", "options": {"sigma": 10**6}}], "parameters": []},
            ("graph", "0", "options", "sigma"),
        ),
        ({"graph": []}, ("parameters",)),
        ({"parameters": {}}, ("parameters",)),
        ({"parameters": [{"name": "x", "kind": "file", "default": ""}]}, ("parameters", "0", "kind")),
        ({"graph": [{"filter": "\ud800"}]}, ("graph",)),
        ({"graph": [{"filter": "a\0"}]}, ("graph",)),
        ({"graph": [{"filter": "gblur", "options": {"sigma": "9" * 30_000}}]}, ("graph",)),
        ({"token_cost": -1}, ("tokenCost",)),
        ({"preview_url": "http://example.com/x.png"}, ("previewUrl",)),
        ({"preview_url": "https://user@example.com/"}, ("previewUrl",)),
        ({"preview_url": "javascript:alert(1)"}, ("previewUrl",)),
    ],
)
async def test_an_effect_is_checked_before_it_is_kept_and_when_it_is_changed(ctx, values, field):
    algorithm = await _algorithm(ctx)
    assert await _refused(errors.Invalid, _effect(ctx, algorithm_id=algorithm, **values)) == ("input", *field)
    made = await _effect(ctx, algorithm_id=algorithm)
    changed = ctx.on_central(catalog.update, tables.Effect, made, values)
    assert await _refused(errors.Invalid, changed) == ("input", *field)
    assert (await _get(ctx, tables.Effect, made)).graph == BLUR["graph"]


async def test_only_our_own_ffmpeg_takes_a_graph(ctx):
    outside = await _algorithm(ctx, kind=tables.AlgorithmKind.WORKER)
    assert await _refused(errors.Invalid, _effect(ctx, algorithm_id=outside)) == ("input", "graph")
    await _effect(ctx, algorithm_id=outside, graph=[])


async def test_every_built_in_effect_can_be_kept(ctx):
    algorithm = await _algorithm(ctx)
    for effect in BUILTIN_EFFECTS:
        given = {"parameters": list(effect.parameters), "graph": list(effect.graph), "description": effect.description}
        await _effect(ctx, algorithm_id=algorithm, slug=effect.slug, name=effect.name, **given)
    assert len(await ctx.on_central(_all, tables.Effect)) == len(BUILTIN_EFFECTS)


@pytest.mark.parametrize(
    ("price", "percent", "left"),
    [(999, 10, 899), (995, 10, 895), (994, 10, 895), (1, 50, 0), (1, 49, 1), (999, 100, 0)],
)
def test_what_a_discount_takes_off_is_rounded_half_up(price, percent, left):
    assert tables.discounted_cents(price, percent) == left
