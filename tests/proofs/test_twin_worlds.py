"""The same mutations on two equal worlds, by plans and by the library: payloads, refusals, errors, rows are equal."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from db.zones import CentralBase, PoolBase
from tests import world as worlds
from tests.execution import spoiling
from tests.proofs import operations, story, twins
from tests.proofs.twins import Twins

SEED = 11
EACH = 4
ROWS_CHECKED_EVERY = 75
SPOILT_CELLS_IN = 10
CALLERS = ("alice", "alice", "sam", "sam", "mary", "visitor")


@asynccontextmanager
async def opened(templates: Any, folder: Any, entropy: twins.Entropy, *, spoilt: bool) -> AsyncIterator[Twins]:
    """Two equal worlds; spoilt: with the same cells of both holding what their types cannot."""
    folders = [folder / "mine", folder / "theirs"]
    for each in folders:
        each.mkdir()
    made = [await templates.fresh("sqlite", each) for each in folders]
    more = {"ATRIUM_COST_MAX": "1000000000"}
    async with (
        worlds.opened("sqlite", made[0], folders[0], **more) as mine,
        worlds.opened("sqlite", made[1], folders[1], **more) as theirs,
    ):
        pair = Twins(await twins.people(mine, entropy), await twins.people(theirs, entropy), entropy)
        for each in made if spoilt else ():
            for name, url in each.urls().items():
                base = CentralBase if name == "central" else PoolBase
                await spoiling.spoil(url, base, seed=SEED, cells_in=SPOILT_CELLS_IN)
        assert await pair.check_rows() > 300
        yield pair


@pytest.fixture
async def both(anyio_backend, templates, tmp_path, monkeypatch):
    async with opened(templates, tmp_path, twins.Entropy(monkeypatch), spoilt=False) as pair:
        yield pair


@pytest.fixture
async def spoilt(anyio_backend, templates, tmp_path, monkeypatch):
    async with opened(templates, tmp_path, twins.Entropy(monkeypatch), spoilt=True) as pair:
        yield pair


async def test_a_story_of_mutations_is_the_same_by_plans_and_by_the_library(both):
    await story.told(both)
    assert both.ran >= 90
    assert both.planned >= 80
    assert both.changed >= 25


async def test_the_same_over_rows_that_no_type_takes(spoilt):
    await story.told(spoilt)
    assert spoilt.ran >= 80
    assert spoilt.ran > spoilt.planned, "nothing that is spoilt was met"


async def test_drawn_mutations_are_the_same_by_plans_and_by_the_library(both):
    dice = random.Random(SEED)
    both.entropy.begin("words")
    words = await both.mine.three.words(random.Random(SEED))
    both.entropy.begin("words")
    # Asking for cursors makes an access token in each.
    assert await both.theirs.three.words(random.Random(SEED)) == words
    for _, _, query in operations.operations(words, each=EACH, seed=SEED, kinds=("mutation",)):
        await both.run(dice.choice(CALLERS), query)
        if both.steps % ROWS_CHECKED_EVERY == 0:
            await both.check_rows()
    await both.check_rows()
    assert both.ran > both.steps * 0.9


async def test_two_worlds_that_differ_are_told_apart(both):
    """The proof itself, seen failing: one row more in one of them."""
    both.entropy.begin("one")
    carol = await both.mine.world.tenant("carol")
    with pytest.raises(AssertionError, match="carol1"):
        await both.check_rows()
    with pytest.raises(AssertionError):
        await both.run("visitor", story.LOGIN, **{"in": {"email": carol.email, "password": carol.password}})
