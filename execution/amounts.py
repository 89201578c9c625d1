"""The cost of one operation, compiled: a small program that variables are put through, and how answers are counted.

It is compiled in `execution/cost.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from graphql.execution.values import VariableValues

COST_MIN = 1  # of whatever was answered, a refusal too

Given = Mapping[str, Any]  # coerced variables
Size = int | Callable[[Given], int]


@dataclass(frozen=True, slots=True)
class Slot:
    """A number that hangs on variables: its place among an operation's evaluated steps."""

    place: int


Amount = int | Slot
Values = list[int] | tuple[()]  # of the slots


@dataclass(slots=True)
class Level:
    """A selection of one type: what it costs, and of that what does not hang on how long lists were."""

    amount: Amount = 0
    base: Amount = 0
    lists: list[Counted] = field(default_factory=list)


@dataclass(slots=True)
class Counted:
    """A field below which lists are: counted as answered. `weight` is what each of its objects costs itself."""

    response: str
    weight: int
    level: Level
    is_list: bool
    asked: Amount  # all of it, as long as asked for; without the weight of one that is no list


@dataclass(frozen=True, slots=True)
class Step:
    """size × (base + the parts), or the most of the parts."""

    size: Size
    base: int
    parts: tuple[int, ...]
    takes_most: bool = False


@dataclass(slots=True)
class Written:
    """A root field's part of an answer as everybody gets it: bytes, how many objects they hold, and what they cost."""

    display: orjson.Fragment
    objects: int
    cost: int | None = None  # counted with the answer that it was written for


class OperationCost:
    """The cost of one operation under what its @skip and @include say."""

    __slots__ = ("_steps", "_top", "fixed", "visited")

    def __init__(self, top: Level, steps: list[Step], visited: int) -> None:
        self._top = top
        self._steps = steps
        self.fixed = max(top.amount, COST_MIN) if isinstance(top.amount, int) else None  # None: by the variables
        self.visited = visited  # selections looked at while it was compiled

    def requested(self, variables: VariableValues) -> int:
        """What may be answered at most, lists as long as asked for or assumed."""
        return self.fixed if self.fixed is not None else max(self.asked(variables), COST_MIN)

    def asked(self, variables: VariableValues) -> int:
        """The same where it may be nothing."""
        amount = self._top.amount
        return amount if isinstance(amount, int) else self._values(variables.coerced)[amount.place]

    def actual(
        self, variables: VariableValues, data: Mapping[str, Any] | None, written: Mapping[str, Written] | None = None
    ) -> int:
        """The same by how long the answered lists are; what stands alone counts as asked for, null or not.

        `written` are root fields by response name that are kept as bytes; each costs what it did when it was shown
        first. What else is bytes below a list counts as asked for.
        """
        if not self._top.lists:
            return self.requested(variables)
        values = self._values(variables.coerced) if self._steps else ()
        total = _of(self._top.base, values)
        for each in self._top.lists:
            found = None if data is None else data.get(each.response)
            amount = _of_field(each, found, values)
            kept = None if written is None else written.get(each.response)
            if kept is not None:
                if isinstance(found, dict | list):
                    kept.cost = amount
                elif found is not None and kept.cost is not None:
                    amount = kept.cost
            total += amount
        return max(total, COST_MIN)

    def _values(self, given: Given) -> list[int]:
        values: list[int] = []
        for step in self._steps:
            parts = [values[part] for part in step.parts]
            total = max((step.base, *parts)) if step.takes_most else step.base + sum(parts)
            size = step.size
            values.append(total * (size if isinstance(size, int) else size(given)))
        return values


def _of(amount: Amount, values: Values) -> int:
    return amount if isinstance(amount, int) else values[amount.place]


def _counted(level: Level, shown: object, values: Values) -> int:
    """An object's selections; its own weight is its field's."""
    if not isinstance(shown, dict):
        return _of(level.base if shown is None else level.amount, values)
    total = _of(level.base, values)
    for each in level.lists:
        total += _of_field(each, shown.get(each.response), values)
    return total


def _of_field(field: Counted, found: object, values: Values) -> int:
    """What hangs on lists of a field; the weight of one that is no list is in its level's base."""
    if not field.is_list:
        return _counted(field.level, found, values)
    if not isinstance(found, list):
        return 0 if found is None else _asked(field, values)
    if field.level.lists:
        return sum(field.weight + _counted(field.level, each, values) for each in found)
    return len(found) * (field.weight + _of(field.level.amount, values))


def _asked(field: Counted, values: Values) -> int:
    return _of(field.asked, values)
