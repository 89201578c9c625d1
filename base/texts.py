"""Texts that people write: folded for comparing, checked before they are kept, split for searching.

The same rules on every engine: NFKC and case folding here, binary collation there.
"""

import unicodedata
from collections.abc import Iterable

from base import errors

TITLE_CHARACTERS_MAX = 200
NAME_CHARACTERS_MAX = 200
TAGS_MAX = 20
TAG_CHARACTERS_MAX = 40
SEARCH_CHARACTERS_MIN = 2
SEARCH_CHARACTERS_MAX = 200
SEARCH_WORDS_MAX = 20
TAGS_LOOKED_AT_MAX = 100
LIKE_ESCAPE = "!"
# Marks that change the direction of what follows; a bare one at the end of a title would turn a whole page.
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def fold(text: str) -> str:
    """The text as it is compared and searched: NFKC, case folded, white space collapsed."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def line(text: str, *field: str, most: int = TITLE_CHARACTERS_MAX) -> str:
    """One line of text as it is kept: trimmed, white space collapsed. Raises Invalid on `field`."""
    if len(text) > most * 8:
        raise errors.Invalid(f"This must have at most {most} characters.", *field)
    if not _clean(text):
        raise errors.Invalid("This has control characters or broken Unicode.", *field)
    kept = " ".join(text.split())
    if not kept:
        raise errors.Invalid("This must not be empty.", *field)
    if len(kept) > most:
        raise errors.Invalid(f"This must have at most {most} characters, it has {len(kept)}.", *field)
    return kept


def prose(text: str, *field: str, most: int) -> str:
    """Text of several lines, trimmed; may be empty. Raises Invalid on `field`."""
    if len(text) > most:
        raise errors.Invalid(f"This must have at most {most} characters, it has {len(text)}.", *field)
    if not _clean(text.replace("\n", " ").replace("\r", " ").replace("\t", " ")):
        raise errors.Invalid("This has control characters or broken Unicode.", *field)
    return text.strip()


def tags(given: Iterable[str], *field: str) -> list[str]:
    """Tags as they are kept, in the order given, one of those that fold alike. Raises Invalid on `field`."""
    kept: dict[str, str] = {}
    for index, tag in enumerate(given):
        if index >= TAGS_LOOKED_AT_MAX:
            raise errors.Invalid(f"There may be at most {TAGS_MAX} tags.", *field)
        made = line(tag, *field, str(index), most=TAG_CHARACTERS_MAX)
        kept.setdefault(fold(made), made)
    if len(kept) > TAGS_MAX:
        raise errors.Invalid(f"There may be at most {TAGS_MAX} tags.", *field)
    return list(kept.values())


def search_words(text: str) -> list[str]:
    """The folded words of a search, each to be found as a part of the row's text. Raises BadUserInput."""
    folded = fold(text[: SEARCH_CHARACTERS_MAX + 1]) if _clean(text) else ""
    if not len(folded) >= SEARCH_CHARACTERS_MIN or len(text) > SEARCH_CHARACTERS_MAX:
        raise errors.BadUserInput(
            f'"search" needs {SEARCH_CHARACTERS_MIN} to {SEARCH_CHARACTERS_MAX} characters, no control characters.'
        )
    words = list(dict.fromkeys(folded.split()))
    if len(words) > SEARCH_WORDS_MAX:
        raise errors.BadUserInput(f'"search" takes at most {SEARCH_WORDS_MAX} words, not {len(words)}.')
    return words


def like_part(word: str) -> str:
    """The LIKE pattern (with LIKE_ESCAPE) that finds the word as a part, `%` and `_` meaning themselves."""
    for special in (LIKE_ESCAPE, "%", "_"):
        word = word.replace(special, LIKE_ESCAPE + special)
    return f"%{word}%"


def _clean(text: str) -> bool:
    return all(
        character in "\n\r\t" or not (unicodedata.category(character) in ("Cc", "Cs") or character in _DIRECTIONS)
        for character in text
    )
