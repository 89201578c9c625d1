"""Rows for every declared table that holds somebody's data, each text of them marked as whose it is, and their sums.

Tables are walked, none is named: a new one joins by being declared. Rows are put in by a plain engine, without
guard, since what is under test is who gets to see them.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from base.ids import global_id
from base.sealing import Sealed
from db import columns, engines, zones
from db.zones import OnParentDelete, Scope, Zone
from execution.declare import NODES, Column, Computed, Values
from outside.store import Store
from tests.world import Person, World

ROWS = 5
START = datetime(2026, 1, 1, tzinfo=UTC)
PUBLIC = "facade00facade"  # what everybody may see of a shared row
BYTES = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"

# What the product itself walks by; a mark here would break the house instead of telling on it.
STRUCTURE = {("tenants", "db_pool"), ("users", "password_hash"), ("fences", "pool_name")}

# These change by being asked, whoever asks; news may be written a moment after what they are about.
NOT_SUMMED = {"bus_log", "id_workers", "rate_counters"}

# Everybody may watch a published video, and each watching counts.
COUNTED = {("gallery_videos", "view_count")}

Table = Any


@dataclass(frozen=True, slots=True)
class Marks:
    """Twelve hexadecimal digits each, so that they fit hashes and store keys too: of a user, and of a tenant."""

    mine: str
    ours: str


@dataclass
class Owned:
    """Somebody's rows: the ids that were put in for them, by table."""

    person: Person
    marks: Marks
    ids: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def node_ids(self) -> Iterator[str]:
        """The global id of every row of theirs that the schema has a type for."""
        for name, node in sorted(NODES.items()):
            tenant = self.person.tenant_id if node.table.zone is Zone.POOL else None
            for row_id in self.ids.get(node.table.__tablename__, ()):
                yield global_id(name, row_id, tenant)
        yield global_id("User", self.person.user_id)
        yield global_id("Tenant", self.person.tenant_id)


def tenants_tables() -> list[Table]:
    """Every table with rows of a tenant or a user, parents before children, central first."""
    return [table for table in _in_order() if table.scope is not Scope.GLOBAL and _columns_of_people(table)]


def _in_order() -> list[Table]:
    found: list[Table] = []
    for base in (zones.CentralBase, zones.PoolBase):
        by_name = {table.__tablename__: table for table in zones.tables(base.zone)}
        found += [by_name[table.name] for table in base.metadata.sorted_tables if table.name in by_name]
    return found


def _columns_of_people(table: Table) -> set[str]:
    names = {name for name in (table.tenant_column, table.owner, "tenant_id", "user_id") if name is not None}
    return names & set(table.__table__.columns.keys())


