"""GraphQL over HTTP: a request, its stages by name, an answer. Every refusal is a GraphQL body with a code.

Reading is `execution/request.py`, running `execution/plans.py` or else `execution/library.py`, telling
`execution/response.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from typing import Any

from graphql import ExecutionResult, GraphQLError, OperationType
from starlette.types import Receive, Scope, Send

from base import errors, observe
from execution import request, response
from execution.bounds import Gone, OnHangUp, within
from execution.document import Document
from execution.exchange import EXCHANGE, Exchange
from execution.library import Executor
from execution.plans import Plans
from execution.request import Asked
from execution.whole import Whole, Wholes
from tenancy import answers
from tenancy.context import Context
from tenancy.head import Head
from tenancy.middleware import Seen
from tenancy.origins import Origins

EXECUTION_SECONDS_MAX = 30.0
LINGER_SECONDS_MAX = 2.0
OK, ERROR, REFUSED, GONE = (observe.REQUESTS.labels(name) for name in ("ok", "error", "refused", "gone"))


class Endpoint:
    """ASGI for `/graphql` over HTTP; the middleware has put context, head and seen into the state."""

    def __init__(self, executor: Executor, origins: Origins) -> None:
        self._plans = Plans(executor)
        self._wholes = Wholes()
        self._origins = origins

    def known(self, exchange: Exchange) -> bytes | None:
        """The body of a POST's answer, where nobody has to be waited for; None, and nothing done, otherwise.

        Raises Denial.
        """
        state = exchange.scope["state"]
        head: Head = state["head"]
        context: Context = state["context"]
        if head.media is None or not request.is_plain(head):
            return None
        known = self._wholes.get(exchange.body, context) or self._looked(exchange, context)
        if not isinstance(known, Whole):
            state["asked"] = known
            return None
        if not known.paid(context):
            return None
        if known.operation_name is not None:
            state["seen"].name(known.operation_name)
        return known.body

    def _looked(self, exchange: Exchange, context: Context) -> Whole | Asked | None:
        """What the body asks for, or the whole answer to it; kept where the same body will find the same."""
        asked = request.known(exchange)
        if asked is None or asked.tells_cost or _may_write(asked):
            return asked
        variables, name = asked.variables, asked.operation_name
        whole = self._plans.whole(context, asked.query, variables=variables, operation_name=name)
        if whole is not None:
            self._wholes.keep(exchange.body, whole)
        elif self._plans.is_somebodys(asked.query, operation_name=name):
            self._wholes.keep(exchange.body, asked)
        return whole or asked

    def put(self, exchange: Exchange, body: bytes) -> None:
        """Send what was known."""
        state = exchange.scope["state"]
        seen: Seen = state["seen"]
        OK.inc()
        exchange.put(200, _ended(seen, state["head"], 200), body)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method: str = scope["method"]
        if method == "OPTIONS":
            await self._preflight(scope, send)
            return
        state = scope["state"]
        seen: Seen = state["seen"]
        head: Head = state["head"]
        try:
            if method not in ("GET", "POST"):
                raise answers.bad(405, "Send a POST, or a GET for a query.", [(b"allow", b"GET, POST, OPTIONS")])
            media = head.media
            if media is None:
                raise answers.bad(406, f"Answers are {answers.GRAPHQL} or {answers.JSON}.")
            asked = await request.read(scope, receive, head)
            if asked.operation_name is not None:
                seen.name(asked.operation_name)
            context: Context = state["context"]
            watch = scope["extensions"][EXCHANGE].on_hang_up
            if _may_write(asked):
                result = await self._answer(context, asked, method=method, watch=watch)
            else:
                doing = _answering(self._plans, context, asked, None)
                result = await within(doing, seconds=EXECUTION_SECONDS_MAX, on_hang_up=watch) or timed_out()
        except Gone:
            GONE.inc()
            return
        except (answers.Refused, errors.Denial) as refused:
            REFUSED.inc()
            if isinstance(refused, answers.Refused) and refused.no.status == 413:
                await answers.refuse(scope, send, refused.no, meanwhile=_discard(receive))
                return
            raise
        if isinstance(result, bytes):
            status, body = 200, result
            OK.inc()
        else:
            status, body = _status(result, media), _body(result, seen.request_id)
            (ERROR if result.errors else OK).inc()
        exchange: Exchange = scope["extensions"][EXCHANGE]
        await exchange.answer(status, _ended(seen, head, status), body)

    async def _answer(self, context: Context, asked: Asked, *, method: str, watch: OnHangUp) -> bytes | ExecutionResult:
        """Run what may be no query; bytes are a good answer's whole body.

        Raises Refused (405 for a mutation by GET), Gone.
        """
        opening = open_document(self._plans, context, asked)
        document = await within(opening, seconds=EXECUTION_SECONDS_MAX, on_hang_up=watch)
        if not isinstance(document, Document):
            # Not looked at again: another time it might be fit, and nobody would have asked what it does.
            return document or timed_out()
        kind = document.kind(asked.operation_name)
        if kind is OperationType.MUTATION and method == "GET":
            raise answers.bad(405, "Send a mutation by POST.", [(b"allow", b"POST")])
        if kind is OperationType.SUBSCRIPTION:
            raise answers.bad(400, "Subscriptions are served over WebSocket (graphql-transport-ws) on this path.")
        doing = _answering(self._plans, context, asked, document)
        # A mutation that was begun goes on without its client: half of one would be the worse answer.
        stays = None if kind is OperationType.MUTATION else watch
        return await within(doing, seconds=EXECUTION_SECONDS_MAX, on_hang_up=stays) or timed_out()

    async def _preflight(self, scope: Scope, send: Send) -> None:
        allowed = self._origins.headers(answers.header(scope, b"origin"), preflight=True)
        # The origin itself is told by the middleware, as with every answer.
        own = [each for each in allowed if each[0] not in (b"vary", b"access-control-allow-origin")]
        headers = [(b"allow", b"GET, POST, OPTIONS"), (b"content-length", b"0"), *own]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def _may_write(asked: Asked) -> bool:
    # The keyword is in the text of whatever is not a query, so that most requests look nothing up twice.
    return "mutation" in asked.query or "subscription" in asked.query


def _ended(seen: Seen, head: Head, status: int) -> bytes:
    """Count the time that an answer took; its headers."""
    observe.REQUEST_SECONDS.observe(time.perf_counter() - seen.began)
    seen.status = status
    return b"%bx-request-id: %b\r\n" % (head.lines, seen.request_id.encode())


async def _discard(receive: Receive) -> None:
    """Read on for a moment: a connection that ends with unread bytes would take the answer with it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS_MAX):
            while (await receive()).get("more_body", False):
                pass


