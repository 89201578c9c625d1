"""First tables of jobs."""

import sqlalchemy as sa
from alembic.operations import Operations

from db import columns

revision = "0002"
down_revision = "0001"

LOCK_SECONDS_MAX = 5
STATEMENT_SECONDS_MAX = 600


def upgrade(op: Operations) -> None:
    """First tables of jobs."""
    _ai_jobs(op)


def _ai_jobs(op: Operations) -> None:
    op.create_table(
        "ai_jobs",
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("video_id", sa.BigInteger(), nullable=True),
        sa.Column("effect_id", sa.BigInteger(), nullable=True),
        sa.Column("status", columns.Word(), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("tokens_reserved", sa.BigInteger(), nullable=False),
        sa.Column("tokens_consumed", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("error_message", columns.Line(1000), nullable=True),
        sa.Column("params", columns.Json(), nullable=False),
        sa.Column("input_file_id", sa.BigInteger(), nullable=True),
        sa.Column("output_file_id", sa.BigInteger(), nullable=True),
        sa.Column("idempotency_key", columns.Line(200), nullable=False),
        sa.Column("started_at", columns.UtcDateTime(), nullable=True),
        sa.Column("finished_at", columns.UtcDateTime(), nullable=True),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "input_file_id"],
            ["files.tenant_id", "files.id"],
            name=op.f("fk_ai_jobs_tenant_id_input_file_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "output_file_id"],
            ["files.tenant_id", "files.id"],
            name=op.f("fk_ai_jobs_tenant_id_output_file_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "video_id"], ["videos.tenant_id", "videos.id"], name=op.f("fk_ai_jobs_tenant_id_video_id")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        sa.UniqueConstraint(
            "tenant_id", "user_id", "idempotency_key", name=op.f("uq_ai_jobs_tenant_id_user_id_idempotency_key")
        ),
    )
    op.create_index(op.f("ix_ai_jobs_tenant_id_input_file_id"), "ai_jobs", ["tenant_id", "input_file_id"], unique=False)
    op.create_index(
        op.f("ix_ai_jobs_tenant_id_output_file_id"), "ai_jobs", ["tenant_id", "output_file_id"], unique=False
    )
    op.create_index(
        op.f("ix_ai_jobs_tenant_id_status_finished_at"), "ai_jobs", ["tenant_id", "status", "finished_at"], unique=False
    )
    op.create_index(op.f("ix_ai_jobs_tenant_id_user_id_id"), "ai_jobs", ["tenant_id", "user_id", "id"], unique=False)
    op.create_index(
        op.f("ix_ai_jobs_tenant_id_user_id_status_id"),
        "ai_jobs",
        ["tenant_id", "user_id", "status", "id"],
        unique=False,
    )
    op.create_index(op.f("ix_ai_jobs_tenant_id_video_id_id"), "ai_jobs", ["tenant_id", "video_id", "id"], unique=False)
