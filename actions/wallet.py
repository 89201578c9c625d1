"""The ledger: the only writer of a tenant's wallet and token transactions.

Every entry is idempotent by its key and checked against the one before it, in the
transaction that writes it. No balance goes below zero: what is taken back beyond it
becomes a debt, and every positive amount pays the debt first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import sqlalchemy as sa

from actions.identity import founding
from base import errors
from base.ids import Id
from db import faults
from db.outbox import Event
from db.session import PoolSession
from db.tables.central.identity import User
from db.tables.pool.wallet import TokenTransaction, TokenTransactionKind, TokenWallet
from tenancy.checks import Finding, of_tenant
from tenancy.context import Context

TOKENS_MAX = 10**15


class LedgerBroken(Exception):
    """The wallet does not equal the sum of its ledger: nothing more is written until a person has looked."""


@dataclass(frozen=True, kw_only=True)
class WalletCredited(Event):
    """Tokens came in: `kind` is a TokenTransactionKind by name, `balance` what is spendable after debts were paid."""

    type: ClassVar[str] = "wallet.credited"

    kind: str
    amount: int
    balance: int
    note: str | None

    @property
    def aggregate(self) -> str:
        """The tenant's one wallet."""
        return "wallet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why an entry is written: its key within the tenant, who caused it, for which job."""

    key: str
    user_id: Id[Any] | None = None
    ai_job_id: Id[Any] | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """Tokens that come in; `amount` is above zero."""

    kind: TokenTransactionKind
    amount: int
    cause: Cause


@dataclass(frozen=True, slots=True)
class _Change:
    amount: int
    reserved: int = 0
    debt: int = 0


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: TokenTransactionKind
    change: _Change
    cause: Cause


@founding.founds
async def open_wallet(db: PoolSession, _user_id: Id[User], /) -> None:
    """Give a new tenant its one wallet; safe to run again."""
    if await db.first(sa.select(TokenWallet.id)) is None:
        await db.insert_once(TokenWallet(balance=0, reserved=0, debt=0, sequence=0))


async def listen(db: PoolSession, /) -> None:
    """From this commit on all that is posted is told, whatever its writer found out before: whoever posts has gone by.

    What will be told may not be there yet: who is told is asked anew when the event is delivered.
    """
    # Not a change of the wallet that people would see.
    await db.change(sa.update(TokenWallet).values(is_heard=True, updated_at=TokenWallet.updated_at))


async def credit(db: PoolSession, kind: TokenTransactionKind, amount: int, /, *, cause: Cause) -> bool:
    """Add spendable tokens, the debt being paid first. False where the key has been credited already."""
    return bool(await credit_all(db, [Credit(kind=kind, amount=amount, cause=cause)]))


async def credit_all(db: PoolSession, credits: Sequence[Credit], /) -> set[str]:
    """Add spendable tokens of several causes, in order, the debt being paid first; the keys that were not known."""
    if not all(0 < each.amount <= TOKENS_MAX for each in credits):
        raise errors.Invalid(f"An amount of tokens must be from 1 to {TOKENS_MAX:,}.")
    balances = await _post_all(db, [_Entry(each.kind, _Change(each.amount), each.cause) for each in credits])
    for each in credits:
        balance = balances.get(each.cause.key)
        if balance is not None:
            db.emit(WalletCredited(kind=each.kind.name, amount=each.amount, balance=balance, note=each.cause.note))
    return set(balances)


async def reserve(db: PoolSession, amount: int, /, *, cause: Cause) -> bool:
    """Hold tokens for a job. Raises InsufficientTokens; False where the key is known already."""
    return await _post(db, TokenTransactionKind.RESERVE, _Change(-amount, reserved=amount), cause)


async def consume(db: PoolSession, amount: int, /, *, cause: Cause) -> bool:
    """The job succeeded: what was held for it is gone."""
    return await _post(db, TokenTransactionKind.CONSUME, _Change(0, reserved=-amount), cause)


