"""Exports: a READY video in another format, made by our own worker, free of tokens."""

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import sqlalchemy as sa

from actions.jobs import folders, outside_workers, render, states
from actions.media import files
from actions.media.files import Facts
from base import errors
from base.ids import Id
from db import work
from db.outbox import Envelope, Event, receives
from db.session import PoolSession, SystemSession
from db.tables.pool.media import Export, ExportFormat, ExportStatus, File, FileStatus, Video, VideoStatus
from db.zones import TenantState
from outside import ffmpeg, renders
from outside.confined import MediaError
from outside.services import Ffmpeg
from outside.store import Missing, Store, StoreUnavailable
from tenancy.context import Context
from tenancy.handlers import Alive, PutOff, handles

EXPORT = "export"
SIDE_PIXELS_MIN = 16
SIDE_PIXELS_MAX = 4_096
UNFINISHED_EXPORTS_MAX = 20
_NAMES = {"MP4": "export.mp4", "WEBM": "export.webm", "GIF": "export.gif"}
_UNFINISHED = (ExportStatus.QUEUED, ExportStatus.RUNNING)


@dataclass(frozen=True, kw_only=True)
class ExportQueued(Event):
    """An export waits for the worker."""

    type: ClassVar[str] = "export.queued"

    export_id: int

    @property
    def aggregate(self) -> str:
        """Itself."""
        return f"export:{self.export_id:x}"


@dataclass(frozen=True, slots=True)
class _Wanted:
    format: Literal["MP4", "WEBM", "GIF"]
    width: int | None
    height: int | None
    user_id: int
    source_key: str


async def create_export(
    db: PoolSession,
    video_id: Id[Video],
    export_format: ExportFormat,
    /,
    *,
    width: int | None = None,
    height: int | None = None,
) -> Id[Export]:
    """Queue an export. Raises NotFound, Conflict (not READY), Invalid (size), LimitExceeded."""
    for name, pixels in (("width", width), ("height", height)):
        if pixels is not None and not SIDE_PIXELS_MIN <= pixels <= SIDE_PIXELS_MAX:
            raise errors.Invalid(f"From {SIDE_PIXELS_MIN} to {SIDE_PIXELS_MAX} pixels.", "input", name)
    video = await db.first(sa.select(Video).where(Video.id == video_id, Video.deleted_at.is_(None)))
    if video is None:
        raise errors.NotFound("There is no Video with this id.", "input", "videoId")
    if video.status is not VideoStatus.READY or video.output_file_id is None:
        raise errors.Conflict(
            f"Only a READY video can be exported; this one is {video.status.name}.", "input", "videoId"
        )
    waiting = await db.first(
        sa.select(sa.func.count(Export.id)).where(Export.status.in_(_UNFINISHED), Export.user_id == video.user_id)
    )
    if (waiting or 0) >= UNFINISHED_EXPORTS_MAX:
        raise errors.LimitExceeded(f"At most {UNFINISHED_EXPORTS_MAX} exports wait at a time.", "input", "videoId")
    export_id: Id[Export] = db.new_id()
    db.add(
        Export(
            id=export_id,
            user_id=video.user_id,
            video_id=video_id,
            status=ExportStatus.QUEUED,
            format=export_format,
            width=width,
            height=height,
        )
    )
    db.emit(ExportQueued(export_id=export_id))
    return export_id


@receives(ExportQueued)
async def offer(ctx: Context, event: ExportQueued, envelope: Envelope) -> None:
    """Put the export before the worker. Idempotent by the export."""
    await ctx.on_system(_offer, event, envelope)


async def _offer(db: SystemSession, event: ExportQueued, envelope: Envelope, /) -> None:
    await work.enqueue(db, EXPORT, envelope.tenant, ref_id=event.export_id)


async def gave_up(ctx: Context, lease: work.Lease, _why: str) -> None:
    """No attempt is left: the export is FAILED. Idempotent."""
    message = "The export could not be made; you may ask for it again."
    await ctx.on_pool(_end, Id(lease.ref_id), attempt=lease.attempt, output=None, message=message)


