"""Money that comes in: purchases, payments and held price plans, the facts they follow from, and what is still owed.

What it buys is credited in the tenant's pool (`pool/wallet.py`) through `settlements`. Amounts are minor units
of their currency. Facts are the provider's: a row of them is only ever moved on, never back.
"""

import enum
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from base.ids import Id
from db.columns import Document, Exact, Line, utc_now
from db.tables.central.catalog import Discount, Package, Tier
from db.tables.central.identity import TenantKey, User
from db.zones import DELETE, INFRA, NULL, TENANT, CentralBase, WithChanges, WithId, ref, soft_ref


class PurchaseKind(enum.Enum):
    """What was bought."""

    PACKAGE = "PACKAGE"
    PLAN = "PLAN"


class PurchaseStatus(enum.Enum):
    """A function of the recorded facts of its payments, computed anew with each."""

    PENDING = "PENDING"
    PAID = "PAID"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    REFUNDED = "REFUNDED"
    PARTIALLY_REFUNDED = "PARTIALLY_REFUNDED"
    DISPUTED = "DISPUTED"


class PaymentStatus(enum.Enum):
    """A function of the recorded facts of one payment."""

    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    REFUNDED = "REFUNDED"
    PARTIALLY_REFUNDED = "PARTIALLY_REFUNDED"
    DISPUTED = "DISPUTED"


class SubscriptionStatus(enum.Enum):
    """The provider's word for a held plan."""

    INCOMPLETE = "INCOMPLETE"
    TRIALING = "TRIALING"
    ACTIVE = "ACTIVE"
    PAST_DUE = "PAST_DUE"
    CANCELED = "CANCELED"
    UNPAID = "UNPAID"
    PAUSED = "PAUSED"


class SessionStatus(enum.Enum):
    """Where a checkout session stands; over when it is not OPEN."""

    OPEN = "OPEN"
    COMPLETE = "COMPLETE"
    EXPIRED = "EXPIRED"


class SessionPayment(enum.Enum):
    """Whether a session's money is there; a bank debit is UNPAID for days after the session is COMPLETE."""

    UNPAID = "UNPAID"
    PAID = "PAID"
    NO_PAYMENT_REQUIRED = "NO_PAYMENT_REQUIRED"


class AttemptStatus(enum.Enum):
    """How one try to pay ended."""

    PENDING = "PENDING"
    FAILED = "FAILED"
    SUCCEEDED = "SUCCEEDED"


class RefundStatus(enum.Enum):
    """A refund counts while it is PENDING or SUCCEEDED, and no more once it FAILED or was CANCELED."""

    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


class PaymentEventState(enum.Enum):
    """What became of a stored event.

    WAITING ones miss something that has not come yet, FAILED ones are tried again later, FOREIGN ones are
    another mode's, account's or deployment's, IGNORED ones of a type that means nothing here.
    """

    STORED = "STORED"
    WAITING = "WAITING"
    FAILED = "FAILED"
    PROCESSED = "PROCESSED"
    IGNORED = "IGNORED"
    FOREIGN = "FOREIGN"


class SettlementKind(enum.Enum):
    """What a settlement does to the wallet: the purchase's tokens, or a change of what is clawed back."""

    CREDIT = "CREDIT"
    CLAW_BACK = "CLAW_BACK"


class SettlementState(enum.Enum):
    """DUE until the wallet has it; PARKED ones wait for a person, who lets them be DUE again or CLOSED."""

    DUE = "DUE"
    SETTLED = "SETTLED"
    PARKED = "PARKED"
    CLOSED = "CLOSED"


class ParkReason(enum.Enum):
    """Why tokens are not credited without a person; NONE where they are.

    Money of another mode, account or deployment is not among them: its events are FOREIGN, and no purchase is theirs.
    """

    NONE = "NONE"
    AMOUNT = "AMOUNT"
    ERASED = "ERASED"
    PAID_TWICE = "PAID_TWICE"


class Resolution(enum.Enum):
    """What a person decided about a parked settlement."""

    CREDIT = "CREDIT"
    REFUND = "REFUND"
    CLOSE = "CLOSE"


