"""The provider's events: stored once, then processed, and tried again until each has come to its end.

Storing is all that an acknowledgement waits for. What a crash leaves behind the worker finds: an event that is not at
its end is due again when its time has come.
"""

from __future__ import annotations

import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from actions.billing import processing, settlement
from actions.billing.processing import Asked, Fetched, Outcome
from base import errors, observe
from base.ids import Id
from db import alike, faults
from db.alike import even
from db.session import SystemSession
from db.tables.central.billing import PaymentEvent, PaymentEventState
from db.zones import TenantId
from outside import stripe_api
from outside.stripe_api import Payments, ProviderError
from tenancy.context import House
from tenancy.handlers import every

EVENTS_A_BATCH = 50
# Of a backlog: so much is processed before wallets are posted to, so that a tenant's credits come together.
EVENTS_A_SETTLING = 2_500
DUE_SECONDS = 2
# Whoever stored an event processes it at once: the worker waits so long before it does.
FIRST_TRY_SECONDS = 3
ROUNDS_MAX = 4
PRUNE_SECONDS = 3_600
BODY_DAYS_MAX = 90
PRUNED_MAX = 1_000
CHARGE = "ch_"
_KINDS = frozenset(typing.get_args(stripe_api.Kind))

EventId = Id[PaymentEvent]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """An event as it came, its signature checked; `body_hash` is the SHA-256 of its bytes, in hexadecimal."""

    name: str
    type: str
    api_version: str | None
    occurred_at: datetime
    body: str
    body_hash: str
    is_foreign: bool

    def values(self, event_id: EventId, now: datetime) -> dict[str, Any]:
        """The row of it, due soon unless it is foreign."""
        return {
            "id": event_id,
            "created_at": now,
            "provider_event_id": self.name,
            "type": self.type,
            "api_version": self.api_version,
            "occurred_at": self.occurred_at,
            "body": self.body,
            "body_hash": self.body_hash,
            "state": PaymentEventState.FOREIGN if self.is_foreign else PaymentEventState.STORED,
            "tries": 0,
            "next_try_at": now + timedelta(seconds=FIRST_TRY_SECONDS),
        }


# Judged by the mode of the key that there was when it came: what was judged by whose it is has been processed.
ELSEWHERE = sa.and_(PaymentEvent.state == PaymentEventState.FOREIGN, PaymentEvent.processed_at.is_(None))
_STORE = sa.insert(typing.cast("sa.Table", PaymentEvent.__table__))


async def store_new(house: House, events: Sequence[Incoming], /) -> list[EventId | None]:
    """Keep events that this process has not seen, as `store` does, by one statement where none of them is known.

    Where that fails the database is asked what is there: what lies under an id that was drawn up here is ours, whatever
    was heard of it. Raises CentralUnavailable.
    """
    sessions = house.sessions
    await sessions.ids.ensure()
    ids: list[EventId] = [sessions.ids.next() for _ in events]
    now = sessions.clock.now()
    rows = [event.values(event_id, now) for event, event_id in zip(events, ids, strict=True)]
    try:
        await alike.insert_alone(sessions, _STORE, rows)
    except errors.CentralUnavailable:
        raise
    except Exception:
        return await house.system().on_system(store, events, ours=frozenset(ids))
    return list(ids)


async def store(
    db: SystemSession, events: Sequence[Incoming], /, *, ours: Collection[EventId] = ()
) -> list[EventId | None]:
    """Keep each event that is not known; its id for the one caller who stored it, None where it was known.

    One that was kept as another mode's, and now comes as ours, is stored as if it had come now: the key was changed.
    What lies under one of the ids of `ours` was stored by this caller.
    """
    stored = sa.select(PaymentEvent.provider_event_id, PaymentEvent.id, ELSEWHERE).where(
        PaymentEvent.provider_event_id.in_(even(sorted({event.name for event in events})))
    )
    known: dict[str, EventId | None] = {}
    elsewhere: set[str] = set()
    for name, event_id, is_elsewhere in await db.tuples(stored):
        known[name] = event_id if event_id in ours else None
        if is_elsewhere:
            elsewhere.add(name)
    made: list[EventId | None] = []
    rows = []
    for event in events:
        if event.name not in known:
            rows.append(event.values(db.new_id(), db.now))
            made.append(rows[-1]["id"])
            known[event.name] = None
        elif event.name in elsewhere and not event.is_foreign:
            made.append(await _taken_up(db, event))
        else:
            made.append(known[event.name])
    try:
        if rows:
            await db.write(_STORE, rows)
    except sa.exc.IntegrityError as error:
        if not faults.taken(error):
            raise
        # Another process stored one of them meanwhile: the next run sees which.
        raise faults.RunAgain from error
    return made


async def _taken_up(db: SystemSession, event: Incoming) -> EventId | None:
    row = PaymentEvent
    due_at = db.now + timedelta(seconds=FIRST_TRY_SECONDS)
    taken = sa.update(row).where(row.provider_event_id == event.name, ELSEWHERE)
    if not await db.change(taken.values(state=PaymentEventState.STORED, next_try_at=due_at, tries=0)):
        return None
    return await db.first(sa.select(row.id).where(row.provider_event_id == event.name))


async def handle(house: House, ids: Sequence[EventId], /) -> None:
    """Process these events and post what wallets are owed for them. Nothing is raised for an event's own fault."""
    await settlement.settle(house, await process(house, ids))


async def process(house: House, ids: Sequence[EventId], /) -> set[TenantId]:
    """Process these events, and those they wake; the tenants whose wallets are owed something for them."""
    outcome = await _processed(house, ids)
    if outcome.woken:
        await process_due(house)
    return outcome.owed


