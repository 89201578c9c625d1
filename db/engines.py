"""Names → engines, and what differs between the databases behind them; the only create_async_engine.

Every engine carries the guard. A pool's connection is checked against the pool's identity
row when it opens, so a wrong URL is refused before a row is made.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import PoolResetState

from base import observe
from db.columns import MYSQL
from db.faults import WrongPool
from db.guard import Guard
from db.leases import Leases, limit
from db.zones import Zone

CONNECTIONS_MAX = 12
CONNECTIONS_OVERFLOW_MAX = 8
CONNECTION_WAIT_SECONDS = 10
CONNECTION_LIFE_SECONDS = 1_800
CONNECT_SECONDS_MAX = 3
# Each try; another process that holds the file may stand still for a while with the machine.
SQLITE_BUSY_MS = 1_000
# A commit is on the disk when it returns: what was acknowledged is there after a loss of power as well.
SQLITE_SYNCHRONOUS = "FULL"
STATEMENTS_PREPARED_MAX = 200


@dataclass(frozen=True, slots=True)
class Database:
    """One database by its name (`central`, `tenant_pool_1`, …).

    `engine` serves transactions, `reader` single statements in autocommit (its connections never
    begin anything), `leases` the same for planned reads; `writers` queues the writers of an SQLite file.
    """

    name: str
    zone: Zone
    engine: AsyncEngine
    reader: AsyncEngine
    leases: Leases
    writers: asyncio.Lock | None = field(default=None)

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Wait for one's turn to write: SQLite has one writer, and a queue beats its sleeping back-off."""
        if self.writers is None:
            yield
        else:
            async with self.writers:
                yield


@dataclass(frozen=True, slots=True)
class Databases:
    """The connections `central` and `tenant_pool_N`."""

    central: Database
    pools: Mapping[str, Database]

    def all(self) -> list[Database]:
        """Central first."""
        return [self.central, *self.pools.values()]

    async def close(self) -> None:
        """Close every connection; drivers complain at exit about those left open."""
        for database in self.all():
            await database.leases.close()
            await database.engine.dispose()
            await database.reader.dispose()


def open_engine(url: str) -> AsyncEngine:
    """An engine with this house's settings for its kind of database, without guard or identity check (migrations)."""
    return _resetting(create_async_engine(url, **_arguments(url)))


def open_database(name: str, url: str, /, zone: Zone, *, guard: Guard) -> Database:
    """A database as requests and workers use it."""
    sqlite = make_url(url).drivername.startswith("sqlite")
    engine = open_engine(url)
    # SQLite without a BEGIN is in autocommit by itself; the others are switched once, when they connect.
    alone = {} if sqlite else {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}
    reader = _resetting(create_async_engine(url, **{**_arguments(url), **alone}))
    for each in (engine.sync_engine, reader.sync_engine):
        guard.install(each)
        _count_statements(each, name)
        if sqlite:
            _settle_sqlite(each)
        if zone is Zone.POOL:
            _check_identity(each, name)
    if sqlite:
        _begin_ourselves(engine.sync_engine)
    _bound_statements(reader.sync_engine)
    leases = Leases(reader, name, guard=guard)
    return Database(name, zone, engine, reader, leases, asyncio.Lock() if sqlite else None)


def _arguments(url: str) -> dict[str, Any]:
    made = make_url(url)
    driver: dict[str, Any] = {}
    arguments: dict[str, Any] = {}
    if made.drivername.startswith("sqlite"):
        driver = {"timeout": SQLITE_BUSY_MS / 1000}
    elif made.drivername.endswith("+asyncpg"):
        driver = {"timeout": CONNECT_SECONDS_MAX}
    else:
        driver = {"connect_timeout": CONNECT_SECONDS_MAX, "charset": "utf8mb4"}
        arguments["pool_reset_on_return"] = None  # `_resetting` does it
        arguments["isolation_level"] = "READ COMMITTED"  # a loser of a race must see the winner's row
        if made.drivername.endswith("+asyncmy"):
            driver["stmt_cache_size"] = STATEMENTS_PREPARED_MAX
    arguments |= {
        "json_serializer": lambda value: orjson.dumps(value).decode(),
        "json_deserializer": orjson.loads,
        "connect_args": driver,
        # An error's text goes to the log; what was bound (hashes, addresses, titles) does not.
        "hide_parameters": True,
        "pool_pre_ping": False,
        "pool_use_lifo": True,
        "pool_recycle": CONNECTION_LIFE_SECONDS,
    }
    if ":memory:" not in url:
        arguments |= {
            "pool_size": CONNECTIONS_MAX,
            "max_overflow": CONNECTIONS_OVERFLOW_MAX,
            "pool_timeout": CONNECTION_WAIT_SECONDS,
        }
    return arguments


def _resetting(engine: AsyncEngine) -> AsyncEngine:
    # The pool would send a ROLLBACK after every transaction: MariaDB has said with its last answer whether one is open.
    if engine.dialect.name in MYSQL:

        @event.listens_for(engine.sync_engine, "reset")
        def reset(connection: Any, _record: object, state: PoolResetState) -> None:
            if not state.terminate_only and connection.driver_connection.get_transaction_status():
                connection.rollback()

    return engine


def _settle_sqlite(engine: sa.Engine) -> None:
    @event.listens_for(engine, "connect")
    def settle(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={SQLITE_SYNCHRONOUS}",
            "foreign_keys=ON",
            f"busy_timeout={SQLITE_BUSY_MS}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()


def _bound_statements(engine: sa.Engine) -> None:
    @event.listens_for(engine, "connect")
    def bound(connection: Any, _record: object) -> None:
        told = limit(engine.dialect)
        if told is not None:
            cursor = connection.cursor()
            cursor.execute(told)
            cursor.close()


def _begin_ourselves(engine: sa.Engine) -> None:
    # By default the driver begins nothing before a SELECT, and an upgrade from reading to writing fails at once:
    # so we begin ourselves, IMMEDIATE where the session says that it will write.
    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        options = connection.get_execution_options()
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes") else "BEGIN")


def _check_identity(engine: sa.Engine, name: str) -> None:
    @event.listens_for(engine, "connect")
    def check(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        try:
            cursor.execute("SELECT pool_name FROM fences WHERE tenant_id = ''")
            row = cursor.fetchone()
        finally:
            cursor.close()
        found = None if row is None else row[0]
        if found != name:
            raise WrongPool(f"the database of {name} says it is {found}: check ATRIUM_POOLS, then `atrium migrate`")


def _count_statements(engine: sa.Engine, name: str) -> None:
    counter = observe.STATEMENTS.labels(name)

    @event.listens_for(engine, "before_cursor_execute")
    def count(*_: object) -> None:
        counter.inc()
