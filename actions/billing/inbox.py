"""How events come in while the process lives: stored together when many come at once, then processed in turn.

Each caller waits until its own event is durable. What is processed after that, and what a crash leaves, is found by
`events.process_due`: nothing here has to be remembered.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import Callable

from actions.billing import events, settlement
from actions.billing.events import EVENTS_A_BATCH, EventId, Incoming
from base import errors, observe
from db.zones import TenantId
from tenancy.context import House

KNOWN_MAX = 20_000
# Of more than these the oldest are let go of: they are stored, and the worker processes them.
LEFT_TO_PROCESS_MAX = 5_000
# What comes alone is stored at once, and what comes within so long after it together: a store costs the same for one
# event as for ten, and whoever waits to be acknowledged waits behind all of them.
STORE_SECONDS = 0.01
# What comes alone is processed at once, and what comes within so long after it together: statements are shared. Where
# the machine is busy a pause is as long as the work before it, so that events are still taken.
PROCESS_SECONDS = 0.1
SETTLE_SECONDS = 0.5
# Whoever waits for an acknowledgement waits, at each of its steps, for one of every wallet that is posted to meanwhile.
WALLETS_AT_ONCE_MAX = 1
# While more is left to process than a batch, wallets wait for their tenants' further credits; no pause is longer.
PAUSE_SECONDS_MAX = 1.0


class Inbox:
    """One process's: which events are known to be stored, those on their way, and those still to be processed."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._known: OrderedDict[str, None] = OrderedDict()
        self._coming: dict[str, list[asyncio.Future[bool]]] = {}
        self._unsaved: list[Incoming] = []
        self._left: deque[EventId] = deque(maxlen=LEFT_TO_PROCESS_MAX)
        self._moved = asyncio.Event()
        self._saving = False
        self._processing = False
        self._owed: set[TenantId] = set()
        self._settling = False

    @classmethod
    def of(cls, house: House) -> Inbox:
        """The inbox of this house."""
        inbox: Inbox = house.services.setdefault(cls, cls(house))
        return inbox

    def knows(self, name: str) -> bool:
        """Whether an event of this name is surely stored; no statement is sent."""
        return name in self._known

    async def take(self, event: Incoming, /) -> bool:
        """Return when the event is durable; True for the one caller who stored it. Raises CentralUnavailable."""
        if event.name in self._known:
            return False
        mine: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        waiting = self._coming.setdefault(event.name, [])
        waiting.append(mine)
        if len(waiting) == 1:
            self._unsaved.append(event)
        if not self._saving:
            self._saving = True
            self._house.spawn(self._save())
        return await mine

    async def _save(self) -> None:
        """Store what has come, together; what came meanwhile is the next batch."""
        try:
            while self._unsaved:
                began = _now()
                batch, self._unsaved = self._unsaved[:EVENTS_A_BATCH], self._unsaved[EVENTS_A_BATCH:]
                await self._save_batch(batch)
                if len(self._unsaved) < EVENTS_A_BATCH:
                    await asyncio.sleep(max(0.0, began + STORE_SECONDS - _now()))
        finally:
            self._saving = False

    async def _save_batch(self, batch: list[Incoming]) -> None:
        try:
            # What is known to this process does not come here: the others are taken for new.
            stored = await events.store_new(self._house, batch)
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, errors.CentralUnavailable):
                for event in batch:
                    await self._save_batch([event])
                return
            for event in batch:
                self._answer(event, error)
            return
        for event, event_id in zip(batch, stored, strict=True):
            self._remember(event.name)
            self._answer(event, event_id is not None)
            if event_id is not None and not event.is_foreign:
                self._left.append(event_id)
        self._moved.set()
        if self._left and not self._processing:
            self._processing = True
            self._house.spawn(self._process())

    def _answer(self, event: Incoming, answer: bool | Exception) -> None:
        # The first who asked is the one for whom it was stored. Whoever asked may have gone.
        for waiting in self._coming.pop(event.name):
            if waiting.done():
                continue
            if isinstance(answer, Exception):
                waiting.set_exception(answer)
            else:
                waiting.set_result(answer)
                answer = False

    def _remember(self, name: str) -> None:
        self._known[name] = None
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    def _settle_soon(self, owed: set[TenantId]) -> None:
        """Events go on being processed while wallets are posted to; what is owed by then is posted together."""
        self._owed |= owed
        if self._owed and not self._settling:
            self._settling = True
            self._house.spawn(self._settle())

    async def _settle(self) -> None:
        try:
            while self._owed:
                await self._until(lambda: len(self._left) < EVENTS_A_BATCH, seconds=PAUSE_SECONDS_MAX)
                began, owed, self._owed = _now(), self._owed, set()
                await settlement.settle(self._house, owed, side_by_side=WALLETS_AT_ONCE_MAX)
                await asyncio.sleep(_pause(_now() - began, SETTLE_SECONDS))
        except Exception as error:
            # Owed is owed: the worker's next round finds what is left.
            self._owed.clear()
            observe.note(observe.Event.LOOP_FAILED, failure=error, loop="payment_inbox")
        finally:
            self._settling = False

    async def _process(self) -> None:
        try:
            while self._left:
                began = _now()
                ids = [self._left.popleft() for _ in range(min(len(self._left), EVENTS_A_BATCH))]
                self._moved.set()
                self._settle_soon(await events.process(self._house, ids))
                pause = _pause(_now() - began, PROCESS_SECONDS)
                await self._until(lambda: len(self._left) >= EVENTS_A_BATCH, seconds=pause)
        except Exception as error:
            # Stored is stored: the worker's next round finds what is left.
            self._left.clear()
            observe.note(observe.Event.LOOP_FAILED, failure=error, loop="payment_inbox")
        finally:
            self._processing = False

    async def _until(self, holds: Callable[[], bool], *, seconds: float) -> None:
        """Wait until this holds of what is left to process, at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not holds():
                    self._moved.clear()
                    await self._moved.wait()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _pause(worked: float, period: float) -> float:
    """How long to gather after so many seconds of work, so that a turn takes at least a period; in seconds."""
    return min(PAUSE_SECONDS_MAX, max(period - worked, worked))
