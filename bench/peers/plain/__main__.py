"""`BENCH_PORT=… python -m bench.peers.plain`: the library's own ASGI app, with the same server settings as ours."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL

from bench import rows
from bench.peers.plain.loaders import Asking, Databases
from bench.peers.plain.types import schema
from bench.rows import Sizes
from execution import serving

DATABASES = Databases()
OWNERS = {f"Bearer {owner.token}": owner for owner in rows.owners(Sizes())}


class Served(GraphQL[Asking, None]):
    """The library's app with a context of our own."""

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Asking:
        """Who asks: host and access token out of dictionaries."""
        del response
        host = request.headers["host"]
        owner = OWNERS.get(request.headers.get("authorization", ""))
        return Asking(DATABASES, host, owner if owner is not None and owner.host == host else None)


async def count(_request: Request) -> PlainTextResponse:
    """How many statements were sent."""
    return PlainTextResponse(f"bench_sql_statements_total {DATABASES.statements}\n")


async def alive(_request: Request) -> PlainTextResponse:
    """200 while the process lives."""
    return PlainTextResponse("ok")


@contextlib.asynccontextmanager
async def life(_app: Starlette) -> AsyncIterator[None]:
    """Connections end with the process."""
    yield
    await DATABASES.close()


app = Starlette(
    routes=[Route("/healthz", alive), Route("/metrics", count), Route("/graphql", Served(schema, graphql_ide=None))],
    lifespan=life,
)

if __name__ == "__main__":
    serving.serve(serving.configured(lambda: app, port=int(os.environ["BENCH_PORT"])))
