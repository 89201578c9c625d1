"""What a foreign program may use, and how it ends."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from outside import confined
from outside.confined import Limits, MediaError

ROOT = Path(__file__).parents[2]


def living_in(folder: Path, name: str = "") -> list[int]:
    """The processes whose working directory is the folder, of one name or all."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink() == folder and name in (entry / "comm").read_text():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


async def run(folder: Path, *command: str, **limits: float) -> confined.Ended:
    allowed = Limits(**limits)  # type: ignore[arg-type]
    return await confined.run(command, stdin=subprocess.DEVNULL, folder=folder, limits=allowed)


async def test_the_program_sees_no_environment(tmp_path):
    assert (await run(tmp_path, "/usr/bin/env")).stdout == b""


def namespaces_allowed() -> bool:
    leaves = [["unshare", "-n", "true"], ["unshare", "-rn", "true"]]
    return any(subprocess.run(one, check=False, capture_output=True).returncode == 0 for one in leaves)


async def until(folder: Path, *, living: bool, name: str = "") -> None:
    """Wait for the kernel's own list of processes: nothing tells us when it changes."""
    async with asyncio.timeout(30):
        while bool(living_in(folder, name)) is not living:
            await asyncio.sleep(0.02)


async def test_the_program_has_no_network_where_the_kernel_lets_us_leave_it(tmp_path):
    if not namespaces_allowed():
        pytest.skip("the kernel refuses network namespaces here")
    lines = (await run(tmp_path, "/bin/cat", "/proc/self/net/dev")).stdout.decode().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in lines] == ["lo"]


async def test_a_file_beyond_its_size_is_told_as_too_large(tmp_path):
    with pytest.raises(MediaError, match="too large"):
        await run(tmp_path, "/bin/dd", "if=/dev/zero", "of=big", "bs=4096", "count=100", file_bytes=40_960)
    assert (tmp_path / "big").stat().st_size <= 40_960


async def test_processor_time_beyond_the_limit_is_told_as_too_long(tmp_path):
    with pytest.raises(MediaError, match="too long"):
        await run(tmp_path, "/bin/sh", "-c", "while :; do :; done", cpu_seconds=1)


async def test_the_wall_limit_kills_the_program_and_its_threads(tmp_path):
    threads = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start(); time.sleep(600)"
    with pytest.raises(MediaError, match=r"longer than 0\.3 seconds"):
        await run(tmp_path, sys.executable, "-I", "-c", threads, wall_seconds=0.3)
    await until(tmp_path, living=False)


async def test_a_cancelled_run_leaves_no_process(tmp_path):
    task = asyncio.create_task(run(tmp_path, "/bin/sleep", "600"))
    await until(tmp_path, living=True)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # The group was killed; its last member may take the kernel a moment more to bury.
    await until(tmp_path, living=False)


async def test_an_error_while_listening_ends_the_program(tmp_path):
    async def fail(line: bytes) -> None:
        raise LookupError(line)

    with pytest.raises(LookupError):
        await confined.run(
            ("/bin/sh", "-c", "echo x; sleep 600"),
            stdin=subprocess.DEVNULL,
            folder=tmp_path,
            limits=Limits(),
            on_line=fail,
        )
    # The group was killed; its last member may take the kernel a moment more to bury.
    await until(tmp_path, living=False)


async def test_a_killed_worker_takes_its_program_along(tmp_path):
    code = (
        "import asyncio, subprocess, pathlib; from outside import confined;"
        "asyncio.run(confined.run(('/bin/sleep', '600'), stdin=subprocess.DEVNULL,"
        f"folder=pathlib.Path({str(tmp_path)!r}), limits=confined.Limits()))"
    )
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=ROOT)
    # Killed earlier, the launcher would see by itself that its parent is gone.
    await until(tmp_path, living=True, name="sleep")
    worker.send_signal(signal.SIGKILL)
    await worker.wait()
    await until(tmp_path, living=False)


async def test_much_output_is_read_and_not_kept(tmp_path):
    ended = await run(tmp_path, "/bin/dd", "if=/dev/zero", "bs=65536", "count=100")
    assert len(ended.stdout) == confined.STDOUT_BYTES_MAX
    assert "copied" in ended.stderr


async def test_a_program_that_cannot_start_is_not_blamed_on_the_media(tmp_path):
    with pytest.raises(confined.NotStarted, match="FileNotFoundError"):
        await run(tmp_path, "/nowhere/ffmpeg")


BEGINS = """
import os, subprocess, threading
seen = []
thread = threading.Thread(target=lambda: seen.append("thread"))
thread.start(); thread.join()
for name, begin in (
    ("fork", os.fork),
    ("spawn", lambda: os.posix_spawn("/bin/true", ["true"], {})),
    ("subprocess", lambda: subprocess.run(["/bin/true"])),
    ("vfork", lambda: subprocess.Popen(["/bin/true"], close_fds=False)),
):
    try:
        begin()
    except OSError as error:
        seen.append(f"{name} {error.errno}")
print(",".join(seen))
"""


async def test_the_program_may_begin_threads_and_no_process(tmp_path):
    ended = await run(tmp_path, sys.executable, "-I", "-c", BEGINS)
    assert ended.stdout.decode().strip() == "thread,fork 1,spawn 1,subprocess 1,vfork 1", ended.stderr
