"""What must hold of money between central and the pools: for doctor, for `/metrics`, and for tests that kill."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from base import observe
from db.session import PoolSession, SystemSession
from db.tables.central.billing import (
    PaymentEvent,
    PaymentEventState,
    Purchase,
    Settlement,
    SettlementKind,
    SettlementState,
)
from db.tables.pool.wallet import TokenTransaction, TokenTransactionKind
from db.zones import TenantId
from outside.stripe_api import Payments
from tenancy.checks import Finding, of_house, of_tenant
from tenancy.context import Context, House
from tenancy.handlers import every

COUNT_SECONDS = 15
LATE_SECONDS_MAX = 600
SHOWN_MAX = 10
LISTED_MAX = 3
OPEN_EVENTS = (PaymentEventState.STORED, PaymentEventState.WAITING, PaymentEventState.FAILED)
OPEN_SETTLEMENTS = (SettlementState.DUE, SettlementState.PARKED)
WORKER = "is a worker running (atrium worker)? settlements.error says what failed"
BOUGHT = (TokenTransactionKind.PURCHASE, TokenTransactionKind.SUBSCRIPTION, TokenTransactionKind.REFUND)


@of_house("money settled")
async def money_is_settled(house: House) -> list[Finding]:
    """No wallet waits for what was paid, and what waits for a person is told with the command that ends it."""
    late, parked = await house.system().on_system(_unsettled)
    found = []
    if late:
        oldest = late[0]
        found.append(
            Finding(
                f"{len(late)} settlements have been due for more than ten minutes, the oldest since "
                f"{oldest.created_at:%Y-%m-%d %H:%M} ({oldest.tenant_id}: {oldest.error or 'not tried'})",
                WORKER,
            )
        )
    return found + [
        Finding(
            f"{row.tenant_id}: {row.tokens} tokens of purchase {row.purchase_id:x} wait for a person "
            f"({row.reason.name.lower()}) since {row.created_at:%Y-%m-%d %H:%M}",
            f"atrium payments resolve {row.id:x} --credit|--refund|--close REASON",
        )
        for row in parked
    ]


async def _unsettled(db: SystemSession, /) -> tuple[Sequence[Settlement], Sequence[Settlement]]:
    before = db.now - timedelta(seconds=LATE_SECONDS_MAX)
    rows = sa.select(Settlement).order_by(Settlement.id)
    due = rows.where(Settlement.state == SettlementState.DUE, Settlement.created_at < before).limit(1_000)
    parked = rows.where(Settlement.state == SettlementState.PARKED).limit(SHOWN_MAX)
    return await db.all(due), await db.all(parked)


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


@every(COUNT_SECONDS, "money_counts")
async def count_money(house: House) -> None:
    """Tell `/metrics` what is not at its end."""
    counts, oldest = await house.system().on_system(_open)
    for table, states in (("payment_events", OPEN_EVENTS), ("settlements", OPEN_SETTLEMENTS)):
        for state in states:
            observe.MONEY.labels(table, state.name).set(counts.get((table, state.name), 0))
    observe.UNSETTLED_SECONDS.set(oldest)


async def _open(db: SystemSession, /) -> tuple[dict[tuple[str, str], int], float]:
    counts: dict[tuple[str, str], int] = {}
    for table, states in ((PaymentEvent, OPEN_EVENTS), (Settlement, OPEN_SETTLEMENTS)):
        rows = await db.tuples(
            sa.select(table.state, sa.func.count()).where(table.state.in_(states)).group_by(table.state)
        )
        counts |= {(table.__tablename__, state.name): int(count) for state, count in rows}
    due = sa.select(Settlement.created_at).where(Settlement.state == SettlementState.DUE)
    first = await db.first(due.order_by(Settlement.next_try_at, Settlement.id))
    return counts, 0.0 if first is None else (db.now - first).total_seconds()
