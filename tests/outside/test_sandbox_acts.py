"""What people and banks do at the sandbox provider: what moves, what is told, and that all has the right shape."""

from __future__ import annotations

import json
import time

import pytest
import stripe

from outside.sandbox import subscriptions
from outside.sandbox.faults import ApiError
from tests import provider as providers


@pytest.fixture
async def caller(provider):
    """The client; whatever a test has made and told is held against the installed library at its end."""
    async with providers.calling(provider) as made:
        yield made
    assert provider.differences() == []
    for event in provider.events():
        assert event["type"] in stripe.Event.__annotations__["type"].__args__


def told(provider, since=None):
    """The types of the events after one, in their order."""
    return [event["type"] for event in provider.events(since=since)]


def last(provider):
    return provider.events()[-1]


async def paid(provider, caller, **how):
    """A paid checkout's intent."""
    session = provider.pay(await caller.session(**how))
    return session["payment_intent"]


# --------------------------------------------------------------------------------------------- checkout


async def test_a_paid_checkout_tells_in_one_second_what_happened(provider, caller):
    made = await caller.session(amount=1_999)
    assert provider.get("checkout.session", made)["payment_intent"] is None
    session = provider.pay(made)
    assert (session["status"], session["payment_status"], session["amount_total"]) == ("complete", "paid", 1_999)
    assert told(provider) == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "checkout.session.completed",
    ]
    assert len({event["created"] for event in provider.events()}) == 1
    intent = provider.get("payment_intent", session["payment_intent"])
    charge = provider.get("charge", intent["latest_charge"])
    assert intent["metadata"] == session["metadata"] == charge["metadata"] == {"purchase": "7"}
    assert (intent["status"], intent["amount_received"], charge["paid"]) == ("succeeded", 1_999, True)
    # An event keeps the object as it was then.
    assert provider.events("payment_intent.created")[0]["data"]["object"]["status"] == "requires_payment_method"


async def test_a_checkout_is_paid_once(provider, caller):
    made = await caller.session()
    provider.pay(made)
    before = told(provider)
    for act in (provider.pay, provider.decline, provider.expire):
        with pytest.raises(ApiError):
            act(made)
    assert told(provider) == before


async def test_a_bank_debit_completes_first_and_settles_later(provider, caller):
    made = await caller.session()
    session = provider.pay(made, delayed=True)
    assert (session["status"], session["payment_status"]) == ("complete", "unpaid")
    mark = last(provider)
    assert told(provider)[1:] == ["charge.pending", "payment_intent.processing", "checkout.session.completed"]
    assert provider.settle(made)["payment_status"] == "paid"
    assert told(provider, mark) == [
        "charge.succeeded",
        "payment_intent.succeeded",
        "checkout.session.async_payment_succeeded",
    ]
    with pytest.raises(ApiError):
        provider.bounce(made)


async def test_a_bank_debit_that_bounces_brings_nothing(provider, caller):
    made = await caller.session()
    provider.pay(made, delayed=True)
    mark = last(provider)
    assert provider.bounce(made)["payment_status"] == "unpaid"
    assert told(provider, mark) == [
        "charge.failed",
        "payment_intent.payment_failed",
        "checkout.session.async_payment_failed",
    ]
    assert provider.intent_of(made)["amount_received"] == 0


async def test_a_declined_attempt_leaves_the_checkout_open_for_the_next(provider, caller):
    made = await caller.session()
    provider.decline(made)
    provider.decline(made)
    session = provider.pay(made)
    assert session["payment_status"] == "paid"
    assert told(provider).count("payment_intent.payment_failed") == 2
    # One intent through all attempts, a charge each.
    assert len(provider.all("payment_intent")) == 1
    assert [each["status"] for each in provider.all("charge")] == ["failed", "failed", "succeeded"]


async def test_nothing_due_is_completed_without_a_payment(provider, caller):
    session = provider.pay(await caller.session(amount=0))
    assert (session["payment_status"], session["payment_intent"]) == ("no_payment_required", None)
    assert told(provider) == ["checkout.session.completed"]


async def test_currencies_keep_their_minor_units(provider, caller):
    session = provider.pay(await caller.session(amount=500, currency="JPY"))
    intent = provider.get("payment_intent", session["payment_intent"])
    assert (intent["amount"], intent["currency"]) == (500, "jpy")


