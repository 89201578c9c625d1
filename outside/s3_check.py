"""What `atrium doctor` asks of a bucket: that we can write, that browsers may upload, that the public part is public.

Tried from outside, by doing it: reading a bucket's configuration needs rights that the server should not have.
"""

import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import httpx

from outside.blob import Missing, StoreError, StoreUnavailable, Upload

# The smallest GIF there is.
_PIXEL = bytes.fromhex("47494638396101000100800000000000ffffff2c00000000010001000002024401003b")
_NEEDED = ("content-type", "if-none-match", "x-amz-checksum-sha256")
_SOME_ORIGIN = "http://localhost"


class Probed(Protocol):
    """What is needed of an S3 store to try it."""

    async def upload_url(
        self, key: str, *, size_bytes: int, mime_type: str, sha256: str | None, origin: str
    ) -> Upload: ...
    def public_url(self, key: str, origin: str) -> str: ...
    def stream(self, key: str) -> AsyncIterator[bytes]: ...
    async def put_bytes(self, key: str, data: bytes, *, mime_type: str) -> None: ...
    async def delete(self, key: str) -> None: ...


async def problems(store: Probed, client: httpx.AsyncClient, *, origins: Sequence[str]) -> list[str]:
    """A sentence for each thing that is wrong and what to do about it. Leaves nothing in the bucket."""
    key = f"public/{secrets.token_hex(16)}.gif"
    try:
        await store.put_bytes(key, _PIXEL, mime_type="image/gif")
    except (StoreError, StoreUnavailable) as error:
        cause = str(error.__cause__ or error)[:300]
        return [f"the bucket cannot be written to: check endpoint, bucket and keys ({cause})"]
    try:
        found = await _public(client, store.public_url(key, _SOME_ORIGIN))
        for origin in origins:
            found += await _cors(store, client, origin=origin)
    finally:
        await store.delete(key)
    try:
        async for _ in store.stream(key):
            found.append("the bucket keeps deleted objects: remove its retention rule or object lock")
            break
    except Missing:
        pass
    return found


async def _public(client: httpx.AsyncClient, url: str) -> list[str]:
    try:
        answer = await client.get(url)
    except httpx.HTTPError as error:
        return [f"{url} does not answer: set public_endpoint to what browsers can reach ({error!r})"]
    if answer.status_code != httpx.codes.OK or answer.content != _PIXEL:
        return [f"{url} answers {answer.status_code}: allow everybody s3:GetObject on the bucket's public/*"]
    return []


async def _cors(store: Probed, client: httpx.AsyncClient, *, origin: str) -> list[str]:
    key = f"c/{secrets.token_hex(16)}"
    upload = await store.upload_url(key, size_bytes=1, mime_type="image/gif", sha256=None, origin=_SOME_ORIGIN)
    asked = {
        "origin": origin,
        "access-control-request-method": "PUT",
        "access-control-request-headers": ",".join(_NEEDED),
    }
    try:
        answer = await client.options(upload.url, headers=asked)
    except httpx.HTTPError as error:
        return [f"CORS for {origin} cannot be asked ({error!r})"]
    methods = answer.headers.get("access-control-allow-methods", "").upper()
    headers = answer.headers.get("access-control-allow-headers", "").lower()
    refused = [name for name in _NEEDED if name not in headers and headers.strip() != "*"]
    if answer.headers.get("access-control-allow-origin") not in (origin, "*") or "PUT" not in methods:
        return [f"the bucket's CORS does not allow PUT from {origin}: add it with AllowedMethods PUT, GET, HEAD"]
    if refused:
        return [f"the bucket's CORS does not allow the headers {', '.join(refused)} from {origin}: AllowedHeaders *"]
    return []
