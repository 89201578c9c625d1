"""`python -m bench` (`make bench`): fill, start, compare, print. Each part stands in its own file."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench import contenders, fill, goals, measure, money, report, servers, workloads
from bench.agree import Disagree
from bench.measure import Failed, Figures, Plan
from bench.peers import node
from bench.rows import Sizes
from bench.servers import Contender
from bench.workloads import Workload

SECONDS = 5.0
ROUNDS = 3
QUICK_SECONDS = 2.0
CONNECTIONS = 8
MONEY = "MONEY"

TABLE_CHARACTERS = 140
# A file or a pipe has no width of its own, and a figure that is cut short tells nothing.
OUT = Console(highlight=False, width=max(Console().width, TABLE_CHARACTERS))
FINE = Console(highlight=False, stderr=True, style="dim")


def main(
    *,
    quick: Annotated[bool, typer.Option("--quick", help="One round of 2 s a workload.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Fill the databases anew.")] = False,
    only: Annotated[str, typer.Option(help="Parts, e.g. W1,W3 or money; all of them otherwise.")] = "",
    seconds: Annotated[float, typer.Option(min=0.5, max=60, help="Seconds a turn.")] = SECONDS,
    rounds: Annotated[int, typer.Option(min=1, max=20, help="Turns of each server at each workload.")] = ROUNDS,
    connections: Annotated[int, typer.Option(min=1, max=64, help="Connections of the load.")] = CONNECTIONS,
    variants: Annotated[bool, typer.Option(help="Also aiomysql and two processes.")] = True,
    drop: Annotated[bool, typer.Option("--drop", help="Remove the bench's databases and end.")] = False,
) -> None:
    """Measure the read paths, and the way of money from events to wallets, over MariaDB."""
    # The driver repeats every warning of `IF EXISTS`.
    logging.getLogger("asyncmy").setLevel(logging.ERROR)
    if drop:
        asyncio.run(fill.drop())
        return
    names = [name for each in only.split(",") if (name := each.strip().upper())]
    paths = [name for name in names if name != MONEY]
    plan = Plan(QUICK_SECONDS if quick else seconds, 1 if quick else rounds, connections, Sizes())
    try:
        parts: dict[str, Sequence[Any]] = {}
        notes: list[str] = []
        if paths or not names:
            asked = workloads.chosen(",".join(paths))
            parts |= asyncio.run(_reads(plan, asked, fresh=fresh, variants=variants, notes=notes))
        if MONEY in names or not names:
            parts["money"] = asyncio.run(_money(money.QUICK if quick else money.Sizes()))
    except (LookupError, RuntimeError, Disagree, Failed) as error:
        FINE.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from None
    for note in notes:
        OUT.print(note, style="yellow", markup=False)
    report.write(parts, plan, notes=notes)
    OUT.print("Every round stands in bench/results/latest.json.")


async def _money(sizes: money.Sizes) -> list[money.Turn]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        turns = await money.measure(Path(folder), sizes, lambda line: FINE.print(line, markup=False))
    OUT.print(money.table(turns))
    return turns


async def _reads(
    plan: Plan, asked: Sequence[Workload], *, fresh: bool, variants: bool, notes: list[str]
) -> dict[str, Sequence[Figures]]:
    await fill.ensure(plan.sizes, fresh=fresh)
    if await fill.buffer_pool_bytes() < fill.BUFFER_POOL_BYTES_WANTED:
        notes.append("MariaDB keeps less than 512 MiB in memory (innodb_buffer_pool_size): disks are measured too.")
    parts: dict[str, Sequence[Figures]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        var = Path(folder)
        everyone = [contenders.atrium(var), contenders.by_hand(), contenders.plain()]
        try:
            everyone += node.contenders(var, plan.sizes)
        except node.Missing as missing:
            notes.append(str(missing))
        halved = (contenders.ATRIUM, node.MERCURIUS)
        parts["main"] = await _compared(everyone, asked, plan=plan, halved=halved)
        report.show(OUT, parts["main"], title="Atrium and its peers")
        OUT.print(goals.table(parts["main"]))
        if variants:
            parts["variants"] = await _compared(contenders.variants(var), asked, plan=plan)
            report.show(OUT, parts["variants"], title="Atrium beside itself")
    return parts


async def _compared(
    several: Sequence[Contender], asked: Sequence[Workload], *, plan: Plan, halved: Sequence[str] = ()
) -> list[Figures]:
    """All of them up at once, so that they can take turns; `halved` are also measured at half of their load."""
    async with contextlib.AsyncExitStack() as stack:
        up = [await stack.enter_async_context(servers.running(each)) for each in several]
        found = await measure.compare(up, asked, plan=plan, told=lambda line: FINE.print(line, markup=False))
        await measure.halves([server for server in up if server.name in halved], found, plan)
        return found


if __name__ == "__main__":
    typer.run(main)
