"""The last program before ffmpeg: takes limits upon itself, leaves the network, begins no process, becomes the command.

Run by path with `python -I -S` (outside/confined.py does); it imports the standard library alone and never our rooms.
Arguments: the parent's pid, the limits as JSON (name of a RLIMIT_ → value), then the command.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
NOT_STARTED = 125
PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
CLONE_THREAD = 0x10000
ALLOW, REFUSE, UNKNOWN_CALL, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
# Machine → its number in a filter, the number of clone, the calls that begin a process and nothing else.
CALLS = {"x86_64": (0xC000003E, 56, (57, 58)), "aarch64": (0xC00000B7, 220, ())}
CLONE3 = 435
X32_CALLS = 0x40000000
LOAD, IS, AT_LEAST, HAS, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER_AT, MACHINE_AT, FLAGS_AT = 0, 4, 16


class Step(ctypes.Structure):
    """One instruction of a seccomp filter."""

    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class Filter(ctypes.Structure):
    """A seccomp filter as the kernel takes it."""

    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.POINTER(Step)))


def leave_network(libc: ctypes.CDLL) -> None:
    """Enter an empty network namespace; where the kernel refuses, the protocol white list stands alone."""
    if libc.unshare(CLONE_NEWNET) != 0:
        libc.unshare(CLONE_NEWUSER | CLONE_NEWNET)


def die_with(parent: int, libc: ctypes.CDLL) -> None:
    """A killed worker must not leave its ffmpeg behind. Set after unshare, which forgets it."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(NOT_STARTED)


def stay_one_process(libc: ctypes.CDLL) -> None:
    """Refuse every call that begins another process; threads may begin. Without filters in the kernel nothing is done.

    RLIMIT_NPROC would not do: root is exempt from it, and for others it counts what is not ours too.
    """
    if os.uname().machine not in CALLS:
        return
    machine, clone, begins = CALLS[os.uname().machine]
    steps = [Step(LOAD, 0, 0, MACHINE_AT), Step(IS, 1, 0, machine), Step(RETURN, 0, 0, KILL)]
    steps += [Step(LOAD, 0, 0, NUMBER_AT), Step(AT_LEAST, 0, 1, X32_CALLS), Step(RETURN, 0, 0, REFUSE)]
    for number in begins:
        steps += [Step(IS, 0, 1, number), Step(RETURN, 0, 0, REFUSE)]
    # clone3 keeps its flags in memory, which a filter cannot read; without it the C library takes clone.
    steps += [Step(IS, 0, 1, CLONE3), Step(RETURN, 0, 0, UNKNOWN_CALL)]
    steps += [Step(IS, 0, 3, clone), Step(LOAD, 0, 0, FLAGS_AT), Step(HAS, 1, 0, CLONE_THREAD)]
    steps += [Step(RETURN, 0, 0, REFUSE), Step(RETURN, 0, 0, ALLOW)]
    program = Filter(len(steps), (Step * len(steps))(*steps))
    libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)


def take_limits(limits: dict[str, int]) -> None:
    for name, value in limits.items():
        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)  # noqa: PLW2901 - a tighter host wins
        try:
            resource.setrlimit(kind, (value, value))
        except (ValueError, OSError):
            # macOS knows no RLIMIT_AS; on Linux a limit that cannot be set is a reason not to start.
            if sys.platform == "linux":
                raise


def main() -> None:
    parent, limits, command = int(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        leave_network(libc)
        die_with(parent, libc)
    # Python ignores these two and an ignored signal stays ignored through exec: the size limit would not kill.
    for number in (signal.SIGXFSZ, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    take_limits(limits)
    if sys.platform == "linux":
        stay_one_process(libc)
    os.execve(command[0], command, {})  # noqa: S606 - that there is no shell is the point


try:
    main()
except BaseException as error:
    # Nothing of the command has run: that is told apart from every code a command ends with.
    os.write(2, f"{type(error).__name__}: {error}".encode())
    os._exit(NOT_STARTED)
