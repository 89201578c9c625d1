"""What is large is completed in turns: the same answer and the same errors, and the loop is never held for long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest
from graphql import ExecutionResult, build_schema, execute, parse

from execution import turns

FIELDS_OF_A_ROW = 5
ROWS = 400
SENDERS = 4

SCHEMA = build_schema("""
    type Query { rows: [Row!] others: [Row] one: Row }
    type Row { a: Int b: Int! c: String! same: Row! below: [Row!] }
""")
LARGE = parse("{ rows { a b c same { a below { a b } } } others { x: a y: b z: c } one { below { c } a } }")


class Rows:
    """Counts the fields that were read of any row."""

    def __init__(self) -> None:
        self.read = 0

    def row(self, number: int, depth: int = 0) -> dict[str, object]:
        def a(_info: object) -> int:
            self.read += 1
            if number % 40 == 7:
                raise ValueError(f"row {number} has no a")
            return number

        def b(_info: object) -> int | None:
            self.read += 1
            return None if depth and number % 97 == 13 else number

        below = [self.row(number + at, depth + 1) for at in range(3)] if depth < 1 else []
        same = self.row(number + 1, depth + 1) if depth < 1 else None
        return {"a": a, "b": b, "c": "c", "same": same, "below": below}

    def root(self) -> dict[str, object]:
        async def rows(_info: object) -> list[object]:
            await asyncio.sleep(0)
            return [self.row(at) for at in range(ROWS)]

        async def others(_info: object) -> list[object]:
            return [None if at % 3 else self.row(at) for at in range(ROWS)]

        return {"rows": rows, "others": others, "one": self.row(1)}


async def run(rows: Rows, *, in_turns: bool) -> ExecutionResult:
    chosen = turns.InTurns if in_turns else None
    found = execute(SCHEMA, LARGE, rows.root(), executor_class=chosen)
    return await found if isinstance(found, Awaitable) else found


def has_all(result: ExecutionResult) -> bool:
    return result.data is not None and len(result.data["others"]) == ROWS


def told(result: ExecutionResult) -> list[tuple[str, str]]:
    return sorted((str(error.path), error.message) for error in result.errors or ())


@pytest.mark.parametrize("fields", [1, 2, 7, 50, 10**9])
async def test_what_is_answered_in_turns_is_what_is_answered_at_once(monkeypatch, fields):
    at_once = await run(Rows(), in_turns=False)
    assert len(at_once.errors or ()) > ROWS // 40
    monkeypatch.setattr(turns, "FIELDS_A_TURN", fields)
    in_turns = await run(Rows(), in_turns=True)
    assert in_turns.data == at_once.data
    assert told(in_turns) == told(at_once)


async def test_of_several_large_answers_one_has_a_turn_in_each_round_of_the_loop(monkeypatch):
    monkeypatch.setattr(turns, "FIELDS_A_TURN", 50)
    rows, seen = Rows(), []
    sending = [asyncio.create_task(run(rows, in_turns=True)) for _ in range(SENDERS)]
    while not all(each.done() for each in sending):
        before = rows.read
        await asyncio.sleep(0)
        seen.append(rows.read - before)
    for each in sending:
        assert has_all(await each)
    # Each has begun with a turn of its own; after that it is one turn a round, however many they are.
    later = seen[len(seen) // 4 :]
    assert max(later) <= turns.FIELDS_A_TURN + FIELDS_OF_A_ROW, sorted(seen)[-10:]
    assert len(later) > 10 * SENDERS


async def test_who_goes_away_between_its_turns_keeps_nobody_waiting():
    rows = Rows()
    gone, stays = (asyncio.create_task(run(rows, in_turns=True)) for _ in range(2))
    while rows.read < 2 * turns.FIELDS_A_TURN:
        await asyncio.sleep(0)
    gone.cancel()
    assert has_all(await stays)
    assert gone.cancelled()
