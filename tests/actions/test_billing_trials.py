"""Trials and invoices of nothing: tokens come with the first money, or at once where the tier says so."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actions import billing, catalog
from base import errors
from db.tables.central.billing import PurchaseStatus, SubscriptionStatus
from db.tables.central.catalog import Tier
from tests.actions import shop as goods
from tests.actions import till
from tests.world import on_every_engine

pytestmark = [pytest.mark.anyio, pytest.mark.fault(27)]

DAYS = 14
PAID = (PurchaseStatus.PAID, True)


async def started(shop, provider, person, tier):
    """A plan whose page somebody has gone through: our row of it."""
    begun = await billing.start_plan(await shop.of(person), tier, idempotency_key=None, **goods.BACK)
    provider.pay(goods.session_at(provider, begun.url))
    await till.tell(shop.house, provider.events())
    return await newest(shop, person)


async def newest(shop, person):
    return (await goods.plans(shop, person))[-1]


async def bought(shop, person):
    """(due, tokens, status, credited) of each purchase, oldest first."""
    found = await goods.purchases(shop, person)
    return [(each.amount_cents, each.tokens, each.status, each.tokens_credited) for each in found]


@on_every_engine
async def test_a_trial_brings_nothing_until_its_end_is_paid_for_and_is_had_once_a_tenant(shop, provider):
    alice, pro = await shop.tenant("alice"), await goods.tier(shop, trial_days=DAYS)
    plan = await started(shop, provider, alice, pro)
    assert plan.status is SubscriptionStatus.TRIALING
    assert abs(plan.trial_ends_at - shop.house.sessions.clock.now() - timedelta(days=DAYS)) < timedelta(hours=1)
    assert await bought(shop, alice) == [(0, 0, *PAID)]
    assert await till.funds(shop, alice) == (0, 0)
    provider.renew(plan.provider_subscription_id)
    for _ in range(2):
        await till.tell(shop.house, provider.events())
        assert (await newest(shop, alice)).status is SubscriptionStatus.ACTIVE
        assert await bought(shop, alice) == [(0, 0, *PAID), (2_000, 500, *PAID)]
        assert await till.funds(shop, alice) == (500, 0)
    (_, paid) = provider.all("invoice")
    assert await till.keys(shop, alice) == [f"plan-credit:{paid['id']}"]
    # When it has ended another one begins, of any tier, without a trial.
    await billing.cancel_plan(await shop.of(alice))
    provider.renew(plan.provider_subscription_id)
    await till.tell(shop.house, provider.events())
    assert (await newest(shop, alice)).status is SubscriptionStatus.CANCELED
    other = await goods.tier(shop, "other", cents=700, tokens=70, trial_days=DAYS)
    again = await started(shop, provider, alice, other)
    assert (again.status, again.trial_ends_at) == (SubscriptionStatus.ACTIVE, None)
    assert (await bought(shop, alice))[-1] == (700, 70, *PAID)
    assert await till.funds(shop, alice) == (570, 0)
    # Another tenant has a trial of its own.
    bob = await shop.tenant("bob")
    assert (await started(shop, provider, bob, other)).status is SubscriptionStatus.TRIALING
    assert not provider.differences()


@on_every_engine
async def test_an_invoice_of_nothing_is_credited_once_where_the_tier_says_so(shop, provider):
    alice, pro = await shop.tenant("alice"), await goods.tier(shop, trial_days=DAYS, credits_zero_invoices=True)
    plan = await started(shop, provider, alice, pro)
    await till.tell(shop.house, provider.events())
    assert await bought(shop, alice) == [(0, 500, *PAID)]
    assert await till.funds(shop, alice) == (500, 0)
    # Credit at the provider that pays a whole month is an invoice of nothing as well.
    customer = provider.get("customer", plan.provider_customer_id)
    with provider.book.call():
        provider.book.change(customer, balance=-2_000)
    provider.clock(days=DAYS)
    provider.renew(plan.provider_subscription_id)
    await till.tell(shop.house, provider.events())
    assert await till.funds(shop, alice) == (1_000, 0)
    invoices = provider.all("invoice")
    assert [each["amount_paid"] for each in invoices] == [0, 0]
    assert await till.keys(shop, alice) == [f"plan-credit:{each['id']}" for each in invoices]


@on_every_engine
async def test_a_month_that_credit_at_the_provider_pays_brings_nothing_where_the_tier_does_not_say_so(shop, provider):
    alice, pro = await shop.tenant("alice"), await goods.tier(shop)
    plan = await started(shop, provider, alice, pro)
    with provider.book.call():
        provider.book.change(provider.get("customer", plan.provider_customer_id), balance=-2_000)
    provider.clock(days=31)
    provider.renew(plan.provider_subscription_id)
    await till.tell(shop.house, provider.events())
    assert await bought(shop, alice) == [(2_000, 500, *PAID), (0, 0, *PAID)]
    assert await till.funds(shop, alice) == (500, 0)


@on_every_engine
async def test_a_tier_that_costs_nothing_brings_its_tokens(shop, provider):
    alice, free = await shop.tenant("alice"), await goods.tier(shop, "free", cents=0, tokens=20)
    plan = await started(shop, provider, alice, free)
    assert (plan.status, await till.funds(shop, alice)) == (SubscriptionStatus.ACTIVE, (20, 0))
    provider.clock(days=31)
    provider.renew(plan.provider_subscription_id)
    await till.tell(shop.house, provider.events())
    assert await till.funds(shop, alice) == (40, 0)


@on_every_engine
async def test_a_canceled_trial_ends_without_money_or_tokens_and_was_the_one(shop, provider):
    alice, pro = await shop.tenant("alice"), await goods.tier(shop, trial_days=DAYS)
    plan = await started(shop, provider, alice, pro)
    await billing.cancel_plan(await shop.of(alice))
    plan = await newest(shop, alice)
    assert (plan.status, plan.cancel_at_period_end) == (SubscriptionStatus.TRIALING, True)
    with pytest.raises(errors.Conflict):
        await billing.start_plan(await shop.of(alice), pro, idempotency_key=None, **goods.BACK)
    provider.renew(plan.provider_subscription_id)
    await till.tell(shop.house, provider.events())
    assert (await newest(shop, alice)).status is SubscriptionStatus.CANCELED
    assert await till.funds(shop, alice) == (0, 0)
    assert (await started(shop, provider, alice, pro)).status is SubscriptionStatus.ACTIVE
    assert await till.funds(shop, alice) == (500, 0)


@on_every_engine
async def test_a_page_that_nobody_went_through_uses_up_no_trial(shop, provider):
    alice, pro = await shop.tenant("alice"), await goods.tier(shop, trial_days=DAYS)
    begun = await billing.start_plan(await shop.of(alice), pro, idempotency_key=None, **goods.BACK)
    provider.expire(goods.session_at(provider, begun.url))
    await till.tell(shop.house, provider.events())
    assert (await newest(shop, alice)).status is SubscriptionStatus.CANCELED
    assert (await started(shop, provider, alice, pro)).status is SubscriptionStatus.TRIALING


@on_every_engine
async def test_a_trial_whose_end_is_not_paid_is_past_due_and_credited_when_it_is(shop, provider):
    alice, pro = await shop.tenant("alice"), await goods.tier(shop, trial_days=DAYS)
    plan = await started(shop, provider, alice, pro)
    provider.clock(days=DAYS)
    invoice = provider.renew(plan.provider_subscription_id, paid=False)
    await till.tell(shop.house, provider.events())
    assert (await newest(shop, alice)).status is SubscriptionStatus.PAST_DUE
    assert await till.funds(shop, alice) == (0, 0)
    provider.pay_invoice(invoice["id"])
    await till.tell(shop.house, provider.events())
    assert (await newest(shop, alice)).status is SubscriptionStatus.ACTIVE
    assert await till.funds(shop, alice) == (500, 0)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"trial_days": -1}, "trialDays"),
        ({"trial_days": 731}, "trialDays"),
        ({"trial_days": True}, "trialDays"),
        ({"credits_zero_invoices": 1}, "creditsZeroInvoices"),
    ],
    ids=["negative", "too long", "no number", "no yes or no"],
)
@on_every_engine
async def test_what_is_no_trial_is_refused_naming_the_field(world, values, field):
    ctx = await world.of(await world.staff())
    given = {"slug": "pro", "name": "Pro", "monthly_price_cents": 100, "currency": "EUR", "monthly_tokens": 5}
    with pytest.raises(errors.Invalid) as refused:
        await ctx.on_central(catalog.create, Tier, given | values)
    assert refused.value.field == ("input", field)
    made = await ctx.on_central(catalog.create, Tier, given)
    with pytest.raises(errors.Invalid) as refused:
        await ctx.on_central(catalog.update, Tier, made, values)
    assert refused.value.field == ("input", field)
