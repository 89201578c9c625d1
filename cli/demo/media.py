"""Demo videos with files that are really there: copies of the samples under keys of each tenant's own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from actions.media import files, videos
from base.ids import Id
from cli.demo.samples import Sample, Stored
from db.session import PoolSession
from db.tables.central.identity import User
from db.tables.pool.media import File, FileStatus, Video, VideoStatus
from outside.store import Store
from tenancy import limits

if TYPE_CHECKING:
    from random import Random

    from cli.demo.frame import Demo, Studio
    from tenancy.context import Context

AFTER = ("samples",)
VIDEOS_A_TRANSACTION = 250
COPIES_AT_ONCE = 8
SOURCES_A_STUDIO_MAX = 3
# Every published video has a still in the gallery; of its own, only the first ones of a tenant.
STILLS_A_STUDIO_MAX = 24
DAYS = 180
# By these names the other parts know which videos are the demo's.
SOURCE_NAME = "Demo clip"
ENDINGS = {"video/mp4": "mp4", "image/jpeg": "jpg"}
_SUBJECTS = (
    *("Harbour at dawn", "Street food in the rain", "Kite festival", "First snow", "Rooftop concert", "Old tram line"),
    *("Grandma's garden", "Surf school", "Night market", "Paper lanterns", "Mountain hut", "Skate park", "City lights"),
    *("Wedding dance", "Morning coffee", "The lighthouse", "Dog on the beach", "Pottery class", "Marathon finish"),
    *("Desert road", "Library cat", "Jazz in the cellar", "Balloon ride", "Bakery at 4 a.m.", "Tide pools"),
)
_TURNS = ("", " II", ", take two", " (short)", " in colour", ", the long way", " — teaser", " at night", ", again")
_TAGS = (
    *("night", "city", "travel", "food", "music", "nature", "family", "sport", "slow", "retro", "neon", "short"),
    *("behind the scenes", "vlog", "wedding", "pets"),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """One video that is to be made."""

    number: int
    words: videos.Words
    status: VideoStatus
    is_published: bool
    effect_id: int
    sample: Sample
    made_at: datetime


@dataclass(frozen=True, slots=True)
class Copy:
    """A sample's object under a tenant's own key."""

    key: str
    stored: Stored


async def fill(demo: Demo) -> None:
    """Give every tenant the videos that it lacks."""
    if demo.samples:
        await demo.over_studios("videos", lambda studio, ctx: _fill(demo, studio, ctx))


async def _fill(demo: Demo, studio: Studio, ctx: Context) -> int:
    have, published = await ctx.on_pool(count)
    unpublished = max(0, demo.published_of(studio) - published)
    wanted = max(demo.size.videos_per_tenant - have, unpublished)
    plans = [_plan(demo, studio, have + index, is_published=index < unpublished) for index in range(wanted)]
    for start in range(0, len(plans), VIDEOS_A_TRANSACTION):
        some = plans[start : start + VIDEOS_A_TRANSACTION]
        sources = await ctx.on_pool(_sources)
        copies = await _copy(ctx, some, sources=sources)
        await ctx.on_pool(_add, some, copies, user_id=studio.user_id)
    return len(plans)


async def count(db: PoolSession, /) -> tuple[int, int]:
    """How many videos there are, and how many of them are published."""
    rows = await db.tuples(
        sa.select(sa.func.count(Video.id), sa.func.count(Video.gallery_video_id)).where(Video.deleted_at.is_(None))
    )
    return int(rows[0][0]), int(rows[0][1])


def _plan(demo: Demo, studio: Studio, number: int, /, *, is_published: bool) -> Plan:
    dice = demo.dice("video", studio.number, number)
    effects = sorted(demo.effects.items())
    slug, effect_id = effects[int(len(effects) * dice.random() ** 1.6)]
    made_with = {sample.effect: sample for sample in demo.samples}
    status = VideoStatus.READY
    if not is_published and dice.random() < 0.5:
        status = VideoStatus.DRAFT
    return Plan(
        number=number,
        words=videos.Words.of(_title(dice), dice.sample(_TAGS, dice.randint(1, 4))),
        status=status,
        is_published=is_published,
        effect_id=effect_id,
        sample=made_with.get(slug) or dice.choice(demo.samples),
        made_at=demo.today - timedelta(seconds=dice.randrange(DAYS * 86_400)),
    )


def _title(dice: Random) -> str:
    return dice.choice(_SUBJECTS) + dice.choice(_TURNS)


async def _sources(db: PoolSession, /) -> dict[str, Id[File]]:
    """The clips that this tenant has uploaded already, by their names."""
    ready = (File.status == FileStatus.READY, File.name.startswith(SOURCE_NAME))
    return {row.name: row.id for row in await db.tuples(sa.select(File.name, File.id).where(*ready))}


def source_name(plan: Plan) -> str:
    """The uploaded clip of a video: a tenant has few and uses each for several."""
    return f"{SOURCE_NAME} {plan.number % SOURCES_A_STUDIO_MAX + 1}.mp4"


async def _copy(ctx: Context, plans: Sequence[Plan], *, sources: dict[str, Id[File]]) -> dict[str, Copy]:
    """Copy what the videos need, by what it is: a clip's name, `output 7`, `still 7`."""
    wanted: dict[str, Stored] = {}
    for plan in plans:
        if source_name(plan) not in sources:
            wanted.setdefault(source_name(plan), plan.sample.source)
        if plan.status is VideoStatus.READY:
            wanted[f"output {plan.number}"] = plan.sample.output
            if plan.number < STILLS_A_STUDIO_MAX:
                wanted[f"still {plan.number}"] = plan.sample.thumbnail
    copies = {what: Copy(files.new_key(ctx.tenant_id), stored) for what, stored in wanted.items()}
    turn, store = asyncio.Semaphore(COPIES_AT_ONCE), ctx.house.service(Store)

    async def one(copy: Copy) -> None:
        async with turn:
            await store.copy(copy.stored.key, copy.key)

    await asyncio.gather(*(one(copy) for copy in copies.values()))
    return copies


