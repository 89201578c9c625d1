"""Sends the provider's events to one address, signed, until they are taken: at least once, in no promised order.

An answer other than 2xx, or none, puts an event off for longer each time; after three days it is given up.
"""

from __future__ import annotations

import asyncio
import contextlib

import httpx

from outside.sandbox import checkout
from outside.sandbox.provider import Provider
from outside.sandbox.shapes import Body

AT_ONCE_MAX = 8
LOOK_SECONDS = 0.25
ANSWER_SECONDS_MAX = 20.0
PUT_OFF_SECONDS_MAX = 300.0
GIVEN_UP_SECONDS = 3 * 24 * 3_600


async def run(provider: Provider, url: str, stop: asyncio.Event) -> None:
    """Deliver until `stop` is set; what waits then is sent by the next run. Sessions end when their time is over."""
    limits = httpx.Limits(max_connections=AT_ONCE_MAX)
    async with httpx.AsyncClient(trust_env=False, timeout=ANSWER_SECONDS_MAX, limits=limits) as client:
        while not stop.is_set():
            with provider.book.call():
                checkout.expire_due(provider.book)
            due = provider.book.due(most=AT_ONCE_MAX)
            await asyncio.gather(*(_deliver(provider, client, url, event=event, tries=tries) for event, tries in due))
            if not due:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), LOOK_SECONDS)


async def _deliver(provider: Provider, client: httpx.AsyncClient, url: str, /, *, event: Body, tries: int) -> None:
    headers, body = provider.signed(event)
    try:
        async with client.stream("POST", url, headers=headers, content=body) as answer:
            taken = answer.is_success
    except httpx.HTTPError:
        taken = False
    if taken or provider.book.now() - event["created"] > GIVEN_UP_SECONDS:
        provider.book.delivered(event)
    else:
        provider.book.put_off(event, seconds=min(2.0 ** min(tries, 30), PUT_OFF_SECONDS_MAX))
