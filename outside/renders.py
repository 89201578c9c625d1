"""What is made of a video, as ffmpeg's output arguments: effect to MP4, exports to MP4, WEBM and GIF, thumbnails.

Nothing is run here. The same source and the same build give the same bytes: no dates, no tags, and one
encoding thread: with two libx264 was seen to write other frames on a machine that stood still for moments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from outside import filters, graphs
from outside.confined import MediaError
from outside.filters import Frame
from outside.graphs import Parameter, Picture
from outside.probe import Probed

Format = Literal["MP4", "WEBM", "GIF"]

GIF_SECONDS_MAX = 60.0
GIF_FRAMES_A_SECOND = 12
GIF_SIDE_PIXELS = 480
# One palette for the whole film keeps all its frames in memory; above this each frame gets its own.
GIF_KEPT_BYTES_MAX = 400 * 1024**2
THUMBNAIL_SIDE_PIXELS = 640
SECONDS_INTO_THUMBNAIL_MAX = 1.0
_SAME_BYTES = ("-map_metadata", "-1", "-map_chapters", "-1", "-sn", "-dn", "-fflags", "+bitexact",
               "-flags:v", "+bitexact", "-flags:a", "+bitexact", "-threads", "1")  # fmt: skip
_X264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "21", "-c:a", "aac", "-b:a", "128k", "-ac", "2",
         "-movflags", "+faststart", "-f", "mp4")  # fmt: skip
_VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "5", "-row-mt", "1", "-crf", "32", "-b:v", "0",
        "-c:a", "libopus", "-b:a", "96k", "-ac", "2", "-f", "webm")  # fmt: skip


@dataclass(frozen=True)
class Effect:
    """The catalog's graph with one job's params; `pictures` are its overlay and watermark."""

    spec: object
    parameters: Sequence[Parameter] = ()
    params: object = None
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True)
class Export:
    """In the asked size, in even pixels and in its own shape: with both sides asked it fits between them."""

    format: Format
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class Thumbnail:
    format: Literal["JPEG", "PNG"] = "JPEG"
    side_pixels: int = THUMBNAIL_SIDE_PIXELS


Work = Effect | Export | Thumbnail


@dataclass(frozen=True)
class Recipe:
    """`output` is what stands between the inputs and the file's name; `frame` what the result must be."""

    name: str
    mime_type: str
    output: tuple[str, ...]
    frame: Frame
    seek: tuple[str, ...] = ()
    still: bool = False
    texts: Mapping[str, str] = field(default_factory=dict)
    pictures: tuple[Path, ...] = ()


def recipe(work: Work, source: Probed) -> Recipe:
    """Raises MediaError, and for an effect InvalidGraph or InvalidParameter."""
    if isinstance(work, Effect):
        return _effect(work, source)
    if isinstance(work, Export):
        return _gif(work, source) if work.format == "GIF" else _film(work, source)
    return _thumbnail(work, source)


def _effect(work: Effect, source: Probed) -> Recipe:
    graph = graphs.build_graph(
        work.spec,
        work.parameters,
        given=work.params,
        frame=Frame(source.width, source.height, source.duration_seconds),
        has_audio=source.has_audio,
        pictures=work.pictures,
    )
    maps = ("-map", "[v]", "-map", "[a]") if graph.has_audio else ("-map", "[v]")
    output = ("-filter_complex", graph.filter_complex, *maps, *_SAME_BYTES, *_X264)
    return Recipe("out.mp4", "video/mp4", output, graph.frame, texts=graph.texts, pictures=graph.pictures)


def _sized(source: Probed, *, width: int | None, height: int | None) -> Frame:
    if width is None and height is None:
        w, h = filters.fitted(source.width, source.height)
        return Frame(w, h, source.duration_seconds)
    for side in (width, height):
        if side is not None and not filters.SIDE_PIXELS_MIN <= side <= filters.SIDE_PIXELS_MAX:
            raise MediaError(f"A side must have {filters.SIDE_PIXELS_MIN} to {filters.SIDE_PIXELS_MAX} pixels.")
    scales = [asked / real for asked, real in ((width, source.width), (height, source.height)) if asked is not None]
    w, h = filters.fitted(source.width * min(scales), source.height * min(scales))
    return Frame(w, h, source.duration_seconds)


def _film(work: Export, source: Probed) -> Recipe:
    frame = _sized(source, width=work.width, height=work.height)
    looks = f"scale=w={frame.width}:h={frame.height},setsar=1,format=yuv420p"
    maps = ("-map", "0:v:0", "-map", "0:a:0?", "-vf", looks)
    if work.format == "MP4":
        return Recipe("out.mp4", "video/mp4", (*maps, *_SAME_BYTES, *_X264), frame)
    return Recipe("out.webm", "video/webm", (*maps, *_SAME_BYTES, *_VP9), frame)


def _gif(work: Export, source: Probed) -> Recipe:
    if source.duration_seconds > GIF_SECONDS_MAX:
        raise MediaError(f"A GIF may have at most {GIF_SECONDS_MAX:g} seconds.")
    width, height = work.width, work.height
    if width is None and height is None:
        # Never enlarged: a GIF of a small video stays small.
        width, height = min(GIF_SIDE_PIXELS, source.width), min(GIF_SIDE_PIXELS, source.height)
    sized = _sized(source, width=width, height=height)
    frame = Frame(sized.width, sized.height, source.video_seconds)
    kept = frame.width * frame.height * 4 * GIF_FRAMES_A_SECOND * frame.seconds
    once = kept <= GIF_KEPT_BYTES_MAX
    graph = (
        f"[0:v:0]fps={GIF_FRAMES_A_SECOND},scale=w={frame.width}:h={frame.height}:flags=lanczos,setsar=1,split[x][y];"
        f"[x]palettegen=stats_mode={'diff' if once else 'single'}[p];[y][p]paletteuse=new={int(not once)}[v]"
    )
    output = ("-filter_complex", graph, "-map", "[v]", *_SAME_BYTES, "-an", "-loop", "0", "-f", "gif")
    return Recipe("out.gif", "image/gif", output, frame)


def _thumbnail(work: Thumbnail, source: Probed) -> Recipe:
    shrink = min(1.0, work.side_pixels / max(source.width, source.height))
    width, height = filters.fitted(source.width * shrink, source.height * shrink)
    at = min(SECONDS_INTO_THUMBNAIL_MAX, source.video_seconds / 10)
    form = ("mjpeg", "-q:v", "3") if work.format == "JPEG" else ("png",)
    looks = f"scale=w={width}:h={height},setsar=1,format={'yuvj420p' if work.format == 'JPEG' else 'rgb24'}"
    output = ("-map", "0:v:0", "-vf", looks, "-an", "-frames:v", "1", *_SAME_BYTES, "-c:v", *form, "-update", "1")
    name, mime_type = ("out.jpg", "image/jpeg") if work.format == "JPEG" else ("out.png", "image/png")
    seek = ("-ss", filters.number(at))
    return Recipe(name, mime_type, (*output, "-f", "image2"), Frame(width, height, 0.0), seek=seek, still=True)
