"""The provider's page for a purchase: asked for with what the purchase says, found again where no answer came.

What the purchase says was written before the first call and is sent again unchanged, under the same key; so a page
is made once however often it is asked for, and none is made once the provider may have forgotten the key.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NoReturn

import sqlalchemy as sa

from actions.billing import deployment, marks, observed, wishes
from base import errors, observe
from base.ids import Id
from db import work
from db.session import SystemSession
from db.tables.central.billing import CheckoutSession, PlanSubscription, Purchase, PurchaseStatus, SessionStatus
from db.zones import TenantId
from outside.stripe_api import NotSetUp, Object, Payments, Refused, Unanswered
from tenancy.context import Context

SESSION_SECONDS = 23 * 3_600
ANSWER_SECONDS_MAX = 14.0
# The provider's list of sessions is read from a little before the purchase on: its clock is not ours.
SKEW_SECONDS = 600
# When no page of a purchase is open any more, and none can be made: the provider refuses one that is over at once.
OVER_SECONDS = SESSION_SECONDS + 300
END_KIND = "checkout_end"
ALL_END_KIND = "checkout_end_all"
FIRST_ATTEMPT = "session"
# The provider's word for an amount that it takes no payment of: asking again does not help.
TOO_SMALL = "amount_too_small"
FIELDS = {"success_url": "successUrl", "cancel_url": "cancelUrl"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What the provider is asked for a purchase; `is_over`: nothing is to be asked any more; `url`: the open page."""

    tenant: TenantId
    purchase_id: Id[Purchase]
    params: Mapping[str, Any]
    deployment: str
    attempt: str
    since: int
    plan_id: Id[PlanSubscription] | None
    is_pending: bool
    is_over: bool
    url: str | None

    @property
    def key(self) -> str:
        """The provider's idempotency key."""
        return f"{self.deployment}:purchase:{self.purchase_id:x}:{self.attempt}"


def params(
    mode: str,
    item: Mapping[str, Any],
    /,
    *,
    back: tuple[str, str],
    named: dict[str, str],
    now: datetime,
    trial_days: int = 0,
) -> dict[str, Any]:
    """What makes a session: one item at our price; whatever the provider could add or take off is switched off.

    `back` are the addresses after success and after cancelling, `named` is the metadata (deployment.py);
    `trial_days` is how long a plan takes no money yet.
    """
    made_of = {"payment": "payment_intent_data", "subscription": "subscription_data"}[mode]
    trial = {"trial_period_days": trial_days} if trial_days else {}
    return {
        "mode": mode,
        "line_items": [{"price_data": dict(item), "quantity": 1}],
        "success_url": back[0],
        "cancel_url": back[1],
        "client_reference_id": named["purchase"],
        "metadata": named,
        made_of: {"metadata": named, **trial},
        "expires_at": int(now.timestamp()) + SESSION_SECONDS,
        "adaptive_pricing": {"enabled": False},
        "automatic_tax": {"enabled": False},
        "allow_promotion_codes": False,
    }


async def page(ctx: Context, tenant: TenantId, purchase_id: Id[Purchase], /) -> str | None:
    """Where the buyer pays; None where there is nothing to pay any more.

    1 central reads what is to be asked; 2 the provider is asked; 3 one central transaction keeps the session. A crash
    after 1 or 2 leaves a purchase without a session: the same call finds it by the same key, the worker looks it up
    when it is over. Raises ProviderUnavailable, Invalid (an address that the provider does not take), Conflict (an
    amount below what it takes).
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            asking = await ctx.on_system(asking_of, tenant, purchase_id)
            if asking.is_over:
                return asking.url
            found = await _made(ctx, asking)
            return await ctx.on_system(keep, asking.tenant, asking.purchase_id, found)
    except (TimeoutError, Unanswered) as error:
        observe.note(observe.Event.PROVIDER_FAILED, error=str(error) or repr(error), purchase=f"{purchase_id:x}")
        raise errors.ProviderUnavailable(
            "The payment provider did not answer. Try again with the same idempotencyKey: nothing is bought twice."
        ) from None
    except NotSetUp as error:
        observe.note(observe.Event.PROVIDER_FAILED, error=str(error), purchase=f"{purchase_id:x}")
        raise errors.ProviderUnavailable("No payment provider is set up here, so nothing can be bought.") from None


async def _made(ctx: Context, asking: Asking) -> Object:
    try:
        return await _ask(ctx, asking)
    except Refused as refused:
        # Perhaps only this repetition was refused, long after the page had been made.
        known = await look_up(ctx, asking)
        if known is None:
            await _refuse(ctx, asking, refused)
        return known


async def _ask(ctx: Context, asking: Asking) -> Object:
    provider = ctx.house.service(Payments)
    try:
        return await provider.create("checkout/sessions", asking.params, key=asking.key)
    except Unanswered as error:
        if not error.is_kept:
            raise
    # The provider answers this key with its own fault for a day. Was the page made all the same?
    found = await look_up(ctx, asking)
    if found is not None:
        return found
    again = await ctx.on_system(_next_attempt, asking)
    return await provider.create("checkout/sessions", again.params, key=again.key)


async def look_up(ctx: Context, asking: Asking, /) -> Object | None:
    """The session that carries this purchase's name, if the provider has one; of two, the one that is not over."""
    found: Object | None = None
    soon = asking.since + SKEW_SECONDS
    # Nearly all are made with their purchase: a day's sessions of everybody are read for the others alone.
    for window in (
        {"gte": asking.since - SKEW_SECONDS, "lte": soon},
        {"gt": soon, "lte": soon + SESSION_SECONDS},
    ):
        async for each in ctx.house.service(Payments).list("checkout/sessions", created=window):
            named = marks.read(each["metadata"])
            is_ours = not marks.is_foreign(each["metadata"], asking.deployment)
            if is_ours and named is not None and named.purchase_id == asking.purchase_id:
                if each["status"] != "expired":
                    return each
                found = found or each
    return found


