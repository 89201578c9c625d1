"""What tests of jobs stand on: a small catalog of real effects, real films in the store, workers until all is done."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

import actions
from actions import jobs, media, wallet
from actions.media import files
from base.ids import Id
from db import work
from db.tables.central.catalog import Algorithm, AlgorithmKind, Effect, Overlay, Watermark
from db.tables.central.work import FailedJob, Job, JobState
from db.tables.pool.jobs import AiJob
from db.tables.pool.media import Export, File, FileStatus, Video, VideoStatus
from db.tables.pool.upkeep import Outbox
from db.tables.pool.wallet import TokenTransaction, TokenWallet
from outside import ffmpeg, samples
from outside.builtin_effects import BUILTIN_EFFECTS
from outside.store import Store
from tenancy import handlers, leases
from tenancy.context import Context, House
from tests.outside import hostile
from tests.world import World

WAIT_SECONDS_MAX = 90
SIGN_UP = 100
COSTS = {"grayscale": 10, "vivid": 7, "caption": 3, "crop": 1, "upscale": 20, "dream": 15, "branded": 10}
OVERLAY_KEY = f"c/{'a1' * 16}"
WATERMARK_KEY = f"c/{'b2' * 16}"
# Bytes that look like a film to who reads their beginning alone.
MP4 = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + b"\0\0\0\x08free" * 100

handlers.load(actions)


# ------------------------------------------------------------------------------------------- catalog


async def catalog(world: World) -> dict[str, Id[Effect]]:
    """Effects by slug: four of ours, one with pictures, one for workers that claim, one for a provider."""
    store = world.house.service(Store)
    for key in (OVERLAY_KEY, WATERMARK_KEY):
        await store.put_bytes(key, hostile.small_png(), mime_type="image/png")
    return await world.house.system().on_system(_stock)


def _named(slug: str) -> dict[str, str]:
    return {"slug": slug, "name": slug.title(), "name_key": slug}


async def _stock(db: Any, /) -> dict[str, Id[Effect]]:
    algorithms = {}
    for slug, kind in (
        ("ffmpeg", AlgorithmKind.FFMPEG),
        ("gpu", AlgorithmKind.WORKER),
        ("acme-dream", AlgorithmKind.HTTP),
    ):
        algorithms[slug] = db.new_id()
        provider = "acme" if kind is AlgorithmKind.HTTP else None
        db.add(Algorithm(id=algorithms[slug], kind=kind, provider=provider, **_named(slug)))
    overlay, watermark = db.new_id(), db.new_id()
    db.add(Overlay(id=overlay, asset_key=OVERLAY_KEY, asset_mime="image/png", **_named("frost")))
    db.add(Watermark(id=watermark, asset_key=WATERMARK_KEY, asset_mime="image/png", **_named("logo")))
    await db.flush()
    builtin = {effect.slug: effect for effect in BUILTIN_EFFECTS}
    ids: dict[str, Id[Effect]] = {}
    for slug, cost in COSTS.items():
        known = builtin.get("grayscale" if slug == "branded" else slug)
        ids[slug] = db.new_id()
        db.add(
            Effect(
                id=ids[slug],
                token_cost=cost,
                algorithm_id=algorithms[{"upscale": "gpu", "dream": "acme-dream"}.get(slug, "ffmpeg")],
                parameters=[dict(one) for one in known.parameters] if known else [],
                graph=[dict(one) for one in known.graph] if known else [],
                overlay_id=overlay if slug == "branded" else None,
                watermark_id=watermark if slug == "branded" else None,
                search_text=slug,
                **_named(slug),
            )
        )
    return ids


# ------------------------------------------------------------------------------------------- films


@functools.cache
def ffmpeg_path() -> Path:
    """The ffmpeg that ships with the worker."""
    return ffmpeg.find_ffmpeg(None)


_FILMS: dict[float, bytes] = {}


async def film(seconds: float = 1.0) -> bytes:
    """A real MP4 with sound, 160×90, made once."""
    if seconds not in _FILMS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "film.mp4"
            await samples.make_sample(path, ffmpeg=ffmpeg_path(), seconds=seconds, width=160, height=90)
            _FILMS[seconds] = path.read_bytes()
    return _FILMS[seconds]


async def video(ctx: Context, data: bytes = MP4, *, title: str = "Film") -> Id[Video]:
    """A DRAFT of bytes that somebody uploaded, through the real actions."""
    new = await media.create_upload(ctx, "film.mp4", "video/mp4", size_bytes=len(data))
    key = await ctx.on_pool(_key, new.file_id)
    await ctx.house.service(Store).put_bytes(key, data, mime_type="video/mp4")
    await media.complete_upload(ctx, new.file_id)
    return await media.create_video(ctx, title, new.file_id)


async def _key(db: Any, file_id: Id[File] | None, /) -> str:
    return str(await db.first(sa.select(File.key).where(File.id == file_id)))


async def drafts(ctx: Context, count: int) -> list[Id[Video]]:
    """Many videos of one READY file whose bytes nobody will look at."""
    return await ctx.on_pool(_drafts, count)


async def _drafts(db: Any, count: int, /) -> list[Id[Video]]:
    file_id = db.new_id()
    db.add(
        File(
            id=file_id,
            name="f.mp4",
            mime_type="video/mp4",
            size_bytes=0,
            status=FileStatus.READY,
            key=files.new_key(db.tenant),
        )
    )
    await db.flush()
    ids = [db.new_id() for _ in range(count)]
    for video_id in ids:
        db.add(
            Video(
                id=video_id, title="F", title_key="f", search_text="f", tags=[], status=VideoStatus.DRAFT,
                input_file_id=file_id,
            )
        )  # fmt: skip
    return ids


async def bytes_of(ctx: Context, file_id: Id[File] | None) -> bytes:
    """What stands in the store for a file of this tenant."""
    return b"".join([piece async for piece in ctx.house.service(Store).stream(await ctx.on_pool(_key, file_id))])


# ------------------------------------------------------------------------------------------- what tests look at


async def job(ctx: Context, ai_job_id: Id[AiJob]) -> AiJob:
    """The row of a job."""
    found = await ctx.on_pool(_row, AiJob, ai_job_id)
    assert isinstance(found, AiJob)
    return found


async def the_video(ctx: Context, video_id: Id[Video]) -> Video:
    """The row of a video."""
    found = await ctx.on_pool(_row, Video, video_id)
    assert isinstance(found, Video)
    return found


async def export(ctx: Context, export_id: Id[Export]) -> Export:
    """The row of an export."""
    found = await ctx.on_pool(_row, Export, export_id)
    assert isinstance(found, Export)
    return found


async def file(ctx: Context, file_id: Any) -> File:
    """The row of a file."""
    found = await ctx.on_pool(_row, File, file_id)
    assert isinstance(found, File)
    return found


async def _row(db: Any, table: Any, row_id: Id[Any], /) -> Any:
    return await db.first(sa.select(table).where(table.id == row_id))


async def tokens(ctx: Context) -> tuple[int, int]:
    """Spendable and held."""
    return await ctx.on_pool(_tokens)


async def _tokens(db: Any) -> tuple[int, int]:
    wallets = await db.tuples(sa.select(TokenWallet.balance, TokenWallet.reserved))
    return int(wallets[0][0]), int(wallets[0][1])


async def ledger(ctx: Context, ai_job_id: Id[AiJob]) -> list[str]:
    """The kinds of a job's ledger entries in order."""
    return await ctx.on_pool(_ledger, ai_job_id)


