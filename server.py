"""The ASGI app: what is answered where, and the life span. `python server.py` is `atrium serve`."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import sys
from collections.abc import AsyncIterator, Awaitable
from urllib.parse import urlsplit

from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Receive, Scope, Send

import actions
import worker
from base import errors, observe
from base.settings import Settings
from db.health import Health
from execution import library
from execution.endpoint import Endpoint
from execution.exchange import Exchange
from execution.explorer import SERVED_UNDER, Explorer
from execution.live import Live
from outside import files_local, services
from outside.store import Store
from resolvers import roots
from tenancy import handlers, probes
from tenancy.context import Context
from tenancy.head import Heads
from tenancy.house import close_house, open_house
from tenancy.middleware import GRAPHQL_PATH, Front, tell
from tenancy.origins import Origins
from webhooks import stripe_in


class Application:
    """One process's app over its settings; with a worker, background work runs beside the requests."""

    def __init__(self, settings: Settings, *, with_worker: bool) -> None:
        handlers.load(actions)
        self._settings = settings
        self._with_worker = with_worker
        self._services = services.open_services(settings)
        self._stop = asyncio.Event()
        origins = Origins(settings)
        executor = library.Executor(roots.served(), introspection=settings.introspection, limits=settings.limits)
        self._live = Live(executor, origins)
        self._endpoint = Endpoint(executor, origins)
        self._explorer = Explorer(settings)
        self._places: dict[str, ASGIApp] = {
            GRAPHQL_PATH: self._graphql,
            "/": _to_the_explorer,
            "/healthz": probes.alive,
            "/readyz": probes.ready,
            "/metrics": probes.metrics,
            "/webhooks/stripe": stripe_in.receive_event,
        }
        self._rest = Router(self._stored(origins), redirect_slashes=False, default=_nothing_here, lifespan=self._life)
        self._front = Front(self._place, Heads(settings, origins))

    def _stored(self, origins: Origins) -> list[BaseRoute]:
        """`/uploads` and `/files`, where the store is ours to serve."""
        store = self._services[Store]
        if not isinstance(store, files_local.LocalStore):
            return []
        return [*files_local.routes(store, cors=origins.allows, host=_host_of_links)]

    def at_once(self, exchange: Exchange) -> bool:
        """Answer a request for which nobody has to be waited, without a task; False, and nothing done, for others."""
        scope = exchange.scope
        if scope["path"] != GRAPHQL_PATH or scope["method"] != "POST":
            return False
        try:
            body = self._endpoint.known(exchange) if self._front.known(scope) else None
        except Exception:
            # What is wrong is met again, and told, on the way that every other request takes.
            return False
        if body is None:
            return False
        self._endpoint.put(exchange, body)
        tell(scope, scope["state"]["seen"])
        return True

    # Whoever is called here awaits nothing itself: each that does is met again whenever a request goes on.

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self._front(scope, receive, send)

    def _place(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        path = scope.get("path", "")
        if path == GRAPHQL_PATH and scope["type"] == "http" and scope["method"] == "POST":
            return self._endpoint(scope, receive, send)
        if scope["type"] == "websocket" and path != GRAPHQL_PATH:
            return _nothing_here(scope, receive, send)
        if path.startswith(SERVED_UNDER):
            return self._explorer(scope, receive, send)
        return self._places.get(path, self._rest)(scope, receive, send)

    def _graphql(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "websocket":
            return self._live(scope, receive, send)
        if Explorer.wanted(scope):
            return self._explorer.page(scope, send)
        return self._endpoint(scope, receive, send)

    @contextlib.asynccontextmanager
    async def _life(self, _router: object) -> AsyncIterator[dict[str, object]]:
        house = await open_house(self._settings, self._services)
        working = [asyncio.create_task(worker.repeat(house, worker.TOKENS_USED, self._stop))]
        background = worker.run if self._with_worker else worker.tell
        working.append(asyncio.create_task(background(house, self._stop)))
        observe.note(observe.Event.STARTED, pools=len(self._settings.pools), worker=self._with_worker)
        try:
            yield {"house": house, "health": Health(house.sessions)}
        finally:
            self._stop.set()
            await asyncio.wait(working)
            await close_house(house)
            observe.flush()

    async def leave(self) -> None:
        """The server stops: leases are given back, sockets end with 1001; requests that run are waited for."""
        observe.note(observe.Event.STOPPING)
        self._stop.set()
        await self._live.close()


async def _nothing_here(scope: Scope, _receive: Receive, _send: Send) -> None:
    del scope
    raise errors.NotServed("There is nothing at this path; the API is at /graphql.")


async def _to_the_explorer(scope: Scope, receive: Receive, send: Send) -> None:
    if not Explorer.wanted(scope):
        await _nothing_here(scope, receive, send)
    headers = [(b"location", GRAPHQL_PATH.encode()), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 307, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _host_of_links(scope: Scope) -> str:
    """The host as links were signed for: behind a trusted proxy, the forwarded one."""
    context: Context = scope["state"]["context"]
    return urlsplit(context.origin).netloc


def create_app(settings: Settings, *, with_worker: bool = True) -> Application:
    """The app of one process. Raises ValueError naming the variable that is wrong."""
    return Application(settings, with_worker=with_worker)


if __name__ == "__main__":
    importlib.import_module("cli.main").app(["serve", *sys.argv[1:]])
