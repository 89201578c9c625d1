"""One connection, byte by byte: whole and dribbled requests, several in one read, headers that would end a head."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from execution import exchange, serving

BODY = b'{"query": "{ __typename }"}'
HEAD = b"POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 27\r\n"
DATA = b'{"data":{"__typename":"Query"}}'


async def connected(served):
    return await asyncio.open_connection("127.0.0.1", served.port)


async def answer(reader):
    """(head, body) of the next answer on this connection."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head, await asyncio.wait_for(reader.readexactly(length), 20)


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_a_request_in_any_pieces_is_the_same_request(served, size):
    reader, writer = await connected(served)
    for _ in range(2):
        text = HEAD + b"\r\n" + BODY
        for start in range(0, len(text), size):
            writer.write(text[start : start + size])
            await asyncio.sleep(0)
        head, body = await answer(reader)
        assert head.startswith(b"HTTP/1.1 200 ")
        assert body == DATA
    writer.close()


async def test_requests_in_one_read_are_answered_in_their_order(served):
    reader, writer = await connected(served)
    named = b'{"query": "{ a: __typename", "x": 1}'
    second = HEAD.replace(b"27", b"%d" % len(named)) + b"\r\n" + named
    writer.write((HEAD + b"\r\n" + BODY) + second + (HEAD + b"\r\n" + BODY))
    bodies = [(await answer(reader))[1] for _ in range(3)]
    assert [DATA in body for body in bodies] == [True, False, True]
    assert b"GRAPHQL_PARSE_FAILED" in bodies[1]
    writer.close()


async def test_a_client_that_asks_first_is_told_to_send_its_body(served):
    reader, writer = await connected(served)
    writer.write(HEAD + b"expect: 100-continue\r\n\r\n")
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(BODY)
    assert (await answer(reader))[1] == DATA
    writer.close()


@pytest.mark.parametrize("more", [b"connection: close\r\n", b""])
async def test_a_connection_ends_after_its_answer_where_that_was_asked(served, more):
    reader, writer = await connected(served)
    text = HEAD if more else HEAD.replace(b"HTTP/1.1", b"HTTP/1.0")
    writer.write(text + more + b"\r\n" + BODY)
    head, body = await answer(reader)
    assert b"connection: close" in head
    assert body == DATA
    assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()


async def test_a_quiet_connection_is_ended_and_a_busy_one_is_not(served, monkeypatch):
    made = serving.Connection.connection_made

    def impatient(self, transport):
        made(self, transport)
        self.timeout_keep_alive = 1.0

    monkeypatch.setattr(serving.Connection, "connection_made", impatient)
    reader, writer = await connected(served)
    for _ in range(4):
        writer.write(HEAD + b"\r\n" + BODY)
        assert (await answer(reader))[1] == DATA
        await asyncio.sleep(0.05)
    writer.write(HEAD + b"\r\n" + BODY[:5])
    await asyncio.sleep(1.3)
    writer.write(BODY[5:])
    assert (await answer(reader))[1] == DATA
    assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()


@pytest.mark.parametrize("body", [BODY, b'{"query": "{ a: __typename", "x": 1}', b"no JSON"])
async def test_nothing_of_an_answered_request_is_left_to_the_garbage_collector(served, monkeypatch, body):
    made = []

    def begun(*arguments, **named):
        found = exchange.Exchange(*arguments, **named)
        made.append(weakref.ref(found))
        return found

    monkeypatch.setattr(serving, "Exchange", begun)
    reader, writer = await connected(served)
    gc.disable()
    try:
        for _ in range(4):
            writer.write(HEAD.replace(b"27", b"%d" % len(body)) + b"\r\n" + body)
            await answer(reader)
        async with asyncio.timeout(20):
            # The connection holds the last one until the next begins.
            while sum(each() is not None for each in made) > 1:
                await asyncio.sleep(0.01)
        assert len(made) == 4
    finally:
        gc.enable()
    writer.close()


class Pipe(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent, self.closed = b"", False

    def write(self, data):
        self.sent += data

    def close(self):
        self.closed = True

    def is_closing(self):
        return self.closed


def opened(pipe, method="GET"):
    return exchange.Exchange({"method": method}, pipe, FlowControl(pipe), ended=lambda: None)


START = {"type": "http.response.start", "status": 200}
LONG = [(b"content-length", b"2")]
NO_ANSWERS = [
    [{**START, "headers": [(b"a", b"1\r\nset-cookie: x")]}],
    [{**START, "headers": [(b"a\nb", b"1")]}],
    [{**START, "headers": [(b"a", b"1\0")]}],
    [{**START, "headers": []}, {**START, "headers": []}],
    [{"type": "http.response.body", "body": b"ab"}],
    [{**START, "headers": LONG}, {"type": "http.response.body", "body": b"abc"}],
    [{**START, "headers": LONG}, {"type": "http.response.body", "body": b"a"}],
    [{**START, "headers": [(b"transfer-encoding", b"chunked")]}],
    [{**START, "headers": LONG}],
]


@pytest.mark.parametrize("messages", NO_ANSWERS, ids=range(len(NO_ANSWERS)))
async def test_what_is_no_answer_ends_the_connection_with_nothing_sent(messages):
    async def app(_scope, _receive, send):
        for message in messages:
            await send(message)

    pipe = Pipe()
    await opened(pipe).run(app)
    assert pipe.closed
    assert pipe.sent == b""


@pytest.mark.parametrize(
    ("method", "headers", "sent"),
    [
        ("GET", LONG, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab"),
        ("HEAD", LONG, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"),
        ("GET", [], b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n"),
    ],
)
async def test_a_body_in_parts_is_framed_by_its_length_or_in_chunks(method, headers, sent):
    async def app(_scope, _receive, send):
        await send({**START, "headers": headers})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})

    pipe = Pipe()
    await opened(pipe, method).run(app)
    assert pipe.sent == sent
    assert not pipe.closed


async def test_nothing_is_sent_to_a_client_that_is_gone_and_it_is_told_once():
    heard: list[int] = []

    async def app(_scope, receive, send):
        asked.on_hang_up(lambda: heard.append(1))
        asked.hang_up()
        assert (await receive())["type"] == "http.disconnect"
        await send({**START, "headers": LONG})

    pipe = Pipe()
    asked = opened(pipe)
    await asked.run(app)
    assert heard == [1]
    assert pipe.sent == b""
