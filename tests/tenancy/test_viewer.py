"""Who stands behind an access token: asked once for many, and never kept from before it was ended."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

import worker
from base import errors
from base.bus import Notice
from db.tables.central.identity import AccessToken
from execution import live
from tenancy import budgets, viewer
from tenancy.handlers import Loop
from tests import serving
from tests import world as worlds

pytestmark = pytest.mark.anyio


@pytest.fixture
def reads(monkeypatch):
    """Every look-up waits at the gate with its answer."""
    real, gate = viewer._read, asyncio.Event()
    asked: asyncio.Queue[str] = asyncio.Queue()

    async def slow(db, users):
        found = await real(db, users)
        for text in users:
            asked.put_nowait(text)
        await gate.wait()
        return found

    monkeypatch.setattr(viewer, "_read", slow)
    return gate, asked


async def test_an_answer_from_before_a_token_was_ended_is_not_kept(world, reads):
    alice = await world.tenant("alice")
    viewers = world.house.viewers
    gate, asked = reads
    before = asyncio.create_task(viewers.of_token(alice.token))
    await asked.get()
    world.house.bus.hear(Notice(viewer.TOPIC, str(alice.token_id)))
    # Whoever asks from now on is not given what was on its way.
    after = asyncio.create_task(viewers.of_token(alice.token))
    gate.set()
    await before
    await after
    assert asked.get_nowait() == alice.token
    # What was read after it is kept.
    await viewers.of_token(alice.token)
    assert asked.empty()


async def test_many_who_ask_for_one_token_at_once_wait_for_one_answer(world, reads):
    alice = await world.tenant("alice")
    gate, asked = reads
    asking = [asyncio.create_task(world.house.viewers.of_token(alice.token)) for _ in range(20)]
    await asked.get()
    gate.set()
    found = await asyncio.gather(*asking)
    assert {each.user_id for each in found} == {alice.user_id}
    assert asked.empty()


async def test_tokens_that_are_asked_for_at_once_are_read_by_one_transaction(world, monkeypatch):
    people = [await world.tenant(f"person{number}") for number in range(7)]
    viewers, real, taken = world.house.viewers, viewer._read, []

    async def counting(db, users):
        taken.append(len(users))
        return await real(db, users)

    monkeypatch.setattr(viewer, "_read", counting)
    found = await asyncio.gather(*(viewers.of_token(each.token) for each in people), viewers.of_token("1|made-up"))
    assert [each and each.user_id for each in found] == [*(each.user_id for each in people), None]
    assert taken == [8]


async def test_a_look_up_that_fails_is_told_to_all_who_wait_and_the_next_one_is_made(world, reads, monkeypatch):
    alice, bob = await world.tenant("alice"), await world.tenant("bob")
    viewers, gated = world.house.viewers, viewer._read
    gate, asked = reads

    async def failing(db, users):
        await gated(db, users)
        raise errors.CentralUnavailable("Central does not answer.")

    monkeypatch.setattr(viewer, "_read", failing)
    first = asyncio.create_task(viewers.of_token(alice.token))
    await asked.get()
    world.house.bus.hear(Notice(viewer.TOPIC, str(alice.token_id)))
    # One waits for what is read, one asks anew, and one is another; who hangs up takes nobody along.
    waiting = [asyncio.create_task(viewers.of_token(each.token)) for each in (alice, bob)]
    gone = asyncio.create_task(viewers.of_token(bob.token))
    await asyncio.sleep(0)
    gone.cancel()
    world.house.bus.hear(Notice(viewer.TOPIC, str(bob.token_id)))
    late = asyncio.create_task(viewers.of_token(bob.token))
    await asyncio.sleep(0)
    monkeypatch.setattr(viewer, "_read", gated)
    gate.set()
    with pytest.raises(errors.CentralUnavailable):
        await first
    assert [each.user_id for each in await asyncio.gather(*waiting, late)] == [
        alice.user_id,
        bob.user_id,
        bob.user_id,
    ]
    assert not len(viewers._asked)


async def test_a_token_in_use_is_read_anew_before_it_is_old_and_no_request_waits(world, reads, monkeypatch):
    monkeypatch.setattr(viewer, "KEPT_SECONDS", 3600.0)
    monkeypatch.setattr(viewer, "REFRESH_SECONDS", 0.0)
    alice, bob = await world.tenant("alice"), await world.tenant("bob")
    viewers = world.house.viewers
    gate, asked = reads
    gate.set()
    before = {person.token: await viewers.of_token(person.token) for person in (alice, bob)}
    assert {asked.get_nowait(), asked.get_nowait()} == before.keys()
    gate.clear()
    # Whoever asks now is answered with what is known, and what is read meanwhile waits at the gate.
    for person in (alice, bob, alice):
        assert (await viewers.of_token(person.token)) is before[person.token]
    first = await asked.get()
    gate.set()
    assert {first, await asked.get()} == before.keys()
    await viewers.close()
    assert asked.empty()
    after = viewers.known(alice.token)
    assert after is not None
    assert after.viewer == before[alice.token]
    assert after.viewer is not before[alice.token]
    await viewers.close()


async def test_tokens_that_are_read_anew_together_are_one_statement(world, monkeypatch):
    monkeypatch.setattr(viewer, "KEPT_SECONDS", 3600.0)
    monkeypatch.setattr(viewer, "REFRESH_SECONDS", 0.0)
    people = [await world.tenant(f"person{number}") for number in range(7)]
    viewers, central = world.house.viewers, world.house.sessions.databases.central.engine.sync_engine
    before = [await viewers.of_token(each.token) for each in people]
    assert [each.user_id for each in before] == [each.user_id for each in people]
    sent = []

    def see(_connection, _cursor, sql, *_rest):
        if "personal_access_tokens" in sql:
            sent.append(sql)

    sa.event.listen(central, "before_cursor_execute", see)
    for each in people:
        viewers.known(each.token)
    async with asyncio.timeout(60):
        while not sent:
            await asyncio.sleep(0.01)
    await viewers.close()
    assert len(sent) == 1
    after = [viewers.known(each.token).viewer for each in people]
    assert after == before
    assert not any(new is old for new, old in zip(after, before, strict=True))
    sa.event.remove(central, "before_cursor_execute", see)


async def test_what_was_read_anew_before_a_token_was_ended_is_not_kept(world, reads, monkeypatch):
    monkeypatch.setattr(viewer, "KEPT_SECONDS", 3600.0)
    monkeypatch.setattr(viewer, "REFRESH_SECONDS", 0.0)
    alice = await world.tenant("alice")
    viewers = world.house.viewers
    gate, asked = reads
    gate.set()
    assert await viewers.of_token(alice.token)
    assert viewers.known(alice.token)
    await asked.get()
    gate.clear()
    await asked.get()
    world.house.bus.hear(Notice(viewer.TOPIC, str(alice.token_id)))
    gate.set()
    await viewers.close()
    assert viewers.known(alice.token) is None


async def test_a_token_that_ended_meanwhile_is_unknown_after_it_was_read_anew(world, monkeypatch):
    monkeypatch.setattr(viewer, "KEPT_SECONDS", 3600.0)
    monkeypatch.setattr(viewer, "REFRESH_SECONDS", 0.0)
    alice = await world.tenant("alice")
    viewers = world.house.viewers
    assert await viewers.of_token(alice.token)

    async def ends(db):
        await db.change(sa.delete(AccessToken).where(AccessToken.user_id == alice.user_id))

    # No notice is told of it: only the reading can find it out.
    await world.central().on_system(ends)
    async with asyncio.timeout(20):
        while await viewers.of_token(alice.token):
            await asyncio.sleep(0.01)


async def test_made_up_tokens_push_out_no_more_than_each_other(world, monkeypatch):
    monkeypatch.setattr(viewer, "KEPT_SECONDS", 3600.0)
    monkeypatch.setattr(viewer, "UNKNOWN_MAX", 5)
    monkeypatch.setattr(viewer, "ENTRIES_MAX", 5)
    alice, viewers = await world.tenant("alice"), world.house.viewers
    await viewers.of_token(alice.token)
    for at in range(20):
        assert await viewers.of_token(f"{at:x}|made-up") is None
    assert viewers.known(alice.token) is not None
    assert [at for at in range(20) if viewers.known(f"{at:x}|made-up") is not None] == [15, 16, 17, 18, 19]
    world.house.bus.hear(Notice(viewer.TOPIC, "another"))
    assert viewers.known("13|made-up") is None


async def test_a_made_up_token_is_paid_for_before_it_is_looked_up(anyio_backend, templates, tmp_path, monkeypatch):
    looked_up, real = [], viewer._read

    async def seen(db, users):
        looked_up.extend(users)
        return await real(db, users)

    monkeypatch.setattr(viewer, "_read", seen)
    monkeypatch.setattr(budgets.Buckets, "refill", lambda *_: None)  # no second passes
    made = await templates.fresh("sqlite", tmp_path)
    small = {"ATRIUM_BUDGET_ADDRESS": "10+1"}
    async with worlds.opened("sqlite", made, tmp_path, **small) as world, serving.serving(world) as client:
        alice = await world.tenant("alice")
        monkeypatch.setattr(viewer, "KEPT_SECONDS", 3600.0)
        # A real one is given back what its look-up cost, and pays from a budget of its own.
        for _ in range(3):
            assert (await client.graphql("{ __typename }", host=alice.host, token=alice.token)).codes == []
        assert looked_up.pop() == alice.token
        told = [(await client.graphql("{ __typename }", token=f"{at:x}|made-up")).codes for at in range(20)]
        # Each is paid for twice: the look-up and the operation.
        assert told == [[]] * 5 + [["RATE_LIMITED"]] * 15
        assert looked_up == [f"{at:x}|made-up" for at in range(5)]
        assert (await client.graphql("{ __typename }", host=alice.host, token=alice.token)).codes == []


async def test_it_is_paid_for_on_a_socket_too(anyio_backend, templates, tmp_path, monkeypatch):
    monkeypatch.setattr(budgets.Buckets, "refill", lambda *_: None)  # no second passes
    monkeypatch.setattr(viewer, "KEPT_SECONDS", 3600.0)
    made = await templates.fresh("sqlite", tmp_path)
    small = {"ATRIUM_BUDGET_ADDRESS": "5+1"}
    async with worlds.opened("sqlite", made, tmp_path, **small) as world, serving.serving(world) as client:
        alice = await world.tenant("alice")
        # A real one is given back what its look-up cost, and a known one is not looked up.
        for _ in range(7):
            async with client.socket(host=alice.host, token=alice.token):
                pass
        codes = []
        for at in range(7):
            async with client.socket(init=False) as socket:
                await socket.send({"type": "connection_init", "payload": {"authorization": f"Bearer {at:x}|made-up"}})
                codes.append((await socket.closed())[0])
        assert codes == [live.FORBIDDEN] * 5 + [live.TOO_MANY] * 2
        async with client.socket(host=alice.host, token=alice.token):
            pass


async def last_used(world, person):
    """When somebody's first token was last used."""

    async def look(db):
        return await db.first(sa.select(AccessToken.last_used_at).where(AccessToken.user_id == person.user_id))

    return await world.central().on_system(look)


async def test_a_process_that_serves_without_a_worker_writes_which_tokens_were_used(world, monkeypatch):
    alice = await world.tenant("alice")
    monkeypatch.setattr(worker, "TOKENS_USED", Loop("tokens_used", 0.1, worker.write_used))
    async with serving.serving(world) as client:
        assert await last_used(world, alice) is None
        answer = await client.graphql("{ viewer { name } }", host=alice.host, token=alice.token)
        assert answer.data
        async with asyncio.timeout(20):
            while await last_used(world, alice) is None:
                await asyncio.sleep(0.05)


async def test_what_could_not_be_written_is_written_the_next_time(world, monkeypatch):
    alice, bob = await world.tenant("alice"), await world.tenant("bob")
    viewers, real = world.house.viewers, viewer._write_used

    async def fails(_db, _used):
        raise RuntimeError("no database")

    await viewers.of_token(alice.token)
    monkeypatch.setattr(viewer, "_write_used", fails)
    with pytest.raises(RuntimeError, match="no database"):
        await viewers.write_used()
    monkeypatch.setattr(viewer, "_write_used", real)
    await viewers.of_token(bob.token)
    await viewers.write_used()
    assert None not in [await last_used(world, alice), await last_used(world, bob)]
