"""Cuts one SQL statement into tokens, the same on MariaDB, PostgreSQL and SQLite, or refuses it.

Whatever the three would cut differently (backslashes in quotes, comments, variables, a second statement) is refused,
so the reader (`db/sql_reader.py`) needs no dialect. What the tokens mean is not here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from enum import Enum, auto
from typing import NamedTuple

STATEMENT_CHARACTERS_MAX = 4_000_000
# How far readers look ahead of a token that is not END.
AHEAD_TOKENS_MAX = 8


class GuardError(Exception):
    """A statement of ours is not scoped, or cannot be read: a bug in our code, never a user's error."""


class Unreadable(Exception):
    """Why a statement cannot be read, without the statement; `db/sql_reader.py` makes a GuardError of it."""


class Kind(Enum):
    WORD = auto()  # a keyword or a plain name; its text is in lower case
    NAME = auto()  # a quoted name, without its quotes, in lower case
    STRING = auto()
    NUMBER = auto()
    PARAM = auto()
    MARK = auto()  # brackets, comma, dot, operators
    END = auto()


class Token(NamedTuple):
    kind: Kind
    text: str
    # A name exactly as an engine that minds case would tell it from another one; quoted capitals keep a quote.
    exact: str = ""
    # Of a placeholder: its place in the parameters, from 0.
    place: int = -1


END_TEXT = "$end"
END = Token(Kind.END, END_TEXT)

_TOKEN = re.compile(
    r"""
      (?P<space>[ \t\r\n\f]++)
    | (?P<WORD>[A-Za-z_][A-Za-z0-9_$]*+)
    | (?P<STRING>'[^'\\]*+')
    | (?P<NAME>"[^"\\`]++"(?!["'`]) | `[^`\\"]++`(?!["'`]))
    | (?P<NUMBER>(?<![.])[0-9]++(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+(?![\w$."'`?]))
    # A placeholder that touches a word or a quote could become part of it when the driver fills it in.
    | (?P<PARAM>(?<![\w$"'`%?])(?:%s|\$[0-9]++|\?)(?![\w$"'`?]))
    | (?P<MARK>
          ->>? | <=> | <> | <= | <@ | << | >= | >> | != | :: | \|\| | && | @> | %% | %(?!s)
        | -(?!-) | /(?!\*) | [(),.*+=<>|&~\[\]] )
    """,
    re.VERBOSE,
)
_PLAIN = {kind.name: kind for kind in (Kind.STRING, Kind.NUMBER, Kind.MARK)}
_WORDS = re.compile(r"\w+")
# Functions that take SQL as a value, or read what is no table: no statement of ours has one.
_RUNS_TEXT = re.compile(
    r"\b(?:(?:query|table|cursor|schema|database)_to_xml\w*|dblink\w*|ts_stat|crosstab\w*|connectby|load_extension"
    r"|readfile|writefile|load_file|pg_read_\w*|pg_ls_\w*|lo_\w+)\b"
)
_HIDDEN_NAME = re.compile(r"""\bu&["']""", re.IGNORECASE)


def words(sql: str) -> set[str]:
    """Every word of the text wherever it stands, comments and quotes included, folded as widely as any engine does.

    Raises GuardError for texts that could name a table without spelling it.
    """
    if len(sql) > STATEMENT_CHARACTERS_MAX:
        raise GuardError(f"{head(sql)}: longer than {STATEMENT_CHARACTERS_MAX} characters; send it in batches")
    if "\x00" in sql or _HIDDEN_NAME.search(sql):
        raise GuardError(f"{head(sql)}: spells a name in a hidden way (NUL or U&); write the name itself")
    plain = sql.lower() if sql.isascii() else unicodedata.normalize("NFKC", sql).casefold()
    runs = _RUNS_TEXT.search(plain)
    if runs is not None:
        raise GuardError(f"{head(sql)}: {runs.group()}() reads past the guard; there is no way to scope it")
    return set(_WORDS.findall(plain))


def cut(sql: str) -> list[Token]:
    """The tokens of one statement, closed by ENDs. Takes time in proportion to the text. Raises Unreadable."""
    tokens: list[Token] = []
    add = tokens.append
    style = ""
    at, stop, count = 0, len(sql), 0
    match = _TOKEN.match
    while at < stop:
        found = match(sql, at)
        if found is None:
            raise Unreadable(f"cannot be read at {sql[at : at + 20]!r}; say it as an expression")
        at = found.end()
        group = found.lastgroup
        text = found.group()
        if group == "space":
            continue
        if group == "PARAM":
            if style not in ("", text[0]):
                raise Unreadable(f"two kinds of placeholders ({style}, {text}); use the driver's own")
            style = text[0]
            place = int(text[1:10]) - 1 if style == "$" else count
            if place < 0:
                raise Unreadable(f"{text} is no placeholder; they count from $1")
            count += 1
            add(Token(Kind.PARAM, text, place=place))
        elif group == "WORD":
            add(Token(Kind.WORD, text.lower(), exact=text))
        elif group == "NAME":
            add(_quoted(text[1:-1]))
        else:
            add(Token(_PLAIN[group or ""], text))
    tokens += [END] * AHEAD_TOKENS_MAX
    _check_style(sql, tokens, style=style)
    return tokens


def _quoted(name: str) -> Token:
    lower = name.lower()
    return Token(Kind.NAME, lower, exact=name if name == lower else f'"{name}')


def _check_style(sql: str, tokens: list[Token], *, style: str) -> None:
    if style == "%":
        # These drivers format the whole text: a per cent sign anywhere else would shift every value behind it.
        if sql.replace("%%", "").count("%") != sum(token.kind is Kind.PARAM for token in tokens):
            raise Unreadable("a lone per cent sign beside %s placeholders; double it")
        # MariaDB reads double quotes as a string.
        if '"' in sql:
            raise Unreadable("double quotes beside %s placeholders; bind the value")
    if style != "$" and any(token.kind is Kind.MARK and token.text in ("[", "]", "@>", "<@") for token in tokens):
        raise Unreadable("[ ] and @> mean different things on different engines; say it otherwise")


def text_at(tokens: list[Token], at: int) -> str:
    """The keyword, mark or placeholder at `at`; "" for what is quoted or lies before the text."""
    if at < 0:
        return ""
    token = tokens[at]
    return "" if token.kind in (Kind.NAME, Kind.STRING) else token.text


def named(tokens: list[Token], tables: Collection[str]) -> list[int]:
    """Where one of these tables is named: indexes of tokens."""
    return [at for at, token in enumerate(tokens) if token.text in tables and token.kind in (Kind.WORD, Kind.NAME)]


def head(sql: str) -> str:
    """The beginning of a statement, on one line, for a message."""
    return " ".join(sql[:160].split())[:80]
