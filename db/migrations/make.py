"""Writes the next revision of a tree from what the tables now say: `python -m db.migrations.make central "add x"`.

It compares an SQLite database in memory, brought up by the revisions that there are, with the
declared tables; one area at a time where `--area catalog` says so. What it writes is a draft: read
it, and part expanding, filling and contracting. Nobody's database is touched.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import sqlalchemy as sa
from alembic.autogenerate import api
from alembic.autogenerate.api import AutogenContext
from alembic.operations import Operations, ops

import db.tables  # noqa: F401  (so that every table is declared)
from db.migrations.tree import HERE, context, head, scripts
from db.zones import CentralBase, PoolBase, Zone, tables

SLUG_CHARACTERS_MAX = 40

TEMPLATE = '''"""{message}."""

import sqlalchemy as sa
from alembic.operations import Operations

from db import columns

revision = "{revision}"
down_revision = {before}

LOCK_SECONDS_MAX = 5
STATEMENT_SECONDS_MAX = 600


def upgrade(op: Operations) -> None:
    """{message}."""
{calls}

{functions}'''


def write(tree: Zone, message: str, *, area: str | None = None) -> Path:
    """Write the next revision and the new head; returns its file. Raises LookupError where nothing differs."""
    last = head(tree)
    revision = f"{int(last or 0) + 1:04d}"
    pieces = list(_pieces(_differences(tree, area)))
    if not pieces:
        raise LookupError(f"nothing differs: the revisions of {tree.value} make the tables as they are declared")
    slug = re.sub(r"[^a-z0-9]+", "_", message.lower()).strip("_")[:SLUG_CHARACTERS_MAX].strip("_")
    file = HERE / tree.value / f"{revision}_{slug}.py"
    text = TEMPLATE.format(
        message=message[0].upper() + message[1:].rstrip("."),
        revision=revision,
        before=f'"{last}"' if last else "None",
        calls="\n".join(f"    _{name}(op)" for name, _ in pieces),
        functions="\n\n\n".join(f"def _{name}(op: Operations) -> None:\n{body}" for name, body in pieces),
    )
    if "columns." not in text:
        text = text.replace("\nfrom db import columns\n", "")
    file.write_text(text + "\n")
    (HERE / tree.value / "head.txt").write_text(f"{revision}\n")
    # Alembic's layout is its own; the house's is the formatter's.
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", str(file)], check=False)
    return file


def _differences(tree: Zone, area: str | None) -> ops.UpgradeOps:
    base = CentralBase if tree is Zone.CENTRAL else PoolBase
    chosen = {t.__tablename__ for t in tables(tree) if area in (None, t.__module__.rpartition(".")[2])}

    def include(_object: object, name: str | None, kind: str, *_: object) -> bool:
        return kind != "table" or name in chosen

    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        known = scripts(tree)
        for script in reversed(list(known.iterate_revisions("head", "base"))):
            script.module.upgrade(Operations(context(connection, tree)))
        compared = api.produce_migrations(context(connection, tree, include_object=include), base.metadata)
    engine.dispose()
    return compared.upgrade_ops or ops.UpgradeOps([])


def _pieces(found: ops.UpgradeOps) -> Iterator[tuple[str, str]]:
    """(table's name, body of the function that changes it), in the order that references ask for."""
    by_table: dict[str, list[ops.MigrateOperation]] = {}
    for operation in found.ops:
        by_table.setdefault(getattr(operation, "table_name", "everything"), []).append(operation)
    for table, operations in by_table.items():
        kept = [each for each in operations if not (isinstance(each, ops.ModifyTableOps) and each.is_empty())]
        if kept:
            body = api.render_python_code(ops.UpgradeOps(kept), render_item=_short_types)
            yield table, re.sub(r"(?m)^ *#.*\n?", "", body).rstrip()


def _short_types(kind: str, thing: object, _context: AutogenContext) -> str | Literal[False]:
    """Our own column types by their short words; everything else as alembic writes it."""
    return repr(thing) if kind == "type" and type(thing).__module__ == "db.columns" else False


def main() -> None:
    """Read the command line and say what was written."""
    parser = argparse.ArgumentParser(prog="python -m db.migrations.make")
    parser.add_argument("tree", choices=[zone.value for zone in Zone])
    parser.add_argument("message", help='what it does, e.g. "add a tier to effects"')
    parser.add_argument("--area", help="only the tables of this file under db/tables")
    given = parser.parse_args()
    file = write(Zone(given.tree), given.message, area=given.area)
    sys.stdout.write(f"Wrote {file}: read it before you commit it.\n")


if __name__ == "__main__":
    main()
