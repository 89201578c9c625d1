"""The effects every set-up starts with, as data: what `effects.parameters` and `effects.graph` hold for each.

Prices, categories and pictures are the catalog's. Each one passes check_graph and renders (tests/outside).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class BuiltinEffect:
    """`parameters` and `graph` are JSON as graphs.parse_parameters and graphs.check_graph read them."""

    slug: str
    name: str
    description: str
    parameters: Sequence[Mapping[str, object]]
    graph: Sequence[Mapping[str, object]]


def _number(name: str, *, low: float, high: float, default: float) -> dict[str, object]:
    return {"name": name, "kind": "number", "minimum": low, "maximum": high, "default": default}


def _enum(name: str, *choices: str) -> dict[str, object]:
    return {"name": name, "kind": "enum", "choices": list(choices), "default": choices[0]}


def _colour(name: str, default: str) -> dict[str, object]:
    return {"name": name, "kind": "colour", "default": default}


def _step(filter_name: str, **options: object) -> dict[str, object]:
    return {"filter": filter_name, "options": options}


_ASPECTS = ("1:1", "9:16", "16:9", "4:5")
_SEPIA = {"rr": 0.393, "rg": 0.769, "rb": 0.189, "gr": 0.349, "gg": 0.686, "gb": 0.168,
          "br": 0.272, "bg": 0.534, "bb": 0.131}  # fmt: skip

BUILTIN_EFFECTS: Sequence[BuiltinEffect] = (
    BuiltinEffect("grayscale", "Grayscale", "Takes all colour away.", (), (_step("hue", s=0),)),
    BuiltinEffect("sepia", "Sepia", "The brown of old photographs.", (), (_step("colorchannelmixer", **_SEPIA),)),
    BuiltinEffect(
        "vivid", "Vivid", "Stronger colours and contrast.",
        (_number("saturation", low=1, high=3, default=1.6), _number("contrast", low=1, high=2, default=1.15)),
        (_step("eq", saturation="{saturation}", contrast="{contrast}"),),
    ),
    BuiltinEffect(
        "hue-shift", "Hue shift", "Turns every colour around the circle.",
        (_number("degrees", low=-180, high=180, default=90),), (_step("hue", h="{degrees}"),),
    ),
    BuiltinEffect(
        "vintage", "Vintage", "Faded curves, dark corners and moving grain.",
        (_number("grain", low=0, high=40, default=12),),
        (_step("curves", preset="vintage"), _step("vignette", angle=0.6),
         _step("noise", alls="{grain}", allf="moving")),
    ),
    BuiltinEffect(
        "warmth", "Warmth", "Warmer towards 2,000 kelvin, colder towards 12,000.",
        (_number("kelvin", low=2_000, high=12_000, default=4_200),),
        (_step("colortemperature", temperature="{kelvin}"),),
    ),
    BuiltinEffect("negative", "Negative", "Every colour becomes its opposite.", (), (_step("negate"),)),
    BuiltinEffect("mirror", "Mirror", "Left becomes right.", (), (_step("hflip"),)),
    BuiltinEffect(
        "turn", "Turn", "Turns the picture by a quarter.",
        (_enum("direction", "clock", "cclock"),), (_step("transpose", dir="{direction}"),),
    ),
    BuiltinEffect(
        "blur", "Blur", "Softens everything.",
        (_number("strength", low=0, high=40, default=8),), (_step("gblur", sigma="{strength}"),),
    ),
    BuiltinEffect(
        "sharpen", "Sharpen", "Clearer edges.",
        (_number("strength", low=0, high=4, default=1.2),), (_step("unsharp", luma_amount="{strength}"),),
    ),
    BuiltinEffect(
        "neon-edges", "Neon edges", "Glowing outlines on black.",
        (_number("glow", low=1, high=3, default=2),),
        (_step("edgedetect", mode="wires", low=0.08, high=0.2), _step("eq", saturation="{glow}", gamma=1.4)),
    ),
    BuiltinEffect(
        "comic", "Comic", "Painted surfaces between drawn edges.",
        (), (_step("edgedetect", mode="colormix", low=0.1, high=0.3), _step("eq", saturation=1.5)),
    ),
    BuiltinEffect(
        "pixelate", "Pixelate", "Large square pixels.",
        (_number("size", low=2, high=64, default=12),), (_step("pixelize", size="{size}"),),
    ),
    BuiltinEffect("posterize", "Posterize", "Few steps of light.", (), (_step("lutyuv", preset="posterize"),)),
    BuiltinEffect(
        "tape", "Tape", "Colours that slipped, as on an old cassette.",
        (_number("slip", low=0, high=20, default=6),),
        (_step("chromashift", cbh="{slip}", crv=2), _step("noise", alls=8, allf="moving"), _step("eq", saturation=1.3)),
    ),
    BuiltinEffect(
        "ghost-trails", "Ghost trails", "What moves leaves light behind.",
        (_number("decay", low=0.5, high=0.99, default=0.94),), (_step("lagfun", decay="{decay}"),),
    ),
    BuiltinEffect(
        "caption", "Caption", "Your words on the video.",
        ({"name": "text", "kind": "text", "default": "Made with Atrium", "text_length_max": 200},
         _colour("colour", "#ffffff"), _colour("background", "#000000"), _enum("position", "bottom", "center", "top")),
        (_step("drawtext", text="{text}", color="{colour}", box_color="{background}", position="{position}"),),
    ),
    BuiltinEffect(
        "speed", "Speed", "Slow motion below 1, time lapse above.",
        (_number("factor", low=0.25, high=4, default=0.5),), (_step("speed", factor="{factor}"),),
    ),
    BuiltinEffect(
        "fade-in-out", "Fade in and out", "Begins and ends in a colour.",
        (_number("seconds", low=0.1, high=5, default=0.5), _colour("colour", "#000000")),
        (_step("fade", direction="in", seconds="{seconds}", color="{colour}"),
         _step("fade", direction="out", seconds="{seconds}", color="{colour}")),
    ),
    BuiltinEffect(
        "crop", "Crop to shape", "Cuts to square, tall or wide.",
        (_enum("aspect", *_ASPECTS),), (_step("crop", aspect="{aspect}"),),
    ),
    BuiltinEffect(
        "frame", "Fit to shape", "Adds bars until it is square, tall or wide.",
        (_enum("aspect", *_ASPECTS), _colour("colour", "#101014")),
        (_step("pad", aspect="{aspect}", color="{colour}"),),
    ),
)  # fmt: skip