async def _add(db: PoolSession, plans: Sequence[Plan], copies: dict[str, Copy], /, *, user_id: Id[User]) -> None:
    sources = await _sources(db)
    made: dict[str, Id[File]] = dict(sources)
    when = {f"output {plan.number}": plan.made_at for plan in plans}
    for what, copy in copies.items():
        if what in made:
            continue
        made[what] = db.new_id()
        name = what if what.startswith(SOURCE_NAME) else f"{what.replace(' ', '-')}.{ENDINGS[copy.stored.mime_type]}"
        db.add(_file(made[what], copy, name=name, user_id=user_id, made_at=when.get(what, plans[0].made_at)))
    added = sum(copy.stored.size_bytes for what, copy in copies.items() if what not in sources)
    await limits.take(db, limits.STORAGE_BYTES, added, most=files.UNLIMITED_BYTES)
    await db.flush()
    for plan in plans:
        is_ready = plan.status is VideoStatus.READY
        db.add(
            Video(
                id=db.new_id(),
                user_id=user_id,
                created_at=plan.made_at,
                updated_at=plan.made_at,
                title=plan.words.title,
                title_key=plan.words.title_key,
                search_text=plan.words.search_text,
                tags=plan.words.tags,
                status=plan.status,
                effect_id=plan.effect_id,
                input_file_id=made[source_name(plan)],
                output_file_id=made.get(f"output {plan.number}"),
                thumbnail_file_id=made.get(f"still {plan.number}"),
                duration_seconds=plan.sample.seconds if is_ready else None,
                gallery_video_id=db.new_id() if plan.is_published else None,
            )
        )


def _file(file_id: Id[File], copy: Copy, *, name: str, user_id: Id[User], made_at: datetime) -> File:
    return File(
        id=file_id,
        user_id=user_id,
        created_at=made_at,
        name=name,
        mime_type=copy.stored.mime_type,
        size_bytes=copy.stored.size_bytes,
        sha256=copy.stored.sha256,
        status=FileStatus.READY,
        key=copy.key,
    )