async def test_a_checkout_ends_by_the_client_and_by_its_time(provider, caller):
    by_client, by_time, open_still = [await caller.session() for _ in range(3)]
    provider.decline(by_client)
    ended = await caller.post(f"/v1/checkout/sessions/{by_client}/expire")
    assert (ended["status"], ended["url"]) == ("expired", None)
    assert told(provider)[-2:] == ["payment_intent.canceled", "checkout.session.expired"]
    with pytest.raises(stripe.InvalidRequestError):
        await caller.post(f"/v1/checkout/sessions/{by_client}/expire")
    provider.expire(by_time)
    provider.clock(days=1.01)
    assert provider.get("checkout.session", open_still)["status"] == "expired"
    assert told(provider).count("checkout.session.expired") == 3
    for each in (by_client, by_time, open_still):
        with pytest.raises(ApiError):
            provider.pay(each)


# ---------------------------------------------------------------------------------------------- refunds


async def test_refunds_add_up_and_never_exceed_what_was_paid(provider, caller):
    intent = await paid(provider, caller)
    mark = last(provider)
    for _ in range(3):
        await caller.post("/v1/refunds", payment_intent=intent, amount=333)
    with pytest.raises(stripe.InvalidRequestError) as error:
        await caller.post("/v1/refunds", payment_intent=intent, amount=2)
    assert error.value.param == "amount"
    rest = await caller.post("/v1/refunds", payment_intent=intent, reason="requested_by_customer", metadata={"a": "b"})
    assert (rest["amount"], rest["status"], rest["metadata"]) == (1, "succeeded", {"a": "b"})
    with pytest.raises(stripe.InvalidRequestError) as error:
        await caller.post("/v1/refunds", payment_intent=intent)
    assert error.value.code == "charge_already_refunded"
    assert told(provider, mark) == ["refund.created", "charge.refunded"] * 4
    amounts = [event["data"]["object"]["amount_refunded"] for event in provider.events("charge.refunded")]
    assert amounts == [333, 666, 999, 1_000]
    # A charge does not name its refunds.
    assert all(event["data"]["object"]["refunds"] is None for event in provider.events("charge.refunded"))


async def test_a_waiting_refund_arrives_or_fails_or_is_called_off(provider, caller):
    intent = await paid(provider, caller)
    waiting = [provider.refund(intent, 300, pending=True)["id"] for _ in range(3)]
    charge = provider.get("payment_intent", intent)["latest_charge"]
    assert provider.get("charge", charge)["amount_refunded"] == 900
    mark = last(provider)
    assert provider.settle_refund(waiting[0])["status"] == "succeeded"
    assert provider.fail_refund(waiting[1])["status"] == "failed"
    assert (await caller.post(f"/v1/refunds/{waiting[2]}/cancel"))["status"] == "canceled"
    assert told(provider, mark) == ["refund.updated", "refund.updated", "refund.failed", "refund.updated"]
    assert provider.get("charge", charge)["amount_refunded"] == 300
    # A refund that had arrived may still be sent back.
    provider.fail_refund(waiting[0])
    assert provider.get("charge", charge)["amount_refunded"] == 0
    with pytest.raises(ApiError):
        provider.fail_refund(waiting[0])


async def test_what_came_by_bank_debit_goes_back_by_one_and_waits(provider, caller):
    made = await caller.session()
    provider.pay(made, delayed=True)
    with pytest.raises(stripe.InvalidRequestError):
        await caller.post("/v1/refunds", payment_intent=provider.intent_of(made)["id"])
    provider.settle(made)
    refund = await caller.post("/v1/refunds", payment_intent=provider.intent_of(made)["id"])
    assert (refund["status"], refund["pending_reason"]) == ("pending", "processing")


# --------------------------------------------------------------------------------------------- disputes


def withdrawn(dispute):
    return -sum(each["amount"] for each in dispute["balance_transactions"])


