"""Carries settlements from central into wallets: found by tenant, posted by key, then marked, each step repeatable.

1 central names what a tenant's wallet is owed; 2 one pool transaction posts it under the ledger keys, in order; 3
central marks it settled. A crash after 1 or 2 leaves it DUE: it is posted again, the ledger refuses the key, and it is
marked. The pool is looked up when the tokens are posted, so a tenant may move in between.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from actions import wallet
from actions.billing.told import PurchasePaid, PurchaseRefunded
from actions.wallet import Cause, Credit, WalletCredited
from base import errors, observe
from base.ids import Id, global_id
from db import outbox
from db.alike import even
from db.outbox import Event
from db.session import PoolSession, SystemSession
from db.tables.central.billing import (
    Dispute,
    ParkReason,
    Payment,
    Purchase,
    PurchaseKind,
    Settlement,
    SettlementKind,
    SettlementState,
)
from db.tables.central.identity import Tenant, User
from db.tables.pool.wallet import TokenTransactionKind
from db.zones import TenantId, TenantState
from tenancy.context import House
from tenancy.handlers import every

SETTLE_SECONDS = 2
SIDE_BY_SIDE_MAX = 8
OWED_MAX = 50
OWED_A_READ_MAX = 500
TENANTS_MAX = 200
TENANTS_A_ROUND = 100
BACKOFF_SECONDS = 2
BACKOFF_SECONDS_MAX = 300
ERROR_CHARACTERS_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """A settlement as the wallet needs it; `tokens` signed, money in minor units."""

    id: Id[Settlement]
    kind: SettlementKind
    tokens: int
    ledger_key: str
    user_id: Id[User]
    purchase_id: Id[Purchase]
    purchase_kind: PurchaseKind
    amount_cents: int
    refunded_cents: int
    currency: str


@dataclass(frozen=True, slots=True)
class Due:
    """What one tenant's wallet is owed, oldest first, and the events of it that nobody would hear."""

    owed: list[Owed]
    unheard: frozenset[type[Event]]


@every(SETTLE_SECONDS, "settlements")
async def settle_due(house: House) -> int:
    """Post what is due of every tenant; how many settlements were settled."""
    return await _settle_all(house, ahead=timedelta(0))


async def settle_everything(house: House, /) -> int:
    """Post all that is owed, also what waits for a later try."""
    return await _settle_all(house, ahead=timedelta(days=365))


async def settle(house: House, tenants: Iterable[TenantId], /, *, side_by_side: int = SIDE_BY_SIDE_MAX) -> int:
    """Post what these tenants' wallets are owed; how many settlements were settled. What fails is tried again later.

    A tenant is in one round of this process at a time: whoever comes second waits for it, and posts what is left.
    `side_by_side` wallets are posted to at once.
    """
    busy = house.services.setdefault(_Busy, _Busy())
    left, done = set(tenants), 0
    while left:
        free = sorted(left - busy.keys())[:TENANTS_A_ROUND]
        if not free:
            await asyncio.wait({busy[each] for each in left}, return_when=asyncio.FIRST_COMPLETED)
            continue
        ended = asyncio.get_running_loop().create_future()
        busy |= dict.fromkeys(free, ended)
        try:
            done += await _round(house, free, side_by_side=side_by_side)
        finally:
            for each in free:
                del busy[each]
            ended.set_result(None)
        left -= set(free)
    return done


class _Busy(dict[TenantId, "asyncio.Future[None]"]):
    """The tenants whose wallets are being posted to by this process, and when each round ends."""


async def _round(house: House, tenants: Sequence[TenantId], *, side_by_side: int) -> int:
    turn, due = asyncio.Semaphore(side_by_side), await _read_due(house, tenants)

    async def one(tenant: TenantId) -> bool:
        async with turn:
            return await _post(house, tenant, due[tenant])

    posted = dict(zip(due, await asyncio.gather(*map(one, due)), strict=True))
    owed = [(tenant, each) for tenant, is_posted in posted.items() if is_posted for each in due[tenant].owed]
    # The central step is shared: up to fifty settlements of any tenants in one transaction.
    return sum([await _mark(house, owed[start : start + OWED_MAX]) for start in range(0, len(owed), OWED_MAX)])


async def _read_due(house: House, tenants: Sequence[TenantId]) -> dict[TenantId, Due]:
    """What each of these tenants is owed, those who are owed nothing left out."""
    found: dict[TenantId, Due] = {}
    left = list(tenants)
    while left:
        some, seen = await house.system().on_system(_due, left)
        found |= some
        left = [tenant for tenant in left if seen is not None and tenant > seen]
    return found


async def _settle_all(house: House, *, ahead: timedelta) -> int:
    done, after = 0, TenantId("")
    while tenants := await house.system().on_system(_tenants, after, ahead=ahead):
        left = set(tenants)
        while left:
            settled = await settle(house, left)
            done += settled
            # A tenant who is owed more than one transaction's worth is owed it now.
            left = set(await house.system().on_system(_tenants, after, ahead=ahead)) & left if settled else set()
        after = tenants[-1]
    return done


