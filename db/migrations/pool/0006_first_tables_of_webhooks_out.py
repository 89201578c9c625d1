"""First tables of webhooks out."""

import sqlalchemy as sa
from alembic.operations import Operations

from db import columns

revision = "0006"
down_revision = "0005"

LOCK_SECONDS_MAX = 5
STATEMENT_SECONDS_MAX = 600


def upgrade(op: Operations) -> None:
    """First tables of webhooks out."""
    _webhook_deliveries(op)


def _webhook_deliveries(op: Operations) -> None:
    op.create_table(
        "webhook_deliveries",
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("webhook_id", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("event_type", columns.Exact(80), nullable=False),
        sa.Column("body", columns.Prose(), nullable=False),
        sa.Column("status", columns.Word(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("next_attempt_at", columns.UtcDateTime(), nullable=True),
        sa.Column("last_attempt_at", columns.UtcDateTime(), nullable=True),
        sa.Column("response_status", sa.BigInteger(), nullable=True),
        sa.Column("response_body", columns.Prose(), nullable=True),
        sa.Column("duration_ms", sa.BigInteger(), nullable=True),
        sa.Column("error", columns.Line(300), nullable=True),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        sa.UniqueConstraint(
            "tenant_id", "webhook_id", "event_id", name=op.f("uq_webhook_deliveries_tenant_id_webhook_id_event_id")
        ),
    )
    op.create_index(
        op.f("ix_webhook_deliveries_tenant_id_status_id"),
        "webhook_deliveries",
        ["tenant_id", "status", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_webhook_deliveries_tenant_id_webhook_id_id"),
        "webhook_deliveries",
        ["tenant_id", "webhook_id", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_webhook_deliveries_tenant_id_webhook_id_next_attempt_at"),
        "webhook_deliveries",
        ["tenant_id", "webhook_id", "next_attempt_at"],
        unique=False,
    )
