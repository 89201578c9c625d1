"""Host → tenant, state, pool, epoch: a bounded cache in front of `domains` and `tenants`.

Correctness never hangs on the cache's age: the pool's fence refuses an old route. Notices
of topic `directory` (a host or a tenant id) drop entries at once, in every process.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from base.bus import Notice
from db.alike import even
from db.guard import Permit
from db.session import Sessions, SystemSession
from db.tables.central.identity import Domain, Tenant
from db.zones import TenantId, TenantState
from tenancy.asked import Asked

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
        self._asked = Asked(self._anew)
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
        await self._asked.finished(seconds=CLOSE_SECONDS_MAX)

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
            self._asked.begin(key)
        return entry.route

    async def _look(self, key: str) -> Route | None:
        route = self._known(key)
        if route is not None:
            return route
        entry = self._entries.get(key)
        if entry is not None and entry.until > time.monotonic():
            self._entries.move_to_end(key)
            return None
        return await asyncio.shield(self._asked.begin(key))

    async def _anew(self, keys: Sequence[str]) -> dict[str, Route | None]:
        """The routes of these keys, read by one transaction and kept."""
        generation = self._generation
        found = await self._sessions.central(SystemSession, Permit(infra=True), _read, keys)
        # Kept only if no invalidation came since the look-up began: the old answer would outlive it.
        if generation == self._generation:
            now = time.monotonic()
            for key, route in found.items():
                self._entries[key] = _Entry(route, now + (UNKNOWN_SECONDS if route is None else FOUND_SECONDS))
            while len(self._entries) > ENTRIES_MAX:
                self._entries.popitem(last=False)
        return found

    def _hear(self, notice: Notice) -> None:
        if notice.topic == "reset":
            self._generation += 1
            self._asked.part()
            self._entries.clear()
        elif notice.topic == TOPIC:
            self._generation += 1
            self._asked.part()
            for key in (f"host:{notice.key}", f"tenant:{notice.key}"):
                self._entries.pop(key, None)
            for key, entry in list(self._entries.items()):
                if entry.route is not None and entry.route.tenant_id == notice.key:
                    del self._entries[key]


_COLUMNS = (Tenant.id, Tenant.state, Tenant.db_pool, Tenant.epoch)
_BY_HOST = (
    sa.select(Domain.host, *_COLUMNS)
    .join(Tenant, Domain.tenant_id == Tenant.id)
    .where(Domain.host.in_(sa.bindparam("names", expanding=True)))
)
_BY_TENANT = sa.select(Tenant.id.label("name"), *_COLUMNS).where(
    Tenant.id.in_(sa.bindparam("names", expanding=True)),
)
_KINDS = {"host:": _BY_HOST, "tenant:": _BY_TENANT}


async def _read(db: SystemSession, keys: Sequence[str]) -> dict[str, Route | None]:
    """The route behind each key, one statement a kind."""
    found: dict[str, Route | None] = dict.fromkeys(keys)
    for kind, statement in _KINDS.items():
        names = [key.removeprefix(kind) for key in keys if key.startswith(kind)]
        if names:
            for name, *route in await db.read(statement, {"names": even(names)}):
                found[f"{kind}{name}"] = Route(*route)
    return found
