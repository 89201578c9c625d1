"""What a fresh worker does after a crash, without waiting for its hours to pass; and what a doctor then says."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

import actions
from actions import store_sweep
from actions.identity import registration
from actions.store_sweep import SWEEP
from db import engines
from db.tables.central.identity import Tenant
from db.zones import PoolBase, TenantState
from tenancy import checks, handlers, relaying
from tenancy.context import House
from tests import serving
from tests import world as worlds
from tests.actions import studio

handlers.load(actions)

# The sweep is the one kind that waits on purpose; it is run by hand below.
_KINDS = tuple(kind for kind in handlers.HANDLERS if kind != SWEEP)
_PREFIXES = ("t/", "public/")


async def settle(house: House) -> None:
    """Relay, unfinished registrations, leased work and the store's sweep, each to its end."""
    await house.system().on_system(_a_while_later)
    await registration.finish_registrations(house)
    for tenant in await relaying._undelivered(house):
        assert await relaying.deliver(house, tenant)
    await studio.expire_leases(house)
    await studio.work_off(house, *_KINDS)
    for prefix in _PREFIXES:
        await store_sweep.remove_dead(house, prefix, older_than=timedelta(0), pause=studio.alive)


async def _a_while_later(db, /) -> None:
    past = db.now - timedelta(seconds=registration.UNFINISHED_SECONDS + 1)
    for tenant in await db.all(sa.select(Tenant).where(Tenant.state == TenantState.PROVISIONING)):
        db.act_for(tenant.user_id, tenant=tenant.id)
        await db.change(sa.update(Tenant).where(Tenant.id == tenant.id).values(created_at=past))


async def complaints(house: House) -> list[str]:
    """What the doctor's own checks find wrong, each looked at in this process."""
    return [
        f"{found.name}: {finding.what}"
        for found in await checks.run(house)
        for finding in found.findings
        if finding.wrong
    ]


def doctor(world: worlds.World, made: worlds.Migrated | None = None) -> tuple[int, str]:
    """The exit code of `atrium doctor` over a world's databases, and all that it printed."""
    databases = made or worlds.Migrated(world.settings.central_url, dict(world.settings.pools))
    done = serving.command("doctor", environment=worlds.environment(world.engine, databases, world.settings.var))
    return done.returncode, done.stdout + done.stderr


async def tenants_with_rows(world: worlds.World) -> set[str]:
    """Every tenant id that any table of any pool has a row of."""
    found: set[str] = set()
    for url in world.settings.pools.values():
        plain = engines.open_engine(url)
        async with plain.connect() as connection:
            for table in PoolBase.metadata.tables.values():
                if "tenant_id" in table.c:
                    found |= set((await connection.scalars(sa.select(table.c.tenant_id).distinct())).all())
        await plain.dispose()
    return found - {""}
