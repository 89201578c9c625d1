"""Everything the product refuses, drawn once, each with the code a client sees.

A Refusal can be mended by the user and becomes a `userErrors` entry of the payload; a
Denial ends the field or the request and becomes a top-level error. Whatever is neither is
a bug: masked, logged with its request id, counted. `docs/errors.md` has a section for each code.

    AtriumError
    ├── Refusal: Invalid NotFound Taken Conflict InsufficientTokens LimitExceeded NotAllowed ProviderUnavailable
    └── Denial: BadUserInput Unauthenticated Forbidden TenantRequired TenantNotFound TenantSuspended
                PoolUnavailable CentralUnavailable RateLimited CostLimitExceeded TimedOut NotServed
"""

import enum
from collections.abc import Mapping
from typing import ClassVar


class UserErrorCode(enum.Enum):
    """Codes of `UserError`: what a user can mend."""

    INVALID = "INVALID"
    NOT_FOUND = "NOT_FOUND"
    TAKEN = "TAKEN"
    CONFLICT = "CONFLICT"
    INSUFFICIENT_TOKENS = "INSUFFICIENT_TOKENS"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    NOT_ALLOWED = "NOT_ALLOWED"
    PROVIDER_UNAVAILABLE = "PROVIDER_UNAVAILABLE"


class AtriumError(Exception):
    """The root of what the product says no with; the message is fit for a stranger's eyes."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Refusal(AtriumError):
    """A no that the user can mend; `field` is the path into the arguments, e.g. ("input", "email")."""

    code: ClassVar[UserErrorCode]

    def __init__(self, message: str, *field: str) -> None:
        super().__init__(message)
        self.field = field


class Invalid(Refusal):
    """The value itself cannot be accepted."""

    code = UserErrorCode.INVALID


class NotFound(Refusal):
    """No such object for this caller; another tenant's object is told in the same words."""

    code = UserErrorCode.NOT_FOUND


class Taken(Refusal):
    """The value is unique and somebody has it."""

    code = UserErrorCode.TAKEN


class Conflict(Refusal):
    """The object is not in the state that this needs."""

    code = UserErrorCode.CONFLICT


class InsufficientTokens(Refusal):
    """The wallet's spendable balance is below the price."""

    code = UserErrorCode.INSUFFICIENT_TOKENS


class LimitExceeded(Refusal):
    """A quota or rate of this tenant, account or address is used up."""

    code = UserErrorCode.LIMIT_EXCEEDED


class NotAllowed(Refusal):
    """The caller is known and may not do this here."""

    code = UserErrorCode.NOT_ALLOWED


class ProviderUnavailable(Refusal):
    """A system that is not ours did not answer, or is not set up."""

    code = UserErrorCode.PROVIDER_UNAVAILABLE


class Denial(AtriumError):
    """A no that ends the field or the request; `code` goes to `extensions.code`, `status` to HTTP before execution."""

    code: ClassVar[str]
    status: ClassVar[int] = 200
    cost: Mapping[str, int] | None = None  # where it was refused for what it costs: `extensions.cost`


class BadUserInput(Denial):
    """An argument, variable or request part is malformed; the message names it."""

    code = "BAD_USER_INPUT"
    status = 400


class Unauthenticated(Denial):
    """No access token, or one that is unknown, expired, revoked or of another tenant."""

    code = "UNAUTHENTICATED"


class Forbidden(Denial):
    """The access token lacks the ability."""

    code = "FORBIDDEN"


class TenantRequired(Denial):
    """A tenant's field was asked on a central host."""

    code = "TENANT_REQUIRED"


class TenantNotFound(Denial):
    """Nobody answers to this host."""

    code = "TENANT_NOT_FOUND"
    status = 404


class TenantSuspended(Denial):
    """The tenant of this host is suspended."""

    code = "TENANT_SUSPENDED"
    status = 403


class PoolUnavailable(Denial):
    """The tenant's pool database does not answer; central fields and other pools go on."""

    code = "POOL_UNAVAILABLE"
    status = 503


class CentralUnavailable(Denial):
    """The central database does not answer."""

    code = "CENTRAL_UNAVAILABLE"
    status = 503


class RateLimited(Denial):
    """Too much in too short a time; try again after `retry_after_seconds`."""

    code = "RATE_LIMITED"
    status = 429

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class CostLimitExceeded(Denial):
    """Too many tokens, levels, aliases or directives, or too dear."""

    code = "COST_LIMIT_EXCEEDED"
    status = 400


class TimedOut(Denial):
    """The time for this request is over."""

    code = "TIMEOUT"
    status = 408


class NotServed(Denial):
    """No such path."""

    code = "NOT_FOUND"
    status = 404
