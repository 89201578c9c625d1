"""Figures that are counted as plain numbers and become Prometheus's when they are asked for.

The library's own counters lock for each increment, which costs more than what is counted here. One thread counts:
the event loop's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector


class Cell:
    """One figure of a count."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, amount: int = 1) -> None:
        """Count so many more."""
        self.value += amount


class Count(Collector):
    """How often something happened, by its labels; whoever counts often keeps the cell of `labels()`."""

    def __init__(self, name: str, says: str, labels: Sequence[str] = (), /, *, registry: CollectorRegistry) -> None:
        self._name, self._says, self._labels = name, says, tuple(labels)
        self._cells: dict[tuple[str, ...], Cell] = {}
        registry.register(self)

    def labels(self, *values: str) -> Cell:
        """The figure of these labels. Raises ValueError where they are not as many as were declared."""
        cell = self._cells.get(values)
        if cell is None:
            if len(values) != len(self._labels):
                raise ValueError(f"{self._name} has the labels {self._labels}, not {len(values)} of them")
            cell = self._cells[values] = Cell()
        return cell

    def collect(self) -> Iterator[Metric]:
        """The figures as they are now."""
        told = CounterMetricFamily(self._name, self._says, labels=self._labels)
        for values, cell in list(self._cells.items()):
            told.add_metric(values, cell.value)
        yield told


class Durations(Collector):
    """How many things took how long, in seconds, by upper bounds that ascend."""

    def __init__(self, name: str, says: str, bounds: Sequence[float], /, *, registry: CollectorRegistry) -> None:
        self._name, self._says, self._bounds = name, says, tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0
        registry.register(self)

    def observe(self, seconds: float) -> None:
        """Count one that took so long."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def collect(self) -> Iterator[Metric]:
        """Each bucket counts what is in those before it too, as the format has it."""
        buckets, total = [], 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        told = HistogramMetricFamily(self._name, self._says)
        told.add_metric((), buckets, self._sum)
        yield told
