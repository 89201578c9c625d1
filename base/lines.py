"""The operator's lines on their way out: kept for a moment and written together, by a thread that may be held up.

Whoever tells something never waits for whoever reads it. What finds no place is counted, and told once there is place
again. What the lines say is not known here (`base/observe.py`).
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

WAIT_SECONDS = 0.05
FLUSH_SECONDS_MAX = 2.0
# Of all lines that are not yet written: some ten thousand requests.
BYTES_MAX = 4 * 1024 * 1024
# A pipe takes so much as one piece, and a file any number: lines of several processes never run into each other.
PIECE_BYTES_MAX = 4_096
FILE_PIECE_BYTES_MAX = 256 * 1024


class Lines:
    """One process's lines to one place, in the order in which they were put."""

    def __init__(self, out: BinaryIO, lost: Callable[[int], bytes]) -> None:
        """`lost` is the line that tells how many found no place."""
        self._out = out
        self._line_of_lost = lost
        self._piece_bytes_max = FILE_PIECE_BYTES_MAX if _is_file(out) else PIECE_BYTES_MAX
        self._kept: list[bytes] = []
        self._bytes = 0  # of what is kept or just being written
        self._lost = 0
        self._is_closed = False
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._any, self._hurry = threading.Event(), threading.Event()
        # A daemon: a reader who reads no more must not keep the process from ending.
        threading.Thread(target=self._run, name="lines", daemon=True).start()

    def put(self, line: bytes, *, at_once: bool = False) -> None:
        """Have a line written, with its end: at once, or with others within 50 ms. Never waits."""
        with self._lock:
            if self._bytes + len(line) > BYTES_MAX:
                self._lost += 1
                return
            self._bytes += len(line)
            self._kept.append(line)
            is_first = len(self._kept) == 1
        if is_first:
            self._any.set()
        if at_once:
            self._hurry.set()

    def flush(self) -> bool:
        """Wait until all is written, two seconds at most; whether it is."""
        self._hurry.set()
        with self._changed:
            return self._changed.wait_for(lambda: self._bytes == 0, FLUSH_SECONDS_MAX)

    def close(self) -> None:
        """Write what is left and end the thread."""
        self._is_closed = True
        self._any.set()
        self.flush()

    def _run(self) -> None:
        while not self._is_closed or self._kept:
            self._any.wait()
            self._hurry.wait(WAIT_SECONDS)
            self._any.clear()
            self._hurry.clear()
            with self._changed:
                lines, self._kept = self._kept, []
                lost, self._lost = self._lost, 0
                size = sum(map(len, lines))
            self._write([*lines, self._line_of_lost(lost)] if lost else lines, lost)
            with self._changed:
                self._bytes -= size
                self._changed.notify_all()

    def _write(self, lines: Sequence[bytes], lost: int) -> None:
        left = len(lines)
        try:
            for piece in _pieces(lines, self._piece_bytes_max):
                self._out.write(b"".join(piece))
                self._out.flush()
                left -= len(piece)
        except (OSError, ValueError):
            # Nobody reads any more, or not now.
            with self._changed:
                self._lost += left - 1 + lost if lost else left


def _is_file(out: BinaryIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(out.fileno()).st_mode)
    except (OSError, ValueError):  # nothing that the system knows of
        return False


def _pieces(lines: Sequence[bytes], most: int) -> Iterator[list[bytes]]:
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line) > most:
            yield piece
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    if piece:
        yield piece
