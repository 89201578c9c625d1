"""The reads that go over all tenants of a pool: keys and moments of swept tables, a bounded number at a time."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from db.patience import answered
from db.zones import PoolBase, TenantId

SWEEP_ROWS_MAX = 1_000


class SweepSession:
    """Reads (tenant_id, id, created_at) of swept tables over all tenants of a pool, a bounded number of rows."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def look(
        self, table: type[PoolBase], *, after: tuple[str, int] = ("", -1), limit: int = SWEEP_ROWS_MAX
    ) -> list[tuple[TenantId, int, datetime]]:
        """Rows in key order after (tenant, id)."""
        key = sa.tuple_(table.tenant_id, table.id)
        statement = (
            sa.select(table.tenant_id, table.id, table.created_at)
            .where(sa.or_(table.tenant_id > after[0], sa.and_(table.tenant_id == after[0], table.id > after[1])))
            .order_by(*key)
            .limit(min(limit, SWEEP_ROWS_MAX))
        )
        async with answered():
            return [(row[0], row[1], row[2]) for row in (await self._connection.execute(statement)).all()]
