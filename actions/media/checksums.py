"""The SHA-256 of files whose client gave none, filled in by the worker after completeUpload has answered."""

import asyncio
import hashlib
from datetime import timedelta

import sqlalchemy as sa

from actions.media import uploads
from base.ids import Id
from db import work
from db.outbox import Envelope, receives
from db.session import PoolSession, SystemSession
from db.tables.pool.media import File, FileStatus
from outside.store import Missing, Store, StoreUnavailable
from tenancy.context import Context
from tenancy.handlers import Alive, GiveUp, handles

CHECKSUM = "file_checksum"
CONCURRENT_MAX = 1
LEASE_SECONDS = 120
AGAIN_MINUTES = 5


@receives(uploads.FileUploaded)
async def want_checksum(ctx: Context, event: uploads.FileUploaded, envelope: Envelope) -> None:
    """Queue the hashing of a file that came without a checksum; idempotent by the file."""
    if not event.hashed:
        await ctx.on_system(work.enqueue, CHECKSUM, envelope.tenant, ref_id=event.file_id)


@handles(CHECKSUM, lease_seconds=LEASE_SECONDS, concurrent=CONCURRENT_MAX)
async def fill_checksum(ctx: Context, lease: work.Lease, _alive: Alive) -> None:
    """Read the object, in constant memory, and keep its SHA-256; idempotent, an object never changes."""
    file_id: Id[File] = Id(lease.ref_id)
    try:
        key = await ctx.on_pool(unhashed, file_id)
        if key is not None:
            await ctx.on_pool(keep, file_id, sha256=await _hash(ctx, key))
    except StoreUnavailable:
        # A store that does not answer is no failed attempt: three of those would give the work up.
        await ctx.on_system(_put_off, lease)
    except Missing:
        # Deleted while we read is fine; READY without its bytes is for a person to see.
        if await ctx.on_pool(unhashed, file_id) is not None:
            raise GiveUp(f"file {file_id:x} is READY and its object is not in the store") from None


async def _put_off(db: SystemSession, lease: work.Lease, /) -> None:
    due = db.now + timedelta(minutes=AGAIN_MINUTES)
    await work.set_timer(db, CHECKSUM, due, tenant=lease.tenant_id, ref_id=lease.ref_id)


async def unhashed(db: PoolSession, file_id: Id[File], /) -> str | None:
    """The key of a READY file without a checksum, or None."""
    return await db.first(
        sa.select(File.key).where(File.id == file_id, File.status == FileStatus.READY, File.sha256.is_(None))
    )


async def keep(db: PoolSession, file_id: Id[File], /, *, sha256: str) -> None:
    """Note the checksum of a file that has none."""
    await db.change(sa.update(File).where(File.id == file_id, File.sha256.is_(None)).values(sha256=sha256))


async def _hash(ctx: Context, key: str) -> str:
    digest = hashlib.sha256()
    async for piece in ctx.house.service(Store).stream(key):
        await asyncio.to_thread(digest.update, piece)
    return digest.hexdigest()
