"""Reads the one shape of statement that a sweep may send: three columns of one table, a condition, a limit."""

from __future__ import annotations

from typing import NamedTuple

from db import sql_conditions
from db.sql_tokens import END_TEXT, Kind, Token, Unreadable, cut, text_at

COLUMNS = ("tenant_id", "id", "created_at")


class Limit(NamedTuple):
    """How many rows are read at most: a number in the text, or the placeholder that holds it."""

    rows: int
    place: int | None


def limit(sql: str) -> Limit | str:
    """The limit of a sweep's statement, or why it is none. The text has been read as a SELECT before."""
    try:
        tokens = cut(sql)
    except Unreadable as why:
        return str(why)
    at = _columns_end(tokens)
    if at < 0:
        return f"it selects {', '.join(COLUMNS)} and nothing else"
    words = [token.text for token in tokens if token.kind is Kind.WORD]
    if words.count("select") != 1 or not {"join", "union", "with", "for", "lock", "having", "group"}.isdisjoint(words):
        return "it is one plain SELECT"
    places = [place for place, token in enumerate(tokens) if token.kind is Kind.WORD and token.text == "limit"]
    if len(places) != 1:
        return "it has one LIMIT"
    return _amount(tokens, places[0] + 1) or "it ends in LIMIT and a number or a placeholder"


def _columns_end(tokens: list[Token]) -> int:
    """Where FROM stands behind columns that a sweep may read; -1 if others are selected."""
    at = 1
    if text_at(tokens, 0) != "select":
        return -1
    if text_at(tokens, at) == "distinct":
        at += 1
    while True:
        if text_at(tokens, at + 1) == ".":
            at += 2
        if tokens[at].kind not in (Kind.WORD, Kind.NAME) or tokens[at].text not in COLUMNS:
            return -1
        at += 1
        if text_at(tokens, at) == "as":
            at += 2
        if text_at(tokens, at) == "from":
            return at
        if text_at(tokens, at) != ",":
            return -1
        at += 1


def _amount(tokens: list[Token], at: int) -> Limit | None:
    bound = sql_conditions.bound(tokens, at)
    if bound is not None:
        place, at = bound
        found = Limit(0, place)
    elif tokens[at].kind is Kind.NUMBER and tokens[at].text.isdigit():
        found = Limit(int(tokens[at].text[:10]), None)
        at += 1
    else:
        return None
    if text_at(tokens, at) == "offset" and (skipped := sql_conditions.bound(tokens, at + 1)) is not None:
        at = skipped[1]
    return found if text_at(tokens, at) == END_TEXT else None
