"""Several statements over one connection of asyncmy: written at once, answered one after the other.

The protocol lets a client go on writing before it has read, and the server goes on with the next as soon as it has
answered: one way there and back for all of them. The driver has no call for it, so that its parts are used here; its
version is pinned, and what is read so is compared with what is read singly (`tests/db/test_together.py`).
"""

# ruff: noqa: SLF001  (the parts of the driver's connection and of its prepared statements)

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Any

from asyncmy.connection import MySQLResult
from asyncmy.protocol import pack_binary_params

Statement = tuple[str, tuple[Any, ...]]  # a text and its values
Tuples = Sequence[Sequence[Any]]

_EXECUTE = 0x17
_HEAD = Struct("<iB")  # three bytes of length, a zero for the first packet of a command, and which command it is


def write(raw: Any, asked: Sequence[Statement]) -> list[Any] | None:
    """Send them all; their prepared statements, in order. None, and nothing sent, where one of them is not prepared."""
    prepared: dict[str, Any] = raw._stmt_cache
    found: list[Any] = []
    parts: list[bytes] = []
    for sql, values in asked:
        statement = prepared.get(sql)
        if statement is None or statement.parameter_count != len(values):
            return None
        command: bytes = statement._execute_header
        if values:
            command += pack_binary_params(values, raw._encoding)
        parts.append(_HEAD.pack(len(command) + 1, _EXECUTE))
        parts.append(command)
        found.append(statement)
    for sql, _ in asked:
        prepared[sql] = prepared.pop(sql)  # the driver forgets what was used the longest ago
    raw._write_bytes(b"".join(parts))
    return found


async def answer(raw: Any, statement: Any) -> Tuples:
    """The rows of the one that is answered next. Raises what the driver does."""
    raw._next_seq_id = 1
    result: Any = MySQLResult(raw)
    await result.read_binary(statement)
    rows: Tuples = result.rows
    return rows
