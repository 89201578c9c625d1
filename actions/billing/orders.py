"""Asks the provider for a change, once: an order is written first, and sent again with its key until it is answered.

One order at a time stands open for a subject (a subscription, a session, a payment), so of two that want something
at once one call goes out. What an order's answer means, its kind declares with `@answers`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from actions.billing import deployment
from base import errors, observe
from base.ids import Id
from db import faults
from db.session import SystemSession
from db.tables.central.provider import OrderKind, OrderState, ProviderOrder
from db.zones import TenantId
from outside.stripe_api import NotSetUp, Object, Refused, Unanswered
from tenancy.context import Context, House
from tenancy.handlers import every

ANSWER_SECONDS_MAX = 14.0
BUSY_SECONDS = 20
AGAIN_SECONDS = 15
AGAIN_MAX = 50
ERROR_CHARACTERS_MAX = 500

Ask = Callable[[Context, "Order"], Awaitable[Object]]
Answered = Callable[[SystemSession, "Order", Object], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A change that somebody wants; `subject` is the provider's id of what is changed, `subject_id` our row of it."""

    tenant: TenantId
    kind: OrderKind
    subject: str
    subject_id: Id[Any]
    params: Mapping[str, Any]
    asked_by: str
    why: str = ""
    key: str | None = None
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A written order as it is sent; `provider_key` is the provider's idempotency key."""

    order_id: Id[ProviderOrder]
    tenant: TenantId
    kind: OrderKind
    subject: str
    subject_id: Id[Any]
    params: Mapping[str, Any]
    deployment: str
    attempt: int

    @property
    def provider_key(self) -> str:
        """Another one after an answer that the provider would only repeat."""
        return f"{self.deployment}:order:{self.order_id:x}:{self.attempt}"


@dataclass(frozen=True, slots=True)
class _Kind:
    ask: Ask
    answered: Answered


KINDS: dict[OrderKind, _Kind] = {}


def answers(kind: OrderKind, ask: Ask) -> Callable[[Answered], Answered]:
    """Declare how a kind is asked for, and in `async def (db, order, object)` what its answer changes here."""

    def declare(answered: Answered) -> Answered:
        KINDS[kind] = _Kind(ask, answered)
        return answered

    return declare


async def place(db: SystemSession, wanted: Wanted, /) -> Id[ProviderOrder] | None:
    """Write the order down. None where the same is on its way already; raises Conflict where something else is."""
    order_id: Id[ProviderOrder] = db.new_id()
    order = ProviderOrder(
        id=order_id,
        tenant_id=wanted.tenant,
        kind=wanted.kind,
        subject=wanted.subject,
        subject_id=wanted.subject_id,
        open_key=wanted.subject,
        params=dict(wanted.params),
        busy_until=db.now + timedelta(seconds=BUSY_SECONDS),
        idempotency_key=wanted.key or f"#{order_id:x}",
        input_hash=wanted.digest,
        asked_by=wanted.asked_by,
        why=wanted.why,
    )
    if await db.insert_once(order):
        return order_id
    open_one = await db.first(sa.select(ProviderOrder).where(ProviderOrder.open_key == wanted.subject))
    if open_one is None:
        # It has been answered since, or the client's key was taken a moment ago: the next run sees which.
        raise faults.RunAgain
    if open_one.kind is not wanted.kind or open_one.params != dict(wanted.params):
        raise errors.Conflict("Another change of this is on its way to the payment provider: try again in a minute.")
    return None


async def carry_out(ctx: Context, order_id: Id[ProviderOrder], /) -> Object | None:
    """Send a placed order and write down what its answer changes; that answer, None where it has one already.

    1 the provider is asked; 2 one central transaction: the answer, the order DONE or REFUSED. A crash before 2 leaves
    the order ASKED: the worker sends it again with the same key. Raises ProviderUnavailable (it is sent again later),
    Refused (the provider's no).
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            return await _send(ctx, await ctx.on_system(_read, order_id))
    except (TimeoutError, Unanswered, NotSetUp) as error:
        _note(order_id, error)
        await ctx.on_system(_leave, order_id, is_kept=isinstance(error, Unanswered) and error.is_kept)
        raise errors.ProviderUnavailable(
            "The payment provider did not answer yet. What you asked for is kept and asked for again: look in a minute."
        ) from None


async def _send(ctx: Context, order: Order | None) -> Object | None:
    if order is None:
        return None
    kind = KINDS[order.kind]
    try:
        found = await kind.ask(ctx, order)
    except Refused as refused:
        _note(order.order_id, refused)
        await ctx.on_system(_refused, order.order_id, str(refused))
        raise
    await ctx.on_system(_answered, order, found)
    return found


@every(AGAIN_SECONDS, "provider_orders")
async def send_again(house: House) -> None:
    """The worker's round."""
    await send_open(house)


