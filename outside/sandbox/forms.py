"""The parameters of a call, as the provider's clients send them: `line_items[0][price_data][currency]=eur`.

They are read name by name; what nobody asked for is refused, as the provider does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import parse_qsl

from outside.sandbox.faults import ApiError

FIELDS_MAX = 1_000
DEPTH_MAX = 8
TEXT_CHARACTERS_MAX = 5_000
METADATA_NAMES_MAX = 50
METADATA_NAME_CHARACTERS_MAX = 40
METADATA_TEXT_CHARACTERS_MAX = 500
WHOLE = re.compile(r"-?\d{1,15}")


def pairs_of(encoded: bytes) -> list[tuple[str, str]]:
    """The pairs of a form or a query, in order. Raises ApiError."""
    try:
        return parse_qsl(encoded.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
    except ValueError:
        raise ApiError("The parameters are no form in UTF-8, or too many.") from None


def decoded(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Nested names as nested objects; numbered and unnumbered places as lists. Raises ApiError."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        steps = re.findall(r"[^\[\]]+|(?<=\[)(?=\])", name)
        if not steps or len(steps) > DEPTH_MAX or len(value) > TEXT_CHARACTERS_MAX:
            raise ApiError("Invalid parameter.", code="parameter_invalid", param=name[:200])
        here = found
        for step in steps[:-1]:
            inner = here.setdefault(step or str(len(here)), {})
            if not isinstance(inner, dict):
                raise ApiError("Invalid object.", code="parameter_invalid", param=name)
            here = inner
        here[steps[-1] or str(len(here))] = value
    return found


class Given:
    """One level of parameters. Every reader returns None (or empty) where nothing was given."""

    def __init__(self, values: dict[str, Any], *, at: str = "") -> None:
        self._values = values
        self._at = at
        self._read: set[str] = set()
        self._inner: list[Given] = []

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def peek(self, name: str) -> Any:
        """What was given, as it was sent: where it may be of two kinds."""
        return self._values.get(name)

    def text(self, name: str, *, one_of: Sequence[str] = ()) -> str | None:
        """A text; empty means unset."""
        value = self._take(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise self.refused(name, "Invalid string.", code="parameter_invalid_string")
        if one_of and value not in one_of:
            raise self.refused(name, f"Invalid {name}: must be one of {', '.join(one_of)}")
        return value

    def required(self, name: str, *, one_of: Sequence[str] = ()) -> str:
        """A text that has to be there."""
        value = self.text(name, one_of=one_of)
        if value is None:
            raise self.refused(name, f"Missing required param: {self._path(name)}.", code="parameter_missing")
        return value

    def whole(self, name: str, *, least: int = 0) -> int | None:
        """A whole number."""
        value = self.text(name)
        if value is None:
            return None
        if not WHOLE.fullmatch(value):
            raise self.refused(name, f"Invalid integer: {value}", code="parameter_invalid_integer")
        if int(value) < least:
            raise self.refused(name, f"Invalid {name}: must be at least {least}", code="parameter_invalid_integer")
        return int(value)

    def flag(self, name: str) -> bool | None:
        """True or false."""
        value = self.text(name, one_of=("true", "false"))
        return None if value is None else value == "true"

    def inner(self, name: str) -> Given | None:
        """An object."""
        value = self._take(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.refused(name, "Invalid object", code="parameter_invalid")
        return self._within(value, self._path(name))

    def each(self, name: str) -> list[Given]:
        """A list of objects."""
        listed = self._listed(name)
        if not all(isinstance(value, dict) for value in listed):
            raise self.refused(name, "Invalid array of objects", code="parameter_invalid")
        return [self._within(value, f"{self._path(name)}[{number}]") for number, value in enumerate(listed)]

    def texts(self, name: str) -> list[str]:
        """A list of texts."""
        listed = self._listed(name)
        if not all(isinstance(value, str) for value in listed):
            raise self.refused(name, "Invalid array of strings", code="parameter_invalid")
        return listed

    def metadata(self) -> dict[str, str]:
        """What the caller wants kept with the object. Empty texts take names away (`merged`)."""
        value = self._take("metadata") or {}
        if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
            raise self.refused("metadata", "Metadata values must be strings.")
        if len(value) > METADATA_NAMES_MAX or any(
            len(name) > METADATA_NAME_CHARACTERS_MAX or len(each) > METADATA_TEXT_CHARACTERS_MAX
            for name, each in value.items()
        ):
            raise self.refused("metadata", "Metadata has at most 50 names of 40 characters, values of 500.")
        return value

    def finish(self) -> None:
        """Refuse what was given and not read, here and inside."""
        for name in self._values:
            if name not in self._read:
                raise self.refused(name, f"Received unknown parameter: {self._path(name)}", code="parameter_unknown")
        for inner in self._inner:
            inner.finish()

    def refused(self, name: str, message: str, *, code: str | None = None) -> ApiError:
        """The error that names a parameter of this level."""
        return ApiError(message, code=code, param=self._path(name))

    def _take(self, name: str) -> Any:
        self._read.add(name)
        return self._values.get(name)

    def _listed(self, name: str) -> list[Any]:
        value = self._take(name)
        if value is None or value == "":
            return []
        if not isinstance(value, dict) or not all(place.isdecimal() for place in value):
            raise self.refused(name, "Invalid array", code="parameter_invalid")
        return [value[place] for place in sorted(value, key=int)]

    def _within(self, values: dict[str, Any], at: str) -> Given:
        inner = Given(values, at=at)
        self._inner.append(inner)
        return inner

    def _path(self, name: str) -> str:
        return f"{self._at}[{name}]" if self._at else name


def merged(kept: dict[str, str], given: dict[str, str]) -> dict[str, str]:
    """Metadata after an update: an empty text takes the name away."""
    return {name: value for name, value in (kept | given).items() if value != ""}
