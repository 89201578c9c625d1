"""The writing door to the databases: sessions of a zone, each for one tenant or one purpose, and how they run.

An action takes a session and does nothing outside its database. `Sessions` opens the
transaction, checks the fence, commits, and runs the action again when the database asks
for it. Planned reads have a door of their own (`execution/fetch.py`); there is no third.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from base import errors, observe
from base.bus import Bus, Notice
from base.ids import Id, IdGenerator, IdsExhausted, Lease
from db import binding, engines, faults, fence, id_leases
from db.clock import Clock
from db.guard import Guard, GuardError, Permit
from db.outbox import Envelope, Event
from db.patience import PatientSession, answered
from db.sweep import SweepSession
from db.tables.central.work import BusLog
from db.zones import CentralBase, PoolBase, Scope, TenantId, Zone

TRIES_MAX = 6
LEASE_TRIES_MAX = 50
PAUSE_MS = 10
TRANSACTION_SECONDS_MAX = 20

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")
Row = TypeVar("Row", CentralBase, PoolBase)
PoolRow = TypeVar("PoolRow", bound=PoolBase)
Values = Mapping[str, Any]
Reads = sa.Select[*tuple[Any, ...]] | sa.CompoundSelect[*tuple[Any, ...]]
Writes = sa.Insert | sa.Update


class DbSession:
    """What every session can do. Rows are found by statements whose scope the guard has checked."""

    _connection: AsyncConnection

    def __init__(self, inner: AsyncSession, permit: Permit, /, ids: IdGenerator, *, now: datetime) -> None:
        self._inner = inner
        self._permit = permit
        self._ids = ids
        self.now = now
        self.notices: list[Notice] = []
        self.envelopes: list[Envelope] = []

    def new_id(self) -> Id[Any]:
        """An id for a row that is about to be made."""
        return self._ids.next()

    async def all(self, statement: sa.Select[T]) -> Sequence[T]:
        """The first column of every row."""
        return (await self._inner.scalars(statement)).all()

    async def first(self, statement: sa.Select[T]) -> T | None:
        """The first column of the first row, or None."""
        return (await self._inner.scalars(statement.limit(1))).first()

    async def tuples(self, statement: sa.Select[*tuple[Any, ...]]) -> Sequence[Any]:
        """Every row as a named tuple."""
        return (await self._inner.execute(statement)).all()

    async def change(self, statement: sa.Update | sa.Delete | sa.Insert) -> int:
        """Run a conditional UPDATE, DELETE or INSERT; the answer is the number of rows it met."""
        options = {} if isinstance(statement, sa.Insert) else {"synchronize_session": False}
        result = await self._inner.execute(statement, execution_options=options)
        return result.rowcount if isinstance(result, CursorResult) else 0

    async def read(self, statement: Reads, values: Values) -> Sequence[Any]:
        """Every row of a statement on tables that was made once; it names the tenant itself, and flushes nothing."""
        async with answered():
            return (await self._connection.execute(statement, values)).all()

    async def write(self, statement: Writes, values: Values | Sequence[Values]) -> int:
        """Run a statement on a table that was made once, as `read` does; the answer is the number of rows it met."""
        async with answered():
            return (await self._connection.execute(statement, values)).rowcount

    async def flush(self) -> None:
        """Send what was added or changed now, so that a later statement sees it."""
        if self._inner.new or self._inner.dirty or self._inner.deleted:
            await self._inner.flush()

    async def delete(self, row: CentralBase | PoolBase) -> None:
        """Delete a row that was read in this session."""
        await self._inner.delete(row)

    async def insert_once(self, row: CentralBase | PoolBase) -> bool:
        """Insert the row unless its unique key is there already; True for the one caller who inserted it."""
        await self._inner.flush()
        try:
            async with self._inner.begin_nested():
                self.add(row)
                await self._inner.flush()
        except sa.exc.IntegrityError as error:
            self._permit.flushing = False  # a flush that failed does not say that it ended
            if not faults.taken(error):
                raise
            return False
        return True

    def add(self, row: Any) -> None:
        """Add a new row; its id is made here when it has none."""
        if "id" in row.__mapper__.columns and row.id is None:
            row.id = self.new_id()
        self._inner.add(row)

    def tell(self, topic: str, key: object) -> None:
        """After the commit, tell every process that this changed."""
        self.notices.append(Notice(topic, str(key)))


class CentralSession(DbSession):
    """A session of the central database for one caller: its own private rows, everybody's shared ones."""

    zone = Zone.CENTRAL

    @property
    def viewer_id(self) -> Id[Any] | None:
        """Whose private rows this session may see."""
        return None if self._permit.owner is None else Id(self._permit.owner)

    @property
    def tenant(self) -> TenantId | None:
        """For which tenant it may write."""
        return None if self._permit.tenant is None else TenantId(self._permit.tenant)

    async def get(self, table: type[T], row_id: Id[T]) -> T | None:
        """The row with this id, or None."""
        return await self.first(sa.select(table).where(_id_of(table) == row_id))

    async def get_one(self, table: type[T], row_id: Id[T], *field: str) -> T:
        """The row with this id. Raises NotFound on `field`."""
        row = await self.get(table, row_id)
        if row is None:
            raise errors.NotFound(f"There is no {table.__name__} with this id.", *field)
        return row