async def _tenants(db: SystemSession, after: TenantId, /, *, ahead: timedelta) -> Sequence[TenantId]:
    due = sa.and_(Settlement.state == SettlementState.DUE, Settlement.next_try_at <= db.now + ahead)
    return await db.all(
        sa.select(Settlement.tenant_id)
        .where(due, Settlement.tenant_id > after)
        .distinct()
        .order_by(Settlement.tenant_id)
        .limit(TENANTS_MAX)
    )


async def _post(house: House, tenant: TenantId, due: Due) -> bool:
    """Step 2 for one tenant; whether it was posted. A failure puts all of it off."""
    try:
        await (await house.system_of(tenant)).on_pool(_apply, due)
    except Exception as error:
        known = isinstance(error, errors.AtriumError)
        observe.note(
            observe.Event.SETTLEMENT_FAILED, failure=None if known else error, tenant=tenant, error=repr(error)
        )
        await house.system().on_system(_postpone, [each.id for each in due.owed], repr(error))
        return False
    return True


async def _due(db: SystemSession, tenants: Sequence[TenantId], /) -> tuple[dict[TenantId, Due], TenantId | None]:
    """Step 1: the oldest of what these tenants are owed, and the last tenant that was reached where not all were.

    Of one that is erased it is nothing, and what was due is parked.
    """
    rows = await db.tuples(_owed_to(tenants))
    owing = list(dict.fromkeys(row.tenant_id for row in rows))
    there = {row.tenant_id for row in rows if row.state is not TenantState.ERASED}
    for tenant in owing:
        if tenant not in there:
            await park_erased(db, tenant)
    unheard = await outbox.unheard(db, even(owing), (WalletCredited, PurchasePaid, PurchaseRefunded)) if owing else {}
    due = {tenant: Due([], unheard[tenant]) for tenant in owing if tenant in there}
    for tenant, _, *values in rows:
        if tenant in due and len(due[tenant].owed) < OWED_MAX:
            due[tenant].owed.append(Owed(**dict(zip(_OWED, values, strict=True))))
    return due, owing[-1] if len(rows) == OWED_A_READ_MAX else None


# All that went back of a payment: refunds, and what disputes have withdrawn now. Nothing looks it up for a credit.
_WITHDRAWN = (
    sa.select(sa.func.coalesce(sa.func.sum(Dispute.withdrawn_cents), 0))
    .where(Dispute.payment_id == Payment.id)
    .scalar_subquery()
)
_GONE = Payment.refunded_cents + sa.cast(_WITHDRAWN, sa.BigInteger())
_OWED = {
    "id": Settlement.id,
    "kind": Settlement.kind,
    "tokens": Settlement.tokens,
    "ledger_key": Settlement.ledger_key,
    "user_id": Settlement.user_id,
    "purchase_id": Settlement.purchase_id,
    "purchase_kind": Purchase.kind,
    "amount_cents": Payment.amount_cents,
    "refunded_cents": sa.case(
        (Settlement.kind == SettlementKind.CREDIT, 0),
        (Payment.amount_cents < _GONE, Payment.amount_cents),
        else_=_GONE,
    ),
    "currency": Payment.currency,
}


def _owed_to(tenants: Sequence[TenantId]) -> sa.Select[*tuple[Any, ...]]:
    several = even(tenants)
    mine = (
        Settlement.tenant_id.in_(several),
        Settlement.state == SettlementState.DUE,
        Purchase.tenant_id.in_(several),
        Payment.tenant_id.in_(several),
    )
    return (
        sa.select(Settlement.tenant_id, Tenant.state, *_OWED.values())
        .join(Tenant, Tenant.id == Settlement.tenant_id)
        .join(Purchase, Purchase.id == Settlement.purchase_id)
        .join(Payment, Payment.id == Settlement.payment_id)
        .where(*mine)
        .order_by(Settlement.tenant_id, Settlement.id)
        .limit(OWED_A_READ_MAX)
    )


async def park_erased(db: SystemSession, tenant: TenantId, /) -> None:
    """Of a tenant that is gone: credits wait for a person, who gives the money back; nothing is left to be taken."""
    mine = sa.and_(Settlement.tenant_id == tenant, Settlement.state == SettlementState.DUE)
    some = sa.select(Settlement.purchase_id).where(mine).distinct().order_by(Settlement.purchase_id)
    while owing := await db.all(some.limit(OWED_A_READ_MAX)):
        # Under their purchases' locks: a refund that is processed meanwhile would write back what was earned.
        ours = sa.and_(Purchase.tenant_id == tenant, Purchase.id.in_(even(owing)))
        await db.all(sa.select(Purchase.id).where(ours).order_by(Purchase.id).with_for_update())
        await _park(db, tenant, sa.and_(mine, Settlement.purchase_id.in_(even(owing))))


