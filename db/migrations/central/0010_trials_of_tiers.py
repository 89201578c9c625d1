"""Trials of tiers."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0010"
down_revision = "0009"

LOCK_SECONDS_MAX = 5
STATEMENT_SECONDS_MAX = 600


def upgrade(op: Operations) -> None:
    """Trials of tiers."""
    _tiers(op)


def _tiers(op: Operations) -> None:
    op.add_column("tiers", sa.Column("trial_days", sa.BigInteger(), nullable=True))
    op.add_column("tiers", sa.Column("credits_zero_invoices", sa.Boolean(), nullable=True))
