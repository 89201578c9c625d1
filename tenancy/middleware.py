"""The front of the house: host → context or refusal, a log line, and nothing of ours in a fault's answer.

Health, metrics and webhooks answer before the host is looked at. What happens on a path is not known here.
"""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass, replace

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from base import errors, observe
from db.zones import TenantState
from tenancy import answers, hosts
from tenancy.budgets import COST_OF_REFUSAL
from tenancy.context import Context, House, new_request_id
from tenancy.directory import Route
from tenancy.head import Head, Heads
from tenancy.viewer import Viewer, bearer

GRAPHQL_PATH = "/graphql"
AHEAD_OF_HOSTS = frozenset({"/healthz", "/readyz", "/metrics"})
WEBHOOKS = "/webhooks/"
# A path may hold a signature: only what it begins with is ever written down.
ROOMS = frozenset({"graphql", "explorer", "uploads", "files", "healthz", "readyz", "metrics", "webhooks"})
OPERATION_CHARACTERS_MAX = 100
Caller = tuple[Viewer | None, bool]
NOBODY: Caller = (None, False)
STARTS = frozenset({"http.response.start", "websocket.http.response.start"})


@dataclass(slots=True)
class Seen:
    """What is known of a request while it is served; the log line is written from it. `began` is `perf_counter`'s."""

    request_id: str
    began: float
    host: str = "none"
    tenant: str | None = None
    operation: str | None = None
    status: int | None = None

    def name(self, operation: str | None) -> None:
        """Remember the operation's name, where it is one."""
        if operation is not None and operation.isidentifier() and len(operation) <= OPERATION_CHARACTERS_MAX:
            self.operation = operation


class Front:
    """ASGI: puts `context`, `head` and `seen` into `scope["state"]`, where the life span has put `house`."""

    def __init__(self, app: ASGIApp, heads: Heads) -> None:
        self._app = app
        self._heads = heads

    def known(self, scope: Scope) -> bool:
        """Put into the state of a request to `/graphql` what is known of it; whether that is all."""
        state, head = scope["state"], self._heads.of(scope)
        seen = Seen(new_request_id(), time.perf_counter())
        state["seen"], state["head"] = seen, head
        context = _known_context(state["house"], head, seen=seen)
        if context is None:
            return False
        state["context"] = context
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        state = scope["state"]
        if "seen" not in state:
            state["seen"], state["head"] = Seen(new_request_id(), time.perf_counter()), self._heads.of(scope)
        seen: Seen = state["seen"]
        head: Head = state["head"]
        own = (b"x-request-id", seen.request_id.encode())
        added = [own, *head.origin_headers] if scope["path"] == GRAPHQL_PATH else [own]

        async def sent(message: Message) -> None:
            kind = message["type"]
            if kind in STARTS:
                seen.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *added]
            elif kind == "websocket.accept":
                seen.status = 101
                message["headers"] = [*message.get("headers", ()), own]
            elif kind == "websocket.close":
                seen.status = message.get("code", 1000)
            await send(message)

        try:
            if _has_host(scope["path"]) and "context" not in state:
                state["context"] = await _context(state["house"], scope, head, seen=seen)
            await self._app(scope, receive, sent)
        except Exception as error:
            await _refused(scope, sent, error, seen=seen)
        finally:
            tell(scope, seen)


async def _refused(scope: Scope, send: Send, error: Exception, /, *, seen: Seen) -> None:
    if isinstance(error, answers.Refused):
        await answers.refuse(scope, send, error.no)
    elif isinstance(error, errors.Denial):
        await answers.refuse(scope, send, answers.No.of(error))
    else:
        observe.note(observe.Event.INTERNAL_ERROR, failure=error, id=seen.request_id)
        if seen.status is not None:
            # Too late for an answer: the server ends the connection.
            raise error
        await answers.refuse(scope, send, answers.internal(seen.request_id))


def tell(scope: Scope, seen: Seen) -> None:
    """Write the line of a request that has ended."""
    observe.tell_request(
        id=seen.request_id,
        kind=scope["type"],
        path=_room(scope["path"]),
        host=seen.host,
        tenant=seen.tenant,
        operation=seen.operation,
        status=seen.status,
        ms=round((time.perf_counter() - seen.began) * 1000, 2),
    )


