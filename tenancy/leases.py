"""Runs leased work: claims what has a handler, keeps the lease alive meanwhile, ends it by compare-and-set.

What a lease is stands in `db/work.py`, how areas declare handlers in `tenancy/handlers.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from base import errors, observe
from base.bus import Notice
from db import work
from db.session import SystemSession
from tenancy.context import Context, House
from tenancy.handlers import HANDLERS, GiveUp, Handler, LeaveLeased, PutOff

POLL_SECONDS = 1.0
PUT_OFF_SECONDS = 10
BEATS_A_LEASE = 3
OWNER_CHARACTERS_MAX = 80
TOPIC = "work"


async def run(house: House, stop: asyncio.Event, *, kinds: Mapping[str, Handler] = HANDLERS) -> None:
    """Claim and do work until `stop` is set; what is then unfinished is given back to others at once."""
    worker = Worker(house, kinds)
    told = asyncio.Event()

    def hear(notice: Notice) -> None:
        if notice.topic in (TOPIC, "reset"):
            told.set()

    with noticed(house, hear):
        while not stop.is_set():
            told.clear()
            try:
                claimed = await worker.claim(wake=told.set)
            except Exception as error:
                claimed = 0
                observe.note(observe.Event.LOOP_FAILED, failure=error, loop="leases")
            if not claimed:
                await first_of(stop, told, seconds=POLL_SECONDS)
        await worker.end()


@dataclass(frozen=True, slots=True)
class _Want:
    """How much of a kind may be claimed now."""

    handler: Handler
    algorithms: tuple[str, ...]
    most: int


class Worker:
    """One process's hands: which leases it holds and the tasks that work on them."""

    def __init__(self, house: House, kinds: Mapping[str, Handler]) -> None:
        self._house = house
        self._kinds = kinds
        self._tasks: dict[asyncio.Task[None], str] = {}
        # Told apart from every other worker, the one before it in this process included.
        self._owner = f"{socket.gethostname()[:40]}:{secrets.token_hex(8)}"[:OWNER_CHARACTERS_MAX]

    async def claim(self, *, wake: Callable[[], None]) -> int:
        """Lease what there is room for and start on it; `wake` is called when a piece is done. How many were leased."""
        wants = [want for want in [await self._want(handler) for handler in self._kinds.values()] if want is not None]
        if not wants:
            return 0
        leased = await self._house.system().on_system(_claim, self._owner, wants)
        for handler, lease in leased:
            task = asyncio.create_task(self._do(handler, lease), name=f"work:{lease.kind}")
            self._tasks[task] = lease.kind
            task.add_done_callback(lambda done: self._ended(done, wake))
        return len(leased)

    def _ended(self, task: asyncio.Task[None], wake: Callable[[], None]) -> None:
        self._tasks.pop(task, None)
        wake()

    async def end(self) -> None:
        """Stop what is running; each gives its lease back."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _want(self, handler: Handler) -> _Want | None:
        free = handler.concurrent - sum(kind == handler.kind for kind in self._tasks.values())
        if free <= 0:
            return None
        algorithms = ("",) if handler.algorithms is None else tuple(await handler.algorithms(self._house))
        return _Want(handler, algorithms, free) if algorithms else None

    async def _do(self, handler: Handler, lease: work.Lease) -> None:
        try:
            outcome = await self._outcome(handler, lease)
        except asyncio.CancelledError:
            await asyncio.shield(self._house.system().on_system(work.give_back, lease))
            raise
        except Exception as error:
            # The end of the work could not be written: its lease runs out and somebody does it again.
            observe.note(observe.Event.LOOP_FAILED, failure=error, loop="leases", kind=lease.kind)
            outcome = "unknown"
        observe.WORK.labels(lease.kind, outcome).inc()

    async def _outcome(self, handler: Handler, lease: work.Lease) -> str:
        system = self._house.system()
        ctx = system
        try:
            if lease.tenant_id:
                ctx = await self._house.system_of(lease.tenant_id)
            if lease.attempt > work.ATTEMPTS_MAX:
                # The last one allowed never ended: its worker died, perhaps of this very work.
                raise GiveUp(f"tried {work.ATTEMPTS_MAX} times without an end")
            if not await self._run(ctx, handler, lease):
                return "lost"
            await system.on_system(work.finish, lease)
        except (errors.PoolUnavailable, errors.CentralUnavailable, PutOff) as error:
            # Nobody's fault that more tries would mend: it waits, however long that takes.
            seconds = error.seconds if isinstance(error, PutOff) else PUT_OFF_SECONDS
            await system.on_system(work.give_back, lease, seconds=seconds)
            _note(observe.Event.WORK_FAILED, lease, error)
            return "put_off"
        except LeaveLeased:
            return "handed_over"
        except Exception as error:
            ends = isinstance(error, GiveUp) or lease.attempt >= work.ATTEMPTS_MAX
            why = str(error) or repr(error)
            if ends and handler.gave_up is not None:
                await handler.gave_up(ctx, lease, why)
            await system.on_system(work.fail, lease, why, retry=not ends)
            _note(observe.Event.WORK_DEAD if ends else observe.Event.WORK_FAILED, lease, error)
            return "dead" if ends else "failed"
        observe.note(observe.Event.WORK_DONE, kind=lease.kind, tenant=lease.tenant_id, ref=lease.ref_id)
        return "done"

    async def _run(self, ctx: Context, handler: Handler, lease: work.Lease) -> bool:
        """Run the handler while the lease is kept; False where it was lost. Raises what the handler raises."""

        async def alive() -> bool:
            return await self._house.system().on_system(work.extend, lease, seconds=handler.lease_seconds)

        doing = asyncio.ensure_future(handler.run(ctx, lease, alive))
        keeping = asyncio.create_task(_keep(alive, handler.lease_seconds / BEATS_A_LEASE))
        try:
            await asyncio.wait((doing, keeping), return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                return False
            await doing
            return True
        finally:
            for task in (doing, keeping):
                task.cancel()
            await asyncio.gather(doing, keeping, return_exceptions=True)


def _note(event: observe.Event, lease: work.Lease, error: Exception) -> None:
    failure = None if isinstance(error, (GiveUp, PutOff, errors.AtriumError)) else error
    observe.note(
        event,
        failure=failure,
        kind=lease.kind,
        tenant=lease.tenant_id,
        ref=lease.ref_id,
        attempt=lease.attempt,
        error=repr(error),
    )


async def _keep(alive: Callable[[], object], seconds: float) -> None:
    """Beat until the lease is somebody else's."""
    while True:
        await asyncio.sleep(seconds)
        try:
            if not await alive():  # type: ignore[misc]
                return
        except Exception as error:
            # A beat that could not be sent is not a lost lease: two more follow before it runs out.
            observe.note(observe.Event.LOOP_FAILED, loop="heartbeat", error=repr(error))


