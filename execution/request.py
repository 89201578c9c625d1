"""Reads one GraphQL request off HTTP, under limits of bytes and time; what is no request is refused with its status.

What the operation means is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.types import Receive, Scope

from base import errors
from execution import unreadable
from execution.bounds import Gone, within
from execution.exchange import EXCHANGE, Exchange
from tenancy.answers import JSON, Refused, bad
from tenancy.head import Head

BODY_BYTES_MAX = 1024 * 1024
BODY_SECONDS_MAX = 15.0
PARAMETERS_MAX = 20
BODY = "The body"
# A length of fewer digits is below the limit.
SMALL_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Asked:
    """One operation as the client put it."""

    query: str
    variables: dict[str, Any] | None
    operation_name: str | None
    tells_cost: bool = False  # `extensions: {"cost": true}`

    @classmethod
    def of(cls, told: object) -> Asked:
        """Checks the kinds of the parameters; unknown ones are left out. Raises Refused (400)."""
        if isinstance(told, list):
            raise bad(400, "One operation a request: batches are not served.")
        if not isinstance(told, dict):
            raise bad(400, 'A request is a JSON object: {"query": "…", "variables": {…}}.')
        query = told.get("query")
        if not isinstance(query, str):
            raise bad(400, 'Parameter "query" must be a string.')
        if len(told) == 1:
            return cls(query, None, None)
        name = _kind(told, "operationName", str, "a string")
        variables = _kind(told, "variables", dict, "an object")
        extensions = _kind(told, "extensions", dict, "an object")
        return cls(query, variables, name or None, extensions is not None and extensions.get("cost") is True)


def _kind(told: dict[str, Any], name: str, kind: type, says: str, /) -> Any:
    value = told.get(name)
    if value is not None and not isinstance(value, kind):
        raise bad(400, f'Parameter "{name}" must be {says}.')
    return value


def is_plain(head: Head) -> bool:
    """Whether the headers of a POST say that its body is JSON, as it is, and below the limit."""
    return head.content_type == JSON and not head.content_encoding and len(head.content_length) <= SMALL_DIGITS


def known(exchange: Exchange) -> Asked | None:
    """The request of a POST whose body is there as a whole; None for one that is to be refused."""
    try:
        return Asked.of(orjson.loads(exchange.body))
    except (orjson.JSONDecodeError, RecursionError, Refused):
        return None


async def read(scope: Scope, receive: Receive, head: Head) -> Asked:
    """The request of a GET or POST. Raises Refused (400, 413, 415), TimedOut (408), Gone."""
    asked: Asked | None = scope["state"].get("asked")
    if asked is not None:
        return asked
    if scope["method"] == "GET":
        return _of_query_string(scope["query_string"])
    if not is_plain(head):
        _check(head)
    exchange: Exchange = scope["extensions"][EXCHANGE]
    body = exchange.whole_body()
    if body is None:
        body = await within(_body(receive), seconds=BODY_SECONDS_MAX)
    if body is None:
        raise errors.TimedOut(f"The request was not sent within {BODY_SECONDS_MAX:.0f} seconds.")
    return Asked.of(_json(body, BODY))


def _check(head: Head) -> None:
    kind, *parameters = (part.strip().lower() for part in head.content_type.split(";"))
    charset = [part[8:].strip('"') for part in parameters if part.startswith("charset=")]
    if kind != JSON or any(name not in ("utf-8", "utf8") for name in charset):
        raise bad(415, "Send the request as application/json in UTF-8.")
    # An inflated body could not be counted by what was sent.
    if (head.content_encoding or "identity").lower() != "identity":
        raise bad(415, "Send the body as it is, without Content-Encoding.")
    length = head.content_length
    if length.isdecimal() and (len(length) > 15 or int(length) > BODY_BYTES_MAX):
        raise _too_large()


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        part = message.get("body", b"")
        size += len(part)
        if size > BODY_BYTES_MAX:
            raise _too_large()
        if not message.get("more_body", False):
            return b"".join((*parts, part)) if parts else part
        parts.append(part)


def _too_large() -> Exception:
    # What is left of the body is not read: the connection ends with the answer.
    return bad(413, f"A request has at most {BODY_BYTES_MAX:,} bytes.", [(b"connection", b"close")])


def _of_query_string(text: bytes) -> Asked:
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=PARAMETERS_MAX)
    except (UnicodeDecodeError, ValueError):
        raise bad(400, "The query string is no list of parameters in UTF-8.") from None
    told: dict[str, Any] = {}
    for name, value in pairs:
        if name in told:
            raise bad(400, "A parameter is given twice.")
        told[name] = value
    for name in ("variables", "extensions"):
        if told.get(name):
            told[name] = _json(told[name].encode(), f'Parameter "{name}"')
        else:
            told.pop(name, None)
    return Asked.of(told)


def _json(text: bytes, what: str) -> object:
    try:
        return orjson.loads(text)
    except (orjson.JSONDecodeError, RecursionError):
        raise bad(400, unreadable.reason(text, what, is_variables=what != BODY)) from None
