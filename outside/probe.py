"""What a media file is: container, size, length, codec; read by PyAV in a process of its own under limits.

Only the formats of FORMATS are opened, from an open file, by no name: a playlist leads nowhere from there.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from outside import confined
from outside.confined import Limits, MediaError

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,gif"
PIXELS_MAX = 4_096 * 2_160
SIDE_PIXELS_MIN = 16
SIDE_PIXELS_MAX = 16_384
LIMITS = Limits(wall_seconds=60.0, cpu_seconds=30, memory_bytes=1_536 * 1024**2, file_bytes=0)
CHILD = Path(__file__).with_name("probe_child.py")
_CONTAINERS = {"mov,mp4,m4a,3gp,3g2,mj2": "mp4", "matroska,webm": "webm", "gif": "gif"}


@dataclass(frozen=True)
class Probed:
    """Width and height are pixels as shown (turned, square); `video_seconds` is the picture's part of the length.

    `container` is mp4 (QuickTime too), webm (Matroska too) or gif.
    """

    container: str
    width: int
    height: int
    duration_seconds: float
    has_audio: bool
    video_codec: str
    video_seconds: float


async def probe(path: Path, *, limits: Limits = LIMITS) -> Probed:
    """Raises MediaError for what is no video, hostile, too large, or without a picture that can be decoded."""
    # -B: the limit on written files is 0 bytes, a byte code cache would be killed by it.
    command = (sys.executable, "-I", "-B", str(CHILD), FORMATS, str(PIXELS_MAX))
    with path.open("rb") as source, tempfile.TemporaryDirectory(prefix="probe-") as folder:
        ended = await confined.run(command, stdin=source.fileno(), folder=Path(folder), limits=limits)
    if ended.code != 0:
        raise MediaError("The file is no video that can be read.")
    answer = json.loads(ended.stdout)
    if "refused" in answer:
        raise MediaError(answer["refused"])
    probed = Probed(**answer)
    if not (math.isfinite(probed.duration_seconds) and probed.duration_seconds > 0):
        raise MediaError("The file holds no moving picture.")
    if not SIDE_PIXELS_MIN <= min(probed.width, probed.height) <= max(probed.width, probed.height) <= SIDE_PIXELS_MAX:
        raise MediaError(f"The picture must be {SIDE_PIXELS_MIN} to {SIDE_PIXELS_MAX} pixels wide and high.")
    return Probed(**{**answer, "container": _CONTAINERS[probed.container]})
