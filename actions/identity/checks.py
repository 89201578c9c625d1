"""What must hold of tenants and their people; for doctor and for tests that killed something."""

from datetime import timedelta

import sqlalchemy as sa

from db.session import SystemSession
from db.tables.central.identity import Domain, MemberKind, Tenant, TenantMember
from db.zones import TenantState
from tenancy.checks import Finding, of_house
from tenancy.context import House

UNFINISHED_SECONDS_MAX = 600
SHOWN_MAX = 5


@of_house("registrations")
async def registrations_are_finished(house: House) -> list[Finding]:
    """No registration waits, and every tenant that is served has a host and an owner."""
    return await house.system().on_system(_look)


async def _look(db: SystemSession, /) -> list[Finding]:
    before = db.now - timedelta(seconds=UNFINISHED_SECONDS_MAX)
    served = sa.select(Tenant.id).where(Tenant.state.in_((TenantState.ACTIVE, TenantState.SUSPENDED)))
    owned = sa.select(TenantMember.tenant_id).where(TenantMember.kind == MemberKind.OWNER)
    cases = (
        (
            "registrations have been unfinished for more than ten minutes",
            "is a worker running (atrium worker)? it finishes them; their pool may be down (atrium pools list)",
            sa.select(Tenant.id).where(Tenant.state == TenantState.PROVISIONING, Tenant.created_at < before),
        ),
        (
            "tenants have no host",
            "insert their domains row: nobody reaches them",
            served.where(Tenant.id.not_in(sa.select(Domain.tenant_id))),
        ),
        ("tenants have no owner", "insert their tenant_members row", served.where(Tenant.id.not_in(owned))),
    )
    found = []
    for what, do, statement in cases:
        wrong = await db.all(statement.order_by(Tenant.id))
        if wrong:
            found.append(Finding(f"{len(wrong)} {what} ({', '.join(wrong[:SHOWN_MAX])})", do))
    return found
