"""Tenants and users as an operator sees them: made, listed, shown; who is platform staff. Suspending is not here."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from actions.identity import registration, sign_in, tokens
from base import errors, texts
from base.ids import Id
from db.session import SystemSession
from db.tables.central.identity import AccessToken, Domain, MemberKind, Tenant, TenantMember, User
from db.zones import TenantId, TenantState
from tenancy.context import Context

LISTED_MAX = 10_000
MEMBERS_SHOWN_MAX = 100


@dataclass(frozen=True, slots=True)
class Shown:
    """A tenant with what central knows around it; members as (kind, e-mail address)."""

    tenant: Tenant
    hosts: Sequence[str]
    members: Sequence[tuple[MemberKind, str]]


async def create(ctx: Context, name: str, email: str, password: str, /, *, slug: str | None = None) -> TenantId:
    """Make a user and their tenant for somebody else; nobody is signed in.

    1 to 3 are those of `register`; 4 one central transaction ends the access token that nobody was shown. A
    crash before 4 leaves a token whose text nobody has; running it again with the same password finishes 1 to 3.
    """
    signed_in = await registration.register(ctx, name, email, password, slug=slug)
    await ctx.on_system(tokens.end, signed_in.user_id)
    return signed_in.tenant_id


async def listed(
    db: SystemSession, /, *, state: TenantState | None, pool: str | None, after: str = "", limit: int = LISTED_MAX
) -> Sequence[Tenant]:
    """Tenants by slug behind `after`, at most `limit`."""
    found = sa.select(Tenant).where(Tenant.id > after)
    if state is not None:
        found = found.where(Tenant.state == state)
    if pool is not None:
        found = found.where(Tenant.db_pool == pool)
    return await db.all(found.order_by(Tenant.id).limit(min(limit, LISTED_MAX)))


async def shown(db: SystemSession, tenant: TenantId, /) -> Shown:
    """One tenant. Raises NotFound."""
    row = await db.first(sa.select(Tenant).where(Tenant.id == tenant))
    if row is None:
        raise errors.NotFound(f"There is no tenant {tenant}. Next: atrium tenants list")
    hosts = await db.all(sa.select(Domain.host).where(Domain.tenant_id == tenant).order_by(Domain.host))
    members = await db.all(
        sa.select(TenantMember)
        .where(TenantMember.tenant_id == tenant)
        .order_by(TenantMember.id)
        .limit(MEMBERS_SHOWN_MAX)
    )
    addresses = [
        (member.kind, await db.first(sa.select(User.email).where(User.id == member.user_id)) or "")
        for member in members
    ]
    return Shown(row, hosts, addresses)


async def set_staff(db: SystemSession, email: str, /, *, is_staff: bool) -> bool:
    """Make a user platform staff, or no longer; False where it was so already. Raises NotFound.

    Their access tokens are looked up anew at once: `*` holds `catalog:write` for staff alone.
    """
    user = await sign_in.find_user(db, texts.fold(email))
    if user is None:
        raise errors.NotFound(f"Nobody is registered as {email}.")
    user_id: Id[User] = user.id
    db.act_for(user_id)
    changed = await db.change(
        sa.update(User).where(User.id == user_id, User.is_staff != is_staff).values(is_staff=is_staff)
    )
    for token_id in await db.all(sa.select(AccessToken.id).where(AccessToken.user_id == user_id)):
        db.tell("access_token", token_id)
    return bool(changed)
