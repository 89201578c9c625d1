"""The white list: which filters an effect may use, with which options, and how each becomes ffmpeg's words.

Every word that reaches ffmpeg is made here from a checked number, a listed choice or a checked colour. Text goes into
a file of the job. No filter that opens a file, runs a command, keeps all frames or writes metadata is on the list.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

# A little under what a source may have: codecs round up to whole blocks, and the result must be a source again.
PIXELS_MAX = 3_840 * 2_160
SIDE_PIXELS_MIN = 16
SIDE_PIXELS_MAX = 4_096
TEXT_CHARACTERS_MAX = 500
FONT_FILE = "font.ttf"


@dataclass(frozen=True)
class Number:
    low: float
    high: float
    whole: bool = False


@dataclass(frozen=True)
class Choice:
    """Allowed words, each with what ffmpeg is told for it."""

    words: Mapping[str, str]


@dataclass(frozen=True)
class Colour:
    pass


@dataclass(frozen=True)
class Text:
    pass


Option = Number | Choice | Colour | Text
# What a filter is drawn with: formatted numbers, ffmpeg's words, 0xRRGGBB colours, names of text files.
Values = Mapping[str, str]


@dataclass(frozen=True)
class Frame:
    """The picture between two filters: even pixels, and the length it has by now."""

    width: int
    height: int
    seconds: float


@dataclass(frozen=True)
class Drawn:
    frame: Frame
    video: str = ""
    audio: str = ""


@dataclass(frozen=True)
class Filter:
    options: Mapping[str, Option]
    draw: Callable[[Values, Frame], Drawn]
    needed: frozenset[str] = field(default_factory=frozenset)


def number(value: float) -> str:
    """A number without exponent, sign of zero or more than six places."""
    text = f"{value:.6f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def even(value: float) -> int:
    return max(SIDE_PIXELS_MIN, round(value / 2) * 2)


def fitted(width: float, height: float) -> tuple[int, int]:
    """The same shape within the limits of a frame, in even pixels."""
    shrink = min(1.0, math.sqrt(PIXELS_MAX / (width * height)), SIDE_PIXELS_MAX / max(width, height))
    return even(math.floor(width * shrink / 2) * 2), even(math.floor(height * shrink / 2) * 2)


def words(*names: str) -> Choice:
    return Choice({name: name for name in names})


def _plain(name: str, **options: Option) -> Filter:
    """A filter whose options are ffmpeg's own and which leaves size and length alone."""

    def draw(values: Values, frame: Frame) -> Drawn:
        given = ":".join(f"{key}={value}" for key, value in values.items())
        return Drawn(frame, f"{name}={given}" if given else name)

    return Filter(options, draw)


def _transpose(values: Values, frame: Frame) -> Drawn:
    return Drawn(replace(frame, width=frame.height, height=frame.width), f"transpose=dir={values['dir']}")


def _scale(values: Values, frame: Frame) -> Drawn:
    width = float(values["width"])
    height = float(values["height"]) if "height" in values else frame.height * width / frame.width
    w, h = fitted(width, height)
    return Drawn(replace(frame, width=w, height=h), f"scale=w={w}:h={h}")


def _crop(values: Values, frame: Frame) -> Drawn:
    aspect = float(values["aspect"])
    w, h = even(min(frame.width, frame.height * aspect)), even(min(frame.height, frame.width / aspect))
    w, h = min(w, frame.width), min(h, frame.height)
    return Drawn(replace(frame, width=w, height=h), f"crop=w={w}:h={h}")


def _pad(values: Values, frame: Frame) -> Drawn:
    aspect = float(values["aspect"])
    w, h = fitted(max(frame.width, frame.height * aspect), max(frame.height, frame.width / aspect))
    shrink = min(w / frame.width, h / frame.height, 1.0)
    inner_w, inner_h = min(even(frame.width * shrink), w), min(even(frame.height * shrink), h)
    drawn = (
        f"scale=w={inner_w}:h={inner_h},pad=w={w}:h={h}:x=(ow-iw)/2:y=(oh-ih)/2:color={values.get('color', 'black')}"
    )
    return Drawn(replace(frame, width=w, height=h), drawn)


def _pixelize(values: Values, frame: Frame) -> Drawn:
    return Drawn(frame, f"pixelize=w={values['size']}:h={values['size']}")


def _lutyuv(values: Values, frame: Frame) -> Drawn:
    return Drawn(frame, f"lutyuv={values['preset']}")


def _fade(values: Values, frame: Frame) -> Drawn:
    seconds = min(float(values["seconds"]), frame.seconds)
    start = "0" if values["direction"] == "in" else number(frame.seconds - seconds)
    timing = f"t={values['direction']}:st={start}:d={number(seconds)}"
    return Drawn(frame, f"fade={timing}:color={values.get('color', 'black')}", f"afade={timing}")


def _speed(values: Values, frame: Frame) -> Drawn:
    factor = float(values["factor"])
    # atempo goes no lower than a half, so a quarter is two of them.
    steps = [math.sqrt(factor)] * 2 if factor < 0.5 else [factor]
    audio = ",".join(f"atempo={number(step)}" for step in steps)
    return Drawn(replace(frame, seconds=frame.seconds / factor), f"setpts=PTS/{number(factor)}", audio)


def _volume(values: Values, frame: Frame) -> Drawn:
    return Drawn(frame, "", f"volume={values['level']}")


