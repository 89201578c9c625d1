"""Which deployment this is: what the provider's objects carry, so that each finds its own among another's events.

    metadata = {"deployment": "…32 hex digits…", "tenant": "alice1", "purchase": "1a2b"}

Ids stand in hexadecimal. The three are on every checkout session, and again on the payment intent or subscription
that comes of it, which for a plan also names our row of it: `"plan": "1a2c"`.
"""

from __future__ import annotations

import secrets

import sqlalchemy as sa

from base.ids import Id
from db import faults
from db.session import SystemSession
from db.tables.central.billing import Deployment, PlanSubscription, Purchase
from db.zones import TenantId

NAME_BYTES = 16


async def name(db: SystemSession, /) -> str:
    """The random name of this deployment, made when it is first asked for."""
    known = await db.first(sa.select(Deployment.name))
    if known is None:
        await db.insert_once(Deployment(number=1, name=secrets.token_hex(NAME_BYTES)))
        known = await db.first(sa.select(Deployment.name))
    if known is None:
        raise faults.RunAgain  # somebody made it after this transaction began to read
    return known


def metadata(
    deployment: str, tenant: TenantId, /, *, purchase_id: Id[Purchase], plan_id: Id[PlanSubscription] | None = None
) -> dict[str, str]:
    """What an object of the provider is told by."""
    named = {"deployment": deployment, "tenant": tenant, "purchase": f"{purchase_id:x}"}
    return named if plan_id is None else {**named, "plan": f"{plan_id:x}"}
