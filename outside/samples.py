"""Small real videos made by ffmpeg itself, for the demo and the tests. No input but numbers of ours ever comes here."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from pathlib import Path

from outside import confined
from outside.confined import Limits, MediaError

LIMITS = Limits(wall_seconds=120.0, cpu_seconds=120, file_bytes=64 * 1024**2)
SECONDS_MAX = 60
# Each looks different; the seed picks one and turns its colours.
_PICTURES = (
    "testsrc2=s={size}:r=24:d={seconds}",
    "gradients=s={size}:r=24:d={seconds}:n=4:seed={seed}:speed=0.03",
    "mandelbrot=s={size}:r=24:end_scale=0.0003:maxiter=300,trim=duration={seconds}",
    "cellauto=s={size}:r=24:rule=110:random_seed={seed},trim=duration={seconds}",
    "sierpinski=s={size}:r=24:seed={seed}:type=carpet,trim=duration={seconds}",
)


async def make_sample(
    path: Path, *, ffmpeg: Path, seconds: float = 2.0, width: int = 320, height: int = 180, seed: int = 0
) -> None:
    """Write an MP4 (x264, aac) to `path`, over what was there. The same arguments and build give the same bytes."""
    if not (0 < seconds <= SECONDS_MAX and 16 <= width <= 1_920 and 16 <= height <= 1_920):
        raise ValueError("a sample has up to 60 seconds and sides of 16 to 1920 pixels")
    size = f"{width // 2 * 2}x{height // 2 * 2}"
    picture = _PICTURES[seed % len(_PICTURES)].format(size=size, seconds=seconds, seed=seed % 65_536)
    turned = f"{picture},hue=h={seed * 47 % 360},format=yuv420p"
    sound = f"sine=frequency={220 + seed * 55 % 660}:duration={seconds}"
    command = [str(ffmpeg), "-nostdin", "-hide_banner", "-v", "error", "-xerror"]
    command += ["-f", "lavfi", "-i", turned, "-f", "lavfi", "-i", sound, "-t", str(seconds)]
    command += ["-c:v", "libx264", "-preset", "veryfast", "-crf", "26", "-c:a", "aac", "-b:a", "64k"]
    command += ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact", "-threads", "2"]
    command += ["-movflags", "+faststart", "-f", "mp4", "-y", "out.mp4"]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sample-", dir=path.parent) as folder:
        ended = await confined.run(command, stdin=subprocess.DEVNULL, folder=Path(folder), limits=LIMITS)
        if ended.code != 0:
            raise MediaError(f"No sample could be made: {ended.stderr.strip()[-200:]}")
        await asyncio.to_thread(Path(folder, "out.mp4").replace, path)
