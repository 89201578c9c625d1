"""What the provider refuses, in the provider's own shape and words; what `next_fault` can ask for."""

from __future__ import annotations

from typing import Any, Literal

Fault = Literal[500, "500_after", 409, 429, "timeout_before", "timeout_after", "cut_before", "cut_after"]


class ApiError(Exception):
    """An answer that is an error: `{"error": {type, code, message, param}}` with its status."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        told = {"type": kind, "code": code, "message": message, "param": param}
        self.body: dict[str, Any] = {"error": {name: value for name, value in told.items() if value is not None}}


def missing(kind: str, object_id: str, *, param: str = "id") -> ApiError:
    """404: there is no such object."""
    word = kind.replace(".", " ").replace("_", " ")
    return ApiError(f"No such {word}: '{object_id}'", status=404, code="resource_missing", param=param)


def other_parameters(key: str) -> ApiError:
    """The key was used for something else."""
    return ApiError(
        "Keys for idempotent requests can only be used with the same parameters they were first used with. "
        f"Try using a key other than '{key}' if you meant to execute a different request.",
        kind="idempotency_error",
    )


def in_flight(key: str) -> ApiError:
    """409: a request with this key has not been answered yet."""
    return ApiError(
        f"There is currently another in-progress request using this Idempotency Key: {key}. Please try again later.",
        status=409,
        kind="idempotency_error",
        code="idempotency_key_in_use",
    )


def too_many() -> ApiError:
    """429."""
    return ApiError("Request rate limit exceeded.", status=429, code="rate_limit")


def broken() -> ApiError:
    """500."""
    return ApiError("An unknown error occurred.", status=500, kind="api_error")
