"""Wallets that are heard."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0007"
down_revision = "0006"

LOCK_SECONDS_MAX = 5
STATEMENT_SECONDS_MAX = 600


def upgrade(op: Operations) -> None:
    """Wallets that are heard."""
    _token_wallets(op)


def _token_wallets(op: Operations) -> None:
    op.add_column("token_wallets", sa.Column("is_heard", sa.Boolean(), nullable=True))
