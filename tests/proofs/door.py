"""A door on loopback before a database: it can be shut (refused at once), jammed (nobody answers) and opened again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

PIECE_BYTES_MAX = 65_536


@dataclass
class Door:
    """Carries bytes between a port of its own and the port behind it, both on loopback."""

    behind: int
    port: int = 0
    _server: asyncio.Server | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _carrying: set[asyncio.Task[None]] = field(default_factory=set)
    _passing: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self) -> None:
        """Let everything through."""
        self._passing.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._come, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """Refuse whoever comes; connections that are open end."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for writer in tuple(self._open):
            writer.transport.abort()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    def jam(self) -> None:
        """Take every connection and byte, and carry nothing."""
        self._passing.clear()

    async def _come(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.behind)
            self._open.add(far_writer)
            ways = [
                asyncio.create_task(self._carry(reader, far_writer)),
                asyncio.create_task(self._carry(far_reader, writer)),
            ]
            self._carrying.update(ways)
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._carrying.difference_update(ways)
            far_writer.transport.abort()
            self._open.discard(far_writer)
        writer.transport.abort()
        self._open.discard(writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(PIECE_BYTES_MAX):
                await self._passing.wait()
                writer.write(piece)
                await writer.drain()


@contextlib.asynccontextmanager
async def doors(behind: int, count: int) -> AsyncIterator[list[Door]]:
    """So many open doors before one port; shut with the block."""
    made = [Door(behind) for _ in range(count)]
    for door in made:
        await door.open()
    try:
        yield made
    finally:
        for door in made:
            await door.shut()
