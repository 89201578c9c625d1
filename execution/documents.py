"""The documents that are known, one memory for the plans and for the library, and the way to know a new one.

A known document is one look into a dictionary. A new one is read on the planning thread (`execution/planning.py`),
once for all who ask for it at that moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from graphql import GraphQLError, GraphQLSchema

from base import errors, observe
from base.settings import LIMITS, Limits
from execution.document import Budget, Document, OutOfBudget, Reader, Unfit, check_length, in_budget
from execution.kept import Kept
from execution.planning import Planning
from execution.steps import Plan

DOCUMENTS_MAX = 2_000
# More would also make the garbage collector stop everybody for longer than anybody should wait.
BYTES_MAX = 16 * 1024 * 1024
# About what they take, measured with tracemalloc: a token with its nodes, a plan, and a plan for each field that it
# shows, the generated functions among it.
TOKEN_BYTES = 270
PLAN_BYTES = 8_000
SHOWN_BYTES = 500
CHARACTER_BYTES = 4

_KNOWN, _NEW = observe.DOCUMENTS.labels("known"), observe.DOCUMENTS.labels("new")
_REFUSED, _EVICTED = observe.DOCUMENTS.labels("refused"), observe.DOCUMENTS.labels("evicted")

T = TypeVar("T")
# What is remembered of a text: the document, or why it is none. It is handed on as a value: an exception between
# tasks holds its frames and they hold it, with all of a document, until the garbage collector stops everybody.
Remembered = Document | list[GraphQLError]
Then = Callable[[Document, Budget], None]


@dataclass(slots=True)
class _Reading:
    """A document that is being read, for whom, and how many wait for it."""

    address: str
    task: asyncio.Task[Remembered]
    waiting: int = 0


class Documents:
    """The documents of one schema."""

    def __init__(self, schema: GraphQLSchema, *, introspection: bool, limits: Limits = LIMITS) -> None:
        """`introspection=False` refuses it, and tells no names in messages."""
        self.limits = limits
        self._reader = Reader(schema, introspection=introspection, limits=limits)
        self._kept: Kept[Remembered] = Kept(entries_max=DOCUMENTS_MAX, weight_max=BYTES_MAX, evicted=_EVICTED.inc)
        self._readings: dict[str, _Reading] = {}
        self.planning = Planning()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def weight(self) -> int:
        """About how many bytes they are."""
        return self._kept.weight

    def known(self, text: str) -> Document | None:
        """The document, where it is known; None where it has to be read. Raises Unfit."""
        found = self._kept.get(text)
        if found is None:
            return None
        _KNOWN.value += 1
        return _fit(found)

    def peek(self, text: str) -> Document | None:
        """The same, counted by whoever uses it; None also for a text that is refused."""
        found = self._kept.get(text)
        return found if isinstance(found, Document) else None

    async def read(self, text: str, address: str, then: Then | None = None) -> Document:
        """The document, read on the planning thread where it is new. Raises Unfit, RateLimited.

        `then` does more with a new one on its way; it runs on the thread, and before anybody else has the document.
        """
        known = self.known(text)
        if known is not None:
            return known
        check_length(text)
        return _fit(await self._read_once(text, address, then))

    async def _read_once(self, text: str, address: str, then: Then | None) -> Remembered:
        """Join who reads it already, or be the first."""
        while True:
            reading = self._readings.get(text)
            own = reading is None
            if reading is None:
                task = asyncio.create_task(self._new(text, address, then))
                reading = self._readings[text] = _Reading(address, task)
            reading.waiting += 1
            try:
                return await asyncio.shield(reading.task)
            except errors.RateLimited:
                # Another's place in the queue was refused: that says nothing of this one's.
                if own or reading.address == address:
                    raise
            finally:
                reading.waiting -= 1
                if not reading.waiting:
                    reading.task.cancel()

    async def _new(self, text: str, address: str, then: Then | None) -> Remembered:
        try:
            found, lasts = await self.planning.do(address, partial(self._read, text, then))
        finally:
            del self._readings[text]
        if isinstance(found, list):
            _REFUSED.inc()
        else:
            _NEW.inc()
        if lasts:
            self._keep(text, found)
        return found

    def get(self, text: str) -> Document:
        """The document, read here and now where it is new: for commands and tests. Raises Unfit."""
        found = self._kept.get(text)
        if found is None:
            found, lasts = self._read(text, None)
            if lasts:
                self._keep(text, found)
        return _fit(found)

    async def work(self, address: str, work: Callable[[], T]) -> T:
        """Do something about a known document on the planning thread. Raises RateLimited and what `work` raises."""
        return await self.planning.do(address, work)

    def planned(self, document: Document, plan: Plan | None) -> None:
        """The document has this plan more."""
        self._kept.grow(document.text, _weight_of_plan(plan))
        self._told()

    def grew(self, document: Document, weight: int) -> None:
        """The document holds so many bytes more than its plans are taken for."""
        self._kept.grow(document.text, weight)
        self._told()

    def _read(self, text: str, then: Then | None) -> tuple[Remembered, bool]:
        """What is to be remembered of a text, and whether it will be so the next time."""

        def work(budget: Budget) -> Document:
            found = self._reader.read(text, budget)
            if then is not None:
                then(found, budget)
            return found

        try:
            return in_budget(work), True
        except Unfit as unfit:
            return unfit.errors, not isinstance(unfit, OutOfBudget)

    def _keep(self, text: str, value: Remembered) -> None:
        self._kept.put(text, value, _weight(text, value))
        self._told()

    def _told(self) -> None:
        observe.PLANS.set(len(self._kept))
        observe.DOCUMENT_BYTES.set(self._kept.weight)


def _fit(found: Remembered) -> Document:
    if isinstance(found, list):
        raise Unfit(found)
    return found


def _weight(text: str, value: Remembered) -> int:
    own = len(text) * CHARACTER_BYTES
    if isinstance(value, list):
        return own
    return own + value.tokens * TOKEN_BYTES + sum(map(_weight_of_plan, value.plans.values()))


def _weight_of_plan(plan: Plan | None) -> int:
    return PLAN_BYTES + (0 if plan is None else plan.shown) * SHOWN_BYTES
