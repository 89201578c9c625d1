"""The product's short patiences, made long for tests: a machine that stands still for seconds must fail none.

Whoever tests one of them sets it as short as the test wants it, with monkeypatch; processes that are started as an
operator starts them have them as they are shipped. Passwords are hashed quickly here, as nearly every test registers
somebody: 64 MiB and a third of a second each were a third of the suite. SQLite does not wait for the disk at each
commit: tests kill processes, and no test takes the machine's power.
"""

from __future__ import annotations

import importlib

from argon2 import PasswordHasher

from actions.identity import hashing
from db import engines

SECONDS = 60.0
WIDENED = (
    ("actions.billing.orders", "ANSWER_SECONDS_MAX"),
    ("actions.billing.sessions", "ANSWER_SECONDS_MAX"),
    ("actions.gallery.publish", "DELIVERY_SECONDS_MAX"),
    ("db.clock", "ROUND_TRIP_SECONDS_MAX"),
    ("db.engines", "CONNECTION_WAIT_SECONDS"),
    ("db.engines", "CONNECT_SECONDS_MAX"),
    ("db.health", "ANSWER_SECONDS_MAX"),
    ("db.leases", "ANSWER_SECONDS_MAX"),
    ("db.leases", "CONNECT_SECONDS_MAX"),
    ("db.leases", "END_SECONDS_MAX"),
    ("db.leases", "STATEMENT_SECONDS_MAX"),
    ("db.leases", "WAIT_SECONDS_MAX"),
    ("db.patience", "ANSWER_SECONDS_MAX"),
    ("db.session", "TRANSACTION_SECONDS_MAX"),
    ("execution.document", "PLANNING_SECONDS_MAX"),
    ("execution.endpoint", "EXECUTION_SECONDS_MAX"),
    ("execution.endpoint", "LINGER_SECONDS_MAX"),
    ("execution.live", "GOODBYE_SECONDS_MAX"),
    ("execution.live", "INIT_SECONDS_MAX"),
    ("execution.planning", "DOOR_SECONDS_MAX"),
    ("execution.request", "BODY_SECONDS_MAX"),
    ("execution.serving", "HEADER_SECONDS_MAX"),
    ("outside.ffmpeg", "LOOK_SECONDS_MAX"),
    ("outside.job_http", "OFFER_SECONDS_MAX"),
    ("outside.lookups", "LOOKUP_SECONDS_MAX"),
    ("outside.mail", "SMTP_SECONDS_MAX"),
    ("outside.stripe_api", "CALL_SECONDS_MAX"),
    ("outside.stripe_api", "REQUEST_SECONDS_MAX"),
    ("tenancy.context", "DELIVERY_SECONDS_MAX"),
    ("tenancy.directory", "CLOSE_SECONDS_MAX"),
    ("tenancy.house", "TASKS_SECONDS_MAX"),
    ("tenancy.slices", "ANSWER_SECONDS_MAX"),
    ("webhooks.stripe_in", "BODY_SECONDS_MAX"),
)


# What they are as shipped, for those who assert on that.
SHIPPED: dict[tuple[str, str], float] = {}
SHIPPED_HASHER = hashing._HASHER
SHIPPED_SYNCHRONOUS = engines.SQLITE_SYNCHRONOUS
QUICK_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def ease() -> None:
    """Make each of them long and hashes quick, for this process and its whole life."""
    for module, name in WIDENED:
        where = importlib.import_module(module)
        shipped = SHIPPED.setdefault((module, name), getattr(where, name))
        # Some are said to a server or a driver that takes whole seconds only.
        setattr(where, name, type(shipped)(SECONDS))
    engines.SQLITE_SYNCHRONOUS = "NORMAL"
    hashing._HASHER, hashing._NOBODYS = QUICK_HASHER, QUICK_HASHER.hash("nobody has this password")
