"""`atrium docs`: writes the pages that are drawn from the code, and checks the one that is written by hand.

Drawn: docs/events.md, docs/tables.md, the table of placements in README.md. By hand: docs/errors.md, whose
sections must be the codes there are.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from db.outbox import Event
    from db.zones import CentralBase, PoolBase

ROOT = Path(__file__).parent.parent
BEGIN = "<!-- placements: drawn by `make docs` -->"
END = "<!-- /placements -->"
DRAWN = "Drawn from the code by `make docs`; what is wrong here is mended there."
# Told by the endpoint, not by a class of ours.
ENDPOINTS_OWN = ("GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED", "INTERNAL")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("docs")(docs)


def docs(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 where a page is old.")] = False,
) -> None:
    """Write the pages that are drawn from the code; check that each error has its section."""
    old = [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if not check:
        for path, text in pages().items():
            path.write_text(text, encoding="utf-8")
    for path in old:
        commands.say(f"{path.relative_to(ROOT)} {'is old' if check else 'is written anew'}")
    wrong = wrong_sections()
    for line in wrong:
        commands.say(f"docs/errors.md: {line}")
    if wrong or (check and old):
        commands.fail("The pages do not say what the code says. Next: make docs, and mend docs/errors.md by hand")
    commands.say("The pages say what the code says.")


def pages() -> dict[Path, str]:
    """Path → text of every page that is drawn, whole."""
    readme = ROOT / "README.md"
    return {
        ROOT / "docs" / "events.md": events_page(),
        ROOT / "docs" / "tables.md": tables_page(),
        readme: with_placements(readme.read_text(encoding="utf-8")),
    }


# ------------------------------------------------------------------------------------------- errors


def wrong_sections() -> list[str]:
    """What docs/errors.md lacks or has too much."""
    from cli import where

    codes = {code for _, code in where.error_codes()} | set(ENDPOINTS_OWN)
    sections = re.findall(r"^## (\S+)$", (ROOT / "docs" / "errors.md").read_text(encoding="utf-8"), re.MULTILINE)
    return [
        *(f"{code} has no section" for code in sorted(codes - set(sections))),
        *(f"{section} is no code" for section in sorted(set(sections) - codes)),
        *(f"{section} has more than one section" for section in sorted({s for s in sections if sections.count(s) > 1})),
    ]


# ------------------------------------------------------------------------------------------- tables


def with_placements(readme: str) -> str:
    """README's text with the table of placements between its two marks."""
    before, found, rest = readme.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        commands.fail(f"README.md needs the lines {BEGIN} and {END}: the table of placements stands between them")
    rows = [
        f"| `{table.__tablename__}` | {table.zone.value} | {table.scope.name} | {_cell(table.purpose)} |"
        for table in _tables()
    ]
    return (
        "\n".join([before + BEGIN, "| table | zone | scope | what it holds |", "|---|---|---|---|", *rows, END]) + after
    )


def tables_page() -> str:
    """docs/tables.md."""
    lines = ["# Tables", "", DRAWN, "`atrium where TABLE` finds file and line; words: [glossary](glossary.md).", ""]
    for table in _tables():
        told = [f"zone {table.zone.value}", f"scope {table.scope.name}"]
        told += [f"owner `{table.owner}`"] if table.owner else []
        told += [f"tenant `{table.tenant_column}`"] if table.tenant_column else []
        lines += [f"## {table.__tablename__}", inspect.cleandoc(table.__doc__ or ""), "", f"*{', '.join(told)}*", ""]
        lines += ["| column | type | refers to |", "|---|---|---|"]
        lines += [f"| `{name}` | {kind} | {refers} |" for name, kind, refers in _columns(table)]
        lines.append("")
    return "\n".join(lines)


def _tables() -> Iterator[type[CentralBase | PoolBase]]:
    import db.tables  # noqa: F401  (so that every table is declared)
    from db.zones import tables

    return tables()


def _columns(table: type[CentralBase | PoolBase]) -> Iterator[tuple[str, str, str]]:
    for column in table.__table__.columns:
        parent = column.info.get("soft_ref") or column.info.get("pool_ref")
        kind = "checked in code" if "soft_ref" in column.info else "foreign key"
        # A pool's tenant_id is half of every composite key: the other half says where it leads.
        alone = [key for key in column.foreign_keys if key.constraint is not None and len(key.constraint.columns) == 1]
        if parent is None and alone:
            parent = alone[0].target_fullname.partition(".")[0]
        goes = column.info.get("on_parent_delete")
        refers = f"`{parent}` ({kind}{f'; when it goes: {goes.name}' if goes else ''})" if parent else ""
        word = repr(column.type).removeprefix("columns.").removesuffix("()")
        yield column.name, f"{word}{' or null' if column.nullable else ''}", refers


# ------------------------------------------------------------------------------------------- events


def events_page() -> str:
    """docs/events.md."""
    import actions
    from db.outbox import EVENTS, RECEIVERS
    from tenancy import handlers

    handlers.load(actions)
    lines = [
        *("# Events", "", DRAWN),
        "Every event is written in its writer's transaction and delivered at least once, in order for each aggregate;",
        "receivers are idempotent by the id in its envelope.",
        *("", "| event | about | emitted by | received by |", "|---|---|---|---|"),
    ]
    for kind, event in sorted(EVENTS.items()):
        received = sorted(_named(receiver) for receiver in RECEIVERS.get(event, ()))
        about = inspect.getdoc(event.aggregate) or ""
        cells = (f"`{kind}` (`{event.__name__}`)", _cell(about), _code(emitters(event)), _code(received))
        lines.append(f"| {' | '.join(cells)} |")
    for kind, event in sorted(EVENTS.items()):
        fields = ", ".join(f"`{field.name}`" for field in dataclasses.fields(event))
        lines += [
            "",
            f"## {kind}",
            inspect.cleandoc(event.__doc__ or ""),
            "",
            f"Fields: {fields}. Version {event.version}.",
        ]
    return "\n".join(lines) + "\n"


def emitters(event: type[Event]) -> list[str]:
    """The functions of actions/ that make this event and emit."""
    found = []
    for path in sorted((ROOT / "actions").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef):
                called = {_last(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)}
                if {event.__name__, "emit"} <= called:
                    found.append(f"{module}.{node.name}")
    return found


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _named(receiver: Callable[..., Any]) -> str:
    return f"{receiver.__module__}.{receiver.__name__}"


def _code(names: list[str]) -> str:
    return ", ".join(f"`{name.removeprefix('actions.')}`" for name in names) or "nobody"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
