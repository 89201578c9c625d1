"""`atrium serve` as an operator meets it: what it prints, what it refuses, how it stops."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading

import httpx
import pytest

from base import settings
from outside import services
from tests import serving

ENDED = (0, -signal.SIGTERM)


@pytest.fixture
def embedded(tmp_path):
    """Variables of an embedded set-up whose databases are at head."""
    environment = {"ATRIUM_VAR": str(tmp_path)}
    done = serving.command("migrate", environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return environment


def ask(port, host="localhost"):
    return httpx.post(
        f"http://127.0.0.1:{port}/graphql",
        json={"query": "{ __typename }"},
        headers={"host": f"{host}:{port}"},
        trust_env=False,
        timeout=30,
    )


def test_serving_says_where_to_go_and_what_a_resolver_may_not_know(embedded, tmp_path):
    with serving.process(embedded, tmp_path) as running:
        assert ask(running.port).json() == {"data": {"__typename": "Query"}}
        assert ask(running.port, "nobody.localhost").status_code == 404
        assert running.stop() in ENDED
        said = running.log.read_text()
    assert f"http://localhost:{running.port}/graphql" in said
    try:
        socket.getaddrinfo("alice1.localhost", 80)
    except OSError:
        assert f"`Host: alice1.localhost:{running.port}`" in said
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [line["event"] for line in lines if line["event"] in ("started", "stopping")] == ["started", "stopping"]


def test_databases_that_wait_for_a_migration_are_not_served(tmp_path):
    done = serving.command("serve", environment={"ATRIUM_VAR": str(tmp_path)})
    assert done.returncode == 1
    assert "atrium migrate" in done.stderr


def test_a_taken_port_is_told_with_what_to_do(embedded):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        done = serving.command("serve", "--port", str(port), environment=embedded)
    assert done.returncode == 1
    assert f"--port {port + 1}" in done.stderr


def test_a_wrong_variable_is_told_by_its_name_and_without_a_trace(embedded):
    done = serving.command("serve", environment={**embedded, "ATRIUM_EGRESS_ALLOW": "everything"})
    assert done.returncode == 1
    assert "ATRIUM_EGRESS_ALLOW: 'everything' is no network:port" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ATRIUM_JOB_PROVIDERS", "{bad"),
        ("ATRIUM_STORAGE_URL", "ftp://store"),
        ("ATRIUM_SMTP_URL", "mail.example.com"),
        ("ATRIUM_REDIS_URL", "localhost:6379"),
    ],
)
def test_a_wrong_variable_is_named_wherever_it_is_read(tmp_path, name, value):
    given = {"ATRIUM_VAR": str(tmp_path), "ATRIUM_SECRET_KEY": "k" * 40, name: value}
    with pytest.raises((ValueError, settings.SettingsError), match=name):
        services.open_services(settings.read(given))


@pytest.mark.parametrize("begin", ["serve", "worker"])
def test_an_ffmpeg_that_reads_files_by_name_alone_is_refused_at_the_start(embedded, tmp_path, begin):
    old = tmp_path / "ffmpeg"
    old.write_text("#!/bin/sh\nprintf 'Input:\\n  file\\nOutput:\\n  file\\n'\n")
    old.chmod(0o755)
    done = serving.command(begin, environment={**embedded, "ATRIUM_FFMPEG": str(old)})
    assert done.returncode == 1
    assert "ATRIUM_FFMPEG" in done.stderr
    assert "no fd protocol" in done.stderr


def test_a_request_that_was_begun_is_answered_after_sigterm(embedded, tmp_path):
    with serving.process(embedded, tmp_path) as running:
        with contextlib.closing(socket.create_connection(("127.0.0.1", running.port), timeout=30)) as open_request:
            body = b'{"query": "{ __typename }"}'
            head = (
                "POST /graphql HTTP/1.1",
                "host: localhost",
                "content-type: application/json",
                f"content-length: {len(body)}",
            )
            open_request.sendall("\r\n".join((*head, "", "")).encode() + body[:5])
            assert ask(running.port).status_code == 200
            running.running.send_signal(signal.SIGTERM)
            # Nobody is accepted any more; what was begun is waited for.
            while _accepts(running.port):
                threading.Event().wait(0.05)
            assert running.running.poll() is None
            open_request.sendall(body[5:])
            # Head and body may come apart; the server ends the connection after them.
            answer = b"".join(iter(lambda: open_request.recv(65_536), b""))
        assert b'{"data":{"__typename":"Query"}}' in answer
        assert running.running.wait(serving.STOP_SECONDS_MAX) in ENDED


def _accepts(port):
    with contextlib.closing(socket.socket()) as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_several_processes_serve_one_port_and_stop_together(embedded, tmp_path):
    with serving.process(embedded, tmp_path, "--workers", "2") as running:
        for _ in range(10):
            assert ask(running.port).status_code == 200
        assert running.stop() in ENDED
        started = [line for line in running.log.read_text().splitlines() if '"event":"started"' in line]
    assert len(started) == 2


def test_the_worker_alone_starts_and_stops(embedded, tmp_path):
    log = tmp_path / "worker.log"
    with log.open("wb") as out:
        running = serving.start("worker", environment=embedded, out=out)
        try:
            while b'"started"' not in log.read_bytes():
                assert running.poll() is None, log.read_text()
                threading.Event().wait(0.1)
            running.send_signal(signal.SIGTERM)
            assert running.wait(serving.STOP_SECONDS_MAX) == 0
        finally:
            if running.poll() is None:
                running.kill()
                running.wait()
