"""Killed anywhere while buying, cancelling or giving back: one page, one change, one refund, however it goes on."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest
import sqlalchemy as sa

from actions import billing, wallet
from actions.billing import desk, events, orders, settlement
from actions.billing.desk import Person
from base import errors
from db.tables.central.billing import PurchaseStatus
from db.tables.central.provider import OrderState, ProviderOrder
from tests.actions import shop as goods
from tests.actions import studio
from tests.proofs import killing
from tests.world import on_every_engine

TURN = "turn"
BY = Person("sam@desk", "the buyer asked for it")

killing.load(__name__)


async def _at_home(house, token, tenant):
    route = await house.directory.of_tenant(tenant)
    viewer = await house.viewers.of_token(token)
    return dataclasses.replace(house.system(tenant=route), viewer=viewer, is_system=False)


async def buying(house, token, tenant, package):
    """A client buys; the key of its turn stands in a file beside the databases."""
    key = (house.settings.var / TURN).read_text()
    ctx = await _at_home(house, token, tenant)
    return await billing.start_checkout(ctx, package, discount_code=None, idempotency_key=key, **goods.BACK)


async def switching(house, token, tenant):
    """A client cancels the plan."""
    await billing.cancel_plan(await _at_home(house, token, tenant))


async def refunding(house):
    """An operator gives back all that is left of the payment whose turn it is."""
    await desk.refund(house.system(), (house.settings.var / TURN).read_text(), cents=None, by=BY)


async def nobody_waits(db, /):
    """Nobody waits any more for an order's answer: whoever did is gone."""
    await db.change(sa.update(ProviderOrder).values(busy_until=db.now - timedelta(seconds=1)))


async def go_on(world):
    """What the worker does after the crash."""
    await world.house.system().on_system(nobody_waits)
    await orders.send_open(world.house)
    await events.process_everything(world.house)
    await settlement.settle_everything(world.house)


def _turn(world, text):
    (world.settings.var / TURN).write_text(text)


@pytest.mark.slow
@on_every_engine
async def test_whoever_was_cut_off_while_buying_finds_the_one_page_by_the_key(shop, provider):
    alice, small = await shop.tenant("alice"), await goods.package(shop)
    _turn(shop, "k1")
    kills = 0
    async for _ in killing.each_kill(shop.settings, buying, alice.token, alice.tenant_id, small, works_between=False):
        kills += 1
        done = await buying(shop.house, alice.token, alice.tenant_id, small)
        assert len(provider.all("checkout.session")) == len(await goods.purchases(shop, alice)) == kills
        assert len(await goods.sessions(shop, alice)) == kills
        assert goods.session_at(provider, done.url)
        _turn(shop, f"k{kills + 1}")
    assert kills > 4


@pytest.mark.slow
async def test_a_cancellation_that_was_cut_off_is_made_or_was_never_asked(shop, provider):
    alice, pro = await shop.tenant("alice"), await goods.tier(shop)
    begun = await billing.start_plan(await shop.of(alice), pro, idempotency_key=None, **goods.BACK)
    subscription = provider.pay(goods.session_at(provider, begun.url))["subscription"]
    await goods.deliver(shop, provider)
    ends = []
    async for _ in killing.each_kill(shop.settings, switching, alice.token, alice.tenant_id, works_between=False):
        await go_on(shop)
        (plan,) = await goods.plans(shop, alice)
        assert plan.cancel_at_period_end == provider.get("subscription", subscription)["cancel_at_period_end"]
        assert {each.state for each in await goods.orders(shop, alice)} <= {OrderState.DONE}
        ends.append(plan.cancel_at_period_end)
        if plan.cancel_at_period_end:
            await billing.resume_plan(await shop.of(alice))
    # From the order's commit on it is made, before it nothing is.
    assert ends == sorted(ends)
    assert set(ends) == {True, False}


@pytest.mark.slow
@on_every_engine
async def test_a_refund_that_was_cut_off_is_made_once_or_was_never_asked(shop, provider):
    alice, small = await shop.tenant("alice"), await goods.package(shop, tokens=10)
    own = await shop.system(alice.tenant_id)
    refunded = kills = 0

    async def pay():
        begun = await goods.buy(shop, alice, small)
        intent = provider.pay(goods.session_at(provider, begun.url))["payment_intent"]
        await goods.deliver(shop, provider)
        _turn(shop, intent)
        return intent

    intent = await pay()
    async for _ in killing.each_kill(shop.settings, refunding, works_between=False):
        kills += 1
        await go_on(shop)
        try:
            await desk.refund(shop.house.system(), intent, cents=None, by=BY)
        except errors.Conflict:
            refunded += 1
        assert [each["amount"] for each in provider.all("refund", payment_intent=intent)] == [1_000]
        assert (await studio.tokens(own))[0] == studio.SIGN_UP
        intent = await pay()
        assert (await studio.tokens(own))[0] == studio.SIGN_UP + 10
    assert 0 < refunded < kills
    assert await own.on_pool(wallet.broken) is None
    statuses = [each.status for each in await goods.purchases(shop, alice)]
    assert statuses == [PurchaseStatus.REFUNDED] * kills + [PurchaseStatus.PAID]
