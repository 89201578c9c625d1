"""Answers that are the same for everybody, kept whole by the bytes that asked for them until the catalog changes.

Of bytes that ask for something of one's own, what they say is kept: they need not be read again. Whether the caller may
have an answer, and has the budget for it, is asked anew for each request.
"""

from __future__ import annotations

from dataclasses import dataclass

from base import observe
from base.bus import Bus
from execution import access, snapshot
from execution.access import Access
from execution.request import Asked
from tenancy.context import Context

BYTES_MAX = 8 * 1024 * 1024
WHOLE_BYTES_MAX = 16 * 1024
# About what an entry takes beside its bytes.
ENTRY_BYTES = 500

_KNOWN, _BY_PLAN = observe.DOCUMENTS.labels("known"), observe.PLANNED.labels("planned")


@dataclass(frozen=True, slots=True)
class Whole:
    """The body of an answer, who may have it, and what was asked for and answered in cost."""

    body: bytes
    operation_name: str | None
    accesses: tuple[Access, ...]
    requested: int
    actual: int

    def paid(self, ctx: Context) -> bool:
        """Whether this caller was charged for it; False, and nothing taken, where that needs more. Raises Denial."""
        for each in self.accesses:
            access.check(ctx, each)
        charge = ctx.house.budgets.charge_known(ctx, self.requested)
        if charge is None:
            return False
        charge.settle(self.actual)
        _KNOWN.value += 1
        _BY_PLAN.value += 1
        return True


class Wholes:
    """One process's answers, by the body of the request; all of one version of the catalog."""

    def __init__(self) -> None:
        self._bus: Bus | None = None
        self._catalog: snapshot.Catalog | None = None
        self._version: snapshot.Version | None = None
        self._kept: dict[bytes, Whole | Asked] = {}
        self._bytes = 0

    def get(self, request: bytes, ctx: Context) -> Whole | Asked | None:
        """The answer to this body of a request, or that it asks for what has none; None where neither is known."""
        bus = ctx.house.bus
        if self._catalog is None or self._bus is not bus:
            self._bus, self._catalog = bus, snapshot.of(bus)
        version = self._catalog.version()
        if version is not self._version:
            self._version = version
            self._clear()
        return self._kept.get(request)

    def keep(self, request: bytes, found: Whole | Asked) -> None:
        """Keep what was just looked for in vain."""
        size = len(request) + (len(found.body) if isinstance(found, Whole) else len(request))
        if size <= WHOLE_BYTES_MAX:
            self._bytes += size + ENTRY_BYTES
            if self._bytes > BYTES_MAX:
                self._clear()
                self._bytes = size + ENTRY_BYTES
            self._kept[request] = found

    def _clear(self) -> None:
        self._kept.clear()
        self._bytes = 0
