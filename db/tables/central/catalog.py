"""What the house offers: effects with what they are made of, and what is sold.

Everybody reads it, platform staff write it. Rows are archived, never deleted. `name_key` and
`search_text` are folded (NFKC, then case) by whoever writes the row, cut to their column.
"""

import enum
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import Mapped, column_property, mapped_column

from base.ids import Id
from db.columns import Exact, Line, Prose, UtcDateTime, utc_now
from db.zones import DELETE, GLOBAL, NULL, CentralBase, WithChanges, WithId, ref


class AlgorithmKind(enum.Enum):
    """Who carries an algorithm out: our own ffmpeg, a provider over HTTP, or an outside worker that claims."""

    FFMPEG = "FFMPEG"
    HTTP = "HTTP"
    WORKER = "WORKER"


class WithName(WithId, WithChanges):
    """What every named catalog row has; lists are ordered by `name_key`, then id."""

    slug: Mapped[str] = mapped_column(Exact(80), unique=True, sort_order=-10)
    name: Mapped[str] = mapped_column(Line(200), sort_order=-9)
    name_key: Mapped[str] = mapped_column(Line(400), sort_order=-8)
    archived_at: Mapped[datetime | None] = mapped_column(sort_order=91)


class Category(WithName, CentralBase, scope=GLOBAL):
    """A shelf of effects; shelves stand by `position`, then id."""

    __tablename__ = "categories"
    __table_args__ = (sa.Index(None, "name_key", "id"), sa.Index(None, "position", "id"))

    description: Mapped[str | None] = mapped_column(Prose())
    position: Mapped[int] = mapped_column(default=0)


class Style(WithName, CentralBase, scope=GLOBAL):
    """A look that effects share."""

    __tablename__ = "styles"
    __table_args__ = (sa.Index(None, "name_key", "id"),)

    description: Mapped[str | None] = mapped_column(Prose())


class Filter(WithName, CentralBase, scope=GLOBAL):
    """A building block that effects are described by."""

    __tablename__ = "filters"
    __table_args__ = (sa.Index(None, "name_key", "id"),)

    description: Mapped[str | None] = mapped_column(Prose())


class Overlay(WithName, CentralBase, scope=GLOBAL):
    """An image laid over a video; `asset_key` is its public key in the store."""

    __tablename__ = "overlays"
    __table_args__ = (sa.Index(None, "name_key", "id"),)

    asset_key: Mapped[str | None] = mapped_column(Exact(200))
    asset_mime: Mapped[str | None] = mapped_column(Exact(127))


class Watermark(WithName, CentralBase, scope=GLOBAL):
    """An image that marks a video as somebody's; `asset_key` is its public key in the store."""

    __tablename__ = "watermarks"
    __table_args__ = (sa.Index(None, "name_key", "id"),)

    asset_key: Mapped[str | None] = mapped_column(Exact(200))
    asset_mime: Mapped[str | None] = mapped_column(Exact(127))


class Tag(WithName, CentralBase, scope=GLOBAL):
    """A word by which effects are found."""

    __tablename__ = "tags"
    __table_args__ = (sa.Index(None, "name_key", "id"),)


class Tier(WithName, CentralBase, scope=GLOBAL):
    """A price plan: tokens every month for a price in minor units of its currency.

    `trial_days` are free of charge, once a tenant (null: none). `credits_zero_invoices`: an invoice that takes nothing,
    as a trial's does, brings the month's tokens all the same (null: no).
    """

    __tablename__ = "tiers"
    __table_args__ = (sa.Index(None, "name_key", "id"),)

    monthly_price_cents: Mapped[int]
    currency: Mapped[str] = mapped_column(Exact(3))
    monthly_tokens: Mapped[int]
    trial_days: Mapped[int | None]
    credits_zero_invoices: Mapped[bool | None]
    features: Mapped[list[str]] = mapped_column(default=list)


class Package(WithName, CentralBase, scope=GLOBAL):
    """Tokens sold once, for a price in minor units of its currency."""

    __tablename__ = "packages"
    __table_args__ = (sa.Index(None, "name_key", "id"),)

    price_cents: Mapped[int]
    currency: Mapped[str] = mapped_column(Exact(3))
    tokens: Mapped[int]


def _key_without_code(context: DefaultExecutionContext) -> str:
    return f"#{context.get_current_parameters()['id']:x}"  # type: ignore[no-untyped-call]


class Discount(WithId, WithChanges, CentralBase, scope=GLOBAL):
    """Percent off packages; without a code it applies by itself, without links to every package.

    `code_key` is the folded code (never beginning with `#`), or `#` and the id where there is none:
    a null in a unique key would mean something else on each engine.
    """

    __tablename__ = "discounts"
    __table_args__ = (sa.Index(None, "ends_at"),)

    code: Mapped[str | None] = mapped_column(Line(80))
    code_key: Mapped[str] = mapped_column(Line(160), unique=True, default=_key_without_code)
    percent_off: Mapped[int]
    starts_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    archived_at: Mapped[datetime | None] = mapped_column(sort_order=91)


