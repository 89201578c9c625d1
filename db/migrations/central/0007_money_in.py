"""Money in: facts of payments, what follows from them, and what is still owed to wallets."""

import sqlalchemy as sa
from alembic.operations import Operations

from db import columns

revision = "0007"
down_revision = "0006"

LOCK_SECONDS_MAX = 5
STATEMENT_SECONDS_MAX = 600


def upgrade(op: Operations) -> None:
    """Money in: facts of payments, what follows from them, and what is still owed to wallets."""
    _drop_what_was_never_written(op)
    _purchases(op)
    _subscriptions(op)
    _payments(op)
    _checkout_sessions(op)
    _payment_refs(op)
    _payment_attempts(op)
    _refunds(op)
    _disputes(op)
    _payment_events(op)
    _settlements(op)
    _deployments(op)


def _drop_what_was_never_written(op: Operations) -> None:
    # Until this revision every purchase was refused and every event answered with 503: these tables are empty.
    for table in ("payments", "purchases", "subscriptions", "payment_events"):
        if op.get_bind().scalar(sa.select(sa.func.count()).select_from(sa.table(table))):
            raise RuntimeError(f"{table} has rows that no release wrote: move them away, then migrate again")
        op.drop_table(table)


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
        sa.Column("subscription_id", sa.BigInteger(), nullable=True),
        sa.Column("price_cents", sa.BigInteger(), nullable=False),
        sa.Column("percent_off", sa.BigInteger(), nullable=False),
        sa.Column("amount_cents", sa.BigInteger(), nullable=False),
        sa.Column("currency", columns.Exact(3), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("tokens_credited", sa.Boolean(), nullable=False),
        sa.Column("earned_by", sa.BigInteger(), nullable=True),
        sa.Column("idempotency_key", columns.Line(200), nullable=False),
        sa.Column("input_hash", columns.Exact(64), nullable=False),
        sa.Column("attempt_kind", columns.Exact(40), nullable=False),
        sa.Column("provider_params", columns.Json(), nullable=True),
        sa.Column("abandoned_at", columns.UtcDateTime(), nullable=True),
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
    op.create_index(op.f("ix_purchases_subscription_id"), "purchases", ["subscription_id"], unique=False)
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
        sa.Column("provider_item_id", columns.Exact(255), nullable=True),
        sa.Column("provider_customer_id", columns.Exact(255), nullable=True),
        sa.Column("live_key", columns.Exact(80), nullable=False),
        sa.Column("current_period_start", columns.UtcDateTime(), nullable=True),
        sa.Column("current_period_end", columns.UtcDateTime(), nullable=True),
        sa.Column("trial_ends_at", columns.UtcDateTime(), nullable=True),
        sa.Column("cancel_at_period_end", sa.Boolean(), nullable=False),
        sa.Column("seen_at", columns.UtcDateTime(), nullable=True),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_subscriptions_tenant_id")),
        sa.ForeignKeyConstraint(["tier_id"], ["tiers.id"], name=op.f("fk_subscriptions_tier_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_subscriptions_user_id")),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("live_key", name=op.f("uq_subscriptions_live_key")),
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
        sa.Column("paid_at", columns.UtcDateTime(), nullable=True),
        sa.Column("tokens_earned", sa.BigInteger(), nullable=False),
        sa.Column("clawed_target", sa.BigInteger(), nullable=False),
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


def _checkout_sessions(op: Operations) -> None:
    op.create_table(
        "checkout_sessions",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("purchase_id", sa.BigInteger(), nullable=False),
        sa.Column("provider_session_id", columns.Exact(255), nullable=False),
        sa.Column("url", columns.Line(2000), nullable=True),
        sa.Column("expires_at", columns.UtcDateTime(), nullable=True),
        sa.Column("status", columns.Word(), nullable=False),
        sa.Column("payment_status", columns.Word(), nullable=False),
        sa.Column("failed_later", sa.Boolean(), nullable=False),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["purchase_id"], ["purchases.id"], name=op.f("fk_checkout_sessions_purchase_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_checkout_sessions_tenant_id")),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("provider_session_id", name=op.f("uq_checkout_sessions_provider_session_id")),
    )
    op.create_index(op.f("ix_checkout_sessions_purchase_id"), "checkout_sessions", ["purchase_id"], unique=False)
    op.create_index(
        op.f("ix_checkout_sessions_status_expires_at"), "checkout_sessions", ["status", "expires_at"], unique=False
    )
    op.create_index(
        op.f("ix_checkout_sessions_tenant_id_status"), "checkout_sessions", ["tenant_id", "status"], unique=False
    )


