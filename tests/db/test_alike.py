"""Rows that changed alike are written by one statement, and are what they would be after a flush."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from base import observe
from db import alike, faults
from db.tables.central.billing import PaymentEvent, PaymentEventState
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio


def _sent() -> float:
    (metric,) = observe.STATEMENTS.collect()
    return sum(each.value for each in metric.samples if each.name.endswith("_total"))


async def _make(db, count, /):
    for number in range(count):
        db.add(
            PaymentEvent(
                id=db.new_id(),
                created_at=db.now,
                provider_event_id=f"evt_{number}",
                type="charge.succeeded",
                occurred_at=db.now,
                body_hash="0" * 64,
                tries=number % 2,
            )
        )


async def _rows(db, /):
    return list(await db.all(sa.select(PaymentEvent).order_by(PaymentEvent.id)))


async def _end(db, /):
    rows = await _rows(db)
    for row in rows:
        row.state, row.processed_at, row.tries = PaymentEventState.PROCESSED, db.now, row.tries + 1
    rows[0].waits_for, rows[1].error = "ch_1", None  # changed unlike any other; set to what it was
    before = _sent()
    await alike.write(db, rows)
    written = _sent() - before
    before = _sent()
    await db.flush()
    return written, _sent() - before


@on_every_engine
async def test_rows_that_changed_alike_are_one_statement_and_the_others_are_left_to_the_flush(world):
    system = world.house.system()
    await system.on_system(_make, 10)
    # Those of even and of odd tries; the one that differs goes out before them, by itself.
    assert await system.on_system(_end) == (3, 0)
    rows = await system.on_system(_rows)
    assert [row.tries for row in rows] == [1, 2] * 5
    assert {row.state for row in rows} == {PaymentEventState.PROCESSED}
    assert [row.waits_for for row in rows] == ["ch_1", *[None] * 9]
    assert all(row.processed_at is not None for row in rows)


@on_every_engine
async def test_what_is_inserted_alone_is_durable_by_one_statement_and_no_transaction(world):
    sessions = world.house.sessions
    begun: list[object] = []
    await world.house.system().on_system(_make, 1)
    [known] = await world.house.system().on_system(_rows)
    for engine in (sessions.databases.central.engine, sessions.databases.central.reader):
        sa.event.listen(engine.sync_engine, "commit", begun.append)
    sent = _sent()
    await alike.insert_alone(sessions, _INSERT, [_values(sessions, name) for name in ("evt_a", "evt_b")])
    assert (_sent() - sent, begun) == (1, [])
    with pytest.raises(sa.exc.IntegrityError) as refused:
        await alike.insert_alone(sessions, _INSERT, [_values(sessions, name) for name in ("evt_c", "evt_0")])
    assert faults.taken(refused.value)
    rows = await world.house.system().on_system(_rows)
    assert [row.provider_event_id for row in rows] == ["evt_0", "evt_a", "evt_b"]
    assert rows[0].id == known.id


_INSERT = sa.insert(PaymentEvent)


def _values(sessions, name):
    now = sessions.clock.now()
    row = {"id": sessions.ids.next(), "created_at": now, "provider_event_id": name, "type": "charge.succeeded"}
    row |= {"occurred_at": now, "body_hash": "0" * 64, "state": PaymentEventState.STORED, "tries": 0}
    return row | {"next_try_at": now}
