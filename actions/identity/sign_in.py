"""Signing in and out. A wrong password, an unknown address and a stranger to the host get the same words and time."""

import sqlalchemy as sa

from actions.identity import hashing, tokens
from actions.identity.tokens import Device, SignedIn
from base import errors, texts
from base.ids import Id
from db.session import SystemSession
from db.tables.central.identity import AccessToken, Tenant, TenantMember, User
from db.zones import TenantId, TenantState
from tenancy.context import Context, House

TRIES_A_WINDOW_MAX = 10
TRIES_OF_ADDRESS_MAX = 50
TRIES_WINDOW_SECONDS = 300
WRONG = "E-mail or password is wrong."


async def login(
    ctx: Context, email: str, password: str, /, *, device: Device | None = None, abilities: list[str] | None = None
) -> SignedIn:
    """Sign in with e-mail and password.

    1 counts the try, for the account and the address (RateLimited past the limit); 2 checks the
    password outside any transaction, and a right one takes the try back; 3 issues the token in central. A crash
    leaves nothing to repair.
    """
    email_key = texts.fold(email)
    await _slow_down(ctx, email_key)
    user = await ctx.on_system(find_user, email_key)
    good = await hashing.matches(password, user.password_hash if user else None)
    if user is None or not good:
        raise errors.Invalid(WRONG)
    # Whoever knows the password is no guesser, however often they come.
    for kind, who, _ in _tries(ctx, email_key):
        await ctx.house.rates.take_back(kind, who, window_seconds=TRIES_WINDOW_SECONDS)
    host = ctx.route.tenant_id if ctx.route is not None else None
    return await ctx.on_system(_enter, ctx.house, user.id, host=host, device=checked(device), abilities=abilities)


async def _slow_down(ctx: Context, email_key: str, /) -> None:
    for kind, who, most in _tries(ctx, email_key):
        await ctx.house.rates.hit(kind, who, most=most, window_seconds=TRIES_WINDOW_SECONDS)


def _tries(ctx: Context, email_key: str) -> tuple[tuple[str, str, int], ...]:
    return (
        ("password:account", email_key, TRIES_A_WINDOW_MAX),
        ("password:address", ctx.address, TRIES_OF_ADDRESS_MAX),
    )


def checked(device: Device | None) -> Device | None:
    """The device as it is kept. Raises Invalid on `input.device.…`."""
    if device is None:
        return None
    most = tokens.DEVICE_CHARACTERS_MAX
    platform = device.platform
    return Device(
        name=texts.line(device.name, "input", "device", "name", most=most),
        platform=None if platform is None else texts.line(platform, "input", "device", "platform", most=most),
    )


async def find_user(db: SystemSession, email_key: str, /) -> User | None:
    """The user with this folded address."""
    return await db.first(sa.select(User).where(User.email_key == email_key))


async def tenant_of(db: SystemSession, user_id: Id[User], /, *, host: TenantId | None) -> Tenant | None:
    """The tenant that a user enters: the host's where they are a member, on a central host their own.

    Of a suspended tenant the host is closed; on a central host its people still come in, to what is theirs there.
    """
    mine = sa.select(TenantMember.tenant_id).where(TenantMember.user_id == user_id)
    found = sa.select(Tenant).where(Tenant.id.in_(mine))
    if host is not None:
        return await db.first(found.where(Tenant.id == host, Tenant.state == TenantState.ACTIVE))
    open_first = sa.case((Tenant.state == TenantState.ACTIVE, 0), else_=1)
    own_first = sa.case((Tenant.user_id == user_id, 0), else_=1)
    known = found.where(Tenant.state.in_((TenantState.ACTIVE, TenantState.SUSPENDED)))
    return await db.first(known.order_by(open_first, own_first, Tenant.created_at, Tenant.id))


async def _enter(
    db: SystemSession,
    house: House,
    user_id: Id[User],
    /,
    *,
    host: TenantId | None,
    device: Device | None,
    abilities: list[str] | None,
) -> SignedIn:
    tenant = await tenant_of(db, user_id, host=host)
    is_staff = await db.first(sa.select(User.is_staff).where(User.id == user_id))
    if tenant is None or is_staff is None:
        raise errors.Invalid(WRONG)
    granted = tokens.check_abilities(abilities, is_staff=is_staff)
    return await tokens.issue(db, house, user_id, tenant=tenant.id, abilities=granted, device=device)


async def logout(ctx: Context, /, *, all_devices: bool = False) -> None:
    """End the token of this request, or all of the user's. Safe to run again."""
    viewer = ctx.signed_in
    if all_devices:
        await ctx.on_system(tokens.end, viewer.user_id)
    else:
        await ctx.on_system(_end_one, viewer.user_id, viewer.token_id)


async def revoke_access_token(ctx: Context, token_id: Id[AccessToken], /) -> None:
    """End one of the caller's own tokens. Raises NotFound on `id`."""
    if not await ctx.on_system(_end_one, ctx.signed_in.user_id, token_id):
        raise errors.NotFound("There is no AccessToken with this id.", "id")


async def _end_one(db: SystemSession, user_id: Id[User], token_id: Id[AccessToken], /) -> bool:
    db.act_for(user_id)
    if not await db.change(sa.delete(AccessToken).where(AccessToken.user_id == user_id, AccessToken.id == token_id)):
        return False
    # Told only of what ended: whoever guesses another's id must not make every process look that token up anew.
    db.tell("access_token", token_id)
    return True
