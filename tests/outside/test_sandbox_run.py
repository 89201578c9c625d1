"""The sandbox provider in a process of its own: killed, started again, refused twice, and delivering what it tells."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
import stripe

from outside.sandbox import delivery, place
from outside.sandbox.provider import Provider
from tests import provider as providers

ROOT = Path(__file__).parents[2]
WAIT_SECONDS_MAX = 60


@contextlib.contextmanager
def receiving(*statuses):
    """A server that answers with these statuses, then 200; what it was sent, in order, and its address as `url`."""
    got = Received()
    left = list(statuses)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            status = left.pop(0) if left else 200
            got.append((status, self.headers["stripe-signature"], body))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            """A test's standard error is for what went wrong."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        got.url = f"http://127.0.0.1:{server.server_port}/webhooks/stripe"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield got
        finally:
            server.shutdown()
            thread.join()


class Received(list):
    """(status answered, signature, body) of each delivery."""

    url = ""

    def taken(self):
        """Types of the events that were answered 200, in the order they came."""
        return [json.loads(body)["type"] for status, _, body in self if status == 200]


def until(condition):
    """Wait for what another process does."""
    end = time.monotonic() + WAIT_SECONDS_MAX
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.05)
    return found


def call(there, method, path, **more):
    """A request with the provider's key."""
    headers = {"authorization": f"Bearer {there.secret_key}", **more.pop("headers", {})}
    answer = httpx.request(method, f"{there.api_base}{path}", headers=headers, trust_env=False, timeout=60, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def session(there, *, key):
    """A checkout of ten euros."""
    form = {
        "mode": "payment",
        "success_url": "https://shop.example/thanks",
        "line_items[0][price_data][currency]": "eur",
        "line_items[0][price_data][unit_amount]": "1000",
        "line_items[0][price_data][product_data][name]": "100 tokens",
        "line_items[0][quantity]": "1",
    }
    return call(there, "POST", "/v1/checkout/sessions", data=form, headers={"idempotency-key": key})


def press(made):
    answer = httpx.post(made["url"], data={"do": "pay"}, trust_env=False, timeout=60)
    assert answer.status_code == 303


def found(folder):
    there = place.found(folder)
    assert there is not None
    return there


def start(folder, *arguments):
    """The provider, and what it says when it is ready."""
    command = [sys.executable, "-m", "outside.sandbox", str(folder), *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    return process, process.stdout.readline()


@contextlib.contextmanager
def started(folder, *arguments):
    process, line = start(folder, *arguments)
    try:
        there = found(folder)
        assert json.loads(line) == {"api_base": there.api_base}
        yield process, there
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_it_keeps_its_place_its_keys_and_its_checkouts_when_it_is_killed(tmp_path):
    with started(tmp_path) as (process, there):
        made, paid = session(there, key="a"), session(there, key="b")
        press(paid)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with started(tmp_path) as (process, again):
        assert again == there
        assert session(again, key="a") == made
        assert call(again, "GET", f"/v1/checkout/sessions/{paid['id']}")["payment_status"] == "paid"
        press(made)
        assert len(call(again, "GET", "/v1/events", params={"limit": 100})["data"]) == 8
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_SECONDS_MAX) == 0


def test_its_secrets_are_for_its_owner_alone(tmp_path):
    with started(tmp_path / "new"):
        assert (tmp_path / "new" / place.FILE).stat().st_mode & 0o077 == 0
        assert (tmp_path / "new").stat().st_mode & 0o077 == 0


def test_a_folder_has_one_provider(tmp_path):
    with started(tmp_path) as (_, there):
        second, line = start(tmp_path)
        with second.stdout:
            assert (second.wait(WAIT_SECONDS_MAX), line) == (1, b"")
        with pytest.raises(place.NotStarted), place.running(tmp_path, webhook=None):
            pass
        assert place.found(tmp_path) == there
        assert call(there, "GET", "/v1/events")["data"] == []


def test_it_ends_with_whoever_started_it_however_they_end(tmp_path):
    code = (
        "import pathlib, sys, time\nfrom outside.sandbox import place\n"
        "with place.running(pathlib.Path(sys.argv[1]), webhook=None) as there:\n"
        "    print(there.api_base, flush=True)\n    sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    with parent.stdin, parent.stdout:
        assert parent.stdout.readline().startswith(b"http://127.0.0.1:")
        assert call(found(tmp_path), "GET", "/v1/events")["data"] == []
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    # The folder is free again once it is gone.
    until(lambda: _refused(found(tmp_path).api_base))
    with started(tmp_path):
        pass


def _refused(address):
    try:
        httpx.get(address, trust_env=False)
    except httpx.TransportError:
        return True
    return False


def test_events_are_sent_signed_until_they_are_taken_and_then_no_more(tmp_path):
    with receiving(500, 503, 302, 400) as receiver:
        with place.running(tmp_path, webhook=receiver.url) as there:
            press(session(there, key="a"))
            until(lambda: len(receiver.taken()) == 4)
            until(lambda: all(event["pending_webhooks"] == 0 for event in call(there, "GET", "/v1/events")["data"]))
        before = len(receiver)
        assert before == 8
        for _, signature, body in receiver:
            stripe.Webhook.construct_event(body, signature, there.webhook_secret)
        # Started again, it has nothing to send but what is new.
        with place.running(tmp_path, webhook=receiver.url) as there:
            press(session(there, key="b"))
            until(lambda: len(receiver.taken()) == 8)
        ids = [json.loads(body)["id"] for status, _, body in receiver if status == 200]
        assert len(set(ids)) == 8


def test_what_was_told_while_nobody_listened_is_sent_by_the_next_run(tmp_path):
    with receiving() as gone:
        nowhere = gone.url
    with place.running(tmp_path, webhook=nowhere) as there:
        press(session(there, key="a"))
    with receiving() as receiver, place.running(tmp_path, webhook=receiver.url):
        until(lambda: len(receiver.taken()) == 4)
    assert "checkout.session.completed" in receiver.taken()


async def test_an_event_that_nobody_takes_for_three_days_is_given_up():
    provider = Provider(delivers=True)
    try:
        with provider.book.call():
            event = provider.book.emit("customer.created", provider.book.add("customer"))
        with receiving(*[500] * 3) as receiver:
            async with httpx.AsyncClient(trust_env=False) as client:
                for tries in range(2):
                    await delivery._deliver(provider, client, receiver.url, event=event, tries=tries)
                    assert provider.get("event", event["id"])["pending_webhooks"] == 1
                # It waits, and longer each time.
                assert provider.book.due(most=1) == []
                provider.clock(days=3.1)
                await delivery._deliver(provider, client, receiver.url, event=event, tries=2)
        assert provider.get("event", event["id"])["pending_webhooks"] == 0
    finally:
        provider.close()


async def test_the_oldest_events_and_objects_are_let_go_beyond_what_is_kept(monkeypatch):
    monkeypatch.setattr("outside.sandbox.book.EVENTS_MAX", 20)
    monkeypatch.setattr("outside.sandbox.book.OBJECTS_MAX", 30)
    monkeypatch.setattr("outside.sandbox.book.SWEEP_EVERY_CALLS", 1)
    with providers.running() as provider:
        async with providers.calling(provider) as caller:
            for _ in range(15):
                provider.pay(await caller.session())
            newest = provider.events()[-1]
            assert len(provider.events()) == 20
            kinds = ("price", "product", "item", "checkout.session", "payment_intent", "payment_method", "charge")
            assert sum(len(provider.all(kind)) for kind in (*kinds, "balance_transaction")) == 30
            assert newest["data"]["object"]["status"] == "complete"
            # What is new goes on working.
            provider.pay(await caller.session())
