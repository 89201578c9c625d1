"""Ids: typed, time-ordered and unique over all tables, pools and processes; global ids; signed cursors.

An id is 41 bits of milliseconds since 2025, 10 of worker number, 12 of sequence. A process
owns the pair (number, [from, until)) by a lease, so no two processes ever share a
millisecond of a number, whatever their clocks say. Who hands out leases is not here
(`db/id_leases.py`).
"""

import binascii
import hashlib
import hmac
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import orjson

from base import errors

EPOCH_MS = 1_735_689_600_000  # 2025-01-01T00:00:00Z
WORKER_NUMBERS_MAX = 1_024
SEQUENCE_MAX = 4_095
LEASE_MS = 120_000
CURSOR_BYTES_MAX = 1_000
GLOBAL_ID_CHARACTERS_MAX = 300

T = TypeVar("T")

if TYPE_CHECKING:

    class Id(int, Generic[T]):
        """A row's id, tied to its table for the type checker: `Id[Video]` is no `Id[File]` and no bare int."""

else:

    class Id(int):
        """At run time a plain int, so that mappers and drivers see nothing new."""

        def __class_getitem__(cls, _table: object) -> type:
            return cls


class IdsExhausted(RuntimeError):
    """This process could not renew its lease: it makes no ids rather than doubtful ones."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to a worker number for the milliseconds [from_ms, until_ms), both since the Unix epoch."""

    number: int
    from_ms: int
    until_ms: int


def wall_clock_ms() -> int:
    """Milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


class IdGenerator:
    """Makes the ids of one process out of leased spans; `ensure` renews before the span is used up."""

    def __init__(
        self, lease: Callable[[int], Awaitable[Lease]], *, clock_ms: Callable[[], int] = wall_clock_ms
    ) -> None:
        self._take = lease
        self._clock_ms = clock_ms
        self._lock = threading.Lock()
        self._lease: Lease | None = None
        self._ms = 0
        self._sequence = SEQUENCE_MAX

    async def ensure(self) -> None:
        """Take or renew the lease when half of it or less is left; every transaction asks this first."""
        lease, now = self._lease, self._clock_ms()
        if lease is None or max(now, self._ms) > lease.until_ms - LEASE_MS // 2:
            fresh = await self._take(max(now, self._ms + 1))
            with self._lock:
                if self._lease is lease:
                    self._lease, self._ms, self._sequence = fresh, max(self._ms, fresh.from_ms), -1
                    if self._ms > fresh.from_ms:
                        self._sequence = SEQUENCE_MAX

    def next(self) -> Id[Any]:
        """A new id, larger than every earlier one of this process."""
        with self._lock:
            lease = self._lease
            if lease is None:
                raise IdsExhausted("no worker number is leased yet: start through on_central/on_pool")
            now = self._clock_ms()
            if now > self._ms:
                self._ms, self._sequence = now, 0
            elif self._sequence >= SEQUENCE_MAX:
                self._ms, self._sequence = self._ms + 1, 0  # full, or a clock gone back: walk ahead of it
            else:
                self._sequence += 1
            if self._ms >= lease.until_ms:
                raise IdsExhausted("the lease of this process's worker number ended and could not be renewed")
            return Id((self._ms - EPOCH_MS) << 22 | lease.number << 12 | self._sequence)


def first_id_at(moment_ms: int) -> int:
    """The smallest id that could have been made at this Unix millisecond; `id < first_id_at(t)` means older."""
    return max(0, moment_ms - EPOCH_MS) << 22


def made_at_ms(row_id: int) -> int:
    """The Unix millisecond in which an id was made."""
    return (row_id >> 22) + EPOCH_MS


class Named(Protocol):
    """A mapped class as ids see it: its name is the GraphQL type's name."""

    __name__: str