async def test_a_chargeback_takes_the_money_and_gives_it_back_when_won(provider, caller):
    intent = await paid(provider, caller)
    mark = last(provider)
    dispute = provider.dispute(intent)
    assert (dispute["status"], withdrawn(dispute)) == ("needs_response", 1_000)
    assert provider.events("charge.dispute.created")[0]["data"]["object"]["balance_transactions"] == []
    with pytest.raises(stripe.InvalidRequestError) as error:
        await caller.post("/v1/refunds", payment_intent=intent)
    assert error.value.code == "charge_disputed"
    dispute = provider.close_dispute(dispute["id"], won=True)
    assert (dispute["status"], withdrawn(dispute)) == ("won", 0)
    assert told(provider, mark) == [
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.funds_reinstated",
        "charge.dispute.closed",
    ]
    # Won, and refunded afterwards.
    assert (await caller.post("/v1/refunds", payment_intent=intent))["amount"] == 1_000


async def test_a_lost_dispute_can_be_appealed_and_won(provider, caller):
    intent = await paid(provider, caller)
    dispute = provider.dispute(intent, "chargeback", amount=400, withdraws=False)["id"]
    assert withdrawn(provider.get("dispute", dispute)) == 0
    assert withdrawn(provider.withdraw(dispute)) == 400
    lost = await caller.post(f"/v1/disputes/{dispute}/close")
    assert (lost["status"], withdrawn(lost)) == ("lost", 400)
    assert provider.appeal(dispute)["status"] == "appeal_under_review"
    won = provider.close_dispute(dispute, won=True)
    assert (won["status"], withdrawn(won)) == ("won", 0)
    with pytest.raises(ApiError):
        provider.reinstate(dispute)


async def test_an_inquiry_moves_no_money_until_it_is_escalated(provider, caller):
    intent = await paid(provider, caller)
    closed = provider.dispute(intent, "inquiry")
    assert closed["status"] == "warning_needs_response"
    closed = provider.close_dispute(closed["id"], won=False)
    assert (closed["status"], withdrawn(closed)) == ("warning_closed", 0)
    mark = last(provider)
    taken = provider.escalate(provider.dispute(intent, "inquiry")["id"])
    assert (taken["status"], withdrawn(taken)) == ("needs_response", 1_000)
    assert told(provider, mark) == [
        "charge.dispute.created",
        "charge.dispute.updated",
        "charge.dispute.funds_withdrawn",
    ]
    prevented = provider.dispute(intent, "prevented", amount=100)
    assert (prevented["status"], withdrawn(prevented)) == ("prevented", 100)


# ---------------------------------------------------------------------------------------- subscriptions


async def test_a_subscription_begins_with_a_paid_invoice_that_names_its_payment_elsewhere(provider, caller):
    session = provider.pay(await caller.plan())
    assert (session["payment_status"], session["payment_intent"]) == ("paid", None)
    types = told(provider)
    assert types.index("invoice.paid") < types.index("customer.subscription.created")
    assert types[-1] == "checkout.session.completed"
    subscription = provider.get("subscription", session["subscription"])
    assert (subscription["status"], subscription["metadata"]) == ("active", {"plan": "plus"})
    item = subscription["items"]["data"][0]
    assert item["current_period_start"] == subscription["start_date"]
    invoice = provider.get("invoice", session["invoice"])
    assert (invoice["billing_reason"], invoice["status"], invoice["amount_paid"]) == (
        "subscription_create",
        "paid",
        1_000,
    )
    assert invoice["parent"]["subscription_details"]["subscription"] == subscription["id"]
    payment = provider.events("invoice_payment.paid")[0]["data"]["object"]
    assert payment["invoice"] == invoice["id"]
    intent = provider.get("payment_intent", payment["payment"]["payment_intent"])
    assert intent["metadata"] == {}


async def test_renewals_are_paid_fail_and_are_paid_later(provider, caller):
    session = provider.pay(await caller.plan())
    plan = session["subscription"]
    first = provider.get("subscription", plan)["items"]["data"][0]
    mark = last(provider)
    invoice = provider.renew(plan)
    assert (invoice["billing_reason"], invoice["status"]) == ("subscription_cycle", "paid")
    assert told(provider, mark)[-1] == "customer.subscription.updated"
    second = provider.get("subscription", plan)["items"]["data"][0]
    assert second["current_period_start"] == first["current_period_end"]
    late = provider.renew(plan, paid=False)
    assert (late["status"], late["attempt_count"]) == ("open", 1)
    assert provider.get("subscription", plan)["status"] == "past_due"
    provider.pay_invoice(late["id"], paid=False)
    assert provider.get("invoice", late["id"])["attempt_count"] == 2
    paid_late = await caller.post(f"/v1/invoices/{late['id']}/pay")
    assert (paid_late["status"], provider.get("subscription", plan)["status"]) == ("paid", "active")
    with pytest.raises(stripe.InvalidRequestError):
        await caller.post(f"/v1/invoices/{late['id']}/pay")


