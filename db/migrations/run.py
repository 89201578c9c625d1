"""Brings a database to the newest revision of its tree, safely side by side, twice at once and after a crash.

Alembic's own commands are not used: their `op` and `context` belong to the process, and two of them in
one loop once wrote the centre's tables into a pool. Here every revision is handed its `op`.
"""

import contextlib
import functools
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

import sqlalchemy as sa
from alembic.operations import MigrateOperation, Operations, ops
from alembic.runtime.migration import MigrationStep
from alembic.script import ScriptDirectory
from alembic.script.base import Script
from sqlalchemy.ext.asyncio import AsyncEngine

from db import engines, faults
from db.columns import MYSQL
from db.migrations import lock
from db.migrations.tree import context, head, scripts
from db.tables.central.identity import Tenant
from db.tables.pool.upkeep import Fence
from db.zones import TenantId, Zone

TRIES_MAX = 5


class UnknownRevision(Exception):
    """The database stands at a revision that this version does not have: a newer one has migrated it."""


@contextlib.asynccontextmanager
async def reached(url: str) -> AsyncIterator[AsyncEngine]:
    """A plain engine for as long as a migration or a look at a revision takes."""
    engine = engines.open_engine(url)
    try:
        yield engine
    finally:
        await engine.dispose()


async def revision_of(engine: AsyncEngine, tree: Zone) -> str | None:
    """Where a database stands, or None where nothing was ever migrated."""
    async with engine.connect() as plain:
        connection = await plain.execution_options(**lock.OPTIONS)
        return await connection.run_sync(lambda c: context(c, tree).get_current_revision())


async def recognise(engine: AsyncEngine, *, pool_name: str | None) -> None:
    """Raises WrongPool where the database is another pool's or zone's; one that is nobody's yet is nobody's."""
    async with engine.connect() as plain:
        connection = await plain.execution_options(**lock.OPTIONS)
        await connection.run_sync(functools.partial(_recognise, pool_name=pool_name))


async def bring_up(engine: AsyncEngine, tree: Zone, *, pool_name: str | None) -> str:
    """Migrate one database to the head of its tree and return the revision it then has.

    A pool also gets its identity row. Idempotent; a second caller at the same time waits for the first.
    Raises WrongPool before anything is changed where the database is another pool's or zone's, and
    UnknownRevision, LockBusy, LockLost. `engine` is a plain one (`engines.open_engine`).
    """
    if (tree is Zone.POOL) != (pool_name is not None):
        raise TypeError("a pool is migrated under its name, the centre without one")
    await recognise(engine, pool_name=pool_name)
    async with lock.held(engine, tree.value) as mine, engine.connect() as plain:
        connection = await plain.execution_options(**lock.OPTIONS)
        try:
            await connection.run_sync(functools.partial(_climb, tree=tree, mine=mine))
            if pool_name is not None:
                await connection.run_sync(functools.partial(_name_pool, pool_name=pool_name))
        finally:
            # Its time limits are the migration's: the next borrower gets another connection.
            await connection.invalidate()
    return head(tree)


def _recognise(connection: sa.Connection, *, pool_name: str | None) -> None:
    """Refuse a database that is another pool's, or of the other zone: a wrong URL must not grow tables."""
    there = sa.inspect(connection)
    found = None
    if there.has_table(Fence.__tablename__):
        found = connection.scalar(sa.select(Fence.pool_name).where(Fence.tenant_id == ""))
    elif pool_name is not None and there.has_table(Tenant.__tablename__):
        found = "the centre"
    if found is not None and found != pool_name:
        wanted = pool_name or "the centre"
        raise faults.WrongPool(
            f"the database given for {wanted} is that of {found}: check its URL; nothing was changed"
        )


