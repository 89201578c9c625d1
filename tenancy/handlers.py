"""What the worker does, as areas declare it: a handler for a kind of leased work, and loops that run every so often.

Only the words and the two registries are here; `worker.py` finds the areas and runs what they declared.
"""

import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

from db import work
from tenancy.context import Context, House

Alive = Callable[[], Awaitable[bool]]
Handle = Callable[[Context, work.Lease, Alive], Awaitable[None]]
GaveUp = Callable[[Context, work.Lease, str], Awaitable[None]]
Algorithms = Callable[[House], Awaitable[Sequence[str]]]
Run = Callable[[House], Awaitable[object]]

CONCURRENT_MAX = 4


class GiveUp(Exception):
    """Raised by a handler: this attempt failed, and no other will do better."""


class LeaveLeased(Exception):
    """Raised by a handler that gave the work to somebody else: it stays leased until they finish or the lease ends."""


class PutOff(Exception):
    """Raised by a handler: what it needs does not answer, or its time has not come. No attempt is counted."""

    def __init__(self, why: str, *, seconds: int) -> None:
        super().__init__(why)
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Handler:
    """How one kind of leased work is done: `run` ends normally when it is done, raises when it failed."""

    kind: str
    lease_seconds: int
    run: Handle
    gave_up: GaveUp | None
    algorithms: Algorithms | None
    concurrent: int


@dataclass(frozen=True, slots=True)
class Loop:
    """Something the worker does every `seconds` while it lives, from its start on.

    What only `tells` the metrics of its process is done by one that serves without a worker, too.
    """

    name: str
    seconds: float
    run: Run
    tells: bool = False


HANDLERS: dict[str, Handler] = {}
LOOPS: dict[str, Loop] = {}


def load(package: ModuleType) -> None:
    """Import every module of a package, so that what its areas declare is known. Idempotent."""
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)


def handles(
    kind: str,
    *,
    lease_seconds: int = work.LEASE_SECONDS,
    gave_up: GaveUp | None = None,
    algorithms: Algorithms | None = None,
    concurrent: int = CONCURRENT_MAX,
) -> Callable[[Handle], Handle]:
    """Declare the handler of a kind: `async def handler(ctx, lease, alive) -> None`.

    `ctx` is the system's context of the lease's tenant. The worker extends the lease every third of
    `lease_seconds`; `await alive()` extends it now and says whether it is still ours: a handler asks
    before it writes what cannot be undone. A normal end finishes the work, an exception puts it off until
    it has been tried `work.ATTEMPTS_MAX` times, `PutOff` lets it wait uncounted, `GiveUp` ends it at once;
    then, and where workers died over it as often, `gave_up(ctx, lease, why)` is called before the work is
    moved to `failed_jobs`: it runs again after a crash, so it is idempotent. A handler may be stopped at any
    await and run again.
    `algorithms` says which algorithm names this process claims; without it only work without an algorithm
    is claimed.
    """
    if not 3 <= lease_seconds <= work.LEASE_SECONDS_MAX:
        raise ValueError(f"lease_seconds of {kind!r} must be from 3 to {work.LEASE_SECONDS_MAX}.")

    def declare(run: Handle) -> Handle:
        if HANDLERS.get(kind) is not None:
            raise ValueError(f"Work of kind {kind!r} has a handler already.")
        HANDLERS[kind] = Handler(kind, lease_seconds, run, gave_up, algorithms, concurrent)
        return run

    return declare


def every(seconds: float, name: str, *, tells: bool = False) -> Callable[[Run], Run]:
    """Declare a loop: `async def sweep(house) -> object`; one that fails is told and runs again at its next time.

    Every worker of the deployment runs it, so it takes its work by conditional updates. `tells`: it changes nothing
    but what `/metrics` of its process says, so every process that serves runs it.
    """

    def declare(run: Run) -> Run:
        if name in LOOPS:
            raise ValueError(f"There is a loop {name!r} already.")
        LOOPS[name] = Loop(name, seconds, run, tells)
        return run

    return declare
