"""For every kind of step an operation, its answer, its SQL on MariaDB and its plan, side by side: read diffs like code.

`make golden` (ATRIUM_GOLDEN=rewrite) writes the files anew; a `.graphql` file is all that a new one needs.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path

import pytest
from graphql import parse, print_ast

from base.bus import Notice
from execution import drawing, plans
from tenancy.context import Context
from tests.execution import stage as stages
from tests.execution.conftest import executor  # noqa: F401  (the served schema, as the tests of execution/ have it)
from tests.execution.stage import ALICE

HERE = Path(__file__).parent
OPERATIONS = sorted(HERE.glob("*/*.graphql"))
# Mutations: no two of them touch the same row.
CHANGES = [path for path in OPERATIONS if path.parent.name in ("changes", "staff")]
READS = [path for path in OPERATIONS if path not in CHANGES]
TENANTS_ALONE = {"tenant", "nodes", "changes"}


@pytest.fixture(scope="session")
async def golden_stage(anyio_backend, executor, tmp_path_factory):  # noqa: F811
    async with stages.opened("mariadb", tmp_path_factory.mktemp("stage")) as opened:
        yield opened


@pytest.fixture(scope="session")
async def changing_stage(anyio_backend, executor, tmp_path_factory):  # noqa: F811
    """For mutations, which the reads must not see."""
    async with stages.opened("mariadb", tmp_path_factory.mktemp("stage")) as opened:
        yield opened


def kept(path: Path, text: str) -> None:
    """The file says this; under ATRIUM_GOLDEN=rewrite it is made to."""
    if os.environ.get("ATRIUM_GOLDEN") == "rewrite":
        path.write_text(text)
    assert path.exists(), f"{path.name} is not there: make golden"
    assert text == path.read_text(), f"{path.parent.name}/{path.name} has changed: make golden, then read the diff"


def readable(statement: str) -> str:
    """A long union is told by its first branch and their number."""
    branches = statement.split(" UNION ALL ")
    more = f"\nUNION ALL … {len(branches) - 1} more" if len(branches) > 1 else ""
    return re.sub(r" ?\n", "\n", branches[0].strip()) + more + ";\n"


def test_there_are_enough_of_them():
    assert len(READS) >= 40
    assert len({path.stem.partition("_")[0] for path in CHANGES}) >= 6, "areas"
    assert all(path.read_text().startswith("mutation") == (path in CHANGES) for path in OPERATIONS)


def test_the_page_that_walks_a_query_shows_it_as_it_is():
    page = (HERE.parents[1] / "docs" / "walk-of-a-query.md").read_text()
    for suffix in ("graphql", "plan", "sql"):
        assert (HERE / "tenant" / f"videos.{suffix}").read_text().strip() in page, f"write {suffix} into it"


def asker(stage: stages.Stage, folder: str) -> Context:
    """Whose request the operations of a folder are."""
    ctx = stage.of(ALICE if folder in TENANTS_ALONE else None)
    if folder != "staff":
        return ctx
    viewer = stage.of(ALICE).viewer
    assert viewer is not None
    return dataclasses.replace(ctx, viewer=dataclasses.replace(viewer, is_staff=True, is_member=True))


async def compared(stage: stages.Stage, executor, path) -> None:  # noqa: F811
    """The operation, its answer, its plan's statements and its plan are what the files say."""
    text = path.read_text()
    kept(path, print_ast(parse(text)) + "\n")
    planned = plans.Plans(executor)
    stage.house.bus.hear(Notice("catalog", ""))  # nothing is remembered of the operation before
    body, sent = await planned.traced(asker(stage, path.parent.name), text)
    told = json.loads(body) if isinstance(body, bytes) else {"refused": [error.message for error in body.errors or ()]}
    kept(path.with_suffix(".json"), json.dumps(told, indent=2, ensure_ascii=False) + "\n")
    kept(path.with_suffix(".sql"), "\n".join(sorted(readable(statement) for statement in sent)))
    kept(path.with_suffix(".plan"), drawing.drawn(planned.plan(text)))


@pytest.mark.parametrize("path", READS, ids=lambda path: f"{path.parent.name}/{path.stem}")
async def test_an_operations_answer_sql_and_plan_are_as_they_are_kept(golden_stage, executor, path):  # noqa: F811
    await compared(golden_stage, executor, path)


@pytest.mark.parametrize("path", CHANGES, ids=lambda path: f"{path.parent.name}/{path.stem}")
async def test_a_mutations_answer_and_the_reads_of_its_payload_are_as_they_are_kept(changing_stage, executor, path):  # noqa: F811
    await compared(changing_stage, executor, path)
