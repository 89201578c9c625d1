"""A tenant is gone, or going, while its wallet is owed something: that is parked for a person, whatever comes then."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
import sqlalchemy as sa

from actions import billing
from actions.billing import book as books
from actions.billing import processing, settlement
from base import errors
from db.tables.central.billing import ParkReason, PurchaseStatus, SettlementState
from db.tables.central.identity import Tenant
from db.zones import TenantState
from tests.actions import shop as goods
from tests.actions import till
from tests.proofs import money_rules
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio

# So long whoever comes second is waited for before it is taken to wait itself.
MEETING_SECONDS = 1.0


@pytest.fixture
async def owed(shop, provider):
    """A paid purchase whose credit is due and not yet posted: its buyer, and the session."""
    alice = await shop.tenant("alice")
    _, session = await till.bought(shop, alice)
    provider.pay(session)
    outcome = await shop.house.system().on_system(
        processing.process, await till.stored(shop.house, provider.events()), {}
    )
    assert outcome.owed == {alice.tenant_id}
    return alice, session


async def stand(shop, person) -> list[tuple[str, str, str]]:
    """(kind, state, reason) of what is, or was, owed to somebody's wallet."""
    return [(each.kind.name, each.state.name, each.reason.name) for each in await goods.settlements(shop, person)]


async def close(shop, person):
    await billing.close(shop.house.system(), person.tenant_id, asked_by="ops", why="erased")


async def _erase(db, tenant, /):
    await db.change(sa.update(Tenant).where(Tenant.id == tenant).values(state=TenantState.ERASED))


@contextlib.contextmanager
def no_pool():
    """No wallet can be posted to."""

    async def down(_db, _due, /):
        raise errors.PoolUnavailable("The tenant's database does not answer.")

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(settlement, "_apply", down)
        yield


PARKED = ("CREDIT", SettlementState.PARKED.name, ParkReason.ERASED.name)


@pytest.mark.fault(22)
@on_every_engine
async def test_what_cannot_be_posted_to_a_tenant_that_leaves_is_parked_and_never_posted_later(shop, provider, owed):
    alice, session = owed
    with no_pool():
        await close(shop, alice)
        assert await stand(shop, alice) == [PARKED]
    (payment,) = await goods.payments(shop, alice)
    assert (payment.tokens_earned, payment.clawed_target) == (0, 0)
    # The pool is there again, and the money goes back by hand: nothing was given, so nothing is taken.
    await till.catch_up(shop.house)
    provider.refund(provider.intent_of(session)["id"])
    await till.tell(shop.house, provider.events())
    assert await stand(shop, alice) == [PARKED]
    assert await till.funds(shop, alice) == (0, 0)
    assert (await goods.purchases(shop, alice))[0].status is PurchaseStatus.REFUNDED
    assert await money_rules.broken(shop, [alice]) == []


@pytest.mark.fault(22)
@on_every_engine
async def test_what_a_tenant_that_is_erased_was_owed_is_parked_by_the_workers_round(shop, provider, owed):
    alice, session = owed
    bob = await shop.tenant("bob")
    _, other = await till.bought(shop, bob, slug="other")
    provider.refund(provider.intent_of(session)["id"], 400)
    provider.pay(other)
    ids = await till.stored(shop.house, provider.events())
    await shop.house.system().on_system(processing.process, ids, {})
    assert [kind for kind, state, _ in await stand(shop, alice) if state == "DUE"] == ["CREDIT", "CLAW_BACK"]
    await shop.house.system().on_system(_erase, alice.tenant_id)
    assert await settlement.settle_everything(shop.house) == 1
    # What it was to be given waits for a person, and nothing is left to be taken from it.
    assert await stand(shop, alice) == [PARKED, ("CLAW_BACK", "CLOSED", "NONE")]
    assert await till.funds(shop, alice) == (0, 0)
    (payment,) = await goods.payments(shop, alice)
    assert (payment.tokens_earned, payment.clawed_target) == (0, 0)
    assert await till.funds(shop, bob) == (100, 0)
    assert await money_rules.of_one(shop, alice) == []


@pytest.mark.fault(22)
@on_every_engine
async def test_a_refund_that_comes_while_a_leaving_tenants_credit_is_parked_takes_nothing_from_its_wallet(
    shop, provider, owed, monkeypatch
):
    alice, session = owed
    before = provider.events()[-1]
    provider.refund(provider.intent_of(session)["id"], 400)
    conclude = books.conclude_all
    parking: list[asyncio.Task[None]] = []

    async def met(db, of, /):
        """The refund's transaction has read what was earned; now the credit is parked."""
        if not parking:
            parking.append(asyncio.create_task(close(shop, alice)))
            await asyncio.wait(parking, timeout=MEETING_SECONDS)
        return await conclude(db, of)

    monkeypatch.setattr(books, "conclude_all", met)
    with no_pool():
        told = await till.stored(shop.house, provider.events(since=before))
        await shop.house.system().on_system(processing.process, told, {})
        await asyncio.gather(*parking)
    monkeypatch.undo()
    await till.catch_up(shop.house)
    (payment,) = await goods.payments(shop, alice)
    credit, *others = await stand(shop, alice)
    assert (credit, payment.tokens_earned, payment.clawed_target) == (PARKED, 0, 0)
    assert {state for _, state, _ in others} <= {"CLOSED"}
    assert payment.refunded_cents == 400
    assert await till.funds(shop, alice) == (0, 0)
    # A refund that fails gives nothing back that was never taken.
    provider.fail_refund(provider.all("refund")[0]["id"])
    await till.tell(shop.house, provider.events())
    assert await till.funds(shop, alice) == (0, 0)
    assert await money_rules.of_one(shop, alice) == []
