"""Who may use a root field or get a type by its id: seven words, and the one place where they are asked.

Which rows of a table a caller sees is not here (`execution/fetch.py`), nor how a viewer is known (`tenancy/viewer.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from base import errors

if TYPE_CHECKING:  # the words of a schema need no open house
    from tenancy.context import Context

CATALOG_WRITE = "catalog:write"


@dataclass(frozen=True, slots=True)
class Access:
    """Who may; `ability` is asked of the caller's access token on top."""

    kind: Literal["public", "signed_in", "member", "owner", "worker", "lease"]
    ability: str | None = None

    def asking(self, ability: str) -> Access:
        """The same with this ability asked, where a token is needed at all and none is named yet."""
        if self.ability is not None or self.kind not in ("signed_in", "member", "owner"):
            return self
        return replace(self, ability=ability)


public = Access("public")
signed_in = Access("signed_in")
member = Access("member")
# The member whose tenant it is: what shows or touches the rows of all its members.
owner = Access("owner")
worker = Access("worker")
# Whoever holds a signed lease token, which the action opens: the worker who claimed, the provider who was sent it.
lease = Access("lease")


def permission(ability: str) -> Access:
    """A signed-in caller whose access token holds this ability, e.g. "catalog:write"."""
    return Access("signed_in", ability)


def check(ctx: Context, access: Access) -> None:
    """Raises TenantRequired, Unauthenticated or Forbidden; says nothing where the caller may."""
    if access.kind == "public":
        return
    if access.kind in ("worker", "lease"):
        _check_worker(ctx, bearer=access.kind == "worker")
        return
    of_tenant = access.kind in ("member", "owner")
    if of_tenant and ctx.route is None:
        raise errors.TenantRequired("This belongs to one tenant: send the request to the tenant's host.")
    viewer = ctx.viewer
    # A token is of a tenant: whoever has left that tenant reads its purchases no more, on the central host either.
    if viewer is None or not viewer.is_member:
        raise errors.Unauthenticated(
            "Sign in first: send the access token that login answers as `Authorization: Bearer <token>`."
        )
    if of_tenant and (ctx.route is None or viewer.tenant_id != ctx.route.tenant_id):
        raise errors.Unauthenticated("This access token is not of a member of this tenant: log in on this host.")
    if access.kind == "owner" and not viewer.is_owner:
        raise errors.Forbidden("This is for the tenant's owner alone.")
    if access.ability is not None and not viewer.can(access.ability):
        raise errors.Forbidden(f"This access token lacks the ability {access.ability}.")


def _check_worker(ctx: Context, *, bearer: bool) -> None:
    if ctx.route is not None:
        raise errors.Forbidden("Worker fields are served on central hosts alone.")
    if bearer and not ctx.is_worker:
        raise errors.Unauthenticated("Send the worker's token as `Authorization: Bearer <token>`.")
