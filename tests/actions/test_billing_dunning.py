"""Plans that are not paid for in time: nothing is brought until the money is there, and then once."""

from __future__ import annotations

import pytest

from actions import billing
from base import errors
from db.tables.central.billing import PurchaseStatus, SubscriptionStatus
from tests.actions import shop as goods
from tests.actions import till
from tests.world import on_every_engine

pytestmark = [pytest.mark.anyio, pytest.mark.fault(16)]


async def held(shop, provider, person, tier):
    """A plan that is paid for: the provider's subscription."""
    begun = await billing.start_plan(await shop.of(person), tier, idempotency_key=None, **goods.BACK)
    subscription = provider.pay(goods.session_at(provider, begun.url))["subscription"]
    await till.tell(shop.house, provider.events())
    return subscription


async def stands(shop, provider, person, status, tokens, *, purchases):
    """What is told makes the plan this, with so many tokens of so many purchases; told again, nothing more."""
    for _ in range(2):
        await till.tell(shop.house, provider.events())
        (plan,) = await goods.plans(shop, person)
        assert plan.status is status
        assert await till.funds(shop, person) == (tokens, 0)
        kept = [(each.status, each.tokens_credited) for each in await goods.purchases(shop, person)]
        assert kept == [(PurchaseStatus.PAID, True)] * purchases


@on_every_engine
async def test_a_renewal_that_fails_and_fails_again_is_credited_once_when_it_is_paid(shop, provider):
    alice, pro = await shop.tenant("alice"), await goods.tier(shop)
    lite = await goods.tier(shop, "lite", cents=500)
    subscription = await held(shop, provider, alice, pro)
    provider.clock(days=31)
    invoice = provider.renew(subscription, paid=False)["id"]
    await stands(shop, provider, alice, SubscriptionStatus.PAST_DUE, 500, purchases=1)
    provider.clock(days=3)
    provider.pay_invoice(invoice, paid=False)
    await stands(shop, provider, alice, SubscriptionStatus.PAST_DUE, 500, purchases=1)
    provider.clock(days=3)
    provider.leave_unpaid(subscription)
    await stands(shop, provider, alice, SubscriptionStatus.UNPAID, 500, purchases=1)
    ctx = await shop.of(alice)
    with pytest.raises(errors.Conflict):
        await billing.change_plan(ctx, lite, idempotency_key=None)
    with pytest.raises(errors.Conflict):
        await billing.start_plan(ctx, lite, idempotency_key=None, **goods.BACK)
    provider.clock(days=3)
    provider.pay_invoice(invoice)
    await stands(shop, provider, alice, SubscriptionStatus.ACTIVE, 1_000, purchases=2)
    assert (await till.keys(shop, alice))[1:] == [f"plan-credit:{invoice}"]
    assert not provider.differences()


@on_every_engine
async def test_money_that_comes_when_the_plan_has_been_given_up_is_credited_and_a_voided_invoice_never(shop, provider):
    alice, pro = await shop.tenant("alice"), await goods.tier(shop)
    subscription = await held(shop, provider, alice, pro)
    provider.clock(days=31)
    voided = provider.renew(subscription, paid=False)["id"]
    provider.void_invoice(voided)
    provider.clock(days=31)
    late = provider.renew(subscription, paid=False)["id"]
    provider.clock(days=9)
    provider.give_up(subscription)
    await stands(shop, provider, alice, SubscriptionStatus.CANCELED, 500, purchases=1)
    provider.pay_invoice(late)
    await stands(shop, provider, alice, SubscriptionStatus.CANCELED, 1_000, purchases=2)
    assert voided not in "".join(await till.keys(shop, alice))


@on_every_engine
async def test_a_renewal_by_a_bank_debit_is_credited_when_it_settles_and_not_when_it_bounces(shop, provider):
    alice, pro = await shop.tenant("alice"), await goods.tier(shop)
    subscription = await held(shop, provider, alice, pro)
    provider.clock(days=31)
    first = provider.renew(subscription, delayed=True)["id"]
    await stands(shop, provider, alice, SubscriptionStatus.ACTIVE, 500, purchases=1)
    provider.clock(days=4)
    provider.settle_invoice(first)
    await stands(shop, provider, alice, SubscriptionStatus.ACTIVE, 1_000, purchases=2)
    provider.clock(days=27)
    second = provider.renew(subscription, delayed=True)["id"]
    provider.clock(days=4)
    provider.bounce_invoice(second)
    await stands(shop, provider, alice, SubscriptionStatus.PAST_DUE, 1_000, purchases=2)
