"""Renders one video under the limits of confined.py: an effect, an export or a thumbnail.

The source is handed over as an open file, never by name; what is written lies in the job's own folder. Which codecs
stand in renders.py, which filters in graphs.py; tokens and rows are the caller's.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg

from outside import confined, probe, renders, sniff
from outside.confined import Limits, MediaError
from outside.filters import FONT_FILE
from outside.renders import Work

Progress = Callable[[float], Awaitable[None]]

LIMITS = Limits()
SECONDS_MAX = 600.0
LOOK_SECONDS_MAX = 20
SHORTER_SECONDS_MAX = 0.5
SHORTER_SHARE_MAX = 0.05
FONT = Path(__file__).parent / "fonts" / "DejaVuSans.ttf"
# A picture's demuxer is named, so that nothing is guessed from its bytes once more.
PICTURE_FORMATS = {"image/png": "png_pipe", "image/jpeg": "jpeg_pipe", "image/webp": "webp_pipe"}
PICTURE_BYTES_HEAD = 65_536
# ffmpeg ends with 0 for Matroska and GIF that stop midway; these lines tell.
DAMAGE_SIGNS = ("File ended prematurely", "LZW decode failed", "corrupt input packet", "Truncat", "partial file")
# Threads and libraries are mapped memory too: where it ends, they are what fails.
MEMORY_SIGNS = ("Cannot allocate memory", "Resource temporarily unavailable", "failed to map segment", "malloc of size")
# x264 and zimg tell no reason; with little memory this is how most of them end.
EITHER_SIGN = "Generic error in an external library"


class FfmpegUnusable(Exception):
    """There is no ffmpeg that can read an open file; the message says which was tried and what it lacks."""


@dataclass(frozen=True)
class Render:
    """One run. `folder` is the job's own and empty; the caller removes it with all that is in it."""

    ffmpeg: Path
    source: Path
    folder: Path
    work: Work
    limits: Limits = LIMITS
    seconds_max: float = SECONDS_MAX


@dataclass(frozen=True)
class Rendered:
    """`duration_seconds` is 0 for a thumbnail; `source` is what the input was found to be."""

    path: Path
    mime_type: str
    size_bytes: int
    width: int
    height: int
    duration_seconds: float
    source: probe.Probed


@functools.cache
def find_ffmpeg(path: str | None) -> Path:
    """The ffmpeg to use: the one at `path`, else imageio-ffmpeg's. Blocks for a moment: ask at start-up.

    Raises FfmpegUnusable where it has no `fd` protocol (FFmpeg before 6); `file:` is never used instead.
    """
    try:
        found = Path(path or imageio_ffmpeg.get_ffmpeg_exe()).resolve(strict=True)
        command = (str(found), "-hide_banner", "-protocols")
        answer = subprocess.run(command, env={}, capture_output=True, timeout=LOOK_SECONDS_MAX, check=True, text=True)
    except (OSError, RuntimeError, subprocess.SubprocessError, UnicodeDecodeError) as error:
        raise FfmpegUnusable(f"{path or 'imageio-ffmpeg'} cannot be run: {error}") from None
    inputs, _, _ = answer.stdout.partition("Output:")
    if "fd" not in inputs.split():
        raise FfmpegUnusable(f"{found} has no fd protocol (FFmpeg 6 or newer has): videos are not read by name.")
    return found


async def run(job: Render, *, on_progress: Progress | None = None) -> Rendered:
    """Probe, render, and probe what came out. Raises MediaError; progress goes from 0 to 1 and never back.

    Whatever ends this coroutine kills the process group: no ffmpeg outlives its job.
    """
    if any(job.folder.iterdir()):
        raise ValueError(f"{job.folder} is not empty: a job has a folder of its own")
    source = await probe.probe(job.source)
    if source.duration_seconds > job.seconds_max:
        raise MediaError(f"The video is longer than {job.seconds_max:g} seconds.")
    recipe = renders.recipe(job.work, source)
    (job.folder / FONT_FILE).symlink_to(FONT)
    for name, text in recipe.texts.items():
        (job.folder / name).write_text(text, encoding="utf-8")
    target = job.folder / recipe.name
    with job.source.open("rb") as stdin, _opened(recipe.pictures) as pictures:
        command = _command(job, recipe=recipe, pictures=pictures)
        ended = await confined.run(
            command,
            stdin=stdin.fileno(),
            folder=job.folder,
            limits=job.limits,
            pass_fds=[number for number, _ in pictures],
            on_line=_reporter(on_progress, recipe.frame.seconds),
        )
    _judge(ended, target, limits=job.limits)
    return await _rendered(target, recipe=recipe, source=source)


