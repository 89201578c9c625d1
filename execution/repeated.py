"""Heads that were sent before: what comes again byte by byte is not parsed again, as most of a client's requests do.

What stands behind a head is a function of its bytes alone; who sent it, and what was sent with it, is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass

END = b"\r\n\r\n"
HEADS_MAX = 2_000
# Longer ones are parsed each time, so that what is kept has a bound in bytes too.
HEAD_BYTES_KEPT_MAX = 4_096


@dataclass(frozen=True, slots=True)
class Parsed:
    """A POST's head of HTTP/1.1, of a connection that stays open, with the length of the body to come."""

    path: str
    raw_path: bytes
    query_string: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    length: int


_KNOWN: dict[bytes, Parsed] = {}


def known(data: bytes) -> tuple[Parsed, bytes] | None:
    """The head and the body of what is one whole request, whose head is known; None for anything else."""
    end = data.find(END) + len(END)
    parsed = _KNOWN.get(data[:end])
    if parsed is None or len(data) - end != parsed.length:
        return None
    return parsed, data[end:]


def remember(data: bytes, scope: dict[str, object], headers: list[tuple[bytes, bytes]]) -> None:
    """Keep the head of what was parsed as one whole request, where its body's length is said once and is what came."""
    end = data.find(END) + len(END)
    lengths = [value for name, value in headers if name in (b"content-length", b"transfer-encoding")]
    if end > HEAD_BYTES_KEPT_MAX or lengths != [b"%d" % (len(data) - end)]:
        return
    if len(_KNOWN) >= HEADS_MAX:
        _KNOWN.clear()
    _KNOWN[data[:end]] = Parsed(
        str(scope["path"]),
        bytes(scope["raw_path"]),  # type: ignore[call-overload]
        bytes(scope["query_string"]),  # type: ignore[call-overload]
        tuple(headers),
        len(data) - end,
    )
