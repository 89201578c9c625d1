"""Why a request that is written like JSON is not read: it holds what has no value, and this says which and where."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import NoReturn

NAME_CHARACTERS_MAX = 100
# What is longer would hold the loop while it is read again.
BYTES_MAX = 20_000


def reason(text: bytes, what: str, *, is_variables: bool) -> str:
    """In one sentence; `what` was sent, all of a request or its variables alone."""
    if len(text) > BYTES_MAX:
        return f"{what} is no JSON in UTF-8, or has half of a surrogate pair or a number that is out of range."
    try:
        told = json.loads(text.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return f"{what} is no JSON in UTF-8."
    parameters = {"variables": told} if is_variables else told if isinstance(told, dict) else {}
    for name, value in _places(parameters):
        found = _wrong(value)
        if found is not None:
            return f"{name} has {found}."
    return f"{what} has {_wrong(told) or 'a value that cannot be read'}."


def _places(parameters: dict[str, object]) -> Iterator[tuple[str, object]]:
    variables = parameters.get("variables")
    if isinstance(variables, dict):
        for name, value in variables.items():
            yield f'Variable "${_shown(name)}"', value
    for name, value in parameters.items():
        yield f'Parameter "{_shown(name)}"', value


def _shown(name: str) -> str:
    return name[:NAME_CHARACTERS_MAX].encode("utf-8", "replace").decode()


def _wrong(value: object) -> str | None:
    """What in it has no value."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str) and not _is_text(each):
            return "half of a surrogate pair, which is no text"
        if isinstance(each, float | int) and not _is_finite(each):
            return "a number that is out of range"
        if isinstance(each, dict):
            waiting += [*each, *each.values()]
        elif isinstance(each, list):
            waiting += each
    return None


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def _no_constant(_name: str) -> NoReturn:
    raise ValueError