def _drawtext(values: Values, frame: Frame) -> Drawn:
    # expansion=none: the text is drawn, never read as %{…}; the file's name is ours.
    parts = [
        f"fontfile={FONT_FILE}",
        f"textfile={values['text']}",
        "expansion=none",
        f"fontsize={max(4, round(frame.height * float(values.get('size', '0.08'))))}",
        f"fontcolor={values.get('color', 'white')}",
        values.get("position", POSITIONS["bottom"]),
    ]
    if "box_color" in values:
        parts.append(f"box=1:boxcolor={values['box_color']}@{values.get('box_opacity', '0.6')}:boxborderw=10")
    return Drawn(frame, "drawtext=" + ":".join(parts))


ASPECTS = Choice(
    {"1:1": "1", "16:9": "1.777778", "9:16": "0.5625", "4:3": "1.333333", "4:5": "0.8", "21:9": "2.333333"}
)
POSITIONS = {
    "top": "x=(w-text_w)/2:y=h*0.06",
    "center": "x=(w-text_w)/2:y=(h-text_h)/2",
    "bottom": "x=(w-text_w)/2:y=h*0.94-text_h",
    "top-left": "x=w*0.04:y=h*0.06",
    "top-right": "x=w*0.96-text_w:y=h*0.06",
    "bottom-left": "x=w*0.04:y=h*0.94-text_h",
    "bottom-right": "x=w*0.96-text_w:y=h*0.94-text_h",
}
CURVES = words(
    "color_negative", "cross_process", "darker", "increase_contrast", "lighter", "linear_contrast", "medium_contrast",
    "negative", "strong_contrast", "vintage",
)  # fmt: skip
_MIX = {a + b: Number(-2, 2) for a in "rgb" for b in "rgb"}
_BALANCE = {a + b: Number(-1, 1) for a in "rgb" for b in "smh"}

FILTERS: Mapping[str, Filter] = {
    "hue": _plain("hue", h=Number(-360, 360), s=Number(-10, 10), b=Number(-10, 10)),
    "eq": _plain(
        "eq", contrast=Number(0, 3), brightness=Number(-1, 1), saturation=Number(0, 3), gamma=Number(0.1, 10),
        gamma_r=Number(0.1, 10), gamma_g=Number(0.1, 10), gamma_b=Number(0.1, 10),
    ),
    "colorchannelmixer": _plain("colorchannelmixer", **_MIX),
    "colorbalance": _plain("colorbalance", **_BALANCE),
    "colortemperature": _plain("colortemperature", temperature=Number(1_000, 40_000), mix=Number(0, 1)),
    "vibrance": _plain("vibrance", intensity=Number(-2, 2)),
    "curves": _plain("curves", preset=CURVES),
    "negate": _plain("negate"),
    "gblur": _plain("gblur", sigma=Number(0, 60), steps=Number(1, 3, whole=True)),
    "unsharp": _plain("unsharp", luma_amount=Number(-2, 5), chroma_amount=Number(-2, 5)),
    "noise": _plain("noise", alls=Number(0, 100, whole=True), allf=Choice({"still": "u", "moving": "t+u"})),
    "vignette": _plain("vignette", angle=Number(0, 1.57), mode=words("forward", "backward")),
    "edgedetect": _plain("edgedetect", mode=words("wires", "colormix"), low=Number(0, 1), high=Number(0, 1)),
    "chromashift": _plain(
        "chromashift", cbh=Number(-60, 60, whole=True), cbv=Number(-60, 60, whole=True),
        crh=Number(-60, 60, whole=True), crv=Number(-60, 60, whole=True),
    ),
    "lagfun": _plain("lagfun", decay=Number(0, 1)),
    "tmix": _plain("tmix", frames=Number(1, 8, whole=True)),
    "hflip": _plain("hflip"),
    "vflip": _plain("vflip"),
    "fps": _plain("fps", fps=Number(1, 60, whole=True)),
    "format": _plain("format", pix_fmts=words("gray", "yuv420p", "yuv444p", "rgb24")),
    "pixelize": Filter({"size": Number(2, 128, whole=True)}, _pixelize, frozenset({"size"})),
    "lutyuv": Filter(
        {"preset": Choice({
            "posterize": "y=floor(val/48)*48",
            "solarize": r"y=if(gt(val\,128)\,255-val\,val)",
            "threshold": r"y=if(gt(val\,110)\,235\,16):u=128:v=128",
        })},
        _lutyuv, frozenset({"preset"}),
    ),
    "transpose": Filter({"dir": words("clock", "cclock", "clock_flip", "cclock_flip")}, _transpose, frozenset({"dir"})),
    "scale": Filter(
        {name: Number(SIDE_PIXELS_MIN, SIDE_PIXELS_MAX, whole=True) for name in ("width", "height")},
        _scale, frozenset({"width"}),
    ),
    "crop": Filter({"aspect": ASPECTS}, _crop, frozenset({"aspect"})),
    "pad": Filter({"aspect": ASPECTS, "color": Colour()}, _pad, frozenset({"aspect"})),
    "fade": Filter(
        {"direction": words("in", "out"), "seconds": Number(0.1, 10), "color": Colour()},
        _fade, frozenset({"direction", "seconds"}),
    ),
    "speed": Filter({"factor": Number(0.25, 4)}, _speed, frozenset({"factor"})),
    "volume": Filter({"level": Number(0, 4)}, _volume, frozenset({"level"})),
    "drawtext": Filter(
        {
            "text": Text(), "size": Number(0.02, 0.3), "color": Colour(), "box_color": Colour(),
            "box_opacity": Number(0, 1), "position": Choice(POSITIONS),
        },
        _drawtext, frozenset({"text"}),
    ),
}  # fmt: skip
