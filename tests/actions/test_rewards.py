"""Rewards exist when earned, are claimed once, and are each member's own."""

import asyncio
import datetime as dt

import pytest
import sqlalchemy as sa

from actions import rewards
from base import errors
from db.tables.pool.rewards import Reward, RewardKind
from db.tables.pool.wallet import TokenWallet
from tests.actions import shop as goods
from tests.world import on_every_engine


async def _balance(db):
    return await db.first(sa.select(TokenWallet.balance))


async def _kinds(db):
    rows = await db.tuples(sa.select(Reward.kind, Reward.claimed_at).order_by(Reward.id))
    return [(kind.name, claimed is not None) for kind, claimed in rows]


async def test_a_new_tenant_has_its_sign_up_reward_and_todays_to_claim(world):
    ctx = await world.of(await world.tenant("alice"))
    assert await ctx.on_pool(_kinds) == [("SIGNUP", True), ("DAILY", False)]


@on_every_engine
async def test_the_daily_reward_is_credited_once_a_day_however_often_it_is_claimed(world):
    ctx = await world.of(await world.tenant("alice"))

    async def claim():
        try:
            await ctx.on_pool(rewards.claim_reward, RewardKind.DAILY)
        except errors.Conflict:
            return False
        return True

    assert (await asyncio.gather(*(claim() for _ in range(10)))).count(True) == 1
    assert await ctx.on_pool(_balance) == 105


async def test_another_day_brings_another_daily_reward(world, monkeypatch):
    ctx = await world.of(await world.tenant("alice"))
    await ctx.on_pool(rewards.claim_reward, RewardKind.DAILY)
    tomorrow = world.house.sessions.clock.now() + dt.timedelta(days=1)
    monkeypatch.setattr(world.house.sessions.clock, "now", lambda: tomorrow)
    await ctx.on_pool(rewards.claim_reward, RewardKind.DAILY)
    assert await ctx.on_pool(_balance) == 110
    assert await ctx.on_pool(_kinds) == [("SIGNUP", True), ("DAILY", True), ("DAILY", True)]


@on_every_engine
async def test_todays_reward_is_there_to_be_claimed_and_yesterdays_is_no_more(world, monkeypatch):
    ctx = await world.of(await world.tenant("alice"))
    tomorrow = world.house.sessions.clock.now() + dt.timedelta(days=1)
    monkeypatch.setattr(world.house.sessions.clock, "now", lambda: tomorrow)
    for _ in range(2):
        await ctx.on_pool(rewards.earn_today)
        assert await ctx.on_pool(_kinds) == [("SIGNUP", True), ("DAILY", False)]
    await ctx.on_pool(rewards.claim_reward, RewardKind.DAILY)
    assert await ctx.on_pool(_balance) == 105


@pytest.mark.parametrize("kind", [RewardKind.SIGNUP, RewardKind.FIRST_PUBLISH, RewardKind.REFERRAL])
async def test_what_was_claimed_or_not_earned_is_a_conflict_and_changes_nothing(world, kind):
    ctx = await world.of(await world.tenant("alice"))
    with pytest.raises(errors.Conflict) as refused:
        await ctx.on_pool(rewards.claim_reward, kind)
    assert refused.value.field == ("kind",)
    assert await ctx.on_pool(_balance) == 100


async def test_a_referral_is_earned_once_a_tenant_and_claimed_for_50(world):
    alice, bob, carol = await world.tenant("alice"), await world.tenant("bob"), await world.tenant("carol")
    system, ctx = await world.system(alice.tenant_id), await world.of(alice)
    for other in (bob, bob, carol):
        await system.on_pool(rewards.earn_referral, alice.user_id, other.tenant_id)
    for _ in range(2):
        await ctx.on_pool(rewards.claim_reward, RewardKind.REFERRAL)
    with pytest.raises(errors.Conflict):
        await ctx.on_pool(rewards.claim_reward, RewardKind.REFERRAL)
    assert await ctx.on_pool(_balance) == 200


async def test_a_second_member_claims_their_own_reward_and_never_the_owners(world):
    alice = await world.tenant("alice")
    mary = await world.of(await world.member(alice.tenant_id))
    assert await mary.on_pool(_kinds) == []
    await mary.on_pool(rewards.claim_reward, RewardKind.DAILY)
    assert await mary.on_pool(_kinds) == [("DAILY", True)]
    assert await (await world.of(alice)).on_pool(_kinds) == [("SIGNUP", True), ("DAILY", False)]


async def _referrals(world, person):
    ctx = await world.of(person)
    return [kind for kind, _ in await ctx.on_pool(_kinds) if kind == "REFERRAL"]


@on_every_engine
async def test_the_first_money_of_somebody_who_was_sent_rewards_both_once(shop, provider):
    alice = await shop.tenant("alice")
    bob = await shop.tenant("bob", referral=alice.tenant_id)
    await goods.discount(shop, 100, code="gift")
    small = await goods.package(shop)
    await goods.buy(shop, bob, small, code="gift")
    assert await _referrals(shop, alice) == await _referrals(shop, bob) == []
    for _ in range(2):
        begun = await goods.buy(shop, bob, small)
        provider.pay(goods.session_at(provider, begun.url))
        await goods.deliver(shop, provider)
        assert await _referrals(shop, alice) == await _referrals(shop, bob) == ["REFERRAL"]
    await (await shop.of(alice)).on_pool(rewards.claim_reward, RewardKind.REFERRAL)


async def test_money_of_somebody_whom_nobody_sent_rewards_nobody(shop, provider):
    alice, small = await shop.tenant("alice"), await goods.package(shop)
    begun = await goods.buy(shop, alice, small)
    provider.pay(goods.session_at(provider, begun.url))
    await goods.deliver(shop, provider)
    assert await _referrals(shop, alice) == []
