"""The load: keep-alive connections that send requests in turn and time the answers; a process of its own.

`python -m bench.load` reads one Order as JSON from standard input and prints one Outcome. Two kinds: *closed* (each
connection sends again when it has its answer: how much goes through) and *open* (requests are due at fixed moments,
and their time counts from then: what a visitor waits at that rate). Only bodies that begin as the order says count.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from array import array
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import cast

import uvloop

from bench import places

CONNECTIONS_MAX = 64
SECONDS_MAX = 600.0
DRAIN_SECONDS_MAX = 30.0
WAITING_MAX = 100_000
GOOD = '{"data"'
NUMBER = b"00NUMBER00"


@dataclass(frozen=True, slots=True)
class Order:
    """What to send where: `rate` is requests a second, 0 for as many as go through; `count` ends it early.

    Connections come from the `addresses` in turn, where there are any. NUMBER in a request becomes the number of its
    turn, so that no two are the same. `good` is how the body of a good answer begins.
    """

    port: int
    requests: list[bytes]
    seconds: float
    connections: int = 8
    rate: float = 0.0
    count: int = 0
    addresses: list[str] = field(default_factory=list)
    good: str = GOOD

    def dumped(self) -> bytes:
        """As JSON, for another process."""
        return json.dumps(
            {**asdict(self), "requests": [base64.b64encode(each).decode() for each in self.requests]}
        ).encode()

    @classmethod
    def loaded(cls, text: bytes) -> Order:
        """From JSON; bounds are kept here. Raises ValueError."""
        told = json.loads(text)
        order = cls(**{**told, "requests": [base64.b64decode(each) for each in told["requests"]]})
        if not 0 < order.seconds <= SECONDS_MAX or not 0 < order.connections <= CONNECTIONS_MAX:
            raise ValueError(f"at most {SECONDS_MAX:.0f} seconds and {CONNECTIONS_MAX} connections")
        return order


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: times in milliseconds; `failure` begins one bad answer, `sent` counts the unanswered too."""

    count: int
    failed: int
    seconds: float
    p50_ms: float
    p99_ms: float
    late: int = 0
    failure: str = ""
    sent: int = 0

    @property
    def a_second(self) -> float:
        """Good answers a second."""
        return self.count / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class Tally:
    """What all connections of one order share."""

    requests: list[bytes]
    until: float
    rate: float
    count: int
    good: bytes
    next: int = 0
    failed: int = 0
    failure: str = ""
    times: array[float] = field(default_factory=lambda: array("d"))
    due: deque[float] = field(default_factory=deque)

    def take(self) -> bytes:
        """The request whose turn it is."""
        request = self.requests[self.next % len(self.requests)]
        self.next += 1
        return request.replace(NUMBER, b"%0*d" % (len(NUMBER), self.next)) if NUMBER in request else request


class Line(asyncio.Protocol):
    """One connection: one request at a time."""

    def __init__(self, tally: Tally, idle: list[Line]) -> None:
        self._tally, self._idle = tally, idle
        self._transport: asyncio.Transport | None = None
        self._began = 0.0
        self._parts = bytearray()
        self._length = -1
        self._head = 0
        self.busy = False
        self.last = False
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, began: float) -> None:
        """Send the next request; its time counts from `began`."""
        assert self._transport is not None
        self._began, self.busy = began, True
        self._transport.write(self._tally.take())

    def data_received(self, data: bytes) -> None:
        parts = self._parts
        parts += data
        if self._length < 0:
            end = parts.find(b"\r\n\r\n")
            if end < 0:
                return
            self._head = end + 4
            self._length = _content_length(bytes(parts[: self._head]))
        if len(parts) < self._head + self._length:
            return
        self._answered(bytes(parts[:12]), bytes(parts[self._head : self._head + 200]))
        parts.clear()
        self._length = -1
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.busy:
            self._tally.failed += 1
            self._tally.failure = self._tally.failure or f"the connection ended: {exc!r}"
        self.busy = False
        if not self.lost.done():
            self.lost.set_result(None)

    def close(self) -> None:
        """End the connection, after the answer that is still to come."""
        self.last = True
        if self._transport is not None and not self.busy:
            self._transport.close()

    def _answered(self, status: bytes, body: bytes) -> None:
        if status[9:12] == b"200" and body.startswith(self._tally.good):
            self._tally.times.append(time.perf_counter() - self._began)
        else:
            self._tally.failed += 1
            self._tally.failure = self._tally.failure or (status + b" " + body).decode("utf-8", "replace")

    def _go_on(self) -> None:
        self.busy = False
        tally, now = self._tally, time.perf_counter()
        if self.last:
            self.close()
        elif tally.rate:
            if tally.due:
                self.send(tally.due.popleft())
            else:
                self._idle.append(self)
        elif now < tally.until and (not tally.count or tally.next < tally.count):
            self.send(now)
        else:
            self.close()


