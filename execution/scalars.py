"""The scalars of the public schema and how each is read and written.

String, Int, Float and Boolean are the library's own and not here.
"""

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NewType

from graphql import GraphQLError, GraphQLID
from strawberry.scalars import JSON
from strawberry.types.scalar import ScalarDefinition

from base.ids import GlobalId

BIG_INT_MAX = 2**63 - 1
DATE_TIME_CHARACTERS_MAX = 40
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,19}")

BigInt = NewType("BigInt", int)

if TYPE_CHECKING:
    Json = object  # any JSON value, for the type checker as for the reader
else:
    Json = JSON


def write_date_time(moment: object) -> str:
    """RFC 3339 in UTC with exactly three decimals. Raises GraphQLError for what is no moment."""
    if not isinstance(moment, datetime):
        raise GraphQLError(f"DateTime cannot represent {moment!r}.")
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def read_date_time(text: object) -> datetime:
    """A moment with a time zone. Raises ValueError, to which the library adds what is named so and where."""
    if isinstance(text, str) and len(text) <= DATE_TIME_CHARACTERS_MAX:
        try:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is not None:
                return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise ValueError("DateTime is written as RFC 3339 with its time zone, e.g. 2026-01-31T12:00:00.000Z.")


def write_big_int(value: object) -> int:
    """The number itself. Raises GraphQLError for what is no whole number of 64 bits."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= BIG_INT_MAX:
        return value
    raise GraphQLError(f"BigInt cannot represent {value!r}.")


def read_big_int(value: object) -> int:
    """A whole number, given as a number or in decimal digits. Raises ValueError."""
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= BIG_INT_MAX:
        return value
    raise ValueError("BigInt is a whole number up to 9223372036854775807, as a number or in decimal digits.")


def _defined(name: str, description: str, **functions: object) -> ScalarDefinition:
    return ScalarDefinition(
        name=name,
        description=description,
        specified_by_url=None,
        serialize=functions.get("write"),  # type: ignore[arg-type]
        parse_value=functions.get("read"),  # type: ignore[arg-type]
        parse_literal=None,
        origin=functions.get("origin"),  # type: ignore[arg-type]
        implementation=functions.get("implementation"),  # type: ignore[arg-type]
    )


def _same(value: object) -> object:
    return value


SCALARS: dict[object, ScalarDefinition] = {
    # graphql-core refuses a second scalar called ID, so ours borrows its implementation.
    GlobalId: _defined("ID", "", implementation=GraphQLID, origin=GlobalId),
    datetime: _defined(
        "DateTime",
        "A moment: RFC 3339, UTC, always with milliseconds, e.g. 2026-01-31T12:00:00.000Z.",
        write=write_date_time,
        read=read_date_time,
    ),
    BigInt: _defined(
        "BigInt",
        "A whole number up to 2^63-1, sent as a JSON number; taken as a number or a decimal string.",
        write=write_big_int,
        read=read_big_int,
    ),
    Json: _defined("JSON", 'Any JSON value, e.g. {"speed": 2}.', write=_same, read=_same),
}
