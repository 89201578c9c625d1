"""`python -m bench.soak` (`make soak`): what only shows after a while, each bounded and told in figures.

Five parts: memory under a flood of distinct documents, memory under minutes of mixed load, a bystander beside senders
of the worst documents, the isolation proof run long, and random stories about money. The server is a real process over
the bench's databases; the exit code is 1 where a bound broke.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bench import bystander, contenders, fill, load, places, processor, servers, workloads
from bench.load import Order
from bench.rows import Sizes
from bench.servers import Running

DOCUMENTS = 100_000
DOCUMENTS_A_SLICE = 5_000
DOCUMENTS_SECONDS_MAX = 3_000.0
DOCUMENTS_GROWTH_MIB_MAX = 64.0
# What is kept of documents is full by then; growth after it is a leak.
DOCUMENTS_WARM = 10_000

ATTACK_SECONDS = 20.0

LOAD_MINUTES = 10.0
SLICE_SECONDS = 20.0
WARM_SLICES = 3
LOAD_GROWTH_MIB_MAX = 32.0

ISOLATION = "tests/proofs/long_isolation.py"
ISOLATION_OPERATIONS = 10_000
MONEY = "tests/proofs/long_money.py"
MONEY_STORIES = 200
PROOF_SECONDS_MAX = 3 * 3_600.0
CONNECTIONS = 8
MIB = 1024 * 1024

OUT = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Part:
    """One part's figures, and whether its bound held."""

    name: str
    holds: bool
    says: str


def main(
    *,
    documents: Annotated[int, typer.Option(min=0, max=1_000_000, help="Distinct documents; 0: none.")] = DOCUMENTS,
    minutes: Annotated[float, typer.Option(min=0, max=600, help="Minutes of mixed load; 0: none.")] = LOAD_MINUTES,
    attack: Annotated[
        float, typer.Option(min=0, max=300, help="Seconds of a bystander beside senders of worst documents; 0: none.")
    ] = ATTACK_SECONDS,
    operations: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Operations of the isolation proof on each engine; 0: none.")
    ] = ISOLATION_OPERATIONS,
    stories: Annotated[
        int, typer.Option(min=0, max=100_000, help="Random stories about money on each engine; 0: none.")
    ] = MONEY_STORIES,
) -> None:
    """A long mixed load on loopback, watching memory and isolation."""
    logging.getLogger("asyncmy").setLevel(logging.ERROR)
    parts = asyncio.run(_soak(documents, minutes, attack=attack, operations=operations))
    if stories:
        parts.append(asyncio.run(long_money(stories)))
    table = Table("part", "holds", "figures")
    for part in parts:
        table.add_row(part.name, "yes" if part.holds else "NO", part.says)
    OUT.print(table)
    raise typer.Exit(0 if all(part.holds for part in parts) else 1)


async def _soak(documents: int, minutes: float, *, attack: float, operations: int) -> list[Part]:
    sizes, parts = Sizes(), []
    if documents or minutes or attack:
        await fill.ensure(sizes, fresh=False)
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            async with servers.running(contenders.atrium(Path(folder))) as server:
                if documents:
                    parts.append(await distinct_documents(server, documents))
                if minutes:
                    parts.append(await mixed_load(server, sizes, minutes))
                if attack:
                    waited = await bystander.waited(server, attack)
                    parts.append(Part("bystander", holds=waited.holds, says=waited.says()))
    if operations:
        parts.append(await long_isolation(operations))
    return parts


