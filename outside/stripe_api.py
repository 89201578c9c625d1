"""The payment provider by its own published library: time limits, few tries, a pinned version, plain dicts back.

The library's objects are left aside: they are no dicts, and their numbers turn into Decimals. Its connections are
opened when the first call is made. What a purchase is, is not known here.

    ProviderError
    ├── NotSetUp     no provider, or it does not take our key
    ├── Refused      it said no, and nothing was done
    │   └── Missing  it has no such object
    └── Unanswered   whether it was done is not known
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import stripe

API_VERSION = "2026-10-28.endive"
REQUEST_SECONDS_MAX = 10.0
CALL_SECONDS_MAX = 12.0
TRIES_AGAIN_MAX = 2
PAGE_ROWS = 100
PAGES_MAX = 1_000
MESSAGE_CHARACTERS_MAX = 300

_KEY = re.compile(r"[A-Za-z0-9_.-]{1,255}")

Object = dict[str, Any]
Parameters = Mapping[str, Any]
# Each as the provider's address of it under /v1/.
Kind = Literal[
    "charges", "checkout/sessions", "disputes", "events", "invoices", "payment_intents", "refunds", "subscriptions"
]
Made = Literal["checkout/sessions", "prices", "refunds"]


class ProviderError(Exception):
    """The provider did not do what was asked; the message is for operators."""


class NotSetUp(ProviderError):
    """No provider is configured, or it does not take our key: no call will do better until that is mended."""


class Refused(ProviderError):
    """The provider answered no, and nothing was done; `code` and `parameter` are its own words, where it gave some."""

    def __init__(self, message: str, *, code: str = "", parameter: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.parameter = parameter


class Missing(Refused):
    """There is no such object at the provider."""


class Unanswered(ProviderError):
    """Whether it was done is not known: ask again with the same key, or look it up.

    `is_kept` says that the provider keeps this answer under the key for a day, so that the same key asks in vain.
    """

    def __init__(self, message: str, *, is_kept: bool = False) -> None:
        super().__init__(message)
        self.is_kept = is_kept


class Payments:
    """The provider behind one secret key; without a key every call raises NotSetUp.

    Every call raises NotSetUp, Refused, Missing or Unanswered, and ends within CALL_SECONDS_MAX. Amounts are minor
    units of their currency, moments are seconds since 1970, as the provider has them. A call with a key may be
    repeated: the same key with the same parameters is answered the same for a day.
    """

    def __init__(self, secret_key: str | None, *, api_base: str | None = None) -> None:
        """`api_base`: another address than the provider's own. Raises ValueError naming the variable that is wrong."""
        if secret_key is not None and not _KEY.fullmatch(secret_key):
            raise ValueError(
                "ATRIUM_STRIPE_SECRET_KEY is no key of the provider's: it has spaces or strange characters"
            )
        self._secret_key = secret_key
        self._api_base = None if api_base is None else _checked(api_base)

    @property
    def is_set_up(self) -> bool:
        """Whether a provider is configured."""
        return self._secret_key is not None

    @property
    def is_live(self) -> bool:
        """Whether real money moves: the provider's keys name their mode, sk_live_… and rk_live_…."""
        return "_live_" in (self._secret_key or "")[:8]

    async def get(self, kind: Kind, object_id: str) -> Object:
        """One object as it is now."""
        return await self._send("get", f"/v1/{kind}/{_part(object_id)}", {})

    async def list(self, kind: Kind, /, **filters: Any) -> AsyncIterator[Object]:
        """Objects newest first, page after page; e.g. `created={"gte": 1767225600}`."""
        asked: dict[str, Any] = {"limit": PAGE_ROWS, **filters}
        for _ in range(PAGES_MAX):
            page = await self._send("get", f"/v1/{kind}", asked)
            for each in page["data"]:
                yield each
            if not page["has_more"] or not page["data"]:
                return
            asked["starting_after"] = page["data"][-1]["id"]
        raise ProviderError(f"the provider's list of {kind} has more than {PAGES_MAX * PAGE_ROWS:,} rows")

    async def create(self, kind: Made, made_of: Parameters, /, *, key: str) -> Object:
        """Make an object."""
        return await self._send("post", f"/v1/{kind}", made_of, key=key)

    async def update_subscription(self, subscription_id: str, change: Parameters, /, *, key: str) -> Object:
        """The subscription after the change."""
        return await self._send("post", f"/v1/subscriptions/{_part(subscription_id)}", change, key=key)

    async def end_subscription(self, subscription_id: str, /, *, key: str) -> Object:
        """End a subscription at once, nothing being paid back. Raises Refused where it has ended."""
        return await self._send("delete", f"/v1/subscriptions/{_part(subscription_id)}", {}, key=key)

    async def expire_session(self, session_id: str, /, *, key: str) -> Object:
        """Close an open checkout page for good. Raises Refused where it is no longer open."""
        return await self._send("post", f"/v1/checkout/sessions/{_part(session_id)}/expire", {}, key=key)

    async def close(self) -> None:
        """Let go of the connections."""
        if "_http" in self.__dict__:
            await self._http.close_async()  # type: ignore[no-untyped-call]

    @functools.cached_property
    def _http(self) -> stripe.HTTPXClient:
        return stripe.HTTPXClient(timeout=REQUEST_SECONDS_MAX)

    @functools.cached_property
    def _client(self) -> stripe.StripeClient:
        if self._secret_key is None:
            raise NotSetUp("no payment provider is set up: ATRIUM_STRIPE_SECRET_KEY")
        return stripe.StripeClient(
            self._secret_key,
            stripe_version=API_VERSION,
            base_addresses={} if self._api_base is None else {"api": self._api_base},
            http_client=self._http,
            max_network_retries=TRIES_AGAIN_MAX,
        )

    async def _send(
        self, method: Literal["get", "post", "delete"], path: str, sent: Parameters, /, *, key: str | None = None
    ) -> Object:
        options = {} if key is None else {"idempotency_key": key}
        try:
            # The library's own limit is one of each try; a caller waits for all of them together.
            async with asyncio.timeout(CALL_SECONDS_MAX):
                answer = await self._client.raw_request_async(method, path, **sent, **options)
        except TimeoutError:
            raise Unanswered(f"the provider did not answer {path} in {CALL_SECONDS_MAX:.0f} seconds") from None
        except stripe.StripeError as error:
            raise _told(error, path) from error
        found: Object = answer.data
        return found


