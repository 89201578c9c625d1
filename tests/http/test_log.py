"""Every request of a real server has its line in the log, also the last ones before it stops."""

from __future__ import annotations

import json
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests import serving

ENDED = (0, -signal.SIGTERM)
HOSTILE = ['a"b', "back\\slash", "Größe", "line\nend", "\u202eright to left", "}{", "x" * 200, "", None]


def ids_of(port, names):
    """Ask once for each operation name over one connection; the ids that the answers tell."""
    with httpx.Client(trust_env=False, timeout=30) as client:
        found = []
        for name in names:
            body = {"query": "query Größe { __typename }", "operationName": name}
            answer = client.post(f"http://127.0.0.1:{port}/graphql", json=body, headers={"host": f"localhost:{port}"})
            found.append(answer.headers["x-request-id"])
        return found


@pytest.mark.parametrize("workers", [1, 2])
def test_no_line_is_lost_or_torn_however_many_processes_write_and_stop(workers, tmp_path):
    environment = {"ATRIUM_VAR": str(tmp_path)}
    done = serving.command("migrate", environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    with serving.process(environment, tmp_path, "--workers", str(workers), "--no-worker") as running:
        with ThreadPoolExecutor(8) as pool:
            asked = [each for ids in pool.map(lambda _: ids_of(running.port, HOSTILE * 5), range(8)) for each in ids]
        # The last of them were answered a moment ago.
        assert running.stop() in ENDED
        lines = [json.loads(line) for line in running.log.read_text().splitlines() if line.startswith("{")]
    told = [line for line in lines if line["event"] == "request" and line["path"] == "/graphql"]
    assert Counter(line["id"] for line in told) == Counter(asked)
    assert {line["operation"] for line in told} == {"Größe", None}
    assert [line["event"] for line in lines].count("stopping") == workers
