"""Rows that hold what their types cannot: put in past the types, as a migration gone wrong or another program would.

Tables are walked, none is named. What decides which rows a list has (keys, tenants, owners, relations) stays whole.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db import columns, engines, zones
from db.zones import CentralBase, PoolBase

LARGE = 2**40  # a whole number, and no Int
CELLS_IN = 30  # of which one is spoilt

# What no declared type takes; an engine that refuses one of them keeps the row as it was.
WORDS: tuple[Any, ...] = (None, "UNHEARD_OF", "")
NUMBERS: tuple[Any, ...] = (None, LARGE, -LARGE, 1.5, "many")
FLOATS: tuple[Any, ...] = (None, 9e999, -9e999, "much", 3)
FLAGS: tuple[Any, ...] = (None, 7, "maybe", "")
MOMENTS: tuple[Any, ...] = (
    *(None, "yesterday", "2026-13-45 99:00:00.000000", "2026-01-31 12:00:00", "2026-01-31", 5, "0000-00-00 00:00:00"),
    "2026-01-31 12:00:00.5",
)
DOCUMENTS: tuple[Any, ...] = (
    *(None, "null", "[null]", '["a", null]', "[1]", "{}", '"word"', "{broken", "[NaN]", "[[]]", '[{"name": null}]'),
    *('["\\ud800"]', "[1e999]", ""),
)
TEXTS: tuple[Any, ...] = (None, b"\xff\xfe", "", "\x00", 5)


async def spoil(url: str, base: type[CentralBase | PoolBase], *, seed: int, cells_in: int = CELLS_IN) -> int:
    """Spoil one cell in so many of a database, drawn with a seed; how many are spoilt."""
    dice, spoilt = random.Random(seed), 0
    async with loosened(url, base) as engine:
        for table in sorted(base.metadata.sorted_tables, key=lambda each: each.name):
            found = [column for column in table.columns if _values(column) and not _is_structure(table, column)]
            if "id" not in table.columns or not found:
                continue
            async with engine.connect() as connection:
                ids = [row[0] for row in await connection.execute(sa.select(table.c.id).order_by(table.c.id))]
            for key in ids:
                for column in found:
                    if dice.randrange(cells_in) == 0:
                        value = dice.choice(_values(column))
                        spoilt += await put(engine, table.name, key, column=column.name, value=value)
    return spoilt


@asynccontextmanager
async def loosened(url: str, base: type[CentralBase | PoolBase]) -> AsyncIterator[AsyncEngine]:
    """A plain engine on a database that takes what its tables would refuse."""
    engine = engines.open_engine(url)
    try:
        async with engine.begin() as connection:
            await _let_in(connection, base)
        # What the tables take is read again by a new connection.
        await engine.dispose()
        yield engine
    finally:
        await engine.dispose()


async def _let_in(connection: AsyncConnection, base: type[CentralBase | PoolBase]) -> None:
    """Take away what the engine itself would hold against such rows."""
    if connection.dialect.name == "sqlite":
        await connection.exec_driver_sql("PRAGMA writable_schema = ON")
        await connection.exec_driver_sql(
            "UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '') WHERE type = 'table'"
        )
        return
    for table in base.metadata.sorted_tables:
        kinds = await connection.execute(
            sa.text(
                "SELECT column_name, column_type, character_set_name, collation_name FROM information_schema.columns"
                " WHERE table_schema = DATABASE() AND table_name = :name"
            ),
            {"name": table.name},
        )
        known = {name: (kind, charset, collation) for name, kind, charset, collation in kinds}
        parts = []
        for column in table.columns:
            if _values(column) and not _is_structure(table, column) and not column.primary_key:
                kind, charset, collation = known[column.name]
                if isinstance(column.type, columns.Json):
                    kind, charset, collation = "longtext", "utf8mb4", "utf8mb4_bin"
                text = f" CHARACTER SET {charset} COLLATE {collation}" if charset else ""
                parts.append(f"MODIFY `{column.name}` {kind}{text} NULL")
        if parts:
            await connection.exec_driver_sql(f"ALTER TABLE `{table.name}` {', '.join(parts)}")


async def put(engine: AsyncEngine, table: str, key: object, *, column: str, value: object) -> bool:
    """Put a value into a row, past all types; whether the engine holds such a thing at all."""
    quoted = engine.dialect.identifier_preparer.quote(column)
    if isinstance(value, bytes) and engine.dialect.name != "sqlite":
        return False  # no text of these engines holds such bytes
    try:
        async with engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                await connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
                statement = f"UPDATE {table} SET {quoted} = ? WHERE id = ?"
            else:
                await connection.exec_driver_sql("SET SESSION sql_mode = '', foreign_key_checks = 0")
                statement = f"UPDATE {table} SET {quoted} = %s WHERE id = %s"
            await connection.exec_driver_sql(statement, (value, key))
    except sa.exc.DBAPIError:
        return False  # nothing that this engine would ever hold
    return True


def _values(column: sa.Column[Any]) -> tuple[Any, ...]:
    """What may be put into a column; of texts whatever the engine takes."""
    kinds: tuple[tuple[Any, tuple[Any, ...]], ...] = (
        (columns.Word, WORDS),
        (columns.Json, DOCUMENTS),
        (columns.UtcDateTime, MOMENTS),
        (sa.Boolean, FLAGS),
        (sa.Float, FLOATS),
        (sa.Integer, NUMBERS),
        (columns.Line | columns.Prose | columns.Exact, TEXTS),
    )
    return next((values for kind, values in kinds if isinstance(column.type, kind)), ())


def _is_structure(table: sa.Table, column: sa.Column[Any]) -> bool:
    """Keys, what tells whose a row is, what leads to another, and what conditions and orders of lists stand on."""
    mapped = next((each for each in zones.tables(_zone(table)) if each.__tablename__ == table.name), None)
    owners = {"tenant_id", "user_id", getattr(mapped, "tenant_column", None), getattr(mapped, "owner", None)}
    if table.name in ("tenants", "users", "domains", "fences", "personal_access_tokens", "tenant_members"):
        return True
    return (
        column.primary_key
        or bool(column.foreign_keys)
        or column.name in owners
        or column.name.endswith(("_id", "_key", "deleted_at", "archived_at", "listed"))
        or bool(column.unique)
    )


def _zone(table: sa.Table) -> zones.Zone:
    return zones.Zone.CENTRAL if table.metadata is CentralBase.metadata else zones.Zone.POOL
