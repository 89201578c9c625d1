"""A tenant's tokens: the wallet and the ledger it is the sum of. Written by `actions/wallet.py` alone."""

import enum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from base.ids import Id
from db.columns import Exact, Line
from db.tables.central.identity import User
from db.zones import NULL, TENANT, PoolBase, WithChanges, soft_ref


class TokenTransactionKind(enum.Enum):
    """Why tokens moved."""

    PURCHASE = "PURCHASE"
    SUBSCRIPTION = "SUBSCRIPTION"
    REWARD = "REWARD"
    RESERVE = "RESERVE"
    CONSUME = "CONSUME"
    RELEASE = "RELEASE"
    REFUND = "REFUND"
    ADJUSTMENT = "ADJUSTMENT"


class TokenWallet(WithChanges, PoolBase, scope=TENANT):
    """A tenant's one wallet, in tokens: spendable, held by unfinished jobs, and owed after refunds.

    `sequence` is the newest ledger entry's, so that each entry is checked against the one before it. `is_heard` is set
    before an endpoint of the tenant is told anything; without it central alone knows whether there is one.
    """

    __tablename__ = "token_wallets"
    __table_args__ = (sa.UniqueConstraint("tenant_id"),)

    balance: Mapped[int] = mapped_column(default=0)
    reserved: Mapped[int] = mapped_column(default=0)
    debt: Mapped[int] = mapped_column(default=0)
    sequence: Mapped[int] = mapped_column(default=0)
    is_heard: Mapped[bool | None]


class TokenTransaction(PoolBase, scope=TENANT):
    """One ledger entry, in tokens: three signed changes and the three values after it. Append-only.

    `user_id` is who caused it. `ai_job_id` has no foreign key: jobs are the younger area.
    """

    __tablename__ = "token_transactions"
    __table_args__ = (
        sa.UniqueConstraint("tenant_id", "idempotency_key"),
        sa.UniqueConstraint("tenant_id", "sequence"),
        sa.Index(None, "tenant_id", "ai_job_id", "id"),
    )

    user_id: Mapped[Id[User] | None] = soft_ref("users", on_parent_delete=NULL)
    kind: Mapped[TokenTransactionKind]
    amount: Mapped[int]
    reserved_change: Mapped[int] = mapped_column(default=0)
    debt_change: Mapped[int] = mapped_column(default=0)
    balance_after: Mapped[int]
    reserved_after: Mapped[int]
    debt_after: Mapped[int]
    ai_job_id: Mapped[Id[Any] | None] = soft_ref("ai_jobs", on_parent_delete=NULL)
    note: Mapped[str | None] = mapped_column(Line(500))
    sequence: Mapped[int]
    idempotency_key: Mapped[str] = mapped_column(Exact(200))
