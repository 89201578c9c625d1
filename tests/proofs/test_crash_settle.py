"""Killed anywhere between an event's arrival and its tokens in the wallet: a restart credits once, and says so."""

from __future__ import annotations

import asyncio
import json

import pytest

from actions.billing.inbox import Inbox
from db.tables.central.billing import PurchaseStatus
from tests.actions import till
from tests.proofs import killing, restart
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio

killing.load(__name__)

PAID = ("checkout.session.completed", "payment_intent.succeeded")


async def taking(house, path):
    """The provider's events come in, and are followed to their end."""
    with open(path, encoding="utf-8") as file:  # noqa: PTH123, ASYNC230  (a file of a few lines)
        told = json.load(file)
    for event in told:
        await Inbox.of(house).take(till.incoming(event))
        # One after the other, so that a step is the same in every telling.
        while house.tasks:
            await asyncio.gather(*house.tasks)


async def _stage(shop, alice, purchase_id) -> str:
    """How far the killed process got with a purchase, as the databases say."""
    events = await till.event_states(shop.house)
    made = await till.purchase(shop, alice, purchase_id)
    mine = [each for each in await till.settlements(shop.house) if each.purchase_id == purchase_id]
    has_key = f"purchase-credit:{purchase_id:x}" in await till.keys(shop, alice)
    if made.tokens_credited:
        return "settled"
    if has_key:
        return "credited"
    if mine:
        return "owed"
    return "stored" if "STORED" in events else "nothing"


@pytest.mark.slow
@on_every_engine
async def test_a_purchase_killed_at_any_step_is_credited_once_after_a_restart(shop, provider, tmp_path):
    alice = await shop.tenant("alice")
    path, number, stages = tmp_path / "told.json", 0, set()

    async def another():
        nonlocal number
        number += 1
        purchase_id, session = await till.bought(shop, alice, slug=f"p{number}")
        before = provider.events()
        provider.pay(session)
        told = [each for each in provider.events() if each not in before and each["type"] in PAID]
        path.write_text(json.dumps(told))
        return purchase_id, told

    purchase_id, told = await another()
    async for step in killing.each_kill(shop.settings, taking, str(path), works_between=False):
        stage = await _stage(shop, alice, purchase_id)
        stages.add(stage)
        # What was stored the worker finds by itself; what was not, nobody has acknowledged, and it is sent again.
        await till.catch_up(shop.house)
        if stage not in ("nothing", "stored"):
            assert (await till.purchase(shop, alice, purchase_id)).tokens_credited
        await till.tell(shop.house, told)
        made = await till.purchase(shop, alice, purchase_id)
        assert (made.status, made.tokens_credited) == (PurchaseStatus.PAID, True), step
        assert await till.funds(shop, alice) == (100 * number, 0), step
        assert {each.state.name for each in await till.settlements(shop.house)} == {"SETTLED"}
        if step:
            purchase_id, told = await another()
    assert stages == {"nothing", "stored", "owed", "credited", "settled"}
    assert len(await till.keys(shop, alice)) == number
    assert await restart.complaints(shop.house) == []
