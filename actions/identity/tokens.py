"""Access tokens: made, bounded in number, ended. Their secret is shown once and stored as its SHA-256."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from base import errors
from base.ids import Id
from db.session import SystemSession
from db.tables.central.identity import AccessToken, User
from db.zones import TenantId
from tenancy.context import House
from tenancy.viewer import ABILITIES, STAFF_ABILITIES, new_secret

TOKENS_A_USER_MAX = 50
DEVICE_CHARACTERS_MAX = 200


@dataclass(frozen=True, slots=True)
class Device:
    """What the caller says it is signing in from."""

    name: str
    platform: str | None = None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who has just come in, and the token's text, which is shown this one time."""

    user_id: Id[User]
    tenant_id: TenantId
    token: str
    token_id: Id[AccessToken]


def check_abilities(asked: list[str] | None, *, is_staff: bool) -> list[str]:
    """The abilities a token gets. Raises NotAllowed for an unknown one or one beyond the user."""
    wanted = list(dict.fromkeys(asked)) if asked is not None else ["*"]
    beyond = [
        ability for ability in wanted if ability not in ABILITIES or (ability in STAFF_ABILITIES and not is_staff)
    ]
    if beyond or not wanted:
        raise errors.NotAllowed(
            f"This user may not ask for {', '.join(map(repr, beyond[:5])) or 'no ability at all'}.",
            "input",
            "abilities",
        )
    return wanted


async def issue(
    db: SystemSession,
    house: House,
    user_id: Id[User],
    /,
    *,
    tenant: TenantId,
    abilities: list[str],
    device: Device | None,
) -> SignedIn:
    """A new token of this user for this tenant; expired ones go, and the oldest where there are more than fifty."""
    db.act_for(user_id)
    kept = await db.all(
        sa.select(AccessToken).where(AccessToken.user_id == user_id).order_by(AccessToken.id.desc()).limit(200)
    )
    ended = [old.id for place, old in enumerate(kept) if place >= TOKENS_A_USER_MAX - 1 or old.expires_at <= db.now]
    await _delete(db, user_id, ended)
    token_id: Id[AccessToken] = db.new_id()
    text, token_hash = new_secret(token_id)
    db.add(
        AccessToken(
            id=token_id,
            tenant_id=tenant,
            user_id=user_id,
            name=device.name if device else "access token",
            abilities=abilities,
            token_hash=token_hash,
            device_name=device.name if device else None,
            device_platform=device.platform if device else None,
            expires_at=db.now + timedelta(days=house.settings.access_token_days),
        )
    )
    return SignedIn(user_id, tenant, text, token_id)


async def end(db: SystemSession, user_id: Id[User], /) -> None:
    """End every token of a user."""
    db.act_for(user_id)
    await _delete(db, user_id, await db.all(sa.select(AccessToken.id).where(AccessToken.user_id == user_id)))


async def _delete(db: SystemSession, user_id: Id[User], token_ids: Sequence[Id[AccessToken]], /) -> None:
    for token_id in token_ids:
        await db.change(sa.delete(AccessToken).where(AccessToken.user_id == user_id, AccessToken.id == token_id))
        db.tell("access_token", token_id)