async def release(db: PoolSession, amount: int, /, *, cause: Cause) -> bool:
    """The job failed or was canceled: what was held is spendable again, the debt being paid first."""
    return await _post(db, TokenTransactionKind.RELEASE, _Change(amount, reserved=-amount), cause)


async def claw_back(db: PoolSession, amount: int, /, *, cause: Cause) -> bool:
    """Take tokens back after a refund: from the balance as far as it goes, the rest is a debt."""
    wallet = await _locked(db)
    taken = min(wallet.balance, amount)
    return await _post(db, TokenTransactionKind.REFUND, _Change(-taken, debt=amount - taken), cause)


async def _post(db: PoolSession, kind: TokenTransactionKind, change: _Change, cause: Cause, /) -> bool:
    """Write one entry; False where the key is known already."""
    return bool(await _post_all(db, [_Entry(kind, change, cause)]))


async def _post_all(db: PoolSession, entries: Sequence[_Entry], /) -> dict[str, int]:
    """Write entries in order; key → balance after it, of those whose key was not known."""
    purse = await _locked(db)
    known, is_whole = await _known(db, purse, [each.cause.key for each in entries])
    balances: dict[str, int] = {}
    for each in entries:
        key = each.cause.key
        if key in known or key in balances:
            continue
        if purse.balance + each.change.amount < 0:
            raise errors.InsufficientTokens(f"This needs {-each.change.amount} tokens; the wallet has {purse.balance}.")
        if not is_whole:
            raise LedgerBroken(f"tenant {db.tenant}: the wallet is not what ledger entry {purse.sequence} left")
        _write(db, purse, kind=each.kind, change=each.change, cause=each.cause)
        _pay_debt(db, purse, each)
        balances[key] = purse.balance
    if balances:
        await _send(db, purse)
        db.tell("wallet", db.tenant)
    return balances


def _pay_debt(db: PoolSession, purse: _Purse, entry: _Entry) -> None:
    """Every positive amount pays the debt first, in an entry of its own."""
    pays = min(purse.debt, purse.balance) if entry.change.amount > 0 else 0
    if pays:
        cause = Cause(key=f"{entry.cause.key}:debt", user_id=entry.cause.user_id, note="pays the debt left by a refund")
        _write(db, purse, kind=TokenTransactionKind.ADJUSTMENT, change=_Change(-pays, debt=-pays), cause=cause)


# ------------------------------------------------------------------------------------------- what is sent
# Made once: a credit is a handful of statements, and drawing each up anew would cost more than running it.

_WALLETS = cast("sa.Table", TokenWallet.__table__).c
_ENTRIES = cast("sa.Table", TokenTransaction.__table__).c
_MINE = sa.bindparam("tenant", type_=_WALLETS.tenant_id.type)
_AFTER = (_ENTRIES.sequence, _ENTRIES.balance_after, _ENTRIES.reserved_after, _ENTRIES.debt_after)
_LOCKED = (
    sa.select(_WALLETS.balance, _WALLETS.reserved, _WALLETS.debt, _WALLETS.sequence, _WALLETS.is_heard)
    .where(_WALLETS.tenant_id == _MINE)
    .with_for_update()
)
_KNOWN = sa.union_all(
    sa.select(_ENTRIES.idempotency_key, *_AFTER).where(
        _ENTRIES.tenant_id == _MINE, _ENTRIES.idempotency_key.in_(sa.bindparam("keys", expanding=True))
    ),
    sa.select(_ENTRIES.idempotency_key, *_AFTER).where(
        _ENTRIES.tenant_id == _MINE, _ENTRIES.sequence == sa.bindparam("newest")
    ),
)
_POST = sa.insert(cast("sa.Table", TokenTransaction.__table__))
_HOLD = sa.update(cast("sa.Table", TokenWallet.__table__)).where(
    _WALLETS.tenant_id == _MINE, _WALLETS.sequence == sa.bindparam("before")
)


@dataclass(slots=True)
class _Purse:
    """The wallet as it was locked, moved on by what is to be written; `rows` are the entries for it."""

    balance: int
    reserved: int
    debt: int
    sequence: int
    before: int
    rows: list[dict[str, Any]] = field(default_factory=list)


