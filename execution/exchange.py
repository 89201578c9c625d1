"""One request on a connection and its answer, in ASGI's messages: what uvicorn calls a cycle, with less done for each.

An answer that is whole goes out in one write, and a request that is whole is read without an event to wait for.
How bytes become requests is in `execution/serving.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Scope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

LOGGER = logging.getLogger("uvicorn.error")
BODILESS = frozenset({204, 304})
FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection"})
# In `scope["extensions"]`: the Exchange itself, for those who may do without messages.
EXCHANGE = "atrium.exchange"


class Broken(RuntimeError):
    """What the app sends is no answer."""


class Exchange:
    """What the app is called with: `receive` and `send`. The connection fills `body` and tells what is new."""

    def __init__(
        self, scope: Scope, transport: asyncio.Transport, flow: FlowControl, /, *, ended: Callable[[], None]
    ) -> None:
        """`ended` is called when the answer is complete."""
        self.scope = scope
        self.body = b""
        self.more_body = True
        self.keep_alive = True
        self.waits_for_100 = False
        self.disconnected = False
        self.response_complete = False
        self._transport = transport
        self._flow = flow
        self._ended = ended
        self._is_new = False
        self._news: asyncio.Future[None] | None = None
        self._hung_up: Callable[[], None] | None = None
        # The answer's head, from its message to the first part of the body; None before and after.
        self._head: bytes | None = None
        self._is_started = False
        self._is_chunked = False
        self._bytes_left = 0

    async def run(self, app: ASGIApp) -> None:
        """Let the app answer; where it does not, the connection ends."""
        try:
            await app(self.scope, self.receive, self.send)
            if not self.response_complete and not self.disconnected:
                raise Broken("The app has returned without an answer.")
        except Exception:
            LOGGER.exception("Exception in ASGI application")
            self._transport.close()
        finally:
            self.leave()

    def leave(self) -> None:
        """The app is done with it. Its scope leads here no more: a circle would be left to the garbage collector."""
        self._hung_up = None
        self.scope.get("extensions", {}).pop(EXCHANGE, None)

    # ---------------------------------------------------------------- told by the connection

    def tell(self) -> None:
        """There is more of the body, or it is complete."""
        self._is_new = True
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def hang_up(self) -> None:
        """The client is gone."""
        if self.response_complete:
            return
        self.disconnected = True
        self.tell()
        if self._hung_up is not None:
            self._hung_up()

    # ---------------------------------------------------------------- seen by the app

    def on_hang_up(self, call: Callable[[], None] | None) -> None:
        """Have this called when the client hangs up before its answer is complete; None takes it back."""
        self._hung_up = call
        if call is not None and self.disconnected:
            call()

    def whole_body(self) -> bytes | None:
        """The body, if all of it is there and nothing of it was read."""
        if self.more_body or not self._is_new:
            return None
        body, self.body, self._is_new = self.body, b"", False
        return body

    @property
    def is_whole(self) -> bool:
        """Whether all of the request is there, and an answer to it would go out at once."""
        return not (self.more_body or self.disconnected or self._flow.write_paused or self._transport.is_closing())

    async def answer(self, status: int, lines: bytes, body: bytes) -> None:
        """Send an answer as a whole. `lines` are its headers but for the length, each with its end."""
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if not self.disconnected:
            self.put(status, lines, body)

    def put(self, status: int, lines: bytes, body: bytes) -> None:
        """The same to somebody who is known to be there."""
        self._is_started = True
        ends = b"" if self.keep_alive else b"connection: close\r\n"
        self._transport.write(
            b"%b%bcontent-length: %d\r\n%b\r\n%b" % (STATUS_LINE[status], lines, len(body), ends, body)
        )
        self._complete()

    async def receive(self) -> Message:
        """The next part of the body, or that the client is gone or has its answer."""
        if self.waits_for_100 and not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waits_for_100 = False
        if not self._is_new and not self.disconnected and not self.response_complete:
            self._flow.resume_reading()
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        self._is_new = False
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self.body = self.body, b""
        if self.more_body:
            self._flow.resume_reading()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        """The answer's head, then its body in one part or more. Raises Broken for what is no answer."""
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if kind == "http.response.start" and not self._is_started:
            self._is_started = True
            self._head = self._headed(message)
        elif kind == "http.response.body" and self._is_started and not self.response_complete:
            self._write(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise Broken(f"{kind} is not what comes next.")

    def _headed(self, message: Message) -> bytes:
        parts = [STATUS_LINE[message["status"]]]
        length, ends = None, False
        for name, value in message["headers"]:
            parts += (name, b": ", value, b"\r\n")
            if name in FRAMING:
                if name == b"content-length":
                    length = int(value)
                elif name == b"connection":
                    ends = b"close" in value.lower()
                else:
                    raise Broken("How a body is framed is said by its length alone.")
        lines = len(message["headers"]) + 1
        if self.keep_alive and ends:
            self.keep_alive = False
        elif not self.keep_alive and not ends:
            parts.append(b"connection: close\r\n")
            lines += 1
        if self.scope["method"] == "HEAD" or message["status"] in BODILESS:
            length = 0
        elif length is None:
            self._is_chunked = True
            parts.append(b"transfer-encoding: chunked\r\n")
            lines += 1
        self._bytes_left = length or 0
        head = b"".join(parts)
        # A value that holds an end of line would begin a header, or an answer, of its own.
        if head.count(b"\r") != lines or head.count(b"\n") != lines or b"\0" in head:
            raise Broken("A header holds what ends one.")
        return head + b"\r\n"

    def _write(self, body: bytes, *, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            body = b""
        elif self._is_chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        else:
            self._bytes_left -= len(body)
            if self._bytes_left < 0 or (self._bytes_left and not more):
                raise Broken("The body is not as long as the head says.")
        if self._head is not None:
            body, self._head = self._head + body, None
        self._transport.write(body)
        if not more:
            self._complete()

    def _complete(self) -> None:
        self.response_complete = True
        self.tell()
        if not self.keep_alive:
            self._transport.close()
        self._ended()
