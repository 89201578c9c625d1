"""Who is who and where: tenants, their hosts, users, memberships and the secrets that let people in.

What a tenant owns lives in its pool; which process may write it, in the pool's fences.
"""

import enum
from datetime import datetime
from typing import Annotated

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from base.ids import Id
from db.columns import Exact, Line, utc_now
from db.zones import (
    DELETE,
    INFRA,
    NULL,
    TENANT_ID_CHARACTERS_MAX,
    USER_PRIVATE,
    USER_SHARED,
    CentralBase,
    TenantId,
    TenantState,
    WithId,
    ref,
    soft_ref,
)

TenantKey = Annotated[TenantId, mapped_column(Exact(TENANT_ID_CHARACTERS_MAX))]


class MemberKind(enum.Enum):
    """What somebody is to a tenant."""

    OWNER = "OWNER"
    STAFF = "STAFF"
    CUSTOMER = "CUSTOMER"


class User(WithId, CentralBase, scope=USER_PRIVATE, owner="id", credentials=("email_key",)):
    """A person with a password; `email_key` is the folded address, by which one signs in."""

    __tablename__ = "users"

    name: Mapped[str] = mapped_column(Line(200))
    email: Mapped[str] = mapped_column(Line(320))
    email_key: Mapped[str] = mapped_column(Line(320), unique=True)
    password_hash: Mapped[str] = mapped_column(Exact(255))
    is_staff: Mapped[bool] = mapped_column(default=False)


class Tenant(CentralBase, scope=USER_SHARED, tenant="id"):
    """A studio on a subdomain of its own; `id` is its slug and `db_pool` the name of the pool that holds its rows.

    `epoch` counts placements: a pool refuses writers that know an older one. `placed_at` is null
    until wallet, fence and reward stand in the pool, so half a registration can be told and finished.
    """

    __tablename__ = "tenants"
    __table_args__ = (sa.Index(None, "state", "created_at"),)

    id: Mapped[TenantKey] = mapped_column(primary_key=True, sort_order=-19)
    created_at: Mapped[datetime] = mapped_column(default=utc_now, sort_order=-18)
    user_id: Mapped[Id[User]] = ref("users.id", index=True)
    name: Mapped[str | None] = mapped_column(Line(200))
    db_pool: Mapped[str] = mapped_column(Exact(63), index=True)
    state: Mapped[TenantState] = mapped_column(default=TenantState.PROVISIONING)
    epoch: Mapped[int] = mapped_column(default=1)
    referred_by: Mapped[TenantKey | None] = soft_ref("tenants", on_parent_delete=NULL)
    placed_at: Mapped[datetime | None]


class Domain(WithId, CentralBase, scope=USER_SHARED, tenant="tenant_id"):
    """A host name, normalised, and the tenant it leads to."""

    __tablename__ = "domains"

    tenant_id: Mapped[TenantKey] = ref("tenants.id", index=True, on_parent_delete=DELETE)
    host: Mapped[str] = mapped_column(Exact(253), unique=True)
    is_primary: Mapped[bool] = mapped_column(default=False)


class TenantMember(WithId, CentralBase, scope=INFRA):
    """That a user belongs to a tenant, and as what."""

    __tablename__ = "tenant_members"
    __table_args__ = (sa.UniqueConstraint("tenant_id", "user_id"),)

    tenant_id: Mapped[TenantKey] = ref("tenants.id", on_parent_delete=DELETE)
    user_id: Mapped[Id[User]] = ref("users.id", index=True, on_parent_delete=DELETE)
    kind: Mapped[MemberKind] = mapped_column(default=MemberKind.OWNER)


class AccessToken(
    WithId, CentralBase, scope=USER_PRIVATE, owner="user_id", tenant="tenant_id", credentials=("token_hash",)
):
    """The right to act as a user on one tenant; of the secret only its SHA-256 (hex) is kept."""

    __tablename__ = "personal_access_tokens"
    __table_args__ = (sa.Index(None, "user_id", "id"), sa.Index(None, "tenant_id", "user_id", "id"))

    tenant_id: Mapped[TenantKey] = ref("tenants.id", on_parent_delete=DELETE)
    user_id: Mapped[Id[User]] = ref("users.id", on_parent_delete=DELETE)
    name: Mapped[str] = mapped_column(Line(200))
    abilities: Mapped[list[str]] = mapped_column(default=list)
    token_hash: Mapped[str] = mapped_column(Exact(64), unique=True)
    device_name: Mapped[str | None] = mapped_column(Line(200))
    device_platform: Mapped[str | None] = mapped_column(Line(200))
    expires_at: Mapped[datetime] = mapped_column(index=True)
    last_used_at: Mapped[datetime | None]


class PasswordResetToken(WithId, CentralBase, scope=INFRA):
    """A mailed secret that sets a new password, once; of it only its SHA-256 (hex) is kept."""

    __tablename__ = "password_reset_tokens"

    user_id: Mapped[Id[User]] = ref("users.id", index=True, on_parent_delete=DELETE)
    token_hash: Mapped[str] = mapped_column(Exact(64), unique=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]