async def _locked(db: PoolSession) -> _Purse:
    await db.flush()
    for balance, reserved, debt, sequence, is_heard in await db.read(_LOCKED, {"tenant": db.tenant}):
        if is_heard:
            db.unheard = ()  # somebody may have begun to listen since central was asked
        return _Purse(balance, reserved, debt, sequence, sequence)
    raise LedgerBroken(f"tenant {db.tenant} has no wallet")


async def _known(db: PoolSession, purse: _Purse, keys: Sequence[str]) -> tuple[set[str], bool]:
    """Those of the keys that the ledger has, and whether the wallet is what its newest entry left."""
    wanted = set(keys)
    found = await db.read(_KNOWN, {"tenant": db.tenant, "keys": sorted(wanted), "newest": purse.sequence})
    left = {tuple(after) for _, sequence, *after in found if sequence == purse.sequence}
    stands = (purse.balance, purse.reserved, purse.debt)
    is_whole = left == {stands} if purse.sequence > 0 else not left and stands == (0, 0, 0)
    return {key for key, *_ in found if key in wanted}, is_whole


async def _send(db: PoolSession, purse: _Purse) -> None:
    try:
        await db.write(_POST, purse.rows)
    except sa.exc.IntegrityError as error:
        # On an engine whose locks are one node's own, the unique sequence is the compare-and-set.
        raise faults.RunAgain from error
    held = {"balance": purse.balance, "reserved": purse.reserved, "debt": purse.debt, "sequence": purse.sequence}
    if await db.write(_HOLD, {"tenant": db.tenant, "before": purse.before, **held}) != 1:
        raise faults.RunAgain


def _write(db: PoolSession, purse: _Purse, *, kind: TokenTransactionKind, change: _Change, cause: Cause) -> None:
    purse.balance += change.amount
    purse.reserved += change.reserved
    purse.debt += change.debt
    purse.sequence += 1
    if min(purse.balance, purse.reserved, purse.debt) < 0:
        raise LedgerBroken(f"tenant {db.tenant}: {kind.name} {cause.key} would leave a value below zero")
    purse.rows.append(
        {
            "tenant_id": db.tenant,
            "id": db.new_id(),
            "created_at": db.now,
            "user_id": cause.user_id,
            "kind": kind,
            "amount": change.amount,
            "reserved_change": change.reserved,
            "debt_change": change.debt,
            "balance_after": purse.balance,
            "reserved_after": purse.reserved,
            "debt_after": purse.debt,
            "ai_job_id": cause.ai_job_id,
            "note": cause.note,
            "sequence": purse.sequence,
            "idempotency_key": cause.key,
        }
    )


@of_tenant("ledger")
async def ledger_holds(ctx: Context) -> list[Finding]:
    """The wallet is the sum of its ledger."""
    wrong = await ctx.on_pool(broken)
    do = "nothing more is booked for this tenant until a person has looked: compare token_transactions with a backup"
    return [] if wrong is None else [Finding(wrong, do)]


async def broken(db: PoolSession, /) -> str | None:
    """What is wrong between this tenant's wallet and its ledger, or None: sums are compared in full (doctor)."""
    wallet = await db.first(sa.select(TokenWallet))
    if wallet is None:
        return "there is no wallet"
    entry = TokenTransaction
    sums = await db.tuples(
        sa.select(
            sa.func.sum(entry.amount),
            sa.func.sum(entry.reserved_change),
            sa.func.sum(entry.debt_change),
            sa.func.count(),
        )
    )
    balance, reserved, debt, count = (int(value or 0) for value in sums[0])
    if (balance, reserved, debt) != (wallet.balance, wallet.reserved, wallet.debt):
        return (
            f"the wallet says {wallet.balance}/{wallet.reserved}/{wallet.debt} (balance/reserved/debt), "
            f"its ledger sums to {balance}/{reserved}/{debt}"
        )
    return None if count == wallet.sequence else f"the ledger has {count} entries, the wallet counts {wallet.sequence}"
