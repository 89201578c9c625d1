"""What a user makes: files in the store, videos out of them, and exports of those.

The bytes are in the object store under `files.key`; what is public is a copy, in central's gallery.
"""

import enum
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from base.ids import Id
from db.columns import Exact, Line, Prose
from db.tables.central.catalog import Effect
from db.tables.central.identity import User
from db.zones import DELETE, NULL, USER_PRIVATE, PoolBase, WithChanges, pool_ref, soft_ref


class FileStatus(enum.Enum):
    """UPLOADING ones that are not completed go after a day."""

    UPLOADING = "UPLOADING"
    READY = "READY"
    DELETED = "DELETED"


class VideoStatus(enum.Enum):
    """PROCESSING while a job of it is unfinished."""

    DRAFT = "DRAFT"
    PROCESSING = "PROCESSING"
    READY = "READY"
    FAILED = "FAILED"


class ExportStatus(enum.Enum):
    """QUEUED again when a worker was lost."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    READY = "READY"
    FAILED = "FAILED"


class ExportFormat(enum.Enum):
    """What a video can be exported to."""

    MP4 = "MP4"
    WEBM = "WEBM"
    GIF = "GIF"


class File(PoolBase, scope=USER_PRIVATE, owner="user_id"):
    """An object in the store: sizes in bytes, `sha256` in hex once somebody has computed it.

    `expires_at` ends an upload that is not completed; `deleted_at` is when the sweep may take the object.
    """

    __tablename__ = "files"
    __table_args__ = (
        sa.UniqueConstraint("tenant_id", "key"),
        sa.Index(None, "tenant_id", "user_id", "id"),
        sa.Index(None, "tenant_id", "status", "expires_at"),
    )

    user_id: Mapped[Id[User]] = soft_ref("users", on_parent_delete=DELETE)
    name: Mapped[str] = mapped_column(Line(255))
    mime_type: Mapped[str] = mapped_column(Exact(127))
    size_bytes: Mapped[int]
    sha256: Mapped[str | None] = mapped_column(Exact(64))
    status: Mapped[FileStatus] = mapped_column(default=FileStatus.UPLOADING)
    key: Mapped[str] = mapped_column(Exact(200))
    expires_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]


class Video(WithChanges, PoolBase, scope=USER_PRIVATE, owner="user_id"):
    """A video in the making, from an uploaded file to a published result.

    Published means that `gallery_video_id` is set. `title_key` and `search_text` are folded (NFKC,
    then case) by the writer. NEWEST and OLDEST mean `created_at`, then id. The gallery is the younger area, so
    its class is not named here.
    """

    __tablename__ = "videos"
    __table_args__ = (
        sa.Index(None, "tenant_id", "user_id", "created_at", "id"),
        sa.Index(None, "tenant_id", "user_id", "title_key", "id"),
        sa.Index(None, "tenant_id", "input_file_id"),
        sa.Index(None, "tenant_id", "output_file_id"),
        sa.Index(None, "tenant_id", "thumbnail_file_id"),
    )

    user_id: Mapped[Id[User]] = soft_ref("users", on_parent_delete=DELETE)
    title: Mapped[str] = mapped_column(Line(200))
    title_key: Mapped[str] = mapped_column(Line(400))
    search_text: Mapped[str] = mapped_column(Prose())
    tags: Mapped[list[str]] = mapped_column(default=list)
    status: Mapped[VideoStatus] = mapped_column(default=VideoStatus.DRAFT)
    effect_id: Mapped[Id[Effect] | None] = soft_ref("effects", on_parent_delete=NULL)
    input_file_id: Mapped[Id[File] | None] = pool_ref("files")
    output_file_id: Mapped[Id[File] | None] = pool_ref("files")
    thumbnail_file_id: Mapped[Id[File] | None] = pool_ref("files")
    duration_seconds: Mapped[float | None] = mapped_column(sa.Double())
    gallery_video_id: Mapped[Id[Any] | None] = soft_ref("gallery_videos", on_parent_delete=NULL)
    deleted_at: Mapped[datetime | None]


class Export(WithChanges, PoolBase, scope=USER_PRIVATE, owner="user_id"):
    """A READY video in another format; width and height in pixels, null as in the source."""

    __tablename__ = "exports"
    __table_args__ = (
        sa.Index(None, "tenant_id", "user_id", "id"),
        sa.Index(None, "tenant_id", "video_id", "id"),
        sa.Index(None, "tenant_id", "file_id"),
    )

    user_id: Mapped[Id[User]] = soft_ref("users", on_parent_delete=DELETE)
    video_id: Mapped[Id[Video]] = pool_ref("videos", on_parent_delete=DELETE)
    status: Mapped[ExportStatus] = mapped_column(default=ExportStatus.QUEUED)
    format: Mapped[ExportFormat]
    width: Mapped[int | None]
    height: Mapped[int | None]
    file_id: Mapped[Id[File] | None] = pool_ref("files", on_parent_delete=NULL)
    error_message: Mapped[str | None] = mapped_column(Line(1000))
    attempts: Mapped[int] = mapped_column(default=0)
