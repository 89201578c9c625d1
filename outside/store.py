"""The object store as the rest of the house sees it, and the way to open the one that is configured.

What the methods promise stands here once; files_local and files_s3 keep it. Quotas, rows and who may have
what are not known here.
"""

import re
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from outside import files_local, files_s3
from outside.blob import (
    READ_BYTES_MAX,
    URL_SECONDS_MAX,
    AlreadyThere,
    Blob,
    InvalidKey,
    InvalidUpload,
    Missing,
    StoreError,
    StoreUnavailable,
    Upload,
)

__all__ = [
    "READ_BYTES_MAX",
    "URL_SECONDS_MAX",
    "AlreadyThere",
    "Blob",
    "InvalidKey",
    "InvalidUpload",
    "Missing",
    "Store",
    "StoreError",
    "StoreUnavailable",
    "Upload",
    "open_store",
]

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class Store(Protocol):
    """Every method that takes a key raises InvalidKey for one that is not ours, StoreUnavailable where S3 fails."""

    async def upload_url(self, key: str, *, size_bytes: int, mime_type: str, sha256: str | None, origin: str) -> Upload:
        """Where a client may PUT exactly these bytes once, for one hour. `sha256` in lower-case hex.

        Raises InvalidUpload (size, type, checksum, origin malformed or too large).
        """
        ...

    def download_url(self, key: str, *, mime_type: str, name: str, inline: bool, origin: str) -> str:
        """A link for one hour that sets type and disposition; whether the object exists is not asked."""
        ...

    def public_url(self, key: str, origin: str) -> str:
        """The lasting address of an object under `public/`; for S3 the origin does not count."""
        ...

    def public_urls(self, origin: str) -> Callable[[str], str]:
        """The same for many objects: what is asked of the origin is asked once."""
        ...

    async def head(self, key: str) -> Blob | None: ...

    async def read(self, key: str, *, start: int = 0, length: int) -> bytes:
        """Up to `length` bytes (≤ 16 MiB); fewer at the end, none past it. Raises Missing."""
        ...

    def stream(self, key: str) -> AsyncIterator[bytes]:
        """The whole object in pieces of at most a few MiB. Raises Missing at the first piece."""
        ...

    async def fetch_to(self, key: str, path: Path) -> None:
        """Write the object to a file of the caller's, which is replaced. Raises Missing, leaving no new file."""
        ...

    async def put_file(self, key: str, path: Path, *, mime_type: str) -> None:
        """Store a file of ours. Raises AlreadyThere; nothing is overwritten."""
        ...

    async def put_bytes(self, key: str, data: bytes, *, mime_type: str) -> None:
        """Store bytes of ours. Raises AlreadyThere; nothing is overwritten."""
        ...

    async def copy(self, source: str, target: str) -> None:
        """The same object under a second key, without moving bytes through us. Idempotent. Raises Missing."""
        ...

    async def delete(self, key: str) -> None:
        """Idempotent."""
        ...

    async def tidy(self) -> int:
        """Remove what interrupted transfers left behind (hours old); how many. Safe at any time."""
        ...

    async def check(self, origins: Sequence[str]) -> Sequence[str]:
        """For doctor: a sentence for each thing that is wrong and what to do; empty when all is well.

        `origins` are the frontends' (`https://app.example.com`), for which S3's CORS is tried.
        """
        ...

    async def close(self) -> None: ...

    def list(self, prefix: str) -> AsyncIterator[Blob]:
        """Every object under `""`, `t/`, `t/<tenant>/`, `c/` or `public/`, in no order. Raises InvalidKey."""
        ...


def open_store(
    url: str,
    *,
    secret: bytes,
    aws_access_key_id: str | None,
    aws_secret_access_key: str | None,
    upload_bytes_max: int,
) -> Store:
    """The store that `ATRIUM_STORAGE_URL` names: `file:///folder` (made where missing) or
    `s3://bucket?endpoint=…&region=…&public_endpoint=…`. Raises ValueError saying what is wrong with it.

    `/uploads` and `/files` are served for a `files_local.LocalStore` alone.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/") or parts.query:
            raise ValueError("ATRIUM_STORAGE_URL: a folder is given as file:///absolute/path")
        return files_local.LocalStore(Path(unquote(parts.path)), secret=secret, upload_bytes_max=upload_bytes_max)
    if parts.scheme != "s3" or not _BUCKET.fullmatch(parts.netloc) or parts.path not in ("", "/"):
        raise ValueError("ATRIUM_STORAGE_URL: give file:///absolute/path or s3://bucket?endpoint=…&region=…")
    if not aws_access_key_id or not aws_secret_access_key:
        raise ValueError("ATRIUM_STORAGE_URL: an s3:// store needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    options = _options(parts.query)
    region = options.get("region", "us-east-1")
    endpoint = options.get("endpoint", f"https://s3.{region}.amazonaws.com")
    place = files_s3.Place(
        bucket=parts.netloc,
        region=region,
        endpoint=endpoint,
        public_endpoint=options.get("public_endpoint", endpoint),
        access_key_id=aws_access_key_id,
        secret_access_key=aws_secret_access_key,
    )
    return files_s3.S3Store(place, upload_bytes_max=upload_bytes_max)


def _options(query: str) -> dict[str, str]:
    checks: dict[str, Callable[[str], str]] = {"endpoint": _endpoint, "public_endpoint": _endpoint, "region": _region}
    options: dict[str, str] = {}
    for name, values in parse_qs(query, keep_blank_values=True).items():
        if name not in checks or len(values) > 1:
            raise ValueError(f"ATRIUM_STORAGE_URL: {name!r} is unknown or said twice; there are {', '.join(checks)}")
        options[name] = checks[name](values[0])
    return options


def _endpoint(text: str) -> str:
    parts = urlsplit(text.rstrip("/"))
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query or "@" in parts.netloc:
        raise ValueError(f"ATRIUM_STORAGE_URL: an endpoint is http(s)://host[:port], not {text!r}")
    # SigV4 signs the Host header as clients send it, without the scheme's own port.
    port = {"http": ":80", "https": ":443"}[parts.scheme]
    return f"{parts.scheme}://{parts.netloc.lower().removesuffix(port)}"


def _region(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]{1,40}", text):
        raise ValueError(f"ATRIUM_STORAGE_URL: no region: {text!r}")
    return text