async def send_open(house: House, /) -> int:
    """Send what was not answered and nobody waits for; how many were answered now."""
    done = 0
    for order_id in await house.system().on_system(_take):
        try:
            await carry_out(house.system(), order_id)
            done += 1
        except (errors.ProviderUnavailable, Refused):
            continue  # noted where it happened
    return done


async def open_of(db: SystemSession, subject: str, /) -> ProviderOrder | None:
    """The order that is on its way for a subject."""
    return await db.first(sa.select(ProviderOrder).where(ProviderOrder.open_key == subject))


async def last_done(db: SystemSession, kind: OrderKind, subject: str, /) -> ProviderOrder | None:
    """The newest order of this kind for a subject that the provider has carried out."""
    done = sa.and_(ProviderOrder.subject == subject, ProviderOrder.kind == kind, ProviderOrder.state == OrderState.DONE)
    return await db.first(sa.select(ProviderOrder).where(done).order_by(ProviderOrder.id.desc()))


async def any_open(db: SystemSession, tenant: TenantId, /) -> bool:
    """Whether anything of this tenant is still on its way."""
    mine = sa.and_(ProviderOrder.tenant_id == tenant, ProviderOrder.state == OrderState.ASKED)
    return await db.first(sa.select(ProviderOrder.id).where(mine)) is not None


async def known(db: SystemSession, tenant: TenantId, key: str, /) -> ProviderOrder | None:
    """The order of a client's key."""
    mine = sa.and_(ProviderOrder.tenant_id == tenant, ProviderOrder.idempotency_key == key)
    return await db.first(sa.select(ProviderOrder).where(mine))


async def _read(db: SystemSession, order_id: Id[ProviderOrder], /) -> Order | None:
    row = await db.first(
        sa.select(ProviderOrder).where(ProviderOrder.id == order_id, ProviderOrder.state == OrderState.ASKED)
    )
    if row is None:
        return None
    return Order(
        order_id=row.id,
        tenant=row.tenant_id,
        kind=row.kind,
        subject=row.subject,
        subject_id=row.subject_id,
        params=row.params,
        deployment=await deployment.name(db),
        attempt=row.attempt,
    )


async def _take(db: SystemSession, /) -> list[Id[ProviderOrder]]:
    late = sa.and_(ProviderOrder.state == OrderState.ASKED, ProviderOrder.busy_until < db.now)
    found = await db.all(sa.select(ProviderOrder.id).where(late).order_by(ProviderOrder.busy_until).limit(AGAIN_MAX))
    until = db.now + timedelta(seconds=BUSY_SECONDS)
    taken = sa.update(ProviderOrder).values(busy_until=until)
    return [each for each in found if await db.change(taken.where(ProviderOrder.id == each, late))]


async def _leave(db: SystemSession, order_id: Id[ProviderOrder], /, *, is_kept: bool) -> None:
    """Nobody waits any more; an answer that the provider keeps is not asked for under its key again."""
    await db.change(
        sa.update(ProviderOrder)
        .where(ProviderOrder.id == order_id, ProviderOrder.state == OrderState.ASKED)
        .values(busy_until=db.now, attempt=ProviderOrder.attempt + int(is_kept))
    )


async def _refused(db: SystemSession, order_id: Id[ProviderOrder], why: str, /) -> None:
    await _end(db, order_id, OrderState.REFUSED, error=why[:ERROR_CHARACTERS_MAX])


async def _answered(db: SystemSession, order: Order, found: Object, /) -> None:
    if await _end(db, order.order_id, OrderState.DONE, error=None):
        await KINDS[order.kind].answered(db, order, found)


async def _end(db: SystemSession, order_id: Id[ProviderOrder], state: OrderState, /, *, error: str | None) -> bool:
    return bool(
        await db.change(
            sa.update(ProviderOrder)
            .where(ProviderOrder.id == order_id, ProviderOrder.state == OrderState.ASKED)
            .values(state=state, open_key=f"#{order_id:x}", error=error)
        )
    )


def _note(order_id: Id[ProviderOrder], error: Exception) -> None:
    observe.note(observe.Event.PROVIDER_FAILED, order=f"{order_id:x}", error=str(error) or repr(error))
