"""What every object store speaks of: keys, blobs, uploads, the errors, and how bytes of strangers are served.

Where objects are kept is the business of files_local and files_s3; who may have one is decided by the caller.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, urlsplit

from base import errors
from outside import sniff

URL_SECONDS_MAX = 3600
READ_BYTES_MAX = 16 * 1024**2
CHUNK_BYTES = 256 * 1024
NAME_CHARS_MAX = 200

# The extensions a public key may have; the type of a public file is told from its key alone.
PUBLIC_TYPES = {
    "mp4": "video/mp4",
    "webm": "video/webm",
    "gif": "image/gif",
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
}

# t/<tenant in hex>/<32 hex>: a tenant's. c/<32 hex>: the centre's own. public/<32 hex>.<ext>: anybody's who knows it.
_PRIVATE = re.compile(r"(?:t/[0-9a-f]{2,128}|c)/[0-9a-f]{32}")
_PUBLIC = re.compile(rf"public/[0-9a-f]{{32}}\.(?:{'|'.join(PUBLIC_TYPES)})")
_PREFIX = re.compile(r"(?:t/(?:[0-9a-f]{2,128}/)?|c/|public/)?")
_WORD = r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}"
_MIME = re.compile(rf"{_WORD}/{_WORD}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9._\-\[\]:]{1,261}")
_UNFIT_IN_NAME = re.compile(r'[\x00-\x1f\x7f-\x9f/\\"<>:|?*\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]')


class StoreError(Exception):
    """A store said no; the kinds below say why."""


class InvalidKey(StoreError, ValueError):
    """The key or prefix has not the shape of ours: a bug or an attack, never a path to look at."""


class InvalidUpload(StoreError, ValueError):
    """Size, type, checksum or origin of a promised upload are malformed or beyond the limits."""


class Missing(StoreError):
    """No object under this key."""


class AlreadyThere(StoreError):
    """An object stands under this key; nothing is ever overwritten."""


class StoreUnavailable(errors.ProviderUnavailable):
    """The store does not answer, or answers with a failure of its own."""


@dataclass(frozen=True, slots=True)
class Blob:
    """One stored object; `modified_at` has a zone (UTC)."""

    key: str
    size_bytes: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class Upload:
    """Where a client PUTs its bytes, and the headers it must send with them."""

    url: str
    headers: dict[str, str]


def check_key(key: str) -> str:
    """The key itself. Raises InvalidKey for any that this house did not make."""
    if _PRIVATE.fullmatch(key) or _PUBLIC.fullmatch(key):
        return key
    raise InvalidKey(f"no key of ours: {key[:200]!r}")


def check_prefix(prefix: str) -> str:
    """The prefix itself: empty, `t/`, `t/<tenant>/`, `c/` or `public/`. Raises InvalidKey."""
    if _PREFIX.fullmatch(prefix):
        return prefix
    raise InvalidKey(f"no prefix of ours: {prefix[:200]!r}")


def is_public(key: str) -> bool:
    return key.startswith("public/")


def public_type(key: str) -> str:
    """The MIME type of a public key, told from its extension. Raises InvalidKey."""
    if not _PUBLIC.fullmatch(key):
        raise InvalidKey(f"no public key: {key[:200]!r}")
    return PUBLIC_TYPES[key.rpartition(".")[2]]


# Public keys that are known to be keys of ours: lists show the same ones again and again.
CHECKED_KEYS_MAX = 20_000
_CHECKED: set[str] = set()


def public_urls(beginning: str) -> Callable[[str], str]:
    """What makes the address of a public key. It raises InvalidKey."""

    def url(key: str) -> str:
        if key not in _CHECKED:
            public_type(key)
            if len(_CHECKED) >= CHECKED_KEYS_MAX:
                _CHECKED.clear()
            _CHECKED.add(key)
        return beginning + key

    return url


def check_upload(key: str, size_bytes: int, *, mime_type: str, sha256: str | None, bytes_max: int) -> None:
    """Raises InvalidKey or InvalidUpload. A public key takes no uploads: only what was looked at is published."""
    if not _PRIVATE.fullmatch(key):
        raise InvalidKey(f"no key for uploads: {key[:200]!r}")
    if not 1 <= size_bytes <= bytes_max:
        raise InvalidUpload(f"an upload has 1 to {bytes_max} bytes, not {size_bytes}")
    if not _MIME.fullmatch(mime_type):
        raise InvalidUpload(f"no MIME type in lower case without parameters: {mime_type[:200]!r}")
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise InvalidUpload("a SHA-256 is 64 hexadecimal digits in lower case")


def check_put(key: str, mime_type: str) -> None:
    """What our own code stores. Raises InvalidKey, InvalidUpload; a public key's extension must tell the type."""
    check_key(key)
    if not _MIME.fullmatch(mime_type) or (is_public(key) and public_type(key) != mime_type):
        raise InvalidUpload(f"{mime_type[:200]!r} does not fit {key}")


def check_span(start: int, length: int) -> None:
    """Raises ValueError unless `start` ≥ 0 and `length` is 1 to 16 MiB: a read is held in memory whole."""
    if start < 0 or not 1 <= length <= READ_BYTES_MAX:
        raise ValueError(f"a read takes 1 to {READ_BYTES_MAX} bytes from 0 on, not {length} from {start}")


def check_origin(origin: str) -> str:
    """`scheme://host[:port]` in lower case. Raises InvalidUpload."""
    if not _ORIGIN.fullmatch(origin):
        raise InvalidUpload(f"no origin: {origin[:200]!r}")
    return origin.lower()


def host_of(origin: str) -> str:
    """Host and port of an origin as a client's Host header says them: the scheme's own port is left out."""
    return bare_host(urlsplit(check_origin(origin)).netloc)


def bare_host(host: str) -> str:
    """A Host header in lower case without the ports 80 and 443, which browsers leave out."""
    return host.lower().removesuffix(":80").removesuffix(":443")


def served_type(mime_type: str) -> str:
    """The type that bytes are served with: one that media players know, otherwise no type at all.

    So an upload that calls itself HTML, SVG or script is never run by a browser on our names.
    """
    return mime_type if mime_type in sniff.TYPES else "application/octet-stream"


def fit_name(name: str) -> str:
    """A file name for a header and a disk of any kind: no paths, control or direction characters, 200 at most."""
    return _UNFIT_IN_NAME.sub("_", name).strip(". ")[:NAME_CHARS_MAX] or "file"


def disposition(name: str, mime_type: str, *, inline: bool) -> str:
    """A Content-Disposition (RFC 6266); what is no media type of ours is always an attachment."""
    kind = "inline" if inline and mime_type in sniff.TYPES else "attachment"
    fit = fit_name(name)
    plain = fit.encode("ascii", "replace").decode().replace("?", "_").replace("%", "_").replace(";", "_")
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(fit, safe='')}"