@every(DUE_SECONDS, "payment_events")
async def process_due(house: House) -> int:
    """Process every event whose time has come, in batches; how many were looked at."""
    system, looked_at, owed = house.system(), 0, set[TenantId]()
    until = house.sessions.clock.now()
    for state in processing.OPEN:
        after = _Place(datetime.min.replace(tzinfo=UTC), Id(0))
        while found := await system.on_system(_due, state, after, until=until):
            owed |= (await _processed(house, [place.id for place in found])).owed
            looked_at += len(found)
            after = found[-1]
            if looked_at % EVENTS_A_SETTLING == 0:
                await settlement.settle(house, owed)
                owed.clear()
    await settlement.settle(house, owed)
    return looked_at


async def process_everything(house: House, /) -> int:
    """Process every open event once, also what waits for a later try; how many were looked at."""
    looked_at = 0
    after: EventId = Id(0)
    while ids := await house.system().on_system(_open_after, after):
        await _in_turn(house, ids)
        looked_at += len(ids)
        after = ids[-1]
    return looked_at


@every(PRUNE_SECONDS, "payment_bodies")
async def prune(house: House) -> int:
    """Let go of the bodies of events that ended long ago; ids and hashes stay for ever."""
    done = 0
    while pruned := await house.system().on_system(_prune):
        done += pruned
    return done


async def _in_turn(house: House, ids: Sequence[EventId]) -> None:
    outcome = await _processed(house, ids)
    if outcome.owed:
        await settlement.settle(house, outcome.owed)


async def _processed(house: House, ids: Sequence[EventId]) -> Outcome:
    """One batch to its end: what has to be fetched is fetched, one event at a time, and looked at again."""
    done = await _attempt(house, ids, {})
    for event_id in list(done.asked):
        answers: dict[Asked, Fetched] = {}
        asked: Asked | None = done.asked[event_id]
        for _ in range(ROUNDS_MAX):
            if asked is None:
                break
            try:
                answers[asked] = await _fetch(house, asked)
            except ProviderError as error:
                observe.note(observe.Event.PROVIDER_FAILED, error=str(error), id=f"{event_id:x}")
                await house.system().on_system(processing.postpone, event_id, str(error))
                break
            again = await _attempt(house, [event_id], {event_id: answers})
            done.owed |= again.owed
            done.woken += again.woken
            asked = again.asked.get(event_id)
        else:
            if asked is not None:
                await house.system().on_system(processing.postpone, event_id, f"{asked.name} changes while it is read")
    return done


async def _attempt(house: House, ids: Sequence[EventId], answers: Mapping[EventId, Mapping[Asked, Fetched]]) -> Outcome:
    """All in one transaction; where that fails each in one of its own, and what fails alone is put off."""
    system = house.system()
    try:
        return await system.on_system(processing.process, ids, answers)
    except errors.CentralUnavailable:
        raise
    except Exception as error:
        if len(ids) == 1:
            observe.note(observe.Event.PAYMENT_EVENT_FAILED, failure=error, id=f"{ids[0]:x}")
            await system.on_system(processing.postpone, ids[0], repr(error))
            return Outcome()
    whole = Outcome()
    for event_id in ids:
        one = await _attempt(house, [event_id], answers)
        whole.owed |= one.owed
        whole.asked |= one.asked
        whole.woken += one.woken
    return whole


async def _fetch(house: House, asked: Asked) -> Fetched:
    """The object as the provider has it now. Raises ProviderError."""
    provider = house.service(Payments)
    # The moment before it was asked: whatever happens after it has a later one.
    at = house.sessions.clock.now()
    if asked.kind == "refunds" and asked.name.startswith(CHARGE):
        return Fetched({"data": [each async for each in provider.list("refunds", charge=asked.name)]}, at)
    if asked.kind not in _KINDS:
        raise ProviderError(f"{asked.kind} cannot be asked for, and an event of it could not be read")
    return Fetched(await provider.get(typing.cast("stripe_api.Kind", asked.kind), asked.name), at)


# ------------------------------------------------------------------------------------------- what is due


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a walk over due events stands."""

    next_try_at: datetime
    id: EventId


async def _due(db: SystemSession, state: PaymentEventState, after: _Place, /, *, until: datetime) -> list[_Place]:
    # Along the index: a backlog of a hundred thousand is walked without being sorted.
    row = PaymentEvent
    beyond = sa.or_(row.next_try_at > after.next_try_at, row.id > after.id)
    rows = await db.tuples(
        sa.select(row.next_try_at, row.id)
        .where(row.state == state, row.next_try_at >= after.next_try_at, row.next_try_at <= until, beyond)
        .order_by(row.next_try_at, row.id)
        .limit(EVENTS_A_BATCH)
    )
    return [_Place(at, event_id) for at, event_id in rows]


async def _open_after(db: SystemSession, after: EventId, /) -> Sequence[EventId]:
    return await db.all(
        sa.select(PaymentEvent.id)
        .where(PaymentEvent.id > after, PaymentEvent.state.in_(processing.OPEN))
        .order_by(PaymentEvent.id)
        .limit(EVENTS_A_BATCH)
    )


async def _prune(db: SystemSession, /) -> int:
    before = db.now - timedelta(days=BODY_DAYS_MAX)
    ended = (PaymentEventState.PROCESSED, PaymentEventState.IGNORED, PaymentEventState.FOREIGN)
    old = sa.select(PaymentEvent.id).where(
        PaymentEvent.state.in_(ended), PaymentEvent.created_at < before, PaymentEvent.body.is_not(None)
    )
    ids = await db.all(old.order_by(PaymentEvent.created_at).limit(PRUNED_MAX))
    if not ids:
        return 0
    return await db.change(sa.update(PaymentEvent).where(PaymentEvent.id.in_(ids)).values(body=None))
