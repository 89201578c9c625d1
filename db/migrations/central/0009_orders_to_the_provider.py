"""Orders to the provider."""

import sqlalchemy as sa
from alembic.operations import Operations

from db import columns

revision = "0009"
down_revision = "0008"

LOCK_SECONDS_MAX = 5
STATEMENT_SECONDS_MAX = 600


def upgrade(op: Operations) -> None:
    """Orders to the provider."""
    _billing_closures(op)
    _operator_acts(op)
    _provider_orders(op)


def _billing_closures(op: Operations) -> None:
    op.create_table(
        "billing_closures",
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id"),
    )


def _operator_acts(op: Operations) -> None:
    op.create_table(
        "operator_acts",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("act", columns.Exact(40), nullable=False),
        sa.Column("subject", columns.Exact(255), nullable=False),
        sa.Column("who", columns.Line(200), nullable=False),
        sa.Column("why", columns.Line(500), nullable=False),
        sa.Column("outcome", columns.Line(500), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_operator_acts_created_at"), "operator_acts", ["created_at"], unique=False)
    op.create_index(op.f("ix_operator_acts_subject_id"), "operator_acts", ["subject", "id"], unique=False)


def _provider_orders(op: Operations) -> None:
    op.create_table(
        "provider_orders",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("kind", columns.Word(), nullable=False),
        sa.Column("subject", columns.Exact(255), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("open_key", columns.Exact(255), nullable=False),
        sa.Column("params", columns.Json(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("state", columns.Word(), nullable=False),
        sa.Column("busy_until", columns.UtcDateTime(), nullable=False),
        sa.Column("idempotency_key", columns.Line(200), nullable=False),
        sa.Column("input_hash", columns.Exact(64), nullable=False),
        sa.Column("asked_by", columns.Line(200), nullable=False),
        sa.Column("why", columns.Line(500), nullable=False),
        sa.Column("error", columns.Line(500), nullable=True),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_provider_orders_tenant_id")),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("open_key", name=op.f("uq_provider_orders_open_key")),
        sa.UniqueConstraint("tenant_id", "idempotency_key", name=op.f("uq_provider_orders_tenant_id_idempotency_key")),
    )
    op.create_index(
        op.f("ix_provider_orders_state_busy_until"), "provider_orders", ["state", "busy_until"], unique=False
    )
    op.create_index(op.f("ix_provider_orders_subject_id"), "provider_orders", ["subject", "id"], unique=False)
