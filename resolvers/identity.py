"""Who is here, and signing up, in and out."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated

from actions import identity
from actions.identity import tokens
from base.ids import GlobalId
from db.tables.central import identity as tables
from execution.access import public, signed_in
from execution.declare import Doc, mutation, one, query
from resolvers.payload import payload, row
from resolvers.payload import signed_in as as_signed_in
from schema.identity import (
    AuthPayload,
    ChangePasswordInput,
    DeviceInput,
    LoginInput,
    LogoutPayload,
    RegisterInput,
    ResetPasswordInput,
    Tenant,
    User,
)
from schema.payloads import DeletePayload
from tenancy.context import Context


@query(public)
async def tenant(ctx: Context) -> Tenant | None:
    """the tenant of the request host; null on a central host"""  # noqa: D403  (the contract's words)
    return None if ctx.route is None else one(Tenant, where=[tables.Tenant.id == ctx.route.tenant_id])


@query(public)
async def viewer(ctx: Context) -> User | None:
    """the caller; null when not signed in"""  # noqa: D403  (the contract's words)
    # Of all users' rows the caller sees one.
    return None if ctx.viewer is None else one(User, where=())


@mutation(public, cost=100)
async def register(ctx: Context, input: Annotated[RegisterInput, Doc("Who you are.")]) -> AuthPayload:
    """Make a user with a tenant of their own and sign them in; on the central host."""
    doing = identity.register(
        ctx,
        input.name,
        input.email,
        input.password,
        slug=input.slug,
        referral_slug=input.referral_slug,
        device=_device(input.device),
    )
    return await _welcome(ctx, doing)


@mutation(public, cost=100)
async def login(ctx: Context, input: Annotated[LoginInput, Doc("Who you are.")]) -> AuthPayload:
    """Sign in; on a tenant's host its members alone."""
    doing = identity.login(ctx, input.email, input.password, device=_device(input.device), abilities=input.abilities)
    return await _welcome(ctx, doing)


@mutation(signed_in, ability=None)  # whatever a token may, it may end itself
async def logout(
    ctx: Context, all_devices: Annotated[bool | None, Doc("Also end all other access tokens of this user.")] = False
) -> LogoutPayload:
    """End the access token that this request came with."""
    return await payload(LogoutPayload, identity.logout(ctx, all_devices=bool(all_devices)), ok=True)


@mutation(signed_in)
async def revoke_access_token(
    ctx: Context, id: Annotated[GlobalId, Doc("One of viewer.accessTokens.")]
) -> DeletePayload:
    """End one access token of the caller."""
    doing = identity.revoke_access_token(ctx, id.of(tables.AccessToken))
    return await payload(DeletePayload, doing, deleted_id=id)


@mutation(signed_in, cost=100)
async def change_password(ctx: Context, input: Annotated[ChangePasswordInput, Doc("Old and new.")]) -> AuthPayload:
    """Set a new password; ends all access tokens and answers with a new one."""
    return await _welcome(ctx, identity.change_password(ctx, input.current, input.password))


@mutation(public, cost=50)
async def request_password_reset(
    ctx: Context, email: Annotated[str, Doc("Where the mail goes, e.g. alice@example.com.")]
) -> LogoutPayload:
    """answers the same whether the address is known or not"""  # noqa: D403  (the contract's words)
    return await payload(LogoutPayload, identity.request_password_reset(ctx, email), ok=True)


@mutation(public, cost=100)
async def reset_password(
    ctx: Context, input: Annotated[ResetPasswordInput, Doc("The mailed token and the new password.")]
) -> AuthPayload:
    """Set a new password by a mailed token; ends all access tokens and answers with a new one."""
    return await _welcome(ctx, identity.reset_password(ctx, input.token, input.password))


async def _welcome(ctx: Context, doing: Awaitable[identity.SignedIn]) -> AuthPayload:
    done = await doing
    return AuthPayload(
        user=await as_signed_in(ctx, done, row(User, done.user_id)),
        tenant=one(Tenant, where=[tables.Tenant.id == done.tenant_id]),
        token=done.token,
    )


def _device(given: DeviceInput | None) -> tokens.Device | None:
    return None if given is None else tokens.Device(name=given.name, platform=given.platform)
