"""Demo tenants: alice1, bob2 and so on, over the pools in turn, all with one password.

Central's rows are written many at a time; what a tenant begins with in its pool is what registering gives it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import sqlalchemy as sa

from actions.identity import founding, hashing
from base import texts
from base.ids import Id
from db.session import SystemSession
from db.tables.central.identity import Domain, MemberKind, Tenant, TenantMember, User
from db.zones import TenantId, TenantState
from tenancy.directory import Route

if TYPE_CHECKING:
    from cli.demo.frame import Demo, Studio
    from tenancy.context import Context

AFTER = ("catalog",)
STUDIOS_A_TRANSACTION = 100
NAMES_SHOWN_MAX = 12
NAMES_FILE = "demo.json"
FIRST_NAMES = (
    *("Alice", "Bob", "Carol", "David", "Elena", "Farid", "Greta", "Hiro", "Ines", "Jonas", "Kamala", "Luca", "Maya"),
    *("Noor", "Oscar", "Priya", "Quinn", "Rosa", "Samuel", "Tara", "Umar", "Vera", "Wim", "Ximena", "Yusuf", "Zoe"),
    *("Anton", "Bianca", "Cyrus", "Dalia", "Emil", "Freya", "Goran", "Hana", "Ivan", "Jade", "Klara", "Leo", "Mina"),
    *("Nils", "Olga", "Pavel", "Rania", "Sven", "Tomas", "Uma", "Viktor", "Wanda", "Yara", "Zeno"),
)
LAST_NAMES = (
    *("Martin", "Okafor", "Silva", "Novak", "Rossi", "Haddad", "Berg", "Tanaka", "Costa", "Weber", "Iyer", "Conti"),
    *("Cohen", "Rahman", "Lind", "Sharma", "Byrne", "Vargas", "Petrov", "Dubois", "Aziz", "Kovac", "Janssen"),
)


@dataclass(frozen=True, slots=True)
class Wish:
    """A tenant that is to be there."""

    number: int
    tenant_id: TenantId
    name: str
    email: str
    pool: str


async def fill(demo: Demo) -> None:
    """Make the tenants that are missing, finish those that were left half-made."""
    bar = demo.bars.begin("tenants", demo.size.tenants)
    password_hash = await hashing.hashed(demo.password)
    system = demo.house.system()
    wanted = wishes(demo)
    for start in range(0, len(wanted), STUDIOS_A_TRANSACTION):
        some = wanted[start : start + STUDIOS_A_TRANSACTION]
        studios = await system.on_system(_begin, some, password_hash)
        for studio, state in studios:
            if state is TenantState.PROVISIONING:
                await _found(demo, studio)
        fresh = [studio for studio, state in studios if state is TenantState.PROVISIONING]
        await system.on_system(_activate, fresh, base_domain=demo.house.settings.base_domain)
        served = [studio for studio, state in studios if state in (TenantState.PROVISIONING, TenantState.ACTIVE)]
        demo.studios += served
        demo.added["tenants"] += len(fresh)
        demo.notes += _missing(some, served)
        bar.forward(len(some))


def _missing(some: Sequence[Wish], served: Sequence[Studio]) -> list[str]:
    left = {wish.tenant_id for wish in some} - {studio.tenant_id for studio in served}
    return [f"{tenant} was left alone: it is somebody else's, or is not served." for tenant in sorted(left)]


def wishes(demo: Demo) -> list[Wish]:
    """Who is to be there; tenants alternate over the pools by name."""
    pools = sorted(demo.house.settings.pools)
    wanted = []
    for number in range(1, demo.size.tenants + 1):
        first = FIRST_NAMES[(number - 1) % len(FIRST_NAMES)]
        last = demo.dice("name", number).choice(LAST_NAMES)
        own = first.lower() if number <= len(FIRST_NAMES) else f"{first.lower()}{number}"
        pool = pools[(number - 1) % len(pools)]
        tenant = TenantId(f"{first.lower()}{number}")
        wanted.append(Wish(number, tenant, f"{first} {last}", f"{own}@example.com", pool))
    return wanted


async def _begin(db: SystemSession, wanted: Sequence[Wish], password_hash: str, /) -> list[tuple[Studio, TenantState]]:
    """User, tenant and membership of those who are missing; every one that is the demo's, with its state."""
    from cli.demo.frame import Studio

    keys = {texts.fold(wish.email): wish for wish in wanted}
    users = await db.tuples(sa.select(User.id, User.email_key).where(User.email_key.in_(list(keys))))
    known = {row.email_key: row.id for row in users}
    ids = [wish.tenant_id for wish in wanted]
    tenants = {row.id: row for row in await db.all(sa.select(Tenant).where(Tenant.id.in_(ids)))}
    studios = []
    for key, wish in keys.items():
        user_id, tenant = known.get(key), tenants.get(wish.tenant_id)
        if user_id is None and tenant is None:
            tenant, user_id = await _add(db, wish, password_hash)
        if tenant is not None and user_id is not None and tenant.user_id == user_id:
            found = Studio(wish.number, tenant.id, user_id, wish.name, wish.email, tenant.db_pool)
            studios.append((found, tenant.state))
    return studios


async def _add(db: SystemSession, wish: Wish, password_hash: str) -> tuple[Tenant, Id[User]]:
    key = texts.fold(wish.email)
    user_id: Id[User] = db.new_id()
    db.add(User(id=user_id, name=wish.name, email=wish.email, email_key=key, password_hash=password_hash))
    # Parents first: no relations are mapped, so nothing else tells the order.
    await db.flush()
    state = TenantState.PROVISIONING
    tenant = Tenant(
        id=wish.tenant_id, user_id=user_id, name=wish.name, db_pool=wish.pool, state=state, epoch=1, referred_by=None
    )
    db.add(tenant)
    await db.flush()
    db.add(TenantMember(tenant_id=wish.tenant_id, user_id=user_id, kind=MemberKind.OWNER))
    return tenant, user_id


async def _found(demo: Demo, studio: Studio) -> None:
    route = Route(studio.tenant_id, TenantState.PROVISIONING, studio.pool, 1)
    ctx: Context = demo.house.system(tenant=route)
    await ctx.found(founding.found, studio.user_id, pool=studio.pool, epoch=1)


async def _activate(db: SystemSession, studios: Sequence[Studio], /, *, base_domain: str) -> None:
    hosts = {f"{studio.tenant_id}.{base_domain}": studio for studio in studios}
    known = set(await db.all(sa.select(Domain.host).where(Domain.host.in_(list(hosts)))))
    for host, studio in hosts.items():
        if host not in known:
            db.add(Domain(tenant_id=studio.tenant_id, host=host, is_primary=True))
        await db.change(
            sa.update(Tenant)
            .where(Tenant.id == studio.tenant_id, Tenant.state == TenantState.PROVISIONING)
            .values(state=TenantState.ACTIVE, placed_at=db.now)
        )
    if studios:
        # One notice for all of them: what was known of hosts that nobody had is forgotten.
        db.tell("reset", "")


def write_names(var: Path, studios: Sequence[Studio], password: str) -> None:
    """Write the first tenants' names beside the databases, where the explorer and `atrium serve` look for them."""
    listed = [{"slug": each.tenant_id, "email": each.email, "password": password} for each in studios[:NAMES_SHOWN_MAX]]
    (var / NAMES_FILE).write_bytes(orjson.dumps(listed))
