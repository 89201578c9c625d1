"""What tenants' developers are told, and in which words: names and shapes here are a promise, kept by version.

Ids are the global ids of the API, so that more can be asked there. What a studio's own areas tell each
other (`docs/events.md`) may change; what stands here does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from db.outbox import Envelope
from db.zones import TenantId

# Type → version. A field that is added keeps the version; one that goes or changes its meaning needs the next.
TYPES = {
    "video.ready": 1,
    "video.published": 1,
    "video.unpublished": 1,
    "ai_job.succeeded": 1,
    "ai_job.failed": 1,
    "wallet.credited": 1,
    "purchase.paid": 1,
    "purchase.refunded": 1,
}
TEST = "webhook.test"


@dataclass(frozen=True, slots=True)
class Message:
    """An event as it is sent: `body` is JSON, the same text in every attempt."""

    event_id: int
    type: str
    body: str

    @classmethod
    def of(cls, envelope: Envelope, type: str, data: dict[str, Any]) -> Message:
        """The public words for an event of ours."""
        return cls._made(
            envelope.event_id,
            type,
            at=envelope.occurred_at,
            tenant=envelope.tenant,
            correlation_id=envelope.correlation_id,
            causation_id=envelope.causation_id,
            data=data,
        )

    @classmethod
    def test(cls, event_id: int, *, at: datetime, tenant: TenantId, correlation_id: str) -> Message:
        """What `testWebhook` sends: nothing happened."""
        said = {"message": "This is a test. Nothing happened in your studio."}
        return cls._made(
            event_id, TEST, at=at, tenant=tenant, correlation_id=correlation_id, causation_id=None, data=said
        )

    @classmethod
    def _made(cls, event_id: int, type: str, *, at: datetime, **more: Any) -> Message:
        envelope = {
            "event_id": message_id(event_id),
            "type": type,
            "version": TYPES.get(type, 1),
            "occurred_at": moment(at),
            **more,
        }
        return cls(event_id, type, orjson.dumps(envelope).decode())


def moment(at: datetime) -> str:
    """A moment as the API writes it: UTC, to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def message_id(event_id: int) -> str:
    """The `webhook-id` of an event: the same in every attempt, so that a receiver can tell what it has had."""
    return f"evt_{event_id:x}"
