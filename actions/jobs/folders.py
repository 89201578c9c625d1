"""A folder for one piece of work on a disk of our own, gone with the work; what a killed worker left is swept."""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tenancy.context import House
from tenancy.handlers import every

PREFIX = "atrium-work-"
# Fetching, rendering and storing 2 GiB take minutes: nothing that lives is this old.
LEFT_HOURS_MAX = 12
SECONDS_BETWEEN_LOOKS = 3_600


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """An empty folder in the system's place for such, readable by this user alone."""
    with tempfile.TemporaryDirectory(prefix=PREFIX) as place:
        yield Path(place)


@every(SECONDS_BETWEEN_LOOKS, "work_folders")
async def sweep(_house: House) -> int:
    """Remove folders that workers left when they were killed; how many."""
    return await asyncio.to_thread(_sweep, Path(tempfile.gettempdir()), before=time.time() - LEFT_HOURS_MAX * 3_600)


def _sweep(root: Path, *, before: float) -> int:
    gone = 0
    for place in root.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if place.lstat().st_mtime < before and place.is_dir() and not place.is_symlink():
                shutil.rmtree(place, ignore_errors=True)
                gone += 1
    return gone
