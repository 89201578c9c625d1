"""What must hold of a tenant's files and videos; for `doctor` and for tests that killed something."""

from datetime import timedelta

import sqlalchemy as sa

from actions.media import files
from base.ids import Id
from db.session import PoolSession
from db.tables.pool.media import File, FileStatus, Video
from db.tables.pool.upkeep import UsageCounter
from outside.store import Store
from tenancy import limits
from tenancy.checks import Finding, of_tenant
from tenancy.context import Context

SHOWN_MAX = 3
ROWS_A_BATCH_MAX = 1_000


@of_tenant("files and videos")
async def rows_agree(ctx: Context) -> list[Finding]:
    """Quota, videos and uploads of a tenant agree with each other."""
    wrong = await ctx.on_pool(broken)
    return (
        []
        if wrong is None
        else [Finding(wrong, "is a worker running (atrium worker)? if so, report it with this line")]
    )


@of_tenant("files in the store")
async def objects_are_there(ctx: Context) -> list[Finding]:
    """Every READY file has its object, of the size that the row says."""
    prefix = f"t/{ctx.tenant_id.encode().hex()}/"
    there = {blob.key: blob.size_bytes async for blob in ctx.house.service(Store).list(prefix)}
    lost: list[str] = []
    after: Id[File] = Id(0)
    while rows := await ctx.on_pool(_ready, after):
        lost += [f"{row_id:x}" for row_id, key, size in rows if there.get(key) != size]
        after = rows[-1][0]
    if not lost:
        return []
    shown = ", ".join(lost[:SHOWN_MAX])
    what = f"{len(lost)} READY files have no object of their size in the store ({shown})"
    return [Finding(what, "bring the store back from its backup, or check ATRIUM_STORAGE_URL")]


async def _ready(db: PoolSession, after: Id[File], /) -> list[tuple[Id[File], str, int]]:
    rows = await db.tuples(
        sa.select(File.id, File.key, File.size_bytes)
        .where(File.status == FileStatus.READY, File.id > after)
        .order_by(File.id)
        .limit(ROWS_A_BATCH_MAX)
    )
    return [(row.id, row.key, int(row.size_bytes)) for row in rows]


async def broken(db: PoolSession, /) -> str | None:
    """What is wrong with this tenant's files, or None: quota against rows, videos against files, ends of uploads."""
    counted = await db.first(
        sa.select(UsageCounter.used).where(UsageCounter.key == limits.STORAGE_BYTES, UsageCounter.period == "")
    )
    held = await db.first(sa.select(sa.func.sum(File.size_bytes)).where(File.status != FileStatus.DELETED))
    if int(counted or 0) != int(held or 0):
        return f"the quota counts {int(counted or 0):,} bytes, its files hold {int(held or 0):,}"
    for column in (Video.input_file_id, Video.output_file_id, Video.thumbnail_file_id):
        ready = sa.select(File.id).where(File.status == FileStatus.READY)
        video_id = await db.first(
            sa.select(Video.id).where(Video.deleted_at.is_(None), column.is_not(None), column.not_in(ready))
        )
        if video_id is not None:
            return f"video {video_id:x} has a {column.key.removesuffix('_id').replace('_', ' ')} that is not READY"
    late = db.now - timedelta(hours=files.UPLOAD_HOURS_MAX)
    left = await db.first(sa.select(File.id).where(File.status == FileStatus.UPLOADING, File.expires_at < late))
    return None if left is None else f"upload {left:x} ended a day ago and is still open: does a worker run?"
