"""Who is measured: our server as `atrium serve` starts it, in its variants, and the peers.

Each is an argument list and an environment; a peer that cannot run here says why in one line.
"""

from __future__ import annotations

import os
from pathlib import Path

from bench import places
from bench.servers import Contender

ATRIUM = "atrium"
ATRIUM_AIOMYSQL = "atrium, aiomysql"
ATRIUM_TWO = "atrium, 2 workers"
BY_HAND = "by hand"
PLAIN = "plain Strawberry"


def atrium(var: Path, *, name: str = ATRIUM, driver: str = "asyncmy", workers: int = 1) -> Contender:
    """Our server, background work left to another process. `var` is a folder that lives as long as it does."""
    command = places.python("cli.main", "serve", "--port", "{port}", "--workers", str(workers), "--no-worker")
    # An access token of the metrics is not needed: the bench asks from loopback.
    return Contender(name, command, places.environment(var, driver=driver), processes=workers)


def variants(var: Path) -> list[Contender]:
    """Ourselves beside ourselves: the other driver, and two processes."""
    return [
        atrium(var),
        atrium(var, name=ATRIUM_AIOMYSQL, driver="aiomysql"),
        atrium(var, name=ATRIUM_TWO, workers=2),
    ]


def inherited() -> dict[str, str]:
    """The environment of a peer: ours without the product's variables."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ATRIUM_")}


def by_hand() -> Contender:
    """The limit."""
    return Contender(BY_HAND, places.python("bench.peers.by_hand"), inherited())


def plain() -> Contender:
    """Strawberry alone."""
    return Contender(PLAIN, places.python("bench.peers.plain"), inherited())
