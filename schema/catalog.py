"""The public catalog: what the house offers and what it sells. How staff change it is in `catalog_admin.py`."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Annotated, Any

from db.tables.central import catalog as tables
from execution.access import permission, public
from execution.declare import Connection, Doc, computed, input, node, plain, through, to_many, to_one  # noqa: A004  (GraphQL's word)
from execution.prices import SEARCH, costs, sized
from execution.scalars import Json
from outside.store import Store
from tenancy.context import Context

staff = permission("catalog:write")

Slug = Annotated[str, Doc("Lower-case name in addresses, unique among its kind, e.g. neon-glow.")]
Name = Annotated[str, Doc("For people's eyes, e.g. Neon glow.")]
Cents = Annotated[int, Doc("In minor units of the currency, e.g. 999 for 9.99 EUR.")]
Currency = Annotated[str, Doc("ISO 4217, e.g. EUR.")]


def _asset_url(ctx: Context, asset_key: str | None) -> str | None:
    return None if asset_key is None else ctx.house.service(Store).public_url(asset_key, ctx.origin)


def _discounted(price_cents: int, best_percent_off: int | None) -> int:
    return tables.discounted_cents(price_cents, best_percent_off or 0)


def _trial_days(trial_days: int | None) -> int:
    return trial_days or 0


def _credits_zero_invoices(credits_zero_invoices: bool | None) -> bool:
    return bool(credits_zero_invoices)


def _parameters(parameters: list[dict[str, Any]]) -> list[EffectParameter]:
    return [
        EffectParameter(
            name=each["name"],
            kind=each["kind"],
            default=each.get("default"),
            minimum=each.get("minimum"),
            maximum=each.get("maximum"),
            choices=each.get("choices"),
            text_length_max=each.get("text_length_max"),
        )
        for each in parameters
    ]


@node(tables.Category, access=public)
class Category:
    """A shelf of effects."""

    slug: Slug
    name: Name
    description: str | None
    position: Annotated[int, Doc("Shelves stand in this order, smallest first.")]
    effects: Annotated[
        Connection[Effect],
        to_many("category_id", order=("-popularity",), where=(tables.Effect.archived_at.is_(None),)),
        Doc("Most popular first."),
    ]


@node(tables.Style, access=public)
class Style:
    """A look that effects share, e.g. Vintage."""

    slug: Slug
    name: Name
    description: str | None


@node(tables.Filter, access=public)
class Filter:
    """A building block that effects are described by, e.g. Blur."""

    slug: Slug
    name: Name
    description: str | None


@node(tables.Overlay, access=public)
class Overlay:
    """An image that effects lay over a video."""

    slug: Slug
    name: Name
    asset_url: Annotated[str | None, computed(_asset_url), Doc("The image; null until one is uploaded.")]


@node(tables.Watermark, access=public)
class Watermark:
    """An image that effects mark a video with."""

    slug: Slug
    name: Name
    asset_url: Annotated[str | None, computed(_asset_url), Doc("The image; null until one is uploaded.")]


@node(tables.Tag, access=public)
class Tag:
    """A word by which effects are found, e.g. Night."""

    slug: Slug
    name: Name


@node(tables.Tier, access=public)
class Tier:
    """A price plan: tokens every month."""

    slug: Slug
    name: Name
    monthly_price_cents: Cents
    currency: Currency
    monthly_tokens: Annotated[int, Doc("Tokens credited each month, e.g. 500.")]
    trial_days: Annotated[int, computed(_trial_days), Doc("Days free of charge, once a tenant; 0: no trial.")]
    credits_zero_invoices: Annotated[
        bool,
        computed(_credits_zero_invoices),
        Doc("Whether an invoice that takes nothing, as a trial's does, brings the month's tokens all the same."),
    ]
    features: Annotated[list[str], Doc('What comes with it, in words, e.g. ["Exports in 4K"].')]


@node(tables.Package, access=public)
class Package:
    """Tokens sold once."""

    slug: Slug
    name: Name
    price_cents: Cents
    currency: Currency
    tokens: Annotated[int, Doc("Tokens it brings, e.g. 100.")]
    discounted_price_cents: Annotated[int, computed(_discounted), Doc("price after the best discount running now")]


@node(tables.Discount, access=staff)
class Discount:
    """read with the ability catalog:write alone"""

    code: Annotated[str | None, Doc("null: applies by itself")]
    percent_off: Annotated[int, Doc("Whole percent, 1 to 100.")]
    starts_at: Annotated[datetime | None, Doc("Not before; null: at once.")]
    ends_at: Annotated[datetime | None, Doc("Not after; null: without end.")]


@node(tables.Algorithm, access=staff)
class Algorithm:
    """How effects are computed; read with the ability catalog:write alone."""

    slug: Slug
    name: Name
    kind: tables.AlgorithmKind
    provider: Annotated[str | None, Doc("The provider's name in the settings, for kind HTTP.")]


@node(tables.AiModel, access=staff)
class AiModel:
    """A trained model that algorithms use; read with the ability catalog:write alone."""

    slug: Slug
    name: Name
    description: str | None


@plain
class EffectParameter:
    """What a job may set in `params`, and within which bounds."""

    name: Annotated[str, Doc("The key in `params`, e.g. strength.")]
    kind: Annotated[str, Doc("number, enum, colour (#rrggbb) or text.")]
    default: Annotated[Json | None, Doc("Taken when the job does not say; null: the job must say.")]
    minimum: Annotated[float | None, Doc("Smallest number.")]
    maximum: Annotated[float | None, Doc("Largest number.")]
    choices: Annotated[list[str] | None, Doc("The words of an enum.")]
    text_length_max: Annotated[int | None, Doc("Longest text, in characters.")]


@node(tables.Effect, access=public)
class Effect:
    """What can be done to a video."""

    slug: Slug
    name: Name
    description: str | None
    token_cost: Annotated[int, Doc("Tokens a job costs, e.g. 5.")]
    preview_url: Annotated[str | None, Doc("A picture or short video of the result.")]
    is_premium: bool
    popularity: Annotated[int, Doc("Succeeded jobs of the last 30 days, counted daily.")]
    created_at: datetime
    category: Annotated[Category | None, to_one("category_id")]
    style: Annotated[Style | None, to_one("style_id")]
    filters: Annotated[
        list[Filter],
        through(
            tables.EffectFilter,
            "effect_id",
            "filter_id",
            order=("name_key",),
            where=(tables.Filter.archived_at.is_(None),),
        ),
        Doc("By name."),
    ]
    tags: Annotated[
        list[Tag],
        through(
            tables.EffectTag, "effect_id", "tag_id", order=("name_key",), where=(tables.Tag.archived_at.is_(None),)
        ),
        Doc("By name."),
    ]
    parameters: Annotated[
        list[EffectParameter], computed(_parameters), sized(10), Doc("What a job may set in `params`.")
    ]


@input
class EffectFilter:
    """Effects that fit all of what is given."""

    category_slug: Annotated[str | None, Doc("Of this category, e.g. retro.")] = None
    style_slug: Annotated[str | None, Doc("Of this style, e.g. vintage.")] = None
    tag_slugs: Annotated[list[str] | None, Doc('With all of these tags, e.g. ["night"]; at most 20.')] = None
    search: Annotated[
        str | None, costs(SEARCH), Doc("All words as parts of name, description or tags; at least 2 characters.")
    ] = None
    max_token_cost: Annotated[int | None, Doc("At most this many tokens a job, e.g. 10.")] = None
    is_premium: Annotated[bool | None, Doc("Premium ones alone, or all others.")] = None


class EffectOrder(enum.Enum):
    """NEWEST and POPULAR: largest first; NAME and TOKEN_COST: smallest first."""

    NEWEST = "NEWEST"
    POPULAR = "POPULAR"
    NAME = "NAME"
    TOKEN_COST = "TOKEN_COST"  # noqa: S105  (a price, no secret)
