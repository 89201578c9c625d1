"""A newcomer buys tokens in the browser and sees them arrive, with no account anywhere: the embedded set-up whole.

The fixture `server` is `atrium serve` with its worker and the payment provider that it starts; nobody posts an event
here but that provider.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

import pytest
from selenium.webdriver.common.by import By

from tests import browser
from tests.http.test_explorer import Page, ask

WAIT_SECONDS_MAX = 60
PASSWORD = "a long enough password"
REGISTER = """mutation ($input: RegisterInput!) { register(input: $input) {
    token tenant { slug } userErrors { code message } } }"""
SOLD = "{ packages { id name tokens } tiers { id monthlyTokens } }"
CHECKOUT = """mutation ($input: CreateCheckoutInput!) { createCheckout(input: $input) {
    purchase { id status } checkoutUrl userErrors { code field message } } }"""
START = """mutation ($input: StartPlanInput!) { startPlan(input: $input) {
    checkoutUrl userErrors { code field message } } }"""
BOUGHT = "{ purchases { nodes { id kind status tokens tokensCredited } } }"
PLAN = "{ planSubscription { status tier { id } } }"
WALLET = "{ wallet { balance } }"

pytestmark = pytest.mark.services


@dataclass
class Buyer:
    """Somebody new, on the host of their own tenant."""

    address: str
    token: str

    @property
    def back(self):
        """Where the checkout page leads back to."""
        return {"successUrl": f"{self.address}/graphql?bought=1", "cancelUrl": f"{self.address}/graphql?left=1"}

    def ask(self, query, variables=None):
        return ask(self.address, query, variables, token=self.token)

    def checkout(self, package):
        made = self.ask(CHECKOUT, {"input": {"packageId": package["id"], **self.back}})["createCheckout"]
        assert made["userErrors"] == []
        assert made["purchase"]["status"] == "PENDING"
        return made

    def until(self, query, condition):
        """What is answered once the condition holds."""
        end = time.monotonic() + WAIT_SECONDS_MAX
        while not condition(answer := self.ask(query)):
            assert time.monotonic() < end, answer
            time.sleep(0.1)
        return answer


@pytest.fixture
def buyer(server):
    name = uuid.uuid4().hex[:8]
    person = {"name": "Nora", "email": f"{name}@example.com", "password": PASSWORD, "slug": f"nora{name}"}
    made = ask(server.url, REGISTER, {"input": person})["register"]
    assert made["userErrors"] == []
    return Buyer(server.tenant_url(made["tenant"]["slug"]), made["token"])


@pytest.fixture
def page(tmp_path):
    with browser.opened(tmp_path / "profile") as driver:
        page = Page(driver)
        yield page
        assert page.outside_requests() == []
        # A declined card is answered 402, which the browser notes.
        assert [each for each in page.complaints() if "402" not in each] == []


def press(page, words):
    page.until(lambda driver: next(b for b in driver.find_elements(By.TAG_NAME, "button") if words in b.text)).click()


def come_back(page, to):
    page.until(lambda driver: driver.current_url.endswith(f"?{to}=1"))


def test_tokens_are_bought_in_the_browser_and_seen_to_arrive(buyer, page):
    package = buyer.ask(SOLD)["packages"][0]
    before = buyer.ask(WALLET)["wallet"]["balance"]
    made = buyer.checkout(package)
    page.open(buyer.address)
    page.sign_in(buyer.token)
    page.start("wallet-live")
    page.answer_holds(f'"balance": {before}')
    watching = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    page.driver.get(made["checkoutUrl"])
    assert page.css(".mark").text.startswith("Test mode")
    assert package["name"] in page.css("tbody").text
    press(page, "declined")
    page.until(lambda driver: "declined" in driver.find_element(By.CSS_SELECTOR, "[role=status]").text)
    press(page, "test card")
    come_back(page, "bought")
    page.driver.switch_to.window(watching)
    page.answer_holds(f'"balance": {before + package["tokens"]}')
    bought = buyer.until(BOUGHT, lambda answer: answer["purchases"]["nodes"][0]["tokensCredited"])
    known = {"id": made["purchase"]["id"], "kind": "PACKAGE", "status": "PAID", "tokens": package["tokens"]}
    assert bought["purchases"]["nodes"] == [{**known, "tokensCredited": True}]


def test_a_bank_debit_is_pending_and_leaving_buys_nothing(buyer, page):
    package = buyer.ask(SOLD)["packages"][0]
    before = buyer.ask(WALLET)["wallet"]["balance"]
    page.driver.get(buyer.checkout(package)["checkoutUrl"])
    page.css("a.button").click()
    come_back(page, "left")
    page.driver.get(buyer.checkout(package)["checkoutUrl"])
    press(page, "bank debit")
    come_back(page, "bought")
    assert {each["status"] for each in buyer.ask(BOUGHT)["purchases"]["nodes"]} == {"PENDING"}
    assert buyer.ask(WALLET)["wallet"]["balance"] == before


def test_a_plan_is_begun_in_the_browser_and_brings_its_tokens(buyer, page):
    tier = next(each for each in buyer.ask(SOLD)["tiers"] if each["monthlyTokens"])
    before = buyer.ask(WALLET)["wallet"]["balance"]
    made = buyer.ask(START, {"input": {"tierId": tier["id"], **buyer.back}})["startPlan"]
    assert made["userErrors"] == []
    page.driver.get(made["checkoutUrl"])
    assert page.css("h1").text == "Subscribe"
    press(page, "test card")
    come_back(page, "bought")
    buyer.until(WALLET, lambda answer: answer["wallet"]["balance"] == before + tier["monthlyTokens"])
    # What was paid and what it stands for are told by two events, in no promised order.
    plan = buyer.until(PLAN, lambda answer: (answer["planSubscription"] or {}).get("status") == "ACTIVE")
    assert plan["planSubscription"]["tier"] == {"id": tier["id"]}
