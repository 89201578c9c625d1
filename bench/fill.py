"""Fills the bench's databases once and keeps them between runs; what is in them is drawn in `bench/rows.py`.

Rows go in through the declared tables by plain bulk inserts, without guard and actions: a person's million
transactions would take hours. Never run against a database that is not the bench's own.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import astuple
from typing import Any

import sqlalchemy as sa
from rich.progress import Progress
from sqlalchemy.ext.asyncio import AsyncConnection

from bench import places, rows, studios
from bench.rows import Owner, Sizes
from bench.studios import Studio
from db import engines
from db.migrations import fleet, tree
from db.zones import Zone

TENANTS_A_TRANSACTION = 20
ROWS_AN_INSERT_MAX = 2_000
BUFFER_POOL_BYTES_WANTED = 512 * 1024**2


def mark(sizes: Sizes) -> str:
    """What the filled databases hold: these sizes, drawn by this code, at these revisions."""
    drawn = [inspect.getsource(each) for each in (rows, studios)]
    made = [str(astuple(sizes)), *drawn, tree.head(Zone.CENTRAL), tree.head(Zone.POOL)]
    return hashlib.sha256("\n".join(made).encode()).hexdigest()


async def ensure(sizes: Sizes, *, fresh: bool) -> bool:
    """Make and fill the databases unless they are; whether anything was done. Raises RuntimeError naming why not."""
    if not fresh and await _marked() == mark(sizes):
        return False
    await make([places.NOTES, places.CENTRAL, *places.POOLS.values()], targets(places.CENTRAL, places.POOLS))
    with _bar(sizes.tenants) as advance:
        await _fill(sizes, advance)
    async with _server() as server:
        await server.exec_driver_sql(f"CREATE TABLE {places.NOTES}.filled (mark CHAR(64))")
        await server.exec_driver_sql(f"INSERT INTO {places.NOTES}.filled VALUES ('{mark(sizes)}')")
    return True


async def make(databases: Sequence[str], asked: Sequence[fleet.Target]) -> None:
    """These databases anew, empty, at the newest revision. Raises RuntimeError naming which could not be migrated."""
    await remove(databases)
    async with _server() as server:
        for database in databases:
            await server.exec_driver_sql(f"CREATE DATABASE {database} CHARACTER SET utf8mb4")
    standing = await fleet.bring_up(asked, lambda _: None)
    for each in standing:
        if each.error is not None:
            raise RuntimeError(f"{each.target.name} could not be migrated: {fleet.reason(each.error)}")


async def remove(databases: Sequence[str]) -> None:
    """Drop these databases where they are."""
    async with _server() as server:
        for database in databases:
            await server.exec_driver_sql(f"DROP DATABASE IF EXISTS {database}")


async def drop() -> None:
    """Remove every database of the bench."""
    shops = (places.SHOP_CENTRAL, *places.SHOP_POOLS.values())
    await remove([places.NOTES, places.CENTRAL, *places.POOLS.values(), *shops])


async def buffer_pool_bytes() -> int:
    """How much of the rows MariaDB can keep in memory; with less than 512 MiB disks are measured too."""
    async with _server() as server:
        found = await server.exec_driver_sql("SELECT @@innodb_buffer_pool_size")
        return int(found.scalar_one())


def targets(central: str, pools: Mapping[str, str]) -> list[fleet.Target]:
    """What is migrated: databases by their names on the server."""
    return fleet.targets(places.url(central), {name: places.url(database) for name, database in pools.items()})


async def _marked() -> str | None:
    async with _server() as server:
        there = await server.exec_driver_sql(
            f"SELECT 1 FROM information_schema.tables WHERE table_schema = '{places.NOTES}' AND table_name = 'filled'"
        )
        if there.first() is None:
            return None
        found = await server.exec_driver_sql(f"SELECT mark FROM {places.NOTES}.filled")
        row = found.first()
        return None if row is None else str(row[0])


async def _fill(sizes: Sizes, advance: Any) -> None:
    everyone = rows.owners(sizes)
    async with _opened(places.CENTRAL) as central:
        async with central.begin():
            for part in (*rows.identities(everyone), *rows.shelf(sizes)):
                await _insert(central, part)
        shelf = {table.__tablename__: found for table, found in rows.shelf(sizes)}
        ids = [int(effect["id"]) for effect in shelf["effects"]]
        async with _opened(places.POOLS["tenant_pool_1"]) as one, _opened(places.POOLS["tenant_pool_2"]) as two:
            pools = {"tenant_pool_1": one, "tenant_pool_2": two}
            for start in range(0, len(everyone), TENANTS_A_TRANSACTION):
                some = everyone[start : start + TENANTS_A_TRANSACTION]
                await _tenants(some, central, pools=pools, draw=_Draw(sizes, ids, start))
                advance(len(some))
        await central.exec_driver_sql("ANALYZE TABLE gallery_videos, effects, categories")
    for database in places.POOLS.values():
        async with _opened(database) as pool:
            await pool.exec_driver_sql("ANALYZE TABLE videos, files, ai_jobs")


class _Draw:
    """What is needed to draw the tenants from a number on."""

    def __init__(self, sizes: Sizes, effects: list[int], start: int) -> None:
        self.sizes, self.effects, self.start = sizes, effects, start

    def studios(self, some: list[Owner]) -> list[Studio]:
        return [
            Studio(owner, self.sizes, number=number, effects=self.effects)
            for number, owner in enumerate(some, self.start + 1)
        ]


async def _tenants(
    some: list[Owner], central: AsyncConnection, *, pools: dict[str, AsyncConnection], draw: _Draw
) -> None:
    drawn = draw.studios(some)
    # A tenant's own connection is one after the other; the three databases work side by side.
    await asyncio.gather(
        _write(central, [part for studio in drawn for part in studio.central()]),
        *(
            _write(pool, [part for studio in drawn if studio.owner.pool == name for part in studio.pool()])
            for name, pool in pools.items()
        ),
    )


async def _write(connection: AsyncConnection, parts: list[rows.Rows]) -> None:
    grouped: dict[type[Any], list[dict[str, Any]]] = {}
    for table, found in parts:
        grouped.setdefault(table, []).extend(found)
    async with connection.begin():
        for part in grouped.items():
            await _insert(connection, part)


async def _insert(connection: AsyncConnection, part: rows.Rows) -> None:
    table, found = part
    for start in range(0, len(found), ROWS_AN_INSERT_MAX):
        await connection.execute(sa.insert(table), found[start : start + ROWS_AN_INSERT_MAX])


@asynccontextmanager
async def _server() -> AsyncIterator[AsyncConnection]:
    """A connection to the server itself, each statement its own transaction."""
    engine = engines.open_engine(places.url())
    try:
        async with engine.connect() as plain:
            yield await plain.execution_options(isolation_level="AUTOCOMMIT")
    finally:
        await engine.dispose()


@asynccontextmanager
async def _opened(database: str) -> AsyncIterator[AsyncConnection]:
    engine = engines.open_engine(places.url(database))
    try:
        async with engine.connect() as connection:
            # The rows are drawn so that keys hold; checking each of a million is the larger part of filling.
            await connection.exec_driver_sql("SET unique_checks = 0, foreign_key_checks = 0")
            await connection.commit()
            yield connection
    finally:
        await engine.dispose()


@contextmanager
def _bar(total: int) -> Iterator[Any]:
    with Progress() as progress:
        task = progress.add_task("Filling the bench's databases", total=total)
        yield lambda count: progress.update(task, advance=count)
