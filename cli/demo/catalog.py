"""The demo catalog: what staff would enter, through the same actions; a slug that is there already is left as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from actions import catalog
from base.ids import Id
from cli.demo import effects, pictures
from cli.demo.samples import digits
from db.session import CentralSession
from db.tables.central.catalog import (
    AiModel,
    Algorithm,
    AlgorithmKind,
    Category,
    Discount,
    Effect,
    Filter,
    Overlay,
    Package,
    Style,
    Tag,
    Tier,
    Watermark,
)
from outside.store import Store

if TYPE_CHECKING:
    from cli.demo.frame import Demo

AFTER: tuple[str, ...] = ()
ALGORITHM = "ffmpeg"
DISCOUNT_DAYS = 365

CATEGORIES = {
    "colour": ("Colour & light", "Warm, cold, loud or quiet: what colours say."),
    "retro": ("Retro", "As if it were found in an attic."),
    "art": ("Art & comic", "Drawn, printed, sprayed."),
    "glow": ("Glow & neon", "Light where there was none."),
    "motion": ("Motion", "Slower, faster, or with a trail."),
    "texture": ("Grain & texture", "What the picture feels like."),
    "text": ("Text & titles", "Words on the picture."),
    "shape": ("Shape & frame", "For every screen its shape."),
}
STYLES = {
    "vintage": "Vintage", "cinematic": "Cinematic", "cartoon": "Cartoon", "dreamy": "Dreamy", "minimal": "Minimal",
    "noir": "Noir", "neon": "Neon", "documentary": "Documentary", "bold": "Bold", "retro-digital": "Retro digital",
}  # fmt: skip
# The slugs are the white list's names of filters, so that an effect's filters follow from its graph.
FILTERS = {
    "hue": "Hue", "eq": "Light and contrast", "colorchannelmixer": "Channel mixer", "colorbalance": "Colour balance",
    "colortemperature": "Temperature", "vibrance": "Vibrance", "curves": "Curves", "negate": "Negative",
    "gblur": "Blur", "unsharp": "Sharpen", "noise": "Noise", "vignette": "Vignette", "edgedetect": "Edges",
    "chromashift": "Chroma shift", "lagfun": "Afterglow", "tmix": "Frame mix", "hflip": "Mirror", "transpose": "Turn",
    "fps": "Frame rate", "pixelize": "Pixels", "lutyuv": "Tone table", "crop": "Crop", "pad": "Bars", "fade": "Fade",
    "speed": "Speed", "drawtext": "Text",
}  # fmt: skip
TIERS = (
    ("starter", "Starter", 900, 300, ("300 tokens a month", "Exports in full HD")),
    ("studio", "Studio", 2_900, 1_200, ("1,200 tokens a month", "Premium effects", "Exports in 4K")),
    ("agency", "Agency", 9_900, 5_000, ("5,000 tokens a month", "Premium effects", "Exports in 4K", "Second members")),
)
PACKAGES = (
    ("pocket", "Pocket", 499, 100),
    ("regular", "Regular", 1_999, 500),
    ("large", "Large", 6_999, 2_000),
    ("warehouse", "Warehouse", 29_900, 10_000),
)


async def fill(demo: Demo) -> None:
    """Add what is missing and note every effect's id by its slug."""
    images = await _place(demo)
    made = await demo.house.system().on_central(_stock, images, demo.today)
    demo.added["catalog rows"] += made
    demo.effects = dict(await demo.house.system().on_central(_effects))
    demo.bars.begin("catalog", len(demo.effects)).forward(len(demo.effects))


async def _place(demo: Demo) -> dict[str, str]:
    """The images' public keys by slug; a stored one is not drawn again."""
    store = demo.house.service(Store)
    drawn: Mapping[str, Callable[[], bytes]] = {
        "light-leak": pictures.light_leak,
        "film-dust": lambda: pictures.film_dust(demo.dice("dust")),
        "soft-frame": pictures.soft_frame,
        "atrium": lambda: pictures.mark((255, 255, 255)),
        "atrium-dark": lambda: pictures.mark((20, 20, 26)),
    }
    keys = {}
    for slug, draw in drawn.items():
        keys[slug] = f"public/{digits(demo.seed, 'image', slug)}.png"
        if await store.head(keys[slug]) is None:
            await store.put_bytes(keys[slug], draw(), mime_type="image/png")
    return keys


