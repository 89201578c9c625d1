"""A real browser without a window, that reaches loopback alone: headless Chromium, with a profile of the test's own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

WAIT_SECONDS_MAX = 60
LOCAL_SCHEMES = {"data", "blob", "chrome", "about", "chrome-untrusted"}
# The names of loopback resolve, nothing else does: what needs the network fails here.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,900",
)
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE *.localhost, EXCLUDE 127.0.0.1"

T = TypeVar("T")


class Tab:
    """One tab: what it shows, what it asked for, and what it complains of."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def until(self, condition: Callable[[webdriver.Chrome], T]) -> T:
        # A page may replace an element between finding and reading it: then it is looked for again.
        patience = WebDriverWait(self.driver, WAIT_SECONDS_MAX, ignored_exceptions=[StaleElementReferenceException])
        return patience.until(condition)

    def css(self, selector: str) -> WebElement:
        return self.until(lambda driver: driver.find_element(By.CSS_SELECTOR, selector))

    def outside_requests(self) -> list[str]:
        """Every address asked for that is neither loopback's nor the browser's own."""
        events = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [params["request"]["url"] for params in sent if not _is_local(params["request"]["url"])]

    def complaints(self) -> list[str]:
        """What the browser itself calls an error: a refused policy, a missing file, an exception."""
        return [entry["message"] for entry in self._log("browser") if entry["level"] == "SEVERE"]

    def _log(self, kind: str) -> list[dict[str, str]]:
        entries: list[dict[str, str]] = self.driver.get_log(kind)
        return entries


@contextlib.contextmanager
def opened(profile: Path, *flags: str) -> Iterator[webdriver.Chrome]:
    """A browser with a fresh profile. Without Chromium the test is skipped, or fails where services are required."""
    chromium, driver_path = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver_path is None:
        message = "Chromium and chromedriver are not installed"
        if os.environ.get("ATRIUM_REQUIRE_SERVICES") == "1":
            pytest.fail(message)
        pytest.skip(message)
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, OFFLINE, f"--user-data-dir={profile}", *flags):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_path))
    try:
        yield driver
    finally:
        driver.quit()


def _is_local(url: str) -> bool:
    address = urlsplit(url)
    host = address.hostname or ""
    return address.scheme in LOCAL_SCHEMES or host in {"localhost", "127.0.0.1"} or host.endswith(".localhost")
