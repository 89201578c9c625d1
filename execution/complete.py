"""Python values → JSON, as the schema's types say: what a computed field or a payload answers.

Whatever does not fit raises; the library then tells what and where. Columns have quicker ways (`execution/emit.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLString,
)

from execution.steps import Incomplete

INT_MIN, INT_MAX = -(2**31), 2**31 - 1

Complete = Callable[[Any], Any]


def wrapped(type_: GraphQLOutputType, inner: Complete) -> Complete:
    """`inner` for the named type within lists and non-null."""
    if isinstance(type_, GraphQLNonNull):
        return _required(_of_nullable(type_.of_type, inner))
    found = _of_nullable(type_, inner)
    return lambda value: None if value is None else found(value)


def leaf(type_: GraphQLOutputType) -> Complete:
    """A scalar or an enum, within lists and non-null."""
    named: Any = type_
    while isinstance(named, GraphQLNonNull | GraphQLList):
        named = named.of_type
    return wrapped(type_, _leaf(named))


def is_text(type_: GraphQLOutputType) -> bool:
    """Whether a str is complete as it is."""
    return (type_.of_type if isinstance(type_, GraphQLNonNull) else type_) is GraphQLString


def plain(shown: Sequence[tuple[str, str | None, Complete]]) -> Complete:
    """An object by its attributes: (response, Python name or None, what completes it)."""

    def complete(value: Any) -> dict[str, Any]:
        return {response: inner(value if name is None else getattr(value, name)) for response, name, inner in shown}

    return complete


def _of_nullable(type_: Any, inner: Complete) -> Complete:
    if isinstance(type_, GraphQLList):
        each = wrapped(type_.of_type, inner)

        def listed(value: Any) -> list[Any]:
            if not isinstance(value, list | tuple):
                raise Incomplete
            return [each(part) for part in value]

        return listed
    return inner


def _required(inner: Complete) -> Complete:
    def complete(value: Any) -> Any:
        found = None if value is None else inner(value)
        if found is None:
            raise Incomplete
        return found

    return complete


def _leaf(type_: Any) -> Complete:
    if type_ is GraphQLString or type_ is GraphQLID:
        return _text
    if type_ is GraphQLInt:
        return _int
    if type_ is GraphQLFloat:
        return _float
    if type_ is GraphQLBoolean:
        return _boolean
    if isinstance(type_, GraphQLEnumType | GraphQLScalarType):
        return type_.coerce_output_value
    raise Incomplete


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise Incomplete


def _int(value: object) -> int:
    if type(value) is int and INT_MIN <= value <= INT_MAX:
        return value
    raise Incomplete


def _float(value: object) -> float:
    if type(value) in (float, int) and math.isfinite(found := float(value)):  # type: ignore[arg-type]
        return found
    raise Incomplete


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise Incomplete
