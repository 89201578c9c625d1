"""The server under the app: uvicorn with this house's limits on headers, patience and frames, and its way of stopping.

What is served is not known here (`server.py`).
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import deque
from collections.abc import Callable, Sequence
from socket import socket
from typing import Any, Protocol, runtime_checkable
from urllib.parse import unquote

import httptools
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import multiprocess

from base import errors
from execution import repeated
from execution.exchange import EXCHANGE, Exchange
from execution.planning import SWITCH_SECONDS
from tenancy.answers import No

STOP_SECONDS_MAX = 20
HEADER_SECONDS_MAX = 15.0
HEADER_BYTES_MAX = 32 * 1024
HEADERS_MAX = 100
IDLE_SECONDS_MAX = 15
FRAME_BYTES_MAX = 256 * 1024
FRAMES_QUEUED_MAX = 16
PING_SECONDS = 20.0
# New objects between two looks for circles. Each look holds everybody up, for 10 ms at so many; an answer of 1,000 rows
# makes some thousands, and no circles.
GC_THRESHOLD = 15_000
Headers = Sequence[tuple[bytes, bytes]]
ASGI = {"version": "3.0", "spec_version": "2.3"}

TOO_LARGE = No(431, errors.BadUserInput.code, "The request's headers are too large or too many.")


class TooLarge(Exception):
    """Ends the parsing of a connection that has been answered."""


@runtime_checkable
class Leaving(Protocol):
    """An app that can be told that the server stops."""

    async def leave(self) -> None:
        """Say goodbye to those who would stay; called when nobody is accepted any more."""


@runtime_checkable
class Prompt(Protocol):
    """An app that answers, without a task, what it need not wait for anybody to answer."""

    def at_once(self, exchange: Exchange) -> bool:
        """Whether a request that is there as a whole has been answered; if not, the app is called with it."""


class Connection(HttpToolsProtocol):
    """A connection that must send its headers in time and bounds; what is no HTTP gets a GraphQL body too.

    A head, and a whole request, mostly come in one read: a timer is set only for what is still to come after it.
    """

    # uvicorn calls its own kind of exchange a cycle; here it is ours.
    cycle: Exchange | None  # type: ignore[assignment]
    pipeline: deque[tuple[Exchange, ASGIApp]]  # type: ignore[assignment]
    scope: Any
    _patience: asyncio.TimerHandle | None = None
    _idle: asyncio.TimerHandle | None = None
    _quiet_since = 0.0
    _read_bytes = 0
    _head_bytes = 0
    _in_head = True
    # Nothing of a request was read since the last one was complete.
    _is_between = True
    _begun = 0
    _unserved: Exchange | None = None
    _prompt: Prompt | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._prompt = self.app if isinstance(self.app, Prompt) else None
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        known = repeated.known(data) if self._is_between else None
        if known is not None:
            self._stop_waiting()
            self._again(*known)
        else:
            self._parse(data)
        exchange, self._unserved = self._unserved, None
        if exchange is None:
            return
        # A request that came in one read is mostly known to the app as well.
        if self._prompt is not None and exchange.is_whole and self._prompt.at_once(exchange):
            exchange.leave()
        else:
            self._start(exchange)

    def _again(self, parsed: repeated.Parsed, body: bytes) -> None:
        """A whole request whose head was parsed before."""
        self.scope = self._scoped("POST", "1.1", parsed.path, parsed.raw_path, parsed.query_string, parsed.headers)
        self.expect_100_continue = False
        exchange = self._begin(keeps=True)
        exchange.body, exchange.more_body = body, False
        exchange.tell()

    def _parse(self, data: bytes) -> None:
        was_between, self._begun, self._read_bytes = self._is_between, 0, len(data)
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        exchange = self.cycle
        if was_between and self._is_between and self._begun == 1 and exchange is not None:
            self._remember(exchange, data)
        if self._in_head and not self.transport.is_closing():
            if self._head_bytes > HEADER_BYTES_MAX:
                self._say(TOO_LARGE)
            else:
                self._wait_for_head()

    def _remember(self, exchange: Exchange, data: bytes) -> None:
        """Keep the head of what was one whole request, where the same bytes would be the same request again."""
        is_plain = exchange.keep_alive and not exchange.waits_for_100 and exchange.scope is self.scope
        if is_plain and self.scope["method"] == "POST" and data.endswith(repeated.END + exchange.body):
            repeated.remember(data, self.scope, self.headers)

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._is_between = False
        self._begun += 1
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_waiting()
        if self._is_too_large():
            self._say(TOO_LARGE)
            raise TooLarge
        parser, version = self.parser, self.parser.get_http_version()
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        method = parser.get_method().decode("ascii")
        path = unquote(path) if "%" in path else path
        self.scope = self._scoped(method, version, path, url.path, url.query or b"", self.headers)
        if not (parser.should_upgrade() and self._should_upgrade()):
            self._begin(keeps=version != "1.0" and parser.should_keep_alive())

    def _scoped(
        self, method: str, version: str, path: str, raw_path: bytes, query: bytes, headers: Headers, /
    ) -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": ASGI,
            "http_version": version,
            "method": method,
            "scheme": self.scheme,
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": headers,
            "client": self.client,
            "server": self.server,
            "state": self.app_state.copy(),
        }

    def _is_too_large(self) -> bool:
        if len(self.headers) > HEADERS_MAX:
            return True
        # What came in few bytes is not large.
        if self._head_bytes + self._read_bytes <= HEADER_BYTES_MAX:
            return False
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEADER_BYTES_MAX

    def _begin(self, *, keeps: bool) -> Exchange:
        before = self.cycle
        exchange = Exchange(self.scope, self.transport, self.flow, ended=self.on_response_complete)
        exchange.keep_alive = keeps
        exchange.waits_for_100 = self.expect_100_continue
        self.scope["extensions"] = {EXCHANGE: exchange}
        self.cycle = exchange
        if before is None or before.response_complete:
            self._unserved = exchange
        else:
            # It came before the answer to the one ahead of it was sent.
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))
        return exchange

    def _start(self, exchange: Exchange) -> None:
        task = self.loop.create_task(exchange.run(self.app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_body(self, body: bytes) -> None:
        exchange = self.cycle
        if exchange is None or exchange.response_complete:
            return
        exchange.body = exchange.body + body if exchange.body else body
        if len(exchange.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        exchange.tell()

    def on_message_complete(self) -> None:
        self._is_between = True
        exchange = self.cycle
        if exchange is not None and not exchange.response_complete:
            exchange.more_body = False
            exchange.tell()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start(self.pipeline.pop()[0])
            return
        self._quiet_since = self.loop.time()
        if self._idle is None:
            self._idle = self.loop.call_later(self.timeout_keep_alive, self._end_if_idle)

    def _end_if_idle(self) -> None:
        """One timer for all requests of a connection: it looks how long nothing was asked, and comes again."""
        self._idle = None
        if self.transport.is_closing():
            return
        is_busy = self._patience is not None or (self.cycle is not None and not self.cycle.response_complete)
        left = self.timeout_keep_alive - (0.0 if is_busy else self.loop.time() - self._quiet_since)
        if left <= 0:
            self.transport.close()
        else:
            self._idle = self.loop.call_later(left, self._end_if_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self.connections.discard(self)
        for exchange in (*(waiting for waiting, _ in self.pipeline), self.cycle):
            if exchange is not None:
                exchange.hang_up()
        self.flow.resume_writing()
        if exc is None:
            self.transport.close()
        self.parser = None  # type: ignore[assignment]

    def handle_websocket_upgrade(self) -> None:
        self._stop_waiting()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        self._say(No(400, errors.BadUserInput.code, msg))

    def _wait_for_head(self) -> None:
        if self._patience is None:
            self._patience = asyncio.get_running_loop().call_later(HEADER_SECONDS_MAX, self._cut)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _cut(self) -> None:
        self._say(No(408, errors.TimedOut.code, "The request's headers were not sent in time."))

    def _say(self, no: No) -> None:
        if self.transport.is_closing():
            return
        self._stop_waiting()
        body = no.body()
        head = (
            f"HTTP/1.1 {no.status} Refused\r\ncontent-type: application/json; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


class Server(uvicorn.Server):
    """Stops in order: accepts nobody, says goodbye to sockets, waits for requests, then ends the life span."""

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        for listener in self.servers:
            listener.close()
        if isinstance(self.config.loaded_app, Leaving):
            await self.config.loaded_app.leave()
        await super().shutdown(sockets)


class Alone(Server):
    """A server that has its process for itself: what is there once it has started is never collected.

    A look of the garbage collector at all of it stops everybody for 150 ms. The planning thread gives way to the loop
    ten times as fast as the interpreter's threads do by themselves.
    """

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, *gc.get_threshold()[1:])
        sys.setswitchinterval(SWITCH_SECONDS)


class _Process(multiprocess.Process):
    @property
    def server(self) -> Server:
        if not isinstance(self._server, Server):
            self._server = Alone(self.config)
        return self._server


class _Processes(multiprocess.Multiprocess):
    def init_processes(self) -> None:
        for _ in range(self.processes_num):
            process = _Process(self.config, self.sockets)
            process.start()
            self.processes.append(process)


def configured(
    make: Callable[[], ASGIApp], *, host: str = "127.0.0.1", port: int = 0, workers: int = 1
) -> uvicorn.Config:
    """How every server of this house is set up; `make` builds the app in each process."""
    return uvicorn.Config(
        make,
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop" if sys.platform != "win32" else "auto",
        http=Connection,
        ws="websockets-sansio",
        ws_max_size=FRAME_BYTES_MAX,
        ws_max_queue=FRAMES_QUEUED_MAX,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        # A small compressed frame may hold a very large one.
        ws_per_message_deflate=False,
        interface="asgi3",
        lifespan="on",
        # Whom to believe about addresses is decided in tenancy/hosts.py.
        proxy_headers=False,
        server_header=False,
        date_header=False,
        access_log=False,
        log_config=None,
        log_level="warning",
        timeout_keep_alive=IDLE_SECONDS_MAX,
        timeout_graceful_shutdown=STOP_SECONDS_MAX,
    )


def serve(config: uvicorn.Config) -> bool:
    """Serve until a signal says stop; False where it could not start. One process, or `workers` of them."""
    if config.workers > 1:
        listener = config.bind_socket()
        try:
            _Processes(config, [listener]).run()
        finally:
            listener.close()
        return True
    server = Alone(config)
    server.run()
    return server.started
