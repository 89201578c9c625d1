"""What uploads and downloads over HTTP have in common: keys from paths, CORS, refusals as GraphQL errors.

The bytes themselves go through put.py and get.py.
"""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from starlette.types import Message, Receive, Scope, Send

from outside import blob

PREFLIGHT_SECONDS_MAX = 600
# The rest of a refused body is read away up to here, so that the client sees the answer and not a reset; what
# still comes after that meets a closed connection.
DRAIN_BYTES_MAX = 1024**2
DRAIN_SECONDS_MAX = 2.0

UPLOAD_HEADERS = "content-type, content-length, if-none-match"
DOWNLOAD_HEADERS = "range, if-none-match, if-range"
_EXPOSED = "accept-ranges, content-disposition, content-length, content-range, etag"
# The browser must take our word for the type, and may not run anything even where it does not.
SAFETY = {
    "x-content-type-options": "nosniff",
    "content-security-policy": (
        "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"
    ),
    "referrer-policy": "no-referrer",
}

_TOO_SLOW = 408

Headers = Mapping[str, str]
Allowed = Callable[[str], bool]


class Refused(Exception):
    """Ends a request with a status and a GraphQL-shaped body."""

    def __init__(self, status: int, code: str, *, message: str, headers: Headers | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


def bad_input(status: int, message: str) -> Refused:
    return Refused(status, "BAD_USER_INPUT", message=message)


def not_found() -> Refused:
    return Refused(404, "NOT_FOUND", message="There is no such file.")


class Endpoint(ABC):
    """One ASGI application over keys: answers preflights, turns Refused into bodies; `serve` does the rest."""

    prefix: str
    methods: tuple[str, ...]
    request_headers: str

    def __init__(self, *, cors: Allowed, host: Callable[[Scope], str]) -> None:
        self._cors = cors
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        given = header_map(scope)
        crossing = self._crossing(given.get("origin"))
        body = _Body(receive)
        try:
            key = self._key(scope)
            if scope["method"] == "OPTIONS":
                await self._preflight(given, crossing, send=send)
            elif scope["method"] not in self.methods:
                allow = {"allow": ", ".join((*self.methods, "OPTIONS"))}
                message = f"{scope['method']} is not served here."
                raise Refused(405, "BAD_USER_INPUT", message=message, headers=allow)
            else:
                await self.serve(scope, body.receive, send=send, key=key, headers=given, crossing=crossing)
        except Refused as refused:
            # Who asks whether to send a body at all is answered before it comes.
            spent = refused.status != _TOO_SLOW and "expect" not in given and await body.drain()
            close = {} if spent or not _has_body(given) else {"connection": "close"}
            refused.headers |= {**crossing, **close}
            await _send_refusal(refused, send=send, head=scope["method"] == "HEAD")

    @abstractmethod
    async def serve(
        self, scope: Scope, receive: Receive, *, send: Send, key: str, headers: Headers, crossing: Headers
    ) -> None:
        """Answer a request for a well-formed key. `crossing` are the CORS headers of the answer."""

    def _key(self, scope: Scope) -> str:
        # The raw path, before anything decoded it: a key needs no escapes, so one in the path is an attack.
        path: bytes = scope.get("raw_path") or scope["path"].encode()
        try:
            return blob.check_key(path.decode("ascii").removeprefix(self.prefix))
        except (blob.InvalidKey, UnicodeDecodeError):
            raise not_found() from None

    def _crossing(self, origin: str | None) -> dict[str, str]:
        if origin is None or not self._cors(origin):
            return {"vary": "origin"}
        return {"vary": "origin", "access-control-allow-origin": origin, "access-control-expose-headers": _EXPOSED}

    async def _preflight(self, given: Headers, crossing: Headers, *, send: Send) -> None:
        allow = ", ".join((*self.methods, "OPTIONS"))
        if "origin" in given and "access-control-allow-origin" not in crossing:
            raise Refused(403, "FORBIDDEN", message="This origin is not allowed.")
        answer = {**crossing, "allow": allow}
        if "origin" in given:
            answer["access-control-allow-methods"] = allow
            answer["access-control-allow-headers"] = self.request_headers
            answer["access-control-max-age"] = str(PREFLIGHT_SECONDS_MAX)
        await start(send, 204, answer)
        await send({"type": "http.response.body", "body": b""})


class _Body:
    """Knows whether a request's body has come to its end: asking again would wait for the hang-up."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ended = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._ended = message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message

    async def drain(self) -> bool:
        """Read on for a bounded while; whether the end came."""
        taken = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS_MAX):
                while not self._ended and taken <= DRAIN_BYTES_MAX:
                    taken += len((await self.receive()).get("body", b""))
        return self._ended


def header_map(scope: Scope) -> dict[str, str]:
    """Header names in lower case to values; a name sent twice is refused by its joined value."""
    found: dict[str, str] = {}
    raw: Iterable[tuple[bytes, bytes]] = scope["headers"]
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def host_header(scope: Scope) -> str:
    """The request's own Host header: for servers behind no proxy."""
    return header_map(scope).get("host", "")


async def start(send: Send, status: int, headers: Headers) -> None:
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def _send_refusal(refused: Refused, *, send: Send, head: bool) -> None:
    error = {"message": refused.message, "extensions": {"code": refused.code}}
    body = json.dumps({"errors": [error]}).encode()
    headers = {**refused.headers, **SAFETY, "content-type": "application/json"}
    headers |= {"content-length": str(len(body)), "cache-control": "no-store"}
    await start(send, refused.status, headers)
    await send({"type": "http.response.body", "body": b"" if head else body})


def _has_body(given: Headers) -> bool:
    return "transfer-encoding" in given or given.get("content-length", "0") != "0"
