"""Statements drawn at random, right ones and wrong ones: whatever the guard lets through is run on two real databases,
with and without another tenant's rows, and answers the same. Named attacks are in `test_guard_attacks.py`.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator

import pytest

from db.guard import Guard, GuardError, Permit, Rule
from db.zones import Scope, Zone

DRAWN = 2_000
RULES = {
    "videos": Rule(Scope.TENANT, Zone.POOL, "tenant_id"),
    "files": Rule(Scope.TENANT, Zone.POOL, "tenant_id"),
    "effects": Rule(Scope.GLOBAL, Zone.CENTRAL),
}
TABLES = (
    "CREATE TABLE videos (tenant_id VARCHAR(20), id INT, title VARCHAR(20))",
    "CREATE TABLE files (tenant_id VARCHAR(20), id INT, title VARCHAR(20))",
    "CREATE TABLE effects (tenant_id VARCHAR(20), id INT, title VARCHAR(20))",
    "INSERT INTO videos VALUES ('acme', 1, 'mine'), ('acme', 2, 'mine too')",
    "INSERT INTO files VALUES ('acme', 1, 'mine')",
    "INSERT INTO effects VALUES ('acme', 1, 'effect'), ('other', 2, 'effect')",
)
OTHERS = (
    "INSERT INTO videos VALUES ('other', 1, 'CANARY'), ('other', 3, 'CANARY')",
    "INSERT INTO files VALUES ('other', 1, 'CANARY'), ('other', 2, 'CANARY')",
)


class Drawing:
    """Draws SELECTs that mostly name what is in their scope, bind most tenants, and now and then do something else."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def statement(self) -> str:
        if self.chance(0.1):
            return f"WITH c AS ({self.select(1)}) SELECT * FROM c"
        if self.chance(0.1):
            return f"{self.select(1)} {self.random.choice(['UNION', 'UNION ALL', 'EXCEPT'])} {self.select(1)}"
        return self.select(2)

    def select(self, depth: int, outer: tuple[str, ...] = ()) -> str:
        aliases: list[str] = []
        text = self.item(aliases, depth)
        for _ in range(self.random.choice([0, 0, 1, 1, 2])):
            if self.chance(0.25):
                text += f", {self.item(aliases, depth)}"
            else:
                joins = ["JOIN", "JOIN", "INNER JOIN", "LEFT JOIN", "LEFT OUTER JOIN", "CROSS JOIN", "NATURAL JOIN"]
                text += f" {self.random.choice([*joins, 'RIGHT JOIN'])} {self.item(aliases, depth)}"
                if self.chance(0.9):
                    text += f" ON {self.condition([aliases[-1], *aliases[:-1]], depth, outer)}"
        text = f"SELECT {self.columns(aliases)} FROM {text}"
        if self.chance(0.95):
            text += f" WHERE {self.condition(aliases, depth, outer)}"
        if self.chance(0.1):
            text += self.random.choice([" ORDER BY 1", " LIMIT 3", " ORDER BY 1 LIMIT 2"])
        return text

    def columns(self, aliases: list[str]) -> str:
        one = self.random.choice(aliases)
        return self.random.choice(
            [f"{one}.title", f"{one}.title", f"max({one}.title)", f"CASE WHEN 1 = 1 THEN {one}.title END"]
        )

    def item(self, aliases: list[str], depth: int) -> str:
        table = self.random.choice(["videos", "videos", "files", "files", "effects"])
        if self.chance(0.3) and table not in aliases:
            aliases.append(table)
            return table
        alias = self.random.choice(["v", "f", "x", "V", "videos"]) if self.chance(0.1) else f"t{len(aliases)}"
        if depth and self.chance(0.15):
            inner = self.select(depth - 1).removeprefix("SELECT ")
            aliases.append(alias)
            return f"(SELECT {inner.replace(' FROM', ' AS title, ? AS tenant_id, 1 AS id FROM', 1)}) AS {alias}"
        aliases.append(alias)
        return f"{table} AS {alias}"

    def condition(self, aliases: list[str], depth: int, outer: tuple[str, ...]) -> str:
        parts = [f"{alias}.tenant_id = ?" for alias in aliases if self.chance(0.85)]
        more = self.random.choice([0, 0, 0, 1, 1, 2])
        parts += [self.other(aliases, depth, outer) for _ in range(more)]
        self.random.shuffle(parts)
        text = parts[0] if parts else "1 = 1"
        for part in parts[1:]:
            text += f" {'OR' if self.chance(0.06) else 'AND'} {part}"
        return text

    def other(self, aliases: list[str], depth: int, outer: tuple[str, ...]) -> str:
        one, two = self.random.choice([*aliases, *outer]), self.random.choice(aliases)
        mine = f"{one}.tenant_id = ?"
        plain = [
            f"{one}.id = {two}.id",
            f"{one}.tenant_id = {two}.tenant_id",
            f"NOT {mine}",
            f"{mine} IS NOT NULL",
            f"({mine} OR 1 = 1)",
            f"1 BETWEEN 0 AND {mine}",
            f"CASE WHEN 1 = 1 AND {mine} THEN 1 ELSE 1 END = 1",
            f"{one}.id BETWEEN 0 AND 5",
            "tenant_id = ?",
            "1 = 1",
        ]
        if depth and self.chance(0.5):
            inner = self.select(depth - 1, (*aliases, *outer))
            return self.random.choice([f"EXISTS ({inner})", f"'CANARY' IN ({inner})", f"({inner} LIMIT 1) IS NOT NULL"])
        return self.random.choice(plain)


def passed(seed: int, drawn: int, mark: str = "?") -> Iterator[tuple[str, int]]:
    """(statement, number of its values) of those drawn statements that the guard lets through."""
    drawing, guard = Drawing(seed), Guard(RULES)
    for _ in range(drawn):
        sql = drawing.statement().replace("?", mark)
        count = sql.count(mark)
        try:
            guard.check(sql, ("acme",) * count, False, Permit(tenant="acme"))
        except GuardError:
            continue
        yield sql, count


def answers(database: sqlite3.Connection, sql: str, count: int) -> list[str] | None:
    try:
        return sorted(map(str, database.execute(sql, ("acme",) * count)))
    except sqlite3.OperationalError:
        return None


@pytest.mark.parametrize("seed", range(3))
def test_what_passes_cannot_tell_whether_another_tenant_is_there(seed: int) -> None:
    alone, shared = sqlite3.connect(":memory:"), sqlite3.connect(":memory:")
    for sql in TABLES:
        alone.execute(sql)
        shared.execute(sql)
    for sql in OTHERS:
        shared.execute(sql)
    told = 0
    for sql, count in passed(seed, DRAWN):
        mine = answers(alone, sql, count)
        assert answers(shared, sql, count) == mine, sql
        told += bool(mine)
    alone.close()
    shared.close()
    assert told > 200, "too few statements ran for this to prove anything"
