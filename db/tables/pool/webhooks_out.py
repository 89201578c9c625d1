"""What a tenant's endpoints are told, and how that went."""

import enum
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from base.ids import Id
from db.columns import Exact, Line, Prose
from db.tables.central.webhooks_out import Webhook
from db.zones import DELETE, TENANT, PoolBase, WithChanges, soft_ref


class WebhookDeliveryStatus(enum.Enum):
    """PENDING until the endpoint has taken it, or no attempt is left."""

    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


class WebhookDelivery(WithChanges, PoolBase, scope=TENANT):
    """One event on its way to one endpoint; `body` is the text that is sent and signed, the same each time.

    `next_attempt_at` is null once it has ended; while an attempt is under way it is the moment from which
    another worker may take it for dead. What the endpoint answered last: status, the first characters of
    its body, and the milliseconds it took; `error` where it did not answer.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        sa.UniqueConstraint("tenant_id", "webhook_id", "event_id"),
        sa.Index(None, "tenant_id", "webhook_id", "next_attempt_at"),
        sa.Index(None, "tenant_id", "webhook_id", "id"),
        sa.Index(None, "tenant_id", "status", "id"),
    )

    webhook_id: Mapped[Id[Webhook]] = soft_ref("tenant_webhooks", on_parent_delete=DELETE)
    event_id: Mapped[Id[Any]]
    event_type: Mapped[str] = mapped_column(Exact(80))
    body: Mapped[str] = mapped_column(Prose())
    status: Mapped[WebhookDeliveryStatus] = mapped_column(default=WebhookDeliveryStatus.PENDING)
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime | None]
    last_attempt_at: Mapped[datetime | None]
    response_status: Mapped[int | None]
    response_body: Mapped[str | None] = mapped_column(Prose())
    duration_ms: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(Line(300))
