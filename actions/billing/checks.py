"""What must hold of money between central and the pools: for doctor, and for tests that kill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from actions.billing.counting import OPEN_EVENTS
from db.session import PoolSession, SystemSession
from db.tables.central.billing import (
    PaymentEvent,
    PaymentEventState,
    Purchase,
    Resolution,
    Settlement,
    SettlementKind,
    SettlementState,
)
from db.tables.pool.wallet import TokenTransaction, TokenTransactionKind
from db.zones import TenantId
from outside.stripe_api import Payments
from tenancy.checks import Finding, of_house, of_tenant
from tenancy.context import Context, House

LATE_SECONDS_MAX = 600
SHOWN_MAX = 10
LISTED_MAX = 3
WORKER = "is a worker running (atrium worker)? settlements.error says what failed"
BOUGHT = (TokenTransactionKind.PURCHASE, TokenTransactionKind.SUBSCRIPTION, TokenTransactionKind.REFUND)


@of_house("money settled")
async def money_is_settled(house: House) -> list[Finding]:
    """No wallet waits for what was paid, and what waits for a person is told with the command that ends it."""
    late, parked = await house.system().on_system(_unsettled)
    found = []
    if late.rows:
        oldest = late.rows[0]
        found.append(
            Finding(
                f"{late.count} settlements have been due for more than ten minutes, the oldest since "
                f"{oldest.created_at:%Y-%m-%d %H:%M} ({oldest.tenant_id}: {oldest.error or 'not tried'})",
                WORKER,
            )
        )
    for row in parked.rows:
        since = " (its refund was asked for, and has not gone out)" if row.resolution is Resolution.REFUND else ""
        found.append(
            Finding(
                f"{row.tenant_id}: {row.tokens} tokens of purchase {row.purchase_id:x} wait for a person "
                f"({row.reason.name.lower()}) since {row.created_at:%Y-%m-%d %H:%M}{since}",
                f"atrium payments resolve {row.id:x} --credit|--refund|--close REASON",
            )
        )
    if parked.count > len(parked.rows):
        more = f"{parked.count - len(parked.rows)} more settlements wait for a person"
        found.append(Finding(more, "decide about those above: the next are then shown"))
    return found


@dataclass(frozen=True, slots=True)
class _Some:
    """The oldest of some settlements, and how many there are of them."""

    rows: Sequence[Settlement]
    count: int


async def _unsettled(db: SystemSession, /) -> tuple[_Some, _Some]:
    before = db.now - timedelta(seconds=LATE_SECONDS_MAX)
    late = sa.and_(Settlement.state == SettlementState.DUE, Settlement.created_at < before)
    return await _some(db, late, 1), await _some(db, Settlement.state == SettlementState.PARKED, SHOWN_MAX)


async def _some(db: SystemSession, which: sa.ColumnElement[bool], shown: int, /) -> _Some:
    count = await db.first(sa.select(sa.func.count()).select_from(Settlement).where(which))
    return _Some(await db.all(sa.select(Settlement).where(which).order_by(Settlement.id).limit(shown)), int(count or 0))


@of_house("payment events processed")
async def events_are_processed(house: House) -> list[Finding]:
    """No stored event is left lying; how old the newest one is, and what waits, is told where a provider is set up."""
    if not house.service(Payments).is_set_up:
        return []
    now = house.sessions.clock.now()
    counts, newest = await house.system().on_system(_events)
    found = [
        Finding(f"{counts[state]} events of the provider are {state.name} for more than ten minutes", do)
        for state, do in (
            (PaymentEventState.STORED, "is a worker running (atrium worker)?"),
            (PaymentEventState.FAILED, "payment_events.error says why; atrium payments replay --failed"),
        )
        if counts.get(state)
    ]
    waiting = counts.get(PaymentEventState.WAITING)
    if waiting:
        do = "atrium payments reconcile asks the provider for what was missed"
        found.append(Finding(f"{waiting} events of the provider miss something that has not come", do, wrong=False))
    if newest is not None:
        hours = (now - newest).total_seconds() / 3_600
        do = "if that is too long ago: is the endpoint enabled at the provider? atrium payments reconcile"
        found.append(Finding(f"the newest event of the provider came {hours:.1f} hours ago", do, wrong=False))
    return found


async def _events(db: SystemSession, /) -> tuple[dict[PaymentEventState, int], datetime | None]:
    before = db.now - timedelta(seconds=LATE_SECONDS_MAX)
    late = sa.and_(PaymentEvent.state.in_(OPEN_EVENTS), PaymentEvent.created_at < before)
    rows = await db.tuples(sa.select(PaymentEvent.state, sa.func.count()).where(late).group_by(PaymentEvent.state))
    newest = await db.first(sa.select(PaymentEvent.created_at).order_by(PaymentEvent.created_at.desc()))
    return {state: int(count) for state, count in rows}, newest


@of_tenant("purchases in the wallet")
async def purchases_agree(ctx: Context) -> list[Finding]:
    """What central calls settled stands in the ledger, and the ledger has nothing bought that central does not know."""
    # Settled before posted is read, known after it: money that moves meanwhile is no finding.
    before, _ = await ctx.on_system(_settled, ctx.tenant_id)
    posted = await ctx.on_pool(_posted)
    known, uncredited = await ctx.on_system(_settled, ctx.tenant_id)
    lost = sorted(key for key, is_settled in before.items() if is_settled and key not in posted)
    found = []
    for what, keys in (
        ("settlements are marked settled and have no ledger entry", lost),
        ("ledger entries of purchases have no settlement", sorted(posted - set(known))),
        ("purchases were paid and nothing was written about their tokens", uncredited),
    ):
        if keys:
            shown = ", ".join(keys[:LISTED_MAX])
            found.append(Finding(f"{len(keys)} {what} ({shown})", "compare central and the pool with their backups"))
    return found


async def _posted(db: PoolSession, /) -> set[str]:
    entry = TokenTransaction
    return set(await db.all(sa.select(entry.idempotency_key).where(entry.kind.in_(BOUGHT))))


async def _settled(db: SystemSession, tenant: TenantId, /) -> tuple[dict[str, bool], list[str]]:
    """Ledger key → whether it is settled; and paid purchases that bring tokens and have no settlement of a credit."""
    rows = await db.tuples(
        sa.select(Settlement.ledger_key, Settlement.state, Settlement.tokens).where(Settlement.tenant_id == tenant)
    )
    known = {key: state is SettlementState.SETTLED and tokens != 0 for key, state, tokens in rows}
    written = sa.select(Settlement.purchase_id).where(
        Settlement.tenant_id == tenant, Settlement.kind == SettlementKind.CREDIT
    )
    paid = sa.and_(Purchase.tenant_id == tenant, Purchase.earned_by.is_not(None), Purchase.tokens > 0)
    left = await db.all(sa.select(Purchase.id).where(paid, Purchase.id.not_in(written)))
    return known, [f"{each:x}" for each in left]
