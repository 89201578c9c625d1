"""First tables of gallery."""

import sqlalchemy as sa
from alembic.operations import Operations

from db import columns

revision = "0003"
down_revision = "0002"

LOCK_SECONDS_MAX = 5
STATEMENT_SECONDS_MAX = 600


def upgrade(op: Operations) -> None:
    """First tables of gallery."""
    _gallery_videos(op)
    _gallery_video_tags(op)


def _gallery_videos(op: Operations) -> None:
    op.create_table(
        "gallery_videos",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("title", columns.Line(200), nullable=False),
        sa.Column("tags", columns.Json(), nullable=False),
        sa.Column("effect_id", sa.BigInteger(), nullable=True),
        sa.Column("output_key", columns.Exact(200), nullable=False),
        sa.Column("thumbnail_key", columns.Exact(200), nullable=True),
        sa.Column("duration_seconds", sa.Double(), nullable=True),
        sa.Column("published_at", columns.UtcDateTime(), nullable=False),
        sa.Column("view_count", sa.BigInteger(), nullable=False),
        sa.Column("visible", sa.Boolean(), nullable=False),
        sa.Column("suspended", sa.Boolean(), nullable=False),
        sa.Column("listed", sa.Boolean(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("search_text", columns.Prose(), nullable=False),
        sa.ForeignKeyConstraint(["effect_id"], ["effects.id"], name=op.f("fk_gallery_videos_effect_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_gallery_videos_tenant_id")),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        op.f("ix_gallery_videos_effect_id_listed_published_at_id"),
        "gallery_videos",
        ["effect_id", "listed", "published_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_gallery_videos_effect_id_listed_view_count_id"),
        "gallery_videos",
        ["effect_id", "listed", "view_count", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_gallery_videos_listed_published_at_id"),
        "gallery_videos",
        ["listed", "published_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_gallery_videos_listed_view_count_id"), "gallery_videos", ["listed", "view_count", "id"], unique=False
    )
    op.create_index(
        op.f("ix_gallery_videos_tenant_id_listed_published_at_id"),
        "gallery_videos",
        ["tenant_id", "listed", "published_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_gallery_videos_tenant_id_listed_view_count_id"),
        "gallery_videos",
        ["tenant_id", "listed", "view_count", "id"],
        unique=False,
    )


def _gallery_video_tags(op: Operations) -> None:
    op.create_table(
        "gallery_video_tags",
        sa.Column("tag_key", columns.Line(80), nullable=False),
        sa.Column("gallery_video_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.ForeignKeyConstraint(
            ["gallery_video_id"], ["gallery_videos.id"], name=op.f("fk_gallery_video_tags_gallery_video_id")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_gallery_video_tags_tenant_id")),
        sa.PrimaryKeyConstraint("tag_key", "gallery_video_id"),
    )
    op.create_index(
        op.f("ix_gallery_video_tags_gallery_video_id_tag_key"),
        "gallery_video_tags",
        ["gallery_video_id", "tag_key"],
        unique=False,
    )
    op.create_index(op.f("ix_gallery_video_tags_tenant_id"), "gallery_video_tags", ["tenant_id"], unique=False)