class Filling:
    """Fills a world; ids are drawn before the rows, so that rows may refer to each other in any order."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.shelf: dict[str, list[int]] = defaultdict(list)
        self._numbers = itertools.count(1000)

    async def stock(self) -> None:
        """The catalog: rows in every table that everybody reads, marked as nobody's."""
        tables = [table for table in _in_order() if table.scope is Scope.GLOBAL]
        await self._draw(self.shelf, tables)
        rows = {table: [self._row(table, at, None) for at in range(ROWS)] for table in tables}
        await self._insert(self.world.settings.central_url, rows)

    async def fill(self, person: Person, marks: Marks) -> Owned:
        """Rows of somebody in every table that can take more than one of theirs; the single ones are marked."""
        owned = Owned(person, marks)
        tables = [table for table in tenants_tables() if not _is_single(table)]
        await self._draw(owned.ids, tables)
        rows = {table: [self._row(table, at, owned) for at in range(ROWS)] for table in tables}
        pool = await self._pool_url(person)
        await self._insert(self.world.settings.central_url, {t: r for t, r in rows.items() if t.zone is Zone.CENTRAL})
        await self._insert(pool, {t: r for t, r in rows.items() if t.zone is Zone.POOL})
        await self._mark_singles(self.world.settings.central_url, owned, Zone.CENTRAL)
        await self._mark_singles(pool, owned, Zone.POOL)
        store = self.world.house.service(Store)
        for at in range(ROWS):
            await store.put_bytes(_store_key("key", owned, at, marks.mine), BYTES, mime_type="video/mp4")
        return owned

    async def _pool_url(self, person: Person) -> str:
        route = await self.world.house.directory.of_tenant(person.tenant_id)
        assert route is not None
        return self.world.settings.pools[route.pool]

    async def _draw(self, ids: dict[str, list[int]], tables: list[Table]) -> None:
        await self.world.house.ids.ensure()
        for table in tables:
            ids[table.__tablename__] = [int(self.world.house.ids.next()) for _ in range(ROWS)]

    @staticmethod
    async def _insert(url: str, rows: Mapping[Table, list[dict[str, Any]]]) -> None:
        engine = engines.open_engine(url)
        try:
            async with engine.begin() as connection:
                for table, values in rows.items():
                    for each in values:
                        await connection.execute(sa.insert(table.__table__).values(each))
        finally:
            await engine.dispose()

    async def _mark_singles(self, url: str, owned: Owned, zone: Zone) -> None:
        engine = engines.open_engine(url)
        try:
            async with engine.begin() as connection:
                for table in tenants_tables():
                    if table.zone is not zone or not _is_single(table):
                        continue
                    marked = {c.name: self._text(table, c, 0, owned) for c in _texts(table) if c.name != "id"}
                    if marked:
                        await connection.execute(sa.update(table.__table__).where(_whose(table, owned)).values(marked))
        finally:
            await engine.dispose()

    # ------------------------------------------------------------------------------------------- values

    def _row(self, table: Table, at: int, owned: Owned | None) -> dict[str, Any]:
        return {column.name: self._value(table, column, at, owned) for column in table.__table__.columns}

    def _value(self, table: Table, column: sa.Column[Any], at: int, owned: Owned | None) -> Any:
        ids = self.shelf if owned is None else owned.ids
        if column.name == "id":
            return ids[table.__tablename__][at]
        person = None if owned is None else owned.person
        parent = _parent(column)
        if column.name in (table.tenant_column, "tenant_id") or parent == "tenants":
            return None if person is None else person.tenant_id
        if column.name == table.owner or parent == "users":
            return None if person is None else person.user_id
        if parent is not None:
            known = ids.get(parent) or self.shelf.get(parent)
            # What goes with its parent stands under one of those that are still there.
            ends = column.info.get("on_parent_delete") is OnParentDelete.DELETE and not column.primary_key
            return known[at - at % 2 if ends else at] if known else None
        return self._plain(table, column, at, owned)

    def _plain(self, table: Table, column: sa.Column[Any], at: int, owned: Owned | None) -> Any:
        kind: Any = column.type
        if isinstance(kind, columns.Word):
            members = list(kind._members.values())
            return members[at % len(members)]
        if isinstance(kind, columns.Json):
            default: Any = column.default
            empty = {} if default is None else default.arg(None)
            if owned is None:
                return empty
            mark = self._mark(table, column.name, at, owned)
            return [mark] if isinstance(empty, list) else {mark: mark}
        if isinstance(kind, columns.Sealed):
            return Sealed(self._text(table, column, at, owned))
        if isinstance(kind, columns.UtcDateTime):
            return None if column.nullable and at % 2 == 0 else START + timedelta(hours=at)
        if isinstance(kind, columns.Exact | columns.Line | columns.Prose):
            return self._text(table, column, at, owned)
        if isinstance(kind, sa.Boolean):
            return at % 2 == 0
        if isinstance(kind, sa.Float):
            return 0.5
        if column.name == "tokens_reserved":  # what a job holds stands in the wallet too, which is not filled
            return 0
        return next(self._numbers) if any(column.name in key for key in _unique_keys(table.__table__)) else at + 1

    def _text(self, table: Table, column: sa.Column[Any], at: int, owned: Owned | None) -> str:
        mark = "shelf-" if owned is None else self._mark(table, column.name, at, owned)
        number = next(self._numbers)
        if column.name == "currency":  # three letters have no room for a mark
            return "EUR"
        if column.name in ("mime_type", "asset_mime"):
            return f"video/{mark}"
        if column.name == "host":
            return f"{mark}-{number}.example"
        if "email" in column.name:
            return f"{mark}-{number}@example.com"
        if (
            column.name in ("key", "asset_key", "output_key", "thumbnail_key")
            and table.__tablename__ != "usage_counters"
        ):
            return _store_key(column.name, owned, at, mark)
        return f"{mark}{number}"

    @staticmethod
    def _mark(table: Table, name: str, at: int, owned: Owned) -> str:
        """Whose it is; what of a shared row is shown to everybody carries no mark, unless the row itself is hidden."""
        if table.scope is Scope.USER_SHARED:
            hidden = "listed" in table.__table__.columns and at % 2 == 1
            return PUBLIC if name in shown(table) and not hidden else owned.marks.ours
        return owned.marks.mine if table.owner is not None else owned.marks.ours


