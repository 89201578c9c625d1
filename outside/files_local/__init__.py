"""The embedded object store: a folder on disk, and the two HTTP endpoints that clients reach it by.

`LocalStore` is the store for our own code, `routes` are the endpoints; disk.py keeps the files, links.py
the signatures, put.py and get.py move the bytes.
"""

import asyncio
import io
import itertools
import os
import shutil
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from pathlib import Path

from starlette.routing import Mount
from starlette.types import Scope

from outside import blob
from outside.blob import Blob, Upload
from outside.files_local import disk as disks
from outside.files_local import http
from outside.files_local.disk import Disk, off_loop
from outside.files_local.get import Downloads
from outside.files_local.links import DownloadGrant, Links, UploadGrant
from outside.files_local.put import IDLE_SECONDS_MAX, Uploads

FREE_BYTES_MIN = 1024**3
LIST_BATCH = 500


class LocalStore:
    """A Store (outside/store.py) in one folder; several processes may share it. `clock` gives Unix seconds."""

    def __init__(
        self, root: Path, *, secret: bytes, upload_bytes_max: int, clock: Callable[[], float] = time.time
    ) -> None:
        self.disk = Disk(root)
        self.links = Links(secret, clock=clock)
        self._clock = clock
        self._upload_bytes_max = upload_bytes_max

    async def upload_url(self, key: str, *, size_bytes: int, mime_type: str, sha256: str | None, origin: str) -> Upload:
        blob.check_upload(key, size_bytes, mime_type=mime_type, sha256=sha256, bytes_max=self._upload_bytes_max)
        url = self.links.upload_url(UploadGrant(key, size_bytes, mime_type, sha256), origin)
        return Upload(url, {"content-type": mime_type, "content-length": str(size_bytes)})

    def download_url(self, key: str, *, mime_type: str, name: str, inline: bool, origin: str) -> str:
        grant = DownloadGrant(blob.check_key(key), mime_type, blob.fit_name(name), inline)
        return self.links.download_url(grant, origin)

    def public_url(self, key: str, origin: str) -> str:
        return self.public_urls(origin)(key)

    def public_urls(self, origin: str) -> Callable[[str], str]:
        return blob.public_urls(f"{blob.check_origin(origin)}/files/")

    async def head(self, key: str) -> Blob | None:
        return await off_loop(self.disk.head, key)

    async def read(self, key: str, *, start: int = 0, length: int) -> bytes:
        blob.check_span(start, length)

        def look() -> bytes:
            with self.disk.open(key) as file:
                return disks.read_at(file, start, length=length)

        return await off_loop(look)

    async def stream(self, key: str) -> AsyncGenerator[bytes, None]:
        file = await off_loop(self.disk.open, key)
        try:
            while data := await off_loop(file.read, blob.CHUNK_BYTES):
                yield data
        finally:
            await off_loop(file.close)

    async def fetch_to(self, key: str, path: Path) -> None:
        def fetch() -> None:
            # Bytes, no link: what a job does to its own copy must not reach the stored one.
            with self.disk.open(key) as source, path.open("wb") as target:
                shutil.copyfileobj(source, target, blob.CHUNK_BYTES)

        await off_loop(fetch)

    async def put_file(self, key: str, path: Path, *, mime_type: str) -> None:
        blob.check_put(key, mime_type)

        def put() -> None:
            with path.open("rb") as source:
                self.disk.put(key, source)

        await off_loop(put)

    async def put_bytes(self, key: str, data: bytes, *, mime_type: str) -> None:
        blob.check_put(key, mime_type)
        await off_loop(self.disk.put, key, io.BytesIO(data))

    async def copy(self, source: str, target: str) -> None:
        await off_loop(self.disk.copy, source, target)

    async def delete(self, key: str) -> None:
        await off_loop(self.disk.delete, key)

    async def tidy(self) -> int:
        return await off_loop(self.disk.tidy, self._clock())

    async def check(self, origins: Sequence[str]) -> Sequence[str]:
        problems = []
        # The endpoints ask the server's own `cors` for each request: there is no configuration to compare with.
        del origins
        if not os.access(self.disk.root, os.R_OK | os.W_OK | os.X_OK):
            problems.append(f"{self.disk.root} is not readable and writable: give this user the folder")
        free = await off_loop(shutil.disk_usage, self.disk.root)
        if free.free < FREE_BYTES_MIN:
            problems.append(f"{self.disk.root} has {free.free // 1024**2} MiB left: make room or move the folder")
        return problems

    async def close(self) -> None:
        """Nothing is held open between calls."""
        await asyncio.sleep(0)

    async def list(self, prefix: str) -> AsyncIterator[Blob]:
        walk = self.disk.walk(blob.check_prefix(prefix))
        while batch := await off_loop(tuple[Blob, ...], itertools.islice(walk, LIST_BATCH)):
            for found in batch:
                yield found


def routes(
    store: LocalStore,
    *,
    cors: Callable[[str], bool],
    host: Callable[[Scope], str] = http.host_header,
    idle_seconds: float = IDLE_SECONDS_MAX,
) -> list[Mount]:
    """`/uploads/…` and `/files/…` of this store.

    `cors` says which origins may call; `host` tells the host a request was sent to as the links' origin says
    it (behind a trusted proxy, the forwarded one).
    """
    uploads = Uploads(store.disk, store.links, cors=cors, host=host, idle_seconds=idle_seconds)
    downloads = Downloads(store.disk, store.links, cors=cors, host=host)
    return [Mount("/uploads", app=uploads), Mount("/files", app=downloads)]
