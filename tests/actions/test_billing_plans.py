"""Holding a plan: one a tenant, each wish one call to the provider, each paid invoice its tokens once."""

from __future__ import annotations

import asyncio

import pytest

from actions import billing
from actions.billing import events, expiry, orders, pricing
from base import errors
from base.ids import Id
from db.tables.central.billing import PurchaseKind, PurchaseStatus, SubscriptionStatus
from db.tables.central.catalog import Tier
from db.tables.central.provider import OrderState
from outside.stripe_api import Payments
from tests.actions import shop as goods
from tests.actions import studio, till
from tests.provider import calling
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio


async def start(shop, person, tier, *, key=None):
    return await billing.start_plan(await shop.of(person), tier, idempotency_key=key, **goods.BACK)


async def change(shop, person, tier, *, key=None):
    return await billing.change_plan(await shop.of(person), tier, idempotency_key=key)


async def cancel(shop, person):
    return await billing.cancel_plan(await shop.of(person))


async def resume(shop, person):
    return await billing.resume_plan(await shop.of(person))


async def held(shop, provider, person, tier):
    """Somebody has begun a plan and paid for it; the provider's subscription."""
    begun = await start(shop, person, tier)
    session = provider.pay(goods.session_at(provider, begun.url))
    await goods.deliver(shop, provider)
    return session["subscription"]


async def spendable(shop, person):
    return (await studio.tokens(await shop.system(person.tenant_id)))[0]


@on_every_engine
async def test_a_plan_is_begun_by_a_page_and_brings_its_tokens_with_each_paid_invoice(shop, provider):
    alice, pro = await shop.tenant("alice"), await goods.tier(shop, tokens=500)
    before = await spendable(shop, alice)
    begun = await start(shop, alice, pro, key="k")
    assert await start(shop, alice, pro, key="k") == begun
    (plan,), (purchase,) = await goods.plans(shop, alice), await goods.purchases(shop, alice)
    assert (plan.id, plan.status, purchase.kind, purchase.subscription_id) == (
        begun.subscription_id,
        SubscriptionStatus.INCOMPLETE,
        PurchaseKind.PLAN,
        plan.id,
    )
    session = provider.pay(goods.session_at(provider, begun.url))
    await goods.deliver(shop, provider)
    (plan,), (purchase,) = await goods.plans(shop, alice), await goods.purchases(shop, alice)
    assert (plan.status, purchase.status, purchase.tokens_credited) == (
        SubscriptionStatus.ACTIVE,
        PurchaseStatus.PAID,
        True,
    )
    assert plan.provider_subscription_id == session["subscription"]
    assert await spendable(shop, alice) == before + 500
    provider.renew(session["subscription"])
    await goods.deliver(shop, provider)
    await goods.deliver(shop, provider)
    assert await spendable(shop, alice) == before + 1_000
    assert [each.kind for each in await goods.purchases(shop, alice)] == [PurchaseKind.PLAN] * 2


