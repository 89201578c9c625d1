"""What single stretches of tokens bind: a conjunct, a value of a row, a cast placeholder.

Brackets, and where a clause begins, are in `db/sql_walk.py` and `db/sql_reader.py`.
"""

from __future__ import annotations

from db.sql_shapes import (
    AFTER_CONDITION,
    CONDITIONS,
    EXACT_CASTS,
    EXPECTING,
    Clause,
    Found,
    Query,
    Verb,
)
from db.sql_tokens import END_TEXT, Kind, Token, Unreadable, text_at

_NAMES = (Kind.WORD, Kind.NAME)


def bound(tokens: list[Token], at: int) -> tuple[int, int] | None:
    """(its place in the parameters, where reading goes on) when a bare placeholder, cast or not, stands at `at`."""
    if tokens[at].kind is not Kind.PARAM:
        return None
    place = tokens[at].place
    if text_at(tokens, at + 1) != "::":
        return place, at + 1
    return (place, at + 3) if text_at(tokens, at + 2) in EXACT_CASTS else None


def value(tokens: list[Token], start: int, stop: int) -> int | None:
    """The place of the placeholder that is all of [start, stop), but for a label."""
    found = bound(tokens, start) if start < stop else None
    if found is None:
        return None
    place, after = found
    if after + 2 == stop and text_at(tokens, after) == "as" and tokens[after + 1].kind in _NAMES:
        return place
    return place if after == stop else None


def is_star(tokens: list[Token], start: int, stop: int) -> bool:
    """Whether [start, stop) is `*` or `x.*`, which stand for a number of values that the text does not tell."""
    return text_at(tokens, stop - 1) == "*" and (stop - 1 == start or text_at(tokens, stop - 2) == ".")


def operand_ends(tokens: list[Token], at: int) -> bool:
    """Whether a whole value may have ended with this token, so that a clause can follow."""
    if at < 0:
        return False
    token = tokens[at]
    if token.kind is Kind.MARK:
        return token.text in (")", "]")
    return token.kind is not Kind.WORD or token.text not in EXPECTING or text_at(tokens, at - 1) == "."


def conjunct(tokens: list[Token], at: int, query: Query) -> Found | None:
    """The equality (or IN list) with placeholders that begins at `at` and is a whole conjunct of its clause.

    In ON it counts for nothing but the table that this JOIN brought in: a LEFT JOIN keeps all rows of the others.
    """
    if tokens[at].kind not in _NAMES:
        return None
    if text_at(tokens, at + 1) == ".":
        alias: str | None = tokens[at].exact
        at += 2
        if tokens[at].kind not in _NAMES:
            return None
    else:
        # A column without its table is that of the only one there is; of an INSERT it might be the new row's.
        alone = query.froms == 1 and query.clause is Clause.WHERE and query.verb is not Verb.INSERT
        alias = next(iter(query.items), None) if alone else None
    use = None if alias is None else query.items.get(alias)
    if use is None or (query.clause is Clause.ON and alias != query.joined):
        return None
    column = tokens[at].text
    place: int | None = None
    if text_at(tokens, at + 1) == "=":
        found = bound(tokens, at + 2)
        if found is None:
            return None
        place, after = found
    elif text_at(tokens, at + 1) == "in":
        listed = _listed(tokens, at + 2)
        if listed is None:
            return None
        after = listed
    else:
        return None
    return Found(use, column, place) if _condition_ends(tokens, after, query) else None


def _listed(tokens: list[Token], at: int) -> int | None:
    """Where reading goes on behind a bracket of placeholders (or NULL, which no row equals)."""
    if text_at(tokens, at) != "(":
        return None
    while True:
        at += 1
        if text_at(tokens, at) == "null":
            at += 1
        else:
            found = bound(tokens, at)
            if found is None:
                return None
            at = found[1]
        if text_at(tokens, at) == ")":
            return at + 1
        if text_at(tokens, at) != ",":
            return None


def _condition_ends(tokens: list[Token], at: int, query: Query) -> bool:
    text = text_at(tokens, at)
    if text == "on":
        return text_at(tokens, at + 1) in ("conflict", "duplicate")
    if text == "left":
        return text_at(tokens, at + 1) in ("join", "outer")
    return text in AFTER_CONDITION or text in (")", END_TEXT) or (text == "," and query.clause is Clause.ON)


def leave(tokens: list[Token], query: Query | None, at: int) -> None:
    """End the clause being read before `at`: what it binds counts now, if no OR stood beside it."""
    if query is None:
        return
    if query.clause is Clause.LIST and query.fills is not None:
        row_item(tokens, query, at)
        row_done(query, query.fills)
    if query.clause in CONDITIONS:
        if query.betweens:
            raise Unreadable("BETWEEN without its AND")
        if not query.either:
            for found in query.found:
                found.add()
    query.found, query.either, query.betweens = [], False, 0


def row_item(tokens: list[Token], query: Query, at: int) -> None:
    """One value of a row of INSERT ends before `at`. `query` is the INSERT, or the SELECT that fills it."""
    columns = (query.fills or query).columns
    if is_star(tokens, query.item_start, at):
        raise Unreadable("INSERT … SELECT names its columns; * hides how many they are")
    place = value(tokens, query.item_start, at)
    if place is not None and query.row_items < len(columns):
        query.row[columns[query.row_items]] = place
    query.row_items += 1
    query.item_start = at + 1


def row_done(query: Query, insert: Query) -> None:
    """The row is read: it must be as long as the INSERT's list of columns."""
    if query.row_items != len(insert.columns):
        raise Unreadable(f"INSERT names {len(insert.columns)} columns and gives {query.row_items} values")
    insert.rows.append(query.row)


def assignment(tokens: list[Token], query: Query, at: int) -> None:
    """The `column = …` that begins at `at` in SET."""
    while text_at(tokens, at + 1) == ".":
        at += 2
    if tokens[at].kind not in _NAMES or text_at(tokens, at + 1) != "=":
        raise Unreadable("SET is read as column = value, one by one")
    if query.target is not None:
        query.target.assigned.add(tokens[at].text)
