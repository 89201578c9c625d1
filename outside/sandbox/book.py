"""What the provider knows: its objects, events, answered keys and clock, in one SQLite file or in memory.

One call of a person, a bank or a client is one transaction: it happens whole or not at all, also when the process is
killed, and all it makes carries the same second. Objects are handed out as copies; `change` and `add` keep them.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import stripe

from outside.sandbox import faults, shapes
from outside.sandbox.shapes import CLASSES, Body

KEY_SECONDS_MAX = 24 * 3_600
EVENTS_MAX = 20_000
OBJECTS_MAX = 100_000
SWEEP_EVERY_CALLS = 500
PREFIXES = {
    "balance_transaction": "txn",
    "charge": "ch",
    "checkout.session": "cs_test",
    "customer": "cus",
    "dispute": "du",
    "event": "evt",
    "invoice": "in",
    "invoice_payment": "inpay",
    "item": "li",
    "line_item": "il",
    "payment_intent": "pi",
    "payment_method": "pm",
    "price": "price",
    "product": "prod",
    "refund": "re",
    "subscription": "sub",
    "subscription_item": "si",
}
TABLES = """
CREATE TABLE IF NOT EXISTS objects (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, created INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS objects_by_kind ON objects (kind, seq);
CREATE INDEX IF NOT EXISTS objects_by_charge ON objects (kind, json_extract(body, '$.charge'));
CREATE INDEX IF NOT EXISTS objects_by_invoice ON objects (kind, json_extract(body, '$.invoice'));
CREATE INDEX IF NOT EXISTS objects_by_end ON objects (
    kind, json_extract(body, '$.status'), json_extract(body, '$.expires_at')
);
CREATE TABLE IF NOT EXISTS notes (id TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS keys (
    key TEXT PRIMARY KEY, asked TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL, at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS deliveries (event_id TEXT PRIMARY KEY, tries INTEGER NOT NULL, due REAL NOT NULL);
"""


class Book:
    """Safe to use from several threads; `call` is held by one at a time."""

    def __init__(self, path: Path | None = None, *, delivers: bool = False) -> None:
        """`path` is a file that lasts, None memory alone; with `delivers` every event waits to be sent."""
        self._lock = threading.RLock()
        self._depth = 0
        self._at = 0
        self._calls = 0
        self._delivers = delivers
        self._database = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
        # The file outlives a killed process; what the machine loses with its power is no matter in test mode.
        self._database.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; {TABLES}")
        self._ahead: float = self.note("clock").get("ahead", 0.0)

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """One call: everything inside is kept together, or nothing where it raises."""
        with self._lock:
            if self._depth == 0:
                self._at = int(self.now())
                self._database.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._database.execute("ROLLBACK")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._sweep()
                self._database.execute("COMMIT")

    def now(self) -> float:
        """Seconds since 1970 by the provider's clock."""
        return time.time() + self._ahead

    @property
    def at(self) -> int:
        """The second of the call that is going on."""
        return self._at

    def advance(self, seconds: float) -> None:
        """Set the clock ahead, for this book's whole life."""
        with self.call():
            self.write_note("clock", ahead=self._ahead + seconds)
            self._ahead += seconds

    def make(self, kind: str, **known: Any) -> Body:
        """An object with an id that is kept nowhere yet. Raises KeyError for a field that the library has not."""
        own = {"id": new_id(kind), "created": self._at, "livemode": False, "object": kind}
        body = shapes.blank(CLASSES[kind])
        return shapes.filled(body, {name: value for name, value in own.items() if name in body} | known)

    def add(self, kind: str, **known: Any) -> Body:
        """Make an object and keep it."""
        return self._keep(self.make(kind, **known))

    def change(self, body: Body, **known: Any) -> Body:
        """Set fields of an object, which is kept; the body handed in is changed too."""
        body.update(shapes.filled(body, known))
        return self._keep(body)

    def get(self, kind: str, object_id: str, *, param: str = "id") -> Body:
        """A copy of an object. Raises ApiError (404)."""
        with self._lock:
            found = self._database.execute("SELECT body FROM objects WHERE id = ? AND kind = ?", (object_id, kind))
            row = found.fetchone()
        if row is None:
            raise faults.missing(kind, object_id, param=param)
        body: Body = json.loads(row[0])
        return body

    def each(self, kind: str, /, **where: Any) -> Iterator[Body]:
        """Copies of all objects of a kind with these values, newest first."""
        # The names are our own and stand in the text, as an index knows a path by its text alone.
        tests = "".join(f" AND json_extract(body, '$.{name}') IS ?" for name in where)
        return self._bodies(f"kind = ?{tests} ORDER BY seq DESC", kind, *where.values())

    def behind(self, kind: str, object_id: str, /) -> Iterator[Body]:
        """Copies of all objects of a kind that came after this one, newest first."""
        mine = "(SELECT seq FROM objects WHERE kind = ? AND id = ?)"
        return self._bodies(f"kind = ? AND seq > {mine} ORDER BY seq DESC", kind, kind, object_id)

    def overdue(self) -> Iterator[Body]:
        """Checkout sessions that are open, and whose time is over."""
        ends = "json_extract(body, '$.status') IS 'open' AND json_extract(body, '$.expires_at') <= ?"
        return self._bodies(f"kind = 'checkout.session' AND {ends}", self._at)

    def _bodies(self, where: str, *values: Any) -> Iterator[Body]:
        with self._lock:
            rows = self._database.execute(f"SELECT body FROM objects WHERE {where}", values).fetchall()
        return (json.loads(row[0]) for row in rows)

    def emit(self, type: str, about: Body, *, before: Mapping[str, Any] | None = None) -> Body:
        """Tell that something happened to an object, as it is now; `before` are changed fields as they were."""
        data = {"object": about} if before is None else {"object": about, "previous_attributes": dict(before)}
        event = self.add(
            "event",
            type=type,
            api_version=stripe.api_version,
            data=data,
            pending_webhooks=1 if self._delivers else 0,
            request={"id": None, "idempotency_key": None},
        )
        if self._delivers:
            self._database.execute("INSERT INTO deliveries VALUES (?, 0, ?)", (event["id"], time.time()))
        return event

    def note(self, name: str) -> dict[str, Any]:
        """What is remembered beside an object and shown to nobody."""
        with self._lock:
            row = self._database.execute("SELECT body FROM notes WHERE id = ?", (name,)).fetchone()
        found: dict[str, Any] = {} if row is None else json.loads(row[0])
        return found

    def write_note(self, name: str, **known: Any) -> None:
        """Remember more beside an object."""
        body = json.dumps(self.note(name) | known)
        self._database.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, body))

    # ------------------------------------------------------------------------------------------- keys

    def answered(self, key: str) -> tuple[str, int, str] | None:
        """What was asked with this key in the last 24 hours, and the status and body that were answered."""
        with self._lock:
            row: tuple[str, int, str] | None = self._database.execute(
                "SELECT asked, status, body FROM keys WHERE key = ? AND at > ?", (key, self.now() - KEY_SECONDS_MAX)
            ).fetchone()
        return row

    def keep_answer(self, key: str, *, asked: str, status: int, body: str) -> None:
        """Answer the same to this key for 24 hours."""
        self._database.execute(
            "INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?)", (key, asked, status, body, self.now())
        )

    # ------------------------------------------------------------------------------------- deliveries

    def due(self, *, most: int) -> list[tuple[Body, int]]:
        """Events that wait to be sent now, and how often each was tried; the oldest first."""
        with self._lock:
            rows = self._database.execute(
                "SELECT body, tries FROM deliveries JOIN objects ON id = event_id WHERE due <= ? ORDER BY seq LIMIT ?",
                (time.time(), most),
            ).fetchall()
        return [(json.loads(body), tries) for body, tries in rows]

    def delivered(self, event: Body) -> None:
        """The event was taken, or is given up."""
        with self.call():
            self._database.execute("DELETE FROM deliveries WHERE event_id = ?", (event["id"],))
            self.change(event, pending_webhooks=0)

    def put_off(self, event: Body, *, seconds: float) -> None:
        """Send the event again later."""
        with self.call():
            self._database.execute(
                "UPDATE deliveries SET tries = tries + 1, due = ? WHERE event_id = ?",
                (time.time() + seconds, event["id"]),
            )

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._database.close()

    def _keep(self, body: Body) -> Body:
        self._database.execute(
            "INSERT INTO objects (id, kind, created, body) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            (body["id"], body["object"], body.get("created", self._at), json.dumps(body)),
        )
        return body

    def _sweep(self) -> None:
        """Forget old keys, and the oldest events and objects beyond what is kept."""
        self._calls += 1
        if self._calls % SWEEP_EVERY_CALLS:
            return
        self._database.execute("DELETE FROM keys WHERE at <= ?", (self.now() - KEY_SECONDS_MAX,))
        for kinds, most in (("kind = 'event'", EVENTS_MAX), ("kind <> 'event'", OBJECTS_MAX)):
            self._database.execute(
                f"DELETE FROM objects WHERE {kinds} AND seq <= "
                f"(SELECT seq FROM objects WHERE {kinds} ORDER BY seq DESC LIMIT 1 OFFSET ?)",
                (most,),
            )
        self._database.execute("DELETE FROM deliveries WHERE event_id NOT IN (SELECT id FROM objects)")
        self._database.execute("DELETE FROM notes WHERE id <> 'clock' AND id NOT IN (SELECT id FROM objects)")


def new_id(kind: str) -> str:
    """An id as the provider's look: its kind in front, then what nobody guesses."""
    return f"{PREFIXES[kind]}_{secrets.token_hex(12)}"
