"""Offers a claimed job to the provider that the effect's algorithm names: one signed POST, through the egress check.

202 means accepted: from then on the provider speaks through the worker fields with its lease token. Anything else is
told apart as refused (do not ask again) or unavailable (ask again later).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import orjson

from outside import signing_webhooks
from outside.egress import Egress, EgressFailed, EgressRefused

OFFER_SECONDS_MAX = 15.0
PROVIDERS_MAX = 100
ACCEPTED = 202
TOO_EARLY, TOO_MANY, TIMED_OUT = 425, 429, 408


@dataclass(frozen=True)
class Provider:
    name: str
    url: str
    secret: str = field(repr=False)


class ProviderRefused(Exception):
    """The provider said no, or may not be asked: the same claim would be refused again."""


class ProviderUnavailable(Exception):
    """No answer, or one that says later: whether the claim arrived is unknown, its lease decides."""


def parse_providers(text: str) -> dict[str, Provider]:
    """Read ATRIUM_JOB_PROVIDERS. Raises ValueError naming the provider, never its secret."""
    try:
        given = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        raise ValueError("ATRIUM_JOB_PROVIDERS is no JSON") from None
    if not isinstance(given, dict) or len(given) > PROVIDERS_MAX:
        raise ValueError(f"ATRIUM_JOB_PROVIDERS is an object of at most {PROVIDERS_MAX} providers")
    return {name: _provider(name, value) for name, value in given.items()}


def _provider(name: str, value: object) -> Provider:
    if not isinstance(value, dict) or set(value) != {"url", "secret"}:
        raise ValueError(f"provider {name!r} needs url and secret, and no more")
    url, secret = value["url"], value["secret"]
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise ValueError(f"provider {name!r}: url is no web address")
    secret = secret if isinstance(secret, str) else ""
    try:
        signing_webhooks.key_of(secret)
    except ValueError as error:
        raise ValueError(f"provider {name!r}: {error}") from None
    return Provider(name, url, secret)


async def offer(
    provider: Provider, claim: Mapping[str, object], *, egress: Egress, now: Callable[[], float] = time.time
) -> None:
    """POST the claim (jobId, attempt and what AiJobClaim holds). The webhook-id names job and attempt, so a provider
    that hears it twice can tell. Raises ProviderRefused, ProviderUnavailable.
    """
    body = orjson.dumps(claim)
    message_id = f"{claim['jobId']}.{claim['attempt']}"
    headers = signing_webhooks.sign([provider.secret], message_id=message_id, timestamp=int(now()), body=body)
    headers |= {"content-type": "application/json", "user-agent": "Atrium"}
    try:
        answer = await egress.post(provider.url, headers=headers, body=body, timeout_seconds=OFFER_SECONDS_MAX)
    except EgressRefused as error:
        raise ProviderRefused(f"The provider {provider.name} may not be reached: {error}.") from None
    except EgressFailed:
        raise ProviderUnavailable(f"The provider {provider.name} did not answer.") from None
    if answer.status == ACCEPTED:
        return
    said = f"The provider {provider.name} answered {answer.status}."
    if answer.status >= 500 or answer.status in (TIMED_OUT, TOO_EARLY, TOO_MANY):
        raise ProviderUnavailable(said)
    raise ProviderRefused(said)
