"""Where the provider of a folder is, and by which keys it is spoken to; and starting it in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "place.json"
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 20.0


@dataclass(frozen=True, slots=True)
class Place:
    """The address of the API and the two secrets; like `ATRIUM_STRIPE_…` of another provider."""

    api_base: str
    secret_key: str
    webhook_secret: str


def found(folder: Path) -> Place | None:
    """The place that was written last, whether anybody is there now or not."""
    try:
        return Place(**json.loads((folder / FILE).read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def write(folder: Path, place: Place) -> None:
    """Whole or not at all, readable by the owner alone."""
    draft = folder / f".{FILE}.{os.getpid()}"
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(asdict(place)), encoding="ascii")
    draft.replace(folder / FILE)


class NotStarted(Exception):
    """The provider did not start; what it says stands on the standard error."""


@contextlib.contextmanager
def running(folder: Path, *, webhook: str | None) -> Iterator[Place]:
    """A provider in a process of its own, which ends with the block or with this process.

    Raises NotStarted, also where another process has the folder's.
    """
    command = [sys.executable, "-m", "outside.sandbox", str(folder), "--with-parent"]
    process = subprocess.Popen(
        [*command, *(("--webhook", webhook) if webhook else ())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # The terminal's ctrl-C is for the server, whose last requests may still need the provider.
        start_new_session=True,
    )
    try:
        yield _when_ready(process, folder)
    finally:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _when_ready(process: subprocess.Popen[bytes], folder: Path) -> Place:
    patience = threading.Timer(START_SECONDS_MAX, process.kill)
    patience.start()
    try:
        line = process.stdout.readline() if process.stdout is not None else b""
    finally:
        patience.cancel()
    place = found(folder) if line else None
    if place is None:
        raise NotStarted(f"The sandbox provider of {folder} did not start.")
    return place
