"""First tables of billing."""

import sqlalchemy as sa
from alembic.operations import Operations

from db import columns

revision = "0004"
down_revision = "0003"

LOCK_SECONDS_MAX = 5
STATEMENT_SECONDS_MAX = 600


def upgrade(op: Operations) -> None:
    """First tables of billing."""
    _payment_events(op)
    _purchases(op)
    _subscriptions(op)
    _payments(op)


def _payment_events(op: Operations) -> None:
    op.create_table(
        "payment_events",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("provider_event_id", columns.Exact(255), nullable=False),
        sa.Column("type", columns.Exact(80), nullable=False),
        sa.Column("body", columns.Json(), nullable=True),
        sa.Column("body_hash", columns.Exact(64), nullable=False),
        sa.Column("received_at", columns.UtcDateTime(), nullable=False),
        sa.Column("processed_at", columns.UtcDateTime(), nullable=True),
        sa.Column("state", columns.Word(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("provider_event_id", name=op.f("uq_payment_events_provider_event_id")),
    )
    op.create_index(
        op.f("ix_payment_events_state_received_at"), "payment_events", ["state", "received_at"], unique=False
    )


def _purchases(op: Operations) -> None:
    op.create_table(
        "purchases",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", columns.Word(), nullable=False),
        sa.Column("status", columns.Word(), nullable=False),
        sa.Column("package_id", sa.BigInteger(), nullable=True),
        sa.Column("tier_id", sa.BigInteger(), nullable=True),
        sa.Column("discount_id", sa.BigInteger(), nullable=True),
        sa.Column("amount_cents", sa.BigInteger(), nullable=False),
        sa.Column("currency", columns.Exact(3), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("tokens_credited", sa.Boolean(), nullable=False),
        sa.Column("idempotency_key", columns.Line(200), nullable=False),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["discount_id"], ["discounts.id"], name=op.f("fk_purchases_discount_id")),
        sa.ForeignKeyConstraint(["package_id"], ["packages.id"], name=op.f("fk_purchases_package_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_purchases_tenant_id")),
        sa.ForeignKeyConstraint(["tier_id"], ["tiers.id"], name=op.f("fk_purchases_tier_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_purchases_user_id")),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint(
            "tenant_id", "user_id", "idempotency_key", name=op.f("uq_purchases_tenant_id_user_id_idempotency_key")
        ),
    )
    op.create_index(op.f("ix_purchases_discount_id"), "purchases", ["discount_id"], unique=False)
    op.create_index(op.f("ix_purchases_package_id"), "purchases", ["package_id"], unique=False)
    op.create_index(op.f("ix_purchases_status_created_at"), "purchases", ["status", "created_at"], unique=False)
    op.create_index(op.f("ix_purchases_tenant_id_id"), "purchases", ["tenant_id", "id"], unique=False)
    op.create_index(op.f("ix_purchases_tier_id"), "purchases", ["tier_id"], unique=False)
    op.create_index(op.f("ix_purchases_user_id"), "purchases", ["user_id"], unique=False)


def _subscriptions(op: Operations) -> None:
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("tier_id", sa.BigInteger(), nullable=False),
        sa.Column("status", columns.Word(), nullable=False),
        sa.Column("provider_subscription_id", columns.Exact(255), nullable=False),
        sa.Column("current_period_start", columns.UtcDateTime(), nullable=True),
        sa.Column("current_period_end", columns.UtcDateTime(), nullable=True),
        sa.Column("trial_ends_at", columns.UtcDateTime(), nullable=True),
        sa.Column("cancel_at_period_end", sa.Boolean(), nullable=False),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_subscriptions_tenant_id")),
        sa.ForeignKeyConstraint(["tier_id"], ["tiers.id"], name=op.f("fk_subscriptions_tier_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_subscriptions_user_id")),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("provider_subscription_id", name=op.f("uq_subscriptions_provider_subscription_id")),
    )
    op.create_index(op.f("ix_subscriptions_tenant_id_id"), "subscriptions", ["tenant_id", "id"], unique=False)
    op.create_index(op.f("ix_subscriptions_tier_id"), "subscriptions", ["tier_id"], unique=False)
    op.create_index(op.f("ix_subscriptions_user_id"), "subscriptions", ["user_id"], unique=False)


def _payments(op: Operations) -> None:
    op.create_table(
        "payments",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("purchase_id", sa.BigInteger(), nullable=False),
        sa.Column("status", columns.Word(), nullable=False),
        sa.Column("amount_cents", sa.BigInteger(), nullable=False),
        sa.Column("refunded_cents", sa.BigInteger(), nullable=False),
        sa.Column("currency", columns.Exact(3), nullable=False),
        sa.Column("provider", columns.Exact(40), nullable=False),
        sa.Column("provider_payment_id", columns.Exact(255), nullable=False),
        sa.Column("receipt_url", columns.Line(1000), nullable=True),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["purchase_id"], ["purchases.id"], name=op.f("fk_payments_purchase_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_payments_tenant_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_payments_user_id")),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("provider", "provider_payment_id", name=op.f("uq_payments_provider_provider_payment_id")),
    )
    op.create_index(op.f("ix_payments_purchase_id"), "payments", ["purchase_id"], unique=False)
    op.create_index(
        op.f("ix_payments_tenant_id_purchase_id_id"), "payments", ["tenant_id", "purchase_id", "id"], unique=False
    )
    op.create_index(op.f("ix_payments_user_id"), "payments", ["user_id"], unique=False)
