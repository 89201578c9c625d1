"""A wish to buy, checked: who for, where the buyer comes back to, and the client's key that makes it one wish."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson
import sqlalchemy as sa

from base import errors
from base.ids import Id
from db.session import SystemSession
from db.tables.central.billing import Purchase
from db.tables.central.identity import Tenant, User
from db.tables.central.provider import BillingClosure
from db.zones import TenantId, TenantState
from tenancy.context import Context

KEY_CHARACTERS_MAX = 200
ADDRESS_CHARACTERS_MAX = 2_000
# Keys of our own making begin like this; a client's that does as well is kept as its digest.
OWN_KEYS = ("#", "invoice:", "sha256:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Who wants to buy something. `key` is as it is kept, `digest` tells one input from another under it."""

    user_id: Id[User]
    tenant: TenantId
    success_url: str
    cancel_url: str
    key: str | None
    digest: str

    def key_or(self, purchase_id: Id[Purchase]) -> str:
        """The key as it is kept."""
        return self.key or f"#{purchase_id:x}"


def checked(ctx: Context, /, *wanted: object, success_url: str, cancel_url: str, key: str | None) -> Wish:
    """The caller's wish for `wanted`. Raises Unauthenticated, or Invalid naming the field."""
    viewer = ctx.signed_in
    back = (return_url(success_url, "input", "successUrl"), return_url(cancel_url, "input", "cancelUrl"))
    return Wish(
        user_id=viewer.user_id,
        tenant=viewer.tenant_id,
        success_url=back[0],
        cancel_url=back[1],
        key=checked_key(key),
        digest=digest(*wanted, *back),
    )


def checked_key(key: str | None) -> str | None:
    """A client's key as it is kept. Raises Invalid."""
    if key is None:
        return None
    # Engines disagree on blanks at the end of a text: a key has none, so that one key is one key everywhere.
    if not (0 < len(key) <= KEY_CHARACTERS_MAX and key == key.strip() and key.isprintable()):
        told = f"A key has 1 to {KEY_CHARACTERS_MAX} printable characters and no blanks around them."
        raise errors.Invalid(told, "input", "idempotencyKey")
    return f"sha256:{_sha256(key.encode())}" if key.startswith(OWN_KEYS) else key


def digest(*values: object) -> str:
    """What tells one input from another: SHA-256, hex."""
    return _sha256(orjson.dumps(values))


def return_url(text: str, *field: str) -> str:
    """An address that the provider may send a browser to: https, or http on this machine. Raises Invalid."""
    refused = errors.Invalid("This must be an https:// address (http:// for this machine alone).", *field)
    # A browser drops tabs and reads a backslash as a slash: what is checked has to be what is opened.
    if len(text) > ADDRESS_CHARACTERS_MAX or not (text.isascii() and text.isprintable()) or {" ", "\\"} & set(text):
        raise refused
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise refused from None
    if not host or "@" in parts.netloc or parts.scheme not in ("https", "http"):
        raise refused
    if parts.scheme == "http" and not _is_loopback(host):
        raise refused
    return text


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def known(db: SystemSession, wish: Wish, /) -> Purchase | None:
    """What this key has bought already. Raises Conflict where that was another input."""
    if wish.key is None:
        return None
    found = await db.first(
        sa.select(Purchase).where(
            Purchase.tenant_id == wish.tenant,
            Purchase.user_id == wish.user_id,
            Purchase.idempotency_key == wish.key,
        )
    )
    if found is not None and found.input_hash != wish.digest:
        raise errors.Conflict("This key was used with another input.", "input", "idempotencyKey")
    return found


async def check_open(db: SystemSession, tenant: TenantId, /) -> None:
    """That this tenant may buy now. Raises TenantSuspended, TenantNotFound."""
    state = await db.first(sa.select(Tenant.state).where(Tenant.id == tenant))
    if state is TenantState.SUSPENDED:
        raise errors.TenantSuspended("This tenant is suspended: nothing can be bought for it now.")
    closed = await db.first(sa.select(BillingClosure.tenant_id).where(BillingClosure.tenant_id == tenant))
    if state is not TenantState.ACTIVE or closed is not None:
        raise errors.TenantNotFound("There is no such tenant.")


def _sha256(of: bytes) -> str:
    return hashlib.sha256(of).hexdigest()
