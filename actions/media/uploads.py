"""Uploads straight to the store: promised, looked at when the client says it is done, ended when it never does.

What a client says of its bytes is compared with the bytes; `checksums.py` hashes what nobody has hashed.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

import sqlalchemy as sa

from actions import promised
from actions.media import files
from base import errors, texts
from base.ids import Id
from db import work
from db.outbox import Event
from db.session import PoolSession, SystemSession
from db.tables.central.identity import User
from db.tables.pool.media import File, FileStatus
from db.zones import TenantId
from outside import sniff
from outside.store import Missing, Store
from tenancy import limits
from tenancy.context import Context
from tenancy.handlers import Alive, handles

NAME_CHARACTERS_MAX = 255
EXPIRY = "upload_expiry"
EXPIRY_SLACK_MINUTES = 5


@dataclass(frozen=True, slots=True)
class NewUpload:
    """Where the client PUTs its bytes, and the headers it must send with them."""

    file_id: Id[File]
    url: str
    headers: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class FileUploaded(Event):
    """A client's file is READY; `hashed` says whether its SHA-256 is known."""

    type: ClassVar[str] = "file.uploaded"

    file_id: int
    user_id: int
    hashed: bool

    @property
    def aggregate(self) -> str:
        """The file."""
        return f"file:{self.file_id:x}"


async def create_upload(
    ctx: Context, name: str, mime_type: str, /, *, size_bytes: int, sha256: str | None = None
) -> NewUpload:
    """Promise room for these bytes and say where they go; the URL binds size, type and checksum.

    1 central: the timer that ends the upload; 2 pool: the row, its bytes taken from the quota. A crash after
    1 leaves a timer that finds nothing; after 2 a file that the timer deletes after a day. Raises Invalid,
    LimitExceeded.
    """
    facts = files.Facts(
        key=files.new_key(ctx.tenant_id),
        name=_file_name(name),
        mime_type=promised.mime_type(mime_type, "input", "mimeType"),
        size_bytes=promised.size(size_bytes, "input", "sizeBytes", most=ctx.house.settings.upload_bytes_max),
        sha256=promised.sha256(sha256, "input", "sha256"),
    )
    most = limits.limit(ctx.house.settings, limits.STORAGE_BYTES)
    return await begin(ctx, facts, origin=ctx.origin, bytes_max=most)


def _file_name(text: str) -> str:
    kept = texts.line(text, "input", "name", most=NAME_CHARACTERS_MAX)
    if "/" in kept or "\\" in kept or kept in (".", ".."):
        raise errors.Invalid("Send the file's own name, without folders.", "input", "name")
    return kept


async def begin(
    ctx: Context, facts: files.Facts, /, *, origin: str, bytes_max: int, user_id: Id[User] | None = None
) -> NewUpload:
    """Timer, row and URL of an upload, as `create_upload` says; `user_id` where the caller is no member."""
    # The address costs nothing and promises nothing before the row is there, so a store that fails leaves no row.
    upload = await ctx.house.service(Store).upload_url(
        facts.key, size_bytes=facts.size_bytes, mime_type=facts.mime_type, sha256=facts.sha256, origin=origin
    )
    file_id = await ctx.on_system(_set_expiry, ctx.tenant_id)
    await ctx.on_pool(files.promise, file_id, facts, bytes_max=bytes_max, user_id=user_id)
    return NewUpload(file_id, upload.url, upload.headers)


async def _set_expiry(db: SystemSession, tenant: TenantId, /) -> Id[File]:
    file_id: Id[File] = db.new_id()
    due = db.now + timedelta(hours=files.UPLOAD_HOURS_MAX, minutes=EXPIRY_SLACK_MINUTES)
    await work.set_timer(db, EXPIRY, due, tenant=tenant, ref_id=file_id)
    return file_id


# ------------------------------------------------------------------------------------------- completing