class GlobalId(str):  # noqa: SLOT000  (it carries where it was used)
    """A client's id: `Video_<tenant hex>_<id hex>` (pool rows) or `Effect_<id hex>`; opaque to clients.

    `here` is the tenant of the request's host and `path` the place in the arguments; both are
    put on by whoever read the arguments, so that `of` can refuse in the right words.
    """

    here: str | None = None
    path: tuple[str, ...] = ()

    @classmethod
    def read(cls, text: str, *, here: str | None, path: tuple[str, ...]) -> "GlobalId":
        """The client's text with where it was used."""
        made = cls(text)
        made.here, made.path = here, path
        return made

    def parts(self) -> tuple[str, str | None, str] | None:
        """(type name, tenant or None, key as hex), or None where this is no id of ours."""
        if len(self) > GLOBAL_ID_CHARACTERS_MAX:
            return None
        pieces = self.split("_")
        if len(pieces) == 2:
            return pieces[0], None, pieces[1]
        if len(pieces) == 3:
            tenant = _unhex(pieces[1])
            return None if tenant is None else (pieces[0], tenant, pieces[2])
        return None

    def of(self, table: type[T]) -> Id[T]:
        """The row id, for this table. Raises NotFound (on `path`) for another type, tenant or no id at all."""
        parts = self.parts()
        if parts is not None and parts[0] == table.__name__ and parts[1] in (None, self.here):
            number = from_hex(parts[2])
            if number is not None:
                return Id(number)
        raise errors.NotFound(f"There is no {table.__name__} with this id.", *self.path)


def _unhex(text: str) -> str | None:
    try:
        return bytes.fromhex(text).decode() if text == text.lower() else None
    except ValueError:
        return None


def from_hex(text: str) -> int | None:
    """The id that stands in hexadecimal, as we write it (`f"{id:x}"`); None for any other text."""
    if not 0 < len(text) <= 16 or text[0] == "0" or not set(text) <= set("0123456789abcdef"):
        return None
    number = int(text, 16)
    return number if number < 1 << 63 else None


def global_id_prefix(type_name: str, tenant: str | None) -> str:
    """What stands before the key: one constant a type and request."""
    return f"{type_name}_" if tenant is None else f"{type_name}_{tenant.encode().hex()}_"


def global_id(type_name: str, key: int | str, tenant: str | None = None) -> GlobalId:
    """The id a client gets for a row; a string key (a tenant's) goes in as hex of its bytes."""
    return GlobalId(global_id_prefix(type_name, tenant) + (f"{key:x}" if isinstance(key, int) else key.encode().hex()))


def text_key(text: str) -> str | None:
    """The string key behind the hex of a global id (tenants), or None."""
    return _unhex(text)


class Cursors:
    """Signs and opens cursors, each bound to a context: tenant, field, order and filter."""

    def __init__(self, secret: bytes) -> None:
        self._key = hashlib.blake2b(secret, person=b"atrium-cursor").digest()[:32]

    def context(self, *parts: object) -> bytes:
        """16 bytes that stand for what a cursor may be used with."""
        return hashlib.blake2b(orjson.dumps(parts, default=str), digest_size=16).digest()

    def seal(self, values: list[object], context: bytes) -> str:
        """The opaque cursor behind a row whose order values and id these are."""
        body = orjson.dumps(values)
        mark = hashlib.blake2b(body, key=self._key, digest_size=12, salt=context).digest()
        return binascii.b2a_base64(mark + body, newline=False).translate(_URL_SAFE).rstrip(b"=").decode()

    def open(self, cursor: str, context: bytes) -> list[Any]:
        """The values put in by `seal`. Raises BadUserInput for any cursor that was not made for this context."""
        if len(cursor) <= CURSOR_BYTES_MAX and cursor.isascii():
            try:
                raw = binascii.a2b_base64(cursor.encode().translate(_FROM_URL_SAFE) + b"=" * (-len(cursor) % 4))
            except binascii.Error:
                raw = b""
            mark, body = raw[:12], raw[12:]
            good = hashlib.blake2b(body, key=self._key, digest_size=12, salt=context).digest()
            if body and hmac.compare_digest(mark, good):
                values = orjson.loads(body)
                if isinstance(values, list):
                    return values
        raise errors.BadUserInput(
            'Argument "after" is no cursor of this list: take endCursor of the same field, filter and order.'
        )


_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")
