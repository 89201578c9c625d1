"""What was measured, as one table and as `bench/results/latest.json`."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from bench import workloads
from bench.contenders import ATRIUM
from bench.measure import Figures, Plan, ratio
from bench.places import RESULTS

FILE = "latest.json"


def table(figures: Sequence[Figures], *, title: str) -> Table:
    """A line for each workload and server; the last columns say how Atrium stands to that server."""
    made = Table(title=title, title_justify="left")
    made.add_column("")
    made.add_column("server")
    for name in ("a second", "p50 ms", "p99 ms", "p99 at half", "server µs", "database µs", "statements"):
        made.add_column(name, justify="right")
    made.add_column("atrium is", justify="right")
    made.add_column("by processor", justify="right")
    ours = {each.workload: each for each in figures if each.server == ATRIUM}
    last = ""
    for each in figures:
        if each.workload != last:
            made.add_section()
        first, last = each.workload != last, each.workload
        made.add_row(
            each.workload if first else "",
            each.server,
            _number(each.of("a_second")),
            _number(each.of("p50_ms"), 2),
            _number(each.of("p99_ms"), 2),
            _number(each.half_p99_ms, 2),
            _number(each.of("server_us")),
            _number(each.of("database_us")),
            _number(each.statements, 2),
            *_ratios(ours.get(each.workload), each),
        )
    return made


def show(console: Console, figures: Sequence[Figures], *, title: str) -> None:
    """Print the table, and below it what each workload asks."""
    console.print(table(figures, title=title))
    asked = {each.workload for each in figures}
    for workload in workloads.ALL:
        if workload.name in asked:
            console.print(f"{workload.name}  {workload.says}", style="dim", markup=False)


def write(parts: Mapping[str, Sequence[Any]], plan: Plan, *, notes: Sequence[str]) -> Path:
    """Write everything that was measured, each round of it; the newest run replaces the one before."""
    RESULTS.mkdir(exist_ok=True)
    told = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"processors": _processors(), "python": platform.python_version(), "system": platform.system()},
        "plan": asdict(plan),
        "notes": list(notes),
        **{name: [asdict(each) for each in figures] for name, figures in parts.items()},
    }
    path = RESULTS / FILE
    path.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    return path


def _ratios(ours: Figures | None, theirs: Figures) -> tuple[str, str]:
    if ours is None or ours is theirs:
        return "", ""
    return _times(ratio(ours, theirs, "a_second")), _times(ratio(theirs, ours, "server_us"))


def _times(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}×"


def _number(value: float | None, places: int = 0) -> str:
    return "–" if value is None else f"{value:,.{places}f}"


def _processors() -> int:
    return sum(line.startswith("processor") for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines())
