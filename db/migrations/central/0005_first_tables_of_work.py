"""First tables of work."""

import sqlalchemy as sa
from alembic.operations import Operations

from db import columns

revision = "0005"
down_revision = "0004"

LOCK_SECONDS_MAX = 5
STATEMENT_SECONDS_MAX = 600


def upgrade(op: Operations) -> None:
    """First tables of work."""
    _bus_log(op)
    _failed_jobs(op)
    _id_workers(op)
    _jobs(op)
    _rate_counters(op)
    _timers(op)


def _bus_log(op: Operations) -> None:
    op.create_table(
        "bus_log",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("topic", columns.Exact(40), nullable=False),
        sa.Column("key", columns.Line(200), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_bus_log_created_at_id"), "bus_log", ["created_at", "id"], unique=False)


def _failed_jobs(op: Operations) -> None:
    op.create_table(
        "failed_jobs",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("kind", columns.Exact(40), nullable=False),
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("ref_id", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("algorithm", columns.Exact(80), nullable=False),
        sa.Column("error", columns.Prose(), nullable=False),
        sa.Column("failed_at", columns.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_failed_jobs_failed_at"), "failed_jobs", ["failed_at"], unique=False)
    op.create_index(op.f("ix_failed_jobs_tenant_id_failed_at"), "failed_jobs", ["tenant_id", "failed_at"], unique=False)


def _id_workers(op: Operations) -> None:
    op.create_table(
        "id_workers",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )


def _jobs(op: Operations) -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("kind", columns.Exact(40), nullable=False),
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("ref_id", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column("available_at", columns.UtcDateTime(), nullable=False),
        sa.Column("state", columns.Word(), nullable=False),
        sa.Column("lease_owner", columns.Exact(80), nullable=True),
        sa.Column("lease_until", columns.UtcDateTime(), nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("algorithm", columns.Exact(80), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint(
            "kind", "tenant_id", "ref_id", "generation", name=op.f("uq_jobs_kind_tenant_id_ref_id_generation")
        ),
    )
    op.create_index(op.f("ix_jobs_state_available_at"), "jobs", ["state", "available_at"], unique=False)
    op.create_index(
        op.f("ix_jobs_state_kind_algorithm_available_at"),
        "jobs",
        ["state", "kind", "algorithm", "available_at"],
        unique=False,
    )
    op.create_index(op.f("ix_jobs_state_lease_until"), "jobs", ["state", "lease_until"], unique=False)
    op.create_index(op.f("ix_jobs_tenant_id_state"), "jobs", ["tenant_id", "state"], unique=False)


def _rate_counters(op: Operations) -> None:
    op.create_table(
        "rate_counters",
        sa.Column("key", columns.Exact(128), nullable=False),
        sa.Column("window_start_s", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "window_start_s"),
    )
    op.create_index(op.f("ix_rate_counters_window_start_s"), "rate_counters", ["window_start_s"], unique=False)


def _timers(op: Operations) -> None:
    op.create_table(
        "timers",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("kind", columns.Exact(40), nullable=False),
        sa.Column("tenant_id", columns.Exact(63), nullable=False),
        sa.Column("ref_id", sa.BigInteger(), nullable=False),
        sa.Column("due_at", columns.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("kind", "tenant_id", "ref_id", name=op.f("uq_timers_kind_tenant_id_ref_id")),
    )
    op.create_index(op.f("ix_timers_due_at"), "timers", ["due_at"], unique=False)
