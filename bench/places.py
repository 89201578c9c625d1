"""Where the bench works: databases of its own on one MariaDB, and the environment that our server gets.

What is in the databases is drawn in `bench/rows.py`. `BENCH_MYSQL` names another server (host:port, user root).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"

PREFIX = "atrium_bench_"
CENTRAL = f"{PREFIX}central"
POOLS = {"tenant_pool_1": f"{PREFIX}pool_1", "tenant_pool_2": f"{PREFIX}pool_2"}
NOTES = f"{PREFIX}notes"
# Money has databases of its own: what is bought there would change what the other workloads read.
SHOP_CENTRAL = f"{PREFIX}shop_central"
SHOP_POOLS = {"tenant_pool_1": f"{PREFIX}shop_pool_1", "tenant_pool_2": f"{PREFIX}shop_pool_2"}
SHOP = (SHOP_CENTRAL, SHOP_POOLS)
MYSQL_DEFAULT = "127.0.0.1:3306"
USER = "root"

# The hosts that requests name; nothing resolves them, clients connect to loopback. Without a port, so that the
# addresses in every server's answers are the same.
BASE_DOMAIN = "bench.localhost"
SECRET_KEY = "bench" * 8
UNREACHED = "1000000000+1000000000"


def mysql() -> tuple[str, int]:
    """Host and port of the MariaDB that is measured over."""
    host, _, port = os.environ.get("BENCH_MYSQL", MYSQL_DEFAULT).rpartition(":")
    return host, int(port)


def url(database: str = "", *, driver: str = "asyncmy") -> str:
    """The SQLAlchemy URL of a database of the bench, or of the server itself."""
    host, port = mysql()
    return f"mysql+{driver}://{USER}@{host}:{port}/{database}"


def environment(
    var: Path, *, driver: str = "asyncmy", central: str = CENTRAL, pools: Mapping[str, str] = POOLS
) -> dict[str, str]:
    """Everything `atrium serve` needs to serve the bench's databases; `var` is a folder of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ATRIUM_")}
    return {
        **inherited,
        "ATRIUM_VAR": str(var),
        "ATRIUM_CENTRAL_URL": url(central, driver=driver),
        "ATRIUM_POOLS": json.dumps({name: url(database, driver=driver) for name, database in pools.items()}),
        "ATRIUM_BASE_DOMAIN": BASE_DOMAIN,
        "ATRIUM_SECRET_KEY": SECRET_KEY,
        # Counted like everybody's, and never empty.
        "ATRIUM_BUDGET_ADDRESS": UNREACHED,
        "ATRIUM_BUDGET_VIEWER": UNREACHED,
        "ATRIUM_BUDGET_TENANT": UNREACHED,
    }


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this tree with this interpreter."""
    return [sys.executable, "-m", module, *arguments]
