"""A suspended tenant's videos leave the gallery with it and come back with it; publishing apart from that stays."""

import sqlalchemy as sa

from db.session import SystemSession
from db.tables.central.gallery import GalleryVideo
from db.zones import TenantId


async def hide_tenant(db: SystemSession, tenant: TenantId, /, hidden: bool) -> int:
    """Hide or show all that a tenant has published, in the transaction that changes its state; how many rows.

    Idempotent. The tenant's row must have been changed in this transaction before: a video that is being
    published at this moment reads it under a lock.
    """
    gallery = GalleryVideo
    listed: sa.ColumnElement[bool] = sa.false() if hidden else gallery.visible.expression
    return await db.change(
        sa.update(gallery).where(gallery.tenant_id == tenant).values(suspended=hidden, listed=listed)
    )