def open_document(plans: Plans, ctx: Context, asked: Asked) -> Coroutine[Any, Any, Document | ExecutionResult]:
    """The document of a request, or why it is none."""
    return plans.opened(ctx, asked.query, variables=asked.variables, operation_name=asked.operation_name)


async def execute(plans: Plans, ctx: Context, asked: Asked, document: Document, /) -> bytes | ExecutionResult:
    """Run a query or mutation within the time that one has. Raises RateLimited."""
    return await within(_answering(plans, ctx, asked, document), seconds=EXECUTION_SECONDS_MAX) or timed_out()


def _answering(
    plans: Plans, ctx: Context, asked: Asked, document: Document | None, /
) -> Coroutine[Any, Any, bytes | ExecutionResult]:
    return plans.answer(
        ctx,
        document or asked.query,
        variables=asked.variables,
        operation_name=asked.operation_name,
        tells_cost=asked.tells_cost,
    )


def timed_out() -> ExecutionResult:
    """What is told of an operation that took too long."""
    message = f"The operation took longer than {EXECUTION_SECONDS_MAX:.0f} seconds."
    return ExecutionResult(None, [GraphQLError(message, extensions={"code": errors.TimedOut.code})])


def _body(result: ExecutionResult, request_id: str) -> bytes:
    return response.dumped(response.content(result, request_id), request_id)


def _status(result: ExecutionResult, media: str) -> int:
    """What the specification says: 200 for every answer to a well-formed request in plain JSON, else by what it was."""
    if response.began(result) or result.errors is None:
        return 200
    code = (result.errors[0].extensions or {}).get("code")
    if code == errors.TimedOut.code:
        return 503
    return 200 if media == answers.JSON else 400
