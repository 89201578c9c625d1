"""`BENCH_PORT=… python -m bench.peers.by_hand`: the limit as a server, with the same server settings as ours."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from bench.peers.by_hand import snapshot
from bench.peers.by_hand.answers import Answers
from bench.peers.by_hand.database import Database
from execution import serving

JSON = (b"content-type", b"application/json; charset=utf-8")
Answer = Callable[[str, str, dict[str, str]], Awaitable[object]]


class ByHand:
    """ASGI: the queries by their text, `/healthz`, `/metrics`."""

    def __init__(self) -> None:
        self._database = Database()
        self._answers: Answers | None = None
        self._of: dict[str, Answer] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["path"] == "/graphql":
            await self._graphql(scope, receive, send)
        elif scope["path"] == "/metrics":
            await _say(send, 200, f"bench_sql_statements_total {self._database.statements}\n".encode())
        else:
            await _say(send, 200, b"{}")

    async def _graphql(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = authorization = ""
        for name, value in scope["headers"]:
            if name == b"host":
                host = value.decode()
            elif name == b"authorization":
                authorization = value.decode()
        if self._answers is None or host not in self._answers.hosts:
            await _say(send, 404, b"{}")
            return
        asked = orjson.loads(await _body(receive))
        try:
            data = await self._of[asked["query"]](host, authorization, asked.get("variables", {}))
        except (KeyError, PermissionError) as error:
            await _say(send, 200, orjson.dumps({"errors": [{"message": str(error)}]}))
            return
        await _say(send, 200, orjson.dumps({"data": data}))

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await self._database.open()
        self._answers = Answers(self._database, await snapshot.load(self._database))
        self._of = dict(self._answers.of)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._database.close()
        await send({"type": "lifespan.shutdown.complete"})


async def _body(receive: Receive) -> bytes:
    message: dict[str, Any] = dict(await receive())
    body: bytes = message["body"]
    while message.get("more_body"):
        message = dict(await receive())
        body += message["body"]
    return body


async def _say(send: Send, status: int, body: bytes) -> None:
    headers = [JSON, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    serving.serve(serving.configured(ByHand, port=int(os.environ["BENCH_PORT"])))