async def _ledger(db: Any, ai_job_id: Id[AiJob], /) -> list[str]:
    entries = sa.select(TokenTransaction.kind).where(TokenTransaction.ai_job_id == ai_job_id)
    return [kind.name for kind in await db.all(entries.order_by(TokenTransaction.sequence))]


async def works(house: House, kind: str = "ai_job") -> list[tuple[str, int]]:
    """State and attempts of the work of a kind."""
    return await house.system().on_system(_works, kind)


async def _works(db: Any, kind: str, /) -> list[tuple[str, int]]:
    rows = await db.all(sa.select(Job).where(Job.kind == kind).order_by(Job.id))
    return [(row.state.name, row.attempts) for row in rows]


async def dead(house: House) -> list[tuple[str, int]]:
    """Kind and attempts of what ended among the failed."""
    return await house.system().on_system(_dead)


async def _dead(db: Any, /) -> list[tuple[str, int]]:
    return [(row.kind, row.attempts) for row in await db.all(sa.select(FailedJob).order_by(FailedJob.id))]


async def sound(ctx: Context) -> None:
    """Ledger, quota, files and videos agree, and nothing waits to be told."""
    system = await ctx.house.system_of(ctx.tenant_id)
    assert await system.on_pool(wallet.broken) is None
    assert await system.on_pool(media.broken) is None
    assert await system.on_pool(_untold) == []


async def _untold(db: Any) -> list[str]:
    return list(await db.all(sa.select(Outbox.type)))


# ------------------------------------------------------------------------------------------- workers


@dataclass(frozen=True)
class Submitted:
    """A job and its video."""

    job_id: Id[AiJob]
    video_id: Id[Video]


async def submit(ctx: Context, effect: Id[Effect], data: bytes = MP4, **more: Any) -> Submitted:
    """A new video and a job of it."""
    video_id = await video(ctx, data)
    return Submitted(await jobs.submit_ai_job(ctx, video_id, effect, **more), video_id)


async def alive() -> bool:
    """A lease that is never lost."""
    return True


@contextlib.asynccontextmanager
async def working(house: House, *kinds: str) -> AsyncIterator[None]:
    """A real worker of these kinds, beside the test."""
    stop = asyncio.Event()
    named = {kind: handlers.HANDLERS[kind] for kind in kinds or ("ai_job",)}
    task = asyncio.create_task(leases.run(house, stop, kinds=named))
    try:
        yield
    finally:
        stop.set()
        await task


async def work_off(house: House, *kinds: str) -> None:
    """Run a worker until nothing of these kinds is ready or leased; pauses between attempts pass at once."""
    async with working(house, *kinds), asyncio.timeout(WAIT_SECONDS_MAX):
        while await house.system().on_system(_left, kinds or ("ai_job",)):
            await asyncio.sleep(0.05)


async def _left(db: Any, kinds: tuple[str, ...], /) -> int:
    mine = (Job.kind.in_(kinds), Job.state != JobState.DONE)
    ready = (*mine, Job.state == JobState.READY, Job.available_at > db.now)
    await db.change(sa.update(Job).where(*ready).values(available_at=db.now))
    return int(await db.first(sa.select(sa.func.count(Job.id)).where(*mine)) or 0)


async def expire_leases(house: House) -> None:
    """Every lease has run out, every pause is over."""
    await house.system().on_system(_expire)


async def _expire(db: Any, /) -> None:
    past = db.now - timedelta(hours=1)
    await db.change(sa.update(Job).values(available_at=past))
    await db.change(sa.update(Job).where(Job.state == JobState.LEASED).values(lease_until=past))


async def claim(house: House, *, kind: str = "ai_job", algorithm: str = "ffmpeg", owner: str = "a") -> work.Lease:
    """The lease of the next piece of work."""
    [lease] = await house.system().on_system(work.claim, [kind], owner, most=1, seconds=60, algorithms=[algorithm])
    return lease
