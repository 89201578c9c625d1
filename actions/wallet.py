"""The ledger: the only writer of a tenant's wallet and token transactions.

Every entry is idempotent by its key and checked against the one before it, in the
transaction that writes it. No balance goes below zero: what is taken back beyond it
becomes a debt, and every positive amount pays the debt first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

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
    wallet = await _locked(db)
    keys = [each.cause.key for each in entries]
    known = set(
        await db.all(sa.select(TokenTransaction.idempotency_key).where(TokenTransaction.idempotency_key.in_(keys)))
    )
    balances: dict[str, int] = {}
    for each in entries:
        key = each.cause.key
        if key in known or key in balances:
            continue
        if wallet.balance + each.change.amount < 0:
            raise errors.InsufficientTokens(
                f"This needs {-each.change.amount} tokens; the wallet has {wallet.balance}."
            )
        if not balances:
            await _check_chain(db, wallet)
        _write(db, wallet, kind=each.kind, change=each.change, cause=each.cause)
        _pay_debt(db, wallet, each)
        balances[key] = wallet.balance
    if not balances:
        return {}
    try:
        await db.flush()
    except sa.exc.IntegrityError as error:
        # On an engine whose locks are one node's own, the unique sequence is the compare-and-set.
        raise faults.RunAgain from error
    db.tell("wallet", db.tenant)
    return balances


def _pay_debt(db: PoolSession, wallet: TokenWallet, entry: _Entry) -> None:
    """Every positive amount pays the debt first, in an entry of its own."""
    pays = min(wallet.debt, wallet.balance) if entry.change.amount > 0 else 0
    if pays:
        cause = Cause(key=f"{entry.cause.key}:debt", user_id=entry.cause.user_id, note="pays the debt left by a refund")
        _write(db, wallet, kind=TokenTransactionKind.ADJUSTMENT, change=_Change(-pays, debt=-pays), cause=cause)


async def _locked(db: PoolSession) -> TokenWallet:
    # populate_existing: a wallet read earlier in this transaction may be older than the lock.
    await db.flush()
    wallet = await db.first(sa.select(TokenWallet).with_for_update().execution_options(populate_existing=True))
    if wallet is None:
        raise LedgerBroken(f"tenant {db.tenant} has no wallet")
    return wallet


async def _check_chain(db: PoolSession, wallet: TokenWallet) -> None:
    entry = TokenTransaction
    after = sa.select(entry.balance_after, entry.reserved_after, entry.debt_after)
    last = await db.tuples(after.where(entry.sequence == wallet.sequence))
    found = tuple(last[0]) if last else (0, 0, 0)
    if found != (wallet.balance, wallet.reserved, wallet.debt) or bool(last) != (wallet.sequence > 0):
        raise LedgerBroken(f"tenant {db.tenant}: the wallet is not what ledger entry {wallet.sequence} left")


def _write(db: PoolSession, wallet: TokenWallet, *, kind: TokenTransactionKind, change: _Change, cause: Cause) -> None:
    wallet.balance += change.amount
    wallet.reserved += change.reserved
    wallet.debt += change.debt
    wallet.sequence += 1
    if min(wallet.balance, wallet.reserved, wallet.debt) < 0:
        raise LedgerBroken(f"tenant {db.tenant}: {kind.name} {cause.key} would leave a value below zero")
    db.add(
        TokenTransaction(
            user_id=cause.user_id,
            kind=kind,
            amount=change.amount,
            reserved_change=change.reserved,
            debt_change=change.debt,
            balance_after=wallet.balance,
            reserved_after=wallet.reserved,
            debt_after=wallet.debt,
            ai_job_id=cause.ai_job_id,
            note=cause.note,
            sequence=wallet.sequence,
            idempotency_key=cause.key,
        )
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