def _payment_refs(op: Operations) -> None:
    op.create_table(
        "payment_refs",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("provider_ref", columns.Exact(255), nullable=False),
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("purchase_id", sa.BigInteger(), nullable=False),
        sa.Column("payment_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("fk_payment_refs_payment_id")),
        sa.ForeignKeyConstraint(["purchase_id"], ["purchases.id"], name=op.f("fk_payment_refs_purchase_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_payment_refs_tenant_id")),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("provider_ref", name=op.f("uq_payment_refs_provider_ref")),
    )
    op.create_index(op.f("ix_payment_refs_payment_id"), "payment_refs", ["payment_id"], unique=False)
    op.create_index(op.f("ix_payment_refs_purchase_id"), "payment_refs", ["purchase_id"], unique=False)
    op.create_index(op.f("ix_payment_refs_tenant_id"), "payment_refs", ["tenant_id"], unique=False)


def _payment_attempts(op: Operations) -> None:
    op.create_table(
        "payment_attempts",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("purchase_id", sa.BigInteger(), nullable=False),
        sa.Column("payment_id", sa.BigInteger(), nullable=False),
        sa.Column("provider_attempt_id", columns.Exact(255), nullable=False),
        sa.Column("status", columns.Word(), nullable=False),
        sa.Column("at", columns.UtcDateTime(), nullable=False),
        sa.Column("failure", columns.Line(300), nullable=True),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("fk_payment_attempts_payment_id")),
        sa.ForeignKeyConstraint(["purchase_id"], ["purchases.id"], name=op.f("fk_payment_attempts_purchase_id")),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("provider_attempt_id", name=op.f("uq_payment_attempts_provider_attempt_id")),
    )
    op.create_index(op.f("ix_payment_attempts_payment_id"), "payment_attempts", ["payment_id"], unique=False)
    op.create_index(op.f("ix_payment_attempts_purchase_id"), "payment_attempts", ["purchase_id"], unique=False)


def _refunds(op: Operations) -> None:
    op.create_table(
        "refunds",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("purchase_id", sa.BigInteger(), nullable=False),
        sa.Column("payment_id", sa.BigInteger(), nullable=False),
        sa.Column("provider_refund_id", columns.Exact(255), nullable=False),
        sa.Column("amount_cents", sa.BigInteger(), nullable=False),
        sa.Column("currency", columns.Exact(3), nullable=False),
        sa.Column("status", columns.Word(), nullable=False),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("fk_refunds_payment_id")),
        sa.ForeignKeyConstraint(["purchase_id"], ["purchases.id"], name=op.f("fk_refunds_purchase_id")),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("provider_refund_id", name=op.f("uq_refunds_provider_refund_id")),
    )
    op.create_index(op.f("ix_refunds_payment_id"), "refunds", ["payment_id"], unique=False)
    op.create_index(op.f("ix_refunds_purchase_id"), "refunds", ["purchase_id"], unique=False)


