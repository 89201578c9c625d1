"""What a single value of the catalog may be, told by its column: each check gives the value as it is kept.

Every check raises Invalid on `input.<the field in camel case>`. What several values together may be is in `rules.py`.
"""

import enum
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import urlsplit

from base import errors, texts
from db.tables.central.catalog import AlgorithmKind

Check = Callable[[object, tuple[str, str]], object]

SLUG_CHARACTERS_MAX = 80
DESCRIPTION_CHARACTERS_MAX = 5_000
URL_CHARACTERS_MAX = 1_000
POSITION_MAX = 1_000_000
CENTS_MAX = 1_000_000_000
TOKENS_MAX = 1_000_000_000
TOKEN_COST_MAX = 1_000_000
# The provider's own limit.
TRIAL_DAYS_MAX = 730
FEATURES_MAX = 20
CODE_CHARACTERS_MAX = 80
PROVIDER_CHARACTERS_MAX = 80
LINKS_MAX = 20
PACKAGES_MAX = 1_000
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_CURRENCY = re.compile(r"[A-Z]{3}")
_PROVIDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def camel(name: str) -> str:
    """A column's name as clients write it."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def path(name: str) -> tuple[str, str]:
    """Where a column's value stands in the arguments."""
    return "input", camel(name)


def _text(value: object, field: tuple[str, str]) -> str:
    if not isinstance(value, str):
        raise errors.Invalid("This must be a text.", *field)
    return value


def slug(value: object, field: tuple[str, str]) -> str:
    """Lower-case words of letters and digits, joined by hyphens."""
    text = _text(value, field)
    if len(text) > SLUG_CHARACTERS_MAX or not _SLUG.fullmatch(text):
        raise errors.Invalid(
            f"A slug has 1 to {SLUG_CHARACTERS_MAX} of a–z, 0–9 and single hyphens between them.", *field
        )
    return text


def name(value: object, field: tuple[str, str]) -> str:
    """One line of 1 to 200 characters."""
    return texts.line(_text(value, field), *field, most=texts.NAME_CHARACTERS_MAX)


def description(value: object, field: tuple[str, str]) -> str | None:
    """Sentences, or None; an empty text is none."""
    return texts.prose(_text(value, field), *field, most=DESCRIPTION_CHARACTERS_MAX) or None


def whole(least: int, most: int) -> Check:
    """A whole number within bounds."""

    def check(value: object, field: tuple[str, str]) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise errors.Invalid(f"This must be a whole number from {least:,} to {most:,}.", *field)
        return value

    return check


def boolean(value: object, field: tuple[str, str]) -> bool:
    """Yes or no."""
    if not isinstance(value, bool):
        raise errors.Invalid("This must be true or false.", *field)
    return value


def currency(value: object, field: tuple[str, str]) -> str:
    """Three capital letters."""
    text = _text(value, field)
    if not _CURRENCY.fullmatch(text):
        raise errors.Invalid("A currency is three capital letters of ISO 4217, e.g. EUR.", *field)
    return text


def features(value: object, field: tuple[str, str]) -> list[str]:
    """At most 20 lines."""
    if not isinstance(value, list) or len(value) > FEATURES_MAX:
        raise errors.Invalid(f"This must be a list of at most {FEATURES_MAX} lines.", *field)
    return [texts.line(_text(each, field), *field, str(index)) for index, each in enumerate(value)]


def code(value: object, field: tuple[str, str]) -> str:
    """One line that does not begin with `#`, which stands for discounts without a code."""
    text = texts.line(_text(value, field), *field, most=CODE_CHARACTERS_MAX)
    if texts.fold(text).startswith("#"):
        raise errors.Invalid("A code does not begin with #.", *field)
    return text


def moment(value: object, field: tuple[str, str]) -> datetime:
    """A moment with its zone."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise errors.Invalid("This must be a moment with its zone, e.g. 2026-03-01T00:00:00Z.", *field)
    return value


def kind(value: object, field: tuple[str, str]) -> enum.Enum:
    """Who carries an algorithm out."""
    if not isinstance(value, AlgorithmKind):
        raise errors.Invalid(f"This must be one of {', '.join(AlgorithmKind.__members__)}.", *field)
    return value


def provider(value: object, field: tuple[str, str]) -> str:
    """A provider's name as the settings have it."""
    text = _text(value, field)
    if len(text) > PROVIDER_CHARACTERS_MAX or not _PROVIDER.fullmatch(text):
        raise errors.Invalid("A provider's name has letters, digits and . _ - alone.", *field)
    return text


def url(value: object, field: tuple[str, str]) -> str:
    """An https address."""
    text = _text(value, field)
    if len(text) > URL_CHARACTERS_MAX or not _is_https(text):
        raise errors.Invalid(f"This must be an https address of at most {URL_CHARACTERS_MAX:,} characters.", *field)
    return text


def _is_https(text: str) -> bool:
    if not text.isascii() or not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        return False


def ids(most: int) -> Check:
    """A list of rows' ids, each once."""

    def check(value: object, field: tuple[str, str]) -> list[int]:
        if not isinstance(value, list) or not all(isinstance(each, int) for each in value):
            raise errors.Invalid("This must be a list of ids.", *field)
        kept = list(dict.fromkeys(value))
        if len(kept) > most:
            raise errors.Invalid(f"This may have at most {most:,} ids.", *field)
        return kept

    return check


def _as_given(value: object, field: tuple[str, str]) -> object:  # noqa: ARG001  (a check's signature)
    return value


# A column's value by the column's name, whichever table it stands in.
CHECKS: Mapping[str, Check] = {
    "slug": slug,
    "name": name,
    "description": description,
    "position": whole(0, POSITION_MAX),
    "monthly_price_cents": whole(0, CENTS_MAX),
    "monthly_tokens": whole(1, TOKENS_MAX),
    "trial_days": whole(0, TRIAL_DAYS_MAX),
    "credits_zero_invoices": boolean,
    "price_cents": whole(0, CENTS_MAX),
    "tokens": whole(1, TOKENS_MAX),
    "currency": currency,
    "features": features,
    "code": code,
    "percent_off": whole(1, 100),
    "starts_at": moment,
    "ends_at": moment,
    "kind": kind,
    "provider": provider,
    "token_cost": whole(0, TOKEN_COST_MAX),
    "preview_url": url,
    "is_premium": boolean,
    "filter_ids": ids(LINKS_MAX),
    "tag_ids": ids(LINKS_MAX),
    "package_ids": ids(PACKAGES_MAX),
    # Made by `place_asset` out of bytes that were looked at.
    "asset_key": _as_given,
    "asset_mime": _as_given,
    # Read and checked as a whole by outside/graphs.py (`rules.py`).
    "parameters": _as_given,
    "graph": _as_given,
}


def checked(name: str, value: object) -> object:
    """The value as its column keeps it; a column of ours that has no check is a bug here."""
    if name.endswith("_id"):
        if not isinstance(value, int):
            raise errors.Invalid("This must be an id.", *path(name))
        return value
    return CHECKS[name](value, path(name))
