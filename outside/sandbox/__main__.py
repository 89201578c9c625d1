"""`python -m outside.sandbox FOLDER --webhook URL`: the provider in a process of its own, on loopback.

Its state, keys and address are kept in the folder, one process each folder. It says where it is in one line of JSON,
and stops by a signal, or with `--with-parent` when whoever started it is gone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
from pathlib import Path

import uvicorn

from outside.sandbox import delivery, place
from outside.sandbox.provider import Provider

FILE = "state.sqlite3"
BODY_SECONDS_MAX = 5


def main() -> int:
    """0 after a stop; 1 where another process has the folder."""
    parser = argparse.ArgumentParser(prog="python -m outside.sandbox", description=__doc__)
    parser.add_argument("folder", type=Path, help="where its state is kept")
    parser.add_argument("--port", type=int, default=0, help="the last one, or any free one, where none is said")
    parser.add_argument("--webhook", default=None, help="where its events are sent; nowhere, where none is said")
    parser.add_argument("--with-parent", action="store_true", help="stop when the standard input ends")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (given.folder / "lock").open("w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another process runs the provider of this folder", file=sys.stderr)  # noqa: T201 - a command's word
            return 1
        asyncio.run(_serve(given.folder, port=given.port, webhook=given.webhook, with_parent=given.with_parent))
    return 0


async def _serve(folder: Path, *, port: int, webhook: str | None, with_parent: bool) -> None:
    before = place.found(folder)
    listener = _listener(port, before)
    keys = {} if before is None else {"secret_key": before.secret_key, "webhook_secret": before.webhook_secret}
    provider = Provider(path=folder / FILE, delivers=webhook is not None, **keys)
    provider.base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(
        uvicorn.Config(
            provider.app,
            log_config=None,
            log_level="critical",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=BODY_SECONDS_MAX,
        )
    )
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if with_parent:
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _ended, stop)
    here = place.Place(provider.base, provider.secret_key, provider.webhook_secret)
    place.write(folder, here)
    print(json.dumps({"api_base": here.api_base}), flush=True)  # noqa: T201 - what it is asked for
    # Not `serve`, which would take the signals for itself.
    serving = asyncio.create_task(server._serve([listener]))  # noqa: SLF001
    sending = asyncio.create_task(delivery.run(provider, webhook, stop)) if webhook is not None else None
    await asyncio.wait(
        {serving, asyncio.create_task(stop.wait()), *({sending} if sending else ())},
        return_when=asyncio.FIRST_COMPLETED,
    )
    stop.set()
    server.should_exit = True
    await asyncio.gather(serving, *([sending] if sending else []))
    provider.close()


def _ended(stop: asyncio.Event) -> None:
    """Whoever started us holds the other end of the standard input; it ends with them, however they end."""
    with contextlib.suppress(OSError):
        if os.read(sys.stdin.fileno(), 1):
            return
    asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    stop.set()


def _listener(port: int, before: place.Place | None) -> socket.socket:
    """The port that is asked for, else the last one: addresses of open checkouts name it. Else any."""
    last = 0 if before is None else int(before.api_base.rpartition(":")[2])
    for wanted in (port,) if port else (last, 0):
        with contextlib.suppress(OSError):
            return socket.create_server(("127.0.0.1", wanted))
    raise SystemExit(f"Cannot listen on 127.0.0.1:{port}.")


if __name__ == "__main__":
    sys.exit(main())