async def test_a_failed_renewal_is_voided_or_ends_the_subscription(provider, caller):
    plan = provider.pay(await caller.plan())["subscription"]
    voided = await caller.post(f"/v1/invoices/{provider.renew(plan, paid=False)['id']}/void")
    assert voided["status"] == "void"
    assert told(provider)[-2:] == ["payment_intent.canceled", "invoice.voided"]
    over = provider.give_up(plan)
    assert (over["status"], over["cancellation_details"]["reason"]) == ("canceled", "payment_failed")
    assert told(provider)[-1] == "customer.subscription.deleted"
    with pytest.raises(ApiError):
        provider.renew(plan)


async def test_a_trial_asks_for_nothing_and_renews_into_a_paid_period(provider, caller):
    params = providers.subscribing(trial_period_days=14)
    made = await caller.post("/v1/checkout/sessions", **params)
    assert made["amount_total"] == 0
    session = provider.pay(made["id"])
    assert session["payment_status"] == "no_payment_required"
    subscription = provider.get("subscription", session["subscription"])
    assert (subscription["status"], subscription["trial_end"] - subscription["trial_start"]) == (
        "trialing",
        14 * 86_400,
    )
    invoice = provider.get("invoice", session["invoice"])
    assert (invoice["status"], invoice["amount_paid"], provider.all("payment_intent")) == ("paid", 0, [])
    renewed = provider.renew(subscription["id"])
    assert (renewed["billing_reason"], renewed["amount_paid"]) == ("subscription_cycle", 1_000)
    assert provider.get("subscription", subscription["id"])["status"] == "active"


async def test_an_upgrade_is_prorated_at_once_and_a_downgrade_is_a_credit(provider, caller):
    plan = provider.pay(await caller.plan(amount=1_000))["subscription"]
    item = provider.get("subscription", plan)["items"]["data"][0]
    product = item["price"]["product"]
    dear = await caller.post(
        "/v1/prices", currency="eur", unit_amount=3_000, product=product, recurring={"interval": "month"}
    )

    async def change(price, behaviour):
        items = [{"id": item["id"], "price": price}]
        return await caller.post(f"/v1/subscriptions/{plan}", items=items, proration_behavior=behaviour)

    changed = await change(dear["id"], "always_invoice")
    assert changed["items"]["data"][0]["price"]["id"] == dear["id"]
    invoice = provider.get("invoice", changed["latest_invoice"])
    assert (invoice["billing_reason"], invoice["status"]) == ("subscription_update", "paid")
    assert 1_990 <= invoice["amount_paid"] <= 2_000
    assert [each["parent"]["subscription_item_details"]["proration"] for each in invoice["lines"]["data"]] == [
        True,
        True,
    ]
    await change(item["price"]["id"], "create_prorations")
    renewed = provider.renew(plan)
    assert renewed["total"] == 1_000 - invoice["amount_paid"]
    assert renewed["amount_paid"] == 0
    credit = provider.get("customer", renewed["customer"])["balance"]
    assert credit == renewed["total"]
    # The credit pays what comes next.
    assert provider.renew(plan)["amount_paid"] == max(0, 1_000 + credit)


async def test_a_change_without_proration_makes_no_invoice(provider, caller):
    plan = provider.pay(await caller.plan())["subscription"]
    item = provider.get("subscription", plan)["items"]["data"][0]["id"]
    data = {"currency": "eur", "unit_amount": 500, "recurring": {"interval": "month"}, "product_data": {"name": "Less"}}
    items = [{"id": item, "price_data": data}]
    await caller.post(f"/v1/subscriptions/{plan}", items=items, proration_behavior="none")
    assert len(provider.all("invoice")) == 1
    assert provider.renew(plan)["amount_paid"] == 500
    yearly = [{"id": item, "price_data": data | {"recurring": {"interval": "year"}}}]
    with pytest.raises(stripe.InvalidRequestError):
        await caller.post(f"/v1/subscriptions/{plan}", items=yearly)


