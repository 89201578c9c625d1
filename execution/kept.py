"""A bounded memory of what is asked for again, which a flood of what is asked for once cannot empty.

Two lists by use, the last used at the end (segmented LRU, Karedla, Love and Wherry 1994): what comes first is on
probation; what is asked for again is known, and falls back on probation when better known things need its room.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")

PROBATION_SHARE = 4


class Kept(Generic[V]):
    """Values by text, bounded by their number and by their weight, of which probation has a quarter."""

    def __init__(self, *, entries_max: int, weight_max: int, evicted: Callable[[], None]) -> None:
        """`evicted` is called for each one that is given up."""
        self._known: OrderedDict[str, V] = OrderedDict()
        self._probation: OrderedDict[str, V] = OrderedDict()
        self._weights: dict[str, int] = {}
        self._known_weight = self._probation_weight = 0
        self._entries_max, self._weight_max = entries_max, weight_max
        self._evicted = evicted

    def __len__(self) -> int:
        return len(self._weights)

    def __contains__(self, key: str) -> bool:
        return key in self._weights

    @property
    def weight(self) -> int:
        """Of all that is kept."""
        return self._known_weight + self._probation_weight

    def get(self, key: str) -> V | None:
        """The value, which is known from now on."""
        found = self._known.get(key)
        if found is not None:
            self._known.move_to_end(key)
            return found
        found = self._probation.pop(key, None)
        if found is not None:
            weight = self._weights[key]
            self._probation_weight -= weight
            self._known[key] = found
            self._known_weight += weight
            self._make_room()
        return found

    def put(self, key: str, value: V, weight: int) -> None:
        """Keep a value on probation; one that is too heavy for it is not kept."""
        if key in self._weights:
            self._drop(key)
        self._probation[key] = value
        self._weights[key] = weight
        self._probation_weight += weight
        self._make_room()

    def grow(self, key: str, weight: int) -> None:
        """What is kept under the key has become heavier by so much."""
        if key in self._known:
            self._known_weight += weight
        elif key in self._probation:
            self._probation_weight += weight
        else:
            return
        self._weights[key] += weight
        self._make_room()

    def _make_room(self) -> None:
        entries, weight = self._entries_max // PROBATION_SHARE, self._weight_max // PROBATION_SHARE
        while self._known_weight > self._weight_max - weight or len(self._known) > self._entries_max - entries:
            key, value = self._known.popitem(last=False)
            self._known_weight -= self._weights[key]
            self._probation[key] = value
            self._probation_weight += self._weights[key]
        while self._probation_weight > weight or len(self._probation) > entries:
            key, _ = self._probation.popitem(last=False)
            self._probation_weight -= self._weights.pop(key)
            self._evicted()

    def _drop(self, key: str) -> None:
        weight = self._weights.pop(key)
        if self._known.pop(key, None) is not None:
            self._known_weight -= weight
        else:
            del self._probation[key]
            self._probation_weight -= weight
