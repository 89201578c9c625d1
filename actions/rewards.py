"""Rewards: rows that exist when something was earned, turned into tokens once."""

from collections.abc import Sequence

import sqlalchemy as sa

from actions import wallet
from actions.billing.told import PurchasePaid
from actions.gallery import VideoPublished
from actions.identity import founding
from actions.wallet import Cause
from base import errors
from base.ids import Id
from db.outbox import Envelope, receives
from db.session import PoolSession, SystemSession
from db.tables.central.identity import Tenant, User
from db.tables.pool.rewards import Reward, RewardKind
from db.tables.pool.wallet import TokenTransactionKind
from db.zones import TenantId, TenantState
from tenancy.context import Context

TOKENS = {RewardKind.SIGNUP: 100, RewardKind.DAILY: 5, RewardKind.FIRST_PUBLISH: 20, RewardKind.REFERRAL: 50}
ONCE = ""


@founding.founds
async def reward_sign_up(db: PoolSession, user_id: Id[User], /) -> None:
    """A new tenant's first tokens, credited at once; the reward of its first day waits to be claimed."""
    await earn(db, RewardKind.SIGNUP, user_id)
    await earn(db, RewardKind.DAILY, user_id, period=_today(db))
    await db.flush()
    reward = await db.first(sa.select(Reward).where(Reward.kind == RewardKind.SIGNUP, Reward.user_id == user_id))
    if reward is not None and reward.claimed_at is None:
        await _claim(db, reward)


async def earn_today(db: PoolSession, /) -> None:
    """The caller's reward of this UTC day is there to be claimed; of days gone by, what nobody claimed goes."""
    user_id = db.viewer_id
    if user_id is None or not await earn(db, RewardKind.DAILY, user_id, period=_today(db)):
        return
    await db.change(
        sa.delete(Reward).where(
            Reward.user_id == user_id,
            Reward.kind == RewardKind.DAILY,
            Reward.period < _today(db),
            Reward.claimed_at.is_(None),
        )
    )


async def claim_reward(db: PoolSession, kind: RewardKind, /) -> Id[Reward]:
    """Turn the oldest unclaimed reward of this kind into tokens. Raises Conflict: claimed already, or not earned."""
    user_id = db.viewer_id
    if user_id is None:
        raise errors.NotAllowed("Only a member claims a reward.", "kind")
    mine = sa.select(Reward).where(Reward.kind == kind, Reward.user_id == user_id)
    if kind is RewardKind.DAILY:
        await earn_today(db)
        mine = mine.where(Reward.period == _today(db))
    reward = await db.first(mine.where(Reward.claimed_at.is_(None)).order_by(Reward.id))
    if reward is None:
        if await db.first(mine) is None:
            raise errors.Conflict("This reward has not been earned yet.", "kind")
        raise errors.Conflict("This reward has been claimed.", "kind")
    await _claim(db, reward)
    return reward.id


async def earn(db: PoolSession, kind: RewardKind, user_id: Id[User], /, *, period: str = ONCE) -> bool:
    """A reward becomes claimable; False where it was earned before. Idempotent by user, kind and period."""
    known = sa.select(Reward.id).where(Reward.kind == kind, Reward.user_id == user_id, Reward.period == period)
    if await db.first(known) is not None:
        return False
    return await db.insert_once(Reward(user_id=user_id, kind=kind, period=period, tokens=TOKENS[kind]))


@receives(VideoPublished)
async def reward_first_publish(ctx: Context, event: VideoPublished, _envelope: Envelope) -> None:
    """Whoever publishes for the first time has earned a reward, which waits to be claimed. Idempotent."""
    await ctx.on_pool(earn, RewardKind.FIRST_PUBLISH, Id(event.user_id))


async def earn_referral(db: PoolSession, user_id: Id[User], other: TenantId, /) -> bool:
    """Both tenants of a referral earn it when the new one first buys; one a pair, idempotent by the other tenant."""
    return await earn(db, RewardKind.REFERRAL, user_id, period=other)


async def _referred(db: SystemSession, tenants: Sequence[TenantId], /) -> Sequence[TenantId]:
    return await db.all(sa.select(Tenant.id).where(Tenant.id.in_(tenants), Tenant.referred_by.is_not(None)))


@receives(PurchasePaid, of=_referred)
async def reward_referral(ctx: Context, event: PurchasePaid, _envelope: Envelope) -> None:
    """The first money of a tenant that somebody sent earns both a reward, which waits to be claimed. Idempotent.

    1 central says who sent whom; 2 the buyer's pool; 3 the sender's. A crash after 2 leaves the event to the relay.
    """
    if event.amount_cents <= 0:
        return  # what costs nothing could be bought by anybody, as often as they register
    buyer = await ctx.on_system(_owner, ctx.tenant_id)
    if buyer is None or buyer.referred_by is None:
        return
    sender = await ctx.on_system(_owner, buyer.referred_by)
    if sender is None or sender.id == buyer.id or sender.state is TenantState.ERASED:
        return
    await ctx.on_pool(earn_referral, buyer.user_id, sender.id)
    await (await ctx.house.system_of(sender.id)).on_pool(earn_referral, sender.user_id, buyer.id)


async def _owner(db: SystemSession, tenant: TenantId, /) -> Tenant | None:
    return await db.first(sa.select(Tenant).where(Tenant.id == tenant))


async def _claim(db: PoolSession, reward: Reward) -> None:
    if not await db.change(
        sa.update(Reward).where(Reward.id == reward.id, Reward.claimed_at.is_(None)).values(claimed_at=db.now)
    ):
        raise errors.Conflict("This reward has been claimed.", "kind")
    cause = Cause(key=f"reward:{reward.id}", user_id=reward.user_id, note=f"reward {reward.kind.name}")
    await wallet.credit(db, TokenTransactionKind.REWARD, reward.tokens, cause=cause)


def _today(db: PoolSession) -> str:
    return db.now.date().isoformat()
