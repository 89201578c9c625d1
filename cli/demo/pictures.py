"""Small PNG images for overlays and watermarks, drawn by arithmetic: no image library is needed for a few gradients."""

from __future__ import annotations

import math
import random
import struct
import zlib
from collections.abc import Callable

WIDTH = 320
HEIGHT = 180
MARK_WIDTH = 160
MARK_HEIGHT = 64

Colour = tuple[int, int, int, int]
Paint = Callable[[float, float], Colour]


def png(width: int, height: int, paint: Paint) -> bytes:
    """An RGBA image; `paint` gives the colour at (x, y), both from 0 to 1."""
    rows = bytearray()
    for y in range(height):
        rows.append(0)
        for x in range(width):
            rows += bytes(paint((x + 0.5) / width, (y + 0.5) / height))
    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = (_chunk(b"IHDR", head), _chunk(b"IDAT", zlib.compress(bytes(rows), 9)), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def light_leak() -> bytes:
    """Orange light from the left upper corner."""

    def paint(x: float, y: float) -> Colour:
        near = max(0.0, 1 - math.hypot(x * 1.2, y - 0.2))
        return 255, round(120 + 100 * near), 40, round(190 * near**2)

    return png(WIDTH, HEIGHT, paint)


def film_dust(dice: random.Random) -> bytes:
    """Specks and a few upright scratches."""
    specks = [(dice.random(), dice.random(), 0.002 + dice.random() * 0.006) for _ in range(60)]
    scratches = [(dice.random(), dice.random() * 0.6, 0.2 + dice.random() * 0.4) for _ in range(5)]

    def paint(x: float, y: float) -> Colour:
        speck = any(math.hypot(x - at, (y - up) * 0.56) < size for at, up, size in specks)
        scratch = any(abs(x - at) < 0.0016 and up < y < up + long for at, up, long in scratches)
        return 235, 230, 215, 150 if speck else 90 if scratch else 0

    return png(WIDTH, HEIGHT, paint)


def soft_frame() -> bytes:
    """Dark towards the edges, clear in the middle."""

    def paint(x: float, y: float) -> Colour:
        edge = min(x, 1 - x, y * 0.7, (1 - y) * 0.7)
        return 12, 12, 18, round(220 * max(0.0, 1 - edge / 0.09) ** 2)

    return png(WIDTH, HEIGHT, paint)


def mark(colour: tuple[int, int, int]) -> bytes:
    """An arch, the sign of the house, on nothing."""

    def paint(x: float, y: float) -> Colour:
        across, down = (x - 0.5) * MARK_WIDTH / MARK_HEIGHT, y
        ring = abs(math.hypot(across, down - 0.55) - 0.34) < 0.07 and down < 0.55
        post = abs(abs(across) - 0.34) < 0.07 and 0.55 <= down < 0.95
        return (*colour, 230 if ring or post else 0)

    return png(MARK_WIDTH, MARK_HEIGHT, paint)