@handles(EXPORT, gave_up=gave_up, concurrent=1)
async def process(ctx: Context, lease: work.Lease, alive: Alive) -> None:
    """Make one export.

    1 pool: RUNNING; 2 the file is made and stored under a new key; 3 pool: READY with its file. A crash after
    2 leaves an object without a row, which the sweep takes.
    """
    if ctx.tenant_route.state is TenantState.SUSPENDED:
        raise PutOff("the tenant is suspended", seconds=outside_workers.SUSPENDED_SECONDS)
    export_id: Id[Export] = Id(lease.ref_id)
    wanted = await ctx.on_pool(_begin, export_id, attempt=lease.attempt)
    if wanted is None:
        return
    try:
        output = await _make(ctx, wanted)
    except (MediaError, Missing) as error:
        await ctx.on_pool(_end, export_id, attempt=lease.attempt, output=None, message=render.told(error))
        return
    except StoreUnavailable as error:
        await ctx.on_pool(_wait, export_id, attempt=lease.attempt)
        raise PutOff(str(error), seconds=render.PUT_OFF_SECONDS) from error
    except Exception:
        await ctx.on_pool(_wait, export_id, attempt=lease.attempt)
        raise
    if await alive():
        await ctx.on_pool(_end, export_id, attempt=lease.attempt, output=output, message=None)


async def _make(ctx: Context, wanted: _Wanted) -> Facts:
    with folders.folder() as place:
        source, folder = place / "input", place / "work"
        folder.mkdir()
        await ctx.house.service(Store).fetch_to(wanted.source_key, source)
        what = renders.Export(wanted.format, wanted.width, wanted.height)
        made = await ffmpeg.run(ffmpeg.Render(ctx.house.service(Ffmpeg).path, source, folder, what))
        return await render.stored(ctx, made.path, name=_NAMES[wanted.format], mime_type=made.mime_type)


async def _begin(db: PoolSession, export_id: Id[Export], /, *, attempt: int) -> _Wanted | None:
    if not await db.change(
        sa.update(Export)
        .where(Export.id == export_id, Export.status.in_(_UNFINISHED), Export.attempts <= attempt)
        .values(status=ExportStatus.RUNNING, attempts=attempt, updated_at=db.now)
    ):
        return None
    found = await db.tuples(
        sa.select(Export.format, Export.width, Export.height, Export.user_id, File.key)
        .join(Video, (Video.id == Export.video_id) & (Video.tenant_id == Export.tenant_id))
        .join(File, (File.id == Video.output_file_id) & (File.tenant_id == Export.tenant_id))
        .where(Export.id == export_id, Video.deleted_at.is_(None), File.status == FileStatus.READY)
    )
    if not found:
        await _end(db, export_id, attempt=attempt, output=None, message="The video has no output any more.")
        return None
    made, width, height, user_id, key = found[0]
    return _Wanted(cast("Literal['MP4', 'WEBM', 'GIF']", made.name), width, height, user_id, key)


async def _wait(db: PoolSession, export_id: Id[Export], /, *, attempt: int) -> None:
    await db.change(
        sa.update(Export)
        .where(Export.id == export_id, Export.status == ExportStatus.RUNNING, Export.attempts == attempt)
        .values(status=ExportStatus.QUEUED, updated_at=db.now)
    )


async def _end(
    db: PoolSession, export_id: Id[Export], /, *, attempt: int, output: Facts | None, message: str | None
) -> None:
    status = ExportStatus.FAILED if output is None else ExportStatus.READY
    if not await db.change(
        sa.update(Export)
        .where(Export.id == export_id, Export.status.in_(_UNFINISHED), Export.attempts <= attempt)
        .values(status=status, error_message=message and message[: states.MESSAGE_CHARACTERS_MAX], updated_at=db.now)
    ):
        return
    if output is not None:
        export = await db.get_one(Export, export_id)
        export.file_id = await files.add(db, output, user_id=export.user_id)
