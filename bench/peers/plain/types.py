"""The part of the contract that the bench asks for, as Strawberry types over mapped rows."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
import strawberry
from strawberry.schema.config import StrawberryConfig
from strawberry.types import Info

from bench.peers.plain.loaders import Asking
from db.tables.central import catalog, gallery, identity
from db.tables.pool import jobs, media, wallet
from execution.scalars import SCALARS, BigInt

Asked = Info[Asking, None]
strawberry.enum(media.VideoStatus)
strawberry.enum(jobs.AiJobStatus)


@strawberry.type
class Category:
    """A shelf of effects."""

    row: strawberry.Private[catalog.Category]

    @strawberry.field
    def name(self) -> str:
        return self.row.name


@strawberry.type
class PageInfo:
    """Where a page stands."""

    has_next_page: bool
    end_cursor: str | None


@strawberry.type
class GalleryVideo:
    """A published video."""

    row: strawberry.Private[gallery.GalleryVideo]

    @strawberry.field
    def id(self) -> strawberry.ID:
        return strawberry.ID(f"GalleryVideo_{self.row.id:x}")

    @strawberry.field
    def title(self) -> str:
        return self.row.title

    @strawberry.field
    def tags(self) -> list[str]:
        return self.row.tags

    @strawberry.field
    def processed_file_url(self, info: Asked) -> str:
        return f"http://{info.context.host}/files/{self.row.output_key}"

    @strawberry.field
    def published_at(self) -> datetime:
        return self.row.published_at

    @strawberry.field
    async def effect(self, info: Asked) -> Effect | None:
        return await _effect(info, self.row.effect_id)


@strawberry.type
class GalleryVideoConnection:
    """A page of the gallery."""

    nodes: list[GalleryVideo]
    page_info: PageInfo


@strawberry.type
class Effect:
    """What can be done to a video."""

    row: strawberry.Private[catalog.Effect]

    @strawberry.field
    def id(self) -> strawberry.ID:
        return strawberry.ID(f"Effect_{self.row.id:x}")

    @strawberry.field
    def slug(self) -> str:
        return self.row.slug

    @strawberry.field
    def name(self) -> str:
        return self.row.name

    @strawberry.field
    def token_cost(self) -> int:
        return self.row.token_cost

    @strawberry.field
    async def category(self, info: Asked) -> Category | None:
        if self.row.category_id is None:
            return None
        found = await info.context.categories.load(self.row.category_id)
        return None if found is None else Category(row=found)

    @strawberry.field
    async def gallery_videos(self, info: Asked, first: int = 20) -> GalleryVideoConnection:
        rows = await info.context.gallery_of.load((self.row.id, first + 1))
        return _exhibits(rows, first)


@strawberry.type
class EffectConnection:
    """A page of effects."""

    nodes: list[Effect]


@strawberry.type
class File:
    """An object in the store."""

    row: strawberry.Private[media.File]

    @strawberry.field
    def name(self) -> str:
        return self.row.name

    @strawberry.field
    def size_bytes(self) -> BigInt:
        return BigInt(self.row.size_bytes)

    @strawberry.field
    def mime_type(self) -> str:
        return self.row.mime_type


@strawberry.type
class Video:
    """A video of the caller."""

    row: strawberry.Private[media.Video]

    @strawberry.field
    def id(self) -> strawberry.ID:
        return strawberry.ID(f"Video_{self.row.tenant_id.encode().hex()}_{self.row.id:x}")

    @strawberry.field
    def title(self) -> str:
        return self.row.title

    @strawberry.field
    def status(self) -> media.VideoStatus:
        return self.row.status

    @strawberry.field
    def created_at(self) -> datetime:
        return self.row.created_at

    @strawberry.field
    async def effect(self, info: Asked) -> Effect | None:
        return await _effect(info, self.row.effect_id)

    @strawberry.field
    async def output_file(self, info: Asked) -> File | None:
        if self.row.output_file_id is None:
            return None
        found = await info.context.files.load(self.row.output_file_id)
        return None if found is None else File(row=found)


@strawberry.type
class VideoConnection:
    """A page of videos."""

    nodes: list[Video]

    @strawberry.field
    async def total_count(self, info: Asked) -> int:
        counted = sa.select(sa.func.count()).select_from(media.Video).where(*_mine(info))
        async with info.context.pool() as session:
            return (await session.scalars(counted)).one()


@strawberry.type
class TokenWallet:
    """A tenant's tokens."""

    balance: BigInt
    reserved: BigInt


