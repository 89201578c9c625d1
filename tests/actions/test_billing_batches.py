"""Many events at once: as many statements as for one, each wallet posted to in one go, nothing written for nobody."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from actions import wallet, webhooks_out
from actions.billing import events, inbox, processing, settlement
from actions.wallet import Cause, Credit
from base import observe
from db import alike
from db.tables.central.billing import (
    ParkReason,
    PaymentEvent,
    PaymentEventState,
    PurchaseStatus,
    Settlement,
    SettlementKind,
    SettlementState,
)
from db.tables.central.webhooks_out import WebhookStatus
from db.tables.pool.upkeep import Outbox
from db.tables.pool.wallet import TokenTransaction, TokenTransactionKind, TokenWallet
from db.tables.pool.webhooks_out import WebhookDelivery
from outside import egress
from outside.egress import Egress
from tests.actions import shop as goods
from tests.actions import till
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio

REWARD = TokenTransactionKind.REWARD


async def paid(shop, provider, *people) -> tuple[list, list]:
    """A purchase of each, paid at the provider: the purchases, and all that the provider tells of them."""
    before, bought = provider.events(), []
    for number, person in enumerate(people):
        purchase_id, session = await till.bought(shop, person, slug=f"p{number}-{len(before)}")
        provider.pay(session)
        bought.append((person, purchase_id))
    return bought, [each for each in provider.events() if each not in before]


def sent(database: str) -> float:
    """Statements sent to a database so far."""
    (metric,) = observe.STATEMENTS.collect()
    return sum(
        each.value for each in metric.samples if each.name.endswith("_total") and database in each.labels.values()
    )


def outbox_writes(house) -> list[str]:
    """What is written into any outbox from now on."""
    written: list[str] = []

    def see(_connection, _cursor, sql, _parameters, _context, _many):
        if sql.startswith("INSERT INTO outbox"):
            written.append(sql)

    for pool in house.sessions.databases.pools.values():
        sa.event.listen(pool.engine.sync_engine, "before_cursor_execute", see)
    return written


async def _outbox(db, /):
    return await db.first(sa.select(sa.func.count(Outbox.id)))


async def _told(db, /):
    return sorted(await db.all(sa.select(WebhookDelivery.event_type)))


async def _nobody_listened(db, /):
    await db.change(sa.update(TokenWallet).values(is_heard=None))


async def _ledger(db, /):
    entry = TokenTransaction
    return [tuple(row) for row in await db.tuples(sa.select(entry.kind, entry.amount).order_by(entry.sequence))]


@on_every_engine
async def test_a_batch_over_several_tenants_pays_each_and_costs_central_as_much_as_one_event(shop, provider):
    people = [await shop.tenant(name) for name in ("alice", "bob", "carol")]
    bought, told = await paid(shop, provider, people[0])
    await events.handle(shop.house, await till.stored(shop.house, told))
    bought, told = await paid(shop, provider, people[0])
    ids = await till.stored(shop.house, told)
    before = sent("central")
    await events.process(shop.house, ids)
    alone = sent("central") - before
    await settlement.settle(shop.house, [people[0].tenant_id])
    bought, told = await paid(shop, provider, *people, *people)
    ids = await till.stored(shop.house, told)
    before = sent("central")
    assert await events.process(shop.house, ids) == {each.tenant_id for each in people}
    # What the process does by the clock is counted too: six purchases one by one would be far above it.
    assert sent("central") - before < alone * 2
    await settlement.settle(shop.house, [each.tenant_id for each in people])
    for person, purchase_id in bought:
        made = await till.purchase(shop, person, purchase_id)
        assert (made.status, made.tokens_credited) == (PurchaseStatus.PAID, True)
    assert [await till.funds(shop, each) for each in people] == [(400, 0), (200, 0), (200, 0)]
    earners = {each.id for person in people for each in await goods.payments(shop, person)}
    named = [each.earned_by for person in people for each in await goods.purchases(shop, person)]
    assert set(named) == earners
    assert len(named) == len(earners) == 8


@on_every_engine
async def test_settlers_at_once_post_once_and_each_returns_when_it_is_done(shop, provider):
    alice, bob = await shop.tenant("alice"), await shop.tenant("bob")
    _, told = await paid(shop, provider, alice, bob, alice)
    await events.process(shop.house, await till.stored(shop.house, told))

    async def settled(tenants) -> tuple[int, list]:
        done = await settlement.settle(shop.house, tenants)
        return done, [each.state.name for each in await till.settlements(shop.house) if each.tenant_id in tenants]

    both = [alice.tenant_id, bob.tenant_id]
    answers = await asyncio.gather(*(settled(tenants) for tenants in (both, both[:1], both[1:], both)))
    assert sum(done for done, _ in answers) == 3
    assert all(set(states) == {"SETTLED"} for _, states in answers)
    assert await till.funds(shop, alice) == (200, 0)
    assert await till.funds(shop, bob) == (100, 0)


@on_every_engine
async def test_while_events_come_few_wallets_are_posted_to_at_once(shop, provider, monkeypatch):
    people = [await shop.tenant(name) for name in ("alice", "bob", "carol", "dave")]
    _, told = await paid(shop, provider, *people)
    apply, now, most = settlement._apply, 0, 0

    async def counted(db, due, /):
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.2)  # long enough for all of them to meet here
        await apply(db, due)
        now -= 1

    monkeypatch.setattr(settlement, "_apply", counted)
    mine = inbox.Inbox.of(shop.house)
    assert all(await asyncio.gather(*(mine.take(till.incoming(event)) for event in told)))
    while shop.house.tasks:
        await asyncio.wait(set(shop.house.tasks))
    assert 1 <= most <= inbox.WALLETS_AT_ONCE_MAX
    await till.catch_up(shop.house)
    assert [await till.funds(shop, each) for each in people] == [(100, 0)] * 4


@on_every_engine
async def test_an_acknowledgement_waits_for_one_statement_and_no_transaction(shop, provider):
    _, told = await paid(shop, provider, await shop.tenant("alice"))
    # Another mode's: nothing is done about them that would be counted too.
    comes = [till.incoming(event, is_foreign=True) for event in told]
    mine = inbox.Inbox.of(shop.house)
    commits: list[object] = []
    assert await mine.take(comes[0])
    sa.event.listen(shop.house.sessions.databases.central.engine.sync_engine, "commit", commits.append)
    before = sent("central")
    assert all(await asyncio.gather(*map(mine.take, comes[1:])))
    assert (sent("central") - before, commits) == (1, [])


@on_every_engine
async def test_of_events_that_come_together_the_known_one_is_told_apart_and_the_others_are_stored(shop, provider):
    people = [await shop.tenant(name) for name in ("alice", "bob")]
    _, told = await paid(shop, provider, *people)
    comes = [till.incoming(event) for event in told]
    await till.stored(shop.house, told[:1])
    mine = inbox.Inbox.of(shop.house)
    # Each twice at once: one of two is who stored it.
    answers = await asyncio.gather(*(mine.take(each) for each in (*comes, *comes)))
    assert sum(answers) == len(comes) - 1
    assert not any(answers[:: len(comes)])
    assert not any(await asyncio.gather(*(mine.take(each) for each in comes)))
    while shop.house.tasks:
        await asyncio.wait(set(shop.house.tasks))
    await till.catch_up(shop.house)
    assert [await till.funds(shop, each) for each in people] == [(100, 0)] * 2


@on_every_engine
async def test_who_hears_nothing_of_a_store_that_was_done_asks_and_is_told_that_it_is_stored(
    shop, provider, monkeypatch
):
    _, told = await paid(shop, provider, await shop.tenant("alice"))
    comes = [till.incoming(event) for event in told]
    done = alike.insert_alone

    async def unheard(sessions, statement, rows, /):
        await done(sessions, statement, rows[:1])
        raise sa.exc.OperationalError("INSERT", {}, Exception(2013, "gone"), connection_invalidated=True)

    monkeypatch.setattr(alike, "insert_alone", unheard)
    ids = await events.store_new(shop.house, comes)
    assert len({*ids} - {None}) == len(comes)
    assert await events.store_new(shop.house, comes) == [None] * len(comes)


@on_every_engine
async def test_what_nobody_hears_is_not_written_and_whoever_listens_hears_of_the_next(shop, provider):
    shop.house.services[Egress] = egress.client(egress.parse_allow("127.0.0.0/8:*"))
    alice, bob = await shop.tenant("alice"), await shop.tenant("bob")
    ctx = await shop.of(alice)
    bells = [await shop.system(each.tenant_id) for each in (alice, bob)]
    written = outbox_writes(shop.house)
    _, told = await paid(shop, provider, alice, bob)
    await till.tell(shop.house, told)
    assert [await each.on_pool(_told) for each in bells] == [[], []]
    assert not written
    await webhooks_out.create_webhook(ctx, "http://127.0.0.1:9/hook", ("wallet.credited", "purchase.paid"))
    _, told = await paid(shop, provider, alice, bob)
    await till.tell(shop.house, told)
    assert [await each.on_pool(_told) for each in bells] == [["purchase.paid", "wallet.credited"], []]
    assert written
    assert [await each.on_pool(_outbox) for each in bells] == [0, 0]


@pytest.mark.parametrize("how", ["registered", "made active", "given the events"])
@on_every_engine
async def test_an_endpoint_that_comes_after_settlement_has_looked_for_one_hears_of_the_credit(
    shop, provider, monkeypatch, how
):
    shop.house.services[Egress] = egress.client(egress.parse_allow("127.0.0.0/8:*"))
    alice = await shop.tenant("alice")
    ctx, bell = await shop.of(alice), await shop.system(alice.tenant_id)
    wanted = ("http://127.0.0.1:9/hook", ("wallet.credited", "purchase.paid"))
    if how != "registered":
        hears = wanted[1] if how == "made active" else ("video.ready",)
        hook = (await webhooks_out.create_webhook(ctx, wanted[0], hears)).webhook_id
        if how == "made active":
            await webhooks_out.update_webhook(ctx, hook, status=WebhookStatus.PAUSED)
        await bell.on_pool(_nobody_listened)  # as it stands where the endpoint is older than the column
    _, told = await paid(shop, provider, alice)
    read_due = settlement._read_due

    async def looked(house, tenants):
        nonlocal how
        found = await read_due(house, tenants)
        doing, how = how, ""
        if doing == "registered":
            await webhooks_out.create_webhook(ctx, *wanted)
        elif doing == "made active":
            await webhooks_out.update_webhook(ctx, hook, status=WebhookStatus.ACTIVE)
        elif doing:
            await webhooks_out.update_webhook(ctx, hook, events=wanted[1])
        return found

    monkeypatch.setattr(settlement, "_read_due", looked)
    await events.handle(shop.house, await till.stored(shop.house, told))
    assert await till.funds(shop, alice) == (100, 0)
    assert not how
    assert await bell.on_pool(_told) == ["purchase.paid", "wallet.credited"]


@on_every_engine
async def test_several_credits_are_posted_in_order_the_debt_first_and_a_known_key_once(world):
    alice = await world.system((await world.tenant("alice")).tenant_id)
    assert await alice.on_pool(wallet.claw_back, 130, cause=Cause(key="back"))

    def gift(key, amount):
        return Credit(kind=REWARD, amount=amount, cause=Cause(key=key))

    assert await alice.on_pool(wallet.credit_all, [gift("a", 10), gift("b", 50), gift("a", 10)]) == {"a", "b"}
    assert await alice.on_pool(wallet.credit_all, [gift("b", 50), gift("c", 1)]) == {"c"}
    assert await alice.on_pool(wallet.credit_all, [gift("c", 1)]) == set()
    entries = [(kind.name, amount) for kind, amount in await alice.on_pool(_ledger)]
    assert entries[1:] == [
        ("REFUND", -100),
        *[("REWARD", 10), ("ADJUSTMENT", -10), ("REWARD", 50), ("ADJUSTMENT", -20)],
        ("REWARD", 1),
    ]
    assert await alice.on_pool(wallet.broken) is None


# ------------------------------------------------------------------------------------------- one of them fails


class Poison(Exception):
    """A fault of ours that one of a batch meets whenever it is taken up."""


async def _events(db, /):
    return {row.provider_event_id: row for row in await db.all(sa.select(PaymentEvent))}


@on_every_engine
async def test_a_batch_with_an_event_that_fails_processes_the_others(shop, provider, monkeypatch):
    alice, bob = await shop.tenant("alice"), await shop.tenant("bob")
    _, told = await paid(shop, provider, alice, bob)
    (charge, _) = [each for each in told if each["type"] == "charge.succeeded"]
    ids = await till.stored(shop.house, [*told, {**charge, "id": "evt_poison"}])
    add, batches = processing._Batch._add, []

    async def poisoned(batch, case):
        # The last of the batch: what the others changed in its transaction is undone with it.
        batches.append(case.row.provider_event_id)
        if case.row.provider_event_id == "evt_poison":
            raise Poison
        return await add(batch, case)

    monkeypatch.setattr(processing._Batch, "_add", poisoned)
    await events.handle(shop.house, ids)
    assert batches.count("evt_poison") == 2  # with all, and by itself
    assert [await till.funds(shop, each) for each in (alice, bob)] == [(100, 0)] * 2
    rows = await shop.house.system().on_system(_events)
    failed = rows.pop("evt_poison")
    assert (failed.state.name, failed.tries, failed.error) == ("FAILED", 1, "Poison()")
    assert {(row.state.name, row.tries) for row in rows.values()} <= {("PROCESSED", 1), ("IGNORED", 1)}
    monkeypatch.undo()
    await till.catch_up(shop.house)
    assert "FAILED" not in await till.event_states(shop.house)
    assert await till.funds(shop, alice) == (100, 0)


@on_every_engine
async def test_a_settlement_that_cannot_be_marked_keeps_no_other_from_being_settled(shop, provider, monkeypatch):
    people = [await shop.tenant(name) for name in ("alice", "bob", "carol")]
    _, told = await paid(shop, provider, *people)
    await events.process(shop.house, await till.stored(shop.house, told))
    poison, settled = (
        min(await till.settlements(shop.house), key=lambda each: each.tenant_id),
        settlement._settled,
    )

    async def poisoned(db, posted, /):
        await settled(db, posted)
        if poison.id in {each.id for _, each in posted}:
            raise Poison

    monkeypatch.setattr(settlement, "_settled", poisoned)
    assert await settlement.settle(shop.house, [each.tenant_id for each in people]) == 2
    assert await settlement.settle_everything(shop.house) == 0  # and it ends
    rows = {each.id: each for each in await till.settlements(shop.house)}
    left = rows.pop(poison.id)
    assert (left.state.name, left.tries, left.error) == ("DUE", 2, "Poison()")
    assert {each.state.name for each in rows.values()} == {"SETTLED"}
    assert [await till.funds(shop, each) for each in people] == [(100, 0)] * 3
    monkeypatch.undo()
    assert await settlement.settle_everything(shop.house) == 1
    assert {each.state.name for each in await till.settlements(shop.house)} == {"SETTLED"}
    assert [await till.funds(shop, each) for each in people] == [(100, 0)] * 3


@on_every_engine
async def test_an_event_that_cannot_be_stored_keeps_no_other_from_being_acknowledged(shop, provider, monkeypatch):
    alice = await shop.tenant("alice")
    _, told = await paid(shop, provider, alice)
    poison, store = told[1]["id"], events.store_new

    async def poisoned(house, batch, /):
        if poison in {each.name for each in batch}:
            raise Poison
        return await store(house, batch)

    monkeypatch.setattr(events, "store_new", poisoned)
    mine = inbox.Inbox.of(shop.house)
    answers = await asyncio.gather(*(mine.take(till.incoming(each)) for each in told), return_exceptions=True)
    assert [isinstance(each, Poison) or each for each in answers] == [True] * len(told)
    assert [isinstance(each, Poison) for each in answers] == [each["id"] == poison for each in told]
    stored = await shop.house.system().on_system(_events)
    assert set(stored) == {each["id"] for each in told} - {poison}
    monkeypatch.undo()
    assert await mine.take(till.incoming(told[1]))
    while shop.house.tasks:
        await asyncio.wait(set(shop.house.tasks))
    await till.catch_up(shop.house)
    assert await till.funds(shop, alice) == (100, 0)


# ------------------------------------------------------------------------------------------- fifty at most

FIFTY = 50


def sizes(monkeypatch, module, name, size) -> list[int]:
    """How much each transaction of this function takes up, from now on."""
    real, seen = getattr(module, name), []

    async def counted(db, *given, **how):
        seen.append(size(*given))
        return await real(db, *given, **how)

    monkeypatch.setattr(module, name, counted)
    return seen


@on_every_engine
async def test_a_transaction_takes_up_fifty_events_at_most(shop, provider, monkeypatch):
    shape = {"object": "event", "type": "customer.created", "created": 1_767_225_600, "api_version": None}
    told = [shape | {"id": f"evt_{number}", "livemode": False, "data": {"object": {}}} for number in range(120)]
    stores = sizes(monkeypatch, events, "store_new", len)
    processes = sizes(monkeypatch, processing, "process", lambda ids, _: len(ids))
    mine = inbox.Inbox.of(shop.house)
    assert all(await asyncio.gather(*(mine.take(till.incoming(each)) for each in told)))
    while shop.house.tasks:
        await asyncio.wait(set(shop.house.tasks))
    for seen in (stores, processes):
        assert (sum(seen), max(seen)) == (120, FIFTY)
    del processes[:]
    await shop.house.system().on_system(_all_stored)
    assert await events.process_due(shop.house) == 120
    assert (sum(processes), max(processes)) == (120, FIFTY)


async def _all_stored(db, /):
    await db.change(sa.update(PaymentEvent).values(state=PaymentEventState.STORED, next_try_at=db.now))


@on_every_engine
async def test_a_transaction_takes_up_fifty_settlements_at_most(shop, provider, monkeypatch):
    alice = await shop.tenant("alice")
    _, told = await paid(shop, provider, alice)
    await events.process(shop.house, await till.stored(shop.house, told))
    (first,) = await till.settlements(shop.house)
    await shop.house.system().on_system(_more, first, 119)
    posts = sizes(monkeypatch, settlement, "_apply", lambda due: len(due.owed))
    marks = sizes(monkeypatch, settlement, "_settled", len)
    assert await settlement.settle_everything(shop.house) == 120
    for seen in (posts, marks):
        assert (sum(seen), max(seen)) == (120, FIFTY)
    assert await till.funds(shop, alice) == (219, 0)


async def _more(db, like, count, /):
    """So many more settlements of a payment, of a token each."""
    db.act_for(tenant=like.tenant_id)
    same = {name: getattr(like, name) for name in ("tenant_id", "user_id", "purchase_id", "payment_id", "next_try_at")}
    for number in range(count):
        own = {"id": db.new_id(), "ledger_key": f"more:{number}", "tokens": 1, "kind": SettlementKind.CLAW_BACK}
        db.add(Settlement(**same, **own, state=SettlementState.DUE, reason=ParkReason.NONE, tries=0))
