"""An area of three tables goes in by adding files of its own name: no code changes, and everything knows it.

The project is copied into a temporary tree, `tests/sample_area/` is laid over it, its revisions are written by the
tool that writes all revisions; what a person would run is then run there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys

import pytest

from tests.house import tree

SAMPLE = tree.ROOT / "tests" / "sample_area"
HEAD = ("# mypy: ignore-errors", "# Proven where it is put")
# What is drawn from the code, and the two lines in which branches of revisions meet.
DRAWN = {
    "README.md",
    "docs/events.md",
    "docs/tables.md",
    "db/migrations/central/head.txt",
    "db/migrations/pool/head.txt",
}


def digests(house):
    """Path → digest of every file that is in `house`, but for what runs there make."""
    paths = [path.relative_to(house).as_posix() for path in tree.walk(house)]
    return {path: hashlib.sha256((house / path).read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A copy of the project with the sample area in it."""
    house = tmp_path_factory.mktemp("house")
    for path in tree.walk():
        if SAMPLE not in path.parents:
            copy = house / tree.inside(path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    before = digests(house)
    for path in SAMPLE.rglob("*.py"):
        copy = house / path.relative_to(SAMPLE)
        assert not copy.exists(), "a new area adds files"
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8")
        copy.write_text("".join(line for line in text.splitlines(keepends=True) if not line.startswith(HEAD)))
    for zone in ("central", "pool"):
        run(house, "-m", "db.migrations.make", zone, "notes", "--area", "notes")
    yield house
    after = digests(house)
    assert {path for path in before if before[path] != after.get(path)} <= DRAWN


def run(house, *arguments, code=0):
    """What a process in the copy prints; it knows nothing of the original."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ATRIUM_")}
    environment = {**kept, "ATRIUM_VAR": str(house / "var"), "PYTHONPATH": str(house), "COLUMNS": "200"}
    if "ATRIUM_REQUIRE_SERVICES" in os.environ:
        environment["ATRIUM_REQUIRE_SERVICES"] = os.environ["ATRIUM_REQUIRE_SERVICES"]
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=house, env=environment, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == code, f"{arguments}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_schema_has_its_fields_and_extends_an_older_type(house):
    sdl = run(house, "-m", "cli.main", "schema")
    for line in ("type Note implements Node", "noteColours: [NoteColour!]!", "writeNote(", "notesName: String!"):
        assert line in sdl
    assert "schema/notes.py" in run(house, "-m", "cli.main", "where", "Note.colour")


def test_its_tables_come_by_migrating_and_the_demo_and_doctor_go_over_them(house):
    assert "at revision" in run(house, "-m", "cli.main", "migrate")
    demo = ("-m", "cli.main", "demo", "--tenants", "2", "--gallery", "1", "--videos-per-tenant", "1")
    assert "2 notes" in run(house, *demo)
    assert "as declared" in run(house, "-m", "cli.main", "pools", "check")
    assert run(house, "-m", "cli.main", "doctor").endswith("All is well.\n")


def test_the_table_of_placements_and_the_pages_name_it(house):
    run(house, "-m", "cli.main", "docs")
    readme = (house / "README.md").read_text(encoding="utf-8")
    for row in (
        "| `note_colours` | central | GLOBAL |",
        "| `notebooks` | pool | TENANT |",
        "| `notes` | pool | USER_PRIVATE |",
    ):
        assert row in readme
    assert "note.written" in (house / "docs" / "events.md").read_text(encoding="utf-8")
    assert "## notebooks" in (house / "docs" / "tables.md").read_text(encoding="utf-8")


def test_its_rows_are_guarded_isolated_and_looked_at(house):
    said = run(house, "-m", "pytest", "tests/notes/proof.py", "-q", "-p", "no:cacheprovider")
    assert "3 passed" in said


def test_it_keeps_the_houses_own_rules(house):
    run(house, "-m", "ruff", "check", "db", "actions", "schema", "resolvers", "cli/demo")
    said = run(house, "-m", "pytest", "tests/house/test_layers.py", "-q", "-k", "area")
    assert "passed" in said
