"""Money under random interleavings of buyers, banks, events, jobs and crashes, the same ones in each run."""

from __future__ import annotations

import pytest

from tests.proofs import money_machine
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio

EXAMPLES = 8
STEPS = 30


@pytest.mark.fault(18, 20)
@pytest.mark.slow
@on_every_engine
async def test_whatever_happens_in_whatever_order_the_wallet_has_what_the_providers_books_say(shop, provider):
    await money_machine.play(shop, provider, examples=EXAMPLES, steps=STEPS)
