"""Access token → viewer, membership, permissions: bounded, at most a second old, dropped by the bus."""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from base.bus import Notice
from base.ids import Id
from db.alike import even
from db.columns import utc_now
from db.guard import Permit
from db.session import Sessions, SystemSession
from db.tables.central.identity import AccessToken, MemberKind, TenantMember, User
from db.zones import TenantId
from tenancy.asked import Asked

ENTRIES_MAX = 10_000
# Of tokens that are nobody's: whoever makes them up pushes out no more than what others have made up.
UNKNOWN_MAX = 1_000
KEPT_SECONDS = 1.0
# A token that is asked for is read anew from this age on, with all others that are, so that no request waits for it.
REFRESH_SECONDS = 0.5
GATHER_SECONDS = 0.1
REFRESHED_TOGETHER_MAX = 100
TOKEN_CHARACTERS_MAX = 200
CLOSE_SECONDS_MAX = 5
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


@dataclass(slots=True)
class Entry:
    """Who is behind a token, as it was read; moments of the monotonic clock."""

    viewer: Viewer | None
    until: float
    refreshed_from: float


class Viewers:
    """One process's view of who is behind a token."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._entries: OrderedDict[str, Entry] = OrderedDict()  # the last read at the end
        self._unknown: OrderedDict[str, Entry] = OrderedDict()
        self._asked = Asked(self._new)
        self._due: dict[str, Id[User]] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._generation = 0
        self._used: dict[Id[AccessToken], tuple[Id[User], datetime]] = {}
        sessions.bus.listen(self._hear)

    async def of_token(self, text: str | None) -> Viewer | None:
        """The viewer behind a token's text; None where it is unknown, revoked or expired."""
        if text is None or len(text) > TOKEN_CHARACTERS_MAX or not text.isascii():
            return None
        known = self.known(text)
        if known is not None:
            return known.viewer
        # Requests of one token that come together wait for one query; it goes on when the first hangs up.
        entry = await asyncio.shield(self._asked.begin(text))
        self._use(entry.viewer)
        return entry.viewer

    def known(self, text: str) -> Entry | None:
        """What was read of a token within the last second; None where somebody has to be asked."""
        entry = self._entries.get(text) or self._unknown.get(text)
        now = time.monotonic()
        if entry is None or entry.until <= now:
            return None
        viewer = entry.viewer
        if viewer is not None and entry.refreshed_from <= now:
            entry.refreshed_from = entry.until
            self._due[text] = viewer.user_id
            if self._refreshing is None:
                self._refreshing = asyncio.create_task(self._refresh())
                self._refreshing.add_done_callback(self._refreshed)
        self._use(viewer)
        return entry

    async def close(self) -> None:
        """Wait for what is being read: nobody closes the databases under it."""
        self._due.clear()
        await self._asked.finished(seconds=CLOSE_SECONDS_MAX)
        if self._refreshing is not None:
            await asyncio.wait({self._refreshing}, timeout=CLOSE_SECONDS_MAX)

    def _use(self, viewer: Viewer | None) -> None:
        if viewer is not None:
            self._used[viewer.token_id] = (viewer.user_id, utc_now())

    async def _new(self, texts: Sequence[str]) -> dict[str, Entry]:
        return await self._anew(dict.fromkeys(texts))

    async def _anew(self, users: Mapping[str, Id[User] | None]) -> dict[str, Entry]:
        now, generation = time.monotonic(), self._generation
        found = await self._sessions.central(SystemSession, Permit(infra=True), _read, users)
        return {
            text: self._keep(text, viewer, read_at=now, seconds=seconds, generation=generation)
            for text, (viewer, seconds) in found.items()
        }

    async def _refresh(self) -> None:
        """Read what is due until nothing is, in one transaction for many."""
        while self._due:
            await asyncio.sleep(GATHER_SECONDS)
            some = dict(list(self._due.items())[:REFRESHED_TOGETHER_MAX])
            for text in some:
                del self._due[text]
            await self._anew(some)

    def _refreshed(self, done: asyncio.Task[None]) -> None:
        self._refreshing = None
        if not done.cancelled():
            done.exception()  # what could not be read anew is kept to its end, and then asked for by whoever needs it

    def _keep(self, text: str, viewer: Viewer | None, /, *, read_at: float, seconds: float, generation: int) -> Entry:
        until = read_at + min(KEPT_SECONDS, seconds)
        entry = Entry(viewer, until, min(until, read_at + REFRESH_SECONDS))
        # Kept only if no token was ended since the look-up began: what was read may be what was before.
        if generation == self._generation:
            self._entries.pop(text, None)
            self._unknown.pop(text, None)
            entries, most = (self._unknown, UNKNOWN_MAX) if viewer is None else (self._entries, ENTRIES_MAX)
            entries[text] = entry
            while len(entries) > most:
                entries.popitem(last=False)
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
            self._asked.part()
            self._unknown.clear()
            for text, entry in list(self._entries.items()):
                viewer = entry.viewer
                if notice.topic == "reset" or viewer is None or str(viewer.token_id) == notice.key:
                    self._entries.pop(text, None)