async def test_the_end_at_the_periods_end_can_be_taken_back_and_comes_with_the_renewal(provider, caller):
    plan = provider.pay(await caller.plan())["subscription"]
    ending = await caller.post(f"/v1/subscriptions/{plan}", cancel_at_period_end=True)
    assert ending["cancel_at"] == ending["items"]["data"][0]["current_period_end"]
    event = provider.events("customer.subscription.updated")[-1]
    assert event["data"]["previous_attributes"]["cancel_at_period_end"] is False
    resumed = await caller.post(f"/v1/subscriptions/{plan}", cancel_at_period_end=False)
    assert (resumed["cancel_at"], resumed["canceled_at"]) == (None, None)
    await caller.post(f"/v1/subscriptions/{plan}", cancel_at_period_end=True)
    assert provider.renew(plan)["status"] == "canceled"
    assert len(provider.all("invoice")) == 1


async def test_a_subscription_ends_at_once_and_only_once(provider, caller):
    plan = provider.pay(await caller.plan())["subscription"]
    assert (await caller.delete(f"/v1/subscriptions/{plan}"))["status"] == "canceled"
    with pytest.raises(stripe.InvalidRequestError) as error:
        await caller.delete(f"/v1/subscriptions/{plan}")
    assert error.value.http_status == 404
    with pytest.raises(stripe.InvalidRequestError):
        await caller.post(f"/v1/subscriptions/{plan}", cancel_at_period_end=True)
    assert (await caller.get("/v1/subscriptions"))["data"] == []
    assert len((await caller.get("/v1/subscriptions", status="all"))["data"]) == 1


async def test_a_subscription_by_bank_debit_waits_for_its_first_money(provider, caller):
    made = await caller.plan()
    session = provider.pay(made, delayed=True)
    assert (session["payment_status"], provider.get("invoice", session["invoice"])["status"]) == ("unpaid", "open")
    assert provider.settle(made)["payment_status"] == "paid"
    assert provider.get("invoice", session["invoice"])["status"] == "paid"
    waiting = provider.renew(session["subscription"], delayed=True)
    assert provider.bounce_invoice(waiting["id"])["status"] == "open"
    assert provider.get("subscription", session["subscription"])["status"] == "past_due"
    again = provider.renew(session["subscription"], delayed=True)
    assert provider.settle_invoice(again["id"])["status"] == "paid"


def test_a_month_from_the_31st_is_the_last_day_of_the_next():
    def month_after(text, **recurring):
        at = int(time.mktime(time.strptime(f"{text} 12:00", "%Y-%m-%d %H:%M")))
        return time.strftime("%Y-%m-%d", time.localtime(subscriptions.after(at, recurring)))

    assert month_after("2027-01-31", interval="month", interval_count=1) == "2027-02-28"
    assert month_after("2026-12-15", interval="month", interval_count=2) == "2027-02-15"
    assert month_after("2028-02-29", interval="year", interval_count=1) == "2029-02-28"
    assert month_after("2026-12-30", interval="week", interval_count=1) == "2027-01-06"


# -------------------------------------------------------------------------------------------- deliveries


async def test_a_delivery_is_signed_as_the_library_checks_it(provider, caller):
    provider.pay(await caller.session())
    event = last(provider)
    headers, body = provider.signed(event)
    assert json.loads(body) == event
    read = stripe.Webhook.construct_event(body, headers["stripe-signature"], provider.webhook_secret)
    assert read.id == event["id"]
    late, _ = provider.signed(event, at=time.time() - 3_600)
    other, _ = provider.signed(event, secret="whsec_other")
    for headers in (late, other):
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(body, headers["stripe-signature"], provider.webhook_secret)


async def test_an_act_that_cannot_be_done_leaves_nothing_behind(provider, caller):
    intent = await paid(provider, caller)
    before = {kind: provider.all(kind) for kind in ("charge", "dispute", "refund", "event", "balance_transaction")}
    wrong = (
        lambda: provider.refund(intent, 1_001),
        lambda: provider.dispute(intent, "chargeback", amount=1_001),
        lambda: provider.settle_refund("re_none"),
        lambda: provider.renew("sub_none"),
        lambda: provider.pay("cs_test_none"),
    )
    for act in wrong:
        with pytest.raises(ApiError):
            act()
    assert {kind: provider.all(kind) for kind in before} == before