async def _park(db: SystemSession, tenant: TenantId, due: sa.ColumnElement[bool]) -> None:
    credits = await db.all(sa.select(Settlement.payment_id).where(due, Settlement.kind == SettlementKind.CREDIT))
    await db.change(
        sa.update(Settlement)
        .where(due, Settlement.kind == SettlementKind.CREDIT)
        .values(state=SettlementState.PARKED, reason=ParkReason.ERASED)
    )
    await db.change(
        sa.update(Settlement)
        .where(due)
        .values(
            state=SettlementState.CLOSED, resolved_by="atrium", resolved_why="the tenant is erased", resolved_at=db.now
        )
    )
    if credits:
        await db.change(
            sa.update(Payment)
            .where(Payment.tenant_id == tenant, Payment.id.in_(even(credits)))
            .values(tokens_earned=0, clawed_target=0)
        )


# ------------------------------------------------------------------------------------------- in the pool


async def _apply(db: PoolSession, due: Due, /) -> None:
    """Post each under its key, in order; what is posted already is passed over."""
    db.unheard = due.unheard
    # Only what is taken back depends on the balance before it: what comes in between is posted together.
    for comes_in, some in itertools.groupby(due.owed, key=lambda each: each.tokens > 0):
        if comes_in:
            await _give(db, list(some))
        else:
            for each in some:
                await _take(db, each)


async def _give(db: PoolSession, owed: Sequence[Owed]) -> None:
    posted = await wallet.credit_all(
        db, [Credit(kind=_kind(each), amount=each.tokens, cause=_cause(each)) for each in owed]
    )
    for each in owed:
        if each.kind is SettlementKind.CREDIT and each.ledger_key in posted:
            db.emit(
                PurchasePaid(
                    purchase_id=each.purchase_id,
                    kind=each.purchase_kind.name,
                    tokens=each.tokens,
                    amount_cents=each.amount_cents,
                    currency=each.currency,
                )
            )


async def _take(db: PoolSession, owed: Owed) -> None:
    if owed.tokens < 0 and await wallet.claw_back(db, -owed.tokens, cause=_cause(owed)):
        db.emit(
            PurchaseRefunded(
                purchase_id=owed.purchase_id,
                tokens=-owed.tokens,
                refunded_cents=owed.refunded_cents,
                currency=owed.currency,
            )
        )


def _kind(owed: Owed) -> TokenTransactionKind:
    if owed.kind is not SettlementKind.CREDIT:
        return TokenTransactionKind.REFUND
    is_plan = owed.purchase_kind is PurchaseKind.PLAN
    return TokenTransactionKind.SUBSCRIPTION if is_plan else TokenTransactionKind.PURCHASE


def _cause(owed: Owed) -> Cause:
    return Cause(key=owed.ledger_key, user_id=owed.user_id, note=_note(owed))


def _note(owed: Owed) -> str:
    # Whoever reads it knows the purchase by the id that the API gives.
    purchase = f"purchase {global_id('Purchase', owed.purchase_id)}"
    if owed.kind is SettlementKind.CREDIT:
        return purchase
    what = "returned after a refund or dispute of" if owed.tokens > 0 else "taken back after a refund or dispute of"
    return f"{what} {purchase}"


# ------------------------------------------------------------------------------------------- afterwards


async def _mark(house: House, posted: Sequence[tuple[TenantId, Owed]], /) -> int:
    """Step 3, for all of them, and for each by itself where that fails; how many are marked. What fails alone is put
    off, so that it keeps nobody else's from being settled.
    """
    system, tenants = house.system(), {tenant for tenant, _ in posted}
    try:
        await system.on_system(_settled, posted)
    except errors.CentralUnavailable:
        raise
    except Exception as error:
        if len(posted) > 1:
            return sum([await _mark(house, [each]) for each in posted])
        observe.note(observe.Event.SETTLEMENT_FAILED, failure=error, tenant=posted[0][0], error=repr(error))
        await system.on_system(_postpone, [posted[0][1].id], repr(error))
        return 0
    observe.note(observe.Event.SETTLED, settlements=len(posted), tenants=len(tenants))
    return len(posted)


async def _settled(db: SystemSession, posted: Sequence[tuple[TenantId, Owed]], /) -> None:
    await db.change(
        sa.update(Settlement)
        .where(Settlement.id.in_(even(each.id for _, each in posted)), Settlement.state == SettlementState.DUE)
        .values(state=SettlementState.SETTLED, settled_at=db.now, error=None, tries=Settlement.tries + 1)
    )
    credited = {each.purchase_id: tenant for tenant, each in posted if each.kind is SettlementKind.CREDIT}
    if credited:
        await db.change(
            sa.update(Purchase)
            .where(
                Purchase.tenant_id.in_(even(sorted(set(credited.values())))), Purchase.id.in_(even(sorted(credited)))
            )
            .values(tokens_credited=True)
        )


async def _postpone(db: SystemSession, ids: Sequence[Id[Settlement]], error: str, /) -> None:
    rows = await db.all(
        sa.select(Settlement).where(Settlement.id.in_(ids), Settlement.state == SettlementState.DUE).with_for_update()
    )
    for row in rows:
        seconds = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS * 2 ** min(row.tries, 10))
        row.tries += 1
        row.next_try_at = db.now + timedelta(seconds=seconds)
        row.error = error[:ERROR_CHARACTERS_MAX]
