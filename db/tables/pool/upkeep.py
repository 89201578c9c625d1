"""What keeps a pool running: events on their way out, the fence of each tenant, and counters with a limit.

No request reads any of it. The pool's own identity is the fence row whose tenant is ''.
"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from base.ids import Id
from db.columns import Exact, utc_now
from db.zones import INFRA, PoolBase, TenantState


class Outbox(PoolBase, scope=INFRA, swept=True):
    """An event written with what it tells of; `id` is the event's, and a delivered row is deleted.

    Events of one `aggregate` (`video:1a2b`) are delivered in the order of their ids.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        sa.Index(None, "tenant_id", "aggregate", "id"),
        sa.Index(None, "tenant_id", "available_at", "id"),
        sa.Index(None, "created_at"),
    )

    type: Mapped[str] = mapped_column(Exact(80))
    version: Mapped[int] = mapped_column(default=1)
    aggregate: Mapped[str] = mapped_column(Exact(80))
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)
    correlation_id: Mapped[str] = mapped_column(Exact(64))
    causation_id: Mapped[str | None] = mapped_column(Exact(64))
    occurred_at: Mapped[datetime] = mapped_column(default=utc_now)
    attempts: Mapped[int] = mapped_column(default=0)
    available_at: Mapped[datetime] = mapped_column(default=utc_now)


class Fence(PoolBase, scope=INFRA, swept=True):
    """Which placement of a tenant this pool accepts; every write transaction reads it first. `id` is always 0."""

    __tablename__ = "fences"

    id: Mapped[Id[Any]] = mapped_column(primary_key=True, autoincrement=False, default=0, sort_order=-19)
    pool_name: Mapped[str] = mapped_column(Exact(63))
    epoch: Mapped[int] = mapped_column(default=1)
    state: Mapped[TenantState] = mapped_column(default=TenantState.ACTIVE)


class UsageCounter(PoolBase, scope=INFRA):
    """How much of a limited thing a tenant has used in a period ('' for always); changed by conditional updates."""

    __tablename__ = "usage_counters"
    __table_args__ = (sa.UniqueConstraint("tenant_id", "key", "period"),)

    key: Mapped[str] = mapped_column(Exact(40))
    period: Mapped[str] = mapped_column(Exact(20), default="")
    used: Mapped[int] = mapped_column(default=0)
