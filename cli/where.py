"""`atrium where`: file and line of any field, type, table, column, action, event, error or command.

Names are read off the declarations and the files themselves; nobody keeps an index.
"""

from __future__ import annotations

import ast
import difflib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parent.parent
NEAR_MAX = 5


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands and what it is."""

    file: str
    line: int
    kind: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("where")(where)


def where(
    name: Annotated[
        str, typer.Argument(help="E.g. Effect.galleryVideos, publishVideo, videos, NOT_FOUND, 'pools list'.")
    ],
) -> None:
    """Print file and line of any field, type, table, column, action, event, error or command."""
    known = index()
    places = known.get(name) or known.get(_folded(known, name))
    if not places:
        near = difflib.get_close_matches(name, known, n=NEAR_MAX)
        commands.fail(f"Nothing is called {name}." + (f" Near it: {', '.join(near)}" if near else ""))
    for place in sorted(places):
        commands.say(f"{place}  {place.kind}")


def _folded(known: dict[str, set[Place]], name: str) -> str:
    """The one name that differs in capitals alone."""
    same = [each for each in known if each.lower() == name.lower()]
    return same[0] if len(same) == 1 else name


def index() -> dict[str, set[Place]]:
    """Every name that can be asked for, with its places."""
    found: dict[str, set[Place]] = defaultdict(set)
    for name, place in (*_served(), *_tables(), *_actions(), *_events(), *_errors(), *_commands()):
        found[name].add(place)
    return dict(found)


def _served() -> Iterator[tuple[str, Place]]:
    """Types, their fields and the root fields, by their GraphQL names."""
    from strawberry.utils.str_converters import to_camel_case

    from execution.declare import ROOTS, TYPES
    from resolvers import roots

    roots.served()
    for declared in TYPES:
        name = (declared.of or declared.cls).__name__
        for inner, line in _class_lines(declared.cls):
            if inner is None:
                yield name, _place(declared.cls, line, f"{declared.kind} {name}")
            else:
                field = f"{name}.{to_camel_case(inner)}"
                yield field, _place(declared.cls, line, f"field {field}")
    kinds = {"query": "Query", "mutation": "Mutation", "live": "Subscription"}
    for root in ROOTS:
        field = to_camel_case(root.name)
        place = _place_of(root.function, f"field {kinds[root.kind]}.{field}")
        yield field, place
        yield f"{kinds[root.kind]}.{field}", place


def _tables() -> Iterator[tuple[str, Place]]:
    """Tables by class and by name, and their columns."""
    import db.tables  # noqa: F401  (so that every table is declared)
    from db.zones import tables

    for table in tables():
        for inner, line in _class_lines(table):
            where_it_is = _place(table, line, f"{table.zone.value} {table.__tablename__}{f'.{inner}' if inner else ''}")
            for name in (table.__name__, table.__tablename__):
                yield f"{name}.{inner}" if inner else name, where_it_is


def _actions() -> Iterator[tuple[str, Place]]:
    """Public functions of the areas: `publish_video` and `gallery.publish_video`."""
    for path in sorted((ROOT / "actions").rglob("*.py")):
        inside = path.relative_to(ROOT)
        area = inside.parts[1].removesuffix(".py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and not node.name.startswith("_"):
                place = Place(inside.as_posix(), node.lineno, f"action {area}.{node.name}")
                yield node.name, place
                yield f"{area}.{node.name}", place


def _events() -> Iterator[tuple[str, Place]]:
    """Events by class and by type."""
    import actions
    from db.outbox import EVENTS
    from tenancy import handlers

    handlers.load(actions)
    for kind, event in EVENTS.items():
        for inner, line in _class_lines(event):
            if inner is None:
                yield event.__name__, _place(event, line, f"event {kind}")
                yield kind, _place(event, line, f"event {kind}")


def _errors() -> Iterator[tuple[str, Place]]:
    """Refusals and denials by class and by code."""
    for error, code in error_codes():
        line = next(line for inner, line in _class_lines(error) if inner is None)
        for name in (error.__name__, code):
            yield name, _place(error, line, f"error {code}")


def error_codes() -> list[tuple[type, str]]:
    """Every class of base/errors.py that has a code of its own, with the code as clients see it."""
    from base import errors

    found: list[tuple[type, str]] = []
    for each in vars(errors).values():
        if isinstance(each, type) and issubclass(each, errors.AtriumError) and "code" in vars(each):
            code: Any = vars(each)["code"]
            found.append((each, code if isinstance(code, str) else code.value))
    return found


def _commands() -> Iterator[tuple[str, Place]]:
    """Commands as they are typed, without `atrium`."""
    for name, function in command_functions():
        yield name, _place_of(function, f"command atrium {name}")


def command_functions() -> list[tuple[str, Callable[..., Any]]]:
    """(`pools list`, its function) of every command."""
    from cli import main

    def walk(group: typer.Typer, before: str) -> Iterator[tuple[str, Callable[..., Any]]]:
        for one in group.registered_commands:
            if one.callback is not None:
                yield f"{before}{one.name or one.callback.__name__}", one.callback
        for inner in group.registered_groups:
            if inner.typer_instance is not None:
                yield from walk(inner.typer_instance, f"{before}{inner.name} ")

    return sorted(walk(main.app, ""))


def _class_lines(cls: type) -> Iterator[tuple[str | None, int]]:
    """(None, line) of a class and (name, line) of what is declared in its body."""
    import sys

    source = Path(str(sys.modules[cls.__module__].__file__)).read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
            yield None, node.lineno
            for inner in node.body:
                if isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
                    yield inner.target.id, inner.lineno


def _place(cls: type, line: int, kind: str) -> Place:
    import sys

    file = Path(str(sys.modules[cls.__module__].__file__))
    return Place(file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else file.name, line, kind)


def _place_of(function: Callable[..., Any], kind: str) -> Place:
    import inspect

    plain = inspect.unwrap(function)
    return Place(Path(plain.__code__.co_filename).relative_to(ROOT).as_posix(), plain.__code__.co_firstlineno, kind)
