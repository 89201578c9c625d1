"""Host → tenant, state, pool, epoch: a bounded cache in front of `domains` and `tenants`.

Correctness never hangs on the cache's age: the pool's fence refuses an old route. Notices
of topic `directory` (a host or a tenant id) drop entries at once, in every process.
"""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass

import sqlalchemy as sa

from base.bus import Notice
from db.guard import Permit
from db.session import Sessions, SystemSession
from db.tables.central.identity import Domain, Tenant
from db.zones import TenantId, TenantState

ENTRIES_MAX = 20_000
FOUND_SECONDS = 30.0
UNKNOWN_SECONDS = 5.0
# A route that is asked for is read anew this long before it would end, so that no request waits for it.
AHEAD_SECONDS = 10.0
CLOSE_SECONDS_MAX = 5
TOPIC = "directory"


@dataclass(frozen=True, slots=True)
class Route:
    """Where a tenant is; `epoch` counts its moves and is checked by the pool's fence."""

    tenant_id: TenantId
    state: TenantState
    pool: str
    epoch: int

    @property
    def slug(self) -> str:
        """The first label of the tenant's own host; the id itself."""
        return self.tenant_id


@dataclass(frozen=True, slots=True)
class _Entry:
    route: Route | None
    until: float


class Directory:
    """One process's view of which host belongs to whom."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._asked: dict[str, asyncio.Task[Route | None]] = {}
        self._running: set[asyncio.Task[Route | None]] = set()
        self._generation = 0
        sessions.bus.listen(self._hear)

    async def of_host(self, host: str) -> Route | None:
        """The route behind a normalised host; None for a host nobody has."""
        return await self._look(f"host:{host}")

    async def of_tenant(self, tenant: TenantId) -> Route | None:
        """The route of a tenant; None for one that does not exist."""
        return await self._look(f"tenant:{tenant}")

    def forget(self, tenant: TenantId) -> None:
        """Drop what is known of a tenant here: its fence has refused our route."""
        self._hear(Notice(TOPIC, tenant))

    async def close(self) -> None:
        """Wait for look-ups that still run: nobody closes the databases under them."""
        if self._running:
            await asyncio.wait(set(self._running), timeout=CLOSE_SECONDS_MAX)

    def known(self, host: str) -> Route | None:
        """The route behind a host that is known here; None where somebody has to be asked, or nobody has it."""
        return self._known(f"host:{host}")

    def _known(self, key: str) -> Route | None:
        entry = self._entries.get(key)
        now = time.monotonic()
        if entry is None or entry.until <= now or entry.route is None:
            return None
        self._entries.move_to_end(key)
        if entry.until - now < AHEAD_SECONDS:
            self._begin(key)
        return entry.route

    async def _look(self, key: str) -> Route | None:
        route = self._known(key)
        if route is not None:
            return route
        entry = self._entries.get(key)
        if entry is not None and entry.until > time.monotonic():
            self._entries.move_to_end(key)
            return None
        return await asyncio.shield(self._begin(key))

    def _begin(self, key: str) -> asyncio.Task[Route | None]:
        """The look-up of this key that runs now: concurrent askers share one, and it outlives the first of them."""
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = asyncio.create_task(self._ask(key))
            self._running.add(asked)
            asked.add_done_callback(lambda done: self._ended(key, done))
        return asked

    def _ended(self, key: str, asked: asyncio.Task[Route | None]) -> None:
        self._running.discard(asked)
        if self._asked.get(key) is asked:
            del self._asked[key]
        if not asked.cancelled():
            asked.exception()  # whoever waited has been told; a refresh that failed leaves the entry to its end

    async def _ask(self, key: str) -> Route | None:
        generation = self._generation
        kind, _, name = key.partition(":")
        find = _by_host if kind == "host" else _by_tenant
        route = await self._sessions.central(SystemSession, Permit(infra=True), find, name)
        # Kept only if no invalidation came since the look-up began: the old answer would outlive it.
        if generation == self._generation:
            seconds = UNKNOWN_SECONDS if route is None else FOUND_SECONDS
            self._entries[key] = _Entry(route, time.monotonic() + seconds)
            while len(self._entries) > ENTRIES_MAX:
                self._entries.popitem(last=False)
        return route

    def _hear(self, notice: Notice) -> None:
        if notice.topic == "reset":
            self._generation += 1
            self._asked.clear()
            self._entries.clear()
        elif notice.topic == TOPIC:
            self._generation += 1
            # Whoever asks from now on does not wait for an answer that was on its way before the change.
            self._asked.clear()
            for key in (f"host:{notice.key}", f"tenant:{notice.key}"):
                self._entries.pop(key, None)
            for key, entry in list(self._entries.items()):
                if entry.route is not None and entry.route.tenant_id == notice.key:
                    del self._entries[key]


async def _by_host(db: SystemSession, host: str) -> Route | None:
    return await _one(db, sa.select(*_COLUMNS).join(Domain, Domain.tenant_id == Tenant.id).where(Domain.host == host))


async def _by_tenant(db: SystemSession, tenant: str) -> Route | None:
    return await _one(db, sa.select(*_COLUMNS).where(Tenant.id == tenant))


_COLUMNS = (Tenant.id, Tenant.state, Tenant.db_pool, Tenant.epoch)


async def _one(db: SystemSession, statement: sa.Select[TenantId, TenantState, str, int]) -> Route | None:
    found = await db.tuples(statement)
    return Route(*found[0]) if found else None
