"""Random stories about money, many and long and freshly drawn; the suite does not collect it, `python -m bench.soak`
names it.

`BENCH_MONEY_EXAMPLES` is how many stories are told on each engine.
"""

from __future__ import annotations

import os

import pytest

from tests.proofs import money_machine
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio

EXAMPLES = int(os.environ.get("BENCH_MONEY_EXAMPLES", "100"))
STEPS = 60
SECONDS_MAX = 3_600


@pytest.mark.timeout(SECONDS_MAX)
@on_every_engine
async def test_a_long_run_of_random_stories_ends_as_the_providers_books_say(shop, provider):
    await money_machine.play(shop, provider, examples=EXAMPLES, steps=STEPS, derandomize=False)
