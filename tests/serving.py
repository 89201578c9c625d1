"""A server of a test's own on loopback, and a client that connects to 127.0.0.1 and names the host it means.

`serving` runs it in the test's own loop over a world; `Process` is the command itself, as an operator starts it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import websockets

from db.bus_log import BusLogTransport
from execution import serving as servers
from server import Application, create_app
from tests.world import World

ROOT = Path(__file__).parents[1]
# What ends a wait that will never end; a crowded machine takes its time.
START_SECONDS_MAX = 240
STOP_SECONDS_MAX = 120
HEARD_SECONDS_MAX = 60


@dataclass
class Answer:
    """An HTTP answer read as GraphQL."""

    raw: httpx.Response

    @property
    def status(self) -> int:
        return self.raw.status_code

    @property
    def body(self) -> dict[str, Any]:
        return self.raw.json()

    @property
    def data(self) -> Any:
        """The data of an answer without errors."""
        assert "errors" not in self.body, self.body
        return self.body["data"]

    @property
    def codes(self) -> list[str]:
        """The codes of the errors."""
        return [error["extensions"]["code"] for error in self.body.get("errors", [])]


@dataclass
class Client:
    """Speaks to a port of loopback as to any host."""

    port: int
    world: World | None = None
    _http: httpx.AsyncClient = field(
        default_factory=lambda: httpx.AsyncClient(
            trust_env=False, timeout=120, limits=httpx.Limits(max_connections=200)
        )
    )

    @property
    def url(self) -> str:
        """Scheme, host and port of the central host."""
        return f"http://localhost:{self.port}"

    def tenant_url(self, slug: str) -> str:
        """Scheme, host and port of a tenant's host."""
        return f"http://{slug}.localhost:{self.port}"

    async def request(self, method: str, path: str = "/graphql", *, host: str = "localhost", **more) -> httpx.Response:
        """One request; `host` without port."""
        headers = {"host": f"{host}:{self.port}", **more.pop("headers", {})}
        return await self._http.request(method, f"http://127.0.0.1:{self.port}{path}", headers=headers, **more)

    async def graphql(
        self,
        query: str,
        variables: dict[str, Any] | None = None,
        *,
        host: str = "localhost",
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """A POST as most clients send it."""
        sent = {"authorization": f"Bearer {token}"} if token else {}
        body = {"query": query, **({"variables": variables} if variables is not None else {})}
        return Answer(await self.request("POST", host=host, json=body, headers={**sent, **(headers or {})}))

    async def stream(self, method: str, url: str, *, headers: dict[str, str] | None = None, content: bytes = b""):
        """A request to one of our signed URLs, wherever its host is said to be."""
        parts = httpx.URL(url)
        own = {"host": parts.netloc.decode(), **(headers or {})}
        target = parts.copy_with(host="127.0.0.1", port=self.port)
        return await self._http.request(method, target, headers=own, content=content)

    @contextlib.asynccontextmanager
    async def socket(
        self, *, host: str = "localhost", token: str | None = None, init: bool = True, **more
    ) -> AsyncIterator[Socket]:
        """A graphql-transport-ws socket, initialised unless told otherwise."""
        more.setdefault("subprotocols", ["graphql-transport-ws"])
        async with websockets.connect(
            f"ws://{host}:{self.port}/graphql",
            host="127.0.0.1",
            port=self.port,
            proxy=None,
            compression=None,
            **more,
        ) as raw:
            spoken = Socket(raw)
            if init:
                await spoken.send(
                    {"type": "connection_init", "payload": {"authorization": f"Bearer {token}"} if token else {}}
                )
                assert (await spoken.receive())["type"] == "connection_ack"
            yield spoken

    async def close(self) -> None:
        """Close the client's connections."""
        await self._http.aclose()


@dataclass
class Socket:
    """Messages as JSON over a WebSocket."""

    raw: websockets.ClientConnection

    async def send(self, message: dict[str, Any]) -> None:
        await self.raw.send(json.dumps(message))

    async def subscribe(self, key: str, query: str, variables: dict[str, Any] | None = None) -> None:
        await self.send({"id": key, "type": "subscribe", "payload": {"query": query, "variables": variables}})

    async def receive(self) -> dict[str, Any]:
        async with asyncio.timeout(HEARD_SECONDS_MAX):
            return json.loads(await self.raw.recv())

    async def closed(self) -> tuple[int, str]:
        """The code and reason the other side closes with; what it sends before is passed over."""
        with contextlib.suppress(websockets.ConnectionClosed):
            async with asyncio.timeout(HEARD_SECONDS_MAX):
                while True:
                    await self.raw.recv()
        return self.raw.close_code or 0, self.raw.close_reason or ""


@contextlib.asynccontextmanager
async def serving(world: World, *, with_worker: bool = False) -> AsyncIterator[Client]:
    """The product over a world's databases, in this loop, on a port of its own."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        make: functools.partial[Application] = functools.partial(create_app, world.settings, with_worker=with_worker)
        server = servers.Server(servers.configured(make, port=port))
        running = asyncio.create_task(server._serve([listener]))
        async with asyncio.timeout(START_SECONDS_MAX):
            while not server.started and not running.done():
                await asyncio.sleep(0.01)
        client = Client(port, world)
        # The world's house is another process to the server: what happens there has to be told.
        world.house.bus.start(BusLogTransport(world.house.sessions))
        try:
            yield client
        finally:
            await client.close()
            await world.house.bus.close()
            server.should_exit = True
            await asyncio.wait_for(running, STOP_SECONDS_MAX)


@dataclass
class Process:
    """`atrium serve` as an operator starts it; what it writes is kept."""

    port: int
    running: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        """Scheme, host and port of the central host."""
        return f"http://localhost:{self.port}"

    def tenant_url(self, slug: str) -> str:
        """Scheme, host and port of a tenant's host."""
        return f"http://{slug}.localhost:{self.port}"

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.running.send_signal(signal.SIGTERM)
        return self.running.wait(STOP_SECONDS_MAX)


def command(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `atrium …` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        env=_clean(environment),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def start(*arguments: str, environment: dict[str, str], out: BinaryIO) -> subprocess.Popen[bytes]:
    """Start `atrium …` and let it run; the caller ends it."""
    return subprocess.Popen(
        [sys.executable, "-m", "cli.main", *arguments],
        env=_clean(environment),
        cwd=ROOT,
        stdout=out,
        stderr=subprocess.STDOUT,
    )


@contextlib.contextmanager
def process(environment: dict[str, str], folder: Path, *arguments: str) -> Iterator[Process]:
    """`atrium serve` on a free port, answering; ended with the block."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    log = folder / f"serve.{port}.log"
    with log.open("wb") as out:
        running = start("serve", "--port", str(port), *arguments, environment=environment, out=out)
    try:
        _wait_until_it_answers(running, port, log)
        yield Process(port, running, log)
    finally:
        if running.poll() is None:
            running.terminate()
            try:
                running.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


def _wait_until_it_answers(running: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < until and running.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError(f"the server does not answer:\n{log.read_text()}")


def _clean(environment: dict[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ATRIUM_")}
    # Dozens of processes start: where nothing compiled is kept, each would compile the product anew for a second.
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**inherited, **environment}
