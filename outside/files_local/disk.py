"""Objects as files under one folder. Synchronous; callers on the loop go through `off_loop`.

An object appears whole or not at all: bytes go to a file in `incoming/`, which is then linked to its
key. A link never replaces what is there, so neither does an upload. Links and HTTP are not known here.
"""

import asyncio
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar

from outside import blob
from outside.blob import AlreadyThere, Blob, Missing

INCOMING = "incoming"
# Longer than any upload can take: what is older in `incoming/` was left by a process that died.
INCOMING_SECONDS_MAX = 3 * blob.URL_SECONDS_MAX

P = ParamSpec("P")
R = TypeVar("R")


async def off_loop(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Run in a thread, and when cancelled still wait for its end: what the caller closes next is not in use."""
    running = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        if not running.cancelled():
            running.exception()
        raise


class Disk:
    """One folder of objects. Several processes may share it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / INCOMING
        self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)

    def stat(self, key: str) -> os.stat_result | None:
        try:
            found = os.lstat(self._path(key))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found if stat.S_ISREG(found.st_mode) else None

    def head(self, key: str) -> Blob | None:
        found = self.stat(key)
        return None if found is None else _blob(key, found)

    def open(self, key: str) -> BinaryIO:
        """Unbuffered, for reading. Raises Missing."""
        try:
            fd = os.open(self._path(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            # ELOOP: a symbolic link, which we never made, is nothing of ours.
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise Missing(key) from error
            raise
        return os.fdopen(fd, "rb", buffering=0)

    def begin(self) -> "Incoming":
        """A nameless file to write to; close it in any case."""
        path = self._incoming / secrets.token_hex(16)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        return Incoming(path, os.fdopen(fd, "wb", buffering=0))

    def finish(self, incoming: "Incoming", key: str) -> os.stat_result:
        """Give the written bytes their key, durably. Raises AlreadyThere."""
        os.fsync(incoming.file.fileno())
        self._link(incoming.path, key)
        return os.fstat(incoming.file.fileno())

    def put(self, key: str, source: BinaryIO) -> None:
        """All of `source` under a new key. Raises AlreadyThere."""
        incoming = self.begin()
        try:
            shutil.copyfileobj(source, incoming, blob.CHUNK_BYTES)
            self.finish(incoming, key)
        finally:
            incoming.close()

    def copy(self, source: str, target: str) -> None:
        """A second name for the same bytes; one that is there already stays. Raises Missing."""
        if self.stat(target) is not None:
            return
        origin = self._path(source)
        try:
            # The new name must look as young as it is before it can be seen: sweeps go by age.
            os.utime(origin, follow_symlinks=False)
            self._link(origin, target)
        except AlreadyThere:
            return
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Missing(source) from error

    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def walk(self, prefix: str) -> Iterator[Blob]:
        """Every object under a prefix, in no order; what vanishes meanwhile is left out."""
        blob.check_prefix(prefix)
        folders = [prefix.rstrip("/")] if prefix else ["t", "c", "public"]
        while folders:
            folder = folders.pop()
            try:
                entries = os.scandir(self.root / folder)
            except FileNotFoundError:
                continue
            with entries:
                for entry in entries:
                    key = f"{folder}/{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(key)
                        continue
                    with suppress(FileNotFoundError, blob.InvalidKey):
                        yield _blob(blob.check_key(key), entry.stat(follow_symlinks=False))

    def tidy(self, now: float) -> int:
        """Remove what uploads of dead processes left behind; how many."""
        removed = 0
        with os.scandir(self._incoming) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if now - entry.stat(follow_symlinks=False).st_mtime > INCOMING_SECONDS_MAX:
                        Path(entry.path).unlink()
                        removed += 1
        return removed

    def _path(self, key: str) -> Path:
        return self.root / blob.check_key(key)

    def _link(self, source: Path, key: str) -> None:
        target = self._path(key)
        if not target.parent.is_dir():
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync_folder(target.parent.parent)
        try:
            os.link(source, target, follow_symlinks=False)
        except FileExistsError as error:
            raise AlreadyThere(key) from error
        _sync_folder(target.parent)


class Incoming:
    """A file being written; after `close` nothing of it is left but what `finish` linked."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.file = file

    def write(self, data: bytes | bytearray) -> int:
        """All of it: an unbuffered write may take less than it is given."""
        rest = memoryview(data)
        while rest:
            rest = rest[self.file.write(rest) :]
        return len(data)

    def close(self) -> None:
        self.file.close()
        self.path.unlink(missing_ok=True)


def read_at(file: BinaryIO, start: int, length: int) -> bytes:
    return os.pread(file.fileno(), length, start)


def etag(found: os.stat_result) -> str:
    """Changes with the bytes: an object is never rewritten, so size and time tell two of them apart."""
    return f'"{found.st_mtime_ns:x}-{found.st_size:x}"'


def _blob(key: str, found: os.stat_result) -> Blob:
    return Blob(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))


def _sync_folder(folder: Path) -> None:
    # A name is durable when its folder is: the row that says READY must not outlive the bytes.
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
