"""Both stores behind one face for tests: the local one served by a real uvicorn, S3 by a real SeaweedFS."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import uvicorn
from starlette.applications import Starlette

from outside import files_local, files_s3
from outside.store import Store
from tests.outside.s3_server import ORIGIN, s3_server

SECRET = b"a secret of the test, 32 bytes.."
UPLOAD_BYTES_MAX = 64 * 1024**2
# A machine may stand still for as long as that amid an upload; whoever tests the limit asks for a shorter one.
IDLE_SECONDS = 60.0


@dataclass
class World:
    """`aged(n)` is the same store as it was n seconds ago: its links are that much older."""

    kind: str
    store: Store
    origin: str
    aged: Callable[[float], Store]
    root: Path
    place: files_s3.Place | None = None

    async def send(self, method: str, url: str, **given) -> httpx.Response:
        """As a browser would, but connected to loopback whatever the host is called."""
        parts = urlsplit(url)
        headers = dict(given.pop("headers", {}))
        if parts.hostname != "127.0.0.1":
            headers.setdefault("host", parts.netloc)
            url = urlunsplit(parts._replace(netloc=f"127.0.0.1:{parts.port}"))
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            return await client.request(method, url, headers=headers, **given)


def allowed(origin: str) -> bool:
    return origin == ORIGIN


@contextmanager
def served(app: Starlette) -> Iterator[int]:
    """The application on a free port of loopback, in a thread of its own."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        config = uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(20)


@contextmanager
def local_world(folder: Path, *, idle_seconds: float = IDLE_SECONDS) -> Iterator[World]:
    def aged(seconds: float) -> files_local.LocalStore:
        return files_local.LocalStore(
            folder / "store", secret=SECRET, upload_bytes_max=UPLOAD_BYTES_MAX, clock=lambda: time.time() - seconds
        )

    store = aged(0)
    routes = files_local.routes(store, cors=allowed, idle_seconds=idle_seconds)
    with served(Starlette(routes=routes)) as port:
        yield World("local", store, f"http://alice1.localhost:{port}", aged, folder / "store")


@contextmanager
def s3_world(folder: Path) -> Iterator[World]:
    with s3_server(folder) as s3:
        place = files_s3.Place(s3.bucket, "us-east-1", s3.endpoint, s3.endpoint, s3.access_key_id, s3.secret_access_key)

        def aged(seconds: float) -> files_s3.S3Store:
            return files_s3.S3Store(place, upload_bytes_max=UPLOAD_BYTES_MAX, clock=lambda: time.time() - seconds)

        yield World("s3", aged(0), "http://alice1.localhost:8000", aged, folder, place)
