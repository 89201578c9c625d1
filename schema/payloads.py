"""What many areas answer with, and the descriptions that many fields share."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from base.errors import UserErrorCode
from base.ids import GlobalId
from execution.declare import Doc, payload, plain
from execution.prices import sized


@plain
class UserError:
    """Why a mutation was refused, fit for a user's eyes."""

    code: UserErrorCode
    message: str
    field: Annotated[list[str] | None, Doc('path into the input, e.g. ["input", "email"]')] = None


UserErrors = Annotated[list[UserError], sized(1), Doc("Empty when done.")]


@payload
class DeletePayload:
    """The id of what is gone; null when refused."""

    deleted_id: GlobalId | None = None
    user_errors: UserErrors = field(default_factory=list[UserError])