def _name_pool(connection: sa.Connection, *, pool_name: str) -> None:
    """Write the identity row, if it is missing."""
    for left in reversed(range(TRIES_MAX)):
        try:
            with connection.begin():
                if connection.scalar(sa.select(Fence.pool_name).where(Fence.tenant_id == "")) is None:
                    connection.execute(sa.insert(Fence).values(tenant_id=TenantId(""), id=0, pool_name=pool_name))
            break
        except sa.exc.DBAPIError as error:
            if not left or not faults.again(error):
                raise


def _climb(connection: sa.Connection, *, tree: Zone, mine: lock.Lock) -> None:
    """One revision a transaction; one that met a lock runs again."""
    known = scripts(tree)
    tries = TRIES_MAX
    while True:
        try:
            if not _step(connection, tree=tree, known=known, mine=mine):
                return
            tries = TRIES_MAX
        except sa.exc.DBAPIError as error:
            tries -= 1
            if not tries or not faults.again(error):
                raise


def _step(connection: sa.Connection, *, tree: Zone, known: ScriptDirectory, mine: lock.Lock) -> bool:
    """Run the one revision that follows; False where there is none."""
    with connection.begin():
        # The first statement writes: SQLite then has its one writer, and PostgreSQL keeps the row locked.
        noted = mine.keep(connection)
        script = _following(known, context(connection, tree).get_current_revision(), tree=tree)
        if script is None:
            return False
        resumes = noted == script.revision
        mine.keep(connection, begun=script.revision)
        _limit(connection, script.module)
        step = MigrationStep.upgrade_from_script(known.revision_map, script)
        here = context(connection, tree, fn=lambda *_: [step])
        here.run_migrations(op=_Resumed(here) if resumes else Operations(here))
        mine.keep(connection)
    return True


def _following(known: ScriptDirectory, current: str | None, *, tree: Zone) -> Script | None:
    try:
        to_go = list(known.iterate_revisions("head", current or "base"))
    except Exception as error:
        raise UnknownRevision(
            f"the {tree.value} database stands at revision {current}, this version ends at {head(tree)}: "
            "a newer version has migrated it, run that one"
        ) from error
    return to_go[-1] if to_go else None


def _limit(connection: sa.Connection, revision: ModuleType) -> None:
    """The revision's own limits: it must neither queue in front of everybody nor run for ever."""
    waits: int = revision.LOCK_SECONDS_MAX
    runs: int = revision.STATEMENT_SECONDS_MAX
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{waits}s'")
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{runs}s'")
    elif connection.dialect.name in MYSQL:
        connection.exec_driver_sql(f"SET SESSION lock_wait_timeout = {waits}, innodb_lock_wait_timeout = {waits}")
        if getattr(connection.dialect, "is_mariadb", False):
            connection.exec_driver_sql(f"SET SESSION max_statement_time = {runs}")


class _Resumed(Operations):
    """Goes on where a process died in an engine that commits every DDL by itself: what stands is passed over."""

    def invoke(self, operation: MigrateOperation) -> Any:
        """Do the operation unless it has been done."""
        return None if self._stands(operation) else super().invoke(operation)

    def _stands(self, operation: MigrateOperation) -> bool:
        there = sa.inspect(self.get_bind())
        if isinstance(operation, ops.CreateTableOp):
            return bool(there.has_table(operation.table_name))
        if isinstance(operation, ops.CreateIndexOp):
            return operation.index_name in {index["name"] for index in there.get_indexes(operation.table_name)}
        if isinstance(operation, ops.AddColumnOp):
            return operation.column.name in {column["name"] for column in there.get_columns(operation.table_name)}
        if isinstance(operation, ops.DropColumnOp):
            return operation.column_name not in {column["name"] for column in there.get_columns(operation.table_name)}
        if isinstance(operation, ops.DropTableOp):
            return not there.has_table(operation.table_name)
        if isinstance(operation, ops.DropIndexOp) and operation.table_name is not None:
            return operation.index_name not in {index["name"] for index in there.get_indexes(operation.table_name)}
        return False
