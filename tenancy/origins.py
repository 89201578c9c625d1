"""Which web pages of other origins may call: those the operator named, and loopback's in the embedded set-up."""

from __future__ import annotations

from urllib.parse import urlsplit

from base.settings import Settings

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
ORIGIN_CHARACTERS_MAX = 300
PREFLIGHT_SECONDS = 600

Headers = list[tuple[bytes, bytes]]


class Origins:
    """Answers for one process's settings. No cookie is ever read, so credentials are never allowed."""

    def __init__(self, settings: Settings) -> None:
        self._named = frozenset(origin.lower() for origin in settings.cors_origins)
        self._embedded = settings.embedded

    def allows(self, origin: str) -> bool:
        """Whether a page of this origin may call and read answers."""
        origin = origin.lower()
        if len(origin) > ORIGIN_CHARACTERS_MAX or origin == "null":
            return False
        return origin in self._named or (self._embedded and _is_loopback(origin))

    def welcomes(self, origin: str | None, *, own: str) -> bool:
        """Whether a WebSocket may be opened from this origin: none (no browser), its own, or an allowed one."""
        return origin is None or origin.lower() == own or self.allows(origin)

    def headers(self, origin: str | None, *, preflight: bool = False) -> Headers:
        """What to answer with; nothing of it for an origin that is not allowed."""
        found: Headers = [(b"vary", b"Origin")]
        if origin is None or not self.allows(origin):
            return found
        found.append((b"access-control-allow-origin", origin.encode("latin-1")))
        if preflight:
            found += [
                (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
                (b"access-control-allow-headers", b"authorization, content-type, accept"),
                (b"access-control-max-age", b"%d" % PREFLIGHT_SECONDS),
            ]
        else:
            found.append((b"access-control-expose-headers", b"x-request-id, retry-after"))
        return found


def _is_loopback(origin: str) -> bool:
    try:
        parts = urlsplit(origin)
        _ = parts.port
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        return False
    host = parts.hostname or ""
    return host in LOOPBACK_HOSTS or host.endswith(".localhost")
