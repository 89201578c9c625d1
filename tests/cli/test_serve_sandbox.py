"""The payment provider of our own beside `atrium serve`: where it is started, where it never is, and who finds it."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import time
from pathlib import Path

import httpx
import pytest

from base import settings
from outside.sandbox import place
from tests import serving

WAIT_SECONDS_MAX = 60


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    """A folder of databases at head, made once."""
    folder = tmp_path_factory.mktemp("migrated")
    done = serving.command("migrate", environment={"ATRIUM_VAR": str(folder)})
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def embedded(migrated, tmp_path):
    """Variables of an embedded set-up whose databases are at head."""
    shutil.copytree(migrated, tmp_path, dirs_exist_ok=True)
    return {"ATRIUM_VAR": str(tmp_path)}


def processes_of(folder):
    """The command lines of the providers that run over a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"outside.sandbox" in line and str(folder).encode() in line:
            found.append(line)
    return found


def answers(there):
    headers = {"authorization": f"Bearer {there.secret_key}"}
    return httpx.get(f"{there.api_base}/v1/events", headers=headers, trust_env=False).status_code == 200


def until(condition):
    """Wait for what another process does; whether it came about in time."""
    end = time.monotonic() + WAIT_SECONDS_MAX
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def gone(there):
    return until(lambda: _status(there.api_base) is None)


def _status(address):
    try:
        return httpx.get(address, trust_env=False).status_code
    except httpx.TransportError:
        return None


def found(folder):
    """Where the provider of a folder is."""
    there = place.found(folder / "sandbox")
    assert there is not None
    return there


def test_the_embedded_server_starts_it_says_where_and_takes_it_along(embedded, tmp_path):
    folder = tmp_path / "sandbox"
    with serving.process(embedded, tmp_path, "--workers", "2") as running:
        there = found(tmp_path)
        assert answers(there)
        assert len(processes_of(folder)) == 1
        assert f"http://127.0.0.1:{running.port}/webhooks/stripe".encode() in processes_of(folder)[0]
        # Another process of the set-up, as the worker is one, is pointed at it.
        given = settings.read(embedded)
        assert (given.stripe_api_base, given.stripe_secret_key) == (there.api_base, there.secret_key)
        assert given.stripe_webhook_secret == there.webhook_secret
        running.stop()
        said = running.log.read_text()
    assert said.count(f"Payments in test mode:    {there.api_base}") == 1
    assert there.secret_key not in said
    assert there.webhook_secret not in said
    assert gone(there)


def test_a_second_server_over_the_folder_uses_the_firsts_which_ends_with_it_even_killed(embedded, tmp_path):
    folder = tmp_path / "sandbox"
    with serving.process(embedded, tmp_path) as first:
        there = found(tmp_path)
        with serving.process(embedded, tmp_path) as second:
            assert second.port != first.port
            assert there.api_base in second.log.read_text()
            assert len(processes_of(folder)) == 1
        assert answers(there)
        first.running.kill()
        first.running.wait()
        assert gone(there)


def test_where_a_provider_is_configured_ours_is_not_started(embedded, tmp_path):
    configured = {**embedded, "ATRIUM_STRIPE_API_BASE": "http://127.0.0.1:9", "ATRIUM_STRIPE_SECRET_KEY": "sk_test_1"}
    with serving.process(configured, tmp_path) as running:
        assert place.found(tmp_path / "sandbox") is None
        assert processes_of(tmp_path / "sandbox") == []
        assert "test mode" not in running.log.read_text()


ELSEWHERE = {
    "another centre": ({"ATRIUM_CENTRAL_URL": "sqlite+aiosqlite:////nowhere/central.sqlite3"}, True),
    "other pools": ({"ATRIUM_POOLS": '{"one": "sqlite+aiosqlite:////nowhere/one.sqlite3"}'}, True),
    "a domain": ({"ATRIUM_BASE_DOMAIN": "atrium.example"}, True),
    "other hosts": ({}, False),
    "a provider": ({"ATRIUM_STRIPE_SECRET_KEY": "sk_test_1"}, True),
    "half a provider": ({"ATRIUM_STRIPE_WEBHOOK_SECRET": "whsec_1"}, True),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_only_the_embedded_set_up_without_a_provider_has_it(tmp_path, name):
    (tmp_path / "sandbox").mkdir()
    place.write(tmp_path / "sandbox", place.Place("http://127.0.0.1:1", "sk_test_ours", "whsec_ours"))
    own = {"ATRIUM_VAR": str(tmp_path), "ATRIUM_SECRET_KEY": "k" * 40}
    assert settings.read(own).sandbox
    assert settings.read(own).stripe_secret_key == "sk_test_ours"
    changed, loopback = ELSEWHERE[name]
    given = settings.read({**own, **changed}, loopback=loopback)
    assert not given.sandbox
    assert "ours" not in str((given.stripe_secret_key, given.stripe_webhook_secret))
    assert given.stripe_api_base is None


def test_serving_others_than_the_machine_itself_never_starts_it(embedded, tmp_path):
    # Any other address counts as other hosts' door, even one of this machine.
    host = "127.0.0.2"
    with contextlib.closing(socket.create_server((host, 0))) as free:
        port = free.getsockname()[1]
    log = tmp_path / "serve.log"
    with log.open("wb") as out:
        running = serving.start("serve", "--host", host, "--port", str(port), environment=embedded, out=out)
    try:
        until(lambda: _status(f"http://{host}:{port}/healthz") == 200 or running.poll() is not None)
        assert running.poll() is None, log.read_text()
        assert place.found(tmp_path / "sandbox") is None
        assert "test mode" not in log.read_text()
    finally:
        running.kill()
        running.wait()


@pytest.mark.parametrize("content", ["", "[]", "{", json.dumps({"api_base": "x"})])
def test_a_damaged_place_is_no_place(tmp_path, content):
    (tmp_path / "sandbox").mkdir()
    (tmp_path / "sandbox" / place.FILE).write_text(content)
    given = settings.read({"ATRIUM_VAR": str(tmp_path), "ATRIUM_SECRET_KEY": "k" * 40})
    assert given.sandbox
    assert given.stripe_api_base is given.stripe_secret_key is None
    assert place.found(tmp_path / "sandbox") is None
