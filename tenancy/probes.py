"""`/healthz`, `/readyz` and `/metrics`: what a load balancer and an operator ask, on any host."""

from __future__ import annotations

import hmac

from starlette.types import Receive, Scope, Send

from base import observe
from db.health import Health
from tenancy import answers, hosts
from tenancy.context import House
from tenancy.viewer import bearer

TEXT = b"text/plain; version=0.0.4; charset=utf-8"


async def alive(scope: Scope, receive: Receive, send: Send) -> None:
    """200 while the process lives."""
    del receive
    _only_get(scope)
    await answers.answer(send, 200, {"status": "ok"})


async def ready(scope: Scope, receive: Receive, send: Send) -> None:
    """200 when central answers, else 503; a pool that does not is told, by name to those who may know names."""
    del receive
    _only_get(scope)
    state = scope["state"]
    health: Health = state["health"]
    found = await health.states()
    central = found.pop("central")
    down = [name for name, up in found.items() if not up]
    status = "unavailable" if not central else "degraded" if down else "ok"
    told: dict[str, object] = {"status": status, "central": _word(up=central)}
    if _may_look(scope):
        told["pools"] = {name: _word(up=up) for name, up in found.items()}
    else:
        told["pools"] = {"up": len(found) - len(down), "down": len(down)}
    await answers.answer(send, 200 if central else 503, told)


async def metrics(scope: Scope, receive: Receive, send: Send) -> None:
    """Prometheus text, for loopback or with `ATRIUM_METRICS_TOKEN`."""
    del receive
    _only_get(scope)
    if not _may_look(scope):
        raise answers.Refused(answers.No(403, "FORBIDDEN", "Metrics are for loopback, or send ATRIUM_METRICS_TOKEN."))
    body = observe.metrics()
    headers = [(b"content-type", TEXT), (b"content-length", b"%d" % len(body)), *answers.PRIVATE]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _word(*, up: bool) -> str:
    return "up" if up else "down"


def _only_get(scope: Scope) -> None:
    if scope["method"] not in ("GET", "HEAD"):
        raise answers.bad(405, "Ask by GET.", [(b"allow", b"GET, HEAD")])


def _may_look(scope: Scope) -> bool:
    house: House = scope["state"]["house"]
    settings = house.settings
    text = bearer(answers.header(scope, b"authorization"))
    if text and settings.metrics_token and hmac.compare_digest(text.encode(), settings.metrics_token.encode()):
        return True
    client = scope.get("client")
    # Behind a proxy on this machine everybody comes from loopback: what was forwarded is not local.
    forwarded = any(name in (b"x-forwarded-for", b"forwarded", b"via") for name, _ in scope["headers"])
    return client is not None and not forwarded and hosts.is_loopback(client[0])
