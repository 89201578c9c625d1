"""What is known stays known under a flood, what is new waits in a short queue, and who goes away leaves no trace."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import threading
from collections import Counter
from contextlib import suppress
from functools import partial

import orjson
import pytest
from graphql import ExecutionResult, build_schema, get_introspection_query

from base import errors, observe
from execution import documents, planning, plans
from execution.document import OutOfBudget, Unfit, too_dear
from execution.documents import Documents
from execution.kept import Kept
from execution.planning import Planning
from tenancy import hosts

SCHEMA = build_schema("type Query { a: Query b: Int }")
HOME = "192.0.2.1"


@pytest.fixture
def known() -> Documents:
    return Documents(SCHEMA, introspection=True)


class Gate:
    """Work that holds the thread until it is let go."""

    def __init__(self) -> None:
        self.begun, self._open = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        assert self._open.wait(60)
        return "done"

    def open(self) -> None:
        self._open.set()

    async def is_begun(self) -> None:
        while not self.begun.is_set():
            await asyncio.sleep(0.005)


async def until(said) -> None:
    async with asyncio.timeout(30):
        while not said():
            await asyncio.sleep(0.005)


def counted(outcome: str) -> int:
    return observe.DOCUMENTS.labels(outcome).value


# ---------------------------------------------------------------- the memory


def test_a_flood_of_what_comes_once_leaves_what_came_twice():
    evicted = Counter[str]()
    kept = Kept[int](entries_max=40, weight_max=4_000, evicted=lambda: evicted.update(["it"]))
    for at in range(20):
        kept.put(f"known {at}", at, 50)
        assert kept.get(f"known {at}") == at
    for at in range(5_000):
        kept.put(f"flood {at}", at, 50)
    assert [kept.get(f"known {at}") for at in range(20)] == list(range(20))
    assert len(kept) == 20 + 10
    assert evicted["it"] == 5_000 - 10


def test_what_is_heavy_or_grows_pushes_out_by_weight_and_the_figures_stay_right():
    kept = Kept[int](entries_max=100, weight_max=4_000, evicted=lambda: None)
    drawn = random.Random(3)
    for at in range(3_000):
        key = f"k{drawn.randint(0, 60)}"
        how = drawn.random()
        if how < 0.4:
            kept.put(key, at, drawn.choice([10, 100, 900, 5_000]))
        elif how < 0.8:
            kept.get(key)
        else:
            kept.grow(key, 100)
        assert kept.weight == sum(kept._weights.values()) <= 4_000
        assert len(kept) == len(kept._known) + len(kept._probation) <= 100
        assert kept._known.keys().isdisjoint(kept._probation)


def test_what_is_known_falls_back_on_probation_before_it_is_forgotten():
    kept = Kept[int](entries_max=8, weight_max=1_000, evicted=lambda: None)
    for at in range(7):
        kept.put(f"k{at}", at, 1)
        kept.get(f"k{at}")
    assert "k0" in kept._probation
    assert kept.get("k0") == 0
    assert "k0" in kept._known


async def test_five_thousand_new_documents_keep_within_bounds_and_take_no_known_one(known):
    await known.read("{ b }", HOME)
    first = known.known("{ b }")
    before = counted("evicted")
    for at in range(5_000):
        await known.read(f"query Q{at} {{ b {'a { b } ' * (at % 7)} }}", HOME)
    assert known.known("{ b }") is first
    assert len(known) <= documents.DOCUMENTS_MAX
    assert known.weight <= documents.BYTES_MAX
    assert counted("evicted") - before >= 5_000 - documents.DOCUMENTS_MAX


async def test_a_refused_document_is_looked_at_once_and_told_anew(known):
    refused, told = counted("refused"), []
    for _ in range(3):
        with pytest.raises(Unfit, match="Cannot query field 'no'") as unfit:
            await known.read("{ no }", HOME)
        told.append(unfit.value)
    assert counted("refused") == refused + 1
    assert told[0] is not told[1]
    assert told[1].errors is told[2].errors


async def test_what_only_took_too_long_is_tried_again_at_once_and_the_next_time(known, monkeypatch):
    read, tries = known._reader.read, []

    def late(text, budget):
        tries.append(text)
        if len(tries) < 4:
            raise OutOfBudget(too_dear("The document takes too long to plan.").errors)
        return read(text, budget)

    monkeypatch.setattr(known._reader, "read", late)
    with pytest.raises(Unfit, match="too long to plan"):
        await known.read("{ b }", HOME)
    assert len(tries) == 2
    assert (await known.read("{ b }", HOME)).tokens == 3
    assert len(tries) == 4


async def test_a_document_that_is_forgotten_goes_at_once_and_waits_for_no_collector(monkeypatch):
    """A ring of objects would keep all of it, and every so many documents the collector would stop everybody."""
    monkeypatch.setattr(documents, "BYTES_MAX", 0)
    forgetful = Documents(SCHEMA, introspection=True)
    fields = "a { b } " * 400
    for text in (f"{{ {fields} }}", f"{{ {fields} no }}", f"{{ {'no ' * 1_900} }}", f"{{ {fields} ", "{ c: " + fields):
        gc.collect()
        gc.disable()
        try:
            for at in range(5):
                with suppress(Unfit):
                    await forgetful.read(f"{text} # {at}", HOME)
                await until(lambda: not forgetful.planning.inside)
            left = gc.collect() / 5
        finally:
            gc.enable()
        assert len(forgetful) == 0
        # What the library's rules leave of themselves; a document of this size is 4,000 objects and more.
        assert left < 1_500, (text[:40], left)


async def test_what_is_too_long_to_look_at_takes_no_place_in_the_queue(known):
    gate = Gate()
    holding = [asyncio.create_task(known.work(HOME, gate)) for _ in range(2)]
    await gate.is_begun()
    with pytest.raises(Unfit, match="characters"):
        await known.read("{ b } #" + "x" * 100_000, HOME)
    gate.open()
    await asyncio.gather(*holding)


# ---------------------------------------------------------------- one reading for all


async def test_who_asks_for_the_same_new_document_at_once_gets_one_reading(known):
    gate, read, seen = Gate(), known._reader.read, []

    def slowly(text, budget):
        seen.append(text)
        gate()
        return read(text, budget)

    known._reader.read = slowly
    asking = [asyncio.create_task(known.read("{ a { b } }", f"192.0.2.{at}")) for at in range(100)]
    await gate.is_begun()
    gate.open()
    answers = await asyncio.gather(*asking)
    assert len({id(each) for each in answers}) == len(seen) == 1


async def test_a_reading_goes_on_while_one_waits_and_ends_with_the_last(known):
    gate = Gate()
    holding = asyncio.create_task(known.work(HOME, gate))
    await gate.is_begun()
    asking = [asyncio.create_task(known.read("{ a { b } }", HOME)) for _ in range(3)]
    await until(lambda: known.planning.inside == 2)
    for each in asking[:2]:
        each.cancel()
    await asyncio.sleep(0.02)
    assert known.planning.inside == 2
    asking[2].cancel()
    await until(lambda: known.planning.inside == 1)
    assert not known._readings
    gate.open()
    await holding
    assert known.known("{ a { b } }") is None
    assert (await known.read("{ a { b } }", HOME)).tokens == 6


async def test_a_place_refused_to_one_is_not_refused_to_another(known, monkeypatch):
    monkeypatch.setattr(planning, "DOOR_SECONDS_MAX", 0.2)
    gate = Gate()
    holding = [asyncio.create_task(known.work(HOME, gate)) for _ in range(2)]
    await gate.is_begun()
    mine = asyncio.create_task(known.read("{ a { b } }", HOME))
    await until(lambda: known.planning.waiting == 1)
    others = asyncio.create_task(known.read("{ a { b } }", "198.51.100.7"))
    with pytest.raises(errors.RateLimited):
        await mine
    gate.open()
    assert (await others).tokens == 6
    await asyncio.gather(*holding)


# ---------------------------------------------------------------- the queue


async def test_of_one_address_two_are_in_the_queue_a_few_at_the_door_and_the_rest_told_when_to_come_again():
    thread, gate = Planning(), Gate()
    before = counted("turned_away")
    asking = [asyncio.create_task(thread.do(HOME, gate)) for _ in range(50)]
    await gate.is_begun()
    await until(lambda: sum(each.done() for each in asking) == 50 - 2 - planning.DOOR_OF_AN_ADDRESS_MAX)
    assert (thread.inside, thread.waiting) == (2, planning.DOOR_OF_AN_ADDRESS_MAX)
    other = asyncio.create_task(thread.do("198.51.100.7", lambda: "other"))
    await until(lambda: thread.inside == 3)
    gate.open()
    said = await asyncio.gather(*asking, return_exceptions=True)
    assert await other == "other"
    refused = [each for each in said if isinstance(each, errors.RateLimited)]
    assert len(refused) == 50 - 2 - planning.DOOR_OF_AN_ADDRESS_MAX
    assert {each.retry_after_seconds for each in refused} == {planning.RETRY_SECONDS}
    assert said.count("done") == 2 + planning.DOOR_OF_AN_ADDRESS_MAX
    assert counted("turned_away") - before == len(refused)
    await until(lambda: not thread.inside)
    assert not thread._of
    assert not thread._at_door


async def test_the_queue_has_32_places_and_the_door_is_not_waited_at_for_ever(monkeypatch):
    monkeypatch.setattr(planning, "DOOR_SECONDS_MAX", 0.1)
    thread, gate = Planning(), Gate()
    asking = [asyncio.create_task(thread.do(f"192.0.2.{at}", gate)) for at in range(100)]
    await gate.is_begun()
    await until(lambda: sum(each.done() for each in asking) == 100 - planning.QUEUE_MAX)
    assert (thread.inside, thread.waiting) == (planning.QUEUE_MAX, 0)
    gate.open()
    said = await asyncio.gather(*asking, return_exceptions=True)
    assert said.count("done") == planning.QUEUE_MAX
    assert sum(isinstance(each, errors.RateLimited) for each in said) == 100 - planning.QUEUE_MAX


async def test_who_goes_away_leaves_the_queue_and_the_door_clean_and_its_work_undone():
    thread, gate = Planning(), Gate()
    done: list[int] = []
    holding = asyncio.create_task(thread.do(HOME, gate))
    await gate.is_begun()
    asking = [asyncio.create_task(thread.do(HOME, partial(done.append, at))) for at in range(6)]
    await until(lambda: thread.waiting == 5)
    for at in (0, 2, 4):
        asking[at].cancel()
    await until(lambda: thread.waiting == 2)
    gate.open()
    await asyncio.gather(holding, *asking, return_exceptions=True)
    assert done == [1, 3, 5]
    await until(lambda: not thread.inside)
    # One that is under way keeps its place until it is done: hanging up makes no room for more.
    gate = Gate()
    gone = asyncio.create_task(thread.do(HOME, gate))
    await gate.is_begun()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert thread.inside == 1
    gate.open()
    await until(lambda: not thread.inside)


async def test_a_thousand_who_come_and_go_at_random_leave_nothing_behind():
    thread, drawn, done = Planning(), random.Random(5), Counter[str]()

    async def one(at: int) -> None:
        await asyncio.sleep(drawn.random() / 10)
        try:
            async with asyncio.timeout(drawn.choice([0.0, 0.001, 0.02, 5.0])):
                await thread.do(f"192.0.2.{at % 40}", lambda: done.update(["done"]))
        except TimeoutError:
            pass
        except errors.RateLimited:
            done["refused"] += 1

    await asyncio.gather(*(one(at) for at in range(1_000)))
    await until(lambda: not thread.inside)
    assert not thread.waiting
    assert not thread._of
    assert not thread._at_door
    assert done["done"] > 0


async def test_what_the_work_raises_is_raised_and_frees_the_place():
    thread = Planning()
    for _ in range(planning.QUEUE_MAX + 1):
        with pytest.raises(ZeroDivisionError):
            await thread.do(HOME, lambda: 1 // 0)
    await until(lambda: not thread.inside)


@pytest.mark.parametrize(
    ("address", "whose"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_a_whole_ipv6_network_is_one_address(address, whose):
    assert hosts.network(address) == whose


async def test_the_loop_goes_on_while_the_thread_works(known):
    """Known documents never wait for new ones: with the thread held, they are answered all the same."""
    await known.read("{ b }", HOME)
    gate = Gate()
    holding = asyncio.create_task(known.work(HOME, gate))
    await gate.is_begun()
    new = asyncio.create_task(known.read("{ a { b } }", "192.0.2.9"))
    await until(lambda: known.planning.inside == 2)
    for _ in range(100):
        assert (await known.read("{ b }", HOME)).tokens == 3
    assert not new.done()
    gate.open()
    await asyncio.gather(holding, new)


async def test_the_thread_is_one_and_is_called_what_it_is(known):
    names = {await known.work(HOME, lambda: threading.current_thread().name) for _ in range(5)}
    assert names == {"planning_0"}
    assert sys.getswitchinterval() > 0


async def test_what_asks_about_the_schema_alone_is_answered_on_the_thread(stage, executor, monkeypatch):
    """And nothing may stand beside it, which would need the loop."""
    on_thread = []
    work = executor.documents.work

    async def seen(address, given):
        on_thread.append(given)
        return await work(address, given)

    monkeypatch.setattr(executor.documents, "work", seen)
    ctx = stage.of(None)
    whole = get_introspection_query()
    for text, count in (
        (whole, 1),
        ("query ($n: String!) { __typename ...F } fragment F on Query { t: __type(name: $n) { name } }", 2),
        ("{ __typename }", 2),
    ):
        document = await executor.documents.read(text, ctx.address)
        said = await executor.execute(ctx, document, variables={"n": "Effect"})
        assert not said.errors
        assert said.data == (await executor.execute(ctx, text, variables={"n": "Effect"})).data
        assert len(on_thread) == count
    document = await executor.documents.read("query ($n: String!) { __type(name: $n) { name } }", ctx.address)
    said = await executor.execute(ctx, document, variables={})
    assert said.data is None
    assert said.errors[0].extensions["code"] == "BAD_USER_INPUT"


async def test_what_was_said_of_the_schema_is_kept_with_its_document_and_weighed(stage, executor, monkeypatch):
    on_thread, work = [], executor.documents.work

    async def seen(address, given):
        on_thread.append(given)
        return await work(address, given)

    monkeypatch.setattr(executor.documents, "work", seen)
    served, ctx = plans.Plans(executor), stage.of(None)
    text = "query Kept { __typename __schema { types { name fields { name } } } }"
    first = await served.answer(ctx, text)
    assert isinstance(first, ExecutionResult)
    assert (len(on_thread), first.errors) == (1, None)
    assert executor.documents._kept._weights[text] > len(orjson.dumps(first.data))
    assert await served.answer(ctx, text) == orjson.dumps({"data": first.data})
    asked = "query Asked ($n: String!) { __type(name: $n) { name } }"
    for name in ("Effect", "Video"):
        said = await served.answer(ctx, asked, variables={"n": name})
        assert isinstance(said, ExecutionResult)
        assert said.data == {"__type": {"name": name}}
    assert len(on_thread) == 3


async def test_who_is_refused_a_place_on_the_thread_gets_back_what_the_operation_would_have_cost(
    stage, executor, monkeypatch
):
    async def full(*_):
        raise errors.RateLimited("no place", 1)

    served, ctx = plans.Plans(executor), stage.of(None)
    text = "query Refused { __schema { types { name } } }"
    document = await served.document(ctx, text)
    await served.ready(ctx, document, variables=None, operation_name=None)
    monkeypatch.setattr(executor.documents, "work", full)
    paid_back = _paid_back()
    with pytest.raises(errors.RateLimited):
        await served.answer(ctx, document)
    assert _paid_back() - paid_back == 999


def _paid_back() -> float:
    return observe.COST.labels("paid_back").value
