"""docs/money-faults.md: every fault has tests that are there, each on every engine, and each that claims a row is
named in it.
"""

from __future__ import annotations

import ast
import functools
import re

from tests.databases import ENGINES
from tests.house import tree

PAGE = (tree.ROOT / "docs/money-faults.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
NAMED = re.compile(r"`(tests/[a-z_/]+\.py)::(test_\w+)`")
# Numbers that other rows have taken over.
MERGED = {33, 35, 37, 43}
LAST = 47
# What a test of databases behind doors runs on: SQLite has no port that could be shut.
BEHIND_DOORS = {"mariadb", "postgresql"}
# A database that is down: how it is taken down differs, so these rows alone have a test for each kind.
DOWN = {5, 10}

Test = tuple[str, str]


def rows() -> dict[int, set[Test]]:
    """Row → (file, test) of what it names."""
    return {int(number): set(NAMED.findall(tests)) for number, _, tests in ROW.findall(PAGE)}


@functools.cache
def functions() -> dict[Test, ast.FunctionDef | ast.AsyncFunctionDef]:
    """(file, test) → its function, of all tests that there are."""
    return {
        (path, node.name): node
        for path, module in tree.parsed()
        if path.startswith("tests/")
        for node in module.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def engines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """The engines that a test runs on."""
    if any(isinstance(each, ast.Name) and each.id == "on_every_engine" for each in function.decorator_list):
        return set(ENGINES)
    return BEHIND_DOORS if "town" in {each.arg for each in function.args.args} else {"sqlite"}


def marks(node: ast.AST) -> set[int]:
    """The rows of every `fault(…)` in a piece of code."""
    return {
        argument.value
        for each in ast.walk(node)
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute) and each.func.attr == "fault"
        for argument in each.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, int)
    }


def test_every_fault_has_its_row() -> None:
    assert set(rows()) == set(range(1, LAST + 1)) - MERGED


def test_every_test_that_a_row_names_is_there() -> None:
    there = functions()
    assert [test for named in rows().values() for test in sorted(named) if test not in there] == []


def asks_a_database(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether it has one; what is pure is the same on every engine."""
    return isinstance(function, ast.AsyncFunctionDef) or bool(engines(function) - {"sqlite"})


def test_every_test_of_a_fault_is_tried_on_every_engine() -> None:
    there = functions()
    assert [
        f"row {row}: {name} runs on {' and '.join(sorted(engines(there[path, name])))} alone"
        for row, named in rows().items()
        if row not in DOWN
        for path, name in sorted(named)
        if asks_a_database(there[path, name]) and engines(there[path, name]) != set(ENGINES)
    ] == []


def test_every_fault_is_tried_with_a_database() -> None:
    there = functions()
    tried = {row: set().union(*(engines(there[test]) for test in named)) for row, named in rows().items()}
    assert {row: set(ENGINES) - on for row, on in tried.items() if on != set(ENGINES)} == {}


def test_a_test_that_is_marked_with_rows_is_named_in_each() -> None:
    told = rows()
    assert [
        f"row {row} does not name {path}::{name}"
        for (path, name), function in functions().items()
        for decorator in function.decorator_list
        for row in sorted(marks(decorator))
        if (path, name) not in told.get(row, ())
    ] == []
