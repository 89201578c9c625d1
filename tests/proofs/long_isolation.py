"""The isolation proof run long; the suite does not collect it, `python -m bench.soak` names it.

`BENCH_ISOLATION_OPERATIONS` is how many operations must have run on each engine, `BENCH_ISOLATION_SEED` what they are
drawn from: the same seed draws the same ones.
"""

from __future__ import annotations

import itertools
import os

import pytest

from tests.proofs import stage_of_three
from tests.proofs.stage_of_three import OWNER, SECOND
from tests.proofs.test_isolation import search_for_leaks
from tests.world import on_every_engine

OPERATIONS = int(os.environ.get("BENCH_ISOLATION_OPERATIONS", "500"))
SEED = int(os.environ.get("BENCH_ISOLATION_SEED", "0"))
EACH = 5
SECONDS_MAX = 3_600


@pytest.mark.timeout(SECONDS_MAX)
@on_every_engine
async def test_no_operation_of_a_long_run_tells_or_changes_what_is_anothers(world):
    three = await stage_of_three.people(world)
    ran = 0
    for turn in itertools.count():
        callers = SECOND if turn % 4 == 3 else OWNER
        told = await search_for_leaks(three, callers, each=EACH, seed=SEED + turn)
        ran += told.ran
        assert told.ran, "nothing ran, so nothing is proven"
        if ran >= OPERATIONS:
            break
