"""First tables of identity."""

import sqlalchemy as sa
from alembic.operations import Operations

from db import columns

revision = "0001"
down_revision = None

LOCK_SECONDS_MAX = 5
STATEMENT_SECONDS_MAX = 600


def upgrade(op: Operations) -> None:
    """First tables of identity."""
    _users(op)
    _password_reset_tokens(op)
    _tenants(op)
    _domains(op)
    _personal_access_tokens(op)
    _tenant_members(op)


def _users(op: Operations) -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("name", columns.Line(200), nullable=False),
        sa.Column("email", columns.Line(320), nullable=False),
        sa.Column("email_key", columns.Line(320), nullable=False),
        sa.Column("password_hash", columns.Exact(255), nullable=False),
        sa.Column("is_staff", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("email_key", name=op.f("uq_users_email_key")),
    )


def _password_reset_tokens(op: Operations) -> None:
    op.create_table(
        "password_reset_tokens",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("token_hash", columns.Exact(64), nullable=False),
        sa.Column("expires_at", columns.UtcDateTime(), nullable=False),
        sa.Column("used_at", columns.UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_password_reset_tokens_user_id")),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("token_hash", name=op.f("uq_password_reset_tokens_token_hash")),
    )
    op.create_index(op.f("ix_password_reset_tokens_expires_at"), "password_reset_tokens", ["expires_at"], unique=False)
    op.create_index(op.f("ix_password_reset_tokens_user_id"), "password_reset_tokens", ["user_id"], unique=False)


def _tenants(op: Operations) -> None:
    op.create_table(
        "tenants",
        sa.Column("id", columns.Exact(63), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("name", columns.Line(200), nullable=True),
        sa.Column("db_pool", columns.Exact(63), nullable=False),
        sa.Column("state", columns.Word(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("referred_by", columns.Exact(63), nullable=True),
        sa.Column("placed_at", columns.UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_tenants_user_id")),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_tenants_db_pool"), "tenants", ["db_pool"], unique=False)
    op.create_index(op.f("ix_tenants_state_created_at"), "tenants", ["state", "created_at"], unique=False)
    op.create_index(op.f("ix_tenants_user_id"), "tenants", ["user_id"], unique=False)


def _domains(op: Operations) -> None:
    op.create_table(
        "domains",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("host", columns.Exact(253), nullable=False),
        sa.Column("is_primary", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_domains_tenant_id")),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("host", name=op.f("uq_domains_host")),
    )
    op.create_index(op.f("ix_domains_tenant_id"), "domains", ["tenant_id"], unique=False)


def _personal_access_tokens(op: Operations) -> None:
    op.create_table(
        "personal_access_tokens",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("name", columns.Line(200), nullable=False),
        sa.Column("abilities", columns.Json(), nullable=False),
        sa.Column("token_hash", columns.Exact(64), nullable=False),
        sa.Column("device_name", columns.Line(200), nullable=True),
        sa.Column("device_platform", columns.Line(200), nullable=True),
        sa.Column("expires_at", columns.UtcDateTime(), nullable=False),
        sa.Column("last_used_at", columns.UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_personal_access_tokens_tenant_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_personal_access_tokens_user_id")),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("token_hash", name=op.f("uq_personal_access_tokens_token_hash")),
    )
    op.create_index(
        op.f("ix_personal_access_tokens_expires_at"), "personal_access_tokens", ["expires_at"], unique=False
    )
    op.create_index(
        op.f("ix_personal_access_tokens_tenant_id_user_id_id"),
        "personal_access_tokens",
        ["tenant_id", "user_id", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_personal_access_tokens_user_id_id"), "personal_access_tokens", ["user_id", "id"], unique=False
    )


def _tenant_members(op: Operations) -> None:
    op.create_table(
        "tenant_members",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", columns.Word(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_tenant_members_tenant_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_tenant_members_user_id")),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("tenant_id", "user_id", name=op.f("uq_tenant_members_tenant_id_user_id")),
    )
    op.create_index(op.f("ix_tenant_members_user_id"), "tenant_members", ["user_id"], unique=False)
