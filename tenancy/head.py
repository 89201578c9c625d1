"""What a request's headers say, read once for all requests that say the same, as a client's requests mostly do.

Nothing is decided here: who stands behind a host or an access token is asked anew for each request.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import Scope

from base import errors
from base.settings import Settings
from tenancy import answers, hosts
from tenancy.answers import Headers
from tenancy.origins import Origins

HEADS_MAX = 2_000
# Longer ones are read each time, so that what is kept has a bound in bytes too.
HEAD_BYTES_KEPT_MAX = 4_096
VARY = (b"vary", b"Accept")

Raw = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Head:
    """The headers that decide something. `peer` is None where the host cannot be read."""

    peer: hosts.Peer | None
    is_central: bool
    authorizations: tuple[str, ...]
    origin_headers: Headers
    media: str | None
    content_type: str
    content_encoding: str
    content_length: str
    # Of an answer on `/graphql`: every header that does not depend on the answer, as lines.
    lines: bytes

    @property
    def authorization(self) -> str | None:
        """The one Authorization header. Raises BadUserInput where there are more."""
        if len(self.authorizations) > 1:
            raise errors.BadUserInput("Send one Authorization header.")
        return self.authorizations[0] if self.authorizations else None


class Heads:
    """One process's heads, by the bytes that were sent."""

    def __init__(self, settings: Settings, origins: Origins) -> None:
        self._settings = settings
        self._origins = origins
        self._known: dict[tuple[Raw, str, str], Head] = {}

    def of(self, scope: Scope) -> Head:
        """The head of a request or a WebSocket's handshake."""
        client = scope["client"]
        key = (tuple(scope["headers"]), client[0] if client else "", scope["scheme"])
        head = self._known.get(key)
        if head is None:
            head = self._read(*key)
            if sum(len(name) + len(value) for name, value in key[0]) <= HEAD_BYTES_KEPT_MAX:
                if len(self._known) >= HEADS_MAX:
                    self._known.clear()
                self._known[key] = head
        return head

    def _read(self, headers: Raw, client: str, scheme: str) -> Head:
        first: dict[bytes, str] = {}
        for name, value in headers:
            first.setdefault(name, value.decode("latin-1"))
        try:
            peer = hosts.read_peer(
                headers,
                client,
                scheme="https" if scheme in ("https", "wss") else "http",
                networks=self._settings.trusted_proxies,
            )
        except errors.BadUserInput:
            peer = None
        media, of_origin = answers.negotiated(first.get(b"accept")), self._origins.headers(first.get(b"origin"))
        kind = (b"content-type", f"{media}; charset=utf-8".encode())
        return Head(
            peer=peer,
            is_central=peer is not None and hosts.is_central(peer.host, self._settings.base_domain),
            authorizations=tuple(value.decode("latin-1") for name, value in headers if name == b"authorization"),
            origin_headers=of_origin,
            media=media,
            lines=_lines([kind, *answers.PRIVATE, VARY, *of_origin]),
            content_type=first.get(b"content-type", ""),
            content_encoding=first.get(b"content-encoding", ""),
            content_length=first.get(b"content-length", ""),
        )


def _lines(headers: Headers) -> bytes:
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    # An origin is told back as it was sent, and what ends a line never comes in a header that was read.
    if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers):
        raise ValueError("a header of an answer holds the end of a line")
    return lines
