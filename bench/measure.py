"""Measuring: warm-up, statements, then rounds in which the servers take turns; medians are what is told.

A figure of one round stands in the results too, so that a swing of the machine can be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench import agree, load, processor, workloads
from bench.load import Order, Outcome
from bench.rows import Sizes
from bench.servers import Running
from bench.workloads import Workload

WARM_SECONDS = 1.0
HALF = 0.5

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often; times in seconds."""

    seconds: float
    rounds: int
    connections: int
    sizes: Sizes


@dataclass(frozen=True, slots=True)
class Round:
    """One server's turn at one workload: microseconds of processor time a request, of the server and the database."""

    a_second: float
    p50_ms: float
    p99_ms: float
    server_us: float
    database_us: float | None


@dataclass(slots=True)
class Figures:
    """All turns of one server at one workload. `half` is the open load at half of what went through."""

    server: str
    workload: str
    statements: float | None = None
    half_p99_ms: float | None = None
    rounds: list[Round] = field(default_factory=list)

    def of(self, name: str) -> float | None:
        """The median over the rounds of one of a Round's numbers."""
        found = [value for each in self.rounds if (value := getattr(each, name)) is not None]
        return median(found) if found else None


class Failed(RuntimeError):
    """A server answered wrongly under load."""


async def compare(servers: Sequence[Running], asked: Sequence[Workload], *, plan: Plan, told: Told) -> list[Figures]:
    """Every workload over every server. Raises Disagree before timing, Failed where answers went wrong."""
    found: list[Figures] = []
    for workload in asked:
        requests = workloads.requests(workload, plan.sizes)
        await agree.check(list(servers), workload, requests)
        told(f"{workload.name} {workload.says}: {len(servers)} servers answer the same to {len(requests)} requests")
        figures = [Figures(server.name, workload.name) for server in servers]
        for server, mine in zip(servers, figures, strict=True):
            mine.statements = await _warm(server, requests, plan)
        pairs = list(zip(servers, figures, strict=True))
        for number in range(plan.rounds):
            # Every other round goes backwards: who comes first in a warm machine changes.
            for server, mine in reversed(pairs) if number % 2 else pairs:
                mine.rounds.append(await _turn(server, requests, plan))
                told(f"{workload.name} round {number + 1}: {server.name} {mine.rounds[-1].a_second:,.0f}/s")
        found += figures
    return found


def ratio(ours: Figures, theirs: Figures, name: str) -> float | None:
    """How many times the other's figure ours is: the median of the rounds' own ratios."""
    pairs = [(getattr(a, name), getattr(b, name)) for a, b in zip(ours.rounds, theirs.rounds, strict=False)]
    found = [a / b for a, b in pairs if a is not None and b]
    return median(found) if found else None


async def halves(servers: Sequence[Running], figures: Sequence[Figures], plan: Plan) -> None:
    """The wait at half of the saturating load, put into the figures of these servers.

    Each is asked at that rate for a moment before: one that has lain idle while others had their turns is met with the
    machine's memory of it gone, and that is no wait of a server that is at work.
    """
    by_name = {server.name: server for server in servers}
    asked = {workload.name: workload for workload in workloads.ALL}
    for mine in figures:
        rate = (mine.of("a_second") or 0.0) * HALF
        server = by_name.get(mine.server)
        if server is None or not rate:
            continue
        requests = workloads.requests(asked[mine.workload], plan.sizes)
        await _loaded(server, Order(server.port, requests, min(WARM_SECONDS, plan.seconds), plan.connections, rate))
        outcome = await _loaded(server, Order(server.port, requests, plan.seconds, plan.connections, rate))
        mine.half_p99_ms = outcome.p99_ms


async def _warm(server: Running, requests: list[bytes], plan: Plan) -> float | None:
    """Fill pools and caches; the answer is the number of statements a request, with everything cached."""
    await _loaded(server, Order(server.port, requests, min(WARM_SECONDS, plan.seconds), plan.connections))
    before = await server.statements()
    outcome = await _loaded(server, Order(server.port, requests, min(WARM_SECONDS, plan.seconds), 1))
    after = await server.statements()
    if before is None or after is None or not outcome.count:
        return None
    return round((after - before) / outcome.count, 2)


async def _turn(server: Running, requests: list[bytes], plan: Plan) -> Round:
    own, databases = processor.family(server.pid), processor.databases()
    own_before, database_before = processor.used_seconds(own), processor.used_seconds(databases)
    outcome = await _loaded(server, Order(server.port, requests, plan.seconds, plan.connections))
    own_used = processor.used_seconds(own) - own_before
    database_used = processor.used_seconds(databases) - database_before
    count = max(1, outcome.count)
    return Round(
        a_second=round(outcome.a_second, 1),
        p50_ms=outcome.p50_ms,
        p99_ms=outcome.p99_ms,
        server_us=round(own_used / count * 1e6, 1),
        database_us=round(database_used / count * 1e6, 1) if databases else None,
    )


async def _loaded(server: Running, order: Order) -> Outcome:
    outcome = await load.apart(order)
    if outcome.failed:
        raise Failed(f"{server.name}: {outcome.failed} answers were wrong, one of them: {outcome.failure}")
    return outcome