def _has_host(path: str) -> bool:
    return path not in AHEAD_OF_HOSTS and not path.startswith(WEBHOOKS)


def _known_context(house: House, head: Head, /, *, seen: Seen) -> Context | None:
    """The context of a request to `/graphql` whose host and caller are known here; None for any other."""
    peer, route, caller = head.peer, None, NOBODY
    if peer is None or len(head.authorizations) > 1:
        return None
    if head.is_central:
        seen.host = "central"
    else:
        route = house.directory.known(peer.host)
        if route is None or route.state is not TenantState.ACTIVE:
            return None
        seen.host, seen.tenant = "tenant", route.tenant_id
    if head.authorizations:
        known = _known_caller(house, route, head.authorizations[0])
        if known is None:
            return None
        caller = known
    return Context(house, seen.request_id, peer.origin, peer.address, route, *caller)


async def _context(house: House, scope: Scope, head: Head, /, *, seen: Seen) -> Context:
    peer, caller = head.peer, NOBODY
    if peer is None:
        raise hosts.bad_host()
    if head.is_central:
        route, seen.host = None, "central"
    else:
        route = await _route(house, peer.host, seen)
    nobodys = Context(house, seen.request_id, peer.origin, peer.address, route, *caller)
    if head.authorizations and scope["type"] == "http" and scope["path"] == GRAPHQL_PATH:
        caller = await _paid_caller(nobodys, head.authorization)
    return Context(house, seen.request_id, peer.origin, peer.address, route, *caller)


async def _route(house: House, host: str, seen: Seen) -> Route:
    """The tenant of a host. Raises TenantNotFound, TenantSuspended, CentralUnavailable."""
    route = await house.directory.of_host(host)
    if route is None or route.state in (TenantState.PROVISIONING, TenantState.ERASED):
        seen.host = "unknown"
        raise errors.TenantNotFound("There is no tenant at this host.")
    seen.host, seen.tenant = "tenant", route.tenant_id
    if route.state is TenantState.SUSPENDED:
        raise errors.TenantSuspended("This tenant is suspended.")
    return route


async def _paid_caller(nobodys: Context, header: str | None) -> Caller:
    """Who stands behind an Authorization header. Raises RateLimited.

    A made-up token costs a look into the database: its address pays first, and gets it back for a real one.
    """
    known = _known_caller(nobodys.house, nobodys.route, header)
    if known is not None:
        return known
    charge = await nobodys.house.budgets.charge(replace(nobodys, route=None), COST_OF_REFUSAL)
    caller = await _caller(nobodys.house, nobodys.route, header)
    if caller != NOBODY:
        charge.settle(0)
    return caller


async def authorised(context: Context, header: str | None, *, pays: bool = False) -> Context:
    """The same request with who stands behind an Authorization header, if anybody does on this host.

    Raises RateLimited where the address pays for the look.
    """
    finding = _paid_caller(context, header) if pays else _caller(context.house, context.route, header)
    viewer, is_worker = await finding
    return context if viewer is None and not is_worker else replace(context, viewer=viewer, is_worker=is_worker)


async def _caller(house: House, route: Route | None, header: str | None) -> Caller:
    """The viewer behind an Authorization header where they may be on this host, and whether it is the worker's."""
    known = _known_caller(house, route, header)
    return _on(route, await house.viewers.of_token(bearer(header))) if known is None else known


def _known_caller(house: House, route: Route | None, header: str | None) -> Caller | None:
    """The same where it is known; None where the access token has to be asked for."""
    text = bearer(header)
    if not text:
        return NOBODY
    expected = house.settings.worker_token
    if route is None and expected is not None and hmac.compare_digest(text.encode(), expected.encode()):
        return None, True
    entry = house.viewers.known(text)
    return None if entry is None else _on(route, entry.viewer)


def _on(route: Route | None, viewer: Viewer | None) -> Caller:
    if viewer is None or (route is not None and viewer.tenant_id != route.tenant_id):
        return NOBODY
    return viewer, False


def _room(path: str) -> str:
    if path == GRAPHQL_PATH:
        return path
    first = path.split("/", 2)[1] if path.startswith("/") else ""
    return f"/{first}" if first in ROOMS else "/" if path == "/" else "other"
