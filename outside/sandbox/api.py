"""The provider's HTTP API: who may call, which function answers, and what a key, a fault or a refusal makes of it."""

from __future__ import annotations

import functools
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import stripe
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from outside.sandbox import checkout, customers, disputes, faults, forms, invoices, prices, reading, refunds
from outside.sandbox import subscriptions as plans
from outside.sandbox.book import Book, new_id
from outside.sandbox.faults import ApiError, Fault
from outside.sandbox.forms import Given
from outside.sandbox.shapes import Body

BODY_BYTES_MAX = 1_000_000
KEY_CHARACTERS_MAX = 255

Handler = Callable[..., Body]


@dataclass(frozen=True)
class Call:
    """One request that may be answered; `asked` tells equal requests with one key from others."""

    handler: Handler
    places: dict[str, Any]
    values: dict[str, Any]
    key: str | None
    asked: str


@dataclass(eq=False)
class Api:
    """The routes under /v1 of one book. `next_fault` is consumed from its front, one each request; None is no fault."""

    book: Book
    secret_key: str
    base: Callable[[], str]
    next_fault: list[Fault | None] = field(default_factory=list)
    _in_flight: set[str] = field(default_factory=set)

    def routes(self) -> list[Route]:
        """Every address that is answered."""
        return [
            Route(f"/v1/{path}", functools.partial(self._answer, handler), methods=[method])
            for method, path, handler in _handlers(self.base)
        ]

    async def _answer(self, handler: Handler, request: Request) -> Response:
        try:
            self._authorise(request)
            return self._answered(await _call(handler, request))
        except ApiError as error:
            return told(error)

    def _authorise(self, request: Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(key.encode(), self.secret_key.encode()):
            raise ApiError("Invalid API Key provided.", status=401)
        version = request.headers.get("stripe-version", stripe.api_version)
        if version != stripe.api_version:
            raise ApiError(f"Invalid Stripe API version: {version}; the sandbox speaks {stripe.api_version} alone.")

    def _answered(self, call: Call) -> Response:
        if call.key is not None:
            kept = self.book.answered(call.key)
            if kept is not None and kept[0] != call.asked:
                raise faults.other_parameters(call.key)
            if kept is not None:
                return _json(kept[1], kept[2], replayed=True)
            if call.key in self._in_flight:
                raise faults.in_flight(call.key)
        fault = self.next_fault.pop(0) if self.next_fault else None
        match fault:
            case 409:
                raise faults.in_flight(call.key or "")
            case 429:
                raise faults.too_many()
            case 500:
                return self._broken(call)
            case "cut_before":
                return Unanswered()
            case "timeout_before":
                return Unanswered(held=self._in_flight, key=call.key)
        body = self._done(call)
        match fault:
            case "500_after":
                return self._broken(call)
            case "cut_after":
                return Unanswered()
            case "timeout_after":
                return Unanswered(held=set(), key=call.key)
        return _json(200, body)

    def _done(self, call: Call) -> str:
        """Do what is asked and keep the answer under its key, whole or not at all."""
        with self.book.call():
            checkout.expire_due(self.book)
        with self.book.call():
            given = Given(call.values)
            expand = given.texts("expand")
            found = call.handler(self.book, given, **call.places)
            given.finish()
            body = json.dumps(reading.expanded(self.book, found, expand))
            if call.key is not None:
                self.book.keep_answer(call.key, asked=call.asked, status=200, body=body)
        return body

    def _broken(self, call: Call) -> Response:
        """500, which is kept under its key like an answer."""
        error = faults.broken()
        if call.key is not None:
            with self.book.call():
                self.book.keep_answer(call.key, asked=call.asked, status=500, body=json.dumps(error.body))
        return told(error)


class Unanswered(Response):
    """The connection ends in the middle of an answer; with `held` not before the caller has left."""

    def __init__(self, *, held: set[str] | None = None, key: str | None = None) -> None:
        super().__init__()
        self._held = held
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        if self._held is not None:
            self._held.add(self._key or "")
            while (await receive())["type"] != "http.disconnect":
                pass
            self._held.discard(self._key or "")
        # A length is promised and not kept: the server closes the connection.
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})


def told(error: ApiError) -> Response:
    """An error as the provider answers it."""
    return _json(error.status, json.dumps(error.body))


def _json(status: int, body: str, *, replayed: bool = False) -> Response:
    headers = {"request-id": f"req_{new_id('event')[4:18]}", "stripe-version": stripe.api_version}
    if replayed:
        headers["idempotent-replayed"] = "true"
    return Response(body, status, headers, "application/json")


async def _call(handler: Handler, request: Request) -> Call:
    """What a request asks for: its form, or for GET and DELETE its query too. Raises ApiError."""
    pairs = forms.pairs_of(request.url.query.encode())
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise ApiError("The request is too large.", status=413)
    kind = request.headers.get("content-type", "application/x-www-form-urlencoded").partition(";")[0].strip()
    if body and kind != "application/x-www-form-urlencoded":
        raise ApiError("Invalid request: parameters are sent as application/x-www-form-urlencoded.")
    values = forms.decoded([*pairs, *forms.pairs_of(body)])
    # The provider gives keys a meaning for what creates or changes alone.
    key = request.headers.get("idempotency-key") if request.method == "POST" else None
    if key is not None and len(key) > KEY_CHARACTERS_MAX:
        raise ApiError("Idempotency keys have at most 255 characters.", kind="idempotency_error")
    asked = hashlib.sha256(f"{request.url.path}\n{json.dumps(values, sort_keys=True)}".encode()).hexdigest()
    return Call(handler, request.path_params, values, key, asked)


def _handlers(base: Callable[[], str]) -> Iterator[tuple[str, str, Handler]]:
    """(method, address under /v1/, function) of all that can be called."""

    def create_session(book: Book, given: Given) -> Body:
        return checkout.create(book, given, base=base())

    yield from (
        ("POST", "checkout/sessions", create_session),
        ("POST", "checkout/sessions/{id}", checkout.update),
        ("POST", "checkout/sessions/{id}/expire", checkout.expire),
        ("GET", "checkout/sessions/{id}/line_items", reading.lines),
        ("POST", "customers", customers.create),
        ("POST", "customers/{id}", customers.update),
        ("POST", "disputes/{id}/close", disputes.give_in),
        ("POST", "invoices/{id}/pay", plans.pay_open),
        ("POST", "invoices/{id}/void", invoices.void),
        ("POST", "prices", prices.create_price),
        ("POST", "prices/{id}", prices.update_price),
        ("POST", "products", prices.create_product),
        ("POST", "refunds", refunds.create),
        ("POST", "refunds/{id}", refunds.update),
        ("POST", "refunds/{id}/cancel", refunds.call_off),
        ("POST", "subscriptions/{id}", plans.update),
        ("DELETE", "subscriptions/{id}", plans.cancel),
    )
    for address, (kind, _) in reading.LISTS.items():
        yield "GET", address, functools.partial(reading.page, address=address)
        yield "GET", f"{address}/{{id}}", functools.partial(reading.one, kind=kind)