def _disputes(op: Operations) -> None:
    op.create_table(
        "disputes",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("purchase_id", sa.BigInteger(), nullable=False),
        sa.Column("payment_id", sa.BigInteger(), nullable=False),
        sa.Column("provider_dispute_id", columns.Exact(255), nullable=False),
        sa.Column("amount_cents", sa.BigInteger(), nullable=False),
        sa.Column("currency", columns.Exact(3), nullable=False),
        sa.Column("status", columns.Exact(40), nullable=False),
        sa.Column("seen_at", columns.UtcDateTime(), nullable=False),
        sa.Column("movements", columns.Json(), nullable=False),
        sa.Column("withdrawn_cents", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("fk_disputes_payment_id")),
        sa.ForeignKeyConstraint(["purchase_id"], ["purchases.id"], name=op.f("fk_disputes_purchase_id")),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("provider_dispute_id", name=op.f("uq_disputes_provider_dispute_id")),
    )
    op.create_index(op.f("ix_disputes_payment_id"), "disputes", ["payment_id"], unique=False)
    op.create_index(op.f("ix_disputes_purchase_id"), "disputes", ["purchase_id"], unique=False)


def _payment_events(op: Operations) -> None:
    op.create_table(
        "payment_events",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("provider_event_id", columns.Exact(255), nullable=False),
        sa.Column("type", columns.Exact(80), nullable=False),
        sa.Column("api_version", columns.Exact(40), nullable=True),
        sa.Column("occurred_at", columns.UtcDateTime(), nullable=False),
        sa.Column("body", columns.Document(), nullable=True),
        sa.Column("body_hash", columns.Exact(64), nullable=False),
        sa.Column("state", columns.Word(), nullable=False),
        sa.Column("tries", sa.BigInteger(), nullable=False),
        sa.Column("next_try_at", columns.UtcDateTime(), nullable=False),
        sa.Column("waits_for", columns.Exact(255), nullable=True),
        sa.Column("error", columns.Line(500), nullable=True),
        sa.Column("processed_at", columns.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("provider_event_id", name=op.f("uq_payment_events_provider_event_id")),
    )
    op.create_index(op.f("ix_payment_events_created_at"), "payment_events", ["created_at"], unique=False)
    op.create_index(op.f("ix_payment_events_occurred_at"), "payment_events", ["occurred_at"], unique=False)
    op.create_index(
        op.f("ix_payment_events_state_next_try_at_id"), "payment_events", ["state", "next_try_at", "id"], unique=False
    )
    op.create_index(op.f("ix_payment_events_waits_for"), "payment_events", ["waits_for"], unique=False)


def _settlements(op: Operations) -> None:
    op.create_table(
        "settlements",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("purchase_id", sa.BigInteger(), nullable=False),
        sa.Column("payment_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", columns.Word(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("ledger_key", columns.Exact(200), nullable=False),
        sa.Column("state", columns.Word(), nullable=False),
        sa.Column("reason", columns.Word(), nullable=False),
        sa.Column("tries", sa.BigInteger(), nullable=False),
        sa.Column("next_try_at", columns.UtcDateTime(), nullable=False),
        sa.Column("error", columns.Line(500), nullable=True),
        sa.Column("settled_at", columns.UtcDateTime(), nullable=True),
        sa.Column("resolution", columns.Word(), nullable=True),
        sa.Column("resolved_by", columns.Line(200), nullable=True),
        sa.Column("resolved_why", columns.Line(500), nullable=True),
        sa.Column("resolved_at", columns.UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("fk_settlements_payment_id")),
        sa.ForeignKeyConstraint(["purchase_id"], ["purchases.id"], name=op.f("fk_settlements_purchase_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_settlements_tenant_id")),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("ledger_key", name=op.f("uq_settlements_ledger_key")),
    )
    op.create_index(op.f("ix_settlements_payment_id"), "settlements", ["payment_id"], unique=False)
    op.create_index(op.f("ix_settlements_purchase_id"), "settlements", ["purchase_id"], unique=False)
    op.create_index(
        op.f("ix_settlements_state_next_try_at_id"), "settlements", ["state", "next_try_at", "id"], unique=False
    )
    op.create_index(
        op.f("ix_settlements_tenant_id_state_id"), "settlements", ["tenant_id", "state", "id"], unique=False
    )


def _deployments(op: Operations) -> None:
    op.create_table(
        "deployments",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", columns.Exact(32), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
