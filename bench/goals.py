"""How many times each peer's rate ours shall be, by workload, in the order of the table's columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from bench.contenders import ATRIUM, BY_HAND, PLAIN
from bench.measure import Figures, ratio
from bench.peers.node import MERCURIUS, WITH_SNAPSHOT

PEERS = (MERCURIUS, WITH_SNAPSHOT, PLAIN, BY_HAND)
GOALS: dict[str, tuple[float | None, float | None, float, float]] = {
    "W1": (7, 2, 50, 0.85),
    "W2": (3.5, 2.5, 30, 0.85),
    "W4": (7, 3, 80, 0.85),
    "W5": (3.5, 2.5, 25, 0.8),
    "W3": (5, 1.6, 20, 0.75),
    "W0": (1, None, 5, 0.75),
}


def table(figures: Sequence[Figures]) -> Table:
    """Each ratio beside its goal: by rate, and by the server's processor time, which other work disturbs less."""
    made = Table(title="Goals: reached by rate (by processor time) of what is wanted", title_justify="left")
    made.add_column("")
    for name in PEERS:
        made.add_column(name, justify="right")
    by_name = {(each.workload, each.server): each for each in figures}
    for workload, goals in GOALS.items():
        ours = by_name.get((workload, ATRIUM))
        if ours is not None:
            cells = [_cell(ours, by_name.get((workload, name)), goal) for name, goal in zip(PEERS, goals, strict=True)]
            made.add_row(workload, *cells)
    return made


def _cell(ours: Figures, theirs: Figures | None, goal: float | None) -> str:
    if theirs is None or goal is None:
        return "–"
    rate, processor = ratio(ours, theirs, "a_second"), ratio(theirs, ours, "server_us")
    if rate is None or processor is None:
        return "–"
    reached = "green" if rate >= goal else "red"
    return f"[{reached}]{rate:.2f}[/] ({processor:.2f}) of {goal:g}"
