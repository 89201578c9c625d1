"""Rows sent together: those of a table that are new, or changed alike, by one statement for all of them.

The flush sends one for each change, and draws up each new row by itself. Changed ones are locked already; what no two
of them share is left to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.orm import make_transient_to_detached
from sqlalchemy.orm.attributes import set_committed_value

from db import faults
from db.guard import Permit
from db.patience import answered
from db.session import DbSession, Sessions, Values

ROWS_MIN = 2
LENGTHS = (1, 2, 4, 8, 16, 32, 50, 100, 200, 500)

T = TypeVar("T")


def even(values: Iterable[T], /) -> list[T]:
    """The values for an IN (…), the last one repeated up to one of a few lengths.

    Every other length would be another text, which guard, driver and database each have to read for the first time.
    """
    found = list(values)
    wanted = next((length for length in LENGTHS if length >= len(found)), 0)
    return found + found[-1:] * (wanted - len(found))


async def write(db: DbSession, rows: Iterable[Any], /) -> None:
    """Send what changed in these rows of INFRA tables with an `id`; values that cannot be compared are left alone."""
    alike: dict[tuple[type[Any], tuple[tuple[str, Any], ...]], list[Any]] = {}
    for row in rows:
        changed = _changed(row)
        if changed:
            alike.setdefault((type(row), changed), []).append(row)
    together = [(table, dict(changed), some) for (table, changed), some in alike.items() if len(some) >= ROWS_MIN]
    for _, values, some in together:
        for row in some:
            for name, value in values.items():
                # Before the first statement, which would flush them one by one.
                set_committed_value(row, name, value)
    for table, values, some in together:
        await db.change(sa.update(table).where(table.id.in_(even(row.id for row in some))).values(**values))


async def insert_new(db: DbSession, rows: Iterable[Any], /) -> None:
    """Send those of these rows that are new, a statement a table, tables as they come first; each has its id.

    They are sent once, and none of them is of the session afterwards: what is changed in one then is read anew first.
    """
    new = [row for row in rows if sa.inspect(row).transient]
    alike: dict[tuple[type[Any], frozenset[str]], list[dict[str, Any]]] = {}
    for row in new:
        values = dict(sa.inspect(row).dict)
        alike.setdefault((type(row), frozenset(values)), []).append(values)
    for (table, _), some in alike.items():
        await db.write(sa.insert(cast("sa.Table", table.__table__)), some)
    for row in new:
        make_transient_to_detached(row)


async def insert_alone(sessions: Sessions, statement: sa.Insert, rows: Sequence[Values], /) -> None:
    """Insert rows of an INFRA table of central; when this returns they are durable. Nothing is tried again.

    No transaction is around it: that would be two more answers to wait for. So where it fails some rows may be there.
    Raises CentralUnavailable, or the driver's own error where the database has answered or may answer at once.
    """
    central = sessions.databases.central
    # The driver of SQLite sends a statement a row, each of which waits for the disk: there all are put into one.
    one = (statement.values([*rows]),) if central.writers is not None else (statement, rows)
    try:
        async with central.writing():
            connection = await central.reader.connect()
            try:
                await connection.execution_options(permit=Permit(infra=True))
                async with answered():
                    await connection.execute(*one)
            finally:
                await connection.close()
    except Exception as error:
        if faults.lost(error) and not faults.again(error):
            raise faults.told(error, name=central.name, zone=central.zone) from error
        raise


def _changed(row: Any) -> tuple[tuple[str, Any], ...]:
    """Column → new value of a row that was read; nothing for a new one."""
    state = sa.inspect(row)
    if not state.persistent:
        return ()
    now = {name: getattr(row, name) for name in state.committed_state}
    found = tuple((name, value) for name, value in now.items() if value != state.committed_state[name])
    try:
        hash(found)
    except TypeError:
        return ()
    return found
