"""Access token → viewer, membership, permissions: bounded, at most a second old, dropped by the bus."""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from base.bus import Notice
from base.ids import Id
from db.columns import utc_now
from db.guard import Permit
from db.session import Sessions, SystemSession
from db.tables.central.identity import AccessToken, MemberKind, TenantMember, User
from db.zones import TenantId

ENTRIES_MAX = 10_000
KEPT_SECONDS = 1.0
TOKEN_CHARACTERS_MAX = 200
SECRET_BYTES = 32
TOPIC = "access_token"
STAFF_ABILITIES = frozenset({"catalog:write"})
ABILITIES = frozenset({"*", "read", "write", "billing", "webhooks", *STAFF_ABILITIES})


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks: a user through one access token, which is of one tenant."""

    user_id: Id[User]
    tenant_id: TenantId
    token_id: Id[AccessToken]
    abilities: frozenset[str]
    is_staff: bool
    is_member: bool
    expires_at: datetime | None = None
    is_owner: bool = False

    def can(self, ability: str) -> bool:
        """Whether the token carries this ability; staff abilities never go beyond the user."""
        if ability in STAFF_ABILITIES and not self.is_staff:
            return False
        return "*" in self.abilities or ability in self.abilities


def new_secret(token_id: int) -> tuple[str, str]:
    """(token text shown once, hash to store)."""
    secret = secrets.token_urlsafe(SECRET_BYTES)
    return f"{token_id:x}|{secret}", hash_secret(secret)


def hash_secret(secret: str) -> str:
    """What is stored of a secret of full entropy: SHA-256, hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def bearer(header: str | None) -> str | None:
    """The token text of an Authorization header, or None where there is none of ours."""
    if header is None:
        return None
    kind, _, text = header.partition(" ")
    return text.strip() if kind.lower() == "bearer" else None


class Viewers:
    """One process's view of who is behind a token."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._entries: OrderedDict[str, tuple[Viewer | None, float]] = OrderedDict()
        self._asked: dict[str, asyncio.Task[tuple[Viewer | None, float]]] = {}
        self._generation = 0
        self._used: dict[Id[AccessToken], tuple[Id[User], datetime]] = {}
        sessions.bus.listen(self._hear)

    async def of_token(self, text: str | None) -> Viewer | None:
        """The viewer behind a token's text; None where it is unknown, revoked or expired."""
        if text is None or len(text) > TOKEN_CHARACTERS_MAX or not text.isascii():
            return None
        now = time.monotonic()
        entry = self._entries.get(text)
        if entry is None or entry[1] <= now:
            asked = self._asked.get(text)
            if asked is None:
                # Requests of one token that come together wait for one query; it goes on when the first hangs up.
                asked = self._asked[text] = asyncio.create_task(self._ask(text, now))
                asked.add_done_callback(lambda done: self._asked.pop(text) if self._asked.get(text) is done else None)
            entry = await asyncio.shield(asked)
        if entry[0] is not None:
            self._used[entry[0].token_id] = (entry[0].user_id, utc_now())
        return entry[0]

    async def _ask(self, text: str, now: float) -> tuple[Viewer | None, float]:
        generation = self._generation
        viewer, seconds = await self._sessions.central(SystemSession, Permit(infra=True), _read, text)
        entry = (viewer, now + min(KEPT_SECONDS, seconds))
        # Kept only if no token was ended since the look-up began: what was read may be what was before.
        if generation == self._generation:
            self._entries[text] = entry
        while len(self._entries) > ENTRIES_MAX:
            self._entries.popitem(last=False)
        return entry

    async def write_used(self) -> None:
        """Write `last_used_at` of the tokens used since the last call, in one transaction."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            await self._sessions.central(SystemSession, Permit(infra=True), _write_used, used)
        except BaseException:
            # Told the next time; what was used meanwhile is newer, and what is too much to keep is let go.
            self._used = {**used, **self._used} if len(used) + len(self._used) <= ENTRIES_MAX else self._used
            raise

    def _hear(self, notice: Notice) -> None:
        if notice.topic in (TOPIC, "reset"):
            self._generation += 1
            # Whoever asks from now on does not wait for an answer that was on its way before the change.
            self._asked.clear()
            for text, (viewer, _) in list(self._entries.items()):
                if notice.topic == "reset" or viewer is None or str(viewer.token_id) == notice.key:
                    self._entries.pop(text, None)


async def _read(db: SystemSession, text: str) -> tuple[Viewer | None, float]:
    number, _, secret = text.partition("|")
    # The hash of a secret of full entropy is what opens the row; id and hash are then compared in constant time.
    token = await db.first(sa.select(AccessToken).where(AccessToken.token_hash == hash_secret(secret)))
    if token is None or not (
        hmac.compare_digest(f"{token.id:x}", number) and hmac.compare_digest(token.token_hash, hash_secret(secret))
    ):
        return None, KEPT_SECONDS
    seconds = (token.expires_at - db.now).total_seconds()
    is_staff = await db.first(sa.select(User.is_staff).where(User.id == token.user_id))
    if seconds <= 0 or is_staff is None:
        return None, KEPT_SECONDS
    member = await db.first(
        sa.select(TenantMember.kind).where(
            TenantMember.tenant_id == token.tenant_id, TenantMember.user_id == token.user_id
        )
    )
    viewer = Viewer(
        user_id=token.user_id,
        tenant_id=token.tenant_id,
        token_id=token.id,
        abilities=frozenset(token.abilities),
        is_staff=is_staff,
        is_member=member is not None,
        expires_at=token.expires_at,
        is_owner=member is MemberKind.OWNER,
    )
    return viewer, seconds


async def _write_used(db: SystemSession, used: dict[Id[AccessToken], tuple[Id[User], datetime]]) -> None:
    for token_id, (user_id, at) in sorted(used.items()):
        await db.change(
            sa.update(AccessToken)
            .where(AccessToken.id == token_id, AccessToken.user_id == user_id)
            .values(last_used_at=at)
        )
