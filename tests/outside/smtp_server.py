"""A mail server on loopback that keeps what it is given; just enough of SMTP for a client to be content."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Server:
    port: int = 0
    offers: tuple[str, ...] = ()
    refuses: bool = False
    commands: list[str] = field(default_factory=list)
    letters: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(line: str) -> None:
            writer.write(line.encode() + b"\r\n")

        say("220 here")
        while line := (await reader.readline()).decode().strip():
            self.commands.append(line)
            verb = line.split(" ")[0].upper()
            if verb == "EHLO":
                say("250-here")
                for offer in self.offers:
                    say(f"250-{offer}")
                say("250 SIZE")
            elif verb == "DATA":
                say("354 go on")
                self.letters.append(await reader.readuntil(b"\r\n.\r\n"))
                say("250 kept")
            elif verb == "RCPT" and self.refuses:
                say("550 unknown")
            else:
                say({"QUIT": "221 bye", "AUTH": "235 welcome"}.get(verb, "250 fine"))
            await writer.drain()
            if verb == "QUIT":
                break
        writer.close()


@asynccontextmanager
async def mail_server(*, tls: ssl.SSLContext | None = None, **options) -> AsyncIterator[Server]:
    kept = Server(**options)
    server = await asyncio.start_server(kept.serve, "127.0.0.1", 0, ssl=tls)
    kept.port = server.sockets[0].getsockname()[1]
    async with server:
        yield kept
