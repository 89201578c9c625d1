"""How the house says no over HTTP before anything was executed: always a GraphQL body, in the media type asked for.

What a refusal inside an operation looks like is in `execution/response.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.types import Message, Scope, Send

from base import errors

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"
ACCEPT_RANGES_MAX = 30

Headers = list[tuple[bytes, bytes]]

# Answers are private: no cache on the way may keep one, and no browser may guess a type.
PRIVATE: Headers = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]


@dataclass(frozen=True, slots=True)
class No:
    """A refusal as it goes over the wire."""

    status: int
    code: str
    message: str
    headers: Headers = field(default_factory=list)
    extensions: Mapping[str, object] = field(default_factory=dict)
    cost: Mapping[str, int] | None = None

    @classmethod
    def of(cls, denial: errors.Denial) -> No:
        """The answer to a denial that ends the whole request."""
        status = denial.status if denial.status >= 400 else 403
        # With the error as well: over a WebSocket a refusal is its errors alone.
        cost = {} if denial.cost is None else {"cost": denial.cost}
        if isinstance(denial, errors.RateLimited):
            seconds = denial.retry_after_seconds
            later = [(b"retry-after", b"%d" % seconds)]
            return cls(status, denial.code, denial.message, later, {"retryAfter": seconds, **cost}, denial.cost)
        # Whoever did not send in time is not waited for a second time.
        ends = [(b"connection", b"close")] if isinstance(denial, errors.TimedOut) else []
        return cls(status, denial.code, denial.message, ends, cost, denial.cost)

    def body(self) -> bytes:
        """The GraphQL body."""
        error = {"message": self.message, "extensions": {"code": self.code, **self.extensions}}
        told: dict[str, object] = {"errors": [error]}
        if self.cost is not None:
            told["extensions"] = {"cost": self.cost}
        return orjson.dumps(told)


class Refused(Exception):
    """Ends a request with this answer."""

    def __init__(self, no: No) -> None:
        super().__init__(no.message)
        self.no = no


def bad(status: int, message: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> Refused:
    """A request that is no GraphQL request: 400, 405, 406, 413, 415."""
    return Refused(No(status, errors.BadUserInput.code, message, list(headers)))


def internal(request_id: str) -> No:
    """The one answer to every fault of ours."""
    return No(500, "INTERNAL", f"Something went wrong here. Tell us this request id: {request_id}")


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of this name (lower case)."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None


def negotiated(accept: str | None) -> str | None:
    """The media type to answer in; None where the client takes neither of ours."""
    if accept is None or accept in ("*/*", JSON):
        return JSON
    best: tuple[float, str] | None = None
    for part in accept.split(",", ACCEPT_RANGES_MAX)[:ACCEPT_RANGES_MAX]:
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        offered = {"*/*": JSON, "application/*": JSON, JSON: JSON, GRAPHQL: GRAPHQL}.get(kind)
        quality = _quality(parameters)
        # Of equals the first one named.
        if offered is not None and quality > 0 and (best is None or quality > best[0]):
            best = (quality, offered)
    return None if best is None else best[1]


def _quality(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
        if parameter.startswith("charset=") and parameter[8:].strip('"') not in ("utf-8", "utf8"):
            return 0.0
    return 1.0


def start(status: int, media_type: str, length: int, /, *, headers: Iterable[tuple[bytes, bytes]] = ()) -> Message:
    """The first message of a private answer."""
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (b"content-type", f"{media_type}; charset=utf-8".encode()),
            (b"content-length", b"%d" % length),
            *PRIVATE,
            *headers,
        ],
    }


async def refuse(scope: Scope, send: Send, no: No, /, *, meanwhile: Awaitable[None] | None = None) -> None:
    """Answer a request, or a WebSocket's handshake, with a refusal; the answer ends when `meanwhile` does."""
    body = no.body()
    first = start(no.status, negotiated(header(scope, b"accept")) or JSON, len(body), headers=no.headers)
    kind = "http.response"
    if scope["type"] == "websocket":
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 4403})
            return
        kind = "websocket.http.response"
        first["type"] = f"{kind}.start"
    await send(first)
    if meanwhile is not None:
        await send({"type": f"{kind}.body", "body": body, "more_body": True})
        await meanwhile
        body = b""
    await send({"type": f"{kind}.body", "body": body})


async def answer(send: Send, status: int, content: Any, /, *, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Plain JSON: health, readiness."""
    body = orjson.dumps(content)
    await send(start(status, JSON, len(body), headers=headers))
    await send({"type": "http.response.body", "body": body})
