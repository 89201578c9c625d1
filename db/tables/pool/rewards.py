"""Tokens that a user has earned and may claim. What claiming does to the wallet is in the ledger."""

import enum
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from base.ids import Id
from db.columns import Exact
from db.tables.central.identity import User
from db.zones import DELETE, USER_PRIVATE, PoolBase, soft_ref


class RewardKind(enum.Enum):
    """What it was earned by."""

    SIGNUP = "SIGNUP"
    DAILY = "DAILY"
    FIRST_PUBLISH = "FIRST_PUBLISH"
    REFERRAL = "REFERRAL"


class Reward(PoolBase, scope=USER_PRIVATE, owner="user_id"):
    """A reward, claimable while `claimed_at` is null; one a user, kind and `period`.

    `period` is '' for what comes once, the UTC day (`2026-01-31`) of a daily one, and the other
    tenant's id of a referral.
    """

    __tablename__ = "rewards"
    __table_args__ = (
        sa.UniqueConstraint("tenant_id", "user_id", "kind", "period"),
        sa.Index(None, "tenant_id", "user_id", "id"),
    )

    user_id: Mapped[Id[User]] = soft_ref("users", on_parent_delete=DELETE)
    kind: Mapped[RewardKind]
    period: Mapped[str] = mapped_column(Exact(63), default="")
    tokens: Mapped[int]
    claimed_at: Mapped[datetime | None]
