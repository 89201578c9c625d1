"""Files that were uploaded as videos to make a server read, write or eat what it must not; made here, byte by byte."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

CANARY = b"canary-7f3a-never-to-be-read"


def huge_png(side: int = 16_000) -> bytes:
    """A valid PNG of side × side pixels in a few kilobytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(6)
    row = b"\0" * (1 + side // 8)
    pixels = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def small_png() -> bytes:
    return huge_png(64)


# Each gets the path of a real video beside it, which must not be read through it.
HOSTILE: dict[str, Callable[[Path], bytes]] = {
    "ffconcat": lambda other: b"ffconcat version 1.0\nfile " + other.name.encode() + b"\n",
    "ffconcat-absolute": lambda other: b"ffconcat version 1.0\nfile '" + str(other).encode() + b"'\n",
    "hls": lambda other: (
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n" + other.name.encode() + b"\n#EXT-X-ENDLIST\n"
    ),
    "hls-file-url": lambda other: (
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://" + str(other).encode() + b"\n#EXT-X-ENDLIST\n"
    ),
    "svg": lambda other: (
        b'<svg xmlns="http://www.w3.org/2000/svg" width="640" height="480"><image href="file://'
        + str(other).encode()
        + b'"/></svg>'
    ),
    "dash": lambda other: (
        b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>file://'
        + str(other).encode()
        + b"</BaseURL></MPD>"
    ),
    "sdp": lambda _: b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
    "huge-png": lambda _: huge_png(),
    "small-png": lambda _: small_png(),
    "text": lambda _: b"I am a text renamed to .mp4\n" * 40,
    "empty": lambda _: b"",
    "only-a-head": lambda _: b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
}

# What a person may try to say through a parameter.
INJECTIONS = (
    "movie=/etc/hostname[x];[v0][x]overlay",
    "0,movie=/etc/hostname",
    "1:metadata=print:file=pwned.txt",
    "',metadata=print:file=pwned.txt,drawtext=text='x",
    "x[v];[0:v:0]metadata=print:file=pwned.txt",
    "%{pts}%{localtime}%{eif:1:d}",
    "textfile=/etc/hostname",
    "\\'\\\\';:,[]=",
    "a\nb\n\"quoted\" 'twice'",
    "{text}",
    "עברית 🎬",
)
