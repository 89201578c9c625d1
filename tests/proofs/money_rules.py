"""What must hold of money after anything at all, once a worker had its round: asked of the databases themselves.

One credit for each paid payment, the ledger's sums are the wallet, open jobs hold what is reserved, nothing is left
due, nothing was acknowledged that is not stored; and whatever `atrium doctor` asks.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from actions import wallet
from db.tables.central.billing import Payment, PaymentEvent, Purchase, Settlement, SettlementKind, SettlementState
from db.tables.pool.jobs import AiJob, AiJobStatus
from db.tables.pool.wallet import TokenTransaction, TokenWallet
from tests.actions import shop as goods
from tests.proofs import restart
from tests.world import Person, World

OPEN_JOBS = (AiJobStatus.QUEUED, AiJobStatus.RUNNING)
# What doctor says of money that waits for a person; it is asked for by the test that parked it.
WAITS_FOR_A_PERSON = "wait for a person"


async def broken(shop: World, people: Iterable[Person], *, acknowledged: Iterable[str] = ()) -> list[str]:
    """Everything that does not hold, in words."""
    found = [f"{name} was acknowledged and is not stored" for name in await _missing(shop, set(acknowledged))]
    for person in people:
        found += [f"{person.tenant_id}: {each}" for each in await _of_tenant(shop, person)]
    complaints = await restart.complaints(shop.house)
    return found + [each for each in complaints if WAITS_FOR_A_PERSON not in each]


async def of_one(shop: World, person: Person) -> list[str]:
    """The same of one tenant, without doctor's round through the house."""
    return await _of_tenant(shop, person)


async def _missing(shop: World, names: set[str]) -> set[str]:
    stored = await shop.house.system().on_system(_event_names)
    return names - stored


async def _event_names(db: Any, /) -> set[str]:
    return set(await db.all(sa.select(PaymentEvent.provider_event_id)))


async def _of_tenant(shop: World, person: Person) -> list[str]:
    settlements = await goods.rows(shop, Settlement, person.tenant_id)
    posted, held, reserved, wrong = await (await shop.system(person.tenant_id)).on_pool(of_pool)
    found = [] if wrong is None else [str(wrong)]
    if held != reserved:
        found.append(f"{held} tokens are reserved in the wallet, {reserved} by open jobs")
    found += [f"settlement {each.id:x} is still due" for each in settlements if each.state is SettlementState.DUE]
    found += [f"{key} stands {times} times in the ledger" for key, times in posted.items() if times > 1]
    for payment in await goods.rows(shop, Payment, person.tenant_id):
        mine = [each for each in settlements if each.payment_id == payment.id]
        found += _of_payment(payment, mine, posted)
    for purchase in await goods.rows(shop, Purchase, person.tenant_id):
        earned = [each for each in settlements if each.purchase_id == purchase.id and _is_credit(each)]
        if len(earned) > 1:
            found.append(f"purchase {purchase.id:x} was credited {len(earned)} times")
        if purchase.tokens_credited != (purchase.earned_by is not None and (bool(earned) or not purchase.tokens)):
            found.append(f"purchase {purchase.id:x} says tokens_credited={purchase.tokens_credited}")
    return found


def _of_payment(payment: Payment, mine: list[Settlement], posted: collections.Counter[str]) -> list[str]:
    found = []
    credits = [each for each in mine if each.kind is SettlementKind.CREDIT]
    if payment.paid_at is not None and payment.tokens_earned and len(credits) != 1:
        found.append(f"payment {payment.provider_payment_id} is paid and has {len(credits)} credits")
    settled = sum(each.tokens for each in mine if each.state is SettlementState.SETTLED)
    if settled != payment.tokens_earned - payment.clawed_target:
        wanted = payment.tokens_earned - payment.clawed_target
        found.append(f"payment {payment.provider_payment_id} brought {settled} tokens instead of {wanted}")
    return found + [
        f"{each.ledger_key} is {each.state.name} and stands {posted[each.ledger_key]} times in the ledger"
        for each in mine
        if (each.state is SettlementState.SETTLED and each.tokens != 0) != (posted[each.ledger_key] == 1)
    ]


def _is_credit(settlement: Settlement) -> bool:
    return settlement.kind is SettlementKind.CREDIT and settlement.state is SettlementState.SETTLED


async def of_pool(db: Any) -> tuple[collections.Counter[str], int, int, object]:
    """Ledger key → how often it stands there; tokens the wallet holds back; tokens open jobs hold; what is broken."""
    posted = collections.Counter(await db.all(sa.select(TokenTransaction.idempotency_key)))
    held = await db.first(sa.select(TokenWallet.reserved))
    open_jobs = sa.select(sa.func.coalesce(sa.func.sum(AiJob.tokens_reserved), 0))
    reserved = await db.first(open_jobs.where(AiJob.status.in_(OPEN_JOBS)))
    return posted, int(held), int(reserved), await wallet.broken(db)
