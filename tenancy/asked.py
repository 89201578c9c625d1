"""Look-ups by key that are made together: who asks for the same waits for the same, and whatever is asked for while
others are read is read next, all of it at once.

What is looked up, and how long it is kept, is not known here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

V = TypeVar("V")

TOGETHER_MAX = 100


class Asked(Generic[V]):
    """What one process asks for and has no answer to yet. `read` answers every key that it is given."""

    def __init__(self, read: Callable[[Sequence[str]], Awaitable[Mapping[str, V]]]) -> None:
        self._read = read
        self._joined: dict[str, asyncio.Future[V]] = {}  # what whoever asks for a key waits for
        self._unread: dict[str, asyncio.Future[V]] = {}  # of those, what nobody reads yet
        self._reading: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._joined)

    def begin(self, key: str) -> asyncio.Future[V]:
        """The look-up of a key; to be shielded by who may leave, since it is others' as well."""
        asked = self._joined.get(key)
        if asked is None:
            asked = self._joined[key] = self._unread[key] = asyncio.get_running_loop().create_future()
            if self._reading is None:
                self._reading = asyncio.create_task(self._read_all())
        return asked

    def part(self) -> None:
        """Something changed: whoever asks from now on does not wait for an answer that is on its way."""
        self._joined = dict(self._unread)

    async def finished(self, *, seconds: float) -> None:
        """Wait until nothing is read any more, so long at most."""
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=seconds)

    async def _read_all(self) -> None:
        try:
            while self._unread:
                some = dict(list(self._unread.items())[:TOGETHER_MAX])
                for key in some:
                    del self._unread[key]
                found: Mapping[str, V] | BaseException
                try:
                    found = await self._read(list(some))
                except BaseException as error:  # whatever ends this task, nobody waits for ever
                    found = error
                for key, asked in some.items():
                    if self._joined.get(key) is asked:
                        del self._joined[key]
                    _tell(asked, found if isinstance(found, BaseException) else found[key])
                if isinstance(found, asyncio.CancelledError):
                    raise found
        finally:
            self._reading = None
            for asked in self._unread.values():
                asked.cancel()


def _tell(asked: asyncio.Future[V], found: V | BaseException) -> None:
    if isinstance(found, asyncio.CancelledError):
        asked.cancel()
    elif asked.done():
        return
    elif isinstance(found, BaseException):
        asked.set_exception(found)
        asked.exception()  # those who asked may all be gone
    else:
        asked.set_result(found)
