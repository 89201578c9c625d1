"""Standard Webhooks: the three headers that tell a receiver who sent a body, and when."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

SECRET_BYTES_MIN = 16


def key_of(secret: str) -> bytes:
    """`whsec_<base64>` or plain base64 → the key. Raises ValueError (which never holds the secret)."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a webhook secret is whsec_ and base64") from None
    if len(key) < SECRET_BYTES_MIN:
        raise ValueError(f"a webhook secret has at least {SECRET_BYTES_MIN} bytes")
    return key


def sign(secrets: Sequence[str], *, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Headers for one body; during rotation one signature a secret. `timestamp` in seconds. Pure."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    marks = (hmac.new(key_of(secret), signed, hashlib.sha256).digest() for secret in secrets)
    signature = " ".join("v1," + base64.b64encode(mark).decode() for mark in marks)
    return {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": signature}