class Purchase(WithId, WithChanges, CentralBase, scope=TENANT, tenant="tenant_id"):
    """A wish to buy; the key is the client's, one a user, and `invoice:` with the invoice's id for a renewal.

    `price_cents` is before the discount, `amount_cents` what is due. `provider_params` is what the provider was
    or will be asked, stored before the first call and sent again unchanged; `attempt_kind` is part of the
    provider's idempotency key. `input_hash` (SHA-256, hex) tells the same wish from another under the same key; of
    an invoice of a change it is `change:` and its order's id. `earned_by` is the payment that paid it first;
    `abandoned_at`, when the provider was found to know no session.
    """

    __tablename__ = "purchases"
    __table_args__ = (
        sa.UniqueConstraint("tenant_id", "user_id", "idempotency_key"),
        sa.Index(None, "tenant_id", "id"),
        sa.Index(None, "status", "created_at"),
    )

    tenant_id: Mapped[TenantKey] = ref("tenants.id")
    user_id: Mapped[Id[User]] = ref("users.id", index=True)
    kind: Mapped[PurchaseKind]
    status: Mapped[PurchaseStatus] = mapped_column(default=PurchaseStatus.PENDING)
    package_id: Mapped[Id[Package] | None] = ref("packages.id", index=True)
    tier_id: Mapped[Id[Tier] | None] = ref("tiers.id", index=True)
    discount_id: Mapped[Id[Discount] | None] = ref("discounts.id", index=True)
    subscription_id: Mapped[Id[Any] | None] = soft_ref("subscriptions", on_parent_delete=NULL, index=True)
    price_cents: Mapped[int]
    percent_off: Mapped[int] = mapped_column(default=0)
    amount_cents: Mapped[int]
    currency: Mapped[str] = mapped_column(Exact(3))
    tokens: Mapped[int]
    tokens_credited: Mapped[bool] = mapped_column(default=False)
    earned_by: Mapped[Id[Any] | None] = soft_ref("payments", on_parent_delete=NULL)
    idempotency_key: Mapped[str] = mapped_column(Line(200))
    input_hash: Mapped[str] = mapped_column(Exact(64), default="")
    attempt_kind: Mapped[str] = mapped_column(Exact(40), default="")
    provider_params: Mapped[dict[str, Any] | None]
    abandoned_at: Mapped[datetime | None]


class Payment(WithId, WithChanges, CentralBase, scope=TENANT, tenant="tenant_id"):
    """Money that moved for a purchase: an intent's id, an invoice's, or `free:` and the purchase's where none was due.

    `tokens_earned` is what its own settlement credits: 0 while that is parked, and for the second payment of one
    purchase. `clawed_target` is how many of those are taken back now.
    """

    __tablename__ = "payments"
    __table_args__ = (
        sa.UniqueConstraint("provider", "provider_payment_id"),
        sa.Index(None, "tenant_id", "purchase_id", "id"),
    )

    tenant_id: Mapped[TenantKey] = ref("tenants.id")
    user_id: Mapped[Id[User]] = ref("users.id", index=True)
    purchase_id: Mapped[Id[Purchase]] = ref("purchases.id", index=True)
    status: Mapped[PaymentStatus] = mapped_column(default=PaymentStatus.PENDING)
    amount_cents: Mapped[int]
    refunded_cents: Mapped[int] = mapped_column(default=0)
    currency: Mapped[str] = mapped_column(Exact(3))
    provider: Mapped[str] = mapped_column(Exact(40))
    provider_payment_id: Mapped[str] = mapped_column(Exact(255))
    receipt_url: Mapped[str | None] = mapped_column(Line(1000))
    paid_at: Mapped[datetime | None]
    tokens_earned: Mapped[int] = mapped_column(default=0)
    clawed_target: Mapped[int] = mapped_column(default=0)


