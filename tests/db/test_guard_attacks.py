"""Statements that try to slip past the guard: every one is refused, whatever its values. The values here are always
the session's own tenant, so that only the reading can refuse. What must pass is in `test_guard.py`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.guard import Guard, GuardError, Permit, Rule
from db.zones import Scope, Zone

RULES = {
    "videos": Rule(Scope.TENANT, Zone.POOL, "tenant_id"),
    "files": Rule(Scope.TENANT, Zone.POOL, "tenant_id"),
    "exports": Rule(Scope.TENANT, Zone.POOL, "tenant_id"),
    "effects": Rule(Scope.GLOBAL, Zone.CENTRAL),
}
T = "videos.tenant_id = ?"
V = "v.tenant_id = ?"

ATTACKS = {
    # ------------------------------------------------ no condition, or not one of its own
    "nothing": "SELECT * FROM videos",
    "another column": "SELECT * FROM videos WHERE videos.id = ?",
    "unequal": "SELECT * FROM videos WHERE videos.tenant_id <> ?",
    "not less": "SELECT * FROM videos WHERE videos.tenant_id >= ?",
    "like": "SELECT * FROM videos WHERE videos.tenant_id LIKE ?",
    "a list": "SELECT * FROM videos WHERE videos.tenant_id IN (?, ?)",
    "its own column": "SELECT * FROM videos WHERE videos.tenant_id = videos.tenant_id",
    "a literal": "SELECT * FROM videos WHERE videos.tenant_id = 'acme'",
    "a coalesced value": "SELECT * FROM videos WHERE videos.tenant_id = coalesce(?, videos.tenant_id)",
    "an inner part of a longer name": "SELECT * FROM videos WHERE videos.old_tenant_id = ?",
    "or in front": f"SELECT * FROM videos WHERE 1 = 1 OR {T}",
    "or behind": f"SELECT * FROM videos WHERE {T} OR 1 = 1",
    "or behind and": f"SELECT * FROM videos WHERE {T} AND videos.id = ? OR 1 = 1",
    "or between ands": f"SELECT * FROM videos WHERE 1 = 1 OR videos.id = ? AND {T} AND 1 = 1",
    "or in capitals on another line": f"SELECT * FROM videos WHERE {T}\n\toR\n1 = 1",
    "xor": f"SELECT * FROM videos WHERE {T} XOR 1 = 0",
    "pipes that mean or": f"SELECT * FROM videos WHERE {T} || 1",
    "ampersands": f"SELECT * FROM videos WHERE {T} && 0 = 1",
    "not": f"SELECT * FROM videos WHERE NOT {T}",
    "bang": f"SELECT * FROM videos WHERE ! {T}",
    "compared with false": f"SELECT * FROM videos WHERE {T} = 0",
    "is false": f"SELECT * FROM videos WHERE {T} IS FALSE",
    "is null": f"SELECT * FROM videos WHERE ({T}) IS NULL",
    "in a bracket with or": f"SELECT * FROM videos WHERE ({T} OR 1 = 1)",
    "in case": f"SELECT * FROM videos WHERE CASE WHEN 1 = 1 AND {T} AND 1 = 1 THEN 1 ELSE 1 END",
    "in a case closed by a column called end": f"SELECT * FROM videos WHERE CASE WHEN end AND {T} AND 1 THEN 1 END",
    "as between's upper end": f"SELECT * FROM videos WHERE videos.id BETWEEN 0 AND {T}",
    "as the second between's upper end": f"SELECT * FROM videos WHERE 1 BETWEEN 0 AND 1 BETWEEN 0 AND {T}",
    "in having": f"SELECT videos.id FROM videos GROUP BY videos.id HAVING 1 = 1 AND {T}",
    "in order": f"SELECT videos.id FROM videos ORDER BY 1 = 1 AND {T}",
    "in a filter": f"SELECT count(*) FILTER (WHERE {T}) FROM videos",
    "in the list": f"SELECT 1 = 1 AND {T} FROM videos",
    "in a function": f"SELECT * FROM videos WHERE coalesce(NULL, {T})",
    "or behind a column called offset": f"SELECT * FROM videos WHERE {T} AND offset = 1 OR 1 = 1",
    "or behind a column called returning": f"SELECT * FROM videos WHERE {T} AND returning OR 1 = 1",
    "or behind a column called window": f"SELECT * FROM videos WHERE {T} AND window = 1 OR 1 = 1",
    "or that looks like a qualifier": f"SELECT * FROM videos WHERE {T} AND 1 OR.5",
    "a value with arithmetic": f"SELECT * FROM videos WHERE {T} + 0",
    "a value with a collation": f"SELECT * FROM videos WHERE {T} COLLATE NOCASE",
    "two placeholders that join to one text": "SELECT * FROM videos WHERE videos.tenant_id = ? ?",
    "a placeholder that touches or": f"SELECT * FROM videos WHERE {T}OR 1 = 1",
    # ------------------------------------------------ another table, alias or level than the one bound
    "implicit join": f"SELECT * FROM videos, files WHERE {T}",
    "join": f"SELECT * FROM videos JOIN files ON files.video_id = videos.id WHERE {T}",
    "join by the first's column": f"SELECT * FROM videos JOIN files ON files.tenant_id = videos.tenant_id WHERE {T}",
    "left join's on for its left side": f"SELECT * FROM videos LEFT JOIN files ON {T} WHERE files.tenant_id = ?",
    "inner join's on for its left side": f"SELECT * FROM videos JOIN files ON {T} AND files.tenant_id = ?",
    "right join": f"SELECT * FROM effects RIGHT JOIN videos ON {T}",
    "right outer join": f"SELECT * FROM videos NATURAL RIGHT OUTER JOIN effects WHERE {T}",
    "full join": f"SELECT * FROM videos FULL JOIN effects ON 1 = 1 WHERE {T}",
    "or in on": "SELECT * FROM effects LEFT JOIN videos ON videos.tenant_id = ? OR 1 = 1",
    "two ons": "SELECT * FROM effects LEFT JOIN videos JOIN files ON files.tenant_id = ? ON videos.tenant_id = ?",
    "a comma behind on": "SELECT * FROM effects JOIN videos ON videos.tenant_id = ?, files",
    "on for a later comma item": "SELECT * FROM effects JOIN effects e, videos ON videos.tenant_id = ?",
    "using": "SELECT * FROM videos JOIN files USING (tenant_id) WHERE videos.tenant_id = ?",
    "nested join": f"SELECT * FROM effects JOIN (videos JOIN files ON 1 = 1) ON {T}",
    "bracketed table": f"SELECT * FROM (videos) WHERE {T}",
    "self join": f"SELECT * FROM videos JOIN videos AS w ON 1 = 1 WHERE {T}",
    "twice without alias": f"SELECT * FROM videos, videos WHERE {T}",
    "twice with one alias": f"SELECT * FROM videos v, files v WHERE {V}",
    "two aliases that differ by case": f'SELECT * FROM videos v, files "V" WHERE {V} AND "V".tenant_id = ?',
    "inner capital alias for the outer table": (
        'SELECT * FROM videos a WHERE a.tenant_id = ? AND EXISTS (SELECT 1 FROM files "A" WHERE A.tenant_id = ?)'
    ),
    "name hidden by its alias": f"SELECT * FROM videos v WHERE {T}",
    "alias of something else": f"SELECT * FROM videos, (SELECT ? AS tenant_id) AS v WHERE {V}",
    "a derived table in its name": f"SELECT * FROM videos v, (SELECT 1) AS videos WHERE {T}",
    "renamed columns": "SELECT * FROM videos AS v (title, tenant_id) WHERE v.tenant_id = ?",
    "another schema of one name": f"SELECT * FROM a.videos, b.videos WHERE {T}",
    "inside for outside": f"SELECT * FROM videos WHERE EXISTS (SELECT 1 FROM files WHERE files.tenant_id = ? AND {T})",
    "condition outside for inside": f"SELECT * FROM videos WHERE {T} AND EXISTS (SELECT 1 FROM files)",
    "shadowed inside": "SELECT * FROM videos v WHERE EXISTS (SELECT 1 FROM effects v WHERE v.tenant_id = ?)",
    "in a subquery": f"SELECT * FROM videos WHERE {T} AND videos.id IN (SELECT files.video_id FROM files)",
    "scalar subquery": f"SELECT (SELECT count(*) FROM files) FROM videos WHERE {T}",
    "subquery in order": f"SELECT * FROM videos WHERE {T} ORDER BY (SELECT max(files.id) FROM files)",
    "subquery in limit": f"SELECT * FROM videos WHERE {T} LIMIT (SELECT count(*) FROM files)",
    "derived table": "SELECT * FROM (SELECT * FROM videos) AS v WHERE v.tenant_id = ?",
    "lateral": f"SELECT * FROM videos, LATERAL (SELECT * FROM files WHERE files.video_id = videos.id) f WHERE {T}",
    "cte": "WITH v AS (SELECT * FROM videos) SELECT * FROM v WHERE v.tenant_id = ?",
    "cte in its name": f"WITH videos AS (SELECT 1) SELECT * FROM videos WHERE {T}",
    "recursive cte": (
        f"WITH RECURSIVE r AS (SELECT id FROM videos WHERE {T} UNION ALL SELECT files.id FROM files, r) SELECT * FROM r"
    ),
    "deleting cte": "WITH gone AS (DELETE FROM videos RETURNING id) SELECT * FROM gone",
    "union": f"SELECT id FROM videos WHERE {T} UNION SELECT id FROM files",
    "bracketed union": f"(SELECT id FROM videos WHERE {T}) UNION ALL (SELECT id FROM files)",
    "union in a list": f"SELECT id FROM videos WHERE {T} AND id IN (VALUES (1) UNION SELECT id FROM files)",
    "except": f"SELECT id FROM videos WHERE {T} EXCEPT SELECT id FROM files",
    "unqualified in a join": "SELECT * FROM videos, effects WHERE tenant_id = ?",
    "unqualified beside rows from a function": "SELECT * FROM videos, json_each(videos.tags) WHERE tenant_id = ?",
    # ------------------------------------------------ other ways to a table
    "table statement": "TABLE videos",
    "table in exists": "SELECT EXISTS (TABLE videos)",
    "table of a schema in exists": "SELECT EXISTS (TABLE main.videos)",
    "table in union": f"SELECT * FROM videos WHERE {T} UNION TABLE videos",
    "only": f"SELECT * FROM ONLY videos WHERE {T}",
    "partition": f"SELECT * FROM videos PARTITION (p0) WHERE {T}",
    "system time": f"SELECT * FROM videos FOR SYSTEM_TIME ALL WHERE {T}",
    "sample": f"SELECT * FROM videos TABLESAMPLE SYSTEM (10) WHERE {T}",
    "whole row": f"SELECT videos FROM videos WHERE {T} AND videos IS NOT NULL",
    "into a new table": f"SELECT * INTO copied FROM videos WHERE {T}",
    "into a file": f"SELECT * FROM videos WHERE {T} INTO OUTFILE 'x'",
    "copy": "COPY videos TO STDOUT",
    "explain": "EXPLAIN ANALYZE DELETE FROM videos",
    "describe": "DESCRIBE videos",
    "truncate": "TRUNCATE videos",
    "truncate table": "TRUNCATE TABLE videos",
    "drop": "DROP TABLE videos",
    "alter": "ALTER TABLE videos DROP COLUMN tenant_id",
    "rename": "RENAME TABLE videos TO effects2",
    "view": "CREATE VIEW everything AS SELECT * FROM videos",
    "create as": "CREATE TABLE everything AS SELECT * FROM videos",
    "trigger": "CREATE TRIGGER t AFTER INSERT ON effects BEGIN DELETE FROM videos; END",
    "handler": "HANDLER videos OPEN",
    "lock": "LOCK TABLES videos WRITE",
    "cursor": "DECLARE c CURSOR FOR SELECT * FROM videos",
    "prepare": "PREPARE s FROM 'SELECT * FROM videos'",
    "prepare by pieces": "PREPARE s FROM CONCAT('SELECT * FROM vid', 'eos')",
    "execute": "EXECUTE s",
    "execute immediate": "EXECUTE IMMEDIATE CONCAT('SELECT * FROM vid', 'eos')",
    "do block": "DO $$ BEGIN EXECUTE 'DELETE FROM vid' || 'eos'; END $$",
    "compound statement": "BEGIN NOT ATOMIC EXECUTE IMMEDIATE CONCAT('DELETE FROM vid', 'eos'); END",
    "call": "CALL everything()",
    "attach": "ATTACH 'x' AS other",
    "query_to_xml": "SELECT query_to_xml('select * from vid' || 'eos', true, true, '')",
    "dblink": "SELECT * FROM dblink('dbname=pool', 'select 1 from vid' || 'eos') AS t(id bigint)",
    "hidden unicode name": 'SELECT * FROM U&"\\0076ideos"',
    "hidden unicode name with an escape of its own": "SELECT * FROM U&\"!0076ideos\" UESCAPE '!'",
    "kelvin sign": "SELECT * FROM videoſ",
    "full width": "SELECT * FROM ｖideos",
    "capitals": "SELECT * FROM VIDEOS",
    "quoted": 'SELECT * FROM "videos"',
    "backticks": "SELECT * FROM `videos`",
    "square brackets": "SELECT * FROM [videos] WHERE [videos].tenant_id = ?",
    "schema": 'SELECT * FROM main."videos"',
    "no space": "SELECT*FROM(videos)",
    "nul": f"SELECT * FROM videos WHERE {T}\x00 OR 1 = 1",
    "odd space": f"SELECT * FROM videos WHERE {T}\xa0OR 1 = 1",
    # ------------------------------------------------ text that engines read differently
    "line comment": f"SELECT * FROM videos -- WHERE {T}",
    "hash comment": f"SELECT * FROM videos # WHERE {T}",
    "block comment": f"SELECT * FROM videos /* WHERE {T} */",
    "comment that runs": f"SELECT * FROM videos WHERE {T} /*! OR 1 = 1 */",
    "comment that runs names the table": "SELECT 1 /*! FROM videos */",
    "hint": f"SELECT /*+ NO_INDEX(videos) */ * FROM videos WHERE {T}",
    "second statement": f"SELECT * FROM videos WHERE {T}; DELETE FROM videos",
    "second statement that hides": "SELECT 1; EXECUTE s",
    "trailing semicolon": f"SELECT * FROM videos WHERE {T};",
    "condition in a string": f"SELECT * FROM videos WHERE 'x' = 'WHERE {T}'",
    "backslash in a string": f"SELECT * FROM videos WHERE 'a\\' AND {T} AND 'b' = 'c'",
    "open string": f"SELECT * FROM videos WHERE {T} AND 'x",
    "doubled quotes in a name": f'SELECT * FROM "a"" videos" WHERE {T}',
    "dollar quotes": f"SELECT * FROM videos WHERE $$x$$ = 'x' AND {T}",
    "user variable": f"SELECT * FROM videos WHERE @x := 1 OR {T}",
    "named placeholder": "SELECT * FROM videos WHERE videos.tenant_id = :tenant",
    "numbered placeholder": "SELECT * FROM videos WHERE videos.tenant_id = ?2",
    "two styles": "SELECT * FROM videos WHERE videos.tenant_id = ? AND videos.id = %s",
    "placeholder zero": "SELECT * FROM videos WHERE videos.tenant_id = $0",
    "a cast that cuts": "SELECT * FROM videos WHERE videos.tenant_id = $1::VARCHAR(1)",
    "a cast to one character": "SELECT * FROM videos WHERE videos.tenant_id = $1::CHAR",
    "and in an array": "SELECT * FROM videos WHERE ARRAY[1 = 1 AND videos.tenant_id = $1] IS NOT NULL",
    "per cent in a string shifts values": "SELECT '%s' FROM videos WHERE videos.tenant_id = %s",
    "per cent with a space shifts values": "SELECT id % s FROM videos WHERE videos.tenant_id = %s",
    "double quotes are text on mariadb": 'SELECT * FROM videos WHERE "videos".tenant_id = %s',
    "unbalanced": f"SELECT * FROM videos WHERE {T})",
    "unclosed": f"SELECT * FROM videos WHERE ({T}",
    "crossed": f"SELECT * FROM videos WHERE (CASE WHEN 1 THEN 1) END AND {T}",
    "limits with a subquery": f"SET STATEMENT x=(SELECT count(*) FROM videos) FOR SELECT * FROM videos WHERE {T}",
    "limits for an update of all": "SET STATEMENT max_statement_time=1 FOR UPDATE videos SET title = 'x'",
    # ------------------------------------------------ writes
    "update all": "UPDATE videos SET title = ?",
    "update by id": "UPDATE videos SET title = ? WHERE videos.id = ?",
    "update the tenant": f"UPDATE videos SET tenant_id = ? WHERE {T}",
    "update the tenant, qualified": f"UPDATE videos SET title = 'x', videos.`tenant_id` = ? WHERE {T}",
    "update the tenant in a tuple": f"UPDATE videos SET (title, tenant_id) = (?, ?) WHERE {T}",
    "update from": f"UPDATE videos SET title = files.name FROM files WHERE {T} AND files.tenant_id = ?",
    "update two": f"UPDATE videos, files SET title = 'x' WHERE {T} AND files.tenant_id = ?",
    "update a join": f"UPDATE videos JOIN files ON 1 = 1 SET title = 'x' WHERE {T} AND files.tenant_id = ?",
    "update only": f"UPDATE ONLY videos SET title = 'x' WHERE {T}",
    "update ignore": f"UPDATE IGNORE videos SET title = 'x' WHERE {T}",
    "update or replace": f"UPDATE OR REPLACE videos SET title = 'x' WHERE {T}",
    "update with a foreign subquery": f"UPDATE videos SET title = (SELECT max(name) FROM files) WHERE {T}",
    "update with the condition in set": f"UPDATE videos SET title = 1 = 1 AND {T}",
    "delete all": "DELETE FROM videos",
    "delete some": "DELETE FROM videos LIMIT 5",
    "delete using": f"DELETE FROM videos USING files WHERE {T} AND files.tenant_id = ?",
    "delete two": f"DELETE videos, files FROM videos JOIN files ON 1 = 1 WHERE {T} AND files.tenant_id = ?",
    "delete by a foreign subquery": f"DELETE FROM videos WHERE {T} AND id IN (SELECT video_id FROM files)",
    "insert without the tenant": "INSERT INTO videos (id, title) VALUES (?, ?)",
    "insert without columns": "INSERT INTO videos VALUES (?, ?, ?)",
    "insert default values": "INSERT INTO videos DEFAULT VALUES",
    "insert a literal tenant": "INSERT INTO videos (tenant_id, id) VALUES ('acme', ?)",
    "insert a made tenant": "INSERT INTO videos (tenant_id, id) VALUES (lower(?), ?)",
    "insert one row of two": "INSERT INTO videos (tenant_id, id) VALUES (?, ?), ('b', ?)",
    "insert the tenant twice": "INSERT INTO videos (tenant_id, tenant_id, id) VALUES (?, 'b', ?)",
    "insert in another order": "INSERT INTO videos (id, tenant_id) VALUES (?, 'b')",
    "insert more values than columns": "INSERT INTO videos (tenant_id) VALUES (?, ?)",
    "insert rows by ROW": "INSERT INTO videos (tenant_id, id) VALUES (?, ?), ROW('b', ?)",
    "insert set": "INSERT INTO videos SET tenant_id = ?, id = ?",
    "insert by overriding": "INSERT INTO videos (tenant_id, id) OVERRIDING USER VALUE VALUES (?, ?)",
    "insert select another's": "INSERT INTO videos (tenant_id, id) SELECT tenant_id, id FROM files",
    "insert select bound elsewhere": (
        "INSERT INTO videos (tenant_id, id) SELECT files.tenant_id, ? FROM files WHERE files.tenant_id = ?"
    ),
    "insert select star": "INSERT INTO effects (a, b) SELECT files.*, ? FROM files WHERE files.tenant_id = ?",
    "insert select shifted by star": "INSERT INTO videos (id, tenant_id) SELECT e.*, ? FROM effects AS e",
    "insert select from all": "INSERT INTO videos (tenant_id, id) SELECT ?, files.id FROM files",
    "insert select then union": "INSERT INTO videos (tenant_id, id) SELECT ?, 1 UNION ALL SELECT 'b', 2",
    "insert select then bracketed union": "INSERT INTO videos (tenant_id, id) SELECT ?, 1 UNION ALL (SELECT 'b', 2)",
    "insert select then values": "INSERT INTO videos (tenant_id, id) SELECT ?, 1 UNION ALL VALUES ('b', 2)",
    "insert table": "INSERT INTO videos (tenant_id, id) TABLE effects",
    "insert another's rows into the catalog": "INSERT INTO effects (name) SELECT title FROM videos",
    "replace": "REPLACE INTO videos (tenant_id, id) VALUES (?, ?)",
    "insert or replace": "INSERT OR REPLACE INTO videos (tenant_id, id) VALUES (?, ?)",
    "upsert that moves the row": (
        "INSERT INTO videos (tenant_id, id) VALUES (?, ?) ON DUPLICATE KEY UPDATE tenant_id = 'b'"
    ),
    "upsert that moves the row, later": (
        "INSERT INTO videos (tenant_id, id) VALUES (?, ?)"
        " ON CONFLICT (tenant_id, id) DO UPDATE SET title = ?, tenant_id = ?"
    ),
    "upsert with a foreign subquery": (
        "INSERT INTO videos (tenant_id, id) VALUES (?, ?) ON DUPLICATE KEY UPDATE title = (SELECT max(name) FROM files)"
    ),
    "merge": "MERGE INTO videos USING files ON 1 = 1 WHEN MATCHED THEN DELETE",
}


def places(sql: str) -> int:
    return len(re.findall(r"\?|%s|\$\d", sql))


@pytest.mark.parametrize("sql", ATTACKS.values(), ids=ATTACKS.keys())
def test_it_is_refused(sql: str) -> None:
    with pytest.raises(GuardError) as refused:
        Guard(RULES).check(sql, ("acme",) * 60, False, Permit(tenant="acme"))
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("sql", ATTACKS.values(), ids=ATTACKS.keys())
def test_it_is_refused_to_every_permit(sql: str) -> None:
    for permit in (
        None,
        Permit(),
        Permit(infra=True),
        Permit(tenant="acme", owner=7, flushing=True),
        Permit(sweep=True),
    ):
        with pytest.raises(GuardError):
            Guard(RULES).check(sql, ("acme",) * 60, False, permit)


READABLE = [
    f"SELECT * FROM videos WHERE {T}",
    f"SELECT * FROM videos WHERE videos.id BETWEEN ? AND ? AND {T} ORDER BY id LIMIT ? OFFSET ?",
    f"SELECT v.id FROM videos AS v LEFT JOIN files AS f ON f.tenant_id = ? AND f.video_id = v.id WHERE {V}",
    f"SELECT id FROM videos WHERE {T} AND EXISTS (SELECT 1 FROM files WHERE files.tenant_id = ?)",
    f"WITH v AS (SELECT id FROM videos WHERE {T}) SELECT * FROM v JOIN files ON files.tenant_id = ?",
    f"(SELECT id FROM videos WHERE {T} LIMIT ?) UNION ALL (SELECT id FROM files WHERE files.tenant_id = ?)",
    f"UPDATE videos SET title = ? WHERE {T} AND id IN (SELECT video_id FROM files WHERE files.tenant_id = ?)",
    f"DELETE FROM videos WHERE {T} AND videos.id IN (?, ?)",
    "INSERT INTO videos (tenant_id, id) SELECT ?, files.id FROM files WHERE files.tenant_id = ?",
    f"SELECT count(*) FROM (SELECT id FROM videos WHERE {T} GROUP BY id HAVING count(*) > ?) AS x",
]
EQUALITY = re.compile(r"(\w+)\.tenant_id = \?")
MUTANTS = (
    r"\1.id = ?",
    r"\1.tenant_id <> ?",
    r"1 = 1 OR \1.tenant_id = ?",
    r"\1.tenant_id = ? OR 1 = 1",
    r"NOT \1.tenant_id = ?",
    r"\1.tenant_id = ? IS NOT NULL",
    r"\1.tenant_id IN (?)",
    r"(\1.tenant_id = ? OR 1 = 1)",
    r"\1.tenant_id = \1.tenant_id AND ? = ?",
)


@pytest.mark.parametrize("sql", READABLE)
def test_every_equality_of_a_statement_that_passes_is_needed(sql: str) -> None:
    guard, permit = Guard(RULES), Permit(tenant="acme")
    guard.check(sql, ("acme",) * places(sql), False, permit)
    for found in EQUALITY.finditer(sql):
        for mutant in MUTANTS:
            changed = sql[: found.start()] + found.expand(mutant) + sql[found.end() :]
            with pytest.raises(GuardError):
                guard.check(changed, ("acme",) * places(changed), False, permit)


@pytest.mark.parametrize("sql", READABLE)
def test_each_bound_tenant_is_compared_on_every_run(sql: str) -> None:
    guard, permit, mine = Guard(RULES), Permit(tenant="acme"), ["acme"] * places(sql)
    bound = [sql[: found.end()].count("?") - 1 for found in EQUALITY.finditer(sql)]
    for _ in range(2):
        for place in bound:
            for other in ("b", "ACME", "acme ", "", None, 0, True, b"acme", ["acme"]):
                values: list[Any] = [*mine]
                values[place] = other
                with pytest.raises(GuardError):
                    guard.check(sql, tuple(values), False, permit)
        guard.check(sql, tuple(mine), False, permit)


VOCABULARY = """
select from videos files effects where on and or not join left ( ) , . = ? %s $1 :: varchar [ ] case when then end with
as recursive union all insert into values update set delete between in exists order by limit 1 'x' v f tenant_id id *
lateral conflict do nothing duplicate key for of lock group having "videos" `files` || distinct using statement
"""
WORDS = VOCABULARY.split()


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join)
    | st.text(max_size=80)
    | st.text("videos '\"`%?$-/*;()[]\\#,.=", max_size=60)
)
def test_the_guard_answers_any_text_with_yes_or_a_guard_error(sql: str) -> None:
    for permit in (None, Permit(tenant="acme", owner=3), Permit(sweep=True)):
        try:
            Guard(RULES).check(sql, ("acme",) * 3, False, permit)
        except GuardError:
            continue


@given(st.lists(st.sampled_from(WORDS), max_size=25))
def test_no_heap_of_words_reads_a_table_whose_tenant_is_not_bound(words: list[str]) -> None:
    sql = " ".join(["select id from videos", *words])
    if "tenant_id" not in words:
        with pytest.raises(GuardError):
            Guard(RULES).check(sql, ("acme",) * 30, False, Permit(tenant="acme"))


LONG: dict[str, Callable[[int], str]] = {
    "conjuncts": lambda n: f"SELECT id FROM videos WHERE {T}" + f" AND {T}" * n,
    "list": lambda n: f"SELECT id FROM videos WHERE {T} AND id IN (" + "?, " * n + "?)",
    "rows": lambda n: "INSERT INTO videos (tenant_id, id) VALUES (?, ?)" + ", (?, ?)" * n,
    "brackets": lambda n: "SELECT id FROM videos WHERE " + "(" * n,
    "open string": lambda n: "SELECT id FROM videos WHERE '" + "''" * n + " \\",
    "digits": lambda n: "SELECT id FROM videos WHERE " + "1" * n + "x",
    "spaces": lambda n: "SELECT id FROM videos WHERE" + " " * n + "\x01",
    "unions": lambda n: f"SELECT id FROM videos WHERE {T}" + f" UNION ALL SELECT id FROM videos WHERE {T}" * n,
    "betweens": lambda n: "SELECT id FROM videos WHERE " + "1 BETWEEN " * n,
    "dots": lambda n: "SELECT id FROM " + "a." * n + "videos",
}


@pytest.mark.parametrize("make", LONG.values(), ids=LONG.keys())
def test_the_work_of_reading_grows_with_the_text_alone(make: Callable[[int], str]) -> None:
    def calls(n: int) -> int:
        sql, counted = make(n), 0

        def count(*_event: object) -> None:
            nonlocal counted
            counted += 1

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            Guard(RULES).check(sql, ("acme",) * 100_000, False, Permit(tenant="acme"))
        except GuardError:
            pass
        finally:
            sys.setprofile(before)
        return counted

    assert calls(10_000) < 11 * calls(1_000)
