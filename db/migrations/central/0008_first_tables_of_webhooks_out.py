"""First tables of webhooks out."""

import sqlalchemy as sa
from alembic.operations import Operations

from db import columns

revision = "0008"
down_revision = "0007"

LOCK_SECONDS_MAX = 5
STATEMENT_SECONDS_MAX = 600


def upgrade(op: Operations) -> None:
    """First tables of webhooks out."""
    _tenant_webhooks(op)


def _tenant_webhooks(op: Operations) -> None:
    op.create_table(
        "tenant_webhooks",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("url", columns.Exact(1000), nullable=False),
        sa.Column("events", columns.Json(), nullable=False),
        sa.Column("secret", columns.Sealed(255), nullable=False),
        sa.Column("old_secret", columns.Sealed(255), nullable=True),
        sa.Column("old_secret_until", columns.UtcDateTime(), nullable=True),
        sa.Column("status", columns.Word(), nullable=False),
        sa.Column("disabled_reason", columns.Line(200), nullable=True),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("failing_since", columns.UtcDateTime(), nullable=True),
        sa.Column("resume_at", columns.UtcDateTime(), nullable=True),
        sa.Column("busy_until", columns.UtcDateTime(), nullable=True),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_tenant_webhooks_tenant_id")),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_tenant_webhooks_tenant_id_id"), "tenant_webhooks", ["tenant_id", "id"], unique=False)
