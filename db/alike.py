"""Changed rows sent together: those of a table that changed alike by one statement, where the ORM would send one a row.

For batches whose rows are locked already; what no two rows share is left to the flush.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm.attributes import set_committed_value

from db.session import DbSession

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
