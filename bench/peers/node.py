"""The Node peers: installed by `npm ci` on first use, left out with a reason where Node is not here."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

from bench import places, rows
from bench.contenders import inherited
from bench.rows import Sizes
from bench.servers import Contender

FOLDER = places.ROOT / "bench" / "peers" / "mercurius"
INSTALLED = FOLDER / "node_modules" / ".installed"
INSTALL_SECONDS_MAX = 600
MERCURIUS = "Mercurius"
WITH_SNAPSHOT = "Mercurius, our SQL"


class Missing(Exception):
    """The peer cannot run here; the message says why in one line."""


def contenders(var: Path, sizes: Sizes) -> list[Contender]:
    """Mercurius as documented, and the same given our catalog snapshot and nested statement. Raises Missing."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        raise Missing("Mercurius is not measured: there is no node with npm here.")
    _install()
    owners = var / "owners.json"
    owners.write_text(json.dumps(_owners(sizes)), encoding="utf-8")
    host, port = places.mysql()
    environment = {
        **inherited(),
        "NODE_ENV": "production",
        "BENCH_OWNERS": str(owners),
        "BENCH_MYSQL_HOST": host,
        "BENCH_MYSQL_PORT": str(port),
        "BENCH_MYSQL_USER": places.USER,
        "BENCH_CENTRAL": places.CENTRAL,
    }
    server = str(FOLDER / "server.mjs")
    return [
        Contender(MERCURIUS, [node, server], environment),
        Contender(WITH_SNAPSHOT, [node, server, "--snapshot"], environment),
    ]


def _install() -> None:
    """Install what the lock says, once for each lock."""
    lock = hashlib.sha256((FOLDER / "package-lock.json").read_bytes()).hexdigest()
    if INSTALLED.exists() and INSTALLED.read_text(encoding="ascii") == lock:
        return
    command = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        subprocess.run(command, cwd=FOLDER, check=True, timeout=INSTALL_SECONDS_MAX)
    except (subprocess.SubprocessError, OSError) as error:
        raise Missing(f"Mercurius is not measured: npm ci failed ({error}).") from error
    INSTALLED.write_text(lock, encoding="ascii")


def _owners(sizes: Sizes) -> dict[str, dict[str, str]]:
    """Authorization header → who that is; ids as text, since Node's numbers are too short for them."""
    return {
        f"Bearer {owner.token}": {
            "host": owner.host,
            "tenant": owner.tenant,
            "user": str(owner.user_id),
            "database": places.POOLS[owner.pool],
        }
        for owner in rows.owners(sizes)
    }
