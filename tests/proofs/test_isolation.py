"""No answer on one host ever holds what is another tenant's, or another member's own, whatever is asked with whatever
ids; and nothing that is asked changes their rows.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass

import pytest

from db.guard import Permit
from execution.declare import ROOTS
from tenancy.context import Context
from tests.proofs import canaries, operations, stage_of_three
from tests.proofs.stage_of_three import OWNER, SECOND, Callers, Three, Told
from tests.world import on_every_engine

SEED = 6
KINDS = ("query", "mutation")


@dataclass(frozen=True, slots=True)
class Share:
    """How many operations of each root field an engine gets, and how many of them must have run at least."""

    owner: int
    second: int
    least: int


# How many operations the long run asks for (`make soak`); 0: as many as a suite has time for.
ASKED = int(os.environ.get("ATRIUM_ISOLATION_OPERATIONS", "0"))
SECONDS_MAX = 3_600 if ASKED else 900
SHARES = {"sqlite": Share(23, 3, 2_000), "mariadb": Share(3, 1, 250), "postgresql": Share(3, 1, 250)}


async def search_for_leaks(
    three: Three, callers: Callers, *, each: int, seed: int, kinds: tuple[str, ...] = KINDS
) -> Told:
    """Run `each` operations of every root field as these callers; nothing of anybody else may change meanwhile.

    Raises AssertionError at the first leak, with the operation that told it.
    """
    dice, told = random.Random(seed), Told()
    words = await three.words(dice)
    other = three.mary if callers is OWNER else three.alice
    bobs, private = await canaries.sums(three.world, three.bob), await canaries.sums(three.world, other, private=True)
    for kind, name, query in operations.operations(words, each=each, seed=seed):
        if kind not in kinds:
            continue
        [(who, where, _)] = dice.choices(callers, [share for *_, share in callers])
        ctx, _token, _host = await three.caller(who, where, dice)
        bodies = await stage_of_three.run(three, ctx, kind, query)
        if bodies:
            told.count(name, bodies[0])
        for body in bodies:
            leaked = stage_of_three.found_in(body, three.forbidden(who, where))
            assert leaked is None, f"{leaked} was told to {who} on {where}:\n{query}\n{body}"
            assert "INTERNAL" not in str(body.get("errors")), f"{who} on {where}:\n{query}\n{body['errors']}"
    assert await canaries.sums(three.world, three.bob) == bobs
    assert await canaries.sums(three.world, other, private=True) == private
    return told


@pytest.mark.slow
@pytest.mark.timeout(SECONDS_MAX)
@on_every_engine
async def test_no_drawn_operation_tells_or_changes_what_is_anothers(world):
    three = await stage_of_three.people(world)
    shares = SHARES[world.engine]
    fields = sum(root.kind != "live" for root in ROOTS)
    asked = ASKED if world.engine == "sqlite" else 0
    each = max(shares.owner, asked // fields + 1)
    told = await search_for_leaks(three, OWNER, each=each, seed=asked or SEED)
    assert told.ran >= max(shares.least, asked * 9 // 10)
    assert told.answered > told.ran // 4, "too little was answered for this to prove anything"
    assert three.planned > told.ran // 4, "plans have answered too little for this to prove them"
    assert len(told.by_field) == fields
    await search_for_leaks(three, SECOND, each=shares.second, seed=SEED + 1)


async def test_the_search_finds_what_a_forgotten_owner_would_leak(world, monkeypatch):
    three = await stage_of_three.people(world)
    # The proof itself, seen failing: whoever asks reads as the whole tenant.
    monkeypatch.setattr(Context, "pool_permit", lambda ctx: Permit(tenant=ctx.tenant_id))
    with pytest.raises(AssertionError, match="was told to alice"):
        await search_for_leaks(three, OWNER, each=4, seed=SEED, kinds=("query",))
