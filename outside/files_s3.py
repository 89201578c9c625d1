"""Any S3-compatible store: clients reach it by links that we sign, our own transfers go through obstore.

Two of our own requests are signed here as well, because obstore cannot make them: a large PUT that refuses
to overwrite in constant memory, and a copy that sets the type of the new object.
"""

import asyncio
import base64
import os
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import httpx
import obstore
from obstore import exceptions as refused
from obstore.store import S3Store as Client

from outside import blob, presign, s3_check
from outside.blob import AlreadyThere, Blob, Missing, StoreUnavailable, Upload

CONNECT_SECONDS_MAX = 5
READ_SECONDS_MAX = 60
# A 2 GiB transfer at 5 Mbit/s; the pause between two pieces has the limit above.
TRANSFER_SECONDS_MAX = 3600
RETRIES_MAX = 3
RETRY_SECONDS_MAX = 15
# obstore keeps an object that must not be overwritten in memory: only small ones go that way.
OBSTORE_PUT_BYTES_MAX = 8 * 1024**2
STREAM_BYTES = 1024**2
LIST_BATCH = 500
PUBLIC_CACHE = "public, max-age=60"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bucket is for us (`endpoint`) and for clients (`public_endpoint`): `scheme://host[:port]`."""

    bucket: str
    region: str
    endpoint: str
    public_endpoint: str
    access_key_id: str
    secret_access_key: str


class S3Store:
    """A Store (outside/store.py) in one bucket. `clock` gives Unix seconds and dates the links."""

    def __init__(self, place: Place, *, upload_bytes_max: int, clock: Callable[[], float] = time.time) -> None:
        self._upload_bytes_max = upload_bytes_max
        self._clock = clock
        self._credentials = presign.Credentials(place.access_key_id, place.secret_access_key, place.region)
        self._ours = presign.Bucket(place.endpoint, place.bucket)
        self._clients = presign.Bucket(place.public_endpoint, place.bucket)
        self._client = Client(
            place.bucket,
            endpoint=place.endpoint,
            region=place.region,
            access_key_id=place.access_key_id,
            secret_access_key=place.secret_access_key,
            virtual_hosted_style_request=False,
            client_options={
                "allow_http": True,
                "connect_timeout": timedelta(seconds=CONNECT_SECONDS_MAX),
                "read_timeout": timedelta(seconds=READ_SECONDS_MAX),
                "timeout": timedelta(seconds=TRANSFER_SECONDS_MAX),
            },
            retry_config={"max_retries": RETRIES_MAX, "retry_timeout": timedelta(seconds=RETRY_SECONDS_MAX)},
        )
        self._tls = ssl.create_default_context()

    async def upload_url(self, key: str, *, size_bytes: int, mime_type: str, sha256: str | None, origin: str) -> Upload:
        blob.check_upload(key, size_bytes, mime_type=mime_type, sha256=sha256, bytes_max=self._upload_bytes_max)
        blob.check_origin(origin)
        headers = {"content-type": mime_type, "content-length": str(size_bytes), "if-none-match": "*"}
        if sha256 is not None:
            headers["x-amz-checksum-sha256"] = base64.b64encode(bytes.fromhex(sha256)).decode()
        return Upload(self._sign("PUT", key, bucket=self._clients, headers=headers), headers)

    def download_url(self, key: str, *, mime_type: str, name: str, inline: bool, origin: str) -> str:
        blob.check_origin(origin)
        shown = {
            "response-content-type": blob.served_type(mime_type),
            "response-content-disposition": blob.disposition(name, mime_type, inline=inline),
        }
        return self._sign("GET", blob.check_key(key), bucket=self._clients, query=shown)

    def public_url(self, key: str, origin: str) -> str:
        return self.public_urls(origin)(key)

    def public_urls(self, origin: str) -> Callable[[str], str]:
        blob.check_origin(origin)
        return blob.public_urls(f"{self._clients.endpoint}/{self._clients.name}/")

    async def head(self, key: str) -> Blob | None:
        try:
            with _told(blob.check_key(key)):
                found = await obstore.head_async(self._client, key)
        except Missing:
            return None
        return Blob(key, found["size"], found["last_modified"])

    async def read(self, key: str, *, start: int = 0, length: int) -> bytes:
        blob.check_span(start, length)
        # A range past the end is an error in S3's words and nothing in ours.
        found = await self.head(key)
        if found is None:
            raise Missing(key)
        end = min(start + length, found.size_bytes)
        if start >= end:
            return b""
        with _told(key):
            return bytes(await obstore.get_range_async(self._client, key, start=start, end=end))

    async def stream(self, key: str) -> AsyncGenerator[bytes, None]:
        with _told(blob.check_key(key)):
            found = await obstore.get_async(self._client, key)
            async for piece in found.stream(min_chunk_size=STREAM_BYTES):
                yield bytes(piece)

    async def fetch_to(self, key: str, path: Path) -> None:
        pieces = self.stream(key)
        try:
            # Asked for before the file is made: a missing object leaves none.
            piece = await anext(pieces, b"")
            with await asyncio.to_thread(path.open, "wb") as file:
                while piece:
                    await asyncio.to_thread(file.write, piece)
                    piece = await anext(pieces, b"")
        finally:
            await pieces.aclose()

    async def put_file(self, key: str, path: Path, *, mime_type: str) -> None:
        blob.check_put(key, mime_type)
        with await asyncio.to_thread(path.open, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= OBSTORE_PUT_BYTES_MAX:
                await self._put_small(key, await asyncio.to_thread(file.read), mime_type=mime_type)
            else:
                await self._put_large(key, file, size=size, mime_type=mime_type)

    async def put_bytes(self, key: str, data: bytes, *, mime_type: str) -> None:
        blob.check_put(key, mime_type)
        await self._put_small(key, data, mime_type=mime_type)

    async def copy(self, source: str, target: str) -> None:
        blob.check_key(source)
        headers = {"x-amz-copy-source": f"/{self._ours.name}/{source}"}
        if blob.is_public(blob.check_key(target)):
            # Nothing that the source's sender said of it goes along: a public object is what its key says.
            headers |= {
                "x-amz-metadata-directive": "REPLACE",
                "content-type": blob.public_type(target),
                "content-disposition": "inline",
                "cache-control": PUBLIC_CACHE,
            }
        await self._send_put(target, headers, content=b"")

    async def delete(self, key: str) -> None:
        with suppress(Missing), _told(blob.check_key(key)):
            await obstore.delete_async(self._client, key)

    async def tidy(self) -> int:
        """Nothing to do: an S3 PUT is whole or not there, and no multipart upload is ever begun."""
        await asyncio.sleep(0)
        return 0

    async def check(self, origins: Sequence[str]) -> Sequence[str]:
        async with self._plain_http() as client:
            return await s3_check.problems(self, client, origins=origins)

    async def close(self) -> None:
        """Nothing to do: obstore's connections end with the object."""
        await asyncio.sleep(0)

    async def list(self, prefix: str) -> AsyncIterator[Blob]:
        blob.check_prefix(prefix)
        with _told(prefix):
            async for batch in obstore.list(self._client, prefix.rstrip("/") or None, chunk_size=LIST_BATCH):
                for found in batch:
                    # The bucket may hold what others put there; it is none of ours to see or sweep.
                    with suppress(blob.InvalidKey):
                        yield Blob(blob.check_key(found["path"]), found["size"], found["last_modified"])

    async def _put_small(self, key: str, data: bytes, *, mime_type: str) -> None:
        attributes = {"Content-Type": mime_type, **_public_attributes(key)}
        with _told(key):
            await obstore.put_async(self._client, key, data, mode="create", attributes=attributes)

    async def _put_large(self, key: str, file: BinaryIO, *, size: int, mime_type: str) -> None:
        headers = {"content-type": mime_type, "content-length": str(size), "if-none-match": "*"}
        headers |= {name.lower(): value for name, value in _public_attributes(key).items()}
        await self._send_put(key, headers, content=_pieces(file))

    async def _send_put(self, key: str, headers: Mapping[str, str], *, content: bytes | AsyncIterator[bytes]) -> None:
        url = self._sign("PUT", key, bucket=self._ours, headers=headers)
        try:
            async with asyncio.timeout(TRANSFER_SECONDS_MAX), self._plain_http() as client:
                answer = await client.put(url, headers=dict(headers), content=content)
        except (httpx.HTTPError, TimeoutError) as error:
            raise StoreUnavailable("The object store does not answer.") from error
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise Missing(f"the source of {key}")
        if answer.status_code in (httpx.codes.PRECONDITION_FAILED, httpx.codes.CONFLICT):
            raise AlreadyThere(key)
        # A copy that fails half-way is told in the body of a 200.
        if not answer.is_success or b"<Error>" in answer.content:
            raise StoreUnavailable("The object store refused a transfer.") from RuntimeError(answer.text[:500])

    def _plain_http(self) -> httpx.AsyncClient:
        # One a call: these are rare, and a client kept longer would be tied to one event loop. No proxies from
        # the environment: the endpoint is what the operator said.
        limits = httpx.Timeout(READ_SECONDS_MAX, connect=CONNECT_SECONDS_MAX)
        return httpx.AsyncClient(timeout=limits, verify=self._tls, trust_env=False)

    def _sign(
        self,
        method: str,
        key: str,
        *,
        bucket: presign.Bucket,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> str:
        return presign.presign(
            method,
            bucket,
            key=key,
            credentials=self._credentials,
            at=datetime.fromtimestamp(self._clock(), UTC),
            expires_seconds=blob.URL_SECONDS_MAX,
            headers=headers,
            query=query,
        )


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, STREAM_BYTES):
        yield piece


def _public_attributes(key: str) -> dict[str, str]:
    return {"Content-Disposition": "inline", "Cache-Control": PUBLIC_CACHE} if blob.is_public(key) else {}


@contextmanager
def _told(key: str) -> Iterator[None]:
    """Refusals of obstore in the house's words."""
    try:
        yield
    except FileNotFoundError as error:
        raise Missing(key) from error
    except (refused.AlreadyExistsError, refused.PreconditionError) as error:
        raise AlreadyThere(key) from error
    except refused.BaseError as error:
        raise StoreUnavailable("The object store does not answer as it should.") from error