async def distinct_documents(server: Running, documents: int) -> Part:
    """Memory after the first 10,000 of them (a tenth, of fewer) beside memory after the last."""
    warm = min(DOCUMENTS_WARM, documents // 10)
    before = early = _mib(server)
    sent, began, failed = 0, time.monotonic(), 0
    while sent < documents and time.monotonic() - began < DOCUMENTS_SECONDS_MAX:
        # The first slice ends where the caches are full.
        count = min(warm - sent if sent < warm else DOCUMENTS_A_SLICE, documents - sent)
        order = Order(server.port, list(_documents(sent, count)), load.SECONDS_MAX, CONNECTIONS, count=count)
        outcome = await load.apart(order)
        sent, failed = sent + outcome.count, failed + outcome.failed
        if failed or not outcome.count:
            return Part("distinct documents", holds=False, says=f"{failed} failed: {outcome.failure}")
        if sent <= warm:
            early = _mib(server)
        OUT.print(f"{sent:,} documents, {_mib(server):,.0f} MiB", style="dim")
    after = _mib(server)
    says = f"{sent:,} in {time.monotonic() - began:,.0f} s: {before:,.0f} MiB, {early:,.0f} warm, {after:,.0f} after"
    holds = after - early <= DOCUMENTS_GROWTH_MIB_MAX and sent >= documents
    return Part("distinct documents", holds=holds, says=f"{says} (at most {DOCUMENTS_GROWTH_MIB_MAX:.0f} more)")


async def mixed_load(server: Running, sizes: Sizes, minutes: float) -> Part:
    """Every workload in turn; memory once warm beside memory at the end."""
    asked = [workloads.requests(workload, sizes) for workload in workloads.ALL]
    longest = max(len(each) for each in asked)
    mixed = [each[place % len(each)] for place in range(longest) for each in asked]
    until, figures, count = time.monotonic() + minutes * 60, [], 0
    while time.monotonic() < until:
        seconds = max(1.0, min(SLICE_SECONDS, until - time.monotonic()))
        outcome = await load.apart(Order(server.port, mixed, seconds, CONNECTIONS))
        if outcome.failed:
            return Part("mixed load", holds=False, says=f"{outcome.failed} failed: {outcome.failure}")
        count += outcome.count
        figures.append(_mib(server))
        OUT.print(f"{outcome.a_second:,.0f}/s, p99 {outcome.p99_ms:,.0f} ms, {figures[-1]:,.0f} MiB", style="dim")
    warm = figures[min(WARM_SLICES, len(figures)) - 1]
    says = f"{count:,} requests in {minutes:g} min: {warm:,.0f} MiB warm, {figures[-1]:,.0f} at the end"
    holds = figures[-1] - warm <= LOAD_GROWTH_MIB_MAX
    return Part("mixed load", holds=holds, says=f"{says} (at most {LOAD_GROWTH_MIB_MAX:.0f} more)")


async def long_isolation(operations: int) -> Part:
    """The isolation proof with many operations on every engine that is here, freshly drawn, in a process of its own."""
    seed = random.randrange(1 << 30)
    given = {"BENCH_ISOLATION_OPERATIONS": str(operations), "BENCH_ISOLATION_SEED": str(seed)}
    return await _proof("isolation", ISOLATION, given, says=f"{operations:,} operations an engine, seed {seed}")


async def long_money(stories: int) -> Part:
    """Random stories about money on every engine that is here, freshly drawn; what breaks is told with its acts."""
    return await _proof("money", MONEY, {"BENCH_MONEY_EXAMPLES": str(stories)}, says=f"{stories:,} stories an engine")


async def _proof(name: str, path: str, given: dict[str, str], /, *, says: str) -> Part:
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *places.python("pytest", "-q", "-s", "-p", "no:cacheprovider", path),
        cwd=places.ROOT,
        env={**os.environ, **given},
    )
    try:
        async with asyncio.timeout(PROOF_SECONDS_MAX):
            code = await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
        return Part(name, holds=False, says=f"not done within {PROOF_SECONDS_MAX:,.0f} s")
    return Part(name, holds=code == 0, says=f"{says}, {time.monotonic() - began:,.0f} s, exit code {code}")


def _documents(start: int, count: int) -> Iterator[bytes]:
    """Requests no two of which have the same text, of the size that people write."""
    for number in range(start, start + count):
        query = f"query Page{number} {{ a{number}: __typename gallery(first: 1) {{ nodes {{ t{number}: title }} }} }}"
        yield bystander.request(query)


def _mib(server: Running) -> float:
    return processor.resident_bytes(processor.family(server.pid)) / MIB


if __name__ == "__main__":
    typer.run(main)
