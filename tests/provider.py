"""A payment provider of a test's own, on a free port of loopback, as `ATRIUM_STRIPE_…` finds it.

It runs in a thread, so that a test may block while other processes speak to it. It delivers nothing: a test takes
`provider.events()`, signs and posts them as often and in whatever order it likes.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import stripe
import uvicorn

from outside.sandbox.provider import Provider

START_SECONDS_MAX = 60


def environment(provider: Provider) -> dict[str, str]:
    """The variables that point Atrium at it."""
    return {
        "ATRIUM_STRIPE_API_BASE": provider.base,
        "ATRIUM_STRIPE_SECRET_KEY": provider.secret_key,
        "ATRIUM_STRIPE_WEBHOOK_SECRET": provider.webhook_secret,
    }


@contextlib.contextmanager
def running(**how) -> Iterator[Provider]:
    """A provider that answers; `how` as `Provider` takes it."""
    provider = Provider(**how)
    listener = socket.create_server(("127.0.0.1", 0))
    provider.base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(provider.app, log_config=None, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        until = time.monotonic() + START_SECONDS_MAX
        while not server.started:
            assert thread.is_alive(), "the provider did not start"
            assert time.monotonic() < until, "the provider did not start in time"
            time.sleep(0.005)
        yield provider
    finally:
        server.force_exit = True
        server.should_exit = True
        thread.join(START_SECONDS_MAX)
        listener.close()
        provider.close()


class Caller:
    """The real client as a shop uses it: form-encoded, over sockets, answers as plain dicts."""

    def __init__(self, provider: Provider, *, retries: int = 0, timeout: float = 30, key: str | None = None) -> None:
        self.http = stripe.HTTPXClient(timeout=timeout)
        self._client = stripe.StripeClient(
            key or provider.secret_key,
            base_addresses={"api": provider.base},
            http_client=self.http,
            max_network_retries=retries,
        )

    async def post(self, path: str, /, *, key: str | None = None, **params: Any) -> dict[str, Any]:
        return await self._send("post", path, params, idempotency_key=key or uuid.uuid4().hex)

    async def get(self, path: str, /, **params: Any) -> dict[str, Any]:
        return await self._send("get", path, params)

    async def delete(self, path: str, /, **params: Any) -> dict[str, Any]:
        return await self._send("delete", path, params)

    async def session(self, *, amount: int = 1_000, currency: str = "eur", key: str | None = None, **more: Any) -> str:
        """A checkout of one thing, by `payment_intent_data` marked as purchase 7; the session's id."""
        params = checkout(amount=amount, currency=currency) | more
        made = await self.post("/v1/checkout/sessions", key=key, **params)
        return made["id"]

    async def plan(self, *, amount: int = 1_000, **more: Any) -> str:
        """A checkout of a monthly subscription; the session's id."""
        made = await self.post("/v1/checkout/sessions", **(subscribing(amount=amount) | more))
        return made["id"]

    async def _send(self, method: str, path: str, params: dict[str, Any], **options: Any) -> dict[str, Any]:
        answer = await self._client.raw_request_async(method, path, **params, **options)
        return answer.data


@contextlib.asynccontextmanager
async def calling(provider: Provider, **how: Any) -> AsyncIterator[Caller]:
    """A client whose connections end with the block."""
    caller = Caller(provider, **how)
    try:
        yield caller
    finally:
        await caller.http.close_async()


def checkout(*, amount: int = 1_000, currency: str = "eur", name: str = "100 tokens") -> dict[str, Any]:
    """The parameters of a checkout as Atrium sends them."""
    price = {"currency": currency, "unit_amount": amount, "product_data": {"name": name}}
    return {
        "mode": "payment",
        "line_items": [{"price_data": price, "quantity": 1}],
        "success_url": "https://shop.example/thanks?session={CHECKOUT_SESSION_ID}",
        "cancel_url": "https://shop.example/cart",
        "metadata": {"purchase": "7"},
        "payment_intent_data": {"metadata": {"purchase": "7"}},
        "adaptive_pricing": {"enabled": False},
        "automatic_tax": {"enabled": False},
        "allow_promotion_codes": False,
    }


def subscribing(*, amount: int = 1_000, name: str = "Plus", **about: Any) -> dict[str, Any]:
    """The parameters of a checkout of a monthly subscription; `about` goes into `subscription_data`."""
    params = checkout(amount=amount, name=name)
    del params["payment_intent_data"]
    params["line_items"][0]["price_data"]["recurring"] = {"interval": "month"}
    return params | {"mode": "subscription", "subscription_data": {"metadata": {"plan": "plus"}, **about}}
