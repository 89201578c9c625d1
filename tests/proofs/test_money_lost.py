"""Events that are lost for good: what the provider's list no longer holds is asked of the objects themselves."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actions import billing
from actions.billing import desk
from actions.billing.desk import Person
from db.tables.central.billing import PurchaseKind
from tests import provider as providers
from tests import serving
from tests import world as worlds
from tests.actions import shop as goods
from tests.actions import till
from tests.proofs import money_rules
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio

BY = Person("sam@desk", "the books do not agree")


def reconcile(shop, provider):
    """`atrium payments reconcile` over a shop's databases: what it printed."""
    made = worlds.Migrated(shop.settings.central_url, dict(shop.settings.pools))
    environment = worlds.environment(shop.engine, made, shop.settings.var, **providers.environment(provider))
    done = serving.command("payments", "reconcile", "--since", "50d", environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return " ".join(done.stdout.split())


@pytest.mark.fault(26, 38)
@on_every_engine
async def test_a_bank_debit_whose_end_was_never_told_is_found_out_when_no_list_holds_its_events(shop, provider):
    alice = await shop.tenant("alice")
    good, paid = await till.bought(shop, alice)
    bad, bounced = await till.bought(shop, alice, slug="other")
    late, waiting = await till.bought(shop, alice, slug="third")
    await billing.start_plan(await shop.of(alice), await goods.tier(shop), idempotency_key=None, **goods.BACK)
    plan = (await goods.sessions(shop, alice))[-1].provider_session_id
    for session in (paid, bounced, waiting, plan):
        provider.pay(session, delayed=True)
    await till.tell(shop.house, provider.events())
    (begun,) = [each.id for each in await goods.purchases(shop, alice) if each.kind is PurchaseKind.PLAN]

    async def statuses():
        return [(await till.purchase(shop, alice, each)).status.name for each in (good, bad, late, begun)]

    assert await statuses() == ["PENDING"] * 4
    provider.clock(days=3)
    provider.settle(paid)
    for session in (bounced, plan):
        provider.bounce(session)
    provider.give_up(provider.get("checkout.session", plan)["subscription"])
    provider.clock(days=31)
    told = reconcile(shop, provider)
    assert "listed 0 events" in told
    assert "4 purchases waited for money: 1 still does." in told
    assert await statuses() == ["PAID", "FAILED", "PENDING", "FAILED"]
    assert await till.funds(shop, alice) == (100, 0)
    assert [each.status.name for each in await goods.plans(shop, alice)] == ["CANCELED"]
    ended = {each.purchase_id: each.status.name for each in await goods.payments(shop, alice)}
    assert (ended[good], ended[bad], ended[late]) == ("SUCCEEDED", "FAILED", "PENDING")
    # Asked again nothing more comes of it, and money that comes after all is still taken.
    long_ago = shop.house.sessions.clock.now() - timedelta(days=50)
    again = await desk.repair(shop.house.system(), long_ago, by=BY)
    assert (again.purchases, again.undecided) == (1, 1)
    known = provider.events()
    provider.settle(waiting)
    await till.tell(shop.house, [each for each in provider.events() if each not in known])
    assert await statuses() == ["PAID", "FAILED", "PAID", "FAILED"]
    assert await till.funds(shop, alice) == (200, 0)
    assert await money_rules.broken(shop, [alice]) == []
