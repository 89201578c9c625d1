"""The catalog as staff change it through the schema: created, changed by what was sent alone, archived."""

from __future__ import annotations

import pytest

from execution import library
from resolvers import catalog_admin, roots

pytestmark = pytest.mark.anyio

GRAPH = [{"filter": "gblur", "options": {"sigma": "{strength}"}}]
PARAMETERS = [{"name": "strength", "kind": "number", "default": 2, "minimum": 0, "maximum": 5}]


async def answered(ctx, query, **variables):
    """The whole answer."""
    return await library.Executor(roots.served()).execute(ctx, query, variables=variables)


async def ask(ctx, query, **variables):
    """What the one field of an answer holds."""
    answer = await answered(ctx, query, **variables)
    assert answer.errors is None, answer.errors
    return next(iter(answer.data.values()))


async def change(ctx, verb, kind, wanted, /, **values):
    """Create or update; the answer must hold no refusal."""
    word = f"{verb}{kind}"
    field = kind[0].lower() + kind[1:]
    query = f"mutation($i: {word[0].upper()}{word[1:]}Input!) {{ {word}(input: $i) {{ {field} {{ {wanted} }} "
    done = await ask(ctx, query + "userErrors { code message field } } }", i=values)
    assert done["userErrors"] == [], done
    return done[field]


@pytest.fixture
async def staff(world):
    return await world.of(await world.staff())


NEW: dict[str, dict[str, object]] = {
    "Category": {"position": 3},
    "Style": {"description": "Soft."},
    "Filter": {},
    "Overlay": {},
    "Watermark": {},
    "Tag": {},
    "Tier": {"monthlyPriceCents": 999, "currency": "EUR", "monthlyTokens": 500, "features": ["4K"]},
    "Package": {"priceCents": 999, "currency": "EUR", "tokens": 100},
    "Algorithm": {"kind": "FFMPEG"},
    "AiModel": {},
}


def test_every_type_of_the_catalog_is_administered():
    named = {kind.name.title().replace("_", "") for kind in catalog_admin.ADMINISTERED}
    assert named == {*NEW, "Discount", "Effect"}


@pytest.mark.parametrize("kind", NEW)
async def test_a_row_is_made_changed_and_archived(staff, kind):
    made = await change(staff, "create", kind, "id slug name", slug="first-one", name="First one", **NEW[kind])
    assert (made["slug"], made["name"]) == ("first-one", "First one")
    changed = await change(staff, "update", kind, "id slug name", id=made["id"], name="Other")
    assert changed == {"id": made["id"], "slug": "first-one", "name": "Other"}
    listed = {"Category": "categories"}.get(kind, kind[0].lower() + kind[1:] + "s")
    assert [each["id"] for each in await ask(staff, f"{{ {listed} {{ id }} }}")] == [made["id"]]
    archive = f"mutation($id: ID!) {{ archive{kind}(id: $id) {{ userErrors {{ code }} }} }}"
    assert await ask(staff, archive, id=made["id"]) == {"userErrors": []}
    assert await ask(staff, archive, id=made["id"]) == {"userErrors": []}
    assert await ask(staff, f"{{ {listed} {{ id }} }}") == []


async def test_an_effect_keeps_what_was_not_sent_and_loses_what_was_sent_as_null(staff):
    algorithm = await change(staff, "create", "Algorithm", "id", slug="ffmpeg", name="Ffmpeg", kind="FFMPEG")
    category = await change(staff, "create", "Category", "id", slug="retro", name="Retro")
    tags = [await change(staff, "create", "Tag", "id", slug=slug, name=slug) for slug in ("night", "city")]
    wanted = """id description category { slug } tags { slug }
        parameters { name kind default minimum maximum choices textLengthMax }"""
    made = await change(
        staff,
        "create",
        "Effect",
        wanted,
        slug="soft",
        name="Soft",
        description="Softer.",
        tokenCost=3,
        algorithmId=algorithm["id"],
        categoryId=category["id"],
        tagIds=[tag["id"] for tag in tags],
        parameters=PARAMETERS,
        graph=GRAPH,
    )
    assert made["category"] == {"slug": "retro"}
    assert made["tags"] == [{"slug": "city"}, {"slug": "night"}]
    assert made["parameters"] == [
        {
            "name": "strength",
            "kind": "number",
            "default": 2,
            "minimum": 0.0,
            "maximum": 5.0,
            "choices": None,
            "textLengthMax": None,
        }
    ]
    kept = await change(staff, "update", "Effect", wanted, id=made["id"], tokenCost=4)
    assert kept == made
    emptied = await change(
        staff, "update", "Effect", wanted, id=made["id"], description=None, categoryId=None, tagIds=[tags[0]["id"]]
    )
    assert emptied == {**made, "description": None, "category": None, "tags": [{"slug": "night"}]}


async def test_a_discount_is_made_for_a_package_and_shows_in_its_price(staff):
    price = {"slug": "small", "name": "Small", "priceCents": 1000, "currency": "EUR", "tokens": 100}
    package = await change(staff, "create", "Package", "id discountedPriceCents", **price)
    assert package["discountedPriceCents"] == 1000
    made = await change(
        staff,
        "create",
        "Discount",
        "id code percentOff startsAt",
        percentOff=20,
        startsAt="2026-01-01T00:00:00Z",
        packageIds=[package["id"]],
    )
    assert (made["code"], made["percentOff"], made["startsAt"]) == (None, 20, "2026-01-01T00:00:00.000Z")
    assert (await ask(staff, "{ packages { discountedPriceCents } }")) == [{"discountedPriceCents": 800}]
    await change(staff, "update", "Discount", "id", id=made["id"], code="Spring")
    assert (await ask(staff, "{ packages { discountedPriceCents } }")) == [{"discountedPriceCents": 1000}]


async def test_an_id_of_another_type_is_told_on_its_field_and_nothing_is_made(staff):
    tag = await change(staff, "create", "Tag", "id", slug="night", name="Night")
    query = "mutation($i: CreateEffectInput!) { createEffect(input: $i) { effect { id } userErrors { code field } } }"
    wish = {"slug": "soft", "name": "Soft", "tokenCost": 1, "algorithmId": tag["id"], "tagIds": [tag["id"]]}
    assert await ask(staff, query, i=wish) == {
        "effect": None,
        "userErrors": [{"code": "NOT_FOUND", "field": ["input", "algorithmId"]}],
    }
    assert await ask(staff, "{ effects { totalCount } }") == {"totalCount": 0}


@pytest.mark.parametrize("kind", catalog_admin.ADMINISTERED, ids=lambda kind: kind.name)
async def test_nobody_else_may_archive(world, kind):
    word = kind.name.title().replace("_", "")
    query = f'mutation {{ archive{word}(id: "{word}_1") {{ userErrors {{ code }} }} }}'
    alice = await world.tenant("alice")
    for ctx in (world.central(), await world.of(alice)):
        answer = await answered(ctx, query)
        assert answer.data is None
        assert type(answer.errors[0].original_error).__name__ in ("Unauthenticated", "Forbidden")
