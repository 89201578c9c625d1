"""The life of a file's row: UPLOADING → READY → DELETED, and the quota that goes with it.

Every file that is not DELETED is counted in the tenant's quota, so whoever makes or ends one
does it here. Talking with clients about uploads is in `uploads.py`.
"""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import sqlalchemy as sa

from base import errors
from base.ids import Id
from db import faults
from db.outbox import Envelope, Event, receives
from db.session import PoolSession
from db.tables.central.identity import User
from db.tables.pool.media import Export, File, FileStatus, Video
from db.zones import TenantId
from outside.store import Store
from tenancy import limits
from tenancy.context import Context

UPLOAD_HOURS_MAX = 24
UPLOADS_OPEN_MAX = 1_000
KEYS_AN_EVENT_MAX = 50
UNLIMITED_BYTES = 1 << 62
LIVING = (FileStatus.UPLOADING, FileStatus.READY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of an object: its key in the store, exact size in bytes, SHA-256 in lower-case hex or None."""

    key: str
    name: str
    mime_type: str
    size_bytes: int
    sha256: str | None = None

    @classmethod
    def of(cls, file: File) -> "Facts":
        """What a row says."""
        return cls(
            key=file.key,
            name=file.name,
            mime_type=file.mime_type,
            size_bytes=file.size_bytes,
            sha256=file.sha256,
        )


@dataclass(frozen=True, kw_only=True)
class FilesDeleted(Event):
    """Rows are DELETED and their objects may go; `about` is the aggregate that they belonged to."""

    type: ClassVar[str] = "files.deleted"

    about: str
    keys: list[str]

    @property
    def aggregate(self) -> str:
        """The file itself, or its video: after what was said of that one earlier (a copy that is still to be made)."""
        return self.about


def new_key(tenant: TenantId) -> str:
    """A key in the store that nobody can guess, under the tenant's own prefix."""
    return f"t/{tenant.encode().hex()}/{secrets.token_hex(16)}"


async def promise(
    db: PoolSession, file_id: Id[File], facts: Facts, /, *, bytes_max: int, user_id: Id[User] | None = None
) -> None:
    """An UPLOADING file of the caller, or of `user_id`. Raises LimitExceeded over `bytes_max` of the tenant."""
    if user_id is None:
        await _check_open(db)
    await limits.take(db, limits.STORAGE_BYTES, facts.size_bytes, most=bytes_max, field=("input", "sizeBytes"))
    ends = db.now + timedelta(hours=UPLOAD_HOURS_MAX)
    db.add(_row(file_id, facts, FileStatus.UPLOADING, user_id=user_id, expires_at=ends))


async def _check_open(db: PoolSession) -> None:
    open_uploads = await db.first(sa.select(sa.func.count(File.id)).where(File.status == FileStatus.UPLOADING))
    if (open_uploads or 0) >= UPLOADS_OPEN_MAX:
        raise errors.LimitExceeded(f"{UPLOADS_OPEN_MAX:,} uploads are open: complete or delete some first.", "input")


async def add(db: PoolSession, facts: Facts, /, *, user_id: Id[User]) -> Id[File]:
    """A READY file of this user for an object of ours that stands in the store.

    It counts in the quota and is never refused by it: what it was made for has been paid.
    """
    file_id: Id[File] = db.new_id()
    await limits.take(db, limits.STORAGE_BYTES, facts.size_bytes, most=UNLIMITED_BYTES)
    db.add(_row(file_id, facts, FileStatus.READY, user_id=user_id))
    await db.flush()
    return file_id


async def make_ready(db: PoolSession, file_id: Id[File], /, *, mime_type: str) -> bool:
    """UPLOADING → READY, with the type that its bytes have. False where it is UPLOADING no more."""
    met = await db.change(
        sa.update(File)
        .where(File.id == file_id, File.status == FileStatus.UPLOADING)
        .values(status=FileStatus.READY, mime_type=mime_type, expires_at=None)
    )
    return bool(met)


async def hold(db: PoolSession, file_id: Id[File], /, *field: str) -> File:
    """The READY file, which nobody can delete before this transaction ends. Raises NotFound, Conflict on `field`."""
    # The write that changes nothing is the lock: `delete` changes the same row before it looks for uses.
    await db.change(
        sa.update(File).where(File.id == file_id, File.status == FileStatus.READY).values(status=FileStatus.READY)
    )
    file = await db.get_one(File, file_id, *field)
    if file.status is FileStatus.DELETED:
        raise errors.NotFound("There is no File with this id.", *field)
    if file.status is FileStatus.UPLOADING:
        raise errors.Conflict("This file is not uploaded yet: PUT its bytes, then call completeUpload.", *field)
    return file


async def delete_file(ctx: Context, file_id: Id[File], /) -> None:
    """Delete a file that no video uses.

    1 one pool transaction: DELETED, quota given back; 2 the receiver of FilesDeleted removes the object. A
    crash after 1 leaves the event to the relay. Raises NotFound, Conflict.
    """
    await ctx.on_pool(delete, file_id)


async def delete(db: PoolSession, file_id: Id[File], /) -> None:
    """As `delete_file`, without its event's delivery."""
    if not await drop(db, [file_id], about=f"file:{file_id:x}"):
        raise errors.NotFound("There is no File with this id.", "id")
    # Asked after our write: a video that took the file meanwhile has been committed, or waits for us.
    uses = sa.or_(*(key == file_id for key in (Video.input_file_id, Video.output_file_id, Video.thumbnail_file_id)))
    title = await db.first(sa.select(Video.title).where(Video.deleted_at.is_(None), uses))
    if title is not None:
        raise errors.Conflict(f"The video “{title}” uses this file: delete the video first.", "id")


async def drop(
    db: PoolSession, file_ids: Collection[Id[File]], /, *, about: str, among: Collection[FileStatus] = LIVING
) -> int:
    """DELETED, quota given back, and the objects go once this is committed; how many were `among` these before.

    `about` is the aggregate of the event (`video:1a2b` for what belonged to a video).
    """
    living = (File.id.in_(file_ids), File.status.in_(among))
    rows = await db.tuples(sa.select(File.id, File.key, File.size_bytes).where(*living)) if file_ids else []
    if not rows:
        return 0
    met = await db.change(
        sa.update(File).where(*living).values(status=FileStatus.DELETED, deleted_at=db.now, expires_at=None)
    )
    if met != len(rows):
        # Somebody was between the two statements; bytes must not be given back twice, nor those of a READY file.
        raise faults.RunAgain
    await db.change(sa.update(Export).where(Export.file_id.in_(file_ids)).values(file_id=None))
    await limits.give_back(db, limits.STORAGE_BYTES, sum(row.size_bytes for row in rows))
    keys = [row.key for row in rows]
    for start in range(0, len(keys), KEYS_AN_EVENT_MAX):
        db.emit(FilesDeleted(about=about, keys=keys[start : start + KEYS_AN_EVENT_MAX]))
    return len(rows)


async def drop_made(db: PoolSession, file_ids: Collection[Id[File]], /, *, about: str) -> int:
    """As `drop`, for what was made of a video; a file that another video is made of stays its owner's."""
    if not file_ids:
        return 0
    # The write that changes nothing is the lock, as in `hold`: who takes one meanwhile waits, or has been committed.
    await db.change(
        sa.update(File).where(File.id.in_(file_ids), File.status == FileStatus.READY).values(status=FileStatus.READY)
    )
    used = await db.all(
        sa.select(Video.input_file_id).where(Video.input_file_id.in_(file_ids), Video.deleted_at.is_(None))
    )
    return await drop(db, [file_id for file_id in file_ids if file_id not in used], about=about)


async def living(db: PoolSession, keys: Sequence[str], /) -> set[str]:
    """Those of the keys that a file of this tenant still stands for."""
    return set(await db.all(sa.select(File.key).where(File.key.in_(keys), File.status != FileStatus.DELETED)))


@receives(FilesDeleted)
async def remove_objects(ctx: Context, event: FilesDeleted, _envelope: Envelope) -> None:
    """Take the objects out of the store; idempotent by their keys, which are never given twice."""
    store = ctx.house.service(Store)
    for key in event.keys:
        await store.delete(key)


def _row(file_id: Id[File], facts: Facts, status: FileStatus, **more: Any) -> File:
    return File(
        id=file_id,
        key=facts.key,
        name=facts.name,
        mime_type=facts.mime_type,
        size_bytes=facts.size_bytes,
        sha256=facts.sha256,
        status=status,
        **more,
    )