@strawberry.type
class AiJob:
    """An effect applied to a video."""

    status: jobs.AiJobStatus
    progress: float


@strawberry.type
class AiJobConnection:
    """A page of jobs."""

    nodes: list[AiJob]


@strawberry.type
class User:
    """A person."""

    name: str


@strawberry.type
class Query:
    """What the bench asks."""

    @strawberry.field
    async def gallery(self, info: Asked, first: int = 20) -> GalleryVideoConnection:
        video = gallery.GalleryVideo
        by = (video.published_at.desc(), video.id.desc())
        async with info.context.central() as session:
            rows = await session.scalars(
                sa.select(video).where(video.listed == sa.true()).order_by(*by).limit(first + 1)
            )
            return _exhibits(list(rows), first)

    @strawberry.field
    async def effect(self, info: Asked, slug: str) -> Effect | None:
        effect = catalog.Effect
        async with info.context.central() as session:
            found = await session.scalar(sa.select(effect).where(effect.slug == slug, effect.archived_at.is_(None)))
        return None if found is None else Effect(row=found)

    @strawberry.field
    async def effects(self, info: Asked, first: int = 20) -> EffectConnection:
        effect = catalog.Effect
        by = (effect.popularity.desc(), effect.id.desc())
        async with info.context.central() as session:
            rows = await session.scalars(
                sa.select(effect).where(effect.archived_at.is_(None)).order_by(*by).limit(first)
            )
            return EffectConnection(nodes=[Effect(row=row) for row in rows])

    @strawberry.field
    async def viewer(self, info: Asked) -> User | None:
        async with info.context.central() as session:
            found = await session.get(identity.User, info.context.signed_in.user_id)
        return None if found is None else User(name=found.name)

    @strawberry.field
    async def wallet(self, info: Asked) -> TokenWallet:
        purse = wallet.TokenWallet
        async with info.context.pool() as session:
            found = (
                await session.scalars(sa.select(purse).where(purse.tenant_id == info.context.signed_in.tenant))
            ).one()
        return TokenWallet(balance=BigInt(found.balance), reserved=BigInt(found.reserved))

    @strawberry.field
    async def videos(self, info: Asked, first: int = 20) -> VideoConnection:
        by = (media.Video.created_at.desc(), media.Video.id.desc())
        async with info.context.pool() as session:
            rows = await session.scalars(sa.select(media.Video).where(*_mine(info)).order_by(*by).limit(first))
            return VideoConnection(nodes=[Video(row=row) for row in rows])

    @strawberry.field
    async def ai_jobs(self, info: Asked, first: int = 20) -> AiJobConnection:
        job, owner = jobs.AiJob, info.context.signed_in
        mine = (job.tenant_id == owner.tenant, job.user_id == owner.user_id)
        async with info.context.pool() as session:
            rows = await session.scalars(sa.select(job).where(*mine).order_by(job.id.desc()).limit(first))
            return AiJobConnection(nodes=[AiJob(status=row.status, progress=row.progress) for row in rows])


def _mine(info: Asked) -> tuple[sa.ColumnElement[bool], ...]:
    owner, video = info.context.signed_in, media.Video
    return video.tenant_id == owner.tenant, video.user_id == owner.user_id, video.deleted_at.is_(None)


def _exhibits(rows: list[gallery.GalleryVideo], first: int) -> GalleryVideoConnection:
    shown = rows[:first]
    end = f"{shown[-1].published_at.isoformat()} {shown[-1].id:x}" if shown else None
    info = PageInfo(has_next_page=len(rows) > first, end_cursor=end)
    return GalleryVideoConnection(nodes=[GalleryVideo(row=row) for row in shown], page_info=info)


async def _effect(info: Asked, effect_id: int | None) -> Effect | None:
    if effect_id is None:
        return None
    found = await info.context.effects.load(effect_id)
    return None if found is None else Effect(row=found)


schema = strawberry.Schema(
    Query, config=StrawberryConfig(scalar_map={kind: SCALARS[kind] for kind in (datetime, BigInt)})
)