def _part(object_id: str) -> str:
    return quote(object_id, safe="")


def _checked(api_base: str) -> str:
    parts = urlsplit(api_base.rstrip("/"))
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or "@" in parts.netloc:
        raise ValueError("ATRIUM_STRIPE_API_BASE is http(s)://host[:port]")
    return api_base.rstrip("/")


def _told(error: stripe.StripeError, path: str) -> ProviderError:
    """The library's error as one of ours. What is neither a yes nor a no is unanswered."""
    said = f"{path}: {(error.user_message or str(error))[:MESSAGE_CHARACTERS_MAX]}"
    code, parameter = str(error.code or ""), str(getattr(error, "param", None) or "")
    if isinstance(error, (stripe.AuthenticationError, stripe.PermissionError)):
        return NotSetUp(f"{said} (is ATRIUM_STRIPE_SECRET_KEY right?)")
    if isinstance(error, stripe.APIConnectionError):
        return Unanswered(f"{path}: it cannot be reached, or did not answer")
    if error.http_status == 404:
        return Missing(said, code=code, parameter=parameter)
    if isinstance(error, (stripe.InvalidRequestError, stripe.CardError, stripe.IdempotencyError)):
        return Refused(said, code=code, parameter=parameter)
    # Refusals and conflicts are not kept under the key; a fault of the provider's own is, with its answer.
    return Unanswered(said, is_kept=(error.http_status or 0) >= 500)
