"""The ledger: idempotent, never below zero, debts first, the wallet always the sum; on every engine."""

import asyncio

import pytest
import sqlalchemy as sa

from actions import wallet
from actions.wallet import Cause, LedgerBroken
from base import errors
from db.tables.pool.wallet import TokenTransaction, TokenTransactionKind, TokenWallet
from tests.world import on_every_engine

SIGN_UP = 100
REWARD = TokenTransactionKind.REWARD


async def _state(db):
    found = await db.tuples(sa.select(TokenWallet.balance, TokenWallet.reserved, TokenWallet.debt))
    return tuple(found[0])


async def _entries(db):
    return await db.tuples(
        sa.select(TokenTransaction.kind, TokenTransaction.amount).order_by(TokenTransaction.sequence)
    )


@on_every_engine
async def test_a_new_tenant_has_one_wallet_with_the_sign_up_reward(world):
    alice = await world.system((await world.tenant("alice")).tenant_id)
    assert await alice.on_pool(_state) == (SIGN_UP, 0, 0)
    assert await alice.on_pool(wallet.broken) is None


@on_every_engine
async def test_the_same_key_credits_once_however_many_ask_at_once(world):
    alice = await world.system((await world.tenant("alice")).tenant_id)
    answers = await asyncio.gather(
        *(alice.on_pool(wallet.credit, REWARD, 7, cause=Cause(key="gift")) for _ in range(20))
    )
    assert answers.count(True) == 1
    assert await alice.on_pool(_state) == (SIGN_UP + 7, 0, 0)
    assert await alice.on_pool(wallet.broken) is None


@on_every_engine
async def test_200_reservations_at_once_of_a_balance_of_100_are_exactly_100(world):
    alice = await world.system((await world.tenant("alice")).tenant_id)

    async def reserve(number):
        try:
            return await alice.on_pool(wallet.reserve, 1, cause=Cause(key=f"job:{number}"))
        except errors.InsufficientTokens:
            return False

    answers = await asyncio.gather(*(reserve(number) for number in range(200)))
    assert answers.count(True) == SIGN_UP
    assert await alice.on_pool(_state) == (0, SIGN_UP, 0)
    assert await alice.on_pool(wallet.broken) is None


async def test_a_refused_reservation_changes_nothing(world):
    alice = await world.system((await world.tenant("alice")).tenant_id)
    before = await alice.on_pool(_entries)
    with pytest.raises(errors.InsufficientTokens):
        await alice.on_pool(wallet.reserve, SIGN_UP + 1, cause=Cause(key="too-much"))
    assert await alice.on_pool(_entries) == before
    assert await alice.on_pool(_state) == (SIGN_UP, 0, 0)


async def test_what_was_held_is_consumed_or_released_and_each_once(world):
    alice = await world.system((await world.tenant("alice")).tenant_id)
    for job in ("a", "b"):
        await alice.on_pool(wallet.reserve, 30, cause=Cause(key=f"{job}:reserve"))
    for _ in range(2):
        await alice.on_pool(wallet.consume, 30, cause=Cause(key="a:consume"))
        await alice.on_pool(wallet.release, 30, cause=Cause(key="b:release"))
    assert await alice.on_pool(_state) == (SIGN_UP - 30, 0, 0)
    assert await alice.on_pool(wallet.broken) is None


@on_every_engine
async def test_a_claw_back_beyond_the_balance_is_a_debt_that_the_next_tokens_pay_first(world):
    alice = await world.system((await world.tenant("alice")).tenant_id)
    await alice.on_pool(wallet.reserve, 60, cause=Cause(key="r"))
    await alice.on_pool(wallet.claw_back, 70, cause=Cause(key="refund"))
    assert await alice.on_pool(_state) == (0, 60, 30)
    await alice.on_pool(wallet.release, 60, cause=Cause(key="free"))
    assert await alice.on_pool(_state) == (30, 0, 0)
    kinds = [kind for kind, _ in await alice.on_pool(_entries)]
    assert kinds[-2:] == [TokenTransactionKind.RELEASE, TokenTransactionKind.ADJUSTMENT]
    assert await alice.on_pool(wallet.broken) is None


async def test_a_wallet_changed_behind_the_ledgers_back_is_noticed_before_anything_is_written(world):
    alice = await world.system((await world.tenant("alice")).tenant_id)

    async def tamper(db):
        await db.change(sa.update(TokenWallet).values(balance=TokenWallet.balance + 1))

    await alice.on_pool(tamper)
    with pytest.raises(LedgerBroken):
        await alice.on_pool(wallet.credit, REWARD, 1, cause=Cause(key="after"))
    assert "ledger sums to" in await alice.on_pool(wallet.broken)


@pytest.mark.parametrize("amount", [0, -1, 10**16])
async def test_an_amount_out_of_range_is_refused(world, amount):
    alice = await world.system((await world.tenant("alice")).tenant_id)
    with pytest.raises(errors.Invalid):
        await alice.on_pool(wallet.credit, REWARD, amount, cause=Cause(key="odd"))


async def test_two_tenants_use_the_same_key_independently(world):
    people = [await world.tenant("alice"), await world.tenant("bob")]
    for person in people:
        ctx = await world.system(person.tenant_id)
        assert await ctx.on_pool(wallet.credit, REWARD, 5, cause=Cause(key="same"))
        assert await ctx.on_pool(_state) == (SIGN_UP + 5, 0, 0)