async def _claim(db: SystemSession, owner: str, wants: list[_Want], /) -> list[tuple[Handler, work.Lease]]:
    """Lease of each kind up to what is wanted, in one transaction."""
    leased = []
    # Most rounds find nothing: they ask once, and not for each kind.
    waiting = await work.kinds_waiting(db, [want.handler.kind for want in wants])
    for want in wants:
        if want.handler.kind not in waiting:
            continue
        found = await work.claim(
            db,
            [want.handler.kind],
            owner,
            most=want.most,
            seconds=want.handler.lease_seconds,
            algorithms=want.algorithms,
        )
        leased += [(want.handler, lease) for lease in found]
    return leased


# ------------------------------------------------------------------------------------------- waiting


@contextlib.contextmanager
def noticed(house: House, hear: Callable[[Notice], None]) -> Iterator[None]:
    """Hear the bus meanwhile."""
    silence = house.bus.listen(hear)
    try:
        yield
    finally:
        silence()


async def until(event: asyncio.Event, *, seconds: float) -> None:
    """Wait for the event, at most so long."""
    # Not wait_for, which forgets (before 3.12) that it was cancelled in the moment that the event came.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()


async def first_of(*events: asyncio.Event, seconds: float) -> None:
    """Wait for the first of the events, at most so long."""
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
