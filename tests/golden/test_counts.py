"""How much each of the bench's workloads does a request: calls of our own functions and statements, counted, not timed.

`make golden` writes `counts.json` anew; a plan that has begun to do more work a request shows in its diff.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import pytest

from bench import workloads
from db.leases import Leases
from execution import plans
from tests.execution import stage as stages
from tests.execution.conftest import executor  # noqa: F401  (the served schema, as the tests of execution/ have it)
from tests.execution.stage import ALICE
from tests.house import tree

FILE = Path(__file__).with_name("counts.json")
OURS = (f"{tree.ROOT}/", "<emit")
LIBRARIES = f"{tree.ROOT}/.venv/"
TOLERANCE = 0.03
VARIABLES = {"slug": "effect-003"}


@pytest.fixture(scope="module")
async def full_stage(anyio_backend, executor, tmp_path_factory):  # noqa: F811
    async with stages.opened("sqlite", tmp_path_factory.mktemp("stage"), rows=60) as opened:
        yield opened


async def counted(planned: plans.Plans, stage: stages.Stage, workload: workloads.Workload) -> tuple[int, Counter[str]]:
    """Calls of functions of ours, by file and name, in one request that is answered by its plan."""
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: object) -> None:
        # A coroutine that goes on is entered anew; it is a call only at its beginning.
        if event == "call" and frame.f_lasti < FIRST_STEPS:
            name = frame.f_code.co_filename
            if name.startswith(OURS) and not name.startswith(LIBRARIES):
                calls[f"{name.removeprefix(OURS[0])}:{frame.f_code.co_name}"] += 1

    ctx = stage.of(ALICE if workload.on_tenant else None)
    variables = VARIABLES if workload.by_slug else None
    sys.setprofile(note)
    try:
        body = await planned.answer(ctx, workload.query, variables=variables)
    finally:
        sys.setprofile(None)
    assert isinstance(body, bytes), body
    return sum(calls.values()), calls


FIRST_STEPS = 6  # bytes: what stands before a function's first line


@pytest.mark.parametrize("workload", workloads.ALL, ids=lambda each: each.name)
async def test_a_request_calls_and_sends_what_it_did_when_it_was_recorded(full_stage, executor, workload, monkeypatch):  # noqa: F811
    statements = 0
    read, read_all = Leases.read, Leases.read_all

    def reading(self, *given):
        nonlocal statements
        statements += 1
        return read(self, *given)

    def reading_all(self, asked, permit):
        nonlocal statements
        statements += len(asked)
        return read_all(self, asked, permit)

    planned = plans.Plans(executor)
    for _ in range(3):  # what is done once is done
        await counted(planned, full_stage, workload)
    calls, by_name = await counted(planned, full_stage, workload)
    monkeypatch.setattr(Leases, "read", reading)
    monkeypatch.setattr(Leases, "read_all", reading_all)
    await counted(planned, full_stage, workload)

    found = {"calls": calls, "statements": statements}
    kept = json.loads(FILE.read_text()) if FILE.exists() else {}
    if os.environ.get("ATRIUM_GOLDEN") == "rewrite":
        kept[workload.name] = found
        FILE.write_text(json.dumps(dict(sorted(kept.items())), indent=2) + "\n")
    was = kept[workload.name]
    assert found["statements"] == was["statements"]
    most = was["calls"] * (1 + TOLERANCE) + 1
    assert calls <= most, f"{calls} calls, recorded were {was['calls']}: {by_name.most_common(20)}"
    assert calls >= was["calls"] * (1 - TOLERANCE) - 1, f"{calls} calls, fewer than {was['calls']}: make golden"
