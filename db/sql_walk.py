"""The ground of the reader of SQL: where it stands, brackets, where queries begin, tables and their aliases.

What the words between them mean is in `db/sql_reader.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from db import sql_conditions
from db.sql_shapes import AFTER_TABLE, RESERVED, Clause, Frame, Query, Use, Verb
from db.sql_tokens import END_TEXT, Kind, Token, Unreadable, text_at

BRACKETS_DEEP_MAX = 200


class Walk:
    """A walk over the tokens; `at` is the token being read, the last frame the bracket it stands in."""

    def __init__(self, tokens: list[Token], tables: Mapping[str, frozenset[str]]) -> None:
        self.tokens, self.tables = tokens, tables
        self.at = 0
        self.frames = [Frame("")]
        self.uses: list[Use] = []
        # Where a scoped name was taken as a table, or may stand without being one (FOR UPDATE OF).
        self.taken: set[int] = set()
        self.item_bracket = -1

    def text(self, at: int) -> str:
        return text_at(self.tokens, at)

    @property
    def query(self) -> Query | None:
        """The query to which the token being read belongs; None inside plain brackets and CASE."""
        return self.frames[-1].query

    def leave(self, query: Query | None) -> None:
        sql_conditions.leave(self.tokens, query, self.at)

    # ---------------------------------------------------------------- brackets

    def push(self, frame: Frame) -> None:
        if len(self.frames) > BRACKETS_DEEP_MAX:
            raise Unreadable(f"more than {BRACKETS_DEEP_MAX} brackets deep")
        self.frames.append(frame)

    def pop(self, opened_by: str) -> Frame:
        frame = self.frames[-1]
        if frame.opened_by != opened_by:
            raise Unreadable("brackets or CASE close in another order than they open")
        self.leave(frame.query)
        return self.frames.pop()

    def open(self) -> None:
        query = self.query
        frame = Frame("(", begins=self.at + 1)
        if self.item_bracket == self.at:
            frame.item_of = query
        elif query is not None and query.clause is Clause.VALUES:
            if self.text(self.at - 1) in ("values", ","):
                frame.begins = -1
                frame.row_of = query
                query.item_start, query.row, query.row_items = self.at + 1, {}, 0
            elif self.text(self.at - 2) != "as":
                raise Unreadable("VALUES takes plain rows")
        self.push(frame)

    def close(self) -> None:
        frame = self.pop("(")
        if frame.row_of is not None:
            sql_conditions.row_item(self.tokens, frame.row_of, self.at)
            sql_conditions.row_done(frame.row_of, frame.row_of)
        if frame.item_of is not None:
            alias = self.at + 2 if self.text(self.at + 1) == "as" else self.at + 1
            if self.is_name(alias):
                self.register(frame.item_of, alias, use=None)
                self.at = alias

    def open_square(self) -> None:
        self.push(Frame("["))

    def close_square(self) -> None:
        self.pop("[")

    def open_case(self) -> None:
        self.push(Frame("case"))

    def inside_case(self) -> None:
        if self.frames[-1].opened_by != "case":
            raise Unreadable(f"{self.text(self.at).upper()} outside CASE")

    def close_case(self) -> None:
        self.pop("case")

    def begin(self, verb: Verb, clause: Clause) -> Query:
        """A query begins at this token, if one may."""
        frame = self.frames[-1]
        if frame.query is not None or not (frame.begins == self.at or frame.after_with):
            raise Unreadable(f"{verb.name} in the middle of a query")
        frame.after_with = False
        frame.query = Query(verb, clause)
        return frame.query

    # ---------------------------------------------------------------- tables and names

    def is_name(self, at: int) -> bool:
        """Whether a name that is no word of the language stands at `at`."""
        token = self.tokens[at]
        return token.kind is Kind.NAME or (token.kind is Kind.WORD and token.text not in RESERVED)

    def names(self, at: int) -> tuple[list[str], int]:
        """The names in a bracket that holds nothing else, and where reading goes on."""
        found: list[str] = []
        mark = "("
        while self.text(at) == mark and self.tokens[at + 1].kind in (Kind.WORD, Kind.NAME):
            found.append(self.tokens[at + 1].text)
            at += 2
            mark = ","
        if not found or self.text(at) != ")":
            raise Unreadable("the columns must be named in brackets")
        return found, at + 1

    def register(self, query: Query, at: int, *, use: Use | None) -> str:
        """The alias at `at` stands for `use` in this query, and for nothing else."""
        token = self.tokens[at]
        if token.text in query.folded:
            raise Unreadable(f"{token.text} is named twice; give each an alias")
        query.folded.add(token.text)
        query.items[token.exact] = use
        return token.exact

    def table(self, at: int, query: Query) -> int:
        """Take the table named at `at`, its alias too; where reading goes on."""
        while self.is_name(at) and self.text(at + 1) == ".":
            at += 2
        if not self.is_name(at):
            raise Unreadable("no table stands where one is expected")
        use = None
        if self.tokens[at].text in self.tables:
            self.taken.add(at)
            use = Use(self.tokens[at].text, query.verb)
            self.uses.append(use)
        alias = at
        if self.text(at + 1) == "as":
            alias = at + 2
            if not self.is_name(alias):
                raise Unreadable("no alias stands behind AS")
        elif self.is_name(at + 1):
            alias = at + 1
        query.froms += 1
        query.joined = self.register(query, alias, use=use)
        return alias + 1

    def item(self, query: Query, at: int, *, joined: bool) -> None:
        """Read the item of FROM that begins at `at`: a table, a bracket, or a function that makes rows."""
        query.join_open = joined
        if self.text(at) == "lateral":
            at += 1
        called = at
        while self.is_name(called) and self.text(called + 1) == ".":
            called += 2
        if self.is_name(called) and self.text(called + 1) == "(":
            at = called + 1
        if self.text(at) == "(":
            query.froms += 1
            query.joined = None
            self.item_bracket = at
            self.at = at - 1
            return
        after = self.table(at, query)
        if self.text(after) not in AFTER_TABLE and self.text(after) not in (",", ")", END_TEXT):
            raise Unreadable(f"{self.tokens[after].text!r} behind a table in FROM")
        self.at = after - 1
