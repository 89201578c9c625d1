"""How much processor time processes have used and how much memory they hold, out of `/proc` (Linux alone)."""

from __future__ import annotations

import os
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
DATABASES = ("mariadbd", "mysqld")
PROC = Path("/proc")


def used_seconds(pids: list[int]) -> float:
    """User and system time of these processes so far, in steps of a tick (10 ms); a process that is gone counts 0."""
    return sum(_ticks(pid) for pid in pids) / TICKS_A_SECOND


def resident_bytes(pids: list[int]) -> int:
    """Memory that these processes hold."""
    found = 0
    for pid in pids:
        try:
            found += int((PROC / str(pid) / "statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES
        except OSError:
            continue
    return found


def family(pid: int) -> list[int]:
    """A process and everything it has started."""
    parents: dict[int, list[int]] = {}
    for each in _all():
        fields = _stat(each)
        if fields:
            parents.setdefault(int(fields[1]), []).append(each)
    found = [pid]
    for each in found:
        found += parents.get(each, [])
    return found


def databases() -> list[int]:
    """The MariaDB or MySQL servers of this machine; none where it is elsewhere."""
    return [pid for pid in _all() if _name(pid) in DATABASES]


def _all() -> list[int]:
    return [int(path.name) for path in PROC.iterdir() if path.name.isdecimal()]


def _name(pid: int) -> str:
    try:
        return (PROC / str(pid) / "comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _ticks(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[11]) + int(fields[12]) if fields else 0


def _stat(pid: int) -> list[str]:
    """The fields after the name, which may itself hold spaces and parentheses: state, parent, …"""
    try:
        return (PROC / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return []
