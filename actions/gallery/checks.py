"""What must hold between the gallery and the videos it shows; for doctor and for tests that killed something."""

from collections.abc import Sequence

import sqlalchemy as sa

from actions.media import videos
from base.ids import Id
from db.session import PoolSession, SystemSession
from db.tables.central.gallery import GalleryVideo
from db.tables.central.identity import Tenant
from db.tables.pool.media import Video
from db.tables.pool.upkeep import Outbox
from db.zones import TenantId, TenantState
from outside.store import Store
from tenancy.checks import Finding, of_tenant
from tenancy.context import Context

SHOWN_MAX = 3


@of_tenant("gallery")
async def shows_what_is_published(ctx: Context) -> list[Finding]:
    """What is published is shown, what is shown is published, and hidden exactly while the tenant is suspended."""
    published, waiting = await ctx.on_pool(_published)
    rows = await ctx.on_system(_rows, ctx.tenant_id)
    shown = {row.id for row in rows if row.visible}
    store = ctx.house.service(Store)
    suspended = await ctx.on_system(_is_suspended, ctx.tenant_id)
    told = {place for place, about in published.items() if about in waiting}
    missing = [place for place in published if place not in shown and place not in told]
    # What was unpublished and waits in the outbox is shown for a moment more.
    stray = [] if waiting else [place for place in shown if place not in published]
    unlike = [row.id for row in rows if row.suspended != suspended or row.listed != (row.visible and not row.suspended)]
    lost = [row.id for row in rows if row.visible and await store.head(row.output_key) is None]
    cases: Sequence[tuple[str, str, list[Id[GalleryVideo]]]] = (
        ("published videos are not shown", "publish them again: the gallery's row is written anew", missing),
        ("videos are shown and not published", "unpublish or delete them again", stray),
        (
            "rows are listed otherwise than their tenant's state says",
            "atrium tenants resume, or suspend, again",
            unlike,
        ),
        ("public files are gone from the store", "publish them again: the files are copied anew", lost),
    )
    return [
        Finding(f"{len(ids)} {what} ({', '.join(f'{one:x}' for one in ids[:SHOWN_MAX])})", do)
        for what, do, ids in cases
        if ids
    ]


async def _published(db: PoolSession, /) -> tuple[dict[Id[GalleryVideo], str], set[str]]:
    """(place in the gallery → its aggregate, aggregates with events on their way)."""
    rows = await db.tuples(
        sa.select(Video.id, Video.gallery_video_id).where(
            Video.gallery_video_id.is_not(None), Video.deleted_at.is_(None)
        )
    )
    waiting = set(await db.all(sa.select(Outbox.aggregate)))
    return {place: videos.about(video_id) for video_id, place in rows}, waiting


async def _rows(db: SystemSession, tenant: TenantId, /) -> Sequence[GalleryVideo]:
    return await db.all(sa.select(GalleryVideo).where(GalleryVideo.tenant_id == tenant))


async def _is_suspended(db: SystemSession, tenant: TenantId, /) -> bool:
    return await db.first(sa.select(Tenant.state).where(Tenant.id == tenant)) is TenantState.SUSPENDED
