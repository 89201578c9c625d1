"""First tables of rewards."""

import sqlalchemy as sa
from alembic.operations import Operations

from db import columns

revision = "0004"
down_revision = "0003"

LOCK_SECONDS_MAX = 5
STATEMENT_SECONDS_MAX = 600


def upgrade(op: Operations) -> None:
    """First tables of rewards."""
    _rewards(op)


def _rewards(op: Operations) -> None:
    op.create_table(
        "rewards",
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", columns.Word(), nullable=False),
        sa.Column("period", columns.Exact(63), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("claimed_at", columns.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        sa.UniqueConstraint(
            "tenant_id", "user_id", "kind", "period", name=op.f("uq_rewards_tenant_id_user_id_kind_period")
        ),
    )
    op.create_index(op.f("ix_rewards_tenant_id_user_id_id"), "rewards", ["tenant_id", "user_id", "id"], unique=False)