class PlanSubscription(WithId, WithChanges, CentralBase, scope=TENANT, tenant="tenant_id"):
    """A tier that a tenant holds; until the provider has named it, its id there is `pending:` and our id.

    `live_key` is the tenant's id while the plan lives, then `#` and our id: one living plan a tenant.
    `seen_at` is the provider's moment (whole seconds) of the object that was last believed, or of its fetching.
    """

    __tablename__ = "subscriptions"
    __table_args__ = (sa.Index(None, "tenant_id", "id"),)

    tenant_id: Mapped[TenantKey] = ref("tenants.id")
    user_id: Mapped[Id[User]] = ref("users.id", index=True)
    tier_id: Mapped[Id[Tier]] = ref("tiers.id", index=True)
    status: Mapped[SubscriptionStatus] = mapped_column(default=SubscriptionStatus.INCOMPLETE)
    provider_subscription_id: Mapped[str] = mapped_column(Exact(255), unique=True)
    provider_item_id: Mapped[str | None] = mapped_column(Exact(255))
    provider_customer_id: Mapped[str | None] = mapped_column(Exact(255))
    live_key: Mapped[str] = mapped_column(Exact(80), unique=True)
    current_period_start: Mapped[datetime | None]
    current_period_end: Mapped[datetime | None]
    trial_ends_at: Mapped[datetime | None]
    cancel_at_period_end: Mapped[bool] = mapped_column(default=False)
    seen_at: Mapped[datetime | None]


class CheckoutSession(WithId, WithChanges, CentralBase, scope=INFRA):
    """The provider's page for a purchase; another is made only where the provider's own list has none of it."""

    __tablename__ = "checkout_sessions"
    __table_args__ = (sa.Index(None, "status", "expires_at"), sa.Index(None, "tenant_id", "status"))

    tenant_id: Mapped[TenantKey] = ref("tenants.id", on_parent_delete=DELETE)
    purchase_id: Mapped[Id[Purchase]] = ref("purchases.id", index=True, on_parent_delete=DELETE)
    provider_session_id: Mapped[str] = mapped_column(Exact(255), unique=True)
    url: Mapped[str | None] = mapped_column(Line(2000))
    expires_at: Mapped[datetime | None]
    status: Mapped[SessionStatus] = mapped_column(default=SessionStatus.OPEN)
    payment_status: Mapped[SessionPayment] = mapped_column(default=SessionPayment.UNPAID)
    failed_later: Mapped[bool] = mapped_column(default=False)


class PaymentRef(WithId, CentralBase, scope=INFRA):
    """An intent, charge or invoice by its id, and the payment it belongs to: refunds and disputes name only those."""

    __tablename__ = "payment_refs"

    provider_ref: Mapped[str] = mapped_column(Exact(255), unique=True)
    tenant_id: Mapped[TenantKey] = ref("tenants.id", index=True, on_parent_delete=DELETE)
    purchase_id: Mapped[Id[Purchase]] = ref("purchases.id", index=True, on_parent_delete=DELETE)
    payment_id: Mapped[Id[Payment]] = ref("payments.id", index=True, on_parent_delete=DELETE)


class PaymentAttempt(WithId, CentralBase, scope=INFRA):
    """One try to pay: a charge's id, or the failing event's where no charge was made. `at` is the provider's moment."""

    __tablename__ = "payment_attempts"

    purchase_id: Mapped[Id[Purchase]] = ref("purchases.id", index=True, on_parent_delete=DELETE)
    payment_id: Mapped[Id[Payment]] = ref("payments.id", index=True, on_parent_delete=DELETE)
    provider_attempt_id: Mapped[str] = mapped_column(Exact(255), unique=True)
    status: Mapped[AttemptStatus]
    at: Mapped[datetime]
    failure: Mapped[str | None] = mapped_column(Line(300))


class Refund(WithId, WithChanges, CentralBase, scope=INFRA):
    """Money on its way back to the buyer, by the provider's id of it."""

    __tablename__ = "refunds"

    purchase_id: Mapped[Id[Purchase]] = ref("purchases.id", index=True, on_parent_delete=DELETE)
    payment_id: Mapped[Id[Payment]] = ref("payments.id", index=True, on_parent_delete=DELETE)
    provider_refund_id: Mapped[str] = mapped_column(Exact(255), unique=True)
    amount_cents: Mapped[int]
    currency: Mapped[str] = mapped_column(Exact(3))
    status: Mapped[RefundStatus]


