"""What must hold, as areas declare it, and the walk that looks: over the house once, then tenant by tenant.

Only the words, the registry and the walk are here; a check stands with what it checks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import sqlalchemy as sa

from base import errors
from db.session import SystemSession
from db.tables.central.identity import Tenant
from db.zones import TenantId, TenantState
from tenancy.context import Context, House

TENANTS_A_PAGE_MAX = 500
SIDE_BY_SIDE_MAX = 4
SECOND_LOOK_SECONDS = 1.0
SERVED = (TenantState.ACTIVE, TenantState.SUSPENDED)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not hold, and what to do about it. A hint (`wrong=False`) is told and fails nothing."""

    what: str
    do: str
    wrong: bool = True


Subject = TypeVar("Subject")
OfHouse = Callable[[House], Awaitable[Sequence[Finding]]]
OfTenant = Callable[[Context], Awaitable[Sequence[Finding]]]

HOUSE_CHECKS: dict[str, OfHouse] = {}
TENANT_CHECKS: dict[str, OfTenant] = {}


@dataclass(frozen=True, slots=True)
class Found:
    """All that one check found, over the house or all tenants together."""

    name: str
    findings: list[Finding]


def of_house(name: str) -> Callable[[OfHouse], OfHouse]:
    """Declare `async def look(house) -> findings`: one look at what belongs to no single tenant."""

    def declare(look: OfHouse) -> OfHouse:
        HOUSE_CHECKS[name] = look
        return look

    return declare


def of_tenant(name: str) -> Callable[[OfTenant], OfTenant]:
    """Declare `async def look(ctx) -> findings`, run for each tenant that is served; `ctx` is the system's."""

    def declare(look: OfTenant) -> OfTenant:
        TENANT_CHECKS[name] = look
        return look

    return declare


async def run(house: House, told: Callable[[str], None] = lambda _: None) -> list[Found]:
    """Every check's findings. `told` hears what is being looked at.

    Requests may run meanwhile: what looks wrong is looked at again a moment later, and counts if it is still so.
    """
    found = []
    for name, look in sorted(HOUSE_CHECKS.items()):
        told(name)
        try:
            findings = await _twice(look, house)
        except errors.PoolUnavailable as error:
            findings = [Finding(f"not all was looked at: {error}", "atrium pools list")]
        found.append(Found(name, findings))
    return found + await _over_tenants(house, told)


async def _over_tenants(house: House, told: Callable[[str], None]) -> list[Found]:
    findings: dict[str, list[Finding]] = {name: [] for name in sorted(TENANT_CHECKS)}
    down: dict[str, int] = {}
    turn = asyncio.Semaphore(SIDE_BY_SIDE_MAX)

    async def one(tenant: TenantId, pool: str) -> None:
        async with turn:
            if pool in down:
                down[pool] += 1
                return
            told(f"tenant {tenant}")
            try:
                await _tenant(await house.system_of(tenant), findings)
            except errors.PoolUnavailable:
                down[pool] = down.get(pool, 0) + 1
            except errors.TenantNotFound:
                return  # erased since it was listed

    after = TenantId("")
    while page := await house.system().on_system(_tenants, after):
        await asyncio.gather(*(one(tenant, pool) for tenant, pool in page))
        after = page[-1][0]
    unseen = [
        Finding(f"{pool} does not answer: {count} of its tenants were not looked at", "atrium pools list")
        for pool, count in sorted(down.items())
    ]
    return [Found("pools answer", unseen), *(Found(name, each) for name, each in findings.items())]


async def _tenant(ctx: Context, findings: dict[str, list[Finding]]) -> None:
    for name, look in sorted(TENANT_CHECKS.items()):
        findings[name] += [
            replace(finding, what=f"{ctx.tenant_id}: {finding.what}") for finding in await _twice(look, ctx)
        ]


async def _twice(look: Callable[[Subject], Awaitable[Sequence[Finding]]], subject: Subject) -> list[Finding]:
    first = await _once(look, subject)
    if not any(finding.wrong for finding in first):
        return first
    await asyncio.sleep(SECOND_LOOK_SECONDS)
    before = {finding.what for finding in first}
    return [finding for finding in await _once(look, subject) if finding.what in before]


async def _once(look: Callable[[Subject], Awaitable[Sequence[Finding]]], subject: Subject) -> list[Finding]:
    try:
        return list(await look(subject))
    except (errors.PoolUnavailable, errors.TenantNotFound):
        raise
    except Exception as error:
        return [Finding(f"the check could not be made: {error!r}"[:500], "mend that first, then atrium doctor again")]


async def _tenants(db: SystemSession, after: TenantId, /) -> list[tuple[TenantId, str]]:
    rows = await db.tuples(
        sa.select(Tenant.id, Tenant.db_pool)
        .where(Tenant.id > after, Tenant.state.in_(SERVED))
        .order_by(Tenant.id)
        .limit(TENANTS_A_PAGE_MAX)
    )
    return [(tenant, pool) for tenant, pool in rows]
