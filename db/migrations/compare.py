"""What differs between a database as it is and the tables as they are declared: columns, keys, indexes, collations.

Nothing is changed here. Alembic's comparison is blind to collations and to primary keys, so those are asked for.
"""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from sqlalchemy.ext.asyncio import AsyncEngine

import db.tables  # noqa: F401  (so that every table is declared)
from db.migrations import lock
from db.migrations.tree import context
from db.zones import CentralBase, PoolBase, Zone

OPERATIONS = {
    "add_table": "the table is missing",
    "remove_table": "a table that nothing declares",
    "add_column": "the column is missing",
    "remove_column": "a column that nothing declares",
    "add_index": "the index is missing",
    "remove_index": "an index that nothing declares",
    "add_constraint": "the unique key is missing",
    "remove_constraint": "a unique key that nothing declares",
    "add_fk": "the foreign key is missing",
    "remove_fk": "a foreign key that nothing declares",
}


async def differences(engine: AsyncEngine, tree: Zone) -> list[str]:
    """One line a difference, naming table and column; none where the database is as declared."""
    metadata = (CentralBase if tree is Zone.CENTRAL else PoolBase).metadata
    async with engine.connect() as plain:
        connection = await plain.execution_options(**lock.OPTIONS)
        return await connection.run_sync(lambda c: [*_shapes(c, tree, metadata), *_keys_and_collations(c, metadata)])


def _shapes(connection: sa.Connection, tree: Zone, metadata: sa.MetaData) -> Iterator[str]:
    def ours(_object: object, name: str | None, kind: str, *_: object) -> bool:
        return kind != "table" or name != lock.LOCKS.name

    for found in compare_metadata(context(connection, tree, include_object=ours), metadata):
        for change in found if isinstance(found, list) else [found]:
            yield _line(change)


def _line(change: tuple[Any, ...]) -> str:
    what = change[0]
    said = OPERATIONS.get(what, what.replace("_", " "))
    thing = next((part for part in change[1:] if isinstance(part, sa.schema.SchemaItem)), None)
    if isinstance(thing, sa.Table):
        return f"{thing.name}: {said}"
    if thing is None or isinstance(thing, sa.Column):
        # A column of its own, or (what, schema, table, column, …, before, after) of a change.
        column = change[3] if thing is None else thing.name
        return f"{change[2]}.{column}: {said}"
    return f"{getattr(thing, 'table').name}: {said} ({getattr(thing, 'name', None) or 'without a name'})"  # noqa: B009  (every kind of item that is left has one)


def _keys_and_collations(connection: sa.Connection, metadata: sa.MetaData) -> Iterator[str]:
    there = sa.inspect(connection)
    present = set(there.get_table_names())
    for table in metadata.sorted_tables:
        if table.name not in present:
            continue
        declared = [column.name for column in table.primary_key.columns]
        found = there.get_pk_constraint(table.name)["constrained_columns"]
        if found != declared:
            yield f"{table.name}: its primary key is {', '.join(found)}, declared is {', '.join(declared)}"
        collations = {
            column["name"]: getattr(column["type"], "collation", None) for column in there.get_columns(table.name)
        }
        for column in table.columns:
            wanted = getattr(column.type.dialect_impl(connection.dialect), "impl", column.type)
            collation = getattr(wanted, "collation", None)
            if collation is not None and collations.get(column.name, collation) != collation:
                yield f"{table.name}.{column.name}: its collation is {collations[column.name]}, declared is {collation}"
