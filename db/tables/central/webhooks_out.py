"""Where tenants want to be told what happens in their studio. What is told, and how it went, is in their pool."""

import enum
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from base.sealing import Sealed
from db import columns
from db.columns import Exact, Line
from db.tables.central.identity import TenantKey
from db.zones import DELETE, TENANT, CentralBase, WithChanges, WithId, ref

URL_CHARACTERS_MAX = 1_000
SEALED_CHARACTERS_MAX = 255


class WebhookStatus(enum.Enum):
    """Whether an endpoint is told anything; DISABLED ones were closed by us, the reason stands beside."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    DISABLED = "DISABLED"


class Webhook(WithId, WithChanges, CentralBase, scope=TENANT, tenant="tenant_id"):
    """An endpoint of a tenant's developers and the types of events it is told of.

    `failures` counts attempts in a row that failed, the first of them at `failing_since`; nothing is sent
    before `resume_at` but what a person asks for. One worker at a time sends to it, until `busy_until` at most. Until
    `old_secret_until` what is sent is signed with both secrets.
    """

    __tablename__ = "tenant_webhooks"
    __table_args__ = (sa.Index(None, "tenant_id", "id"),)

    tenant_id: Mapped[TenantKey] = ref("tenants.id", on_parent_delete=DELETE)
    url: Mapped[str] = mapped_column(Exact(URL_CHARACTERS_MAX))
    events: Mapped[list[str]] = mapped_column(default=list)
    secret: Mapped[Sealed] = mapped_column(columns.Sealed(SEALED_CHARACTERS_MAX))
    old_secret: Mapped[Sealed | None] = mapped_column(columns.Sealed(SEALED_CHARACTERS_MAX))
    old_secret_until: Mapped[datetime | None]
    status: Mapped[WebhookStatus] = mapped_column(default=WebhookStatus.ACTIVE)
    disabled_reason: Mapped[str | None] = mapped_column(Line(200))
    failures: Mapped[int] = mapped_column(default=0)
    failing_since: Mapped[datetime | None]
    resume_at: Mapped[datetime | None]
    busy_until: Mapped[datetime | None]
