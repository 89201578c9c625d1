"""The explorer's page and its files, from this server alone: no other host is ever asked.

What the page does is in web/; what it is told, `web/README.md` says.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
from starlette.types import Receive, Scope, Send

from base.settings import Settings
from db.zones import TenantId, TenantState
from tenancy import answers
from tenancy.context import Context

DIST = Path(__file__).parents[1] / "web" / "dist"
SERVED_UNDER = "/explorer/"
PLACE = b"__ATRIUM_CONFIG__"
DEMO_FILE = "demo.json"
DEMO_TENANTS_MAX = 12
DEMO_BYTES_MAX = 64 * 1024
FOR_EVER = (b"cache-control", b"public, max-age=31536000, immutable")


class Explorer:
    """ASGI for the page (`page`) and for its assets (the instance itself)."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._html = (DIST / "index.html").read_bytes()
        listed = orjson.loads((DIST / "assets.json").read_bytes())["assets"]
        self._types: dict[str, str] = {asset["path"]: asset["mediaType"] for asset in listed}
        self._read: dict[str, bytes] = {}
        self._policy = _policy(settings.storage_url)

    @staticmethod
    def wanted(scope: Scope) -> bool:
        """Whether a browser asks for a page."""
        return scope["method"] == "GET" and "text/html" in (answers.header(scope, b"accept") or "")

    async def page(self, scope: Scope, send: Send) -> None:
        """The page, told where it is."""
        told = orjson.dumps(await self._told(scope["state"]["context"])).replace(b"<", b"\\u003c")
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-security-policy", self._policy),
            (b"referrer-policy", b"no-referrer"),
            (b"vary", b"Accept"),
            *answers.PRIVATE,
        ]
        await _send(send, self._html.replace(PLACE, told), headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        name = scope["path"].removeprefix(SERVED_UNDER)
        kind = self._types.get(name)
        if kind is None or scope["method"] != "GET":
            raise answers.Refused(answers.No(404, "NOT_FOUND", "There is nothing here."))
        if name not in self._read:
            # The names are those of the list: together they are a few megabytes.
            self._read[name] = await asyncio.to_thread((DIST / name).read_bytes)
        headers = [(b"content-type", kind.encode()), FOR_EVER, (b"x-content-type-options", b"nosniff")]
        await _send(send, self._read[name], headers)

    async def _told(self, context: Context) -> dict[str, Any]:
        route = context.route
        return {
            "endpoint": "/graphql",
            "host": "central" if route is None else "tenant",
            "tenantSlug": None if route is None else route.slug,
            "embedded": self._settings.embedded,
            "demoTenants": await self._demo(context) if self._settings.embedded else [],
        }

    async def _demo(self, context: Context) -> list[dict[str, Any]]:
        """The demo tenants that are there; `atrium demo` writes their names beside the databases."""
        scheme, _, place = context.origin.partition("://")
        port = f":{place.rpartition(':')[2]}" if place.rpartition(":")[2].isdecimal() else ""
        found = []
        for each in await asyncio.to_thread(demo_tenants, self._settings):
            route = await context.house.directory.of_tenant(TenantId(each["slug"]))
            if route is not None and route.state is TenantState.ACTIVE:
                host = f"{route.slug}.{self._settings.base_domain}"
                found.append({**each, "slug": route.slug, "url": f"{scheme}://{host}{port}/graphql"})
        return found


def demo_tenants(settings: Settings) -> list[dict[str, Any]]:
    """`[{"slug": …, "email": …, "password": …}]` as `atrium demo` wrote it; none where no demo data was loaded."""
    try:
        with (settings.var / DEMO_FILE).open("rb") as file:
            told = orjson.loads(file.read(DEMO_BYTES_MAX))
    except (OSError, orjson.JSONDecodeError):
        return []
    listed = told if isinstance(told, list) else []
    return [each for each in listed if isinstance(each, dict) and isinstance(each.get("slug"), str)][:DEMO_TENANTS_MAX]


def _policy(storage_url: str) -> bytes:
    """Everything from here; uploads and pictures also from the store, where that is another host."""
    store = ""
    parts = urlsplit(storage_url)
    if parts.scheme == "s3":
        given = parse_qs(parts.query)
        endpoint = (given.get("public_endpoint") or given.get("endpoint") or [""])[0]
        store = f" {endpoint}" if endpoint.startswith(("http://", "https://")) else " https://*.amazonaws.com"
    rules = (
        "default-src 'self'",
        f"connect-src 'self'{store}",
        f"img-src 'self' data:{store}",
        "style-src 'self' 'unsafe-inline'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    return "; ".join(rules).encode()


async def _send(send: Send, body: bytes, headers: answers.Headers) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
