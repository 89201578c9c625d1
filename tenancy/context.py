"""What every layer receives: tenant, pool, viewer, and the two ways to run an action.

`House` lives as long as the process, `Context` as long as a request or a piece of work.
Nothing about a tenant stands anywhere else.
"""

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeVar

from base import errors, observe
from base.bus import Bus, Notice
from base.ids import Cursors, IdGenerator
from base.sealing import Vault
from base.settings import Settings
from db import relay
from db.fence import Stale
from db.guard import Permit
from db.outbox import RECEIVERS, Envelope
from db.session import CentralSession, Done, PoolSession, Sessions, SystemSession
from db.zones import TenantId, TenantState
from tenancy.budgets import Budgets
from tenancy.directory import Directory, Route
from tenancy.limits import Rates
from tenancy.viewer import Viewer, Viewers

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

CHANGES_SECONDS_MIN = 0.5
DELIVERY_SECONDS_MAX = 2.0
REQUEST_ID_BITS = 96


@dataclass(frozen=True)
class House:
    """What a process has: settings, databases, directory, and the systems outside that it was given."""

    settings: Settings
    sessions: Sessions
    bus: Bus
    directory: Directory
    viewers: Viewers
    rates: Rates
    budgets: Budgets
    cursors: Cursors
    vault: Vault
    services: dict[type[Any], Any] = field(default_factory=dict)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    @property
    def ids(self) -> IdGenerator:
        """The process's one source of ids."""
        return self.sessions.ids

    def service(self, kind: type[T]) -> T:
        """The system outside of this kind (a file store, a mailer, …) that the process was started with."""
        service: T = self.services[kind]
        return service

    def spawn(self, doing: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        """Let something go on after the answer was given; the house waits for it when it closes."""
        task = asyncio.create_task(doing)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def system(self, *, tenant: Route | None = None, request_id: str | None = None, origin: str = "") -> "Context":
        """A context that no request opened: workers, commands, deliveries."""
        return Context(
            house=self,
            request_id=request_id or new_request_id(),
            origin=origin,
            address="",
            route=tenant,
            viewer=None,
            is_system=True,
        )

    async def system_of(self, tenant: TenantId, *, request_id: str | None = None) -> "Context":
        """A system's context for a tenant. Raises TenantNotFound."""
        route = await self.directory.of_tenant(tenant)
        if route is None:
            raise errors.TenantNotFound("There is no such tenant.")
        return self.system(tenant=route, request_id=request_id)


def new_request_id() -> str:
    """An id that ties an answer, its log line and its events together: 24 hexadecimal digits, which open nothing."""
    return f"{random.getrandbits(REQUEST_ID_BITS):024x}"


@dataclass(frozen=True, slots=True)
class Context:
    """One request's, or one piece of work's, view of the house."""

    house: House
    request_id: str
    origin: str
    address: str
    route: Route | None
    viewer: Viewer | None
    is_worker: bool = False
    is_system: bool = False

    @property
    def tenant_id(self) -> TenantId:
        """The tenant of the request's host. Raises TenantRequired on a central host."""
        return self.tenant_route.tenant_id

    @property
    def tenant_route(self) -> Route:
        """The route of the request's host. Raises TenantRequired on a central host."""
        if self.route is None:
            raise errors.TenantRequired("This belongs to a tenant: ask on the tenant's own host.")
        return self.route

    @property
    def signed_in(self) -> Viewer:
        """The caller. Raises Unauthenticated."""
        if self.viewer is None:
            raise errors.Unauthenticated("Sign in first: send `Authorization: Bearer <token>`.")
        return self.viewer

    @property
    def member(self) -> Viewer:
        """The caller as a member of the host's tenant. Raises TenantRequired or Unauthenticated."""
        tenant, viewer = self.tenant_id, self.signed_in
        if viewer.tenant_id != tenant or not viewer.is_member:
            raise errors.Unauthenticated("This access token is of another tenant: sign in on this host.")
        return viewer

    def for_tenant(self, route: Route) -> "Context":
        """A system's context for another tenant, of the same request."""
        return self.house.system(tenant=route, request_id=self.request_id, origin=self.origin)

    # ---------------------------------------------------------------- permits: what the guard compares with

    def central_permit(self) -> Permit:
        """Own private rows, own tenant's rows, everybody's shared ones."""
        viewer = self.viewer
        return Permit() if viewer is None else Permit(tenant=viewer.tenant_id, owner=viewer.user_id)

    def pool_permit(self) -> Permit:
        """This tenant's rows; for a member, of the private ones only their own."""
        return Permit(tenant=self.tenant_id, owner=None if self.is_system else self.member.user_id)

    # ---------------------------------------------------------------- where actions run

    async def on_central(
        self, action: Callable[Concatenate[CentralSession, P], Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run an action in one transaction of the central database, for this caller."""
        return await self.house.sessions.central(CentralSession, self.central_permit(), action, *args, **kwargs)

    async def on_system(
        self, action: Callable[Concatenate[SystemSession, P], Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run an action that reaches INFRA tables; it narrows itself to the rows it means."""
        return await self.house.sessions.central(SystemSession, Permit(infra=True), action, *args, **kwargs)

    async def on_pool(
        self, action: Callable[Concatenate[PoolSession, P], Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run an action in one transaction of the tenant's pool, then deliver the events it emitted, in order.

        Two seconds are waited for the delivery; one that takes longer goes on by itself.
        """
        done: Done[R] = await self._in_pool(action, *args, **kwargs)
        await self._deliver_soon(done.envelopes)
        return done.value

    async def found(
        self, action: Callable[Concatenate[PoolSession, P], Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run the action that gives a tenant its first rows in its pool, its fence among them: none is checked."""
        sessions, permit = self.house.sessions, self.pool_permit()
        done = await sessions.found(self.tenant_route, permit, self.request_id, action, *args, **kwargs)
        await self._deliver_soon(done.envelopes)
        return done.value

    async def _deliver_soon(self, envelopes: list[Envelope]) -> None:
        if envelopes:
            delivering = self.house.spawn(self.deliver(envelopes))
            await asyncio.wait({delivering}, timeout=DELIVERY_SECONDS_MAX)

    async def _in_pool(
        self, action: Callable[Concatenate[PoolSession, P], Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Done[R]:
        permit, route = self.pool_permit(), self.tenant_route
        try:
            return await self.house.sessions.pool(route, permit, self.request_id, action, *args, **kwargs)
        except Stale:
            # The pool refused our route: ask again, and once only.
            self.house.directory.forget(route.tenant_id)
            fresh = await self.house.directory.of_tenant(route.tenant_id)
            if fresh is None or fresh.state is TenantState.ERASED:
                raise errors.TenantNotFound("There is no such tenant.") from None
            try:
                return await self.house.sessions.pool(fresh, permit, self.request_id, action, *args, **kwargs)
            except Stale:
                raise errors.PoolUnavailable("This tenant is changing its place: try again in a moment.") from None

    # ---------------------------------------------------------------- events

    async def deliver(self, envelopes: list[Envelope]) -> None:
        """Hand committed events to their receivers; one that fails, and what follows it, is left to the relay."""
        system = self.house.system(tenant=self.tenant_route, request_id=self.request_id, origin=self.origin)
        for envelope in envelopes:
            try:
                await receive(system, envelope)
            except Exception as error:
                observe.note(observe.Event.DELIVERY_FAILED, type=envelope.type, id=envelope.event_id, error=repr(error))
                await self.house.bus.tell([Notice("outbox", self.tenant_id)])
                return

    async def changes(self, topic: str, key: object) -> AsyncIterator[None]:
        """Yield at once, then after every notice of (topic, key), at most twice a second, until closed."""
        told = asyncio.Event()
        told.set()
        wanted = str(key)

        def hear(notice: Notice) -> None:
            if (notice.topic == topic and notice.key == wanted) or notice.topic == "reset":
                told.set()

        stop = self.house.bus.listen(hear)
        try:
            while True:
                await told.wait()
                told.clear()
                yield
                await asyncio.sleep(CHANGES_SECONDS_MIN)
        finally:
            with contextlib.suppress(ValueError):
                stop()


async def receive(system: Context, envelope: Envelope) -> None:
    """Run every receiver of an event, then take it out of its outbox."""
    event = envelope.event()
    for receiver in RECEIVERS.get(type(event), ()):
        await receiver(system, event, envelope)
    await system.on_pool(relay.forget, envelope.event_id)


def with_viewer(context: Context, viewer: Viewer | None) -> Context:
    """The same request, signed in (a WebSocket learns its token after it was opened)."""
    return dataclasses.replace(context, viewer=viewer)
