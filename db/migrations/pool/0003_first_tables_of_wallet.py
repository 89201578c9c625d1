"""First tables of wallet."""

import sqlalchemy as sa
from alembic.operations import Operations

from db import columns

revision = "0003"
down_revision = "0002"

LOCK_SECONDS_MAX = 5
STATEMENT_SECONDS_MAX = 600


def upgrade(op: Operations) -> None:
    """First tables of wallet."""
    _token_transactions(op)
    _token_wallets(op)


def _token_transactions(op: Operations) -> None:
    op.create_table(
        "token_transactions",
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=True),
        sa.Column("kind", columns.Word(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("reserved_change", sa.BigInteger(), nullable=False),
        sa.Column("debt_change", sa.BigInteger(), nullable=False),
        sa.Column("balance_after", sa.BigInteger(), nullable=False),
        sa.Column("reserved_after", sa.BigInteger(), nullable=False),
        sa.Column("debt_after", sa.BigInteger(), nullable=False),
        sa.Column("ai_job_id", sa.BigInteger(), nullable=True),
        sa.Column("note", columns.Line(500), nullable=True),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("idempotency_key", columns.Exact(200), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        sa.UniqueConstraint(
            "tenant_id", "idempotency_key", name=op.f("uq_token_transactions_tenant_id_idempotency_key")
        ),
        sa.UniqueConstraint("tenant_id", "sequence", name=op.f("uq_token_transactions_tenant_id_sequence")),
    )
    op.create_index(
        op.f("ix_token_transactions_tenant_id_ai_job_id_id"),
        "token_transactions",
        ["tenant_id", "ai_job_id", "id"],
        unique=False,
    )


def _token_wallets(op: Operations) -> None:
    op.create_table(
        "token_wallets",
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("balance", sa.BigInteger(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.Column("debt", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        sa.UniqueConstraint("tenant_id", name=op.f("uq_token_wallets_tenant_id")),
    )
