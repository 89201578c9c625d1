"""The checkout page: what people see and press, what it refuses, and what it lets nobody slip in."""

from __future__ import annotations

import asyncio
import http.server
import threading

import httpx
import pytest
from selenium.webdriver.common.by import By

from outside.sandbox import page as pages
from tests import browser
from tests import provider as providers

NASTY = """<script>alert('1')</script>"><img src=x onerror=alert(2)> & "quotes" """


@pytest.fixture
def shop():
    """Where a customer comes back to: a page that says which path was asked for."""

    class Shop(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = f"<!doctype html><title>shop</title><link rel=icon href='data:,'><h1>{self.path}</h1>".encode()
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """A test's standard error is for what went wrong."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def made(provider, **params):
    """A checkout, made without a loop of the test's own; the session."""

    async def make():
        async with providers.calling(provider) as caller:
            return await caller.post("/v1/checkout/sessions", **params)

    return asyncio.run(make())


def press(address, button):
    return httpx.post(address, data={"do": button}, trust_env=False, timeout=60)


def look(address):
    return httpx.get(address, trust_env=False, timeout=60)


# ------------------------------------------------------------------------------------------ without a browser


def test_the_page_says_what_is_bought_for_how_much_and_that_it_is_a_test(provider):
    params = providers.checkout(amount=123_456, name="500 tokens")
    params["line_items"][0]["quantity"] = 3
    answer = look(made(provider, **params)["url"])
    assert answer.status_code == 200
    for words in ("3 × 500 tokens", "3,703.68 EUR", "Test mode", "no money moves", 'lang="en"'):
        assert words in answer.text
    assert "<script" not in answer.text


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (1_999, "eur", "19.99 EUR"),
        (5, "usd", "0.05 USD"),
        (500, "jpy", "500 JPY"),
        (1_234_567, "jpy", "1,234,567 JPY"),
        (1_500, "kwd", "1.500 KWD"),
        (-250, "eur", "-2.50 EUR"),
        (0, "eur", "0.00 EUR"),
    ],
)
def test_amounts_are_written_in_the_units_of_their_currency(amount, currency, text):
    assert pages.money(amount, currency) == text


def test_paying_leads_back_with_the_sessions_id(provider):
    session = made(provider, **providers.checkout())
    answer = press(session["url"], "pay")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"https://shop.example/thanks?session={session['id']}"
    assert provider.get("checkout.session", session["id"])["payment_status"] == "paid"


def test_a_second_press_pays_nothing_and_says_why(provider):
    session = made(provider, **providers.checkout())
    assert press(session["url"], "pay").status_code == 303
    again = press(session["url"], "pay")
    assert again.status_code == 409
    assert "in the meantime" in again.text
    assert len(provider.all("charge")) == 1
    shown = look(session["url"])
    assert "complete" in shown.text
    assert "<button" not in shown.text


def test_the_other_buttons_start_a_debit_and_are_declined(provider):
    session = made(provider, **providers.checkout())
    declined = press(session["url"], "decline")
    assert (declined.status_code, "declined" in declined.text) == (402, True)
    assert press(session["url"], "debit").status_code == 303
    assert provider.get("checkout.session", session["id"])["payment_status"] == "unpaid"


def test_an_expired_checkout_cannot_be_paid(provider):
    session = made(provider, **providers.checkout())
    provider.clock(days=1.01)
    assert "expired" in look(session["url"]).text
    assert press(session["url"], "pay").status_code == 409
    assert provider.all("charge") == []


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"", 400), (b"do=steal", 400), (b"do=", 400), (b"do[a]=pay", 400), (b"\xff", 400), (b"do=" + b"p" * 2_000, 413)],
    ids=["nothing", "another act", "no act", "an object", "no UTF-8", "too much"],
)
def test_what_is_no_button_does_nothing(provider, content, status):
    session = made(provider, **providers.checkout())
    assert httpx.post(session["url"], content=content, trust_env=False).status_code == status
    assert provider.get("checkout.session", session["id"]) == session


def test_an_unknown_checkout_is_not_found(provider):
    for path in ("cs_test_none", "..%2f..%2fetc%2fpasswd", "%00"):
        assert look(f"{provider.base}/pay/{path}").status_code == 404
        assert press(f"{provider.base}/pay/{path}", "pay").status_code in (404, 409)


def test_what_a_shop_calls_its_goods_is_text_and_nothing_else(provider):
    params = providers.checkout(name=NASTY) | {"cancel_url": 'https://shop.example/?"><script>alert(3)</script>'}
    answer = look(made(provider, **params)["url"])
    assert "<script" not in answer.text
    assert "<img" not in answer.text
    assert 'href="https://shop.example/?&quot;&gt;' in answer.text


def test_the_policy_allows_the_pages_own_style_and_nothing_else(provider):
    session = made(provider, **providers.checkout())
    headers = look(session["url"]).headers
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["style-src"].startswith("'sha256-")
    assert policy["form-action"] == "'self' https://shop.example"
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")


# ------------------------------------------------------------------------------------------- in a browser


@pytest.fixture
def tab(tmp_path):
    """A tab; afterwards it has asked for nothing outside and refused nothing of the page's own."""
    with browser.opened(tmp_path / "profile") as driver:
        tab = browser.Tab(driver)
        yield tab
        assert tab.outside_requests() == []
        # A declined card is answered 402, which the browser notes.
        assert [each for each in tab.complaints() if "402" not in each] == []


def button(tab, words):
    tab.until(lambda driver: next(b for b in driver.find_elements(By.TAG_NAME, "button") if words in b.text)).click()


def path_of(tab):
    """The path at which the shop was come back to."""
    tab.until(lambda driver: driver.title == "shop")
    return tab.css("h1").text


@pytest.mark.services
def test_a_person_is_declined_and_then_pays(provider, shop, tab):
    params = providers.checkout(name="100 tokens") | {"success_url": f"{shop}/thanks?s={{CHECKOUT_SESSION_ID}}"}
    session = made(provider, **params)
    tab.driver.get(session["url"])
    assert tab.css("h1").text == "Pay"
    assert "10.00 EUR" in tab.css("tfoot").text
    # The style is applied, so the policy lets it.
    assert tab.css("main").value_of_css_property("border-top-width") == "1px"
    button(tab, "declined")
    tab.until(lambda driver: "declined" in driver.find_element(By.CSS_SELECTOR, "[role=status]").text)
    button(tab, "test card")
    assert path_of(tab) == f"/thanks?s={session['id']}"
    assert provider.get("checkout.session", session["id"])["payment_status"] == "paid"


@pytest.mark.services
def test_a_person_subscribes_by_bank_debit_and_another_leaves(provider, shop, tab):
    addresses = {"success_url": f"{shop}/thanks", "cancel_url": f"{shop}/cart"}
    plan = made(provider, **(providers.subscribing(name="Plus") | addresses))
    tab.driver.get(plan["url"])
    assert tab.css("h1").text == "Subscribe"
    assert "every month" in tab.css("tbody").text
    tab.css("a.button").click()
    assert path_of(tab) == "/cart"
    assert provider.get("checkout.session", plan["id"])["status"] == "open"
    tab.driver.get(plan["url"])
    button(tab, "bank debit")
    assert path_of(tab) == "/thanks"
    assert provider.get("checkout.session", plan["id"])["payment_status"] == "unpaid"
