"""The demo catalog's effects: the built-in ones on their shelves, and more made of the same filters. Data alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from outside.builtin_effects import BUILTIN_EFFECTS

Step = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Offer:
    """An effect with its place in the catalog, by slugs; `tags` are parted by blanks."""

    slug: str
    name: str
    description: str
    category: str
    style: str
    tags: str
    token_cost: int
    graph: Sequence[Step] = ()
    parameters: Sequence[Step] = ()
    is_premium: bool = False
    overlay: str | None = None
    watermark: str | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    category: str
    style: str
    tags: str
    token_cost: int


# The built-in effects: where they stand and what they cost.
_PLACES = {
    "grayscale": _Place("colour", "documentary", "monochrome portrait subtle", 2),
    "sepia": _Place("retro", "vintage", "warm portrait wedding", 3),
    "vivid": _Place("colour", "bold", "nature travel food bold", 3),
    "hue-shift": _Place("colour", "neon", "music bold product", 3),
    "vintage": _Place("retro", "vintage", "warm travel wedding", 5),
    "warmth": _Place("colour", "cinematic", "warm cold nature food", 3),
    "negative": _Place("art", "bold", "music bold", 2),
    "mirror": _Place("shape", "minimal", "subtle social", 1),
    "turn": _Place("shape", "minimal", "subtle social", 1),
    "blur": _Place("texture", "dreamy", "subtle portrait", 3),
    "sharpen": _Place("texture", "documentary", "product nature subtle", 3),
    "neon-edges": _Place("glow", "neon", "night city music bold", 8),
    "comic": _Place("art", "cartoon", "kids pets bold", 8),
    "pixelate": _Place("art", "retro-digital", "music kids bold", 4),
    "posterize": _Place("art", "cartoon", "music bold portrait", 4),
    "tape": _Place("retro", "retro-digital", "music night", 6),
    "ghost-trails": _Place("motion", "dreamy", "night music sport slow", 8),
    "caption": _Place("text", "minimal", "social product food", 4),
    "speed": _Place("motion", "minimal", "slow fast sport", 4),
    "fade-in-out": _Place("motion", "cinematic", "wedding travel subtle", 3),
    "crop": _Place("shape", "minimal", "social product", 1),
    "frame": _Place("shape", "minimal", "social product", 1),
}


def _step(filter_name: str, **options: object) -> Step:
    return {"filter": filter_name, "options": options}


def _number(name: str, low: float, high: float, /, *, default: float) -> Step:
    return {"name": name, "kind": "number", "minimum": low, "maximum": high, "default": default}


def _text(default: str) -> Step:
    return {"name": "text", "kind": "text", "default": default, "text_length_max": 120}


_MORE = (
    Offer(
        "film-noir", "Film noir", "Hard shadows, no colour, a dark rim.", "retro", "noir", "monochrome night city", 6,
        (_step("hue", s=0), _step("curves", preset="strong_contrast"), _step("vignette", angle=0.8)),
    ),
    Offer(
        "golden-hour", "Golden hour", "The last light of a summer's day.", "colour", "cinematic",
        "warm nature wedding travel", 5,
        (_step("colortemperature", temperature=4_300), _step("eq", gamma=1.08, saturation="{glow}")),
        (_number("glow", 1, 2, default=1.25),),
    ),
    Offer(
        "arctic", "Arctic", "Cold, clear and a little pale.", "colour", "cinematic", "cold nature travel", 5,
        (_step("colortemperature", temperature=9_500), _step("eq", contrast=1.1, saturation=0.85)),
    ),
    Offer(
        "teal-and-orange", "Teal and orange", "The colours of the big screen.", "colour", "cinematic",
        "warm city travel bold", 6,
        (_step("colorbalance", rs=-0.2, bs=0.25, rh=0.2, bh=-0.2), _step("vibrance", intensity=0.4)),
    ),
    Offer(
        "moonlight", "Moonlight", "Day becomes night.", "colour", "noir", "night cold city", 6,
        (_step("eq", brightness=-0.15, contrast=1.15, saturation=0.6), _step("colorbalance", bs=0.3, bm=0.15)),
    ),
    Offer(
        "faded-postcard", "Faded postcard", "As if it had hung in the sun for years.", "retro", "vintage",
        "warm travel subtle", 4, (_step("curves", preset="lighter"), _step("eq", saturation=0.7, contrast=0.9)),
    ),
    Offer(
        "cross-process", "Cross process", "The wrong bath for the right film.", "retro", "vintage", "music bold", 4,
        (_step("curves", preset="cross_process"), _step("vignette", angle=0.4)),
    ),
    Offer(
        "silent-movie", "Silent movie", "Eighteen frames, grain and no colour.", "retro", "vintage",
        "monochrome kids", 6,
        (_step("hue", s=0), _step("fps", fps=18), _step("noise", alls=18, allf="moving"), _step("vignette", angle=0.7)),
    ),
    Offer(
        "arcade", "Arcade", "Square pixels and few colours.", "art", "retro-digital", "kids music bold", 6,
        (_step("pixelize", size="{size}"), _step("lutyuv", preset="posterize"), _step("eq", saturation=1.8)),
        (_number("size", 4, 32, default=8),),
    ),
    Offer(
        "ink", "Ink", "Black lines, white paper.", "art", "cartoon", "monochrome kids", 7,
        (_step("hue", s=0), _step("edgedetect", mode="wires", low=0.05, high=0.15), _step("negate")),
    ),
    Offer(
        "stencil", "Stencil", "Two tones, as sprayed on a wall.", "art", "bold", "city music monochrome", 5,
        (_step("lutyuv", preset="threshold"),),
    ),
    Offer(
        "solar", "Solar", "Lights that turn into their opposite.", "art", "bold", "music bold", 4,
        (_step("lutyuv", preset="solarize"),),
    ),
    Offer(
        "dream-glow", "Dream glow", "Soft light around everything.", "glow", "dreamy", "wedding portrait warm", 7,
        (_step("gblur", sigma="{softness}"), _step("eq", brightness=0.06, saturation=1.2)),
        (_number("softness", 0.5, 6, default=1.5),),
    ),
    Offer(
        "night-drive", "Night drive", "Signs that shine, streets that vanish.", "glow", "neon", "night city fast", 8,
        (_step("eq", contrast=1.4, brightness=-0.08, saturation=1.9), _step("chromashift", cbh=4, crh=-4)),
        is_premium=True,
    ),
    Offer(
        "light-leak", "Light leak", "Warm light that found a way into the camera.", "glow", "vintage",
        "warm wedding travel", 8, (_step("eq", brightness=0.03, saturation=1.15),), overlay="light-leak",
        is_premium=True,
    ),
    Offer(
        "long-exposure", "Long exposure", "What moves becomes a ribbon.", "motion", "dreamy", "night city slow", 9,
        (_step("tmix", frames="{frames}"),), (_number("frames", 2, 8, default=6),), is_premium=True,
    ),
    Offer(
        "slow-motion", "Slow motion", "Half the speed.", "motion", "cinematic", "slow sport pets", 5,
        (_step("speed", factor=0.5),),
    ),
    Offer(
        "time-lapse", "Time lapse", "Four times the speed.", "motion", "documentary", "fast city nature", 5,
        (_step("speed", factor=4),),
    ),
    Offer(
        "stop-motion", "Stop motion", "Eight pictures a second.", "motion", "cartoon", "kids pets", 4,
        (_step("fps", fps=8), _step("eq", saturation=1.3)),
    ),
    Offer(
        "grain", "Film grain", "Grain that lives, on clean digital pictures.", "texture", "cinematic",
        "subtle portrait", 3,
        (_step("noise", alls="{amount}", allf="moving"),), (_number("amount", 2, 40, default=14),),
    ),
    Offer(
        "dust-and-scratches", "Dust and scratches", "A film that was shown a thousand times.", "texture", "vintage",
        "monochrome warm", 6, (_step("hue", s=0.6), _step("noise", alls=10, allf="moving")), overlay="film-dust",
    ),
    Offer(
        "crisp", "Crisp", "Clear edges and colours for small screens.", "texture", "minimal", "product food social", 3,
        (_step("unsharp", luma_amount=1.5), _step("vibrance", intensity=0.5)),
    ),
    Offer(
        "lower-third", "Lower third", "A name or a place, bottom left.", "text", "documentary", "social travel", 4,
        (_step("drawtext", text="{text}", position="bottom-left", size=0.06, box_color="#101014"),),
        (_text("Lisbon, 6 a.m."),),
    ),
    Offer(
        "big-title", "Big title", "Your words, large, in the middle.", "text", "bold", "social music product", 4,
        (_step("drawtext", text="{text}", position="center", size=0.16),), (_text("HELLO"),),
    ),
    Offer(
        "made-with-atrium", "Made with Atrium", "A small mark in the corner.", "text", "minimal", "social subtle", 1,
        watermark="atrium",
    ),
    Offer(
        "letterbox", "Letterbox", "The wide shape of the cinema.", "shape", "cinematic", "travel bold", 3,
        (_step("crop", aspect="21:9"),),
    ),
    Offer(
        "story", "Story", "Tall, for phones.", "shape", "minimal", "social product", 2,
        (_step("crop", aspect="9:16"), _step("unsharp", luma_amount=0.6)),
    ),
    Offer(
        "soft-frame", "Soft frame", "A dark, soft border.", "shape", "dreamy", "portrait wedding", 4,
        (_step("eq", saturation=1.1),), overlay="soft-frame",
    ),
)  # fmt: skip


def offers() -> list[Offer]:
    """All of them, the built-in ones first."""
    built_in = [
        Offer(
            each.slug,
            each.name,
            each.description,
            _PLACES[each.slug].category,
            _PLACES[each.slug].style,
            _PLACES[each.slug].tags,
            _PLACES[each.slug].token_cost,
            each.graph,
            each.parameters,
        )
        for each in BUILTIN_EFFECTS
    ]
    return [*built_in, *_MORE]
