"""Rewards of the caller, read and claimed."""

from __future__ import annotations

from typing import Annotated

from actions import rewards as reward_actions
from db.tables.pool import rewards as tables
from execution.access import member
from execution.declare import FIRST_DEFAULT, After, Connection, Doc, First, mutation, page, query, the
from resolvers.payload import payload
from schema.rewards import Reward, RewardPayload
from schema.wallet import TokenWallet
from tenancy.context import Context


@query(member, cost=5)
async def rewards(ctx: Context, first: First = FIRST_DEFAULT, *, after: After = None) -> Connection[Reward]:
    """The caller's rewards, newest first; today's is among them."""
    await ctx.on_pool(reward_actions.earn_today)
    return page(Reward, first=first, after=after)


@mutation(member)
async def claim_reward(
    ctx: Context, kind: Annotated[tables.RewardKind, Doc("What was earned, e.g. DAILY.")]
) -> RewardPayload:
    """Have a reward's tokens put into the wallet."""
    doing = ctx.on_pool(reward_actions.claim_reward, kind)
    return await payload(RewardPayload, doing, wallet=the(TokenWallet))
