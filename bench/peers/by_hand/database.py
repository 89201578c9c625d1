"""Raw connections in a LIFO list, prepared statements, and the statements themselves, one a query."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncmy

from bench import places

CONNECTIONS_MAX = 10
STATEMENTS_PREPARED_MAX = 100
EFFECTS_A_PAGE = 20
CENTRAL = places.CENTRAL

GALLERY = (
    f"SELECT id, title, tags, output_key, published_at, effect_id FROM {CENTRAL}.gallery_videos "
    "WHERE listed = 1 ORDER BY published_at DESC, id DESC LIMIT %s"
)
_OF_ONE_EFFECT = (
    f"(SELECT effect_id, id, title, tags, output_key, published_at FROM {CENTRAL}.gallery_videos "
    "WHERE effect_id = %s AND listed = 1 ORDER BY published_at DESC, id DESC LIMIT %s)"
)
OF_EFFECTS = " UNION ALL ".join([_OF_ONE_EFFECT] * EFFECTS_A_PAGE)
VIEWER = f"SELECT name FROM {CENTRAL}.users WHERE id = %s"


class PoolSql:
    """The statements over one pool; every one of them names the tenant."""

    def __init__(self, database: str) -> None:
        mine = "tenant_id = %s AND user_id = %s"
        newest = "ORDER BY created_at DESC, id DESC LIMIT %s"
        kept = f"FROM {database}.videos WHERE {mine} AND deleted_at IS NULL"
        self.videos_with_files = (
            "SELECT v.id, v.title, v.status, v.created_at, v.effect_id, f.name, f.size_bytes, f.mime_type "
            f"FROM {database}.videos AS v LEFT JOIN {database}.files AS f "
            "ON f.tenant_id = v.tenant_id AND f.user_id = v.user_id AND f.id = v.output_file_id "
            "WHERE v.tenant_id = %s AND v.user_id = %s AND v.deleted_at IS NULL "
            "ORDER BY v.created_at DESC, v.id DESC LIMIT %s"
        )
        self.videos = f"SELECT id, title, effect_id {kept} {newest}"
        self.videos_counted = f"SELECT count(*) {kept}"
        self.wallet = f"SELECT balance, reserved FROM {database}.token_wallets WHERE tenant_id = %s"
        self.jobs = f"SELECT status, progress FROM {database}.ai_jobs WHERE {mine} ORDER BY id DESC LIMIT %s"


class Database:
    """A few connections to the one server; the last one returned is the first one taken."""

    def __init__(self) -> None:
        self.statements = 0
        self._idle: list[Any] = []
        self._free = asyncio.Semaphore(CONNECTIONS_MAX)

    async def open(self) -> None:
        """Connect."""
        host, port = places.mysql()
        for _ in range(CONNECTIONS_MAX):
            connection = await asyncmy.connect(
                host=host,
                port=port,
                user=places.USER,
                db=CENTRAL,
                charset="utf8mb4",
                autocommit=True,
                stmt_cache_size=STATEMENTS_PREPARED_MAX,
            )
            self._idle.append(connection)

    async def close(self) -> None:
        """End every connection."""
        for connection in self._idle:
            await connection.ensure_closed()

    async def read(self, *asked: tuple[str, tuple[object, ...]]) -> list[Sequence[Any]]:
        """The rows of each statement, one after the other on one connection."""
        async with self._free:
            connection = self._idle.pop()
            found = []
            for sql, values in asked:
                self.statements += 1
                cursor = connection.cursor()
                await cursor.execute(sql, values)
                found.append(cursor._rows)  # noqa: SLF001  (fetchall() is a coroutine that copies them)
            self._idle.append(connection)
            return found
