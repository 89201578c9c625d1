"""Bytes on the wire that are no honest request: cut in time, refused with a body, and nobody else waits for it."""

from __future__ import annotations

import asyncio

import pytest

from execution import serving

HEAD = b"POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
BODY = b'{"query": "{ __typename }"}'


async def said(served, *parts, pause=0.0):
    """What the server answers to these bytes until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


@pytest.mark.parametrize("sent", [b"", b"POST /gra", HEAD + b"x-slow: "])
async def test_a_connection_that_does_not_finish_its_head_is_cut(served, monkeypatch, sent):
    monkeypatch.setattr(serving, "HEADER_SECONDS_MAX", 0.3)
    answer = await said(served, sent)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"code":"TIMEOUT"' in answer


async def test_a_head_without_end_is_refused_while_it_is_read(served):
    answer = await said(served, HEAD, *[b"x-more: " + b"a" * 8_000 + b"\r\n"] * 6, pause=0.02)
    assert answer.startswith(b"HTTP/1.1 431")
    assert b'"code":"BAD_USER_INPUT"' in answer


@pytest.mark.parametrize(
    "lines",
    [
        b"content-length: 27\r\ncontent-length: 5\r\n",
        b"content-length: 27\r\ntransfer-encoding: chunked\r\n",
        b"content-length: -1\r\n",
        b"content-length: 27, 5\r\n",
        b"transfer-encoding: nonsense\r\n",
        b"bad header\r\n",
        b"x: \x00\r\n",
    ],
)
async def test_a_request_of_doubtful_length_or_shape_is_not_served(served, lines):
    answer = await said(served, HEAD + lines + b"\r\n" + BODY)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b'"code":"BAD_USER_INPUT"' in answer
    assert b"__typename" not in answer


async def test_requests_one_after_the_other_on_one_connection_are_answered_in_order(served):
    one = HEAD + b"content-length: %d\r\n" % len(BODY)
    answer = await said(served, (one + b"\r\n" + BODY) * 2 + one + b"connection: close\r\n\r\n" + BODY)
    assert answer.count(b'{"data":{"__typename":"Query"}}') == 3


async def test_others_are_served_beside_idle_and_broken_connections(served):
    idle = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(200)]
    for _, writer in idle[::2]:
        writer.write(HEAD)
    assert (await served.graphql("{ __typename }")).data == {"__typename": "Query"}
    for _, writer in idle:
        writer.transport.abort()
    assert (await served.graphql("{ __typename }")).data == {"__typename": "Query"}