def _content_length(head: bytes) -> int:
    # All peers send a length; one that did not would be a bug of the bench.
    lower = head.lower()
    start = lower.index(b"content-length:") + 15
    return int(lower[start : lower.index(b"\r\n", start)])


async def run(order: Order) -> Outcome:
    """Carry an order out against loopback."""
    loop = asyncio.get_running_loop()
    idle: list[Line] = []
    tally = Tally(order.requests, 0.0, order.rate, order.count, order.good.encode())
    lines = [
        (
            await loop.create_connection(
                lambda: Line(tally, idle),
                "127.0.0.1",
                order.port,
                local_addr=(order.addresses[number % len(order.addresses)], 0) if order.addresses else None,
            )
        )[1]
        for number in range(order.connections)
    ]
    began = time.perf_counter()
    tally.until = began + order.seconds
    if order.rate:
        late = await _due(tally, lines, idle=idle, began=began)
    else:
        for line in lines:
            line.send(time.perf_counter())
        late = 0
        await asyncio.wait([line.lost for line in lines], timeout=order.seconds)
    taken = time.perf_counter() - began
    counted = len(tally.times)
    await _drained(lines)
    return _outcome(tally, counted, seconds=taken, late=late)


async def _due(tally: Tally, lines: list[Line], *, idle: list[Line], began: float) -> int:
    """Send at the rate until the time is over; how many were never sent."""
    idle.extend(lines)
    sent = 0
    while (now := time.perf_counter()) < tally.until:
        while began + sent / tally.rate <= now and len(tally.due) < WAITING_MAX:
            moment = began + sent / tally.rate
            sent += 1
            if idle:
                idle.pop().send(moment)
            else:
                tally.due.append(moment)
        await asyncio.sleep(max(0.0, min(began + sent / tally.rate, tally.until) - time.perf_counter()))
    late = len(tally.due)
    tally.due.clear()
    return late


async def _drained(lines: list[Line]) -> None:
    for line in lines:
        line.close()
    await asyncio.wait([line.lost for line in lines], timeout=DRAIN_SECONDS_MAX)


def _outcome(tally: Tally, counted: int, *, seconds: float, late: int) -> Outcome:
    # Answers that came after the end count as times waited, not as work done.
    times = sorted(tally.times)
    p50, p99 = (round(times[int(len(times) * part)] * 1000, 3) if times else 0.0 for part in (0.5, 0.99))
    return Outcome(
        counted,
        tally.failed,
        seconds,
        p50_ms=p50,
        p99_ms=p99,
        late=late,
        failure=tally.failure,
        sent=tally.next,
    )


async def apart(order: Order) -> Outcome:
    """Carry an order out in a process of its own, so that timing is not held up by whoever asks."""
    process = await asyncio.create_subprocess_exec(
        *places.python("bench.load"),
        cwd=places.ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(order.seconds + 2 * DRAIN_SECONDS_MAX + 30):
            told, _ = await process.communicate(order.dumped())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise RuntimeError("the load ended with an error; it is printed above")
    return Outcome(**json.loads(told))


def main() -> None:
    """Read an order, print its outcome."""
    order = Order.loaded(sys.stdin.buffer.read())
    print(json.dumps(asdict(uvloop.run(run(order)))))


if __name__ == "__main__":
    main()
