"""GraphQL over WebSocket (graphql-transport-ws): one socket, its operations, and an end as soon as it may no longer be.

A socket is asked again who it is: it ends within a second after its token was revoked or expired or its tenant
suspended. The library's own protocol handler is not used: limits, masking and identity are ours.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import Any, NoReturn

import orjson
from graphql import ExecutionResult, GraphQLError, OperationType
from starlette.types import Receive, Scope, Send

from base import errors, observe
from base.bus import Notice
from db.zones import TenantState
from execution import endpoint, response
from execution.bounds import within
from execution.document import Document
from execution.library import Executor
from execution.plans import Plans, denied
from execution.request import Asked
from tenancy import answers, middleware
from tenancy.context import Context
from tenancy.directory import TOPIC as DIRECTORY
from tenancy.middleware import Seen
from tenancy.origins import Origins
from tenancy.viewer import TOPIC as ACCESS_TOKEN

PROTOCOL = "graphql-transport-ws"
INIT_SECONDS_MAX = 10.0
GOODBYE_SECONDS_MAX = 5.0
OPERATIONS_MAX = 100
ID_CHARACTERS_MAX = 200
REASON_BYTES_MAX = 120
CHECK_SECONDS = 0.5
# Changes are told by the bus; this is for what no notice tells, such as a lost one.
FULL_CHECK_SECONDS = 30.0

GOING_AWAY = 1001
BAD_MESSAGE = 4400
NOT_INITIALISED = 4401
FORBIDDEN = 4403
BAD_PROTOCOL = 4406
INIT_TIMEOUT = 4408
DUPLICATE_ID = 4409
TOO_MANY = 4429


class Ends(Exception):
    """Closes the socket with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Live:
    """ASGI for WebSockets on `/graphql`, and the sockets that are open in this process."""

    def __init__(self, executor: Executor, origins: Origins) -> None:
        self._executor = executor
        self._origins = origins
        self._open: set[Socket] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: Context = scope["state"]["context"]
        if not self._origins.welcomes(answers.header(scope, b"origin"), own=context.origin):
            raise answers.Refused(answers.No(403, errors.Forbidden.code, "This origin may not open a socket here."))
        await receive()
        if PROTOCOL not in scope["subprotocols"]:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": BAD_PROTOCOL, "reason": "Subprotocol not acceptable"})
            return
        socket = Socket(self._executor, scope, receive, send)
        self._open.add(socket)
        try:
            await socket.run()
        finally:
            self._open.discard(socket)
            socket.gone.set()

    async def close(self) -> None:
        """End every socket with 1001: the server is going away."""
        for socket in tuple(self._open):
            socket.end(Ends(GOING_AWAY, "The server is going away"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS_MAX):
                await asyncio.gather(*(socket.gone.wait() for socket in tuple(self._open)))


class Socket:
    """One connection: reads messages, runs operations beside each other, ends once and for one reason."""

    def __init__(self, executor: Executor, scope: Scope, receive: Receive, send: Send, /) -> None:
        self._executor = executor
        self._plans = Plans(executor)
        self._context: Context = scope["state"]["context"]
        self._seen: Seen = scope["state"]["seen"]
        self._receive = receive
        self._send_raw = send
        self._header = answers.header(scope, b"authorization")
        self._initialised = False
        self._ready = False
        self._operations: dict[str, asyncio.Task[None]] = {}
        # What changes something: it goes on whoever hangs up, since half of it would be the worse answer.
        self._acting: set[asyncio.Task[None]] = set()
        self._told = asyncio.Event()
        self.gone = asyncio.Event()
        self._ended: asyncio.Future[Ends] = asyncio.get_running_loop().create_future()

    def end(self, how: Ends) -> None:
        """Close the socket; the first reason counts."""
        if not self._ended.done():
            self._ended.set_result(how)

    async def run(self) -> None:
        """Serve until either side ends it."""
        await self._send_raw({"type": "websocket.accept", "subprotocol": PROTOCOL})
        timer = asyncio.get_running_loop().call_later(INIT_SECONDS_MAX, self._late)
        reading, watching = asyncio.create_task(self._read()), asyncio.create_task(self._watch())
        try:
            await asyncio.wait((reading, watching, self._ended), return_when=asyncio.FIRST_COMPLETED)
            if self._ended.done():
                await self._say_goodbye(self._ended.result())
            else:
                for task in (reading, watching):
                    if task.done():
                        task.result()
        finally:
            timer.cancel()
            running = {reading, watching, *self._operations.values(), *self._acting}
            self._operations.clear()
            for task in running - self._acting:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _late(self) -> None:
        if not self._ready:
            self.end(Ends(INIT_TIMEOUT, "Connection initialisation timeout"))

    async def _say_goodbye(self, how: Ends) -> None:
        reason = how.reason.encode()[:REASON_BYTES_MAX].decode("utf-8", "ignore")
        with contextlib.suppress(Exception):
            await self._send_raw({"type": "websocket.close", "code": how.code, "reason": reason})

    # ---------------------------------------------------------------- messages

    async def _read(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self._seen.status = message.get("code", 1005)
                return
            try:
                await self._take(message.get("text"))
            except Ends as how:
                self.end(how)
                return

    async def _take(self, text: str | None) -> None:
        try:
            told = orjson.loads(text or "")
        except (orjson.JSONDecodeError, RecursionError):
            told = None
        if not isinstance(told, dict):
            raise Ends(BAD_MESSAGE, "Invalid message received")
        kind = told.get("type")
        if kind == "connection_init":
            await self._initialise(told.get("payload"))
        elif kind == "ping":
            await self._send({"type": "pong"})
        elif kind == "subscribe":
            self._start(told)
        elif kind == "complete" and isinstance(told.get("id"), str):
            task = self._operations.pop(told["id"], None)
            if task is not None and task not in self._acting:
                task.cancel()
        elif kind != "pong":
            raise Ends(BAD_MESSAGE, "Invalid message received")

    async def _initialise(self, payload: object) -> None:
        if self._initialised:
            raise Ends(TOO_MANY, "Too many initialisation requests")
        self._initialised = True
        given = payload.get("authorization", payload.get("Authorization")) if isinstance(payload, dict) else None
        header = given if isinstance(given, str) else self._header
        try:
            self._context = await middleware.authorised(self._context, header, pays=True)
        except errors.RateLimited as denial:
            raise Ends(TOO_MANY, denial.message) from None
        if header and self._context.viewer is None and not self._context.is_worker:
            raise Ends(FORBIDDEN, "This access token is of another tenant, expired or unknown")
        self._header = header
        self._ready = True
        # A notice that came while the token was looked up concerned nobody yet.
        self._told.set()
        await self._send({"type": "connection_ack"})

    def _start(self, told: dict[str, Any]) -> None:
        if not self._ready:
            raise Ends(NOT_INITIALISED, "Unauthorized")
        key = told.get("id")
        if not isinstance(key, str) or not 0 < len(key) <= ID_CHARACTERS_MAX:
            raise Ends(BAD_MESSAGE, "Invalid message received")
        if key in self._operations:
            raise Ends(DUPLICATE_ID, f"Subscriber for {key} already exists")
        if len({*self._operations.values(), *self._acting}) >= OPERATIONS_MAX:
            raise Ends(TOO_MANY, f"More than {OPERATIONS_MAX} operations on one socket")
        try:
            asked = Asked.of(told.get("payload"))
        except answers.Refused:
            raise Ends(BAD_MESSAGE, "Invalid message received") from None
        self._operations[key] = asyncio.create_task(self._operate(key, asked))

    async def _send(self, told: dict[str, Any]) -> None:
        body = response.dumped(told, self._context.request_id)
        await self._send_raw({"type": "websocket.send", "text": body.decode()})

    # ---------------------------------------------------------------- operations

    async def _operate(self, key: str, asked: Asked) -> None:
        try:
            try:
                refused = await self._answered(key, asked)
                observe.REQUESTS.labels("ok" if refused is None else "refused").inc()
            except Exception as error:
                # The other operations of the socket have no part in it.
                refused = self._fault(error)
            if self._is_asked(key):
                del self._operations[key]
                await self._last(key, refused)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if not self._ended.done():
                self._fault(error)
                self.end(Ends(1011, "Internal error"))

    def _fault(self, error: Exception) -> ExecutionResult:
        """What is told of a fault of ours, which is noted for the operator."""
        observe.note(observe.Event.INTERNAL_ERROR, failure=error, id=self._context.request_id)
        no = answers.internal(self._context.request_id)
        return ExecutionResult(None, [GraphQLError(no.message, extensions={"code": no.code})])

    def _is_asked(self, key: str) -> bool:
        """Whether the client still waits for the operation at hand; a completed one's key may be another's by now."""
        return self._operations.get(key) is asyncio.current_task()

    async def _answered(self, key: str, asked: Asked) -> ExecutionResult | None:
        """Send what an operation answers; returned is why there is nothing."""
        try:
            opening = endpoint.open_document(self._plans, self._context, asked)
            opened = await within(opening, seconds=endpoint.EXECUTION_SECONDS_MAX)
            if not isinstance(opened, Document):
                return opened or endpoint.timed_out()
            kind = opened.kind(asked.operation_name)
            if kind is OperationType.SUBSCRIPTION:
                return await self._follow(key, asked, opened)
            result = await self._executed(asked, opened, acts=kind is OperationType.MUTATION)
        except errors.Denial as denial:
            return denied(denial)
        if isinstance(result, ExecutionResult) and not response.began(result):
            return result
        if self._is_asked(key):
            await self._next(key, result)
        return None

    async def _executed(self, asked: Asked, document: Document, *, acts: bool) -> bytes | ExecutionResult:
        task = asyncio.current_task()
        if not acts or task is None:
            return await endpoint.execute(self._plans, self._context, asked, document)
        self._acting.add(task)
        try:
            return await endpoint.execute(self._plans, self._context, asked, document)
        finally:
            self._acting.discard(task)

    async def _follow(self, key: str, asked: Asked, document: Document) -> ExecutionResult | None:
        """Send the events of a subscription; the answer says why there are none."""
        results = await self._plans.subscribe(
            self._context, document, variables=asked.variables, operation_name=asked.operation_name
        )
        if isinstance(results, ExecutionResult):
            return results
        with observe.LIVE.track_inprogress():
            async with contextlib.aclosing(results) as events:
                async for result in events:
                    await self._next(key, result)
        return None

    async def _next(self, key: str, result: bytes | ExecutionResult) -> None:
        told: object
        if isinstance(result, bytes):
            told = orjson.Fragment(result)
        else:
            told = response.content(result, self._context.request_id)
        await self._send({"id": key, "type": "next", "payload": told})

    async def _last(self, key: str, refused: ExecutionResult | None) -> None:
        if refused is None:
            await self._send({"id": key, "type": "complete"})
        else:
            told = [response.formatted(error, self._context.request_id) for error in refused.errors or ()]
            await self._send({"id": key, "type": "error", "payload": told})

    # ---------------------------------------------------------------- identity

    async def _watch(self) -> NoReturn:
        def hear(notice: Notice) -> None:
            if notice.topic == "reset" or (notice.topic, notice.key) in self._concerns():
                self._told.set()

        silence = self._context.house.bus.listen(hear)
        loop = asyncio.get_running_loop()
        full_at = loop.time() + FULL_CHECK_SECONDS
        answered = True
        try:
            while True:
                # Not wait_for, which forgets (before 3.12) that it was cancelled in the moment that it was told.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_SECONDS):
                        await self._told.wait()
                full = not answered or self._told.is_set() or loop.time() >= full_at
                self._told.clear()
                self._check_expiry()
                if full:
                    full_at = loop.time() + FULL_CHECK_SECONDS
                    answered = await self._check()
        finally:
            silence()

    def _concerns(self) -> set[tuple[str, str]]:
        context, found = self._context, set()
        if context.viewer is not None:
            found.add((ACCESS_TOKEN, str(context.viewer.token_id)))
        if context.route is not None:
            found.add((DIRECTORY, str(context.route.tenant_id)))
        return found

    def _check_expiry(self) -> None:
        viewer, now = self._context.viewer, self._context.house.sessions.clock.now()
        if viewer is not None and viewer.expires_at is not None and viewer.expires_at <= now:
            self.end(Ends(FORBIDDEN, "The access token has expired"))

    async def _check(self) -> bool:
        """End the socket when who opened it may no longer.

        False where the database did not answer: that ends nothing, and is asked again.
        """
        known = context = self._context
        try:
            if context.route is not None:
                route = await context.house.directory.of_tenant(context.route.tenant_id)
                if route is None or route.state is not TenantState.ACTIVE:
                    self.end(Ends(FORBIDDEN, "This tenant is not served any more"))
                    return True
                context = replace(context, route=route)
            viewer = context.viewer
            if viewer is not None:
                again = await middleware.authorised(replace(context, viewer=None), self._header)
                if again.viewer is None or again.viewer.token_id != viewer.token_id:
                    self.end(Ends(FORBIDDEN, "The access token was revoked"))
                    return True
                context = again
        except errors.CentralUnavailable:
            return False
        # Meanwhile the socket may have been initialised: what is older must not take its viewer away.
        if self._context is known:
            self._context = context
        return True