async def _effects(db: CentralSession, /) -> list[tuple[str, int]]:
    rows = await db.tuples(sa.select(Effect.slug, Effect.id).where(Effect.archived_at.is_(None)).order_by(Effect.slug))
    return [(row.slug, row.id) for row in rows]


class _Shelves:
    """Adds rows by slug in one transaction and remembers their ids."""

    def __init__(self, db: CentralSession) -> None:
        self.db = db
        self.added = 0

    async def put(self, table: type[Any], slug: str, name: str, **values: object) -> Id[Any]:
        known: Id[Any] | None = await self.db.first(sa.select(table.id).where(table.slug == slug))
        if known is not None:
            return known
        self.added += 1
        return await catalog.create(self.db, table, {"slug": slug, "name": name, **values})


async def _stock(db: CentralSession, images: Mapping[str, str], today: datetime, /) -> int:
    shelves = _Shelves(db)
    ids: dict[tuple[type[Any], str], Id[Any]] = {}
    for position, (slug, (name, description)) in enumerate(CATEGORIES.items()):
        ids[Category, slug] = await shelves.put(Category, slug, name, description=description, position=position)
    for slug, name in STYLES.items():
        ids[Style, slug] = await shelves.put(Style, slug, name)
    for slug, name in FILTERS.items():
        ids[Filter, slug] = await shelves.put(Filter, slug, name)
    for offer in effects.offers():
        for slug in offer.tags.split():
            ids[Tag, slug] = await shelves.put(Tag, slug, slug.title())
    for slug, key in images.items():
        table = Watermark if slug.startswith("atrium") else Overlay
        image = {"asset_key": key, "asset_mime": "image/png"}
        ids[table, slug] = await shelves.put(table, slug, slug.replace("-", " ").capitalize(), **image)
    ids[Algorithm, ALGORITHM] = await shelves.put(Algorithm, ALGORITHM, "FFmpeg", kind=AlgorithmKind.FFMPEG)
    await shelves.put(Algorithm, "studio-gpu", "Studio GPU", kind=AlgorithmKind.WORKER)
    await shelves.put(AiModel, "restyle-2", "Restyle 2", description="Repaints a video in another style.")
    for offer in effects.offers():
        ids[Effect, offer.slug] = await _offer(shelves, offer, ids)
    await _sell(shelves, today)
    return shelves.added


async def _offer(shelves: _Shelves, offer: effects.Offer, ids: Mapping[tuple[type[Any], str], Id[Any]]) -> Id[Any]:
    used = dict.fromkeys(str(step["filter"]) for step in offer.graph)
    return await shelves.put(
        Effect,
        offer.slug,
        offer.name,
        description=offer.description,
        token_cost=offer.token_cost,
        is_premium=offer.is_premium,
        category_id=ids[Category, offer.category],
        style_id=ids[Style, offer.style],
        algorithm_id=ids[Algorithm, ALGORITHM],
        overlay_id=None if offer.overlay is None else ids[Overlay, offer.overlay],
        watermark_id=None if offer.watermark is None else ids[Watermark, offer.watermark],
        filter_ids=[ids[Filter, slug] for slug in used],
        tag_ids=[ids[Tag, slug] for slug in offer.tags.split()],
        parameters=[dict(each) for each in offer.parameters],
        graph=[dict(each) for each in offer.graph],
    )


async def _sell(shelves: _Shelves, today: datetime) -> None:
    for slug, name, cents, tokens, features in TIERS:
        price = {"monthly_price_cents": cents, "currency": "EUR", "monthly_tokens": tokens}
        await shelves.put(Tier, slug, name, features=list(features), **price)
    sold = {
        slug: await shelves.put(Package, slug, name, price_cents=cents, currency="EUR", tokens=tokens)
        for slug, name, cents, tokens in PACKAGES
    }
    # Discounts have no slug: where there is one, somebody has looked after them.
    if await shelves.db.first(sa.select(Discount.id)) is None:
        until = today + timedelta(days=DISCOUNT_DAYS)
        large = {"package_ids": [sold["large"], sold["warehouse"]], "ends_at": until}
        await catalog.create(shelves.db, Discount, {"percent_off": 15, "starts_at": today, **large})
        await catalog.create(shelves.db, Discount, {"percent_off": 25, "code": "WELCOME", "ends_at": until})
        shelves.added += 2
