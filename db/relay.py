"""What an outbox still holds: read in order, forgotten when delivered, put off when delivery failed."""

from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa

from db.outbox import Envelope
from db.session import PoolSession
from db.tables.pool.upkeep import Outbox

ENVELOPES_MAX = 200
BACKOFF_SECONDS = 2
BACKOFF_SECONDS_MAX = 300


async def due(db: PoolSession) -> Sequence[Envelope]:
    """This tenant's undelivered events in the order they were made; of an aggregate that waits, none."""
    rows = await db.all(sa.select(Outbox).order_by(Outbox.id).limit(ENVELOPES_MAX))
    waiting = {row.aggregate for row in rows if row.available_at > db.now}
    return [Envelope.of_row(row) for row in rows if row.aggregate not in waiting]


async def forget(db: PoolSession, event_id: int) -> None:
    """The event has reached every receiver."""
    await db.change(sa.delete(Outbox).where(Outbox.id == event_id))


async def postpone(db: PoolSession, event_id: int) -> None:
    """Delivery failed: try again later, twice as late each time."""
    row = await db.first(sa.select(Outbox).where(Outbox.id == event_id))
    if row is not None:
        seconds = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS * 2 ** min(row.attempts, 10))
        row.attempts += 1
        row.available_at = db.now + timedelta(seconds=seconds)
