"""Notices between processes by central's `bus_log`, where there is no Redis: written with the change, read each second.

A central session writes its notices in its own transaction; this transport adds those of
pool transactions. Rows hold ids and topics, no data, and are kept five minutes.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

import sqlalchemy as sa

from base import observe
from base.bus import Listener, Notice
from base.ids import first_id_at, wall_clock_ms
from db.guard import Permit
from db.session import Sessions, SystemSession
from db.tables.central.work import BusLog

POLL_SECONDS = 0.5
OVERLAP_MS = 20_000
KEPT_MS = 300_000
SEEN_MAX = 50_000
ROWS_MAX = 5_000
UNSENT_MAX = 10_000


class BusLogTransport:
    """Hears what other processes wrote; ids of the last seconds are read again, since commits come out of order."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._seen: OrderedDict[int, None] = OrderedDict()
        self._since_ms = wall_clock_ms() - OVERLAP_MS
        self._unsent: list[Notice] = []

    async def send(self, notices: list[Notice]) -> None:
        """Keep the notices of a pool's transaction for the next poll; those of central ones were written with them."""
        self._unsent += notices
        del self._unsent[:-UNSENT_MAX]

    async def run(self, heard: Listener) -> None:
        """Poll until cancelled.

        What is read first, and first again after central did not answer, is passed over: anything may have changed
        by then, which is told as `reset`.
        """
        caught_up = False
        while True:
            try:
                await self._poll(heard if caught_up else None)
                if not caught_up:
                    heard(Notice("reset", ""))
                    caught_up = True
            except Exception as error:
                caught_up = False
                observe.note(observe.Event.BUS_LOST, error=repr(error))
            await asyncio.sleep(POLL_SECONDS)

    async def _poll(self, heard: Listener | None) -> None:
        now = wall_clock_ms()
        if self._unsent:
            unsent, self._unsent = self._unsent, []
            try:
                await self._sessions.central(SystemSession, Permit(infra=True), _write, unsent)
            except Exception:
                # The others still want to know.
                self._unsent = [*unsent, *self._unsent][-UNSENT_MAX:]
                raise
        since_id = first_id_at(self._since_ms)
        while rows := await self._sessions.central(SystemSession, Permit(infra=True), _read, since_id):
            for row_id, topic, key in rows:
                if row_id not in self._seen:
                    self._seen[row_id] = None
                    if heard is not None:
                        heard(Notice(topic, key))
            if len(rows) < ROWS_MAX:
                break
            since_id = rows[-1][0] + 1
        while len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        self._since_ms = now - OVERLAP_MS


async def _write(db: SystemSession, notices: list[Notice]) -> None:
    # Told twice between two polls is heard once.
    for notice in dict.fromkeys(notices):
        db.add(BusLog(topic=notice.topic, key=notice.key))


async def _read(db: SystemSession, since_id: int) -> Sequence[tuple[int, str, str]]:
    # Plain values: under load thousands are read at every poll, most of them again.
    found = sa.select(BusLog.id, BusLog.topic, BusLog.key).where(BusLog.id >= since_id)
    return await db.tuples(found.order_by(BusLog.id).limit(ROWS_MAX))


async def forget_old(db: SystemSession) -> int:
    """Delete notices older than five minutes."""
    return await db.change(sa.delete(BusLog).where(BusLog.id < first_id_at(wall_clock_ms() - KEPT_MS)))
