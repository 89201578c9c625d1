"""The servers that are measured, each a real process on a loopback port of its own; started, asked, stopped.

Who they are and what they are started with is said in `bench/contenders.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench import places

START_SECONDS_MAX = 90.0
STOP_SECONDS_MAX = 30.0
LOG_CHARACTERS_SHOWN = 3_000
STATEMENTS = re.compile(r"^(?:atrium|bench)_sql_statements_total(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Contender:
    """A server to be measured: `command` and `environment` without its port, which is told in both.

    `processes` is how many serve; with more than one the statements cannot be counted over `/metrics`.
    """

    name: str
    command: list[str]
    environment: Mapping[str, str]
    processes: int = 1


@dataclass(frozen=True, slots=True)
class Running:
    """A contender that answers on a port."""

    contender: Contender
    pid: int
    port: int
    log: Path

    @property
    def name(self) -> str:
        """The contender's name."""
        return self.contender.name

    async def statements(self) -> int | None:
        """How many SQL statements it has sent so far; None where nobody can say."""
        if self.contender.processes > 1:
            return None
        async with httpx.AsyncClient(trust_env=False) as client:
            told = await client.get(f"http://127.0.0.1:{self.port}/metrics")
        found = STATEMENTS.findall(told.text)
        return round(sum(float(number) for number in found)) if found else None

    def last_words(self) -> str:
        """The end of what it has written."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-LOG_CHARACTERS_SHOWN:]


@contextlib.asynccontextmanager
async def running(contender: Contender) -> AsyncIterator[Running]:
    """The contender, answering; ended with the block. Raises RuntimeError with its log where it does not start."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port: int = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        log = Path(folder) / "server.log"
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *[part.replace("{port}", str(port)) for part in contender.command],
                cwd=places.ROOT,
                env={**contender.environment, "BENCH_PORT": str(port)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        found = Running(contender, process.pid, port, log)
        try:
            await _answers(found, process)
            yield found
        finally:
            await _stopped(process)


async def _answers(found: Running, process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(START_SECONDS_MAX), httpx.AsyncClient(trust_env=False) as client:
            while process.returncode is None:
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(f"http://127.0.0.1:{found.port}/healthz")).status_code == 200:
                        return
                await asyncio.sleep(0.1)
    except TimeoutError:
        pass
    raise RuntimeError(f"{found.name} does not answer:\n{found.last_words()}")


async def _stopped(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS_MAX):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