class SystemSession(CentralSession):
    """A central session that no request's word opens: it may reach INFRA tables and names whose rows it means.

    Private rows still need their owner, tenant or a credential bound. Once it knows for whom it
    acts it is narrowed, never switched.
    """

    def act_for(self, user_id: Id[Any] | None = None, *, tenant: TenantId | None = None) -> None:
        """Narrow this session to a user, a tenant or both, once each."""
        for name, value in (("owner", user_id), ("tenant", tenant)):
            if value is not None:
                if getattr(self._permit, name) not in (None, value):
                    raise GuardError(f"this session acts for another {name} already: open a session of its own")
                setattr(self._permit, name, value)


class PoolSession(DbSession):
    """A session of one tenant's rows in its pool; with an owner, of that member's private rows alone."""

    zone = Zone.POOL

    def __init__(
        self, inner: AsyncSession, permit: Permit, /, ids: IdGenerator, *, now: datetime, correlation_id: str
    ) -> None:
        super().__init__(inner, permit, ids, now=now)
        if permit.tenant is None:
            raise GuardError("a pool session can only be had for one tenant")
        self.tenant = TenantId(permit.tenant)
        self.unheard: Collection[type[Event]] = ()
        self._correlation_id = correlation_id

    @property
    def viewer_id(self) -> Id[Any] | None:
        """The member whose private rows these are; None when a worker acts for the tenant."""
        return None if self._permit.owner is None else Id(self._permit.owner)

    async def get(self, table: type[PoolRow], row_id: Id[PoolRow]) -> PoolRow | None:
        """The tenant's (and owner's) row with this id, or None."""
        return await self.first(sa.select(table).where(table.id == row_id))

    async def get_one(self, table: type[PoolRow], row_id: Id[PoolRow], *field: str) -> PoolRow:
        """The tenant's (and owner's) row with this id. Raises NotFound on `field`."""
        row = await self.get(table, row_id)
        if row is None:
            raise errors.NotFound(f"There is no {table.__name__} with this id.", *field)
        return row

    def add(self, row: Any) -> None:
        """Add a new row of this tenant; tenant and owner are stamped here."""
        if row.tenant_id is None:
            row.tenant_id = self.tenant
        if type(row).scope is Scope.USER_PRIVATE and row.user_id is None and self._permit.owner is not None:
            row.user_id = self._permit.owner
        super().add(row)

    def emit(self, happened: Event) -> None:
        """Write an event into this transaction's outbox; it is delivered after the commit, at least once."""
        if type(happened) in self.unheard:  # nobody listens: whoever runs the action has asked
            return
        envelope = Envelope.of(
            happened, event_id=self.new_id(), tenant=self.tenant, at=self.now, correlation_id=self._correlation_id
        )
        self.envelopes.append(envelope)
        self.add(envelope.row())


S = TypeVar("S", bound=CentralSession)


@dataclass(slots=True)
class Done(Generic[R]):
    """What an action answered, and the events that its committed transaction left in the outbox."""

    value: R
    envelopes: list[Envelope] = field(default_factory=list)


class Route(Protocol):
    """As much of a tenant's route as a session needs."""

    @property
    def tenant_id(self) -> TenantId: ...
    @property
    def pool(self) -> str: ...
    @property
    def epoch(self) -> int: ...


