"""Counting views: in this process's memory, once a viewer or address and hour, written to the gallery every 5 s.

What was counted within the last seconds before a crash is lost; a shutdown writes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections import Counter, OrderedDict
from collections.abc import Callable

import sqlalchemy as sa

from base import errors, observe
from base.ids import Id
from db.session import CentralSession, SystemSession
from db.tables.central.gallery import GalleryVideo
from db.zones import TenantId
from tenancy.context import Context, House

AGAIN_SECONDS = 3_600
WRITE_SECONDS = 5.0
REMEMBERED_MAX = 200_000
VIDEOS_A_TRANSACTION_MAX = 200

Place = tuple[TenantId, Id[GalleryVideo]]


class Views:
    """One process's views: who has watched what within the hour, and what is still to be written."""

    def __init__(self, house: House, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._house = house
        self._clock = clock
        self._counted: OrderedDict[tuple[int, bytes], float] = OrderedDict()
        self._unwritten: Counter[Place] = Counter()
        self._writing = asyncio.Lock()
        self._writer: asyncio.Task[None] | None = None

    def has(self, gallery_video_id: int, who: str) -> bool:
        """Whether this view counts already."""
        at = self._counted.get(_key(gallery_video_id, who))
        return at is not None and self._clock() - at < AGAIN_SECONDS

    def add(self, place: Place, who: str) -> None:
        """Count a view, unless it counts already; it is written within 5 s."""
        # Asked again: of many that came at once, each was told that none had been counted.
        if self.has(place[1], who):
            return
        key = _key(place[1], who)
        self._counted[key] = self._clock()
        self._counted.move_to_end(key)
        # The oldest are forgotten first: beyond this many an hour, a view may count twice.
        while len(self._counted) > REMEMBERED_MAX:
            self._counted.popitem(last=False)
        self._unwritten[place] += 1
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_soon(), name="views")

    async def _write_soon(self) -> None:
        while self._unwritten:
            await asyncio.sleep(WRITE_SECONDS)
            try:
                await self.write()
            except Exception as error:
                # They stay counted, and are tried again in as many seconds.
                observe.note(observe.Event.LOOP_FAILED, loop="views", error=repr(error))

    async def write(self) -> None:
        """Add what was counted to the gallery's rows."""
        async with self._writing:
            while self._unwritten:
                some = dict(self._unwritten.most_common(VIDEOS_A_TRANSACTION_MAX))
                await self._house.system().on_system(_add, some)
                self._unwritten.subtract(some)
                self._unwritten = +self._unwritten

    async def close(self) -> None:
        """Write what is left; called when the house closes."""
        if self._writer is not None:
            # Never amid a transaction: one that was committed by then would be written once more.
            async with self._writing:
                self._writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._writer
        with contextlib.suppress(errors.Denial):
            await self.write()


def views_of(house: House) -> Views:
    """The views of this process, counted from the first one on."""
    views: Views = house.services.setdefault(Views, Views(house))
    return views


async def record_view(ctx: Context, gallery_video_id: Id[GalleryVideo], /) -> Id[GalleryVideo]:
    """Count a view, one a viewer (or address) and hour. Raises NotFound.

    1 central is asked whether the video is listed; 2 memory counts; 3 central is written within 5 s. A crash
    before 3 loses the count.
    """
    views = views_of(ctx.house)
    who = f"address:{ctx.address}" if ctx.viewer is None else f"user:{ctx.viewer.user_id}"
    if not views.has(gallery_video_id, who):
        tenant = await ctx.on_central(_publisher, gallery_video_id)
        views.add((tenant, gallery_video_id), who)
    return gallery_video_id


async def _publisher(db: CentralSession, gallery_video_id: Id[GalleryVideo], /) -> TenantId:
    tenant = await db.first(
        sa.select(GalleryVideo.tenant_id).where(GalleryVideo.id == gallery_video_id, GalleryVideo.listed.is_(True))
    )
    if tenant is None:
        raise errors.NotFound("There is no GalleryVideo with this id.", "galleryVideoId")
    return tenant


async def _add(db: SystemSession, counted: dict[Place, int], /) -> None:
    # In one order everywhere, so that two processes that write the same rows do not block each other.
    for (tenant, gallery_video_id), count in sorted(counted.items()):
        await db.change(
            sa.update(GalleryVideo)
            .where(GalleryVideo.id == gallery_video_id, GalleryVideo.tenant_id == tenant)
            .values(view_count=GalleryVideo.view_count + count)
        )


def _key(gallery_video_id: int, who: str) -> tuple[int, bytes]:
    # A digest, so that no address is kept.
    return gallery_video_id, hashlib.blake2b(who.encode(), digest_size=12).digest()
