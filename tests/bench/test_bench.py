"""The bench's own promises: rows that hang together, a load that counts rightly, peers that are told apart."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os

import pytest

from bench import agree, goals, load, measure, processor, rows, workloads
from bench.load import Order
from bench.measure import Figures, Round
from bench.rows import Sizes
from bench.studios import Studio
from db.tables.pool.wallet import TokenTransaction, TokenWallet

SMALL = Sizes(tenants=6, effects=30, categories=3, published=12, unfinished=2)
GOOD = b'{"data":{"__typename":"Query"}}'


def studios() -> list[Studio]:
    """All tenants' rows of a small draw."""
    shelf = {table.__tablename__: found for table, found in rows.shelf(SMALL)}
    effects = [effect["id"] for effect in shelf["effects"]]
    return [Studio(owner, SMALL, number=n, effects=effects) for n, owner in enumerate(rows.owners(SMALL), 1)]


@contextlib.asynccontextmanager
async def answering(*bodies: bytes):
    """A server on loopback that gives these bodies in turn, over and over; yields its port and what it was asked."""
    asked, turn = [], itertools.cycle(bodies)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                asked.append(await reader.readuntil(b"!"))
                body = next(turn)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
                await writer.drain()
                # In two pieces, as a large answer comes.
                writer.write(body)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:
        server.close()


def test_the_same_seed_draws_the_same_rows_and_no_id_twice() -> None:
    first, second = studios(), studios()
    assert [studio.videos for studio in first] == [studio.videos for studio in second]
    exhibits = [exhibit["id"] for studio in first for exhibit in studio.exhibits]
    assert len(set(exhibits)) == len(exhibits) == SMALL.tenants * SMALL.published
    for studio in first:
        ids = [row["id"] for table, found in studio.pool() if table.__tablename__ != "fences" for row in found]
        assert len(set(ids)) == len(ids)


def test_a_drawn_wallet_is_the_sum_of_its_ledger() -> None:
    for studio in studios():
        parts = dict(studio.pool())
        [purse], entries = parts[TokenWallet], parts[TokenTransaction]
        assert purse["balance"] == sum(entry["amount"] for entry in entries) == entries[-1]["balance_after"]
        assert purse["reserved"] == sum(entry["reserved_change"] for entry in entries) == 0
        assert [entry["sequence"] for entry in entries] == list(range(1, purse["sequence"] + 1))


def test_tenants_of_both_pools_are_asked_each_with_a_token_of_its_own() -> None:
    owners = workloads.asked_owners(Sizes())
    assert len({owner.token for owner in owners}) == workloads.TENANTS_ASKED
    assert len({owner.pool for owner in owners}) == 2


async def test_every_request_of_a_counted_load_is_sent_once_and_answered() -> None:
    requests = [b"%d!" % number for number in range(50)]
    async with answering(GOOD) as (port, asked):
        outcome = await load.run(Order(port, requests, 20, connections=4, count=50))
    assert sorted(asked) == sorted(requests)
    assert (outcome.count, outcome.failed) == (50, 0)


async def test_an_answer_with_errors_is_no_answer() -> None:
    async with answering(GOOD, b'{"errors":[{"message":"no"}]}') as (port, _):
        outcome = await load.run(Order(port, [b"a!"], 20, connections=1, count=10))
    assert (outcome.count, outcome.failed) == (5, 5)
    assert "no" in outcome.failure


async def test_a_load_at_a_rate_sends_what_is_due_and_no_more() -> None:
    async with answering(GOOD) as (port, asked):
        outcome = await load.run(Order(port, [b"a!"], 0.5, connections=2, rate=100))
    assert outcome.failed == 0
    assert len(asked) + outcome.late <= 51


def test_an_order_travels_whole_and_within_its_bounds() -> None:
    order = Order(1, [b"\x00\xff", b"b"], 2.0, rate=5.0)
    assert Order.loaded(order.dumped()) == order
    with pytest.raises(ValueError, match="at most"):
        Order.loaded(Order(1, [b"a"], load.SECONDS_MAX + 1).dumped())


@pytest.mark.parametrize(
    ("one", "other", "where"),
    [
        ({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}, None),
        ({"a": 1}, {"a": 1.0}, None),
        ({"endCursor": "x"}, {"endCursor": "y"}, None),
        ({"endCursor": "x"}, {"endCursor": None}, "data.endCursor"),
        ({"a": [1, 2]}, {"a": [2, 1]}, "data.a[0]"),
        ({"a": True}, {"a": 1}, "data.a"),
        ({"a": 1}, {"b": 1}, "data"),
        ([1], [1, 2], "data"),
    ],
)
def test_answers_are_equal_but_for_the_text_of_cursors(one, other, where) -> None:
    found = agree._difference(one, other, "data")
    assert (found and found.partition(":")[0]) == where


def test_a_ratio_is_the_median_of_the_rounds_and_not_of_their_sums() -> None:
    def rounds(*rates: float) -> list[Round]:
        return [Round(rate, 1, 1, 1, None) for rate in rates]

    ours = Figures("atrium", "W1", rounds=rounds(10, 100, 30))
    theirs = Figures("other", "W1", rounds=rounds(5, 10, 10))
    assert measure.ratio(ours, theirs, "a_second") == 3
    assert measure.ratio(ours, theirs, "database_us") is None


@pytest.mark.skipif(not processor.PROC.is_dir(), reason="there is no /proc here")
def test_a_process_is_found_with_its_time_and_memory() -> None:
    mine = processor.family(os.getpid())
    assert mine[0] == os.getpid()
    assert processor.used_seconds(mine) > 0
    assert processor.resident_bytes(mine) > 1024 * 1024
    assert processor.used_seconds([2**22 + 1]) == 0


def test_the_goals_stand_beside_what_was_reached():
    figures = []
    for name, a_second in (("atrium", 700.0), ("Mercurius", 100.0), ("by hand", 1_000.0)):
        made = Figures(name, "W1")
        made.rounds.append(Round(a_second, 1.0, 1.0, server_us=1e6 / a_second, database_us=None))
        figures.append(made)
    [cells] = zip(*(column.cells for column in goals.table(figures).columns), strict=True)
    assert cells == ("W1", "[green]7.00[/] (7.00) of 7", "–", "–", "[red]0.70[/] (0.70) of 0.85")
    assert set(goals.GOALS) == {each.name for each in workloads.ALL}
