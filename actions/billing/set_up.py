"""Whether the payment provider is set up so that money that is paid arrives: for doctor."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy import orm

from db.session import SystemSession
from db.tables.central.provider import OrderKind, OrderState, ProviderOrder
from outside.stripe_api import Missing, NotSetUp, Payments, ProviderError
from tenancy.checks import Finding, of_house
from tenancy.context import House

# No event has this id: that it is missing is told only to whom the provider knows.
NO_EVENT = "evt_doctor"
ASKED_SECONDS_MAX = 3_600
REFUSED_DAYS = 30
SHOWN_MAX = 5
STATUS = "atrium payments status; the log says why (provider_failed)"


@of_house("payment provider")
async def provider_answers(house: House) -> list[Finding]:
    """The variables fit together, and the provider takes our key."""
    settings, provider = house.settings, house.service(Payments)
    if not provider.is_set_up:
        if settings.stripe_webhook_secret is not None:
            do = "set ATRIUM_STRIPE_SECRET_KEY, too"
            return [Finding("events are taken from a payment provider that cannot be asked anything", do)]
        if settings.embedded:
            return []
        do = "ATRIUM_STRIPE_SECRET_KEY and ATRIUM_STRIPE_WEBHOOK_SECRET, where something is sold"
        return [Finding("no payment provider is set up, so nothing can be bought", do, wrong=False)]
    found = []
    if settings.stripe_webhook_secret is None:
        do = "set ATRIUM_STRIPE_WEBHOOK_SECRET to the secret of the provider's endpoint /webhooks/stripe"
        found.append(Finding("what is paid is not heard of: the provider's events are refused", do))
    try:
        await provider.get("events", NO_EVENT)
    except Missing:
        pass
    except NotSetUp as error:
        found.append(Finding(f"the payment provider refuses us: {error}", "set ATRIUM_STRIPE_SECRET_KEY anew"))
    except ProviderError as error:
        found.append(Finding(f"the payment provider does not answer: {error}", "is it reached from this machine?"))
    return found


@of_house("payment orders")
async def orders_are_answered(house: House) -> Sequence[Finding]:
    """What the provider is asked to change is answered within the hour; refunds that it refused are told for a month.

    A refund may be refused long after whoever asked for it was told to look again.
    """
    late, late_count, refused, refused_count = await house.system().on_system(_unanswered)
    found = [
        Finding(f"{row.kind.name} of {row.subject} ({row.tenant_id}) has not been answered for an hour", STATUS)
        for row in late
    ]
    if late_count > len(late):
        found.append(Finding(f"{late_count - len(late)} more orders have not been answered for an hour", STATUS))
    do = "the buyer's money has not gone back: atrium payments refund asks again, where the provider's reason is over"
    found += [
        Finding(f"a refund of {row.subject} ({row.tenant_id}) was refused: {row.error}", do, wrong=False)
        for row in refused
    ]
    if refused_count > len(refused):
        found.append(Finding(f"{refused_count - len(refused)} more refunds were refused", do, wrong=False))
    return found


async def _unanswered(db: SystemSession, /) -> tuple[Sequence[ProviderOrder], int, Sequence[ProviderOrder], int]:
    """The oldest orders without an answer and how many there are, the newest refused refunds and how many."""
    before = db.now - timedelta(seconds=ASKED_SECONDS_MAX)
    late = sa.and_(ProviderOrder.state == OrderState.ASKED, ProviderOrder.created_at < before)
    later = orm.aliased(ProviderOrder)
    asked_again = sa.exists().where(later.subject == ProviderOrder.subject, later.id > ProviderOrder.id)
    refused = sa.and_(
        ProviderOrder.state == OrderState.REFUSED,
        ProviderOrder.kind == OrderKind.REFUND,
        ProviderOrder.created_at > db.now - timedelta(days=REFUSED_DAYS),
        ~asked_again,
    )
    return (
        await db.all(sa.select(ProviderOrder).where(late).order_by(ProviderOrder.id).limit(SHOWN_MAX)),
        await _count(db, late),
        await db.all(sa.select(ProviderOrder).where(refused).order_by(ProviderOrder.id.desc()).limit(SHOWN_MAX)),
        await _count(db, refused),
    )


async def _count(db: SystemSession, which: sa.ColumnElement[bool], /) -> int:
    return int(await db.first(sa.select(sa.func.count()).select_from(ProviderOrder).where(which)) or 0)