class DiscountPackage(CentralBase, scope=GLOBAL):
    """That a discount is for this package; one without any link is for all."""

    __tablename__ = "discount_packages"
    __table_args__ = (sa.Index(None, "package_id", "discount_id"),)

    discount_id: Mapped[Id[Discount]] = ref(
        "discounts.id", primary_key=True, autoincrement=False, on_parent_delete=DELETE
    )
    package_id: Mapped[Id[Package]] = ref("packages.id", primary_key=True, autoincrement=False, on_parent_delete=DELETE)


def discounted_cents(price_cents: int, percent_off: int) -> int:
    """A price after a discount, in minor units: what is taken off is rounded half up, so to the buyer's favour."""
    return price_cents - (price_cents * percent_off + 50) // 100


def running_for(package_id: sa.ColumnElement[Any], now: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """Whether a discount, with or without a code, lowers this package's price at this moment."""
    linked = sa.select(DiscountPackage.package_id).where(DiscountPackage.discount_id == Discount.id)
    linked = linked.correlate(Discount, Package)
    return sa.and_(
        Discount.archived_at.is_(None),
        sa.or_(Discount.starts_at.is_(None), Discount.starts_at <= now),
        sa.or_(Discount.ends_at.is_(None), Discount.ends_at > now),
        sa.or_(~linked.exists(), linked.where(DiscountPackage.package_id == package_id).exists()),
    )


def _best_percent_off() -> sa.ScalarSelect[int | None]:
    """The largest discount of a package that applies by itself at the moment the statement is sent."""
    now = sa.bindparam("discounts_now", callable_=utc_now, type_=UtcDateTime())
    return (
        sa.select(sa.func.max(Discount.percent_off))
        .where(Discount.code.is_(None), running_for(sa.type_coerce(Package.id, sa.BigInteger()), now))
        .correlate(Package)
        .scalar_subquery()
    )


# Percent, null where nothing applies; loaded when it is asked for, with the packages and never one by one.
Package.best_percent_off = column_property(_best_percent_off(), deferred=True)


class Algorithm(WithName, CentralBase, scope=GLOBAL):
    """How an effect is computed; `provider` names the HTTP provider of the settings."""

    __tablename__ = "algorithms"
    __table_args__ = (sa.Index(None, "name_key", "id"),)

    kind: Mapped[AlgorithmKind] = mapped_column(default=AlgorithmKind.FFMPEG)
    provider: Mapped[str | None] = mapped_column(Exact(80))


class AiModel(WithName, CentralBase, scope=GLOBAL):
    """A trained model that algorithms use."""

    __tablename__ = "models"
    __table_args__ = (sa.Index(None, "name_key", "id"),)

    description: Mapped[str | None] = mapped_column(Prose())


class Effect(WithName, CentralBase, scope=GLOBAL):
    """What can be done to a video: its price in tokens, its parameters and its filter graph.

    `popularity` is the succeeded jobs of 30 days. `parameters` and `graph` are read and checked by
    outside/graphs.py alone.
    """

    __tablename__ = "effects"
    __table_args__ = (
        sa.Index(None, "created_at", "id"),
        sa.Index(None, "popularity", "id"),
        sa.Index(None, "name_key", "id"),
        sa.Index(None, "token_cost", "id"),
        sa.Index(None, "category_id", "popularity", "id"),
        sa.Index(None, "style_id", "popularity", "id"),
    )

    description: Mapped[str | None] = mapped_column(Prose())
    token_cost: Mapped[int]
    preview_url: Mapped[str | None] = mapped_column(Line(1000))
    is_premium: Mapped[bool] = mapped_column(default=False)
    popularity: Mapped[int] = mapped_column(default=0)
    category_id: Mapped[Id[Category] | None] = ref("categories.id", on_parent_delete=NULL)
    style_id: Mapped[Id[Style] | None] = ref("styles.id", on_parent_delete=NULL)
    algorithm_id: Mapped[Id[Algorithm]] = ref("algorithms.id", index=True)
    model_id: Mapped[Id[AiModel] | None] = ref("models.id", index=True)
    overlay_id: Mapped[Id[Overlay] | None] = ref("overlays.id", index=True)
    watermark_id: Mapped[Id[Watermark] | None] = ref("watermarks.id", index=True)
    parameters: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    graph: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    search_text: Mapped[str] = mapped_column(Prose())


class EffectFilter(CentralBase, scope=GLOBAL):
    """That an effect is described by a filter."""

    __tablename__ = "effect_filters"
    __table_args__ = (sa.Index(None, "filter_id", "effect_id"),)

    effect_id: Mapped[Id[Effect]] = ref("effects.id", primary_key=True, autoincrement=False, on_parent_delete=DELETE)
    filter_id: Mapped[Id[Filter]] = ref("filters.id", primary_key=True, autoincrement=False, on_parent_delete=DELETE)


class EffectTag(CentralBase, scope=GLOBAL):
    """That an effect carries a tag."""

    __tablename__ = "effect_tags"
    __table_args__ = (sa.Index(None, "tag_id", "effect_id"),)

    effect_id: Mapped[Id[Effect]] = ref("effects.id", primary_key=True, autoincrement=False, on_parent_delete=DELETE)
    tag_id: Mapped[Id[Tag]] = ref("tags.id", primary_key=True, autoincrement=False, on_parent_delete=DELETE)
