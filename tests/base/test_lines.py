"""What the operator is told comes out whole and in order, and nobody waits for whoever reads it."""

from __future__ import annotations

import io
import json
import logging
import os
import select
import subprocess
import sys
import threading
from typing import Any

import pytest

from base import lines, observe
from base.lines import PIECE_BYTES_MAX, Lines

PATIENCE_SECONDS = 30.0
REQUEST: dict[str, Any] = {"id": "a1", "kind": "http", "path": "/graphql", "host": "tenant", "tenant": "alice1"}


def of_lost(count: int) -> bytes:
    return b"lost %d\n" % count


class Slow(io.RawIOBase):
    """Takes nothing until it may; remembers each piece that it was given."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.entered = threading.Event()
        self.pieces: list[bytes] = []

    def write(self, data) -> int:
        self.entered.set()
        assert self.may.wait(PATIENCE_SECONDS)
        self.pieces.append(bytes(data))
        return len(data)


@pytest.fixture
def slow():
    out = Slow()
    yield out
    out.may.set()


def test_lines_come_out_in_order_in_pieces_that_a_pipe_takes_whole(slow):
    slow.may.set()
    out = Lines(slow, of_lost)
    sent = [b"%04d %b\n" % (number, b"x" * (number % 300)) for number in range(2_000)]
    for line in sent:
        out.put(line)
    assert out.flush()
    assert b"".join(slow.pieces) == b"".join(sent)
    assert max(map(len, slow.pieces)) <= PIECE_BYTES_MAX <= select.PIPE_BUF
    assert all(piece.endswith(b"\n") for piece in slow.pieces)
    out.close()


def test_lines_to_a_file_are_written_in_few_pieces(tmp_path):
    pieces = []

    class Counted(io.FileIO):
        def write(self, data):
            pieces.append(len(data))
            return super().write(data)

    sent = [b"%04d %b\n" % (number, b"x" * 100) for number in range(2_000)]
    with Counted(tmp_path / "lines", "w") as file:
        out = Lines(file, of_lost)
        for line in sent:
            out.put(line)
        assert out.flush()
        out.close()
    assert (tmp_path / "lines").read_bytes() == b"".join(sent)
    assert len(pieces) < sum(pieces) // PIECE_BYTES_MAX


def test_nobody_waits_for_a_reader_who_does_not_read_and_what_is_lost_is_told(slow, monkeypatch):
    monkeypatch.setattr(lines, "BYTES_MAX", 10_000)
    monkeypatch.setattr(lines, "FLUSH_SECONDS_MAX", 0.01)
    out = Lines(slow, of_lost)
    out.put(b"first\n", at_once=True)
    assert slow.entered.wait(PATIENCE_SECONDS)
    line = b"x" * 99 + b"\n"
    for _ in range(150):
        out.put(line)
    assert not out.flush()
    slow.may.set()
    monkeypatch.setattr(lines, "FLUSH_SECONDS_MAX", PATIENCE_SECONDS)
    assert out.flush()
    kept = (10_000 - len(b"first\n")) // len(line)
    assert b"".join(slow.pieces) == b"first\n" + line * kept + b"lost %d\n" % (150 - kept)
    out.put(b"again\n")
    assert out.flush()
    assert slow.pieces[-1] == b"again\n"
    out.close()


def test_a_reader_who_went_away_ends_nothing():
    reads, writes = os.pipe()
    os.close(reads)
    with os.fdopen(writes, "wb", buffering=0) as pipe:
        out = Lines(pipe, of_lost)
        out.put(b"to nobody\n")
        assert out.flush()
        out.put(b"and again\n")
        assert out.flush()
        out.close()


@pytest.fixture
def told(monkeypatch):
    """Reads what a process tells: every line of its log so far, as JSON."""
    text = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(text))
    before = observe.LOGGER.handlers[:], observe.LOGGER.level, observe.LOGGER.propagate
    observe.LOGGER.handlers[:] = []
    observe.to_standard_error()

    def read() -> list[dict]:
        observe.flush()
        return [json.loads(line) for line in text.getvalue().splitlines()]

    yield read
    for handler in observe.LOGGER.handlers:
        handler.close()
    observe.LOGGER.handlers[:], observe.LOGGER.level, observe.LOGGER.propagate = before


def test_a_request_is_one_line_of_json_among_the_events_of_its_time(told):
    before = observe.counts()["request"]
    observe.tell_request(**REQUEST, operation="Größe_名前", status=200, ms=0.1234)
    observe.note(observe.Event.WORK_DONE, kind='a "quoted"\nname')
    observe.tell_request(**{**REQUEST, "tenant": None}, operation=None, status=None, ms=12.0)
    first, event, last = told()
    assert [first["event"], event["event"], last["event"]] == ["request", "work_done", "request"]
    assert first.pop("at") <= event.pop("at") <= last.pop("at")
    assert first == {
        "level": "info",
        "event": "request",
        **REQUEST,
        "operation": "Größe_名前",
        "status": 200,
        "ms": 0.12,
    }
    assert event["kind"] == 'a "quoted"\nname'
    assert (last["tenant"], last["operation"], last["status"], last["ms"]) == (None, None, None, 12.0)
    assert observe.counts()["request"] == before + 2


def test_a_line_says_the_same_by_the_logging_library(told, caplog):
    observe.tell_request(**REQUEST, operation="Mine", status=200, ms=1.5)
    [line] = told()
    for handler in observe.LOGGER.handlers:
        handler.close()
    observe.LOGGER.handlers[:], observe.LOGGER.propagate = [], True
    caplog.set_level("INFO", "atrium")
    observe.tell_request(**REQUEST, operation="Mine", status=200, ms=1.5)
    [record] = [record for record in caplog.records if record.getMessage() == "request"]
    other = json.loads(observe.JsonLines().format(record))
    assert {**other, "at": ""} == {**line, "at": ""}


def test_below_its_level_a_request_is_counted_alone(told):
    observe.LOGGER.setLevel(logging.WARNING)
    before = observe.counts()["request"]
    observe.tell_request(**REQUEST, operation=None, status=200, ms=1.0)
    assert told() == []
    assert observe.counts()["request"] == before + 1


def test_what_was_told_last_is_written_when_a_process_ends():
    code = (
        "from base import observe\nobserve.to_standard_error()\nobserve.to_standard_error()\n"
        "for n in range(500): observe.tell_request(id=str(n), kind='http', path='/', host='central', tenant=None,"
        " operation=None, status=200, ms=1.0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert [json.loads(line)["id"] for line in done.stderr.splitlines()] == [str(n) for n in range(500)]
