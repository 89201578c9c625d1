"""Files in the store and the videos made of them. What jobs and the gallery add to a video is in their own files."""

from __future__ import annotations

import enum
from dataclasses import field
from datetime import datetime
from typing import Annotated

from base.ids import GlobalId
from db.tables.pool import media as tables
from execution.access import member
from execution.declare import Doc, computed, input, node, payload, to_one  # noqa: A004  (GraphQL's word)
from execution.prices import SEARCH, costs
from execution.scalars import BigInt, Json
from outside.store import Store
from schema.catalog import Effect
from schema.payloads import UserError, UserErrors
from tenancy.context import Context

SHOWN_INLINE = ("video/", "image/")

MimeType = Annotated[str, Doc("As it is in the bytes, e.g. video/mp4.")]
SizeBytes = Annotated[BigInt, Doc("Exactly, in bytes: 1 to 2147483648 (2 GiB).")]
Title = Annotated[str, Doc("1 to 200 characters.")]


def _url(ctx: Context, key: str, name: str, mime_type: str, status: tables.FileStatus, /) -> str | None:
    if status is not tables.FileStatus.READY:
        return None
    inline = mime_type.startswith(SHOWN_INLINE) and mime_type != "image/svg+xml"
    return ctx.house.service(Store).download_url(key, mime_type=mime_type, name=name, inline=inline, origin=ctx.origin)


def _is_published(gallery_video_id: int | None) -> bool:
    return gallery_video_id is not None


@node(tables.File, access=member)
class File:
    """An object in the store that belongs to the caller."""

    name: Annotated[str, Doc("As it was uploaded, e.g. holiday.mp4.")]
    mime_type: Annotated[str, Doc("E.g. video/mp4.")]
    size_bytes: BigInt
    sha256: Annotated[str | None, Doc("64 hexadecimal digits; null until computed.")]
    status: tables.FileStatus
    url: Annotated[str | None, computed(_url), Doc("time-limited; null until READY")]
    created_at: datetime


@node(tables.Video, access=member, where=(tables.Video.deleted_at.is_(None),))
class Video:
    """A video of the caller, from an uploaded file to a finished result."""

    title: str
    tags: Annotated[list[str], Doc('E.g. ["night", "city"].')]
    status: tables.VideoStatus
    created_at: datetime
    updated_at: datetime
    effect: Annotated[Effect | None, to_one("effect_id"), Doc("The effect it was last made with, or is meant for.")]
    input_file: Annotated[File | None, to_one("input_file_id"), Doc("What was uploaded.")]
    output_file: Annotated[File | None, to_one("output_file_id"), Doc("The result of the last succeeded job.")]
    thumbnail: Annotated[File | None, to_one("thumbnail_file_id"), Doc("A still picture of it.")]
    duration_seconds: Annotated[float | None, Doc("Read from the file, e.g. 12.4.")]
    is_published: Annotated[bool, computed(_is_published), Doc("Whether it is in the public gallery.")]


@input
class VideoFilter:
    """Videos that fit all of what is given."""

    status: Annotated[tables.VideoStatus | None, Doc("E.g. READY.")] = None
    effect_slug: Annotated[str | None, Doc("Made with this effect, e.g. neon-glow.")] = None
    is_published: Annotated[bool | None, Doc("In the gallery, or not in it.")] = None
    search: Annotated[str | None, costs(SEARCH), Doc("All words as parts of title or tags; at least 2 characters.")] = (
        None
    )


class VideoOrder(enum.Enum):
    """TITLE: from A to Z."""

    NEWEST = "NEWEST"
    OLDEST = "OLDEST"
    TITLE = "TITLE"


@input
class CreateUploadInput:
    """What is going to be uploaded; the upload must match it."""

    name: Annotated[str, Doc("File name, 1 to 255 characters, e.g. holiday.mp4.")]
    mime_type: MimeType
    size_bytes: SizeBytes
    sha256: Annotated[str | None, Doc("Of the bytes, 64 hexadecimal digits: then the store checks it.")] = None


@input
class CreateVideoInput:
    """A new video of an uploaded file."""

    title: Title
    input_file_id: Annotated[GlobalId, Doc("A READY file of the caller.")]
    effect_id: Annotated[GlobalId | None, Doc("The effect it is meant for.")] = None
    tags: Annotated[list[str] | None, Doc('At most 20 of at most 40 characters, e.g. ["night"].')] = None


@input
class UpdateVideoInput:
    """What is not given stays as it is."""

    id: Annotated[GlobalId, Doc("The video.")]
    title: Annotated[str | None, Doc("1 to 200 characters.")] = None
    tags: Annotated[list[str] | None, Doc("All tags from now on: at most 20 of at most 40 characters.")] = None


@payload
class CreateUploadPayload:
    """PUT the bytes to uploadUrl with uploadHeaders, then call completeUpload"""

    file: File | None = None
    upload_url: Annotated[str | None, Doc("Good for one hour and once.")] = None
    upload_headers: Annotated[Json | None, Doc("Header name → value, all of them needed.")] = None
    user_errors: UserErrors = field(default_factory=list[UserError])


@payload
class FilePayload:
    """The file; null when refused."""

    file: File | None = None
    user_errors: UserErrors = field(default_factory=list[UserError])


@payload
class VideoPayload:
    """The video; null when refused."""

    video: Video | None = None
    user_errors: UserErrors = field(default_factory=list[UserError])
