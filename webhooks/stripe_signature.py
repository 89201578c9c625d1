"""Whether a body was signed by the payment provider, lately, and is an event: over the raw bytes, before anything else.

The library's own verifier is not used: it accepts moments of the future, takes one secret a call, and raises what it
did not mean to on headers and bodies that were made to do so.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

TOLERANCE_SECONDS = 300
PARTS_MAX = 20
NAME_CHARACTERS_MAX = 255
TYPE_CHARACTERS_MAX = 80
_MOMENT = re.compile(r"[0-9]{1,11}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Rejected(Exception):
    """Not signed by the provider, not lately, or no event; says which, and nothing of the body."""


@dataclass(frozen=True, slots=True)
class Signed:
    """An event whose signature holds: its text and fields as the provider sent them, those that are needed checked."""

    name: str
    type: str
    created_s: int
    text: str
    fields: dict[str, Any]


def verify(body: bytes, header: str | None, secrets: Sequence[str], /, *, now_s: float) -> Signed:
    """The event in a body. `now_s` is the database's clock, Unix seconds. Raises Rejected and nothing else."""
    at, given = _parts(header)
    if abs(now_s - at) > TOLERANCE_SECONDS:
        raise Rejected("The signature is too old, or of the future.")
    signed = b"%d.%b" % (at, body)
    good = False
    for secret in secrets:
        wanted = hmac.digest(secret.encode(), signed, "sha256").hex()
        for digest in given:
            good |= hmac.compare_digest(wanted, digest)
    if not good:
        raise Rejected("The signature does not fit.")
    return _event(body)


def _parts(header: str | None) -> tuple[int, list[str]]:
    at, given = None, []
    for part in (header or "").split(",", PARTS_MAX)[:PARTS_MAX]:
        name, _, value = part.strip().partition("=")
        if name == "t" and _MOMENT.fullmatch(value):
            at = int(value)
        elif name == "v1" and _DIGEST.fullmatch(value):
            given.append(value)
    if at is None or not given:
        raise Rejected("There is no signature in Stripe-Signature.")
    return at, given


def _event(body: bytes) -> Signed:
    try:
        # Decoded here: the parser would take UTF-16 as well, which no column of ours keeps as it came.
        text = body.decode()
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise Rejected("The body is no JSON.") from None
    if not isinstance(fields, dict) or fields.get("object") != "event":
        raise Rejected("The body is no event.")
    name, kind, created = fields.get("id"), fields.get("type"), fields.get("created")
    if not _is_word(name, NAME_CHARACTERS_MAX) or not _is_word(kind, TYPE_CHARACTERS_MAX):
        raise Rejected("The event has no id or no type.")
    if not isinstance(created, int) or isinstance(created, bool) or not 0 <= created < 2**33:
        raise Rejected("The event does not say when it was created.")
    return Signed(str(name), str(kind), created, text, fields)


def _is_word(value: object, most: int) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable() and 0 < len(value) <= most
