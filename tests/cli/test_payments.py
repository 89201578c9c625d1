"""`atrium payments …` as an operator types it: what is said, what is written down, and what a wrong call changes."""

from __future__ import annotations

import asyncio

import pytest

from tests import provider as providers
from tests import world as worlds
from tests.actions import shop as goods


@pytest.fixture
def selling(migrated, provider, monkeypatch):
    """The command line over databases in which somebody has bought a package and paid for it, which no event told."""
    for name, value in providers.environment(provider).items():
        monkeypatch.setenv(name, value)
    return migrated


def paid(folder, provider):
    """Somebody buys and pays; the provider's intent."""

    async def buy():
        made = worlds._files(folder)
        async with worlds.opened("sqlite", made, folder, **providers.environment(provider)) as shop:
            alice, small = await shop.tenant("alice"), await goods.package(shop)
            begun = await goods.buy(shop, alice, small)
            return provider.pay(goods.session_at(provider, begun.url))["payment_intent"]

    return asyncio.run(buy())


def test_money_is_repaired_given_back_and_told_of(selling, provider, tmp_path):
    intent = paid(tmp_path, provider)
    assert "No event of the provider has come yet" in selling("payments", "status").text
    said = selling("payments", "reconcile", "--since", "2h", "--reason", "the endpoint was down")
    assert said.code == 0
    count = len(provider.events())
    assert f"listed {count} events" in said.text
    assert f"{count} were new" in said.text
    now = selling("payments", "status").text
    assert "settlements │ SETTLED │ 1" in now
    assert "The newest event came" in now
    said = selling("payments", "refund", intent, "--cents", "400", "--reason", "half of it was broken")
    assert (said.code, "400 EUR" in said.text) == (0, True)
    assert [each["amount"] for each in provider.all("refund")] == [400]
    for wrong in ("601", "9999999"):
        assert selling("payments", "refund", intent, "--cents", wrong).code == 1
    assert selling("payments", "refund", "pi_nobody").code == 1
    assert len(provider.all("refund")) == 1
    said = selling("payments", "replay", "--since", "2h")
    assert (said.code, f"{count} events were processed anew" in said.text) == (0, True)
    assert selling("payments", "replay", "--event", "evt_nobody").code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay",),
        ("replay", "--event", "evt_1", "--failed"),
        ("replay", "--since", "yesterday"),
        ("replay", "--since", "99999999d"),
        ("replay", "--since", "999999d"),
        ("reconcile", "--since", "0001-01-01T00:00+23:59"),
        ("reconcile", "--since", "-3d"),
        ("resolve", "1a", "why"),
        ("resolve", "1a", "why", "--credit", "--close"),
        ("resolve", "nothing", "why", "--close"),
        ("resolve", "ffffffffffffffffffff", "why", "--close"),
        ("resolve", "-1a", "why", "--close"),
        ("resolve", "1a", "--close"),
        ("refund",),
        ("refund", "pi_1", "--cents", "0"),
    ],
    ids=" ".join,
)
def test_a_wrong_call_is_told_what_is_wrong(selling, arguments):
    said = selling("payments", *arguments)
    assert (said.code, said.text != "") == (2, True)


def test_what_is_not_there_is_said_and_nothing_is_written(selling):
    assert selling("payments", "resolve", "1a", "why", "--close").code == 1
    assert selling("payments", "replay", "--failed").text.startswith("0 events")


def test_without_a_provider_repairs_say_what_is_missing(migrated):
    said = migrated("payments", "reconcile")
    assert (said.code, "ATRIUM_STRIPE_SECRET_KEY" in said.text) == (1, True)
    assert migrated("payments", "status").code == 0


def test_doctor_says_whether_money_that_is_paid_arrives(selling, provider, monkeypatch):
    assert "ok payment provider" in selling("doctor").text
    monkeypatch.delenv("ATRIUM_STRIPE_WEBHOOK_SECRET")
    assert "set ATRIUM_STRIPE_WEBHOOK_SECRET" in selling("doctor").text
    monkeypatch.setenv("ATRIUM_STRIPE_SECRET_KEY", "sk_test_wrong")
    said = selling("doctor")
    assert (said.code, "the payment provider refuses us" in said.text) == (1, True)
    monkeypatch.delenv("ATRIUM_STRIPE_SECRET_KEY")
    monkeypatch.setenv("ATRIUM_STRIPE_WEBHOOK_SECRET", provider.webhook_secret)
    assert "set ATRIUM_STRIPE_SECRET_KEY, too" in selling("doctor").text
