"""First tables of media."""

import sqlalchemy as sa
from alembic.operations import Operations

from db import columns

revision = "0001"
down_revision = None

LOCK_SECONDS_MAX = 5
STATEMENT_SECONDS_MAX = 600


def upgrade(op: Operations) -> None:
    """First tables of media."""
    _files(op)
    _videos(op)
    _exports(op)


def _files(op: Operations) -> None:
    op.create_table(
        "files",
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("name", columns.Line(255), nullable=False),
        sa.Column("mime_type", columns.Exact(127), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", columns.Exact(64), nullable=True),
        sa.Column("status", columns.Word(), nullable=False),
        sa.Column("key", columns.Exact(200), nullable=False),
        sa.Column("expires_at", columns.UtcDateTime(), nullable=True),
        sa.Column("deleted_at", columns.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        sa.UniqueConstraint("tenant_id", "key", name=op.f("uq_files_tenant_id_key")),
    )
    op.create_index(
        op.f("ix_files_tenant_id_status_expires_at"), "files", ["tenant_id", "status", "expires_at"], unique=False
    )
    op.create_index(op.f("ix_files_tenant_id_user_id_id"), "files", ["tenant_id", "user_id", "id"], unique=False)


def _videos(op: Operations) -> None:
    op.create_table(
        "videos",
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("title", columns.Line(200), nullable=False),
        sa.Column("title_key", columns.Line(400), nullable=False),
        sa.Column("search_text", columns.Prose(), nullable=False),
        sa.Column("tags", columns.Json(), nullable=False),
        sa.Column("status", columns.Word(), nullable=False),
        sa.Column("effect_id", sa.BigInteger(), nullable=True),
        sa.Column("input_file_id", sa.BigInteger(), nullable=True),
        sa.Column("output_file_id", sa.BigInteger(), nullable=True),
        sa.Column("thumbnail_file_id", sa.BigInteger(), nullable=True),
        sa.Column("duration_seconds", sa.Double(), nullable=True),
        sa.Column("gallery_video_id", sa.BigInteger(), nullable=True),
        sa.Column("deleted_at", columns.UtcDateTime(), nullable=True),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "input_file_id"],
            ["files.tenant_id", "files.id"],
            name=op.f("fk_videos_tenant_id_input_file_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "output_file_id"],
            ["files.tenant_id", "files.id"],
            name=op.f("fk_videos_tenant_id_output_file_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "thumbnail_file_id"],
            ["files.tenant_id", "files.id"],
            name=op.f("fk_videos_tenant_id_thumbnail_file_id"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index(op.f("ix_videos_tenant_id_input_file_id"), "videos", ["tenant_id", "input_file_id"], unique=False)
    op.create_index(op.f("ix_videos_tenant_id_output_file_id"), "videos", ["tenant_id", "output_file_id"], unique=False)
    op.create_index(
        op.f("ix_videos_tenant_id_thumbnail_file_id"), "videos", ["tenant_id", "thumbnail_file_id"], unique=False
    )
    op.create_index(
        op.f("ix_videos_tenant_id_user_id_created_at_id"),
        "videos",
        ["tenant_id", "user_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_videos_tenant_id_user_id_title_key_id"),
        "videos",
        ["tenant_id", "user_id", "title_key", "id"],
        unique=False,
    )


def _exports(op: Operations) -> None:
    op.create_table(
        "exports",
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("video_id", sa.BigInteger(), nullable=False),
        sa.Column("status", columns.Word(), nullable=False),
        sa.Column("format", columns.Word(), nullable=False),
        sa.Column("width", sa.BigInteger(), nullable=True),
        sa.Column("height", sa.BigInteger(), nullable=True),
        sa.Column("file_id", sa.BigInteger(), nullable=True),
        sa.Column("error_message", columns.Line(1000), nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "file_id"], ["files.tenant_id", "files.id"], name=op.f("fk_exports_tenant_id_file_id")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "video_id"], ["videos.tenant_id", "videos.id"], name=op.f("fk_exports_tenant_id_video_id")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index(op.f("ix_exports_tenant_id_file_id"), "exports", ["tenant_id", "file_id"], unique=False)
    op.create_index(op.f("ix_exports_tenant_id_user_id_id"), "exports", ["tenant_id", "user_id", "id"], unique=False)
    op.create_index(op.f("ix_exports_tenant_id_video_id_id"), "exports", ["tenant_id", "video_id", "id"], unique=False)
