"""Whether all servers answer the same, byte for byte of the JSON values, before anything is timed.

Cursors are opaque and each server's own: of them it is compared whether there is one, and that is all.
"""

from __future__ import annotations

from typing import Any

import httpx

from bench.servers import Running
from bench.workloads import Workload

CURSORS = ("endCursor", "startCursor", "cursor")
SHOWN_CHARACTERS = 600


class Disagree(Exception):
    """Two servers answer one request differently; the message shows where."""


async def check(servers: list[Running], workload: Workload, requests: list[bytes]) -> None:
    """Send each request to each server. Raises Disagree at the first difference, or where an answer has errors."""
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        for request in requests:
            answers = [(server.name, await _asked(client, server.port, request)) for server in servers]
            for name, answer in answers:
                if not isinstance(answer, dict) or "errors" in answer or not answer.get("data"):
                    raise Disagree(f"{workload.name}: {name} answers {str(answer)[:SHOWN_CHARACTERS]}")
                where = _difference(answers[0][1], answer, "data")
                if where is not None:
                    raise Disagree(f"{workload.name}: {answers[0][0]} and {name} differ at {where}")


async def _asked(client: httpx.AsyncClient, port: int, request: bytes) -> Any:
    head, _, body = request.partition(b"\r\n\r\n")
    pairs = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:]]
    headers = {name: value for name, value in pairs if name != "Content-Length"}
    answer = await client.post(f"http://127.0.0.1:{port}/graphql", content=body, headers=headers)
    return answer.json()


def _shown(key: str, value: Any) -> Any:
    """What is compared of a member: of a cursor, whether there is one."""
    return isinstance(value, str) if key in CURSORS else value


def _difference(one: Any, other: Any, path: str) -> str | None:
    """The first place where two values differ; lists keep their order, objects do not."""
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            return f"{path}: {sorted(one)} and {sorted(other)}"
        compared = ((key, _shown(key, value), _shown(key, other[key])) for key, value in one.items())
        return next((f for key, a, b in compared if (f := _difference(a, b, f"{path}.{key}")) is not None), None)
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return f"{path}: {len(one)} and {len(other)} long"
        pairs = enumerate(zip(one, other, strict=True))
        return next((f for i, (a, b) in pairs if (f := _difference(a, b, f"{path}[{i}]")) is not None), None)
    if type(one) is type(other) and one == other:
        return None
    # 1 and 1.0 are the same JSON number.
    if isinstance(one, int | float) and isinstance(other, int | float) and not isinstance(one, bool) and one == other:
        return None
    return f"{path}: {one!r} and {other!r}"
