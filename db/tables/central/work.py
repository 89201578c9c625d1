"""What keeps the house running: leased work, timers, news for other processes, worker numbers, rate windows.

No request reads any of it. What a job does to a tenant's rows is decided in the pool, which stays the truth.
"""

import enum
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from base.ids import Id
from db.columns import Exact, Line, Prose, utc_now
from db.tables.central.identity import TenantKey
from db.zones import DELETE, INFRA, CentralBase, TenantId, WithId, soft_ref


class JobState(enum.Enum):
    """Where a piece of work stands; dead ones are moved to failed_jobs."""

    READY = "READY"
    LEASED = "LEASED"
    DONE = "DONE"


class Job(WithId, CentralBase, scope=INFRA):
    """A piece of work that one worker at a time holds by a lease; `ref_id` is the row it is about.

    `generation` tells runs of the same thing apart. A higher `priority` goes first. `algorithm` is
    what outside workers choose by, empty for work of our own.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        sa.UniqueConstraint("kind", "tenant_id", "ref_id", "generation"),
        sa.Index(None, "state", "available_at"),
        sa.Index(None, "state", "kind", "algorithm", "available_at"),
        sa.Index(None, "state", "lease_until"),
        sa.Index(None, "tenant_id", "state"),
    )

    kind: Mapped[str] = mapped_column(Exact(40))
    tenant_id: Mapped[TenantKey] = soft_ref("tenants", on_parent_delete=DELETE)
    ref_id: Mapped[Id[Any]]
    generation: Mapped[int] = mapped_column(default=0)
    priority: Mapped[int] = mapped_column(default=0)
    available_at: Mapped[datetime] = mapped_column(default=utc_now)
    state: Mapped[JobState] = mapped_column(default=JobState.READY)
    lease_owner: Mapped[str | None] = mapped_column(Exact(80))
    lease_until: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    algorithm: Mapped[str] = mapped_column(Exact(80), default="")


class FailedJob(WithId, CentralBase, scope=INFRA):
    """Work that was given up, with the facts it had and why."""

    __tablename__ = "failed_jobs"
    __table_args__ = (sa.Index(None, "tenant_id", "failed_at"), sa.Index(None, "failed_at"))

    kind: Mapped[str] = mapped_column(Exact(40))
    tenant_id: Mapped[TenantKey] = soft_ref("tenants", on_parent_delete=DELETE)
    ref_id: Mapped[Id[Any]]
    generation: Mapped[int] = mapped_column(default=0)
    priority: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    algorithm: Mapped[str] = mapped_column(Exact(80), default="")
    error: Mapped[str] = mapped_column(Prose())
    failed_at: Mapped[datetime] = mapped_column(default=utc_now)


class Timer(WithId, CentralBase, scope=INFRA):
    """Something that becomes due; one a kind, tenant ('' for the house) and row (0 for none)."""

    __tablename__ = "timers"
    __table_args__ = (sa.UniqueConstraint("kind", "tenant_id", "ref_id"), sa.Index(None, "due_at"))

    kind: Mapped[str] = mapped_column(Exact(40))
    tenant_id: Mapped[TenantKey] = soft_ref("tenants", on_parent_delete=DELETE, default=TenantId(""))
    ref_id: Mapped[Id[Any]] = mapped_column(default=0)
    due_at: Mapped[datetime]


class BusLog(WithId, CentralBase, scope=INFRA):
    """News for other processes where there is no Redis: a topic and what it is about, no data; kept 5 minutes."""

    __tablename__ = "bus_log"
    __table_args__ = (sa.Index(None, "created_at", "id"),)

    topic: Mapped[str] = mapped_column(Exact(40))
    key: Mapped[str] = mapped_column(Line(200))


class IdWorker(CentralBase, scope=INFRA):
    """A worker number of the id scheme and the Unix millisecond up to which it is let."""

    __tablename__ = "id_workers"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    until_ms: Mapped[int] = mapped_column(default=0)


class RateCounter(CentralBase, scope=INFRA):
    """How often something was done in a window that began at a Unix second, where there is no Redis."""

    __tablename__ = "rate_counters"
    __table_args__ = (sa.Index(None, "window_start_s"),)

    key: Mapped[str] = mapped_column(Exact(128), primary_key=True)
    window_start_s: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    count: Mapped[int] = mapped_column(default=0)
