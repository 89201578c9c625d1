"""Tokens that a user has earned and may claim."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from typing import Annotated

from db.tables.pool import rewards as tables
from execution.access import member
from execution.declare import Doc, node, payload
from schema.payloads import UserError, UserErrors
from schema.wallet import TokenWallet


@node(tables.Reward, access=member)
class Reward:
    """A reward of the caller; claimable while claimedAt is null."""

    kind: tables.RewardKind
    tokens: Annotated[int, Doc("Tokens it brings, e.g. 5.")]
    claimed_at: datetime | None
    created_at: datetime


@payload
class RewardPayload:
    """The reward and what is in the wallet now."""

    reward: Reward | None = None
    wallet: TokenWallet | None = None
    user_errors: UserErrors = field(default_factory=list[UserError])