async def _refuse(ctx: Context, asking: Asking, refused: Refused) -> NoReturn:
    await ctx.on_system(observed.abandoned, asking.tenant, asking.purchase_id)
    observe.note(observe.Event.PROVIDER_FAILED, error=str(refused), purchase=f"{asking.purchase_id:x}")
    field = FIELDS.get(refused.parameter)
    if field is not None:
        raise errors.Invalid("The payment provider does not take this address.", "input", field)
    if refused.code == TOO_SMALL:
        raise errors.Conflict("The payment provider takes no amount as small as this; nothing was bought.", "input")
    raise errors.ProviderUnavailable("The payment provider refused this purchase; nothing was bought or charged.")


async def asking_of(db: SystemSession, tenant: TenantId, purchase_id: Id[Purchase], /) -> Asking:
    """What is to be asked for a purchase, as it stands."""
    db.act_for(tenant=tenant)
    purchase = await db.first(sa.select(Purchase).where(Purchase.tenant_id == tenant, Purchase.id == purchase_id))
    if purchase is None:
        raise errors.NotFound("There is no purchase with this id.")
    newest = sa.select(CheckoutSession).where(CheckoutSession.purchase_id == purchase_id)
    session = await db.first(newest.order_by(CheckoutSession.id.desc()))
    is_pending = purchase.status is PurchaseStatus.PENDING and purchase.abandoned_at is None
    return Asking(
        tenant=tenant,
        purchase_id=purchase_id,
        params=purchase.provider_params or {},
        deployment=await deployment.name(db),
        attempt=purchase.attempt_kind,
        since=int(purchase.created_at.timestamp()),
        plan_id=None if purchase.subscription_id is None else Id(purchase.subscription_id),
        is_pending=is_pending,
        # An event may have told what became of it before our own commit of the session.
        is_over=session is not None or purchase.provider_params is None or not is_pending,
        url=None if session is None else _open_url(session, db.now),
    )


async def _next_attempt(db: SystemSession, asking: Asking, /) -> Asking:
    """Another key for the same purchase, once however many ask."""
    db.act_for(tenant=asking.tenant)
    _, _, number = asking.attempt.partition("-")
    following = f"{FIRST_ATTEMPT}-{int(number or 1) + 1}"
    await db.change(
        sa.update(Purchase)
        .where(
            Purchase.tenant_id == asking.tenant,
            Purchase.id == asking.purchase_id,
            Purchase.attempt_kind == asking.attempt,
        )
        .values(attempt_kind=following)
    )
    return dataclasses.replace(asking, attempt=following)


async def keep(db: SystemSession, tenant: TenantId, purchase_id: Id[Purchase], /, found: Object) -> str | None:
    """Write down the provider's session of a purchase; the address of its page while that is open. Idempotent."""
    await observed.record(db, tenant, purchase_id, kind="checkout.session", found=found)
    mine = CheckoutSession.provider_session_id == found["id"]
    # Events have no address, and one of them may have been here before us.
    await db.change(sa.update(CheckoutSession).where(mine, CheckoutSession.url.is_(None)).values(url=found["url"]))
    try:
        await wishes.check_open(db, tenant)
    except errors.Denial:
        await queue_end(db, tenant)  # it was suspended while we asked
        return None
    session = await db.first(sa.select(CheckoutSession).where(mine).execution_options(populate_existing=True))
    return None if session is None else _open_url(session, db.now)


async def queue_end(db: SystemSession, tenant: TenantId, /) -> None:
    """The open pages of a tenant are to be closed; in the transaction that suspends it, among others."""
    await work.enqueue(db, ALL_END_KIND, tenant, ref_id=0, generation=db.new_id())


async def set_end(db: SystemSession, purchase: Purchase, /) -> None:
    """In the transaction that makes a purchase: when its page is over, what became of it is looked at."""
    due_at = db.now + timedelta(seconds=OVER_SECONDS)
    await work.set_timer(db, END_KIND, due_at, tenant=purchase.tenant_id, ref_id=purchase.id)


def _open_url(session: CheckoutSession, now: datetime) -> str | None:
    is_open = session.status is SessionStatus.OPEN and (session.expires_at is None or session.expires_at > now)
    return session.url if is_open else None
