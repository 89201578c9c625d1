"""Databases of a test's own, on every engine we promise; a server that is not there skips the test, or fails it
under ATRIUM_REQUIRE_SERVICES=1. What a database looks like, by its engine's own words, is here too.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from db import engines, faults

ENGINES = ["sqlite", "mariadb", "postgresql"]

_SERVERS = {
    "mariadb": ("mysql+aiomysql://root@127.0.0.1:3306/", "mysql"),
    "asyncmy": ("mysql+asyncmy://root@127.0.0.1:3306/", "mysql"),  # the same server by its quicker driver
    "postgresql": ("postgresql+asyncpg://postgres@127.0.0.1:5432/", "postgres"),
}


@contextlib.asynccontextmanager
async def scratch(kind: str, name: str) -> AsyncIterator[str]:
    """The URL of a new, empty database of this kind, gone afterwards; `name` is what it is for, in letters."""
    own = f"t_{name}_{secrets.token_hex(4)}"
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix=own) as folder:
            yield f"sqlite+aiosqlite:///{Path(folder) / 'scratch.db'}"
        return
    server, first = _SERVERS[kind]
    await _order(kind, server + first, f"CREATE DATABASE {own}")
    try:
        yield server + own
    finally:
        force = " WITH (FORCE)" if kind == "postgresql" else ""
        await _order(kind, server + first, f"DROP DATABASE {own}{force}")


@contextlib.asynccontextmanager
async def opened(kind: str, name: str) -> AsyncIterator[AsyncEngine]:
    """A plain engine on a scratch database."""
    async with scratch(kind, name) as url:
        engine = engines.open_engine(url)
        try:
            yield engine
        finally:
            await engine.dispose()


async def _order(kind: str, url: str, statement: str) -> None:
    engine = engines.open_engine(url)
    try:
        async with engine.connect() as plain:
            connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
            await connection.exec_driver_sql(statement)
    except Exception as error:
        if not faults.lost(error) or os.environ.get("ATRIUM_REQUIRE_SERVICES") == "1":
            raise
        pytest.skip(f"{kind} does not answer")
    finally:
        await engine.dispose()


async def describe(engine: AsyncEngine) -> dict[str, list[str]]:
    """Table → what its engine says of it, line by line: types, collations, precision, keys and indexes.

    The migrations' own tables are left out, and so is a column's place: one that was added later stands last.
    """
    async with engine.connect() as connection:
        names = await connection.run_sync(lambda c: sa.inspect(c).get_table_names())
        asked = [name for name in names if name != "migration_locks" and not name.startswith("revisions_")]
        return {name: [str(line) for line in await connection.run_sync(_lines, name)] for name in sorted(asked)}


def _lines(connection: sa.Connection, table: str) -> list[str]:
    kind = connection.dialect.name
    if kind == "sqlite":
        texts = connection.scalars(sa.text("SELECT sql FROM sqlite_master WHERE tbl_name = :t"), {"t": table})
        lines = [line.strip().rstrip(",") for text in texts if text is not None for line in text.splitlines()]
        # SQLite writes a column that was added behind the last one, on its line.
        return sorted(part for line in lines for part in _NEXT_COLUMN.split(line))
    if kind == "postgresql":
        return [str(line) for asked in _POSTGRESQL for line in connection.scalars(sa.text(asked), {"t": table})]
    text = connection.execute(sa.text(f"SHOW CREATE TABLE `{table}`")).one()[1]
    return sorted(line.strip().rstrip(",") for line in text.splitlines())


_NEXT_COLUMN = re.compile(r", (?![^(]*\))")
_POSTGRESQL = (
    """SELECT concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, c.collname,
              pg_get_expr(d.adbin, d.adrelid))
       FROM pg_attribute a LEFT JOIN pg_collation c ON c.oid = a.attcollation
       LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
       WHERE a.attrelid = CAST(:t AS regclass) AND a.attnum > 0 ORDER BY a.attname""",
    """SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
       WHERE conrelid = CAST(:t AS regclass) ORDER BY conname""",
    "SELECT indexdef FROM pg_indexes WHERE tablename = :t ORDER BY indexdef",
)
