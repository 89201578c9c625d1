"""A few small real videos in the store: what is uploaded, what effects made of it, and a still of each.

Every demo video is a copy of one of these. Their keys follow from the seed, so a second run finds them.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from outside import ffmpeg, renders
from outside import samples as sources
from outside.builtin_effects import BUILTIN_EFFECTS
from outside.graphs import parse_parameters
from outside.services import Ffmpeg
from outside.store import READ_BYTES_MAX, AlreadyThere, Store

if TYPE_CHECKING:
    from cli.demo.frame import Demo

AFTER = ("identity",)
SECONDS = 3.0
WIDTH = 320
HEIGHT = 180
KEY_BYTES = 16
MADE_AT_ONCE = 2
# Part of every key: a change of what is made here makes new objects.
EDITION = 1
EFFECTS = ("vintage", "vivid", "neon-edges", "comic", "pixelate", "ghost-trails", "sepia", "warmth")


@dataclass(frozen=True, slots=True)
class Stored:
    """An object in the store."""

    key: str
    mime_type: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A source, what the effect of this slug made of it, and a still of that; `seconds` is how long both are."""

    effect: str
    source: Stored
    output: Stored
    thumbnail: Stored
    seconds: float


def digits(seed: int, *about: object) -> str:
    """The part of a key that follows from the seed."""
    text = ":".join(map(str, (EDITION, seed, *about)))
    return hashlib.blake2b(text.encode(), digest_size=KEY_BYTES, person=b"atrium demo").hexdigest()


async def fill(demo: Demo) -> None:
    """Make the samples that are missing; without tenants there is nobody who would have one."""
    if not demo.studios:
        return
    bar, turn = demo.bars.begin("samples", len(EFFECTS)), asyncio.Semaphore(MADE_AT_ONCE)

    async def one(number: int, effect: str) -> Sample:
        async with turn:
            sample = await _sample(demo, number, effect)
            bar.forward()
            return sample

    demo.samples = list(await asyncio.gather(*(one(number, effect) for number, effect in enumerate(EFFECTS))))


async def _sample(demo: Demo, number: int, effect: str) -> Sample:
    store = demo.house.service(Store)
    keys = (
        (f"c/{digits(demo.seed, 'source', number)}", "video/mp4"),
        (f"public/{digits(demo.seed, 'output', number)}.mp4", "video/mp4"),
        (f"public/{digits(demo.seed, 'still', number)}.jpg", "image/jpeg"),
    )
    found = [await _stored(store, key, mime_type) for key, mime_type in keys]
    if not all(found):
        with tempfile.TemporaryDirectory(prefix="atrium-demo-") as folder:
            made = await _make(demo, number, effect, folder=Path(folder))
            for (key, mime_type), path in zip(keys, made, strict=True):
                await _put(store, key, path, mime_type=mime_type)
        found = [await _stored(store, key, mime_type) for key, mime_type in keys]
    source, output, thumbnail = (stored for stored in found if stored is not None)
    return Sample(effect, source, output, thumbnail, SECONDS)


async def _make(demo: Demo, number: int, effect: str, /, *, folder: Path) -> Sequence[Path]:
    tool = demo.house.service(Ffmpeg).path
    source = folder / "source.mp4"
    seed = demo.dice("sample", number).randrange(10_000) * len(EFFECTS) + number
    await sources.make_sample(source, ffmpeg=tool, seconds=SECONDS, width=WIDTH, height=HEIGHT, seed=seed)
    built_in = next(each for each in BUILTIN_EFFECTS if each.slug == effect)
    work = renders.Effect(list(built_in.graph), parse_parameters(list(built_in.parameters)))
    made, still = folder / "made", folder / "still"
    made.mkdir()
    still.mkdir()
    output = await ffmpeg.run(ffmpeg.Render(tool, source, made, work))
    thumbnail = await ffmpeg.run(ffmpeg.Render(tool, output.path, still, renders.Thumbnail()))
    return source, output.path, thumbnail.path


async def _put(store: Store, key: str, path: Path, /, *, mime_type: str) -> None:
    try:
        await store.put_file(key, path, mime_type=mime_type)
    except AlreadyThere:
        # Two runs at once make the same bytes.
        return


async def _stored(store: Store, key: str, mime_type: str) -> Stored | None:
    blob = await store.head(key)
    if blob is None:
        return None
    data = await store.read(key, length=READ_BYTES_MAX)
    return Stored(key, mime_type, blob.size_bytes, hashlib.sha256(data).hexdigest())