_OWNERS = sa.select(AccessToken.token_hash, AccessToken.user_id).where(
    AccessToken.token_hash.in_(sa.bindparam("hashes", expanding=True))
)
_WHO = (
    sa.select(
        AccessToken.id,
        AccessToken.token_hash,
        AccessToken.user_id,
        AccessToken.tenant_id,
        AccessToken.abilities,
        AccessToken.expires_at,
        User.is_staff,
        TenantMember.kind,
    )
    .join(User, User.id == AccessToken.user_id)
    .join(
        TenantMember,
        (TenantMember.tenant_id == AccessToken.tenant_id) & (TenantMember.user_id == AccessToken.user_id),
        isouter=True,
    )
    .where(
        AccessToken.token_hash.in_(sa.bindparam("hashes", expanding=True)),
        User.id.in_(sa.bindparam("users", expanding=True)),
    )
)


async def _read(db: SystemSession, users: Mapping[str, Id[User] | None]) -> dict[str, tuple[Viewer | None, float]]:
    """The viewer behind each token's text and for how many seconds; `users` says whose each was when it was last read.

    All of them by one statement, or two where somebody is not known.
    """
    # The hash of a secret of full entropy is what opens the row; id and hash are then compared in constant time.
    hashes = {text: hash_secret(text.partition("|")[2]) for text in users}
    known = {user for user in users.values() if user is not None}
    new = [hashes[text] for text, user in users.items() if user is None]
    if new:
        known |= {row.user_id for row in await db.read(_OWNERS, {"hashes": even(new)})}
    rows: dict[str, Any] = {}
    if known:
        asked = {"hashes": even(hashes.values()), "users": even(known)}
        rows = {row.token_hash: row for row in await db.read(_WHO, asked)}
    return {text: _viewer(text, rows.get(hashes[text]), hashes[text], now=db.now) for text in users}


def _viewer(text: str, token: Any, hashed: str, /, *, now: datetime) -> tuple[Viewer | None, float]:
    if token is None:
        return None, KEPT_SECONDS
    number = text.partition("|")[0]
    if not (hmac.compare_digest(f"{token.id:x}", number) and hmac.compare_digest(token.token_hash, hashed)):
        return None, KEPT_SECONDS
    seconds = (token.expires_at - now).total_seconds()
    if seconds <= 0:
        return None, KEPT_SECONDS
    viewer = Viewer(
        user_id=token.user_id,
        tenant_id=token.tenant_id,
        token_id=token.id,
        abilities=frozenset(token.abilities),
        is_staff=token.is_staff,
        is_member=token.kind is not None,
        expires_at=token.expires_at,
        is_owner=token.kind is MemberKind.OWNER,
    )
    return viewer, seconds


async def _write_used(db: SystemSession, used: dict[Id[AccessToken], tuple[Id[User], datetime]]) -> None:
    for token_id, (user_id, at) in sorted(used.items()):
        await db.change(
            sa.update(AccessToken)
            .where(AccessToken.id == token_id, AccessToken.user_id == user_id)
            .values(last_used_at=at)
        )
