"""The pages say what the code says: drawn ones are as drawn, and README names what there is, all of it and no more."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

from cli import where
from tests.house import tree

README = (tree.ROOT / "README.md").read_text(encoding="utf-8")
VARIABLE = re.compile(r"\b(?:ATRIUM|AWS)_[A-Z_]+\b")


def codes(module: ast.Module) -> set[str]:
    """Names of `errors.X` that a file makes, or takes the code of."""
    found = set()
    for node in ast.walk(module):
        named = node.func if isinstance(node, ast.Call) else node.value if isinstance(node, ast.Attribute) else None
        wanted = isinstance(node, ast.Call) or (isinstance(node, ast.Attribute) and node.attr == "code")
        if wanted and isinstance(named, ast.Attribute) and getattr(named.value, "id", "") == "errors":
            found.add(named.attr)
    return found


def bases(module: ast.Module) -> set[str]:
    """Names of `errors.X` that a file derives a class of its own from."""
    return {
        base.attr
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef)
        for base in node.bases
        if isinstance(base, ast.Attribute) and getattr(base.value, "id", "") == "errors"
    }


def test_the_drawn_pages_are_as_the_code_draws_them() -> None:
    # In a process of its own: tests declare tables and events that are not the product's.
    command = [sys.executable, "-m", "cli.main", "docs", "--check"]
    done = subprocess.run(command, cwd=tree.ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def test_the_readme_names_every_variable_that_is_read_and_no_other() -> None:
    read = set(VARIABLE.findall((tree.ROOT / "base/settings.py").read_text(encoding="utf-8")))
    assert read ^ set(VARIABLE.findall(README)) == set()


def test_the_readme_names_every_command_and_no_other() -> None:
    there = {f"atrium {name}" for name, _ in where.command_functions()}
    rows = re.findall(r"^\| (`atrium [^|]*) \|", README, re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`(atrium [a-z -]+)`", row)}
    assert told == there


def test_every_command_says_what_it_does() -> None:
    assert [name for name, function in where.command_functions() if not (function.__doc__ or "").strip()] == []


def test_every_error_of_the_tree_is_told_by_somebody() -> None:
    planted = ast.parse("raise errors.Taken('x')\nerrors.Conflict.code\nclass A(errors.Invalid): ...\nerrors.Refusal\n")
    assert (codes(planted), bases(planted)) == ({"Taken", "Conflict"}, {"Invalid"})
    told: set[str] = set()
    for path, module in tree.parsed():
        if not path.startswith("tests/"):
            told |= codes(module) | bases(module)
    assert {error.__name__ for error, _ in where.error_codes()} - told == set()


def test_every_link_of_the_pages_leads_to_a_file() -> None:
    dead = [
        f"{tree.inside(path)}: {target}"
        for path in [tree.ROOT / "README.md", *sorted((tree.ROOT / "docs").rglob("*.md"))]
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
        if not target.startswith("http") and not (path.parent / target).exists()
    ]
    assert dead == []
