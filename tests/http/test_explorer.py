"""The explorer in a real browser: what a newcomer does first, and that nothing leaves the machine.

The fixture `server` (tests/conftest.py) is the whole product over the demo world. What the files under
web/ must look like is in tests/house/test_explorer_files.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import av
import httpx
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests import browser

WAIT_SECONDS_MAX = 60
PASSWORD = "demo-password"

pytestmark = pytest.mark.services


class Server(Protocol):
    """Where the product answers: scheme, host and port, no path."""

    url: str

    def tenant_url(self, slug: str) -> str: ...


class Page(browser.Tab):
    """The explorer in a tab, spoken to by what a person sees in it."""

    def open(self, address: str) -> None:
        self.driver.get(f"{address}/graphql")
        self.by_id("starters")

    def by_id(self, name: str) -> WebElement:
        return self.css(f'[data-testid="{name}"]')

    def says(self, name: str, words: str) -> None:
        self.until(lambda _: words in self.by_id(name).text)

    def start(self, starter: str) -> None:
        self.by_id(f"starter-{starter}").click()
        self.run()

    def run(self) -> None:
        self.css(".graphiql-execute-button").click()

    def answer_holds(self, words: str) -> None:
        self.until(lambda driver: words in driver.find_element(By.CSS_SELECTOR, ".result-window").text)

    def sign_in(self, token: str) -> None:
        self.by_id("token").send_keys(token)
        self.says("token-status", "@example.com")


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A fresh browser profile; afterwards nothing has gone outside and the browser has not complained."""
    with browser.opened(tmp_path / "profile") as driver:
        page = Page(driver)
        yield page
        assert page.outside_requests() == []
        assert page.complaints() == []


def ask(address: str, query: str, variables: dict[str, Any] | None = None, *, token: str = "") -> dict[str, Any]:
    """One operation past the browser, to loopback by number: not every resolver knows `*.localhost`."""
    target = urlsplit(address)
    headers = {"host": target.netloc} | ({"authorization": f"Bearer {token}"} if token else {})
    body = {"query": query, "variables": variables or {}}
    answer = httpx.post(f"http://127.0.0.1:{target.port}/graphql", json=body, headers=headers, timeout=WAIT_SECONDS_MAX)
    told: dict[str, Any] = answer.json()
    assert "errors" not in told, told
    data: dict[str, Any] = told["data"]
    return data


def token_of(name: str, address: str) -> str:
    """A new access token of a demo user for this host."""
    login = "mutation($input: LoginInput!) { login(input: $input) { token userErrors { message } } }"
    payload = ask(address, login, {"input": {"email": f"{name}@example.com", "password": PASSWORD}})["login"]
    assert payload["userErrors"] == []
    token: str = payload["token"]
    return token


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Half a second of a real video."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for shade in range(12):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([shade * 20]) * plane.buffer_size)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_visitor_runs_a_query_on_the_central_host(page: Page, server: Server) -> None:
    page.open(server.url)
    page.says("host", "central")
    page.start("catalog")
    page.answer_holds('"categories"')


def test_the_docs_panel_is_read(page: Page, server: Server) -> None:
    page.open(server.url)
    page.css('[aria-label="Show Documentation Explorer"]').click()
    page.until(lambda driver: driver.find_element(By.LINK_TEXT, "Query")).click()
    page.until(lambda driver: driver.find_element(By.LINK_TEXT, "gallery")).click()
    page.until(lambda driver: "GalleryOrder" in driver.find_element(By.CSS_SELECTOR, ".graphiql-plugin").text)


def test_a_newcomer_jumps_to_a_demo_tenant_and_signs_in_with_one_press(page: Page, server: Server) -> None:
    page.open(server.url)
    page.by_id("demo-open").click()
    page.by_id("open-alice1").click()
    page.until(lambda driver: urlsplit(driver.current_url).hostname == "alice1.localhost")
    page.says("host", "alice1")
    page.by_id("sign-in-here").click()
    page.says("token-status", "alice@example.com")
    page.start("dashboard")
    page.answer_holds('"wallet"')


def test_a_token_of_another_tenant_is_told_to_be_of_no_use_here(page: Page, server: Server) -> None:
    page.open(server.tenant_url("alice1"))
    page.by_id("token").send_keys(token_of("bob", server.tenant_url("bob2")))
    page.says("token-status", "Not accepted")


def test_a_subscription_shows_the_balance_and_its_change(page: Page, server: Server) -> None:
    address = server.tenant_url("bob2")
    token = token_of("bob", address)
    before = ask(address, "{ wallet { balance } }", token=token)["wallet"]["balance"]
    page.open(address)
    page.sign_in(token)
    page.start("wallet-live")
    page.answer_holds(f'"balance": {before}')
    claim = "mutation { claimReward(kind: DAILY) { reward { tokens } wallet { balance } userErrors { code } } }"
    claimed = ask(address, claim, token=token)["claimReward"]
    assert claimed["userErrors"] == []
    assert claimed["wallet"]["balance"] == before + claimed["reward"]["tokens"]
    page.answer_holds(f'"balance": {claimed["wallet"]["balance"]}')


def test_a_file_is_uploaded_and_becomes_a_video(page: Page, server: Server, clip: Path) -> None:
    address = server.tenant_url("alice1")
    token = token_of("alice", address)
    page.open(address)
    page.sign_in(token)
    page.by_id("upload-open").click()
    page.by_id("upload-file").send_keys(str(clip))
    file_id = page.by_id("upload-file-id").text
    stored = ask(address, "{ files(first: 1) { nodes { id name status sizeBytes } } }", token=token)["files"]["nodes"]
    assert stored == [{"id": file_id, "name": "clip.mp4", "status": "READY", "sizeBytes": clip.stat().st_size}]
    page.by_id("upload-use").click()
    page.run()
    page.answer_holds('"createVideo"')
    page.answer_holds(file_id)


def test_a_refused_upload_says_why(page: Page, server: Server, clip: Path) -> None:
    page.open(server.tenant_url("alice1"))
    page.by_id("upload-open").click()
    page.by_id("upload-file").send_keys(str(clip))
    page.says("upload-status", "UNAUTHENTICATED")


def test_html_in_a_file_name_stays_text(page: Page, server: Server, clip: Path) -> None:
    hostile = clip.rename(clip.with_name("<img src=x onerror=alert(1)>.mp4"))
    address = server.tenant_url("alice1")
    page.open(address)
    page.sign_in(token_of("alice", address))
    page.by_id("upload-open").click()
    page.by_id("upload-file").send_keys(str(hostile))
    page.by_id("upload-file-id")
    page.says("upload-status", hostile.name)
    page.by_id("upload-use").click()
    page.run()
    page.answer_holds("<img src=x onerror=alert(1)>")
    page.start("dashboard")
    page.answer_holds("<img src=x onerror=alert(1)>")
    assert page.driver.find_elements(By.CSS_SELECTOR, "img[src='x']") == []
