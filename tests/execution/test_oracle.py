"""Drawn operations over rows that are right and rows that are not: plans answer as the library does.

Every test says how many of its operations must have run: over SQLite alone 5,000 together.
"""

from __future__ import annotations

import random

import pytest

from db.zones import CentralBase, PoolBase
from tests import world as worlds
from tests.execution import spoiling
from tests.execution import stage as stages
from tests.execution.operations import GIVEN, Operations
from tests.execution.oracle import Oracle
from tests.execution.stage import ALICE, BOB, MARY
from tests.proofs import operations, stage_of_three

SEEDS = (101, 102, 103, 104)
SEEDS_OF_SPOILT = (201, 202)
OF_A_SEED = {"sqlite": 500, "mariadb": 100, "asyncmy": 100}
LEAST_OF_A_SEED = 0.98
CALLERS = 20
OF_A_FIELD = 10
LEAST_OF_FIELDS = 280

SPOILT = [
    pytest.param(("sqlite", 30), id="some"),
    pytest.param(("sqlite", 8), id="many"),
    pytest.param(("mariadb", 8), id="mariadb", marks=pytest.mark.services),
    pytest.param(("asyncmy", 8), id="asyncmy", marks=pytest.mark.services),
]


@pytest.fixture
def oracle(executor) -> Oracle:
    return Oracle(executor)


@pytest.fixture(scope="module", params=SPOILT)
async def spoilt(request, anyio_backend, tmp_path_factory):
    """A stage of which one cell in so many holds what its type cannot."""
    engine, cells_in = request.param
    async with stages.opened(engine, tmp_path_factory.mktemp("spoilt")) as opened:
        settings = opened.house.settings
        assert await spoiling.spoil(settings.central_url, CentralBase, seed=1, cells_in=cells_in) > 20
        assert await spoiling.spoil(settings.pools[stages.POOL], PoolBase, seed=2, cells_in=cells_in) > 20
        yield opened


@pytest.fixture(scope="module")
async def three(anyio_backend, templates, tmp_path_factory):
    """Rows in every table: of three people and of everybody."""
    folder = tmp_path_factory.mktemp("three")
    made = await templates.fresh("sqlite", folder)
    async with worlds.opened("sqlite", made, folder, ATRIUM_COST_MAX="1000000000") as world:
        stages.stands_still(world.house)
        yield await stage_of_three.people(world)


async def compared(oracle: Oracle, stage: stages.Stage, executor, seed: int) -> None:
    """Ask of a stage what a seed draws."""
    drawn, dice = Operations(executor.core, seed), random.Random(seed)
    asked = OF_A_SEED[stage.engine]
    for at in range(asked):
        ctx = stage.of(dice.choice((ALICE, ALICE, MARY, BOB, None)), tenant=None if at % 11 == 10 else "")
        text = drawn.document()
        maybe = {"maybe": None if at % 20 == 19 else dice.random() < 0.5} if at % 4 else {}
        await oracle.compare(ctx, text, operation_name="A", yes=at % 3 > 0, **maybe)
        if "query B" in text:
            await oracle.compare(ctx, text, operation_name="B", yes=dice.choice(GIVEN))
    assert len(oracle.distinct) >= asked * LEAST_OF_A_SEED
    assert oracle.by["plan"] > asked / 3, oracle.by


@pytest.mark.parametrize("seed", SEEDS)
async def test_drawn_operations_are_answered_as_the_library_answers_them(stage, executor, oracle, seed):
    await compared(oracle, stage, executor, seed)


@pytest.mark.parametrize("seed", SEEDS_OF_SPOILT)
async def test_over_spoilt_rows_the_errors_are_such_as_the_specification_allows(spoilt, executor, oracle, seed):
    await compared(oracle, spoilt, executor, seed)
    assert oracle.by["errors"] > OF_A_SEED[spoilt.engine] / 4, oracle.by


@pytest.mark.parametrize("seed", SEEDS)
async def test_what_hypothesis_draws_for_every_root_field_is_answered_as_the_library_answers_it(three, oracle, seed):
    dice = random.Random(seed)
    words = await three.words(dice)
    who = dice.choices(stage_of_three.OWNER, [share for *_, share in stage_of_three.OWNER], k=CALLERS)
    callers = [(await three.caller(who, where, dice))[0] for who, where, _ in who]
    for _, _, query in operations.operations(words, each=OF_A_FIELD, seed=seed, kinds=("query",)):
        await oracle.compare(dice.choice(callers), query)
    assert oracle.ran >= LEAST_OF_FIELDS
    assert oracle.by["plan"] > LEAST_OF_FIELDS / 3, oracle.by
