"""A tenant's tokens: the wallet and its ledger."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from db.tables.pool import wallet as tables
from execution.access import member
from execution.declare import Connection, Doc, node, to_many
from execution.scalars import BigInt


@node(tables.TokenTransaction, access=member)
class TokenTransaction:
    """One entry of the ledger, in tokens."""

    kind: tables.TokenTransactionKind
    amount: Annotated[int, Doc("signed change of the spendable balance")]
    balance_after: Annotated[BigInt, Doc("spendable balance after it")]
    note: Annotated[str | None, Doc("Why, where it needs words.")]
    created_at: datetime


@node(tables.TokenWallet, access=member)
class TokenWallet:
    """The tenant's one wallet, in tokens."""

    balance: Annotated[BigInt, Doc("spendable")]
    reserved: Annotated[BigInt, Doc("held by unfinished jobs")]
    debt: Annotated[BigInt, Doc("owed after refunds; the next tokens pay it")]
    transactions: Annotated[Connection[TokenTransaction], to_many("tenant_id"), Doc("Newest first.")]
