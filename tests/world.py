"""A world of a test's own: migrated databases on any engine, an open house, and people who speak through real actions.

Databases are migrated once a session and engine; a test gets copies of the files, or the servers' emptied.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import itertools
import pkgutil
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

import actions
from actions import identity
from actions.identity import tokens
from base import settings
from base.bus import Notice
from base.ids import Id
from base.settings import Settings
from db import engines
from db.migrations import run
from db.session import SystemSession
from db.tables.central.identity import AccessToken, MemberKind, TenantMember, User
from db.tables.central.work import IdWorker
from db.zones import CentralBase, PoolBase, TenantId, Zone
from outside import services
from tenancy.context import Context, House
from tenancy.house import close_house, open_house
from tests import databases

PASSWORD = "a long enough password"
SECRET = "k" * 40
WORKER_TOKEN = "w" * 40
# All callers of a test stand behind one address.
UNBOUNDED = dict.fromkeys(
    ("ATRIUM_BUDGET_ADDRESS", "ATRIUM_BUDGET_VIEWER", "ATRIUM_BUDGET_TENANT"), "1000000000+1000000000"
)
POOLS = ("tenant_pool_1", "tenant_pool_2")
PORT = 8000

ENGINES = [
    "sqlite",
    pytest.param("mariadb", marks=pytest.mark.services),
    pytest.param("postgresql", marks=pytest.mark.services),
]
on_every_engine = pytest.mark.parametrize("engine", ENGINES, indirect=True)


def _load_areas() -> None:
    """Receivers, founders and handlers are declared when their modules are loaded, as the server does at its start.

    An area that cannot be imported fails its own tests, not everybody's.
    """
    for module in pkgutil.walk_packages(actions.__path__, "actions.", onerror=lambda _: None):
        with contextlib.suppress(ImportError, SyntaxError):
            importlib.import_module(module.name)


_load_areas()


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an access token for one tenant."""

    name: str
    email: str
    password: str
    user_id: Id[User]
    tenant_id: TenantId
    token: str
    token_id: Id[AccessToken]

    @property
    def host(self) -> str:
        """The tenant's own host, without port."""
        return f"{self.tenant_id}.localhost"


@dataclass
class World:
    """An open house over databases that nobody else uses; ends with the test."""

    engine: str
    settings: Settings
    house: House
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def tenant(self, slug: str = "alice", *, name: str | None = None, referral: str | None = None) -> Person:
        """Somebody registers: the first `alice` is alice1, the next alice2 with an address of their own."""
        number = next(self._numbers)
        email = f"{slug}.{number}@example.com"
        # Everyone comes from an address of their own, so that the limit on registrations is left to its own tests.
        stranger = dataclasses.replace(self.central(), address=f"10.0.{number // 250}.{number % 250}")
        signed_in = await identity.register(
            stranger, name or slug.title(), email, PASSWORD, slug=slug, referral_slug=referral
        )
        return _person(name or slug.title(), email, signed_in)

    async def member(self, tenant: TenantId, name: str = "mary") -> Person:
        """A second member of a tenant, with a token for it (inviting comes with a later issue)."""
        email = f"{name}.{next(self._numbers)}@example.com"
        signed_in = await self.house.system().on_system(_join, self.house, tenant, name=name, email=email)
        return _person(name, email, signed_in)

    async def staff(self, slug: str = "sam") -> Person:
        """Somebody who registered and was made platform staff."""
        person = await self.tenant(slug)
        await self.house.system().on_system(_promote, person.user_id)
        await self.house.bus.tell([Notice("reset", "")])
        return person

    async def token(self, person: Person, *abilities: str) -> str:
        """One more token of somebody, with these abilities."""
        made = await self.house.system().on_system(_issue, self.house, person, abilities=list(abilities) or ["*"])
        return made.token

    def central(self) -> Context:
        """A visitor on a central host."""
        base = self.house.system(origin=f"http://localhost:{PORT}")
        return dataclasses.replace(base, address="127.0.0.1", is_system=False)

    async def of(self, person: Person, *, on: TenantId | None = None) -> Context:
        """A request of somebody on the host of their own tenant, or on another's."""
        tenant = on or person.tenant_id
        viewer = await self.house.viewers.of_token(person.token)
        if viewer is not None and viewer.tenant_id != tenant:
            viewer = None
        route = await self.house.directory.of_tenant(tenant)
        return dataclasses.replace(
            self.central(), origin=f"http://{tenant}.localhost:{PORT}", route=route, viewer=viewer
        )

    async def visitor(self, tenant: TenantId) -> Context:
        """A request on a tenant's host without a token."""
        route = await self.house.directory.of_tenant(tenant)
        return dataclasses.replace(self.central(), origin=f"http://{tenant}.localhost:{PORT}", route=route)

    async def system(self, tenant: TenantId) -> Context:
        """A worker's context for a tenant."""
        return await self.house.system_of(tenant)


def _person(name: str, email: str, signed_in: identity.SignedIn) -> Person:
    return Person(name, email, PASSWORD, signed_in.user_id, signed_in.tenant_id, signed_in.token, signed_in.token_id)


