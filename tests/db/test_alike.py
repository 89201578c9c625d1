"""Rows that changed alike are written by one statement, and are what they would be after a flush."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from base import observe
from db import alike
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
