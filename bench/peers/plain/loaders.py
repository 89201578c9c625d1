"""Sessions on the three databases, and the loaders of one request, each for what is asked in one turn of the loop."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import aliased
from strawberry.dataloader import DataLoader

from bench import places
from bench.rows import Owner
from db import engines
from db.tables.central.catalog import Category, Effect
from db.tables.central.gallery import GalleryVideo
from db.tables.pool.media import File

Sessions = async_sessionmaker[AsyncSession]


class Databases:
    """An engine and its sessions for each database."""

    def __init__(self) -> None:
        self.statements = 0
        urls = {"central": places.CENTRAL, **places.POOLS}
        self._engines = {name: engines.open_engine(places.url(database)) for name, database in urls.items()}
        self.sessions = {name: Sessions(engine, expire_on_commit=False) for name, engine in self._engines.items()}
        for engine in self._engines.values():
            event.listen(engine.sync_engine, "before_cursor_execute", self._count)

    async def close(self) -> None:
        """End every connection."""
        for engine in self._engines.values():
            await engine.dispose()

    def _count(self, *_: object) -> None:
        self.statements += 1


class Asking:
    """The context of one request: who asks on which host, sessions and loaders."""

    def __init__(self, databases: Databases, host: str, owner: Owner | None) -> None:
        self.host, self.owner = host, owner
        self.central = databases.sessions["central"]
        self.pool = databases.sessions[owner.pool if owner else "central"]
        self.effects: DataLoader[int, Effect | None] = DataLoader(self._effects)
        self.categories: DataLoader[int, Category | None] = DataLoader(self._categories)
        self.files: DataLoader[int, File | None] = DataLoader(self._files)
        self.gallery_of: DataLoader[tuple[int, int], list[GalleryVideo]] = DataLoader(self._gallery_of)

    @property
    def signed_in(self) -> Owner:
        """Whoever asks. Raises PermissionError for a visitor."""
        if self.owner is None:
            raise PermissionError("sign in first")
        return self.owner

    async def _effects(self, keys: list[int]) -> Sequence[Effect | None]:
        async with self.central() as session:
            found = {row.id: row for row in await session.scalars(sa.select(Effect).where(Effect.id.in_(keys)))}
        return [found.get(key) for key in keys]  # type: ignore[call-overload]  # ids are ints

    async def _categories(self, keys: list[int]) -> Sequence[Category | None]:
        async with self.central() as session:
            found = {row.id: row for row in await session.scalars(sa.select(Category).where(Category.id.in_(keys)))}
        return [found.get(key) for key in keys]  # type: ignore[call-overload]  # ids are ints

    async def _files(self, keys: list[int]) -> Sequence[File | None]:
        async with self.pool() as session:
            mine = sa.select(File).where(File.tenant_id == self.signed_in.tenant, File.id.in_(keys))
            found = {row.id: row for row in await session.scalars(mine)}
        return [found.get(key) for key in keys]  # type: ignore[call-overload]  # ids are ints

    async def _gallery_of(self, keys: list[tuple[int, int]]) -> Sequence[list[GalleryVideo]]:
        """The newest videos of each (effect, how many): a window ranks them, as the ORM's documentation shows."""
        by = (GalleryVideo.published_at.desc(), GalleryVideo.id.desc())
        place = sa.func.row_number().over(partition_by=GalleryVideo.effect_id, order_by=by).label("place")
        asked = [effect for effect, _ in keys]
        ranked = sa.select(GalleryVideo, place).where(
            GalleryVideo.effect_id.in_(asked), GalleryVideo.listed == sa.true()
        )
        inner = ranked.subquery()
        video = aliased(GalleryVideo, inner)
        most = max(first for _, first in keys)
        async with self.central() as session:
            rows = await session.scalars(
                sa.select(video).where(inner.c.place <= most).order_by(inner.c.effect_id, inner.c.place)
            )
            groups: dict[int | None, list[GalleryVideo]] = {}
            for row in rows:
                groups.setdefault(row.effect_id, []).append(row)
        return [groups.get(effect, [])[:first] for effect, first in keys]