@on_every_engine
async def test_while_a_plan_lives_no_other_is_begun(shop, provider):
    alice, pro, lite = await shop.tenant("alice"), await goods.tier(shop), await goods.tier(shop, "lite", cents=500)
    done = await asyncio.gather(*(start(shop, alice, pro) for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(each, billing.Plan) for each in done) == 1
    assert sum(isinstance(each, errors.Conflict) for each in done) == 3
    assert len(provider.all("checkout.session")) == len(await goods.plans(shop, alice)) == 1
    (page,) = provider.all("checkout.session")
    provider.pay(page["id"])
    await goods.deliver(shop, provider)
    with pytest.raises(errors.Conflict):
        await start(shop, alice, lite)
    assert len(await goods.purchases(shop, alice)) == 1


@on_every_engine
async def test_a_plan_that_was_never_paid_for_is_given_up_at_once_by_cancelling(shop, provider):
    alice, pro = await shop.tenant("alice"), await goods.tier(shop)
    begun = await start(shop, alice, pro)
    await cancel(shop, alice)
    (plan,), (purchase,) = await goods.plans(shop, alice), await goods.purchases(shop, alice)
    assert (plan.status, purchase.status) == (SubscriptionStatus.CANCELED, PurchaseStatus.CANCELED)
    assert [each["status"] for each in provider.all("checkout.session")] == ["expired"]
    assert (await start(shop, alice, pro)).subscription_id != begun.subscription_id


@on_every_engine
async def test_a_plan_whose_page_is_over_makes_room_also_where_no_event_came(shop, provider):
    alice, pro = await shop.tenant("alice"), await goods.tier(shop)
    begun = await start(shop, alice, pro)
    provider.expire(goods.session_at(provider, begun.url))
    (purchase,) = await goods.purchases(shop, alice)
    assert await expiry.look(shop.house.system(), alice.tenant_id, purchase.id)
    assert (await goods.plans(shop, alice))[0].status is SubscriptionStatus.CANCELED
    assert (await start(shop, alice, pro)).url is not None


@on_every_engine
async def test_a_plan_that_was_paid_for_without_an_event_is_found_with_its_tokens(shop, provider):
    alice, pro = await shop.tenant("alice"), await goods.tier(shop, tokens=500)
    before = await spendable(shop, alice)
    begun = await start(shop, alice, pro)
    provider.pay(goods.session_at(provider, begun.url))
    (purchase,) = await goods.purchases(shop, alice)
    assert await expiry.look(shop.house.system(), alice.tenant_id, purchase.id)
    assert (await goods.plans(shop, alice))[0].status is SubscriptionStatus.ACTIVE
    assert await spendable(shop, alice) == before + 500
    await goods.deliver(shop, provider)
    assert await spendable(shop, alice) == before + 500


@on_every_engine
async def test_a_plan_is_canceled_with_its_period_and_resumed_each_by_one_call(shop, provider):
    alice, pro = await shop.tenant("alice"), await goods.tier(shop)
    subscription = await held(shop, provider, alice, pro)
    with pytest.raises(errors.Conflict):
        await resume(shop, alice)
    done = await asyncio.gather(*(cancel(shop, alice) for _ in range(4)), return_exceptions=True)
    # Nobody is told that it is done before it is.
    assert {type(each) for each in done} <= {billing.Plan, errors.ProviderUnavailable}
    assert len({each.subscription_id for each in done if isinstance(each, billing.Plan)}) == 1
    assert provider.get("subscription", subscription)["cancel_at_period_end"]
    assert len(await goods.orders(shop, alice)) == 1
    await cancel(shop, alice)
    assert len(await goods.orders(shop, alice)) == 1
    (plan,) = await goods.plans(shop, alice)
    assert (plan.status, plan.cancel_at_period_end) == (SubscriptionStatus.ACTIVE, True)
    await resume(shop, alice)
    (plan,) = await goods.plans(shop, alice)
    assert not plan.cancel_at_period_end
    assert not provider.get("subscription", subscription)["cancel_at_period_end"]
    await goods.deliver(shop, provider)
    assert not (await goods.plans(shop, alice))[0].cancel_at_period_end
    await cancel(shop, alice)
    provider.renew(subscription)
    await goods.deliver(shop, provider)
    (plan,) = await goods.plans(shop, alice)
    assert plan.status is SubscriptionStatus.CANCELED
    for wish in (cancel, resume):
        with pytest.raises(errors.Conflict):
            await wish(shop, alice)


@on_every_engine
async def test_an_upgrade_is_charged_and_brings_at_most_the_difference_a_downgrade_nothing(shop, provider):
    alice = await shop.tenant("alice")
    lite, pro = await goods.tier(shop, "lite", cents=1_000, tokens=100), await goods.tier(shop, cents=3_000, tokens=500)
    subscription = await held(shop, provider, alice, lite)
    after_start = await spendable(shop, alice)
    await change(shop, alice, pro, key="up")
    (plan,) = await goods.plans(shop, alice)
    assert plan.tier_id == pro
    await goods.deliver(shop, provider)
    after_upgrade = await spendable(shop, alice)
    assert 0 < after_upgrade - after_start <= 400
    assert await change(shop, alice, pro, key="up") == await change(shop, alice, pro)
    await change(shop, alice, lite)
    await goods.deliver(shop, provider)
    assert (await goods.plans(shop, alice))[0].tier_id == lite
    assert await spendable(shop, alice) == after_upgrade
    # The key of an upgrade that was answered long ago does not upgrade again.
    await change(shop, alice, pro, key="up")
    assert (await goods.plans(shop, alice))[0].tier_id == lite
    provider.renew(subscription)
    await goods.deliver(shop, provider)
    assert await spendable(shop, alice) == after_upgrade + 100


@pytest.mark.parametrize(
    ("paid", "tokens"), [(0, 0), (1, 0), (1_000, 200), (1_999, 399), (2_000, 400), (9_999, 400), (-5, 0)]
)
def test_an_upgrade_brings_the_part_of_the_difference_that_was_paid(paid, tokens):
    lite = Tier(monthly_price_cents=1_000, monthly_tokens=100)
    pro = Tier(monthly_price_cents=3_000, monthly_tokens=500)
    assert pricing.prorated_tokens(lite, pro, paid_cents=paid) == tokens
    assert pricing.prorated_tokens(pro, lite, paid_cents=paid) == 0


@on_every_engine
@pytest.mark.parametrize("edited", [2_999, 5_000])
async def test_an_upgrade_brings_its_part_of_what_was_held_whatever_the_catalog_says_by_then(shop, provider, edited):
    alice = await shop.tenant("alice")
    lite, pro = await goods.tier(shop, "lite", cents=1_000, tokens=100), await goods.tier(shop, cents=3_000, tokens=500)
    top = await goods.tier(shop, "top", cents=9_000, tokens=1_500)
    await held(shop, provider, alice, lite)
    provider.clock(days=10)
    await shop.house.system().on_system(_reprice, lite, edited)
    for tier, more, dearer in ((pro, 400, 2_000), (top, 1_000, 6_000)):
        before = await spendable(shop, alice)
        await change(shop, alice, tier)
        await shop.house.system().on_system(_reprice, pro, edited)
        await goods.deliver(shop, provider)
        paid = provider.all("invoice")[-1]["amount_paid"]
        assert 0 < paid < dearer
        assert await spendable(shop, alice) == before + more * paid // dearer


async def _reprice(db, tier, cents, /):
    row = await db.get_one(Tier, tier)
    row.monthly_price_cents = cents


@on_every_engine
async def test_what_cannot_be_changed_is_refused_and_stays(shop, provider):
    alice, pro = await shop.tenant("alice"), await goods.tier(shop)
    lite, yen = await goods.tier(shop, "lite", cents=500), await goods.tier(shop, "yen", cents=500, currency="JPY")
    for wish in (change(shop, alice, pro), cancel(shop, alice), resume(shop, alice)):
        with pytest.raises(errors.Conflict):
            await wish
    begun = await start(shop, alice, pro)
    with pytest.raises(errors.Conflict):
        await change(shop, alice, lite)
    provider.pay(goods.session_at(provider, begun.url))
    await goods.deliver(shop, provider)
    with pytest.raises(errors.NotFound):
        await change(shop, alice, Id(7))
    with pytest.raises(errors.Conflict):
        await change(shop, alice, yen)
    await change(shop, alice, lite, key="k")
    with pytest.raises(errors.Conflict) as refused:
        await change(shop, alice, pro, key="k")
    assert refused.value.field == ("input", "idempotencyKey")
    bob = await shop.tenant("bob")
    with pytest.raises(errors.Conflict):
        await cancel(shop, bob)
    assert [each.tier_id for each in await goods.plans(shop, alice)] == [lite]


@on_every_engine
async def test_a_change_that_was_not_answered_is_sent_again_with_its_key(shop, provider, monkeypatch):
    alice, pro = await shop.tenant("alice"), await goods.tier(shop)
    subscription = await held(shop, provider, alice, pro)
    monkeypatch.setattr(orders, "ANSWER_SECONDS_MAX", 0.5)
    provider.next_fault[:] = ["timeout_after"]
    with pytest.raises(errors.ProviderUnavailable):
        await cancel(shop, alice)
    monkeypatch.undo()
    (order,) = await goods.orders(shop, alice)
    assert order.state is OrderState.ASKED
    # The same wish again is on its way already, which is no success; another one waits until it is answered.
    with pytest.raises(errors.ProviderUnavailable):
        await cancel(shop, alice)
    assert len(await goods.orders(shop, alice)) == 1
    with pytest.raises(errors.Conflict):
        await change(shop, alice, await goods.tier(shop, "lite", cents=500))
    assert await orders.send_open(shop.house) == 1
    (order,), (plan,) = await goods.orders(shop, alice), await goods.plans(shop, alice)
    assert (order.state, plan.cancel_at_period_end) == (OrderState.DONE, True)
    assert provider.get("subscription", subscription)["cancel_at_period_end"]
    assert await orders.send_open(shop.house) == 0


@on_every_engine
async def test_a_key_whose_change_has_no_answer_yet_is_no_success(shop, provider, monkeypatch):
    alice, lite, pro = await shop.tenant("alice"), await goods.tier(shop, "lite", cents=500), await goods.tier(shop)
    await held(shop, provider, alice, lite)
    monkeypatch.setattr(orders, "ANSWER_SECONDS_MAX", 0.5)
    provider.next_fault[:] = ["timeout_before"]
    with pytest.raises(errors.ProviderUnavailable):
        await change(shop, alice, pro, key="up")
    monkeypatch.undo()
    for key in ("up", None):
        with pytest.raises(errors.ProviderUnavailable):
            await change(shop, alice, pro, key=key)
    assert (await goods.plans(shop, alice))[0].tier_id == lite
    assert await orders.send_open(shop.house) == 1
    await change(shop, alice, pro, key="up")
    assert (await goods.plans(shop, alice))[0].tier_id == pro
    assert len(await goods.orders(shop, alice)) == 1


# ------------------------------------------------------------------------------------------- late, lost, overtaken


@on_every_engine
@pytest.mark.parametrize("upwards", [True, False])
async def test_a_renewal_that_is_told_after_a_change_brings_what_its_own_tier_brings(shop, provider, upwards):
    alice = await shop.tenant("alice")
    lite, pro = await goods.tier(shop, "lite", cents=1_000, tokens=100), await goods.tier(shop, cents=3_000, tokens=500)
    first, then, its_own = (lite, pro, 100) if upwards else (pro, lite, 500)
    subscription = await held(shop, provider, alice, first)
    last = provider.events()[-1]
    provider.clock(days=31)
    provider.renew(subscription)
    late = provider.events(since=last)
    last = provider.events()[-1]
    await change(shop, alice, then)
    await goods.deliver(shop, provider, since=last)
    before = await spendable(shop, alice)
    await till.tell(shop.house, late)
    assert await spendable(shop, alice) == before + its_own
    assert (await goods.plans(shop, alice))[0].tier_id == then


@on_every_engine
@pytest.mark.parametrize("wish", [cancel, resume, change])
async def test_a_plan_whose_end_nobody_told_ends_when_it_is_to_be_changed(shop, provider, wish):
    alice, pro = await shop.tenant("alice"), await goods.tier(shop)
    lite = await goods.tier(shop, "lite", cents=500)
    subscription = await held(shop, provider, alice, pro)
    if wish is resume:
        await cancel(shop, alice)
    async with calling(provider) as caller:
        await caller.delete(f"/v1/subscriptions/{subscription}")
    if wish is cancel:
        await cancel(shop, alice)
    else:
        with pytest.raises(errors.Conflict):
            await (resume(shop, alice) if wish is resume else change(shop, alice, lite))
    assert [each.status for each in await goods.plans(shop, alice)] == [SubscriptionStatus.CANCELED]
    assert (await start(shop, alice, lite)).url is not None


def told_while_fetched(monkeypatch, shop, meanwhile):
    """Something happens between the provider's answer to a question and its coming here."""
    payments = shop.house.service(Payments)
    real = payments.get

    async def slow(kind, name, /):
        found = await real(kind, name)
        await meanwhile()
        return found

    monkeypatch.setattr(payments, "get", slow)


@on_every_engine
async def test_what_was_fetched_before_an_answer_does_not_undo_it(shop, provider, monkeypatch):
    alice, pro = await shop.tenant("alice"), await goods.tier(shop)
    subscription = await held(shop, provider, alice, pro)
    (event,) = provider.events("customer.subscription.created")

    async def canceled():
        if not (await goods.plans(shop, alice))[0].cancel_at_period_end:
            await cancel(shop, alice)

    told_while_fetched(monkeypatch, shop, canceled)
    await till.tell(shop.house, [event | {"id": "evt_again", "created": 1}])
    assert (await goods.plans(shop, alice))[0].cancel_at_period_end
    assert "FAILED" not in await till.event_states(shop.house)
    monkeypatch.undo()
    await resume(shop, alice)
    told_while_fetched(monkeypatch, shop, canceled)
    (plan,) = await goods.plans(shop, alice)
    await expiry.follow(shop.house.system(), alice.tenant_id, plan.id, subscription=subscription)
    assert (await goods.plans(shop, alice))[0].cancel_at_period_end


@on_every_engine
async def test_a_plan_that_changes_whenever_it_is_read_is_read_again_later(shop, provider, monkeypatch):
    alice, pro = await shop.tenant("alice"), await goods.tier(shop)
    await held(shop, provider, alice, pro)
    (event,) = provider.events("customer.subscription.created")
    event = event | {"id": "evt_again", "created": 1}

    async def turned():
        is_canceled = (await goods.plans(shop, alice))[0].cancel_at_period_end
        await (resume if is_canceled else cancel)(shop, alice)

    told_while_fetched(monkeypatch, shop, turned)
    await events.handle(shop.house, await till.stored(shop.house, [event]))
    assert (await till.event_states(shop.house))["FAILED"] == [event["type"]]
    monkeypatch.undo()
    await till.catch_up(shop.house)
    assert "FAILED" not in await till.event_states(shop.house)
