"""The public gallery: snapshots of published videos, read without touching any pool.

Rows are written by the receivers of the pools' events and by suspension, nobody else.
"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from base.ids import Id
from db.columns import Exact, Line, Prose
from db.tables.central.catalog import Effect
from db.tables.central.identity import TenantKey
from db.zones import DELETE, NULL, USER_SHARED, CentralBase, WithId, ref


class GalleryVideo(WithId, CentralBase, scope=USER_SHARED, tenant="tenant_id"):
    """A published video as everybody sees it; `id` was drawn in the pool's transaction.

    `visible` is what the newest event said, `suspended` what became of the tenant; `listed` is
    visible and not suspended, kept by every writer of the two, so that one index serves a list.
    `event_id` is the newest event applied: an older one changes nothing.
    """

    __tablename__ = "gallery_videos"
    __table_args__ = (
        sa.Index(None, "listed", "published_at", "id"),
        sa.Index(None, "listed", "view_count", "id"),
        sa.Index(None, "effect_id", "listed", "published_at", "id"),
        sa.Index(None, "effect_id", "listed", "view_count", "id"),
        sa.Index(None, "tenant_id", "listed", "published_at", "id"),
        sa.Index(None, "tenant_id", "listed", "view_count", "id"),
        # Which places live by a public file, before it is deleted.
        sa.Index(None, "output_key"),
        sa.Index(None, "thumbnail_key"),
    )

    tenant_id: Mapped[TenantKey] = ref("tenants.id", on_parent_delete=DELETE)
    title: Mapped[str] = mapped_column(Line(200))
    tags: Mapped[list[str]] = mapped_column(default=list)
    effect_id: Mapped[Id[Effect] | None] = ref("effects.id", on_parent_delete=NULL)
    output_key: Mapped[str] = mapped_column(Exact(200))
    thumbnail_key: Mapped[str | None] = mapped_column(Exact(200))
    duration_seconds: Mapped[float | None] = mapped_column(sa.Double())
    published_at: Mapped[datetime]
    view_count: Mapped[int] = mapped_column(default=0)
    visible: Mapped[bool] = mapped_column(default=True)
    suspended: Mapped[bool] = mapped_column(default=False)
    listed: Mapped[bool] = mapped_column(default=True)
    event_id: Mapped[Id[Any]]
    search_text: Mapped[str] = mapped_column(Prose())


class GalleryVideoTag(CentralBase, scope=USER_SHARED, tenant="tenant_id"):
    """That a gallery video carries a tag, for filtering; `tag_key` is the folded tag."""

    __tablename__ = "gallery_video_tags"
    __table_args__ = (sa.Index(None, "gallery_video_id", "tag_key"),)

    tag_key: Mapped[str] = mapped_column(Line(80), primary_key=True)
    gallery_video_id: Mapped[Id[GalleryVideo]] = ref(
        "gallery_videos.id", primary_key=True, autoincrement=False, on_parent_delete=DELETE
    )
    tenant_id: Mapped[TenantKey] = ref("tenants.id", index=True, on_parent_delete=DELETE)
