"""Conditions that filters of many areas share: words in a folded text, slugs that may be anything a client wrote."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute

from base import errors, texts

SLUG_CHARACTERS_MAX = 80
NO_SLUG = ""  # no row has it

Text = InstrumentedAttribute[str]
Of = InstrumentedAttribute[Any]


def has_words(text: Text, search: str | None) -> sa.ColumnElement[bool] | None:
    """That all words stand somewhere in the folded text. Raises BadUserInput."""
    if search is None:
        return None
    words = texts.search_words(search)
    return sa.and_(*(text.like(texts.like_part(word), escape=texts.LIKE_ESCAPE) for word in words))


def has_slug(column: Of, slug: str) -> sa.ColumnElement[bool]:
    """That the column is this slug; a text that can be none fits no row, and is not sent to an ASCII column.

    Never a plain FALSE: it would swallow the other conditions, the tenant's among them. MariaDB takes texts for
    equal that differ in blanks at their end, in binary collations too.
    """
    could_be = slug.isascii() and len(slug) <= SLUG_CHARACTERS_MAX and not slug.endswith(" ")
    return column == (slug if could_be else NO_SLUG)


def all_of(given: list[str] | None, name: str) -> list[str]:
    """The tags of a filter, each once. Raises BadUserInput for more than 20."""
    tags = list(dict.fromkeys(given or ()))
    if len(tags) > texts.TAGS_MAX:
        raise errors.BadUserInput(f'"{name}" takes at most {texts.TAGS_MAX} tags.')
    return tags
