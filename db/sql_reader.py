"""Reads one SQL statement and tells how each scoped table in it is used: which columns surely equal which placeholders.

It works on the text alone, so it shares no code with what wrote it. What it does not know it refuses; what a use may
do is the guard's to say (`db/guard.py`). One pass, no recursion: time grows with the text and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from db import sql_conditions
from db.sql_shapes import CLAUSE_FOLLOWS, CONDITIONS, WRITERS_LATER, Clause, Query, Use, Verb
from db.sql_tokens import END_TEXT, GuardError, Kind, Token, Unreadable, cut, head, named
from db.sql_walk import Walk


def read(sql: str, tables: Mapping[str, frozenset[str]]) -> tuple[Use, ...]:
    """How `tables` (name → columns worth knowing) are used; () when none is named. Raises GuardError."""
    try:
        tokens = cut(sql)
        places = named(tokens, tables)
        return _Reader(tokens, tables).read(places) if places else ()
    except Unreadable as why:
        raise GuardError(f"{head(sql)}: {why}") from None


class _Reader(Walk):
    """One method a word of SQL, called where it stands; the table at the end of the file says which."""

    def __init__(self, tokens: list[Token], tables: Mapping[str, frozenset[str]]) -> None:
        super().__init__(tokens, tables)
        self.inserts: list[tuple[Query, Use | None]] = []

    def read(self, places: list[int]) -> tuple[Use, ...]:
        """`places`: where scoped names stand; each must have been taken as a table, or qualify a column."""
        self._head()
        while (token := self.tokens[self.at]).kind is not Kind.END:
            handler = None
            if token.kind is Kind.MARK:
                handler = _MARKS.get(token.text)
            elif token.kind is Kind.WORD and self.text(self.at - 1) != ".":
                handler = _WORDS.get(token.text)
                if handler is not None and self.text(self.at + 1) == ".":
                    raise Unreadable(f"{token.text!r} stands as a name; quote it")
            if handler is not None:
                handler(self)
            self.at += 1
        if len(self.frames) != 1:
            raise Unreadable("a bracket or CASE is not closed")
        self.leave(self.query)
        for at in places:
            if at not in self.taken and (self.text(at + 1) != "." or self.text(at - 1) == "."):
                raise Unreadable(f"{self.tokens[at].text} is named where no table is read; select from it plainly")
        for insert, use in self.inserts:
            if use is not None and insert.rows:
                self._sum_up(insert, use)
        return tuple(self.uses)

    def _sum_up(self, insert: Query, use: Use) -> None:
        for column in self.tables[use.table]:
            places = [row[column] for row in insert.rows if column in row]
            if len(places) == len(insert.rows):
                use.equal[column] = places

    def _head(self) -> None:
        at = 0
        if self.text(0) == "set" and self.text(1) == "statement":
            # MariaDB's limits for one statement: names, numbers, FOR.
            at = 2
            while self.tokens[at].kind is Kind.WORD and self.text(at + 1) == "=":
                if self.tokens[at + 2].kind is not Kind.NUMBER:
                    raise Unreadable("SET STATEMENT takes numbers only")
                at += 4 if self.text(at + 3) == "," else 3
            if self.text(at) != "for":
                raise Unreadable("SET STATEMENT must end in FOR")
            at += 1
        if self.text(at) not in ("select", "insert", "update", "delete", "with", "("):
            raise Unreadable("begins with none of SELECT, INSERT, UPDATE, DELETE, WITH")
        # The loop of `read` begins here, so this is where the first query may.
        self.at = self.frames[0].begins = at

    # ---------------------------------------------------------------- where queries begin

    def with_(self) -> None:
        frame = self.frames[-1]
        if frame.begins == self.at:
            frame.after_with = True

    def select(self) -> None:
        query = self.begin(Verb.SELECT, Clause.LIST)
        query.fills = self.frames[-1].insert
        if self.text(self.at + 1) in ("distinct", "all"):
            self.at += 1
        query.item_start = self.at + 1

    def set_operation(self) -> None:
        frame, word = self.frames[-1], self.text(self.at)
        if frame.query is not None:
            if frame.query.verb is not Verb.SELECT or not self._operand_ended():
                raise Unreadable(f"{word.upper()} behind what is no SELECT")
            self.leave(frame.query)
            frame.query = None
        frame.begins = self.at + (2 if self.text(self.at + 1) in ("all", "distinct") else 1)
        if frame.insert is not None and self.text(frame.begins) != "select":
            raise Unreadable("INSERT takes its rows from plain SELECTs")

    def update(self) -> None:
        query = self.query
        if self.text(self.at - 1) in ("for", "key") and (query is None or query.clause is Clause.LOCK):
            return
        query = self.begin(Verb.UPDATE, Clause.TABLE)
        self.at = self.table(self.at + 1, query)
        if self.text(self.at) != "set":
            raise Unreadable("UPDATE takes one table; for more, write id IN (SELECT …)")
        query.clause = Clause.SET
        sql_conditions.assignment(self.tokens, query, self.at + 1)

    def delete(self) -> None:
        query = self.begin(Verb.DELETE, Clause.TABLE)
        if self.text(self.at + 1) != "from":
            raise Unreadable("DELETE is read as DELETE FROM one table")
        after = self.table(self.at + 2, query)
        if self.text(after) not in ("where", "order", "limit", "returning", ")", END_TEXT):
            raise Unreadable("DELETE takes one table; for more, write id IN (SELECT …)")
        self.at = after - 1

    def insert(self) -> None:
        query = self.begin(Verb.INSERT, Clause.TABLE)
        at = self.at + 1
        if self.text(at) == "or" and self.text(at + 1) == "ignore":
            at += 1
        if self.text(at) == "ignore":
            at += 1
        if self.text(at) != "into":
            raise Unreadable("INSERT is read as INSERT [IGNORE] INTO")
        at = self.table(at + 1, query)
        self.inserts.append((query, query.target))
        query.columns, at = self.names(at)
        if len(set(query.columns)) != len(query.columns):
            raise Unreadable("INSERT names a column twice")
        if self.text(at) == "values":
            query.clause = Clause.VALUES
            self.at = at
        elif self.text(at) in ("select", "with"):
            frame = self.frames[-1]
            frame.insert, frame.query, frame.begins = query, None, at
            self.at = at - 1
        else:
            raise Unreadable("INSERT takes VALUES or a plain SELECT")

    # ---------------------------------------------------------------- clauses

    def _operand_ended(self) -> bool:
        return sql_conditions.operand_ends(self.tokens, self.at - 1)

    def _conjunct(self, query: Query) -> None:
        found = sql_conditions.conjunct(self.tokens, self.at + 1, query)
        if found is not None and found.column in self.tables[found.use.table]:
            query.found.append(found)

    def from_(self) -> None:
        query, before = self.query, self.text(self.at - 2)
        if query is None or (
            self.text(self.at - 1) == "distinct"
            and (before == "is" or (before == "not" and self.text(self.at - 3) == "is"))
        ):
            return
        if query.verb is not Verb.SELECT or query.clause is not Clause.LIST:
            raise Unreadable(f"FROM out of its place in {query.verb.name}; write id IN (SELECT …)")
        self.leave(query)
        query.clause = Clause.FROM
        self.item(query, self.at + 1, joined=False)

    def join(self) -> None:
        query = self.query
        if query is None:
            return
        if query.verb is not Verb.SELECT or query.clause not in (Clause.FROM, Clause.ON):
            raise Unreadable(f"JOIN out of its place in {query.verb.name}; write id IN (SELECT …)")
        self.leave(query)
        query.clause = Clause.FROM
        self.item(query, self.at + 1, joined=True)

    def outer_join(self) -> None:
        if self.text(self.at + 1) != "(":
            raise Unreadable(f"{self.text(self.at).upper()} JOIN keeps rows that no condition met; write LEFT JOIN")

    def on(self) -> None:
        query, frame = self.query, self.frames[-1]
        if query is None or (query.clause is Clause.LIST and self.text(self.at - 1) == "distinct"):
            return
        insert = query if query.clause is Clause.VALUES else frame.insert
        if insert is not None and self.text(self.at + 1) in ("conflict", "duplicate"):
            if not self._operand_ended() or (query is insert and query.clause is not Clause.VALUES):
                raise Unreadable("ON CONFLICT out of its place")
            self.leave(query)
            frame.query = insert
            self._meets(insert)
        elif query.verb is Verb.SELECT and query.clause is Clause.FROM and query.join_open:
            query.clause, query.join_open = Clause.ON, False
            self._conjunct(query)
        else:
            raise Unreadable("ON without its JOIN; join flat, without brackets")

    def _meets(self, insert: Query) -> None:
        """ON CONFLICT or ON DUPLICATE KEY: what happens to the row that the INSERT meets."""
        at, met_by = self.at + 2, frozenset[str]()
        if self.text(at - 1) == "conflict":
            if self.text(at) == "(":
                columns, at = self.names(at)
                met_by = frozenset(columns)
            elif self.text(at) == "on" and self.text(at + 1) == "constraint":
                at += 3
            if self.text(at) == "do" and self.text(at + 1) == "nothing":
                insert.clause, self.at = Clause.LATER, at + 1
                return
            wanted, at = ("do", "update", "set"), at + 2
        else:
            wanted, at = ("duplicate", "key", "update"), at + 1
        if tuple(self.text(place) for place in range(at - 2, at + 1)) != wanted:
            raise Unreadable("ON CONFLICT is read as ON CONFLICT (columns) DO NOTHING or DO UPDATE SET")
        for alias, use in insert.items.items():
            if use is not None:
                met = Use(use.table, Verb.UPSERT, met_by=met_by)
                insert.items[alias] = met
                self.uses.append(met)
        insert.clause, self.at = Clause.SET, at
        sql_conditions.assignment(self.tokens, insert, at + 1)

    def using(self) -> None:
        query = self.query
        if query is None:
            return
        if query.clause is not Clause.FROM or not query.join_open:
            raise Unreadable(f"USING out of its place in {query.verb.name}; write id IN (SELECT …)")
        query.join_open = False

    def where(self) -> None:
        query = self.query
        if query is None:
            return
        before: tuple[Clause, ...] = (Clause.SET,)
        if query.verb is Verb.SELECT:
            before = (Clause.LIST, Clause.FROM, Clause.ON)
        elif query.verb is Verb.DELETE:
            before = (Clause.TABLE,)
        if query.clause not in before:
            raise Unreadable("WHERE out of its place")
        self.leave(query)
        query.clause = Clause.WHERE
        self._conjunct(query)

    def and_(self) -> None:
        query = self.query
        if query is None or query.clause not in CONDITIONS:
            return
        if query.betweens:
            query.betweens -= 1
        else:
            self._conjunct(query)

    def between(self) -> None:
        if self.query is not None:
            self.query.betweens += 1

    def or_(self) -> None:
        if self.query is not None:
            self.query.either = True

    def later(self) -> None:
        """GROUP, HAVING, ORDER, LIMIT and what else ends the conditions, if it truly begins a clause here."""
        query, word = self.query, self.text(self.at)
        if query is None:
            return
        follows, following = CLAUSE_FOLLOWS[word], self.tokens[self.at + 1]
        begins = follows is None or following.text in follows
        if word in ("limit", "offset") and following.kind in (Kind.PARAM, Kind.NUMBER):
            begins = True
        if word == "window":
            begins = self.text(self.at + 2) == "as"
        if not begins or not self._operand_ended():
            raise Unreadable(f"{word.upper()} out of its place; quote it if it is a name")
        if query.verb is not Verb.SELECT and word not in WRITERS_LATER:
            raise Unreadable(f"{word.upper()} in {query.verb.name}")
        self.leave(query)
        query.clause = Clause.LOCK if word in ("for", "lock") else Clause.LATER

    def of(self) -> None:
        query, at = self.query, self.at + 1
        if query is None or query.clause is not Clause.LOCK:
            return
        while self.is_name(at):
            self.taken.add(at)
            if self.text(at + 1) != ",":
                break
            at += 2

    def set_(self) -> None:
        if self.query is not None:
            raise Unreadable("SET out of its place; INSERT takes VALUES")

    def values(self) -> None:
        if self.query is not None and self.query.verb is not Verb.INSERT:
            raise Unreadable("VALUES out of its place")

    def into(self) -> None:
        if self.query is not None:
            raise Unreadable("SELECT INTO copies rows to where nothing is scoped; write INSERT")

    def comma(self) -> None:
        frame, query = self.frames[-1], self.query
        if frame.row_of is not None:
            sql_conditions.row_item(self.tokens, frame.row_of, self.at)
        elif query is None:
            return
        elif query.clause is Clause.SET:
            sql_conditions.assignment(self.tokens, query, self.at + 1)
        elif query.clause is Clause.LIST and query.fills is not None:
            sql_conditions.row_item(self.tokens, query, self.at)
        elif query.clause in (Clause.FROM, Clause.ON):
            self.leave(query)
            query.clause = Clause.FROM
            self.item(query, self.at + 1, joined=False)
        elif query.clause in (Clause.WHERE, Clause.TABLE):
            raise Unreadable(f"a comma in {query.clause.name}; write one table and one condition at a time")


_WORDS: Mapping[str, Callable[[_Reader], None]] = {
    **dict.fromkeys(CLAUSE_FOLLOWS, _Reader.later),
    "select": _Reader.select,
    "insert": _Reader.insert,
    "update": _Reader.update,
    "delete": _Reader.delete,
    "with": _Reader.with_,
    "union": _Reader.set_operation,
    "intersect": _Reader.set_operation,
    "except": _Reader.set_operation,
    "from": _Reader.from_,
    "join": _Reader.join,
    "right": _Reader.outer_join,
    "full": _Reader.outer_join,
    "on": _Reader.on,
    "using": _Reader.using,
    "where": _Reader.where,
    "and": _Reader.and_,
    "or": _Reader.or_,
    "xor": _Reader.or_,
    "between": _Reader.between,
    "of": _Reader.of,
    "set": _Reader.set_,
    "values": _Reader.values,
    "into": _Reader.into,
    "case": _Reader.open_case,
    "when": _Reader.inside_case,
    "then": _Reader.inside_case,
    "else": _Reader.inside_case,
    "end": _Reader.close_case,
}
_MARKS: Mapping[str, Callable[[_Reader], None]] = {
    "(": _Reader.open,
    ")": _Reader.close,
    "[": _Reader.open_square,
    "]": _Reader.close_square,
    ",": _Reader.comma,
    "||": _Reader.or_,
}
