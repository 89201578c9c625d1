"""Uploads of what a worker that is not ours has made: the file is its video's owner's, the quota never refuses it."""

from actions import promised
from actions.media import files, uploads
from actions.media.uploads import NewUpload
from actions.media.videos import FILMS
from base import errors
from base.ids import Id
from db.tables.central.identity import User
from db.tables.pool.media import File
from tenancy.context import Context

NAMES = {"image/gif": "output.gif", "video/webm": "output.webm"}


async def new_output(
    ctx: Context, user_id: Id[User], mime_type: str, /, *, size_bytes: int, sha256: str, origin: str
) -> NewUpload:
    """Where a worker PUTs its result; `ctx` is the system's for the tenant, `origin` the host the worker asked on.

    Steps and crashes as in `uploads.create_upload`; an output that is never completed ends after a day.
    Raises Invalid on the argument.
    """
    plain = promised.mime_type(mime_type, "mimeType")
    if not plain.startswith(FILMS):
        raise errors.Invalid("A result is a video or a GIF, e.g. video/mp4.", "mimeType")
    facts = files.Facts(
        key=files.new_key(ctx.tenant_id),
        name=NAMES.get(plain, "output.mp4"),
        mime_type=plain,
        size_bytes=promised.size(size_bytes, "sizeBytes", most=ctx.house.settings.upload_bytes_max),
        sha256=promised.sha256(sha256, "sha256"),
    )
    return await uploads.begin(ctx, facts, origin=origin, bytes_max=files.UNLIMITED_BYTES, user_id=user_id)


async def check_output(ctx: Context, file_id: Id[File], /) -> None:
    """Look at an uploaded result and make it READY, as `uploads.complete_upload` does; twice is fine.

    Raises Conflict (nothing there yet, or ended), Invalid (other bytes: the file is DELETED then).
    """
    await uploads.check(ctx, file_id, kinds=FILMS)
