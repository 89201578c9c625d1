"""Buying a package: what it costs is ours to say, a purchase has one page, and no answer is no reason to pay twice."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta

import pytest
import sqlalchemy as sa

from actions import billing, suspension
from actions.billing import desk, expiry, pricing, sessions, wishes
from base import errors, ids
from base.ids import Id
from db.columns import utc_now
from db.tables.central.billing import Purchase, PurchaseStatus, SessionStatus, SettlementState
from db.tables.central.catalog import Discount, discounted_cents
from db.tables.central.work import Timer
from outside.stripe_api import Payments
from tests import patience
from tests.actions import shop as goods
from tests.actions import studio, till
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)


# ------------------------------------------------------------------------------------------- the price


@pytest.mark.parametrize(
    ("price", "percent", "due"),
    [(1_000, 0, 1_000), (999, 50, 499), (999, 10, 899), (5, 10, 4), (1, 50, 0), (1_000, 100, 0), (333, 33, 223)],
)
def test_what_is_taken_off_is_rounded_half_up(price, percent, due):
    assert discounted_cents(price, percent) == due


def test_the_cheaper_of_two_discounts_counts_and_never_both():
    automatic, coded = Discount(id=Id(2), percent_off=20, code=None), Discount(id=Id(1), percent_off=30, code="A")
    assert pricing.best([automatic, coded]) is coded
    coded.percent_off = 20
    assert pricing.best([automatic, coded]) is automatic
    assert pricing.best([]) is None


@on_every_engine
async def test_price_and_tokens_stand_in_the_purchase_before_the_provider_is_asked(shop, provider):
    alice, small = await shop.tenant("alice"), await goods.package(shop, cents=999, tokens=120)
    other = await goods.package(shop, "other")
    automatic = await goods.discount(shop, 10)
    spring = await goods.discount(shop, 25, code="Spring")
    await goods.discount(shop, 90, only=other)
    await goods.discount(shop, 95, ends_at=utc_now() - DAY)
    await goods.discount(shop, 95, starts_at=utc_now() + DAY)
    await goods.discount(shop, 96, code="later", starts_at=utc_now() + DAY)
    first = await goods.buy(shop, alice, small)
    second = await goods.buy(shop, alice, small, code="  SPRING ")
    kept = {each.id: each for each in await goods.purchases(shop, alice)}
    assert [
        (each.amount_cents, each.price_cents, each.percent_off, each.discount_id, each.tokens, each.currency)
        for each in (kept[first.purchase_id], kept[second.purchase_id])
    ] == [(899, 999, 10, automatic, 120, "EUR"), (749, 999, 25, spring, 120, "EUR")]
    (page,) = [each for each in provider.all("checkout.session") if each["url"] == first.url]
    assert (page["amount_total"], page["currency"], page["mode"], page["status"]) == (899, "eur", "payment", "open")
    asked = kept[first.purchase_id].provider_params
    assert asked is not None
    assert page["metadata"] == asked["metadata"]
    assert page["metadata"]["tenant"] == alice.tenant_id
    for code in ("later", "nothing", "autumn"):
        with pytest.raises(errors.NotFound) as refused:
            await goods.buy(shop, alice, small, code=code)
        assert refused.value.field == ("input", "discountCode")
    assert len(await goods.purchases(shop, alice)) == 2


@on_every_engine
async def test_what_the_provider_could_add_or_take_off_is_switched_off(shop, provider):
    alice, small, pro = await shop.tenant("alice"), await goods.package(shop), await goods.tier(shop)
    await goods.buy(shop, alice, small)
    await billing.start_plan(await shop.of(alice), pro, idempotency_key=None, **goods.BACK)
    asked = [each.provider_params or {} for each in await goods.purchases(shop, alice)]
    assert [each["mode"] for each in asked] == ["payment", "subscription"]
    off = {"adaptive_pricing": {"enabled": False}, "automatic_tax": {"enabled": False}, "allow_promotion_codes": False}
    # Said, and not left to the account's own settings.
    assert [{name: each.get(name) for name in off} for each in asked] == [off, off]
    for page in provider.all("checkout.session"):
        switches = page["adaptive_pricing"]["enabled"], page["automatic_tax"]["enabled"], page["allow_promotion_codes"]
        assert switches == (False, False, False)


@on_every_engine
async def test_what_costs_nothing_is_paid_without_the_provider(shop, provider):
    alice, small = await shop.tenant("alice"), await goods.package(shop)
    await goods.discount(shop, 100, code="gift")
    done = await goods.buy(shop, alice, small, code="gift", key="one")
    again = await goods.buy(shop, alice, small, code="gift", key="one")
    assert (done.url, again) == (None, done)
    (purchase,) = await goods.purchases(shop, alice)
    (paid,) = await goods.payments(shop, alice)
    (due,) = await goods.settlements(shop, alice)
    assert (purchase.status, purchase.amount_cents, paid.provider_payment_id) == (
        PurchaseStatus.PAID,
        0,
        f"free:{purchase.id:x}",
    )
    assert (due.tokens, due.ledger_key) == (100, f"purchase-credit:{purchase.id:x}")
    assert due.state in (SettlementState.DUE, SettlementState.SETTLED)
    assert provider.all("checkout.session") == []


@on_every_engine
async def test_without_a_provider_nothing_is_kept_but_what_costs_nothing(world):
    alice, small = await world.tenant("alice"), await goods.package(world)
    with pytest.raises(errors.ProviderUnavailable):
        await goods.buy(world, alice, small)
    with pytest.raises(errors.NotFound):
        await goods.buy(world, alice, Id(7))
    assert await goods.purchases(world, alice) == []
    await goods.discount(world, 100)
    assert (await goods.buy(world, alice, small)).url is None


# ------------------------------------------------------------------------------------------- one wish, one page


@on_every_engine
async def test_one_key_is_one_purchase_and_one_page_however_often_and_at_once(shop, provider):
    alice, small = await shop.tenant("alice"), await goods.package(shop)
    done = await asyncio.gather(*(goods.buy(shop, alice, small, key="k") for _ in range(5)), return_exceptions=True)
    # One that comes while the provider works on the first may be told to try again.
    answered = [each for each in done if isinstance(each, billing.Checkout)]
    assert {type(each) for each in done} <= {billing.Checkout, errors.ProviderUnavailable}
    assert len({(each.purchase_id, each.url) for each in answered}) == 1
    assert await goods.buy(shop, alice, small, key="k") == answered[0]
    assert len(provider.all("checkout.session")) == len(await goods.purchases(shop, alice)) == 1


@on_every_engine
async def test_a_key_is_for_one_input_and_one_user(shop):
    alice, small = await shop.tenant("alice"), await goods.package(shop)
    large, pro = await goods.package(shop, "large"), await goods.tier(shop)
    first = await goods.buy(shop, alice, small, key="k")
    for other in (
        goods.buy(shop, alice, large, key="k"),
        goods.buy(shop, alice, small, key="k", code="x"),
        goods.buy(shop, alice, small, key="k", back={**goods.BACK, "cancel_url": goods.SUCCESS}),
        billing.start_plan(await shop.of(alice), pro, idempotency_key="k", **goods.BACK),
    ):
        with pytest.raises(errors.Conflict) as refused:
            await other
        assert refused.value.field == ("input", "idempotencyKey")
    mary = await shop.member(alice.tenant_id)
    assert (await goods.buy(shop, mary, small, key="k")).purchase_id != first.purchase_id
    bob = await shop.tenant("bob")
    assert (await goods.buy(shop, bob, small, key="k")).purchase_id != first.purchase_id
    assert len(await goods.purchases(shop, alice)) == 2


@pytest.mark.parametrize("key", ["", " a", "a ", "x" * 201, "a\nb", "a\0b"])
def test_a_key_that_engines_read_differently_is_no_key(key):
    with pytest.raises(errors.Invalid):
        wishes.checked_key(key)


@pytest.mark.parametrize("key", ["invoice:in_1", "#1a", "sha256:0"])
def test_no_key_of_a_client_can_be_one_of_ours(key):
    kept = wishes.checked_key(key)
    assert kept is not None
    assert kept != key
    assert kept == wishes.checked_key(key)
    assert len(kept) <= 200


@pytest.mark.parametrize(
    "address",
    [
        "https://app.example.com/done?x={CHECKOUT_SESSION_ID}#here",
        "http://localhost:3000/",
        "http://alice1.localhost:8000/done",
        "http://127.0.0.1/",
        "http://[::1]:3000/x",
    ],
)
def test_a_buyer_comes_back_by_https_or_on_this_machine(address):
    assert wishes.return_url(address) == address


@pytest.mark.parametrize(
    "address",
    [
        *("", "https://", "//example.com", "http://example.com", "ftp://example.com", "javascript:alert(1)"),
        *("http://localhost.example.com", "http://127.0.0.1.example.com", "http://10.0.0.1", "http://0.0.0.0/"),
        *(
            "https://user:secret@example.com",
            "http://localhost@evil.example",
            "https://exa mple.com",
            "https://a\n.com",
        ),
        *("http://localhost\\.evil.example", "https://a.com:99999/", "https://[::1", "https://ex\u00e4mple.com"),
        *("https://a.com/" + "x" * 2_000, "http://2130706433/"),
    ],
)
def test_other_addresses_are_refused(address):
    with pytest.raises(errors.Invalid) as refused:
        wishes.return_url(address, "input", "successUrl")
    assert refused.value.field == ("input", "successUrl")


# ------------------------------------------------------------------------------------------- no answer


@on_every_engine
@pytest.mark.parametrize("fault", ["cut_before", 409, 429])
async def test_a_call_that_is_not_answered_is_made_again_with_its_key(shop, provider, fault):
    alice, small = await shop.tenant("alice"), await goods.package(shop)
    provider.next_fault[:] = [fault] * 3
    with pytest.raises(errors.ProviderUnavailable):
        await goods.buy(shop, alice, small, key="k")
    (purchase,) = await goods.purchases(shop, alice)
    assert purchase.status is PurchaseStatus.PENDING
    provider.next_fault.clear()
    done = await goods.buy(shop, alice, small, key="k")
    assert (done.purchase_id, len(provider.all("checkout.session"))) == (purchase.id, 1)
    assert goods.session_at(provider, done.url)


@on_every_engine
async def test_an_answer_that_was_lost_is_given_again(shop, provider):
    alice, small = await shop.tenant("alice"), await goods.package(shop)
    provider.next_fault[:] = ["cut_after"]
    done = await goods.buy(shop, alice, small)
    assert [each["url"] for each in provider.all("checkout.session")] == [done.url]


@on_every_engine
@pytest.mark.parametrize("fault", [500, "500_after"])
async def test_a_fault_that_the_provider_keeps_is_got_round_once_looked_up(shop, provider, fault):
    alice, small = await shop.tenant("alice"), await goods.package(shop)
    provider.next_fault[:] = [fault]
    done = await goods.buy(shop, alice, small, key="k")
    (page,) = provider.all("checkout.session")
    assert page["url"] == done.url
    (purchase,) = await goods.purchases(shop, alice)
    assert purchase.attempt_kind == ("session" if fault == "500_after" else "session-2")


@on_every_engine
async def test_a_provider_that_hangs_is_waited_for_less_than_fifteen_seconds(shop, provider, monkeypatch):
    assert patience.SHIPPED["actions.billing.sessions", "ANSWER_SECONDS_MAX"] < 15
    monkeypatch.setattr(sessions, "ANSWER_SECONDS_MAX", 0.5)
    alice, small = await shop.tenant("alice"), await goods.package(shop)
    provider.next_fault[:] = ["timeout_after"]
    with pytest.raises(errors.ProviderUnavailable):
        await goods.buy(shop, alice, small, key="k")
    monkeypatch.undo()
    provider.next_fault.clear()
    done = await goods.buy(shop, alice, small, key="k")
    assert [each["url"] for each in provider.all("checkout.session")] == [done.url]


@on_every_engine
async def test_what_the_provider_refuses_is_told_and_over(shop, provider):
    alice, tiny = await shop.tenant("alice"), await goods.package(shop, cents=3)
    with pytest.raises(errors.Conflict, match="as small as this"):
        await goods.buy(shop, alice, tiny, key="k")
    (purchase,) = await goods.purchases(shop, alice)
    assert purchase.status is PurchaseStatus.CANCELED
    assert (await goods.buy(shop, alice, tiny, key="k")).url is None
    assert provider.all("checkout.session") == []


# ------------------------------------------------------------------------------------------- pages end


async def _later(db, tenant, purchase_id, /, *, seconds):
    db.act_for(tenant=tenant)
    past = db.now - timedelta(seconds=seconds)
    mine = sa.and_(Purchase.tenant_id == tenant, Purchase.id == purchase_id)
    await db.change(sa.update(Purchase).where(mine).values(created_at=past))


async def _timers(db, /):
    return [(each.kind, each.ref_id) for each in await db.all(sa.select(Timer))]


@on_every_engine
async def test_a_page_whose_end_nobody_told_of_ends_its_purchase(shop, provider):
    alice, small = await shop.tenant("alice"), await goods.package(shop)
    done = await goods.buy(shop, alice, small, key="k")
    system = shop.house.system()
    assert await system.on_system(_timers) == [(sessions.END_KIND, done.purchase_id)]
    assert not await expiry.look(system, alice.tenant_id, done.purchase_id)
    provider.expire(goods.session_at(provider, done.url))
    assert await expiry.look(system, alice.tenant_id, done.purchase_id)
    ((purchase,), (page,)) = await goods.purchases(shop, alice), await goods.sessions(shop, alice)
    assert (purchase.status, page.status) == (PurchaseStatus.CANCELED, SessionStatus.EXPIRED)
    assert await goods.buy(shop, alice, small, key="k") == billing.Checkout(done.purchase_id, None)


@on_every_engine
async def test_a_payment_that_no_event_told_of_is_found_by_asking(shop, provider):
    alice, small = await shop.tenant("alice"), await goods.package(shop)
    done = await goods.buy(shop, alice, small)
    provider.pay(goods.session_at(provider, done.url))
    assert await expiry.look(shop.house.system(), alice.tenant_id, done.purchase_id)
    ((purchase,), (due,)) = await goods.purchases(shop, alice), await goods.settlements(shop, alice)
    assert (purchase.status, due.tokens) == (PurchaseStatus.PAID, 100)


@on_every_engine
async def test_a_purchase_without_a_page_is_given_up_only_when_none_can_be_made(shop, provider):
    alice, small = await shop.tenant("alice"), await goods.package(shop)
    provider.next_fault[:] = ["cut_before"] * 3
    with pytest.raises(errors.ProviderUnavailable):
        await goods.buy(shop, alice, small, key="k")
    (purchase,) = await goods.purchases(shop, alice)
    system = shop.house.system()
    assert not await expiry.look(system, alice.tenant_id, purchase.id)
    await system.on_system(_later, alice.tenant_id, purchase.id, seconds=sessions.OVER_SECONDS + 60)
    assert await expiry.look(system, alice.tenant_id, purchase.id)
    (purchase,) = await goods.purchases(shop, alice)
    assert purchase.status is PurchaseStatus.CANCELED


@on_every_engine
async def test_a_page_that_was_made_and_never_heard_of_is_found_by_its_name(shop, provider, monkeypatch):
    alice, small = await shop.tenant("alice"), await goods.package(shop)
    monkeypatch.setattr(sessions, "ANSWER_SECONDS_MAX", 0.5)
    provider.next_fault[:] = ["timeout_after"]
    with pytest.raises(errors.ProviderUnavailable):
        await goods.buy(shop, alice, small, key="k")
    monkeypatch.undo()
    (page,) = provider.all("checkout.session")
    provider.pay(page["id"])
    (purchase,) = await goods.purchases(shop, alice)
    assert await expiry.look(shop.house.system(), alice.tenant_id, purchase.id)
    (purchase,) = await goods.purchases(shop, alice)
    assert purchase.status is PurchaseStatus.PAID
    assert (await goods.buy(shop, alice, small, key="k")).url is None


@on_every_engine
async def test_a_suspended_tenant_buys_nothing_and_its_open_pages_are_closed(shop, provider):
    alice, small = await shop.tenant("alice"), await goods.package(shop)
    done = await goods.buy(shop, alice, small, key="k")
    system = shop.house.system()
    await suspension.suspend(system, alice.tenant_id)
    with pytest.raises(errors.TenantSuspended):
        await goods.buy(shop, alice, small)
    assert await expiry.end_all(system, alice.tenant_id, asked_by="test", why="suspended")
    assert provider.get("checkout.session", provider.all("checkout.session")[0]["id"])["status"] == "expired"
    (purchase,) = await goods.purchases(shop, alice)
    assert (purchase.id, purchase.status) == (done.purchase_id, PurchaseStatus.CANCELED)


@pytest.mark.fault(42)
@on_every_engine
async def test_a_tenant_that_is_suspended_while_its_page_is_made_gets_none_and_the_page_is_closed(
    shop, provider, monkeypatch
):
    alice, small = await shop.tenant("alice"), await goods.package(shop)
    payments, system = shop.house.service(Payments), shop.house.system()
    make = payments.create

    async def suspended_meanwhile(kind, params, /, *, key):
        made = await make(kind, params, key=key)
        await suspension.suspend(system, alice.tenant_id)
        # The pages that are known of are closed at once: of this one nobody has heard.
        await studio.work_off(shop.house, sessions.ALL_END_KIND)
        return made

    monkeypatch.setattr(payments, "create", suspended_meanwhile)
    assert (await goods.buy(shop, alice, small, key="k")).url is None
    (page,) = provider.all("checkout.session")
    assert page["status"] == "open"
    await studio.work_off(shop.house, sessions.ALL_END_KIND)
    assert provider.get("checkout.session", page["id"])["status"] == "expired"
    assert [each.status for each in await goods.purchases(shop, alice)] == [PurchaseStatus.CANCELED]


@on_every_engine
async def test_every_open_page_of_a_tenant_is_closed_however_many(shop, provider, monkeypatch):
    monkeypatch.setattr(expiry, "SESSIONS_MAX", 2)
    alice, small = await shop.tenant("alice"), await goods.package(shop)
    for _ in range(5):
        await goods.buy(shop, alice, small)
    # One is on its way already, and keeps no other from being closed.
    await shop.house.system().on_system(_order_first, alice.tenant_id)
    assert await expiry.end_all(shop.house.system(), alice.tenant_id, asked_by="test", why="suspended")
    assert [each["status"] for each in provider.all("checkout.session")] == ["open"] + ["expired"] * 4


async def _order_first(db, tenant, /):
    db.act_for(tenant=tenant)
    pages = await expiry.open_sessions(db, tenant)
    assert await expiry.order_end(db, pages[0], asked_by="test") is not None


@on_every_engine
async def test_a_page_is_looked_up_near_its_purchase_and_further_on_only_when_it_is_not_there(
    shop, provider, monkeypatch
):
    alice, small = await shop.tenant("alice"), await goods.package(shop)
    payments, windows = shop.house.service(Payments), []
    real = payments.list

    def noted(kind, /, **filters):
        windows.append(filters["created"])
        return real(kind, **filters)

    monkeypatch.setattr(payments, "list", noted)
    done = await goods.buy(shop, alice, small)
    system = shop.house.system()
    asking = await system.on_system(sessions.asking_of, alice.tenant_id, done.purchase_id)
    near = await sessions.look_up(system, asking)
    assert near is not None
    assert (near["url"], len(windows)) == (done.url, 1)
    # Made hours after its purchase, by the same key.
    early = dataclasses.replace(asking, since=asking.since - 5 * 3_600)
    later = await sessions.look_up(system, early)
    assert later is not None
    assert (later["url"], len(windows)) == (done.url, 3)


@on_every_engine
async def test_money_arrives_also_when_ids_have_sixteen_digits(shop, provider, monkeypatch):
    # As if nine years had passed.
    monkeypatch.setattr(ids, "EPOCH_MS", ids.EPOCH_MS - 9 * 366 * 86_400_000)
    alice = await shop.tenant("alice")
    purchase_id, session = await till.bought(shop, alice)
    assert len(f"{purchase_id:x}") == 16
    provider.pay(session)
    await till.tell(shop.house, provider.events())
    assert await till.funds(shop, alice) == (100, 0)
    (payment,) = await goods.payments(shop, alice)
    await desk.refund(shop.house.system(), f"{payment.id:x}", cents=None, by=desk.Person("sam@desk", "asked for"))
    await till.tell(shop.house, provider.events())
    assert await till.funds(shop, alice) == (0, 0)


@on_every_engine
async def test_an_amount_that_the_provider_takes_no_payment_of_is_no_outage(shop, provider):
    alice, tiny = await shop.tenant("alice"), await goods.package(shop, cents=10)
    with pytest.raises(errors.Conflict, match="as small as this"):
        await goods.buy(shop, alice, tiny)
    assert provider.all("checkout.session") == []
    assert [each.status for each in await goods.purchases(shop, alice)] == [PurchaseStatus.CANCELED]
