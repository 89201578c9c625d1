"""Tenants, users and the access tokens that let them in."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from typing import Annotated
from urllib.parse import urlsplit

from db.tables.central import identity as tables
from db.zones import TenantState
from execution.access import public, signed_in
from execution.declare import CHILDREN_MAX, Doc, children, column, computed, input, node, payload, the, values  # noqa: A004  (GraphQL's word)
from schema.payloads import UserError, UserErrors
from tenancy.context import Context

Password = Annotated[str, Doc("10 to 500 characters.")]
Email = Annotated[str, Doc("E.g. alice@example.com; upper and lower case are the same.")]


def _url(ctx: Context, id: str) -> str:
    here = urlsplit(ctx.origin)
    port = f":{here.port}" if here.port is not None else ""
    return f"{here.scheme}://{id}.{ctx.house.settings.base_domain}{port}/graphql"


def _tenant(ctx: Context) -> object:
    return the(Tenant, where=[tables.Tenant.id == ctx.signed_in.tenant_id])


@node(
    tables.Tenant,
    access=public,
    where=(tables.Tenant.state.in_((TenantState.ACTIVE, TenantState.SUSPENDED)),),
)
class Tenant:
    """A creator's studio on a subdomain of its own."""

    slug: Annotated[str, column("id"), Doc("First label of its host, e.g. alice1.")]
    domains: Annotated[list[str], values(tables.Domain, "tenant_id", "host"), Doc("Its hosts, e.g. alice1.localhost.")]
    url: Annotated[str, computed(_url), Doc("where its GraphQL is, scheme and port included")]
    created_at: datetime


@node(tables.AccessToken, access=signed_in)
class AccessToken:
    """A sign-in of the caller; the token itself is not shown again."""

    name: Annotated[str, Doc("E.g. the device it was made on.")]
    abilities: Annotated[list[str], Doc("`*` (all that this user may), read, write, billing, webhooks, catalog:write.")]
    device_name: str | None
    device_platform: str | None
    last_used_at: Annotated[datetime | None, Doc("To the minute; null: never used.")]
    expires_at: datetime | None
    created_at: datetime


@node(tables.User, access=signed_in)
class User:
    """A person; only the caller is ever shown."""

    name: str
    email: str
    created_at: datetime
    tenant: Annotated[Tenant, computed(_tenant), Doc("The tenant this access token is of.")]
    access_tokens: Annotated[
        list[AccessToken], children("user_id", order=("-id",), assumed=CHILDREN_MAX), Doc("Newest first, at most 50.")
    ]


@input
class DeviceInput:
    """What the caller signs in with, shown beside the access token."""

    name: Annotated[str, Doc("E.g. Alice's phone; at most 200 characters.")]
    platform: Annotated[str | None, Doc("E.g. iOS 19.")] = None


@input
class RegisterInput:
    """A new user with a new tenant."""

    name: Annotated[str, Doc("At most 200 characters.")]
    email: Email
    password: Password
    slug: Annotated[str | None, Doc("wished subdomain; a number is appended")] = None
    referral_slug: Annotated[str | None, Doc("who sent you")] = None
    device: Annotated[DeviceInput | None, Doc("What the access token is for.")] = None


@input
class LoginInput:
    """Who signs in."""

    email: Email
    password: Annotated[str, Doc("As it was set.")]
    device: Annotated[DeviceInput | None, Doc("What the access token is for.")] = None
    abilities: Annotated[
        list[str] | None, Doc('What the access token may, e.g. ["read"]; null: `*`, all that this user may.')
    ] = None


@input
class ChangePasswordInput:
    """A new password by the old one."""

    current: Annotated[str, Doc("The password until now.")]
    password: Password


@input
class ResetPasswordInput:
    """A new password by a mailed token."""

    token: Annotated[str, Doc("From the mail; good once, for one hour.")]
    password: Password


@payload
class AuthPayload:
    """token is shown this one time: send it as `Authorization: Bearer <token>`"""

    user: User | None = None
    tenant: Tenant | None = None
    token: str | None = None
    user_errors: UserErrors = field(default_factory=list[UserError])


@payload
class LogoutPayload:
    """Whether it was done."""

    ok: bool = False
    user_errors: UserErrors = field(default_factory=list[UserError])
