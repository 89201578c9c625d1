"""Whose object of the provider this is, read from the metadata that `deployment.py` writes.

Metadata is on sessions, intents, charges and subscriptions; refunds, disputes and a renewal's charges have none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from base import ids
from base.ids import Id
from db.tables.central.billing import PlanSubscription, Purchase
from db.zones import TENANT_ID_CHARACTERS_MAX, TenantId

_CENTS = re.compile(r"[0-9]{1,15}")
_TENANT = re.compile(rf"[a-z0-9-]{{1,{TENANT_ID_CHARACTERS_MAX}}}")


@dataclass(frozen=True, slots=True)
class Mark:
    """Whose object it is, and for which purchase; `plan_id` is our row of the subscription that it began."""

    tenant: TenantId
    purchase_id: Id[Purchase]
    plan_id: Id[PlanSubscription] | None


def read(metadata: object) -> Mark | None:
    """The mark in an object's metadata; None where there is none, or none that could be ours."""
    if not isinstance(metadata, Mapping):
        return None
    tenant, purchase_id, plan_id = metadata.get("tenant"), number_of(metadata, "purchase"), number_of(metadata, "plan")
    if not isinstance(tenant, str) or not _TENANT.fullmatch(tenant) or purchase_id is None:
        return None
    return Mark(TenantId(tenant), Id(purchase_id), None if plan_id is None else Id(plan_id))


def is_foreign(metadata: object, deployment: str) -> bool:
    """Whether an object names another deployment, or a purchase and none; one that names neither is not told."""
    if not isinstance(metadata, Mapping):
        return False
    named = metadata.get("deployment")
    return named != deployment if named is not None else "purchase" in metadata


def is_elsewhere(event: Mapping[str, Any], /, *, is_live: bool) -> bool:
    """Whether an event is of the other mode than our key, or of an account that is connected to ours."""
    return (event.get("livemode") is True) is not is_live or event.get("account") is not None


def cents_of(metadata: object, name: str) -> int | None:
    """The amount that metadata has under a name, in decimal digits there."""
    text = metadata.get(name) if isinstance(metadata, Mapping) else None
    return int(text) if isinstance(text, str) and _CENTS.fullmatch(text) else None


def number_of(metadata: object, name: str) -> int | None:
    """The id that metadata has under a name, in hexadecimal there."""
    text = metadata.get(name) if isinstance(metadata, Mapping) else None
    return ids.from_hex(text) if isinstance(text, str) else None
