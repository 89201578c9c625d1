"""How wide a plan may be: fragments show their fields wherever they are spread, and are written once."""

from __future__ import annotations

import threading

import pytest
from graphql import ExecutionResult

from execution import plans
from execution.collect import Collector
from execution.library import Executor
from execution.plan import SHOWN_MAX, STEPS_MAX
from resolvers import roots
from tests.execution.stage import ALICE

NAMES = "fragment N on Effect { id slug name tokenCost popularity }"
# Of no rows, so that it costs next to nothing: 15 × 15 lists of the same fields on each of 14 levels.
EDGES = " ".join(f"e{at}: edges {{ ...E }}" for at in range(15))
NODES = " ".join(f"n{at}: node {{ ...N }}" for at in range(15))
MANY = (
    f"{NAMES} fragment E on EffectEdge {{ {NODES} }} fragment P on EffectConnection {{ {EDGES} }} "
    "query Many { " + " ".join(f"p{at}: effects(first: 0) {{ ...P }}" for at in range(14)) + " } "
    "query Few { effects(first: 0) { nodes { ...N } } }"
)
BELOW = "galleryVideos(first: 0) { nodes { effect { category { id } } } }"
LEADS = (
    "{ " + " ".join(f"r{at}: effects(first: 0) {{ nodes {{ ...F }} }}" for at in range(15)) + " } "
    f"fragment F on Effect {{ a: {BELOW} b: {BELOW} c: {BELOW} }}"
)


@pytest.fixture
def planned() -> plans.Plans:
    return plans.Plans(Executor(roots.served()))


async def refusal(planned, stage, text, name=None) -> str:
    said = await planned.answer(stage.of(None), text, operation_name=name)
    assert isinstance(said, ExecutionResult)
    assert said.data is None
    assert said.errors is not None
    [error] = said.errors
    assert error.extensions == {"code": "COST_LIMIT_EXCEEDED"}
    return error.message


async def test_an_operation_that_shows_too_many_fields_is_refused_and_others_of_its_document_are_served(planned, stage):
    for _ in range(2):
        assert f"{SHOWN_MAX}" in await refusal(planned, stage, MANY, "Many")
    assert isinstance(await planned.answer(stage.of(None), MANY, operation_name="Few"), bytes)


async def test_what_was_refused_is_not_planned_again(planned, stage, monkeypatch):
    await refusal(planned, stage, MANY, "Many")
    monkeypatch.setattr(plans, "Planner", None)
    await refusal(planned, stage, MANY, "Many")


async def test_an_operation_that_leads_to_too_many_others_is_refused(planned, stage):
    assert f"{STEPS_MAX}" in await refusal(planned, stage, LEADS)


FRAGMENT = "fragment W on TokenWallet { balance transactions { nodes { id } } }"


@pytest.mark.parametrize(
    ("fields", "fragment"),
    [
        ("id __typename", ""),
        ("id ... on Effect { name category { name } } ... on Video { title } ...W", FRAGMENT),
    ],
)
async def test_every_type_that_an_id_may_be_of_is_planned_with_its_document(stage, fields, fragment):
    seen: set[str] = set()
    before = Collector.of_sets

    def noting(self, *given):
        seen.add(threading.current_thread().name.partition("_")[0])
        return before(self, *given)

    executor = Executor(roots.served())
    planned = plans.Plans(executor)
    ids = ["Effect_3e8", "Category_1e"]
    text = f"query Ids($ids: [ID!]!) {{ nodes(ids: $ids) {{ {fields} }} }} {fragment}"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Collector, "of_sets", noting)
        mine = await planned.answer(stage.of(ALICE), text, variables={"ids": ids})
    assert isinstance(mine, bytes)
    assert seen == {"planning"}