async def complete_upload(ctx: Context, file_id: Id[File], /) -> Id[File]:
    """Look at what was uploaded and make the file READY; READY already is fine.

    1 pool: read the row; 2 store: size and first 64 KiB; 3 pool: READY, or DELETED where the bytes are not
    what was promised (the URL is good once, so a new upload is needed). A crash before 3 leaves the file
    UPLOADING: call again. Raises NotFound, Conflict (nothing there yet), Invalid (other bytes).
    """
    await check(ctx, file_id, "fileId")
    return file_id


async def check(ctx: Context, file_id: Id[File], /, *field: str, kinds: tuple[str, ...] = ("",)) -> None:
    """As `complete_upload` does, refusing on `field`; `kinds` are the beginnings of the types that will do."""
    promised_facts = await ctx.on_pool(_uploading, file_id, *field)
    if promised_facts is None:
        return
    try:
        found = await look(ctx.house.service(Store), promised_facts, *field)
        if not found.startswith(kinds):
            raise errors.Invalid(f"{found} will not do here. The bytes are discarded.", *field)
    except Missing:
        raise errors.Conflict("Nothing has arrived: PUT the bytes to uploadUrl first.", *field) from None
    except errors.Invalid:
        await ctx.on_pool(end, file_id)
        raise
    await ctx.on_pool(finish, file_id, *field, mime_type=found)


async def _uploading(db: PoolSession, file_id: Id[File], /, *field: str) -> files.Facts | None:
    file = await db.get_one(File, file_id, *field)
    if file.status is FileStatus.DELETED:
        raise errors.Conflict("This upload has ended: create another.", *field)
    return None if file.status is FileStatus.READY else files.Facts.of(file)


async def look(store: Store, facts: files.Facts, /, *field: str) -> str:
    """The type that the uploaded bytes have. Raises Missing, Invalid on `field` where they are not as promised."""
    blob = await store.head(facts.key)
    if blob is None:
        raise Missing(facts.key)
    if blob.size_bytes != facts.size_bytes:
        raise errors.Invalid(
            f"{blob.size_bytes} bytes arrived, {facts.size_bytes} were promised. They are discarded.", *field
        )
    found = sniff.sniff(await store.read(facts.key, length=sniff.HEAD_BYTES))
    if found is None or not sniff.agrees(facts.mime_type, found):
        raise errors.Invalid(
            f"These bytes are no {facts.mime_type} but {found or 'nothing known'}. They are discarded.", *field
        )
    return found


async def finish(db: PoolSession, file_id: Id[File], /, *field: str, mime_type: str) -> None:
    """READY, told once. Raises Conflict where the upload has ended meanwhile."""
    if await files.make_ready(db, file_id, mime_type=mime_type):
        file = await db.get_one(File, file_id, *field)
        db.emit(FileUploaded(file_id=file_id, user_id=file.user_id, hashed=file.sha256 is not None))
    else:
        await _uploading(db, file_id, *field)


# ------------------------------------------------------------------------------------------- ending


@handles(EXPIRY)
async def end_upload(ctx: Context, lease: work.Lease, _alive: Alive) -> None:
    """Delete a file that was never completed and give its bytes back to the quota; idempotent."""
    due = await ctx.on_pool(expire, Id(lease.ref_id))
    if due is not None:
        await ctx.on_system(work.set_timer, EXPIRY, due, tenant=lease.tenant_id, ref_id=lease.ref_id)


async def expire(db: PoolSession, file_id: Id[File], /) -> datetime | None:
    """DELETED where the time of this upload is over; the answer is when to look again, if ever."""
    file = await db.first(sa.select(File).where(File.id == file_id, File.status == FileStatus.UPLOADING))
    if file is None:
        return None
    if file.expires_at is not None and file.expires_at > db.now:
        return file.expires_at
    await end(db, file_id)
    return None


async def end(db: PoolSession, file_id: Id[File], /) -> None:
    """UPLOADING → DELETED; a file that became READY meanwhile stays."""
    await files.drop(db, [file_id], about=f"file:{file_id:x}", among=(FileStatus.UPLOADING,))