def _store_key(name: str, owned: Owned | None, at: int, mark: str) -> str:
    digits = ("".join(c for c in mark if c in "0123456789abcdef") + name.encode().hex()).ljust(31, "0")[:31]
    if name != "key" or owned is None:
        return f"public/{digits}{at}.mp4"
    return f"t/{owned.person.tenant_id.encode().hex()}/{digits}{at}"


def _parent(column: sa.Column[Any]) -> str | None:
    told: str | None = column.info.get("soft_ref") or column.info.get("pool_ref")
    if told is None and len(column.foreign_keys) == 1 and "pool_ref" not in column.info:
        told = next(iter(column.foreign_keys)).target_fullname.partition(".")[0]
    return told


def _unique_keys(table: sa.Table) -> list[set[str]]:
    found = [{c.name for c in key.columns} for key in table.constraints if isinstance(key, sa.UniqueConstraint)]
    return [*found, *({c.name} for c in table.columns if c.unique)]


def _is_single(table: Table) -> bool:
    """Whether a tenant or user has one row there: the key is theirs alone, or its id is always the same."""
    people = _columns_of_people(table)
    id_column = table.__table__.columns.get("id")
    alone = id_column is not None and (id_column.name in people or id_column.default is not None)
    keyed = {column.name for column in table.__table__.primary_key.columns}
    return alone or any(key <= people for key in (keyed, *_unique_keys(table.__table__)))


def _texts(table: Table) -> list[sa.Column[Any]]:
    return [
        column
        for column in table.__table__.columns
        if isinstance(column.type, columns.Exact | columns.Line | columns.Prose)
        and _parent(column) is None
        and column.name not in _columns_of_people(table)
        and (table.__tablename__, column.name) not in STRUCTURE
    ]


def shown(table: Table) -> set[str]:
    """The columns that the schema shows of a table."""
    found: set[str] = set()
    for node in NODES.values():
        for how in node.fields.values():
            if isinstance(how, Values) and how.table is table:
                found.add(how.column)
            elif node.table is table and isinstance(how, Column):
                found.add(how.key)
            elif node.table is table and isinstance(how, Computed):
                found |= set(how.needs)
    return found


def _whose(table: Table, owned: Owned) -> sa.ColumnElement[bool]:
    """The rows of this person: by owner where there is one, otherwise by tenant."""
    here = table.__table__.columns
    if table.owner is not None:
        mine = here[table.owner] == owned.person.user_id
        return mine & (here.tenant_id == owned.person.tenant_id) if "tenant_id" in here else mine
    column = table.tenant_column or ("tenant_id" if "tenant_id" in here else "user_id")
    return here[column] == (owned.person.user_id if column == "user_id" else owned.person.tenant_id)


async def sums(world: World, owned: Owned, *, private: bool = False) -> dict[str, tuple[int, str]]:
    """Table → number and digest of all rows of this person's tenant, or of the private ones of theirs alone."""
    route = await world.house.directory.of_tenant(owned.person.tenant_id)
    assert route is not None
    told: dict[str, tuple[int, str]] = {}
    for zone, url in ((Zone.CENTRAL, world.settings.central_url), (Zone.POOL, world.settings.pools[route.pool])):
        engine = engines.open_engine(url)
        try:
            async with engine.connect() as connection:
                for table in tenants_tables():
                    if table.zone is not zone or (private and table.owner is None):
                        continue
                    told_of = [c for c in table.__table__.columns if (table.__tablename__, c.name) not in COUNTED]
                    found = await connection.execute(sa.select(*told_of).where(_whose(table, owned)))
                    rows = sorted(repr(tuple(row)) for row in found)
                    told[table.__tablename__] = (len(rows), hashlib.sha256("\n".join(rows).encode()).hexdigest())
        finally:
            await engine.dispose()
    return told


async def everything(world: World) -> dict[str, str]:
    """Database and table → digest of all rows, but for what counts requests and numbers."""
    told: dict[str, str] = {}
    urls = {("central", world.settings.central_url, Zone.CENTRAL)}
    urls |= {(name, url, Zone.POOL) for name, url in world.settings.pools.items()}
    for name, url, zone in sorted(urls, key=str):
        engine = engines.open_engine(url)
        try:
            async with engine.connect() as connection:
                for table in zones.tables(zone):
                    if table.__tablename__ not in NOT_SUMMED:
                        rows = sorted(repr(tuple(row)) for row in await connection.execute(sa.select(table.__table__)))
                        digest = hashlib.sha256("\n".join(rows).encode()).hexdigest()
                        told[f"{name}.{table.__tablename__}"] = digest
        finally:
            await engine.dispose()
    return told