async def _join(db: SystemSession, house: House, tenant: TenantId, /, *, name: str, email: str) -> identity.SignedIn:
    user = User(id=db.new_id(), name=name, email=email, email_key=email, password_hash="none", is_staff=False)
    db.act_for(user.id, tenant=tenant)
    db.add(user)
    await db.flush()
    db.add(TenantMember(tenant_id=tenant, user_id=user.id, kind=MemberKind.STAFF))
    return await tokens.issue(db, house, user.id, tenant=tenant, abilities=["*"], device=None)


async def _promote(db: SystemSession, user_id: Id[User], /) -> None:
    db.act_for(user_id)
    await db.change(sa.update(User).where(User.id == user_id).values(is_staff=True))


async def _issue(db: SystemSession, house: House, person: Person, /, *, abilities: list[str]) -> identity.SignedIn:
    db.act_for(person.user_id, tenant=person.tenant_id)
    return await tokens.issue(db, house, person.user_id, tenant=person.tenant_id, abilities=abilities, device=None)


# ------------------------------------------------------------------------------------------- databases


@dataclass(frozen=True, slots=True)
class Migrated:
    """Databases at the head of their trees: the centre, then the pools by name."""

    central_url: str
    pools: dict[str, str]

    def urls(self) -> dict[str, str]:
        """Name → URL."""
        return {"central": self.central_url, **self.pools}


class Templates:
    """The session's migrated databases, made for an engine when the first test asks for it."""

    def __init__(self, folder: Path, closing: contextlib.AsyncExitStack) -> None:
        self._folder = folder
        self._closing = closing
        self._made: dict[str, Migrated] = {}

    async def fresh(self, engine: str, folder: Path) -> Migrated:
        """Empty migrated databases: for SQLite copies under `folder`, otherwise the session's own, emptied."""
        if engine not in self._made:
            self._made[engine] = await self._migrated(engine)
        template = self._made[engine]
        if engine == "sqlite":
            for name in template.urls():
                shutil.copyfile(self._folder / f"{name}.sqlite3", folder / f"{name}.sqlite3")
            return _files(folder)
        for name, url in template.urls().items():
            await _empty(url, CentralBase if name == "central" else PoolBase)
        return template

    async def _migrated(self, engine: str) -> Migrated:
        if engine == "sqlite":
            made = _files(self._folder)
        else:
            urls = [
                await self._closing.enter_async_context(databases.scratch(engine, f"world_{name}"))
                for name in ("central", *POOLS)
            ]
            made = Migrated(urls[0], dict(zip(POOLS, urls[1:], strict=True)))
        for name, url in made.urls().items():
            plain = engines.open_engine(url)
            tree, pool_name = (Zone.CENTRAL, None) if name == "central" else (Zone.POOL, name)
            await run.bring_up(plain, tree, pool_name=pool_name)
            await plain.dispose()
        return made


def _files(folder: Path) -> Migrated:
    def url(name: str) -> str:
        return f"sqlite+aiosqlite:///{folder / name}.sqlite3"

    return Migrated(url("central"), {name: url(name) for name in POOLS})


async def _empty(url: str, base: type[CentralBase | PoolBase]) -> None:
    """Delete every row but the pool's identity and the id spans, which a clock that stands still would give twice."""
    plain = engines.open_engine(url)
    try:
        async with plain.begin() as connection:
            await _without_keys(plain, connection)
            for table in reversed(base.metadata.sorted_tables):
                if table.name == IdWorker.__tablename__:
                    continue
                delete = sa.delete(table)
                await connection.execute(delete.where(table.c.tenant_id != "") if table.name == "fences" else delete)
    finally:
        await plain.dispose()


async def _without_keys(plain: AsyncEngine, connection: Any) -> None:
    switch = (
        "SET session_replication_role = replica" if plain.dialect.name == "postgresql" else "SET foreign_key_checks = 0"
    )
    await connection.exec_driver_sql(switch)


def environment(engine: str, made: Migrated, folder: Path, **more: str) -> dict[str, str]:
    """The variables of a process over these databases; SQLite files under its own folder are the embedded set-up."""
    own = {"ATRIUM_VAR": str(folder), "ATRIUM_SECRET_KEY": SECRET, "ATRIUM_WORKER_TOKEN": WORKER_TOKEN}
    own |= UNBOUNDED | more
    if engine != "sqlite":
        pools = ", ".join(f'"{name}": "{url}"' for name, url in made.pools.items())
        own |= {"ATRIUM_CENTRAL_URL": made.central_url, "ATRIUM_POOLS": f"{{{pools}}}"}
    return own


@contextlib.asynccontextmanager
async def opened(engine: str, made: Migrated, folder: Path, **more: str) -> AsyncIterator[World]:
    """A world over migrated databases; its house does not listen to other processes."""
    given = settings.read(environment(engine, made, folder, **more))
    house = await open_house(given, services.open_services(given), hears=False)
    try:
        yield World(engine, given, house)
    finally:
        await close_house(house)