class Sessions:
    """Opens sessions, runs actions in them, and runs them again when the database asks for it."""

    def __init__(self, databases: engines.Databases, bus: Bus, *, logs_notices: bool) -> None:
        self.databases = databases
        self.bus = bus
        self.ids = IdGenerator(self._lease_ids)
        self.clock = Clock()
        self._logs_notices = logs_notices

    async def central(
        self,
        kind: type[S],
        permit: Permit,
        /,
        action: Callable[Concatenate[S, P], Awaitable[R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Run `action` in one transaction of the central database."""

        async def once(inner: AsyncSession) -> tuple[R, S]:
            mine = Permit(tenant=permit.tenant, owner=permit.owner, infra=permit.infra)
            db = kind(inner, mine, self.ids, now=self.clock.now())
            db._connection = await binding.bind(inner, mine)  # noqa: SLF001  (the session's own room)
            value = await action(db, *args, **kwargs)
            if self._logs_notices and db.notices:
                await inner.flush()
                mine.infra = True  # what follows is the house's own; the action has ended
                inner.add_all(BusLog(id=db.new_id(), topic=told.topic, key=told.key) for told in db.notices)
            return value, db

        value, db = await self._run(self.databases.central, once)
        if self._logs_notices:
            for notice in db.notices:
                self.bus.hear(notice)
        else:
            await self.bus.tell(db.notices)
        return value

    async def pool(
        self,
        route: Route,
        permit: Permit,
        correlation_id: str,
        /,
        action: Callable[Concatenate[PoolSession, P], Awaitable[R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Done[R]:
        """Run `action` in one transaction of the route's pool. Raises fence.Stale when the route is old."""
        by_member = permit.owner is not None

        async def fenced(db: PoolSession) -> R:
            await fence.check(db, route.tenant_id, epoch=route.epoch, by_member=by_member)
            return await action(db, *args, **kwargs)

        return await self.found(route, permit, correlation_id, fenced)

    async def found(
        self,
        route: Route,
        permit: Permit,
        correlation_id: str,
        /,
        action: Callable[Concatenate[PoolSession, P], Awaitable[R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Done[R]:
        """Run `action` in the pool without asking the fence: for the action that makes it."""
        database = self.databases.pools.get(route.pool)
        if database is None:
            raise errors.PoolUnavailable("The database of this tenant is not configured here.")

        async def once(inner: AsyncSession) -> tuple[R, PoolSession]:
            mine = Permit(tenant=permit.tenant, owner=permit.owner)
            db = PoolSession(inner, mine, self.ids, now=self.clock.now(), correlation_id=correlation_id)
            db._connection = await binding.bind(inner, mine)  # noqa: SLF001  (the session's own room)
            return await action(db, *args, **kwargs), db

        value, db = await self._run(database, once)
        await self.bus.tell(db.notices)
        return Done(value, db.envelopes)

    async def sweep(self, pool: str, look: Callable[[SweepSession], Awaitable[R]]) -> R:
        """Run `look` with a session that sees swept tables of all tenants of a pool."""
        database = self.databases.pools[pool]
        try:
            async with database.reader.connect() as connection:
                await connection.execution_options(permit=Permit(sweep=True))
                return await look(SweepSession(connection))
        except Exception as error:
            raise _told(error, database) from error

    async def _lease_ids(self, now_ms: int) -> Lease:
        async def once(inner: AsyncSession) -> Lease | None:
            await binding.bind(inner, Permit(infra=True))
            return await id_leases.take(inner, now_ms)

        central = self.databases.central
        for _ in range(LEASE_TRIES_MAX):
            try:
                async with central.writing():
                    lease = await self._once(central, once)
            except Exception as error:
                if not (faults.again(error) or faults.taken(error)):
                    raise _told(error, central) from error
                continue
            if lease is not None:
                return lease
        raise IdsExhausted("no worker number could be leased: are more than a thousand processes running?")

    async def _run(self, database: engines.Database, once: Callable[[AsyncSession], Awaitable[R]]) -> R:
        for attempt in range(TRIES_MAX):
            try:
                await self.ids.ensure()
                await self.clock.ensure(self.databases.central.reader)
                async with database.writing(), asyncio.timeout(TRANSACTION_SECONDS_MAX):
                    return await self._once(database, once)
            except Exception as error:
                if attempt + 1 < TRIES_MAX and faults.again(error):
                    observe.note(observe.Event.TRANSACTION_AGAIN, database=database.name, attempt=attempt + 1)
                    await asyncio.sleep(random.random() * PAUSE_MS / 1000 * 2**attempt)  # noqa: S311  (spreads contenders)
                    continue
                raise _told(error, database) from error
        raise AssertionError("unreachable: the last try returns or raises")

    async def _once(self, database: engines.Database, once: Callable[[AsyncSession], Awaitable[R]]) -> R:
        async with PatientSession(
            database.engine, sync_session_class=binding.BoundSession, expire_on_commit=False, autoflush=True
        ) as inner:
            answer = await once(inner)
            try:
                await inner.commit()
            except DBAPIError as error:
                raise (faults.Unanswered() if error.connection_invalidated else error) from error
            return answer


def _told(error: Exception, database: engines.Database) -> Exception:
    return faults.told(error, name=database.name, zone=database.zone)


def _id_of(table: type[Any]) -> sa.ColumnElement[Any]:
    column: sa.ColumnElement[Any] = table.id
    return column


def open_databases(central_url: str, pools: Mapping[str, str]) -> engines.Databases:
    """Every database of the configuration, under the guard; nothing is connected yet."""
    guard = Guard(binding.rules())
    return engines.Databases(
        central=engines.open_database("central", central_url, Zone.CENTRAL, guard=guard),
        pools={name: engines.open_database(name, url, Zone.POOL, guard=guard) for name, url in sorted(pools.items())},
    )
