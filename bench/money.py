"""Money under load: the provider's events into one process over MariaDB, until the tokens stand in the wallets.

Four turns: events of purchases none of which is known, the same events again and again, the wait for an answer at half
of that rate, and a backlog that a worker finds when it starts. After each the ledgers must hold what was sold.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from bench import load, places, processor, servers, shop
from bench.load import Order, Outcome
from bench.measure import Failed
from bench.servers import Contender, Running
from bench.shop import COMPLETED, Sale, Shop

GOOD = '{"code"'
CONNECTIONS = 32
SECONDS_MAX = 600.0
# Rarely, and over one connection: whoever looks works on the processors that are measured.
POLL_SECONDS = 0.5
FAR_POLL_SECONDS = 2.0
LEFT_NEAR_END = 1_500
TELL_SECONDS = 10.0
DRAIN_SECONDS_MAX = 900.0
HALF = 0.5
MIB = 1024 * 1024

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How many events of each turn; `duplicates` and `half` in seconds."""

    distinct: int = 6_000
    purchases: int = 1_500
    duplicates: float = 5.0
    half: float = 10.0
    backlog: int = 100_000


QUICK = Sizes(distinct=1_000, purchases=250, duplicates=2.0, half=3.0, backlog=3_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn's figures, and what was promised.

    `server_us` and `database_us` are processor time an event; `mib` is memory with a tenth done, and the most.
    """

    name: str
    wanted: str
    events: int
    a_second: float
    server_us: float
    database_us: float | None
    p99_ms: float | None = None
    mib: tuple[float, float] | None = None


async def measure(var: Path, sizes: Sizes, told: Told) -> list[Turn]:
    """Every turn over new databases, which are removed at the end. Raises Failed, RuntimeError."""
    try:
        told("The shop is set up.")
        house = await shop.opening()
        async with servers.running(_ours(var)) as server:
            await _warm(server, house)
            turns = [await distinct(server, house, sizes.distinct)]
            told(_says(turns[-1]))
            turns.append(await whole_purchases(server, house, sizes.purchases))
            told(_says(turns[-1]))
            turns.append(await duplicates(server, house, sizes.duplicates))
            told(_says(turns[-1]))
            turns.append(await at_half(server, house, seconds=sizes.half, rate=turns[0].a_second * HALF))
            told(_says(turns[-1]))
        told(f"{sizes.backlog:,} events are stored.")
        await house.keep(await house.sell(sizes.backlog))
        async with servers.running(_ours(var)) as server:
            turns.append(await backlog(server, house, told))
            told(_says(turns[-1]))
        return turns
    finally:
        await shop.closing()


async def distinct(server: Running, house: Shop, count: int) -> Turn:
    """An event a purchase, each of which credits a wallet; over when all are credited."""
    sales = await house.sell(count)
    sent = [house.request(sale) for sale in sales]
    return await _taken(server, house, sent=sent, name="distinct", wanted="≥ 300/s")


async def whole_purchases(server: Running, house: Shop, count: int) -> Turn:
    """All that the provider tells of each purchase, in its order; one credit for all of it."""
    sales = await house.sell(count)
    sent = [house.request(sale, kind) for sale in sales for kind in house.texts]
    return await _taken(server, house, sent=sent, name="whole purchases")


async def duplicates(server: Running, house: Shop, seconds: float) -> Turn:
    """Events that are known, again and again."""
    sent = [house.request(sale) for sale in await house.sell(100)]
    await _taken(server, house, sent=sent)
    clock = _Clock(server)
    outcome = await _loaded(server, Order(server.port, sent, seconds, CONNECTIONS, good='{"code":"KNOWN"'))
    return clock.turn("duplicates", "≥ 1,500/s", outcome.count, outcome.seconds, p99_ms=outcome.p99_ms)


async def at_half(server: Running, house: Shop, *, seconds: float, rate: float) -> Turn:
    """How long the answer is waited for when events come at this rate, and are carried to the wallets beside it."""
    sent = [house.request(sale) for sale in await house.sell(int(seconds * rate) + 1)]
    clock = _Clock(server)
    outcome = await _loaded(server, Order(server.port, sent, seconds, CONNECTIONS, rate, good=GOOD))
    # What was due and never sent, because the answers were too late for it, is not bought.
    house.unsent += len(sent) - outcome.sent
    await _settled(house)
    return clock.turn("at half load", "p99 < 50 ms", outcome.count, outcome.seconds, p99_ms=outcome.p99_ms)


async def backlog(server: Running, house: Shop, told: Told) -> Turn:
    """Events that were stored while nobody worked: the worker that starts finds them. Memory is looked at all along."""
    clock, held = _Clock(server), [0.0]
    async with shop.opened(places.SHOP_CENTRAL) as central:
        count = await shop.waiting(central)
    began = time.monotonic()

    def seen(left: int) -> None:
        # What it holds once it is warm, beside the most that it holds after that.
        held.append(_mib(server))
        if left > count * 9 // 10:
            held[0] = held[-1]
        told(f"{time.monotonic() - began:,.0f} s: {left:,} are left, {held[-1]:,.0f} MiB")

    ended = await _settled(house, seen=seen)
    held.append(_mib(server))
    mib = (held[0] or held[1], max(held[1:]))
    return clock.turn("backlog", "≥ 300/s, constant memory", count, ended - began, mib=mib)


def table(turns: list[Turn]) -> Table:
    """A line a turn."""
    made = Table(title="Money: events of the provider", title_justify="left")
    made.add_column("")
    for name in ("events", "a second", "p99 ms", "server µs", "database µs", "MiB at a tenth, at most"):
        made.add_column(name, justify="right")
    made.add_column("promised")
    for turn in turns:
        made.add_row(
            turn.name,
            f"{turn.events:,}",
            f"{turn.a_second:,.0f}",
            "–" if turn.p99_ms is None else f"{turn.p99_ms:,.1f}",
            f"{turn.server_us:,.0f}",
            "–" if turn.database_us is None else f"{turn.database_us:,.0f}",
            "–" if turn.mib is None else f"{turn.mib[0]:,.0f}, {turn.mib[1]:,.0f}",
            turn.wanted,
        )
    return made


class _Clock:
    """Wall and processor time since it was made."""

    def __init__(self, server: Running) -> None:
        self._own, self._databases = processor.family(server.pid), processor.databases()
        self._used = processor.used_seconds(self._own)
        self._database_used = processor.used_seconds(self._databases)

    def turn(self, name: str, wanted: str, /, count: int, seconds: float, **more: Any) -> Turn:
        """The figures of what was done since."""
        own = processor.used_seconds(self._own) - self._used
        database = processor.used_seconds(self._databases) - self._database_used
        return Turn(
            name=name,
            wanted=wanted,
            events=count,
            a_second=round(count / seconds, 1),
            server_us=round(own / max(1, count) * 1e6, 1),
            database_us=round(database / max(1, count) * 1e6, 1) if self._databases else None,
            **more,
        )


async def _taken(server: Running, house: Shop, *, sent: list[bytes], name: str = "", wanted: str = "") -> Turn:
    clock = _Clock(server)
    order = Order(server.port, sent, SECONDS_MAX, CONNECTIONS, count=len(sent), good='{"code":"STORED"')
    outcome = await _loaded(server, order)
    # From the first event that is sent: the load's own start, which takes a second, is not the server's.
    answered = time.monotonic()
    seconds = outcome.seconds + await _settled(house) - answered
    return clock.turn(name, wanted, outcome.count, seconds, p99_ms=outcome.p99_ms)


async def _settled(house: Shop, *, seen: Callable[[int], None] | None = None) -> float:
    """Wait until no event or settlement is left, which moment is the answer; then the ledgers must be right."""
    began = told = time.monotonic()
    async with shop.opened(places.SHOP_CENTRAL) as central:
        while left := await shop.waiting(central):
            now = time.monotonic()
            if now - began > DRAIN_SECONDS_MAX:
                raise Failed(f"after {DRAIN_SECONDS_MAX:.0f} s {left:,} events or settlements are left")
            if seen is not None and now - told >= TELL_SECONDS:
                told = now
                seen(left)
            # Counting costs the database as much as is left: it is asked often only near the end.
            await asyncio.sleep(POLL_SECONDS if left < LEFT_NEAR_END else FAR_POLL_SECONDS)
    ended = time.monotonic()
    count, tokens = await shop.credited()
    paid = house.sold - house.unsent
    if (count, tokens) != (paid, paid * shop.TOKENS):
        raise Failed(f"{paid:,} were paid, {count:,} credited, {tokens:,} tokens are in the wallets")
    return ended


async def _warm(server: Running, house: Shop) -> None:
    sales: list[Sale] = await house.sell(100)
    await _taken(server, house, sent=[house.request(sale, COMPLETED) for sale in sales])


async def _loaded(server: Running, order: Order) -> Outcome:
    outcome = await load.apart(order)
    if outcome.failed:
        raise Failed(f"{outcome.failed} answers were wrong, one of them: {outcome.failure}\n{server.last_words()}")
    return outcome


def _ours(var: Path) -> Contender:
    """One process that serves and works."""
    environment = places.environment(var, central=places.SHOP_CENTRAL, pools=places.SHOP_POOLS)
    provider = {
        "ATRIUM_STRIPE_SECRET_KEY": "sk_test_bench",
        "ATRIUM_STRIPE_WEBHOOK_SECRET": shop.WEBHOOK_SECRET,
        # Nobody is there: what the events say is enough.
        "ATRIUM_STRIPE_API_BASE": "http://127.0.0.1:9",
    }
    return Contender("atrium", places.python("cli.main", "serve", "--port", "{port}"), environment | provider)


def _says(turn: Turn) -> str:
    wait = "" if turn.p99_ms is None else f", p99 {turn.p99_ms:,.1f} ms"
    return f"{turn.name}: {turn.a_second:,.0f}/s, {turn.server_us:,.0f} µs an event{wait}"


def _mib(server: Running) -> float:
    return processor.resident_bytes(processor.family(server.pid)) / MIB
