"""Functions that show rows are generated on a thread of their own, whose queue has an end."""

from __future__ import annotations

import asyncio
import threading

import orjson
import pytest
from graphql import ExecutionResult

from execution import emit, plans
from execution.library import Executor
from resolvers import roots
from tests.execution.stage import ALICE

QUERY = (
    "{{ a{at}: effects(first: 3) {{ nodes {{ n{at}: name category {{ name }} }} }}"
    " videos(first: 2) {{ nodes {{ v{at}: title }} }} }}"
)


@pytest.fixture
def planned() -> plans.Plans:
    return plans.Plans(Executor(roots.served()))


async def test_what_finds_no_place_is_answered_all_the_same(planned, stage, monkeypatch):
    ctx = stage.of(ALICE)
    expected = [await planned.answer(ctx, QUERY.format(at=at)) for at in range(6)]
    monkeypatch.setattr(emit, "QUEUE_MAX", 2)
    gate, begun, make = threading.Event(), [], emit.emitter

    def slowly(*given, **named):
        begun.append(threading.current_thread().name)
        assert gate.wait(60)
        return make(*given, **named)

    monkeypatch.setattr(emit, "emitter", slowly)
    again = plans.Plans(Executor(roots.served()))
    asking = [asyncio.create_task(again.answer(ctx, QUERY.format(at=at))) for at in range(6)]
    async with asyncio.timeout(60):
        # All but those that hold a place are answered while the thread stands still.
        while sum(each.done() for each in asking) < 4:
            await asyncio.sleep(0.005)
    gate.set()
    answers = [await each for each in asking]
    assert sum(isinstance(each, bytes) for each in answers) <= 2
    assert all(name.startswith("emitting") for name in begun)
    for mine, its in zip(answers, expected, strict=True):
        assert isinstance(its, bytes)
        data = {"data": mine.data} if isinstance(mine, ExecutionResult) else orjson.loads(mine)
        assert data == orjson.loads(its)
        assert isinstance(mine, bytes) or not mine.errors
