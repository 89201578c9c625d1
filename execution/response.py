"""What the library answers → what a client sees: codes for what was denied, one masked sentence for what broke.

How an answer travels (HTTP, WebSocket) is not known here.
"""

from __future__ import annotations

from typing import Any

import orjson
from graphql import ExecutionResult, GraphQLError

from base import errors, observe
from tenancy import answers

MESSAGE_CHARACTERS_MAX = 1_000

REFUSALS = {
    errors.UserErrorCode.NOT_FOUND: "NOT_FOUND",
    errors.UserErrorCode.LIMIT_EXCEEDED: errors.RateLimited.code,
}


def formatted(error: GraphQLError, request_id: str) -> dict[str, Any]:
    """One error as it is told; faults of ours are noted for the operator and masked."""
    cause = _cause(error)
    told: dict[str, Any] = {"message": _readable(error.message)}
    if error.locations:
        told["locations"] = [{"line": place.line, "column": place.column} for place in error.locations]
    if error.path is not None:
        told["path"] = [_readable(part) if isinstance(part, str) else part for part in error.path]
    if isinstance(cause, errors.Denial):
        no = answers.No.of(cause)
        told["message"], told["extensions"] = no.message, {"code": no.code, **no.extensions}
    elif isinstance(cause, errors.Refusal):
        code = REFUSALS.get(cause.code, errors.BadUserInput.code)
        told["message"], told["extensions"] = _readable(cause.message), {"code": code}
    elif error.extensions and "code" in error.extensions:
        told["extensions"] = {"code": error.extensions["code"]}
    elif _is_clients(error, cause):
        told["extensions"] = {"code": errors.BadUserInput.code}
    else:
        observe.note(observe.Event.INTERNAL_ERROR, failure=cause or error, id=request_id)
        no = answers.internal(request_id)
        told["message"], told["extensions"] = no.message, {"code": no.code}
    return told


def _cause(error: GraphQLError) -> BaseException | None:
    """What was raised, through the library's wrappings."""
    cause: BaseException | None = error.original_error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause


def _is_clients(error: GraphQLError, cause: BaseException | None) -> bool:
    """Whether the library itself refused what was sent; a value of ours that does not fit its type is our fault."""
    if cause is None:
        return error.path is None or bool(error.nodes)
    # The library names the argument's place when it refuses one; a result it cannot serialise has no place.
    return isinstance(cause, GraphQLError) and bool(cause.nodes) and cause is not error


def content(result: ExecutionResult, request_id: str) -> dict[str, Any]:
    """The body of an answer; without `data` where the operation never began."""
    told: dict[str, Any] = {}
    if result.errors:
        told["errors"] = [formatted(error, request_id) for error in result.errors]
    if began(result):
        told["data"] = result.data
    if result.extensions:
        told["extensions"] = result.extensions
    return told


def began(result: ExecutionResult) -> bool:
    """Whether the operation was executed, so that there is `data`, if only null."""
    return result.data is not None or not result.errors or any(error.path is not None for error in result.errors)


def dumped(told: dict[str, Any], request_id: str) -> bytes:
    """The bytes of a body; data that is no JSON is a fault of ours."""
    try:
        return orjson.dumps(told)
    except TypeError as error:
        observe.note(observe.Event.INTERNAL_ERROR, failure=error, id=request_id)
        return answers.internal(request_id).body()


def _readable(text: str) -> str:
    """A message that may hold what the client sent: bounded, and text for every reader."""
    return text[:MESSAGE_CHARACTERS_MAX].encode("utf-8", "replace").decode()
