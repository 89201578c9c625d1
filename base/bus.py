"""Telling other parts and other processes that something changed: ids and topics, never data.

In one process a notice is heard at once; across processes it goes by Redis where
configured, otherwise by central's `bus_log` (`db/bus_log.py`), within one second.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import redis.asyncio
import redis.exceptions

from base import observe

REDIS_CHANNEL = "atrium:bus"
RECONNECT_SECONDS = 0.5
NOTICE_BYTES_MAX = 500


@dataclass(frozen=True, slots=True)
class Notice:
    """`topic` names a kind of change ("directory", "access_token", "wallet", …), `key` what it was."""

    topic: str
    key: str

    def pack(self) -> str:
        """One line; topics have no blank."""
        return f"{self.topic} {self.key}"

    @classmethod
    def unpack(cls, text: str) -> "Notice":
        """The notice that `pack` wrote."""
        topic, _, key = text.partition(" ")
        return cls(topic, key)


Listener = Callable[[Notice], None]


class Transport(Protocol):
    """What carries notices to other processes."""

    async def send(self, notices: list[Notice]) -> None:
        """Tell the others; raises when they cannot be told."""

    async def run(self, heard: Listener) -> None:
        """Hear the others until cancelled."""


class Bus:
    """The process's own ears and mouth."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._transport: Transport | None = None
        self._task: asyncio.Task[None] | None = None

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every notice from now on; the answer ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def hear(self, notice: Notice) -> None:
        """Tell the listeners of this process alone."""
        for listener in tuple(self._listeners):
            listener(notice)

    async def tell(self, notices: list[Notice]) -> None:
        """Tell this process at once and the others as soon as may be; never raises for the others' sake."""
        for notice in notices:
            self.hear(notice)
        if self._transport is not None and notices:
            try:
                await self._transport.send(notices)
            except Exception as error:
                observe.note(observe.Event.BUS_UNSENT, error=repr(error), notices=len(notices))

    def start(self, transport: Transport) -> None:
        """Connect this process with the others."""
        self._transport = transport
        self._task = asyncio.create_task(transport.run(self.hear), name="bus")

    async def close(self) -> None:
        """Stop hearing the others."""
        task, self._task, self._transport = self._task, None, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task


class RedisTransport:
    """Notices through one Redis channel."""

    def __init__(self, url: str) -> None:
        self._redis = redis.asyncio.Redis.from_url(url, decode_responses=True, socket_connect_timeout=2)

    async def send(self, notices: list[Notice]) -> None:
        """Publish each notice."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for notice in notices:
                pipe.publish(REDIS_CHANNEL, notice.pack()[:NOTICE_BYTES_MAX])
            await pipe.execute()

    async def run(self, heard: Listener) -> None:
        """Hear the channel until cancelled, which closes every connection.

        After a lost connection everything may have changed, which is told as `reset`.
        """
        try:
            while True:
                await self._hear(heard)
        finally:
            await self._redis.aclose()

    async def _hear(self, heard: Listener) -> None:
        try:
            async with self._redis.pubsub() as channel:
                await channel.subscribe(REDIS_CHANNEL)
                heard(Notice("reset", ""))
                async for message in channel.listen():
                    if message["type"] == "message":
                        heard(Notice.unpack(message["data"]))
        except (redis.exceptions.RedisError, OSError) as error:
            observe.note(observe.Event.BUS_LOST, error=repr(error))
            await asyncio.sleep(RECONNECT_SECONDS)
