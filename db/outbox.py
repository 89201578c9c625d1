"""Events between areas: written in the writer's own transaction, delivered at least once, in order per aggregate.

An event is a frozen dataclass beside the action that emits it; its receivers are
registered with `@receives`. Who delivers is not here (`tenancy/context.py` right after the
commit, `worker.py` for what failed).
"""

import abc
import dataclasses
import typing
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, TypeVar

from db.tables.pool.upkeep import Outbox
from db.zones import TenantId

EVENT_BYTES_MAX = 16_384


@dataclass(frozen=True, kw_only=True)
class Event(abc.ABC):
    """Something that happened in one tenant; fields are JSON values, ids and moments."""

    type: ClassVar[str]
    version: ClassVar[int] = 1

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        EVENTS[cls.type] = cls

    @property
    @abc.abstractmethod
    def aggregate(self) -> str:
        """What the event is about, e.g. `video:1a2b`: events of one aggregate keep their order."""

    def data(self) -> dict[str, Any]:
        """The fields as JSON values."""
        plain = dataclasses.asdict(self)
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in plain.items()}

    @classmethod
    def of_data(cls, data: dict[str, Any]) -> "typing.Self":
        """The event whose `data` this is."""
        hints = typing.get_type_hints(cls)
        return cls(**{k: datetime.fromisoformat(v) if hints[k] is datetime and v else v for k, v in data.items()})


E = TypeVar("E", bound=Event)
Receiver = Callable[[Any, Any, "Envelope"], Awaitable[None]]
EVENTS: dict[str, type[Event]] = {}
RECEIVERS: dict[type[Event], list[Receiver]] = {}
# Asks central which of these tenants a receiver has anything to do for.
Listening = Callable[[Any, Sequence[TenantId]], Awaitable[Collection[TenantId]]]
LISTENING: dict[Receiver, Listening] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What every event travels in."""

    event_id: int
    type: str
    version: int
    occurred_at: datetime
    tenant: TenantId
    aggregate: str
    correlation_id: str
    causation_id: str | None
    data: dict[str, Any]

    @classmethod
    def of(cls, event: Event, *, event_id: int, tenant: TenantId, at: datetime, correlation_id: str) -> "Envelope":
        """A new event's envelope."""
        return cls(
            event_id=event_id,
            type=event.type,
            version=event.version,
            occurred_at=at,
            tenant=tenant,
            aggregate=event.aggregate,
            correlation_id=correlation_id,
            causation_id=None,
            data=event.data(),
        )

    @classmethod
    def of_row(cls, row: Outbox) -> "Envelope":
        """The envelope that a stored row holds."""
        return cls(
            event_id=row.id,
            type=row.type,
            version=row.version,
            occurred_at=row.occurred_at,
            tenant=row.tenant_id,
            aggregate=row.aggregate,
            correlation_id=row.correlation_id,
            causation_id=row.causation_id,
            data=row.data,
        )

    def row(self) -> Outbox:
        """The outbox row of a new event, due at once."""
        return Outbox(
            id=self.event_id,
            type=self.type,
            version=self.version,
            aggregate=self.aggregate,
            data=self.data,
            correlation_id=self.correlation_id,
            causation_id=self.causation_id,
            occurred_at=self.occurred_at,
            available_at=self.occurred_at,
            attempts=0,
        )

    def event(self) -> Event:
        """The event itself."""
        return EVENTS[self.type].of_data(self.data)


def receives(event: type[Event], *, of: Listening | None = None) -> Callable[[Receiver], Receiver]:
    """Register `async def receiver(ctx, event, envelope)`; it must be idempotent by the event's id.

    `of` is `async def listening(db, tenants)`, by a system session: the tenants whose events it has anything to do for.
    """

    def register(receiver: Receiver) -> Receiver:
        RECEIVERS.setdefault(event, []).append(receiver)
        if of is not None:
            LISTENING[receiver] = of
        return receiver

    return register


async def unheard(
    db: Any, tenants: Sequence[TenantId], events: Sequence[type[Event]], /
) -> dict[TenantId, frozenset[type[Event]]]:
    """Of each tenant, which of these types nobody has anything to do for now: such events need not be written.

    `db` is a system session of central. Whoever begins to listen later hears what happens later.
    """
    heard: dict[Listening, Collection[TenantId]] = {}
    silent: dict[TenantId, set[type[Event]]] = {tenant: set() for tenant in tenants}
    for event in events:
        receivers = RECEIVERS.get(event, [])
        if any(receiver not in LISTENING for receiver in receivers):
            continue  # somebody hears it of every tenant
        listening = {LISTENING[receiver] for receiver in receivers}
        for each in listening - heard.keys():
            heard[each] = frozenset(await each(db, tenants))
        for tenant in tenants:
            if not any(tenant in heard[each] for each in listening):
                silent[tenant].add(event)
    return {tenant: frozenset(types) for tenant, types in silent.items()}
