"""Looks names up on threads of our own: a name whose servers are silent keeps nobody waiting but who gave it to us.

The system's resolver blocks, for more than a minute where nobody answers, and cannot be called off. The loop has few
threads for everybody (passwords, files, databases): they are not given to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import threading
from collections.abc import Callable, Iterable

Resolve = Callable[[str, int], Iterable[str]]
# Who asks, and for what.
Key = tuple[str, str, int]

LOOKUP_SECONDS_MAX = 5.0
AT_ONCE_MAX = 32
AT_ONCE_EACH_MAX = 2


class NoPlace(Exception):
    """All threads that this asker may hold are held by silent names: nothing was looked up."""


def resolve(host: str, port: int) -> list[str]:
    """The system's resolver, in its order, each address once. It blocks. Raises OSError, UnicodeError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


class Lookups:
    """Look-ups under way, each on a thread of its own until the resolver returns, however long nobody waits any more.

    An asker has AT_ONCE_EACH_MAX of them at a time, all askers together AT_ONCE_MAX; a name that an asker has under
    way is not looked up a second time beside it.
    """

    def __init__(self, resolver: Resolve) -> None:
        self._resolve = resolver
        self._under_way: dict[Key, asyncio.Future[list[str]]] = {}

    async def find(self, host: str, port: int, /, *, of: str) -> list[str]:
        """The addresses of a name that `of` asks for. Raises OSError (TimeoutError, too), UnicodeError, NoPlace."""
        key = (of, host, port)
        try:
            async with asyncio.timeout(LOOKUP_SECONDS_MAX):
                while key not in self._under_way and (before := self._before(of)):
                    await asyncio.wait(before, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise NoPlace(host) from None
        found = self._under_way.get(key) or self._begin(key)
        async with asyncio.timeout(LOOKUP_SECONDS_MAX):
            # Who stops waiting does not call it off for the others.
            return await asyncio.shield(found)

    def _before(self, of: str) -> list[asyncio.Future[list[str]]]:
        """One of which must have ended before this asker's next may begin."""
        own = [found for (asker, _, _), found in self._under_way.items() if asker == of]
        if len(own) >= AT_ONCE_EACH_MAX:
            return own
        return list(self._under_way.values()) if len(self._under_way) >= AT_ONCE_MAX else []

    def _begin(self, key: Key) -> asyncio.Future[list[str]]:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[str]] = loop.create_future()

        def look() -> None:
            _, host, port = key
            tell: Callable[[], None]
            try:
                tell = functools.partial(found.set_result, list(self._resolve(host, port)))
            except Exception as error:  # whatever it is, it is for whoever waits
                tell = functools.partial(found.set_exception, error)
            # Its loop may have ended meanwhile.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(tell)

        # No pool of threads: the end of the process would wait for its silent names.
        threading.Thread(target=look, name="looking-up", daemon=True).start()
        self._under_way[key] = found
        found.add_done_callback(functools.partial(self._ended, key))
        return found

    def _ended(self, key: Key, found: asyncio.Future[list[str]]) -> None:
        del self._under_way[key]
        # A failure that nobody waits for any more is no fault.
        found.exception()
