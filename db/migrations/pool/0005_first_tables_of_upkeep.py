"""First tables of upkeep."""

import sqlalchemy as sa
from alembic.operations import Operations

from db import columns

revision = "0005"
down_revision = "0004"

LOCK_SECONDS_MAX = 5
STATEMENT_SECONDS_MAX = 600


def upgrade(op: Operations) -> None:
    """First tables of upkeep."""
    _fences(op)
    _outbox(op)
    _usage_counters(op)


def _fences(op: Operations) -> None:
    op.create_table(
        "fences",
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("pool_name", columns.Exact(63), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("state", columns.Word(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )


def _outbox(op: Operations) -> None:
    op.create_table(
        "outbox",
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("type", columns.Exact(80), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("aggregate", columns.Exact(80), nullable=False),
        sa.Column("data", columns.Json(), nullable=False),
        sa.Column("correlation_id", columns.Exact(64), nullable=False),
        sa.Column("causation_id", columns.Exact(64), nullable=True),
        sa.Column("occurred_at", columns.UtcDateTime(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("available_at", columns.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index(op.f("ix_outbox_created_at"), "outbox", ["created_at"], unique=False)
    op.create_index(op.f("ix_outbox_tenant_id_aggregate_id"), "outbox", ["tenant_id", "aggregate", "id"], unique=False)
    op.create_index(
        op.f("ix_outbox_tenant_id_available_at_id"), "outbox", ["tenant_id", "available_at", "id"], unique=False
    )


def _usage_counters(op: Operations) -> None:
    op.create_table(
        "usage_counters",
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("key", columns.Exact(40), nullable=False),
        sa.Column("period", columns.Exact(20), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        sa.UniqueConstraint("tenant_id", "key", "period", name=op.f("uq_usage_counters_tenant_id_key_period")),
    )