def _command(job: Render, *, recipe: renders.Recipe, pictures: Sequence[tuple[int, str]]) -> list[str]:
    guard = ["-protocol_whitelist", "fd", "-max_pixels", str(probe.PIXELS_MAX), "-threads", "2"]
    command = [str(job.ffmpeg), "-nostdin", "-hide_banner", "-v", "error", "-xerror", "-stats_period", "0.5"]
    command += ["-filter_threads", "2", "-filter_complex_threads", "2"]
    command += [*guard, "-format_whitelist", probe.FORMATS, "-t", f"{job.seconds_max + 1:g}", *recipe.seek]
    command += ["-fd", "0", "-i", "fd:"]
    for number, form in pictures:
        command += [*guard, "-format_whitelist", form, "-f", form, "-fd", str(number), "-i", "fd:"]
    # RLIMIT_FSIZE kills; -fs ends a little earlier and is told apart by _judge.
    return [*command, *recipe.output, "-fs", str(job.limits.file_bytes), "-progress", "pipe:1", "-y", recipe.name]


@contextlib.contextmanager
def _opened(pictures: Sequence[Path]) -> Iterator[list[tuple[int, str]]]:
    """Open each picture and name its demuxer by its first bytes. Raises MediaError for what is no picture."""
    with contextlib.ExitStack() as stack:
        opened = []
        for path in pictures:
            file = stack.enter_context(path.open("rb"))
            form = PICTURE_FORMATS.get(sniff.sniff(file.read(PICTURE_BYTES_HEAD)) or "")
            if form is None:
                raise MediaError("The effect's picture is no PNG, JPEG or WEBP.")
            file.seek(0)
            opened.append((file.fileno(), form))
        yield opened


def _reporter(on_progress: Progress | None, seconds: float) -> Callable[[bytes], Awaitable[None]]:
    highest = 0.0

    async def report(line: bytes) -> None:
        nonlocal highest
        key, _, value = line.decode("ascii", "replace").strip().partition("=")
        if on_progress is None or key != "out_time_us" or not value.isdigit():
            return
        share = min(1.0, int(value) / 1_000_000 / max(seconds, 0.001))
        if share > highest:
            highest = share
            await on_progress(share)

    return report


def _judge(ended: confined.Ended, target: Path, *, limits: Limits) -> None:
    if ended.code != 0 and any(sign in ended.stderr for sign in MEMORY_SIGNS):
        raise MediaError("Processing needed more memory than is allowed.")
    if "File too large" in ended.stderr or (target.exists() and target.stat().st_size >= limits.file_bytes):
        raise MediaError("The result would be too large.")
    if "No space left" in ended.stderr:
        raise MediaError("There is no room for the result at the moment.")
    if ended.code != 0 and EITHER_SIGN in ended.stderr:
        raise MediaError("Processing needed more memory than is allowed, or the file is damaged.")
    if ended.code != 0 or any(sign in ended.stderr for sign in DAMAGE_SIGNS):
        raise MediaError("The file is damaged or not complete.")
    if not target.exists() or target.stat().st_size == 0:
        raise MediaError("The file holds no picture that could be used.")


async def _rendered(target: Path, *, recipe: renders.Recipe, source: probe.Probed) -> Rendered:
    """The result as it is, compared with what it should be: a half video is no result."""
    size = (await asyncio.to_thread(target.stat)).st_size
    if recipe.still:
        frame = recipe.frame
        return Rendered(target, recipe.mime_type, size, frame.width, frame.height, 0.0, source)
    made = await probe.probe(target)
    short = recipe.frame.seconds - made.duration_seconds
    if short > max(SHORTER_SECONDS_MAX, SHORTER_SHARE_MAX * recipe.frame.seconds):
        raise MediaError("The file is damaged or not complete: it ends before the length it names.")
    return Rendered(target, recipe.mime_type, size, made.width, made.height, made.duration_seconds, source)
