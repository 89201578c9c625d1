"""Values that only we may read again: AES-256-GCM under a key of one tenant, bound to the place where they stand.

What is sealed is a `Sealed` wherever it goes; its text comes out of `Vault.open` alone. The column type is in
`db/columns.py`, sealing everything anew under a new key in `tenancy/resealing.py`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
NONCE_BYTES = 12
KEY_ID_CHARACTERS = 8
FORMAT = "1"


class SealBroken(Exception):
    """The value was altered, moved to another place, or sealed under a key that this process does not have."""


class Sealed:
    """A sealed value as it is stored: `1.<key id>.<base64url of nonce and ciphertext>`. It never shows itself."""

    __slots__ = ("_stored",)

    def __init__(self, stored: str) -> None:
        self._stored = stored

    @property
    def stored(self) -> str:
        """The text that a column keeps."""
        return self._stored

    @property
    def key_id(self) -> str:
        """Under which secret key it was sealed."""
        return self._stored.split(".")[1] if self._stored.count(".") == 2 else ""

    def __repr__(self) -> str:
        return "<sealed>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sealed) and self._stored == other._stored

    def __hash__(self) -> int:
        return hash(self._stored)

    def __reduce__(self) -> str:
        raise TypeError("a sealed value is not copied out of its row")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands. It opens there and nowhere else."""

    table: str
    column: str
    tenant: str
    row_id: int

    def bound(self) -> bytes:
        """What is authenticated beside the value, unambiguous whatever the parts hold."""
        return orjson.dumps([FORMAT, self.table, self.column, self.tenant, self.row_id])


class Vault:
    """Seals under the first of the secret keys and opens under any of them."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._secrets = {key_id(secret): secret for secret in reversed(secrets)}
        self._newest = key_id(secrets[0])

    def __repr__(self) -> str:
        return f"Vault({len(self._secrets)} keys)"

    def seal(self, text: str, place: Place) -> Sealed:
        """Seal a text for its place; never twice the same."""
        nonce = os.urandom(NONCE_BYTES)
        cipher = self._cipher(self._newest, place).encrypt(nonce, text.encode(), place.bound())
        return Sealed(f"{FORMAT}.{self._newest}.{base64.urlsafe_b64encode(nonce + cipher).decode()}")

    def open(self, sealed: Sealed, place: Place) -> str:
        """The text. Raises SealBroken, which tells nothing of the value."""
        version, _, rest = sealed.stored.partition(".")
        by, _, body = rest.partition(".")
        try:
            raw = base64.b64decode(body, altchars=b"-_", validate=True)
            if version != FORMAT or by not in self._secrets:
                raise SealBroken(f"{place.table}.{place.column}: sealed under a key that is not known here")
            return self._cipher(by, place).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], place.bound()).decode()
        except (InvalidTag, binascii.Error, ValueError):
            raise SealBroken(f"{place.table}.{place.column}: altered, or moved from another row") from None

    def is_newest(self, sealed: Sealed) -> bool:
        """Whether it was sealed under the key that seals now."""
        return sealed.key_id == self._newest

    def _cipher(self, by: str, place: Place) -> AESGCM:
        return AESGCM(_derived(self._secrets[by], f"atrium seal of tenant {place.tenant}"))


def key_id(secret: bytes) -> str:
    """Eight hexadecimal digits that name a secret key and tell nothing of it."""
    return hashlib.sha256(_derived(secret, "atrium key id")).hexdigest()[:KEY_ID_CHARACTERS]


def _derived(secret: bytes, label: str) -> bytes:
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=label.encode()).derive(secret)
