"""The public catalog and, for staff, what stands behind it."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa

from db.tables.central import catalog as tables
from execution.access import public
from execution.declare import FIRST_DEFAULT, After, Connection, Doc, First, one, page, query, rows
from execution.prices import sized
from resolvers import search
from schema.catalog import (
    AiModel,
    Algorithm,
    Category,
    Discount,
    Effect,
    EffectFilter,
    EffectOrder,
    Filter,
    Overlay,
    Package,
    Style,
    Tag,
    Tier,
    Watermark,
    staff,
)

USUAL = sized(20)  # the catalog's lists are short; up to 1,000 rows are served, and counted when answered

ORDERS = {
    EffectOrder.NEWEST: ("-created_at",),
    EffectOrder.POPULAR: ("-popularity",),
    EffectOrder.NAME: ("name_key",),
    EffectOrder.TOKEN_COST: ("token_cost",),
}


@query(public, size=USUAL)
async def categories() -> list[Category]:
    """All categories, as they stand on the shelf."""
    return rows(Category, where=[tables.Category.archived_at.is_(None)], order=("position",))


@query(public, size=USUAL)
async def styles() -> list[Style]:
    """All styles, by name."""
    return rows(Style, where=[tables.Style.archived_at.is_(None)], order=("name_key",))


@query(public, size=USUAL)
async def filters() -> list[Filter]:
    """All filters, by name."""
    return rows(Filter, where=[tables.Filter.archived_at.is_(None)], order=("name_key",))


@query(public, size=USUAL)
async def overlays() -> list[Overlay]:
    """All overlays, by name."""
    return rows(Overlay, where=[tables.Overlay.archived_at.is_(None)], order=("name_key",))


@query(public, size=USUAL)
async def watermarks() -> list[Watermark]:
    """All watermarks, by name."""
    return rows(Watermark, where=[tables.Watermark.archived_at.is_(None)], order=("name_key",))


@query(public, size=sized(100))
async def tags() -> list[Tag]:
    """All tags of effects, by name."""
    return rows(Tag, where=[tables.Tag.archived_at.is_(None)], order=("name_key",))


@query(public, size=USUAL)
async def tiers() -> list[Tier]:
    """All price plans, cheapest first."""
    return rows(Tier, where=[tables.Tier.archived_at.is_(None)], order=("monthly_price_cents",))


@query(public, size=USUAL)
async def packages() -> list[Package]:
    """All packages of tokens, cheapest first."""
    return rows(Package, where=[tables.Package.archived_at.is_(None)], order=("price_cents",))


@query(staff, size=USUAL)
async def discounts() -> list[Discount]:
    """All discounts, newest first; for staff."""
    return rows(Discount, where=[tables.Discount.archived_at.is_(None)], order=("-id",))


@query(staff, size=USUAL)
async def algorithms() -> list[Algorithm]:
    """All algorithms, by name; for staff."""
    return rows(Algorithm, where=[tables.Algorithm.archived_at.is_(None)], order=("name_key",))


@query(staff, size=USUAL)
async def ai_models() -> list[AiModel]:
    """All models, by name; for staff."""
    return rows(AiModel, where=[tables.AiModel.archived_at.is_(None)], order=("name_key",))


@query(public)
async def effect(slug: Annotated[str, Doc("E.g. neon-glow.")]) -> Effect | None:
    """An effect by its slug."""
    return one(Effect, where=[tables.Effect.archived_at.is_(None), search.has_slug(tables.Effect.slug, slug)])


@query(public, cost=5)
async def effects(
    first: First = FIRST_DEFAULT,
    *,
    after: After = None,
    filter: Annotated[EffectFilter | None, Doc("Which effects; null: all.")] = None,
    order_by: Annotated[EffectOrder | None, Doc("In which order; null: POPULAR.")] = EffectOrder.POPULAR,
) -> Connection[Effect]:
    """Effects, most popular first unless told otherwise."""
    where = [tables.Effect.archived_at.is_(None), *_fits(filter or EffectFilter())]
    return page(Effect, first=first, after=after, where=where, order=ORDERS[order_by or EffectOrder.POPULAR])


def _fits(asked: EffectFilter) -> list[sa.ColumnElement[bool] | None]:
    effect = tables.Effect
    tagged = [
        effect.id.in_(
            sa.select(tables.EffectTag.effect_id)
            .join(tables.Tag, tables.Tag.id == tables.EffectTag.tag_id)
            .where(search.has_slug(tables.Tag.slug, slug))
        )
        for slug in search.all_of(asked.tag_slugs, "tagSlugs")
    ]
    return [
        *tagged,
        None if asked.category_slug is None else of_category(asked.category_slug),
        None
        if asked.style_slug is None
        else effect.style_id.in_(
            sa.select(tables.Style.id).where(search.has_slug(tables.Style.slug, asked.style_slug))
        ),
        search.has_words(effect.search_text, asked.search),
        None if asked.max_token_cost is None else effect.token_cost <= asked.max_token_cost,
        None if asked.is_premium is None else effect.is_premium == sa.literal(asked.is_premium),
    ]


def of_category(slug: str) -> sa.ColumnElement[bool]:
    """That an effect is of the category with this slug."""
    category = sa.select(tables.Category.id).where(search.has_slug(tables.Category.slug, slug))
    return tables.Effect.category_id.in_(category)
