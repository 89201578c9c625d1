"""What the payment provider is asked to change, and what operators did about money, each with who and why.

An order is written before the provider is asked, so that it is asked once, and again with the same key where no
answer came. What the answer means for purchases and plans is in `billing.py`.
"""

import enum
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from base.ids import Id
from db.columns import Exact, Line, utc_now
from db.tables.central.identity import TenantKey
from db.zones import DELETE, INFRA, NULL, CentralBase, WithChanges, WithId, ref, soft_ref


class OrderKind(enum.Enum):
    """What is asked: plans are changed, canceled with their period, resumed or ended at once; sessions are closed."""

    CHANGE_PLAN = "CHANGE_PLAN"
    CANCEL_PLAN = "CANCEL_PLAN"
    RESUME_PLAN = "RESUME_PLAN"
    END_PLAN = "END_PLAN"
    EXPIRE_SESSION = "EXPIRE_SESSION"
    REFUND = "REFUND"


class OrderState(enum.Enum):
    """ASKED until the provider has said yes or no."""

    ASKED = "ASKED"
    DONE = "DONE"
    REFUSED = "REFUSED"


class ProviderOrder(WithId, WithChanges, CentralBase, scope=INFRA):
    """One change that the provider is asked for; `subject` is the provider's id of what is changed.

    `open_key` is the subject while the order is ASKED, then `#` and our id: one at a time for each subject.
    `attempt` is part of the provider's idempotency key. Until `busy_until` somebody waits for the answer. The
    `idempotency_key` is the client's, or `#` and our id; `input_hash` (SHA-256, hex) tells one wish from another.
    """

    __tablename__ = "provider_orders"
    __table_args__ = (
        sa.UniqueConstraint("tenant_id", "idempotency_key"),
        sa.Index(None, "state", "busy_until"),
        sa.Index(None, "subject", "id"),
    )

    tenant_id: Mapped[TenantKey] = ref("tenants.id", on_parent_delete=DELETE)
    kind: Mapped[OrderKind]
    subject: Mapped[str] = mapped_column(Exact(255))
    subject_id: Mapped[Id[Any]]
    open_key: Mapped[str] = mapped_column(Exact(255), unique=True)
    params: Mapped[dict[str, Any]]
    attempt: Mapped[int] = mapped_column(default=1)
    state: Mapped[OrderState] = mapped_column(default=OrderState.ASKED)
    busy_until: Mapped[datetime]
    idempotency_key: Mapped[str] = mapped_column(Line(200))
    input_hash: Mapped[str] = mapped_column(Exact(64), default="")
    asked_by: Mapped[str] = mapped_column(Line(200))
    why: Mapped[str] = mapped_column(Line(500))
    error: Mapped[str | None] = mapped_column(Line(500))


class BillingClosure(CentralBase, scope=INFRA):
    """That a tenant buys nothing any more: money that still comes for it waits for a person."""

    __tablename__ = "billing_closures"

    tenant_id: Mapped[TenantKey] = soft_ref("tenants", on_parent_delete=NULL, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class OperatorAct(WithId, CentralBase, scope=INFRA):
    """Something that a person did about money by a command: what, to what, who and why. Append-only."""

    __tablename__ = "operator_acts"
    __table_args__ = (sa.Index(None, "created_at"), sa.Index(None, "subject", "id"))

    act: Mapped[str] = mapped_column(Exact(40))
    subject: Mapped[str] = mapped_column(Exact(255))
    who: Mapped[str] = mapped_column(Line(200))
    why: Mapped[str] = mapped_column(Line(500))
    outcome: Mapped[str] = mapped_column(Line(500))
