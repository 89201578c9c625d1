"""Signatures for links: HMAC-SHA256 under a key derived from the secret, compared in constant time.

What a link holds and how long it lives is in files_local/links.py; S3's own signature is in presign.py.
"""

import base64
import hmac
from hashlib import sha256

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SECRET_BYTES_MIN = 16
KEY_BYTES = 32
SIGNATURE_CHARS = 43


def derive(secret: bytes, label: str) -> bytes:
    """A key of 32 bytes for one purpose (HKDF-SHA256, the label as info): one tells nothing of another.

    Raises ValueError for a secret of less than 16 bytes.
    """
    if len(secret) < SECRET_BYTES_MIN:
        raise ValueError(f"a secret has at least {SECRET_BYTES_MIN} bytes")
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=label.encode()).derive(secret)


class Signer:
    """Signs lists of strings; the list's borders are part of what is signed."""

    def __init__(self, secret: bytes, *, label: str) -> None:
        self._keyed = hmac.new(derive(secret, label), digestmod=sha256)

    def sign(self, *parts: str) -> str:
        """43 URL-safe characters."""
        mac = self._keyed.copy()
        for part in parts:
            raw = part.encode("utf-8", "surrogatepass")
            # The length before each part: ("ab", "c") and ("a", "bc") must not share a signature.
            mac.update(b"%d:%b" % (len(raw), raw))
        return base64.urlsafe_b64encode(mac.digest()).rstrip(b"=").decode()

    def verify(self, signature: str, *parts: str) -> bool:
        """Whether `sign(*parts)` is this signature; never raises, whatever characters a stranger sent."""
        given = signature.encode("utf-8", "surrogatepass")
        return hmac.compare_digest(self.sign(*parts).encode(), given)
