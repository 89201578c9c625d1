"""Reads what a media file on stdin is and prints it as JSON. Run by path under confined.py's limits, never imported.

Arguments: the formats allowed, the pixels allowed. A refusal is printed as {"refused": reason} with code 0; any other
code is a crash of the parser.
"""

from __future__ import annotations

import json
import os
import sys
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

GIF_END = b"\x3b"
DAMAGED = "The file is damaged or not complete."


def seconds(stream: Any) -> float | None:
    """A stream's own length: its header's, else Matroska's tag, else none."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    hours, _, rest = str(stream.metadata.get("DURATION", "")).partition(":")
    minutes, _, last = rest.partition(":")
    try:
        return int(hours) * 3600 + int(minutes) * 60 + float(last)
    except ValueError:
        return None


def counted(container: InputContainer) -> float:
    """The last packet's end: for recordings whose header names no length."""
    end = Fraction(0)
    for packet in container.demux():
        if packet.pts is not None and packet.time_base is not None:
            end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
    return float(end)


def whole_gif() -> bool:
    """A GIF has no length in its header: only its last byte tells that it is all there."""
    size = os.fstat(0).st_size
    tail = os.pread(0, 1_024, max(0, size - 1_024)).rstrip(b"\0")
    return tail.endswith(GIF_END)


def shape(video: VideoStream, first: Any) -> tuple[int, int]:
    """Width and height as shown: with square pixels and turned as the file says."""
    width, height = first.width, first.height
    aspect = video.sample_aspect_ratio or Fraction(1)
    if Fraction(1, 4) <= aspect <= Fraction(4):
        width = round(width * aspect)
    return (height, width) if first.rotation % 180 else (width, height)


def describe(formats: str, pixels_max: int) -> dict[str, object]:
    options = {"fd": "0", "protocol_whitelist": "fd", "format_whitelist": formats}
    container = av.open("fd:", options=options)
    if not container.streams.video:
        return {"refused": "The file holds no video."}
    video = container.streams.video[0]
    if video.width * video.height > pixels_max:
        return {"refused": f"The picture is larger than {pixels_max} pixels."}
    video.codec_context.options = {"max_pixels": str(pixels_max)}
    if container.format.name == "gif" and not whole_gif():
        return {"refused": DAMAGED}
    first = next(container.decode(video), None)
    if first is None:
        return {"refused": DAMAGED}
    width, height = shape(video, first)
    whole = container.duration / av.time_base if container.duration else counted(container)
    return {
        "container": container.format.name,
        "width": width,
        "height": height,
        "duration_seconds": whole,
        "video_seconds": min(seconds(video) or whole, whole),
        "has_audio": bool(container.streams.audio),
        "video_codec": video.codec_context.name,
    }


def main() -> None:
    try:
        answer = describe(sys.argv[1], int(sys.argv[2]))
    except (FFmpegError, ValueError, IndexError, MemoryError):
        answer = {"refused": "The file is no video that can be read."}
    sys.stdout.write(json.dumps(answer))


main()
