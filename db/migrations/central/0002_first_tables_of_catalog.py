"""First tables of catalog."""

import sqlalchemy as sa
from alembic.operations import Operations

from db import columns

revision = "0002"
down_revision = "0001"

LOCK_SECONDS_MAX = 5
STATEMENT_SECONDS_MAX = 600


def upgrade(op: Operations) -> None:
    """First tables of catalog."""
    _algorithms(op)
    _categories(op)
    _discounts(op)
    _filters(op)
    _models(op)
    _overlays(op)
    _packages(op)
    _styles(op)
    _tags(op)
    _tiers(op)
    _watermarks(op)
    _discount_packages(op)
    _effects(op)
    _effect_filters(op)
    _effect_tags(op)


def _algorithms(op: Operations) -> None:
    op.create_table(
        "algorithms",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("slug", columns.Exact(80), nullable=False),
        sa.Column("name", columns.Line(200), nullable=False),
        sa.Column("name_key", columns.Line(400), nullable=False),
        sa.Column("kind", columns.Word(), nullable=False),
        sa.Column("provider", columns.Exact(80), nullable=True),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.Column("archived_at", columns.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("slug", name=op.f("uq_algorithms_slug")),
    )
    op.create_index(op.f("ix_algorithms_name_key_id"), "algorithms", ["name_key", "id"], unique=False)


def _categories(op: Operations) -> None:
    op.create_table(
        "categories",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("slug", columns.Exact(80), nullable=False),
        sa.Column("name", columns.Line(200), nullable=False),
        sa.Column("name_key", columns.Line(400), nullable=False),
        sa.Column("description", columns.Prose(), nullable=True),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.Column("archived_at", columns.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("slug", name=op.f("uq_categories_slug")),
    )
    op.create_index(op.f("ix_categories_name_key_id"), "categories", ["name_key", "id"], unique=False)
    op.create_index(op.f("ix_categories_position_id"), "categories", ["position", "id"], unique=False)


def _discounts(op: Operations) -> None:
    op.create_table(
        "discounts",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("code", columns.Line(80), nullable=True),
        sa.Column("code_key", columns.Line(160), nullable=False),
        sa.Column("percent_off", sa.BigInteger(), nullable=False),
        sa.Column("starts_at", columns.UtcDateTime(), nullable=True),
        sa.Column("ends_at", columns.UtcDateTime(), nullable=True),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.Column("archived_at", columns.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("code_key", name=op.f("uq_discounts_code_key")),
    )
    op.create_index(op.f("ix_discounts_ends_at"), "discounts", ["ends_at"], unique=False)


def _filters(op: Operations) -> None:
    op.create_table(
        "filters",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("slug", columns.Exact(80), nullable=False),
        sa.Column("name", columns.Line(200), nullable=False),
        sa.Column("name_key", columns.Line(400), nullable=False),
        sa.Column("description", columns.Prose(), nullable=True),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.Column("archived_at", columns.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("slug", name=op.f("uq_filters_slug")),
    )
    op.create_index(op.f("ix_filters_name_key_id"), "filters", ["name_key", "id"], unique=False)


def _models(op: Operations) -> None:
    op.create_table(
        "models",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("slug", columns.Exact(80), nullable=False),
        sa.Column("name", columns.Line(200), nullable=False),
        sa.Column("name_key", columns.Line(400), nullable=False),
        sa.Column("description", columns.Prose(), nullable=True),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.Column("archived_at", columns.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("slug", name=op.f("uq_models_slug")),
    )
    op.create_index(op.f("ix_models_name_key_id"), "models", ["name_key", "id"], unique=False)


def _overlays(op: Operations) -> None:
    op.create_table(
        "overlays",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("slug", columns.Exact(80), nullable=False),
        sa.Column("name", columns.Line(200), nullable=False),
        sa.Column("name_key", columns.Line(400), nullable=False),
        sa.Column("asset_key", columns.Exact(200), nullable=True),
        sa.Column("asset_mime", columns.Exact(127), nullable=True),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.Column("archived_at", columns.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("slug", name=op.f("uq_overlays_slug")),
    )
    op.create_index(op.f("ix_overlays_name_key_id"), "overlays", ["name_key", "id"], unique=False)


def _packages(op: Operations) -> None:
    op.create_table(
        "packages",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("slug", columns.Exact(80), nullable=False),
        sa.Column("name", columns.Line(200), nullable=False),
        sa.Column("name_key", columns.Line(400), nullable=False),
        sa.Column("price_cents", sa.BigInteger(), nullable=False),
        sa.Column("currency", columns.Exact(3), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.Column("archived_at", columns.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("slug", name=op.f("uq_packages_slug")),
    )
    op.create_index(op.f("ix_packages_name_key_id"), "packages", ["name_key", "id"], unique=False)


def _styles(op: Operations) -> None:
    op.create_table(
        "styles",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("slug", columns.Exact(80), nullable=False),
        sa.Column("name", columns.Line(200), nullable=False),
        sa.Column("name_key", columns.Line(400), nullable=False),
        sa.Column("description", columns.Prose(), nullable=True),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.Column("archived_at", columns.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("slug", name=op.f("uq_styles_slug")),
    )
    op.create_index(op.f("ix_styles_name_key_id"), "styles", ["name_key", "id"], unique=False)


def _tags(op: Operations) -> None:
    op.create_table(
        "tags",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("slug", columns.Exact(80), nullable=False),
        sa.Column("name", columns.Line(200), nullable=False),
        sa.Column("name_key", columns.Line(400), nullable=False),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.Column("archived_at", columns.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("slug", name=op.f("uq_tags_slug")),
    )
    op.create_index(op.f("ix_tags_name_key_id"), "tags", ["name_key", "id"], unique=False)


def _tiers(op: Operations) -> None:
    op.create_table(
        "tiers",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("slug", columns.Exact(80), nullable=False),
        sa.Column("name", columns.Line(200), nullable=False),
        sa.Column("name_key", columns.Line(400), nullable=False),
        sa.Column("monthly_price_cents", sa.BigInteger(), nullable=False),
        sa.Column("currency", columns.Exact(3), nullable=False),
        sa.Column("monthly_tokens", sa.BigInteger(), nullable=False),
        sa.Column("features", columns.Json(), nullable=False),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.Column("archived_at", columns.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("slug", name=op.f("uq_tiers_slug")),
    )
    op.create_index(op.f("ix_tiers_name_key_id"), "tiers", ["name_key", "id"], unique=False)


def _watermarks(op: Operations) -> None:
    op.create_table(
        "watermarks",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("slug", columns.Exact(80), nullable=False),
        sa.Column("name", columns.Line(200), nullable=False),
        sa.Column("name_key", columns.Line(400), nullable=False),
        sa.Column("asset_key", columns.Exact(200), nullable=True),
        sa.Column("asset_mime", columns.Exact(127), nullable=True),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.Column("archived_at", columns.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("slug", name=op.f("uq_watermarks_slug")),
    )
    op.create_index(op.f("ix_watermarks_name_key_id"), "watermarks", ["name_key", "id"], unique=False)


def _discount_packages(op: Operations) -> None:
    op.create_table(
        "discount_packages",
        sa.Column("discount_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("package_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["discount_id"], ["discounts.id"], name=op.f("fk_discount_packages_discount_id")),
        sa.ForeignKeyConstraint(["package_id"], ["packages.id"], name=op.f("fk_discount_packages_package_id")),
        sa.PrimaryKeyConstraint("discount_id", "package_id"),
    )
    op.create_index(
        op.f("ix_discount_packages_package_id_discount_id"),
        "discount_packages",
        ["package_id", "discount_id"],
        unique=False,
    )


def _effects(op: Operations) -> None:
    op.create_table(
        "effects",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("slug", columns.Exact(80), nullable=False),
        sa.Column("name", columns.Line(200), nullable=False),
        sa.Column("name_key", columns.Line(400), nullable=False),
        sa.Column("description", columns.Prose(), nullable=True),
        sa.Column("token_cost", sa.BigInteger(), nullable=False),
        sa.Column("preview_url", columns.Line(1000), nullable=True),
        sa.Column("is_premium", sa.Boolean(), nullable=False),
        sa.Column("popularity", sa.BigInteger(), nullable=False),
        sa.Column("category_id", sa.BigInteger(), nullable=True),
        sa.Column("style_id", sa.BigInteger(), nullable=True),
        sa.Column("algorithm_id", sa.BigInteger(), nullable=False),
        sa.Column("model_id", sa.BigInteger(), nullable=True),
        sa.Column("overlay_id", sa.BigInteger(), nullable=True),
        sa.Column("watermark_id", sa.BigInteger(), nullable=True),
        sa.Column("parameters", columns.Json(), nullable=False),
        sa.Column("graph", columns.Json(), nullable=False),
        sa.Column("search_text", columns.Prose(), nullable=False),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.Column("archived_at", columns.UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["algorithm_id"], ["algorithms.id"], name=op.f("fk_effects_algorithm_id")),
        sa.ForeignKeyConstraint(["category_id"], ["categories.id"], name=op.f("fk_effects_category_id")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_effects_model_id")),
        sa.ForeignKeyConstraint(["overlay_id"], ["overlays.id"], name=op.f("fk_effects_overlay_id")),
        sa.ForeignKeyConstraint(["style_id"], ["styles.id"], name=op.f("fk_effects_style_id")),
        sa.ForeignKeyConstraint(["watermark_id"], ["watermarks.id"], name=op.f("fk_effects_watermark_id")),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("slug", name=op.f("uq_effects_slug")),
    )
    op.create_index(op.f("ix_effects_algorithm_id"), "effects", ["algorithm_id"], unique=False)
    op.create_index(
        op.f("ix_effects_category_id_popularity_id"), "effects", ["category_id", "popularity", "id"], unique=False
    )
    op.create_index(op.f("ix_effects_created_at_id"), "effects", ["created_at", "id"], unique=False)
    op.create_index(op.f("ix_effects_model_id"), "effects", ["model_id"], unique=False)
    op.create_index(op.f("ix_effects_name_key_id"), "effects", ["name_key", "id"], unique=False)
    op.create_index(op.f("ix_effects_overlay_id"), "effects", ["overlay_id"], unique=False)
    op.create_index(op.f("ix_effects_popularity_id"), "effects", ["popularity", "id"], unique=False)
    op.create_index(
        op.f("ix_effects_style_id_popularity_id"), "effects", ["style_id", "popularity", "id"], unique=False
    )
    op.create_index(op.f("ix_effects_token_cost_id"), "effects", ["token_cost", "id"], unique=False)
    op.create_index(op.f("ix_effects_watermark_id"), "effects", ["watermark_id"], unique=False)


def _effect_filters(op: Operations) -> None:
    op.create_table(
        "effect_filters",
        sa.Column("effect_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("filter_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["effect_id"], ["effects.id"], name=op.f("fk_effect_filters_effect_id")),
        sa.ForeignKeyConstraint(["filter_id"], ["filters.id"], name=op.f("fk_effect_filters_filter_id")),
        sa.PrimaryKeyConstraint("effect_id", "filter_id"),
    )
    op.create_index(
        op.f("ix_effect_filters_filter_id_effect_id"), "effect_filters", ["filter_id", "effect_id"], unique=False
    )


def _effect_tags(op: Operations) -> None:
    op.create_table(
        "effect_tags",
        sa.Column("effect_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tag_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["effect_id"], ["effects.id"], name=op.f("fk_effect_tags_effect_id")),
        sa.ForeignKeyConstraint(["tag_id"], ["tags.id"], name=op.f("fk_effect_tags_tag_id")),
        sa.PrimaryKeyConstraint("effect_id", "tag_id"),
    )
    op.create_index(op.f("ix_effect_tags_tag_id_effect_id"), "effect_tags", ["tag_id", "effect_id"], unique=False)