class Dispute(WithId, WithChanges, CentralBase, scope=INFRA):
    """A buyer's objection at their bank. `movements` is balance transaction → money moved (withdrawn below zero).

    What is taken back follows from the movements alone (`withdrawn_cents`); `status` is the provider's word of
    `seen_at`, its moment in whole seconds.
    """

    __tablename__ = "disputes"

    purchase_id: Mapped[Id[Purchase]] = ref("purchases.id", index=True, on_parent_delete=DELETE)
    payment_id: Mapped[Id[Payment]] = ref("payments.id", index=True, on_parent_delete=DELETE)
    provider_dispute_id: Mapped[str] = mapped_column(Exact(255), unique=True)
    amount_cents: Mapped[int]
    currency: Mapped[str] = mapped_column(Exact(3))
    status: Mapped[str] = mapped_column(Exact(40))
    seen_at: Mapped[datetime]
    movements: Mapped[dict[str, int]] = mapped_column(default=dict)
    withdrawn_cents: Mapped[int] = mapped_column(default=0)


class PaymentEvent(WithId, CentralBase, scope=INFRA):
    """An event of the provider, stored once before anything is done with it.

    Id and `body_hash` (SHA-256, hex) are kept for ever, the body as it came until it is pruned (null). `occurred_at` is
    the provider's moment in whole seconds; `waits_for` names what a WAITING one misses (`purchase:1a`, `ch_…`).
    """

    __tablename__ = "payment_events"
    __table_args__ = (
        sa.Index(None, "state", "next_try_at", "id"),
        sa.Index(None, "waits_for"),
        sa.Index(None, "occurred_at"),
        sa.Index(None, "created_at"),
    )

    provider_event_id: Mapped[str] = mapped_column(Exact(255), unique=True)
    type: Mapped[str] = mapped_column(Exact(80))
    api_version: Mapped[str | None] = mapped_column(Exact(40))
    occurred_at: Mapped[datetime]
    body: Mapped[str | None] = mapped_column(Document())
    body_hash: Mapped[str] = mapped_column(Exact(64))
    state: Mapped[PaymentEventState] = mapped_column(default=PaymentEventState.STORED)
    tries: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime] = mapped_column(default=utc_now)
    waits_for: Mapped[str | None] = mapped_column(Exact(255))
    error: Mapped[str | None] = mapped_column(Line(500))
    processed_at: Mapped[datetime | None]


class Settlement(WithId, CentralBase, scope=INFRA):
    """Tokens that a tenant's wallet is to be given or to lose: written with what it follows from, carried out after.

    `ledger_key` makes it happen once: `purchase-credit:<purchase>`, `plan-credit:<invoice>`, else
    `settlement:<own id>` (ids in hexadecimal). `tokens` is signed.
    """

    __tablename__ = "settlements"
    __table_args__ = (
        sa.Index(None, "state", "next_try_at", "id"),
        sa.Index(None, "tenant_id", "state", "id"),
    )

    tenant_id: Mapped[TenantKey] = ref("tenants.id")
    user_id: Mapped[Id[User]] = soft_ref("users", on_parent_delete=NULL)
    purchase_id: Mapped[Id[Purchase]] = ref("purchases.id", index=True)
    payment_id: Mapped[Id[Payment]] = ref("payments.id", index=True)
    kind: Mapped[SettlementKind]
    tokens: Mapped[int]
    ledger_key: Mapped[str] = mapped_column(Exact(200), unique=True)
    state: Mapped[SettlementState] = mapped_column(default=SettlementState.DUE)
    reason: Mapped[ParkReason] = mapped_column(default=ParkReason.NONE)
    tries: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime] = mapped_column(default=utc_now)
    error: Mapped[str | None] = mapped_column(Line(500))
    settled_at: Mapped[datetime | None]
    resolution: Mapped[Resolution | None]
    resolved_by: Mapped[str | None] = mapped_column(Line(200))
    resolved_why: Mapped[str | None] = mapped_column(Line(500))
    resolved_at: Mapped[datetime | None]


class Deployment(CentralBase, scope=INFRA):
    """Which deployment this is: a random name, in one row, that the provider keeps as `metadata.deployment`."""

    __tablename__ = "deployments"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=1)
    name: Mapped[str] = mapped_column(Exact(32))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
