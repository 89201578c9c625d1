"""What somebody says of bytes that they are going to upload, checked before a URL is signed for them.

Whether the bytes that then arrive are those is looked at where the upload is completed.
"""

import re

from base import errors
from outside import sniff

_SHA256 = re.compile(r"[0-9a-f]{64}")


def mime_type(text: str, /, *field: str) -> str:
    """The type without parameters in lower case. Raises Invalid for what is neither video, image nor sound."""
    plain = text[:200].partition(";")[0].strip().lower()
    if not any(sniff.agrees(plain, known) for known in sniff.TYPES):
        raise errors.Invalid(
            "Files of this type are not kept: send a video, an image or sound, e.g. video/mp4.", *field
        )
    return plain


def size(size_bytes: int, /, *field: str, most: int) -> int:
    """The size in bytes, 1 to `most`. Raises Invalid."""
    if size_bytes < 1:
        raise errors.Invalid("An upload has at least 1 byte.", *field)
    if size_bytes > most:
        raise errors.Invalid(f"An upload has at most {most:,} bytes.", *field)
    return size_bytes


def sha256(text: str | None, /, *field: str) -> str | None:
    """The checksum in lower-case hexadecimal. Raises Invalid."""
    if text is None:
        return None
    plain = text[:100].strip().lower()
    if not _SHA256.fullmatch(plain):
        raise errors.Invalid("A SHA-256 is 64 hexadecimal digits.", *field)
    return plain
