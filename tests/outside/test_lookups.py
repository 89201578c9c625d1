"""Names that nobody answers for keep waiting who gave them, and nobody else. No name server is asked."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time

import pytest
import uvloop

from outside import egress, lookups
from outside.egress import EgressBusy, EgressFailed
from tests.house import tree
from tests.outside.test_egress import Names, silence

SECONDS = 0.3
# More than any loop has threads.
MANY = 200


@pytest.fixture
def silent(monkeypatch):
    """The system's own resolver is silent for names with "silent" in them, beside good ones."""
    monkeypatch.setattr(lookups, "LOOKUP_SECONDS_MAX", SECONDS)
    with silence() as resolver:

        def asked(host, port, *_, **__):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in resolver(host, port)]

        monkeypatch.setattr(socket, "getaddrinfo", asked)
        yield
    while held():
        time.sleep(0.01)


async def _found(client, of):
    """A name that is answered for is found, however slowly this machine runs."""
    with pytest.MonkeyPatch.context() as patient:
        patient.setattr(lookups, "LOOKUP_SECONDS_MAX", 60)
        await client.check("https://good.example/", of=of)


async def _ended(client, of, count=MANY, name="silent"):
    """How so many look-ups of silent names ended."""
    checks = (client.check(f"https://{name}{number}.example/", of=of) for number in range(count))
    return [type(error) for error in await asyncio.gather(*checks, return_exceptions=True)]


def held():
    return sum(thread.name == "looking-up" for thread in threading.enumerate())


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_silent_names_of_one_keep_nobody_else_waiting(run):
    async def look():
        async with egress.client() as client:
            silent = asyncio.create_task(_ended(client, "alice1"))
            await asyncio.sleep(0.05)
            assert held() == lookups.AT_ONCE_EACH_MAX
            await _found(client, "bob1")
            # The operator's own.
            await _found(client, None)
            # What everything else waits for.
            async with asyncio.timeout(30):
                assert await asyncio.to_thread(lambda: 7) == 7
                assert await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)
            ended = await silent
            assert ended.count(EgressFailed) == lookups.AT_ONCE_EACH_MAX
            assert ended.count(EgressBusy) == MANY - lookups.AT_ONCE_EACH_MAX
            # Nobody waits for them any more, and still they hold their places.
            with pytest.raises(EgressBusy, match=r"good\.example could not be looked up yet"):
                await client.check("https://good.example/", of="alice1")
            await _found(client, "bob1")

    run(look())


@pytest.mark.usefixtures("silent")
async def test_a_silent_name_asked_for_again_and_again_takes_one_place():
    async with egress.client() as client:
        for _ in range(3):
            checks = (client.check("https://silent.example/", of="alice1") for _ in range(5))
            ended = await asyncio.gather(*checks, return_exceptions=True)
            assert [type(error) for error in ended] == [EgressFailed] * 5
            assert held() == 1
            await _found(client, "alice1")


@pytest.mark.usefixtures("silent")
async def test_all_together_hold_so_many_threads_and_no_more():
    async with egress.client() as client:
        many = (_ended(client, f"tenant{number}", 3) for number in range(lookups.AT_ONCE_MAX))
        ended = [each for one in await asyncio.gather(*many) for each in one]
        assert ended.count(EgressFailed) == lookups.AT_ONCE_MAX == held()
        assert set(ended) == {EgressFailed, EgressBusy}


async def test_more_names_than_places_are_all_found_where_servers_answer():
    """One after the other."""
    begun = []

    def slowly(host, _port):
        begun.append(held())
        time.sleep(0.01)
        return ["93.184.215.14"]

    async with egress.client(resolver=slowly) as client:
        assert await _ended(client, "alice1", 20) == [type(None)] * 20
    assert len(begun) == 20
    assert max(begun) <= lookups.AT_ONCE_EACH_MAX + 1, "one may be about to end"


async def test_a_place_is_free_again_when_the_resolver_has_returned():
    names = Names(["93.184.215.14"])
    finder = lookups.Lookups(names)
    for _ in range(5):
        assert await finder.find("good.example", 443, of="alice1") == ["93.184.215.14"]
    assert (names.looked_up, finder._under_way) == (5, {})


def test_a_process_does_not_wait_for_silent_names_when_it_ends():
    program = """
import asyncio, time
from outside import lookups
lookups.LOOKUP_SECONDS_MAX = 0.1
async def look():
    try:
        await lookups.Lookups(lambda host, port: time.sleep(600)).find("silent.example", 443, of="alice1")
    except TimeoutError:
        print("ended")
asyncio.run(look())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tree.ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("ended\n", "")
