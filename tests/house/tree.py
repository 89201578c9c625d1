"""The house's own files, as the tests in this folder walk them.

What git would not keep (environments, data, caches, other people's packages) is passed over. No rules here: they are
in the tests.
"""

from __future__ import annotations

import ast
import functools
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Folders that are made, not written; never walked.
MADE = {"__pycache__", "build", "node_modules", "var"}
# Kinds of files that are no text.
BINARY = {".ttf", ".woff", ".woff2", ".png", ".jpg", ".jpeg", ".webp", ".gif", ".ico", ".mp4", ".webm", ".mov", ".mp3"}


def walk(top: Path = ROOT) -> Iterator[Path]:
    """Every file that is written by hand or committed, `.ci/` among them, in a steady order."""
    for path in sorted(top.iterdir()):
        if path.is_symlink():
            continue
        if path.is_file():
            yield path
        elif path.name == ".ci" or not (path.name in MADE or path.name.startswith(".") or path.suffix == ".egg-info"):
            yield from walk(path)


def inside(path: Path) -> str:
    """The path as the repository says it, with forward slashes."""
    return path.relative_to(ROOT).as_posix()


def python_files() -> list[Path]:
    return [path for path in walk() if path.suffix == ".py"]


@functools.cache
def texts() -> tuple[tuple[str, str], ...]:
    """(path inside the repository, text) of every text file but the explorer's built ones; read once."""
    return tuple(
        (inside(path), path.read_text(encoding="utf-8", errors="replace"))
        for path in walk()
        if path.suffix not in BINARY and not inside(path).startswith("web/dist/")
    )


@functools.cache
def parsed() -> tuple[tuple[str, ast.Module], ...]:
    """(path inside the repository, syntax tree) of every Python file; parsed once, and changed by nobody."""
    return tuple(
        (inside(path), ast.parse(path.read_text(encoding="utf-8"), filename=inside(path))) for path in python_files()
    )


def config() -> dict[str, dict]:
    """The `tool` table of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]


def rooms() -> list[str]:
    """The rooms that the layer contracts speak of."""
    return config()["importlinter"]["root_packages"]
