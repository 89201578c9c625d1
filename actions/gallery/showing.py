"""What the gallery makes of published, unpublished and deleted videos: public files, and rows that everybody reads.

Events may come twice and in any order. A renewed snapshot counts if its event is newer; a withdrawal is final for
its place, so it wins whenever it comes.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from actions import store_sweep
from actions.gallery.publish import VideoPublished, VideoUnpublished
from actions.media import VideoDeleted
from base import observe, texts
from base.ids import Id
from db import faults
from db.outbox import Envelope, receives
from db.session import SystemSession
from db.tables.central.catalog import Effect
from db.tables.central.gallery import GalleryVideo, GalleryVideoTag
from db.tables.central.identity import Tenant
from db.zones import TenantState
from outside.store import Missing, Store
from tenancy.context import Context, House

TAG_KEY_CHARACTERS_MAX = 80


@receives(VideoPublished)
async def show(ctx: Context, event: VideoPublished, envelope: Envelope) -> None:
    """Show a video as the event says.

    1 central: nothing to do where a newer word is known; 2 store: output and thumbnail are copied to their
    public keys; 3 central: the row and its tags. A crash after 2 leaves public objects without a row, which
    the event, delivered again, gives one, or the sweep takes. Idempotent by the event's id.
    """
    if await ctx.on_system(_is_settled, event, envelope):
        return
    store = ctx.house.service(Store)
    try:
        for source, public in event.copies():
            await store.copy(source, public)
    except Missing:
        # The video was deleted or remade before this came through: what was meant cannot be shown any more.
        observe.note(observe.Event.DELIVERY_FAILED, type=envelope.type, id=envelope.event_id, error="the file is gone")
        return
    if not await ctx.on_system(write, event, envelope):
        # The keys are this event's own, so nobody else's row lives by them.
        for _, public in event.copies():
            await store.delete(public)


@receives(VideoUnpublished)
async def hide(ctx: Context, event: VideoUnpublished, envelope: Envelope) -> None:
    """Show a video no more.

    1 central: the row becomes a tombstone; 2 store: its public files go. A crash after 1 leaves the event to
    the relay. Idempotent.
    """
    await _take_out(ctx, event.gallery_video_id, envelope)


@receives(VideoDeleted)
async def hide_deleted(ctx: Context, event: VideoDeleted, envelope: Envelope) -> None:
    """A deleted video leaves the gallery; the same steps as for an unpublished one. Idempotent."""
    if event.gallery_video_id is not None:
        await _take_out(ctx, event.gallery_video_id, envelope)


async def _take_out(ctx: Context, gallery_video_id: int, envelope: Envelope) -> None:
    keys = await ctx.on_system(withdraw, Id(gallery_video_id), envelope)
    for key in keys:
        await ctx.house.service(Store).delete(key)


async def _is_settled(db: SystemSession, event: VideoPublished, envelope: Envelope, /) -> bool:
    known = await _known(db, Id(event.gallery_video_id))
    return known is not None and (not known.visible or known.event_id >= envelope.event_id)


async def write(db: SystemSession, event: VideoPublished, envelope: Envelope, /) -> bool:
    """Write the row that an event tells of. False where it came too late: a newer one, or a withdrawal, is known."""
    db.act_for(tenant=envelope.tenant)
    # The share lock makes a suspension wait, or us for it: a row is never listed beside a closed tenant.
    tenant = await db.first(sa.select(Tenant).where(Tenant.id == envelope.tenant).with_for_update(read=True))
    if tenant is None:
        return False
    row = await _row(db, event, envelope, suspended=tenant.state is not TenantState.ACTIVE)
    if not await db.insert_once(row):
        known = await _known(db, row.id)
        if known is not None and known.visible and known.event_id == envelope.event_id:
            return True
        if not await _renew(db, row):
            return False
    await _write_tags(db, row)
    return True


async def _row(db: SystemSession, event: VideoPublished, envelope: Envelope, /, *, suspended: bool) -> GalleryVideo:
    # The pool's reference is checked here, where there is a foreign key.
    effect_id = await db.first(sa.select(Effect.id).where(Effect.id == event.effect_id))
    return GalleryVideo(
        id=Id(event.gallery_video_id),
        tenant_id=envelope.tenant,
        title=event.title,
        tags=event.tags,
        effect_id=effect_id,
        output_key=event.output_key,
        thumbnail_key=event.thumbnail_key,
        duration_seconds=event.duration_seconds,
        published_at=event.published_at,
        view_count=0,
        visible=True,
        suspended=suspended,
        listed=not suspended,
        event_id=Id(envelope.event_id),
        search_text=search_text(event.title, event.tags),
    )


async def _renew(db: SystemSession, row: GalleryVideo) -> bool:
    """Put what is new on the row that is there, its views kept, unless that knows something newer."""
    gallery = GalleryVideo
    met = await db.change(
        sa.update(gallery)
        .where(
            gallery.id == row.id,
            gallery.tenant_id == row.tenant_id,
            gallery.visible.is_(True),
            gallery.event_id < row.event_id,
        )
        .values(
            title=row.title,
            tags=row.tags,
            effect_id=row.effect_id,
            output_key=row.output_key,
            thumbnail_key=row.thumbnail_key,
            duration_seconds=row.duration_seconds,
            published_at=row.published_at,
            suspended=row.suspended,
            listed=row.listed,
            event_id=row.event_id,
            search_text=row.search_text,
        )
    )
    return bool(met)


async def withdraw(db: SystemSession, gallery_video_id: Id[GalleryVideo], envelope: Envelope, /) -> list[str]:
    """Make the row a tombstone, or write one where the publication is still to come; the public keys that may go.

    Idempotent: called again it names the same keys.
    """
    db.act_for(tenant=envelope.tenant)
    if await _known(db, gallery_video_id) is None and await db.insert_once(_tombstone(gallery_video_id, envelope)):
        return []
    await db.change(
        sa.update(GalleryVideo)
        .where(GalleryVideo.id == gallery_video_id, GalleryVideo.tenant_id == envelope.tenant)
        .values(visible=False, listed=False, title="", tags=[], search_text="")
    )
    await _drop_tags(db, gallery_video_id, envelope)
    known = await _known(db, gallery_video_id)
    if known is None:
        raise faults.RunAgain
    keys = [key for key in (known.output_key, known.thumbnail_key) if key]
    # Demo data shows one file in many places.
    shown = await _shown_of(db, keys)
    return [key for key in keys if key not in shown]


def _tombstone(gallery_video_id: Id[GalleryVideo], envelope: Envelope) -> GalleryVideo:
    return GalleryVideo(
        id=gallery_video_id,
        tenant_id=envelope.tenant,
        title="",
        tags=[],
        output_key="",
        published_at=envelope.occurred_at,
        view_count=0,
        visible=False,
        suspended=False,
        listed=False,
        event_id=Id(envelope.event_id),
        search_text="",
    )


def search_text(title: str, tags: Sequence[str]) -> str:
    """Title and tags a line each, folded, so that no word is found across two of them."""
    return "\n".join(texts.fold(text) for text in (title, *tags))


def tag_keys(tags: Sequence[str]) -> list[str]:
    """The folded tags, each once, cut to their column: folding may make a text many times as long."""
    return list(dict.fromkeys(texts.fold(tag)[:TAG_KEY_CHARACTERS_MAX] for tag in tags))


async def _write_tags(db: SystemSession, row: GalleryVideo) -> None:
    here = (GalleryVideoTag.gallery_video_id == row.id, GalleryVideoTag.tenant_id == row.tenant_id)
    await db.change(sa.delete(GalleryVideoTag).where(*here))
    for key in tag_keys(row.tags):
        db.add(GalleryVideoTag(tag_key=key, gallery_video_id=row.id, tenant_id=row.tenant_id))


async def _drop_tags(db: SystemSession, gallery_video_id: Id[GalleryVideo], envelope: Envelope) -> None:
    await db.change(
        sa.delete(GalleryVideoTag).where(
            GalleryVideoTag.gallery_video_id == gallery_video_id, GalleryVideoTag.tenant_id == envelope.tenant
        )
    )


async def _known(db: SystemSession, gallery_video_id: Id[GalleryVideo]) -> GalleryVideo | None:
    statement = sa.select(GalleryVideo).where(GalleryVideo.id == gallery_video_id)
    return await db.first(statement.execution_options(populate_existing=True))


@store_sweep.keeps("public/", complete=True)
async def shown(house: House, keys: Sequence[str]) -> set[str]:
    return await house.system().on_system(_shown_of, keys)


async def _shown_of(db: SystemSession, keys: Sequence[str], /) -> set[str]:
    shown: set[str] = set()
    for column in (GalleryVideo.output_key, GalleryVideo.thumbnail_key):
        found = await db.all(sa.select(column).where(column.in_(keys), GalleryVideo.visible.is_(True)))
        shown.update(key for key in found if key is not None)
    return shown
