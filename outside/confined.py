"""Runs one foreign program on one hostile file: limits, own session, empty environment, killed as a group.

What the program is and what its output means stand elsewhere (ffmpeg.py, probe.py). There is no chroot: that
ffmpeg opens nothing but what it is handed is the command line's doing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

STDERR_BYTES_MAX = 8_192
STDOUT_BYTES_MAX = 65_536
LINE_BYTES_MAX = 65_536
NOT_STARTED = 125
LAUNCHER = Path(__file__).with_name("confined_exec.py")


class MediaError(Exception):
    """The media cannot be used or made; `reason` is a sentence for the person who sent it (`AiJob.errorMessage`)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotStarted(Exception):
    """The program was not started: this machine's fault and not the media's, so it may be tried again."""


@dataclass(frozen=True)
class Limits:
    """What one run may use. `file_bytes` is each file it writes, `memory_bytes` its address space."""

    wall_seconds: float = 600.0
    cpu_seconds: int = 1_200
    memory_bytes: int = 3 * 1024**3
    file_bytes: int = 2 * 1024**3
    open_files: int = 64

    def as_rlimits(self) -> str:
        return json.dumps(
            {
                "RLIMIT_AS": self.memory_bytes,
                "RLIMIT_FSIZE": self.file_bytes,
                "RLIMIT_CPU": self.cpu_seconds,
                "RLIMIT_NOFILE": self.open_files,
                "RLIMIT_CORE": 0,
            }
        )


@dataclass(frozen=True)
class Ended:
    """How the program ended by itself: its code (never a signal's), and what it said."""

    code: int
    stdout: bytes
    stderr: str


async def run(
    command: Sequence[str],
    *,
    stdin: int,
    folder: Path,
    limits: Limits,
    pass_fds: Sequence[int] = (),
    on_line: Callable[[bytes], Awaitable[None]] | None = None,
) -> Ended:
    """Run the command in `folder` with the open file `stdin`, and wait.

    With `on_line` stdout is handed over by lines and not kept. Raises MediaError where a limit ended the run,
    NotStarted where it did not begin.
    Whatever ends this coroutine, cancellation or an error in `on_line` too, kills the whole process group first.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), limits.as_rlimits(), *command),
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LINE_BYTES_MAX,
        cwd=folder,
        env={},
        pass_fds=tuple(pass_fds),
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(limits.wall_seconds), asyncio.TaskGroup() as group:
            stdout = group.create_task(_stdout(process, on_line))
            stderr = group.create_task(_tail(process))
            group.create_task(process.wait())
    except TimeoutError:
        raise MediaError(f"Processing took longer than {limits.wall_seconds:g} seconds and was stopped.") from None
    except BaseExceptionGroup as several:
        # The group wraps what on_line raised; its caller wants the error itself.
        raise several.exceptions[0] from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        _close(process)
    ended = Ended(process.returncode or 0, stdout.result(), stderr.result())
    if ended.code == NOT_STARTED:
        raise NotStarted(ended.stderr)
    if ended.code < 0:
        raise MediaError(_told_by_signal(-ended.code))
    return ended


def _told_by_signal(number: int) -> str:
    if number == signal.SIGXFSZ:
        return "The result would be too large."
    if number in (signal.SIGXCPU, signal.SIGKILL):
        return "Processing took too long and was stopped."
    return "Processing needed more memory than is allowed, or the file is damaged."


async def _stdout(process: asyncio.subprocess.Process, on_line: Callable[[bytes], Awaitable[None]] | None) -> bytes:
    stream = process.stdout
    if stream is None:
        return b""
    if on_line is None:
        return await _read_bounded(stream)
    async for line in stream:
        await on_line(line)
    return b""


async def _read_bounded(stream: asyncio.StreamReader) -> bytes:
    """The first bytes are kept, the rest is read and dropped so that nobody waits on a full pipe."""
    kept = b""
    while chunk := await stream.read(STDOUT_BYTES_MAX):
        kept += chunk[: STDOUT_BYTES_MAX - len(kept)]
    return kept


async def _tail(process: asyncio.subprocess.Process) -> str:
    kept = b""
    if process.stderr is not None:
        while chunk := await process.stderr.read(STDERR_BYTES_MAX):
            kept = (kept + chunk)[-STDERR_BYTES_MAX:]
    return kept.decode("utf-8", "replace")


def _close(process: asyncio.subprocess.Process) -> None:
    # asyncio gives no public way to close the transport; left open it warns when collected after the loop.
    transport = getattr(process, "_transport", None)
    if transport is not None:
        transport.close()
