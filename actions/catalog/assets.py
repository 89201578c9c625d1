"""Images for overlays and watermarks: uploaded by staff into the centre's own part of the store, then made public.

An image that no row shows goes with the sweep.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from actions import promised, store_sweep
from base import errors
from db.session import SystemSession
from db.tables.central.catalog import Overlay, Watermark
from outside import sniff
from outside.store import InvalidKey, Missing, Store
from tenancy.context import Context, House

ASSET_BYTES_MAX = 10 * 1024**2
EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


@dataclass(frozen=True, slots=True)
class NewAsset:
    """Where staff PUT an image; `key` is what `place_asset` is then given."""

    key: str
    url: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Asset:
    """A public image: its key in the store and the type that its bytes have."""

    key: str
    mime_type: str


async def create_asset_upload(
    ctx: Context, mime_type: str, /, *, size_bytes: int, sha256: str | None = None
) -> NewAsset:
    """Say where an image goes; nothing is written. Raises Invalid for what is no PNG, JPEG or WebP of ≤ 10 MiB."""
    plain = promised.mime_type(mime_type, "input", "mimeType")
    if not any(sniff.agrees(plain, known) for known in EXTENSIONS):
        raise errors.Invalid("An asset is image/png, image/jpeg or image/webp.", "input", "mimeType")
    promised.size(size_bytes, "input", "sizeBytes", most=ASSET_BYTES_MAX)
    checked = promised.sha256(sha256, "input", "sha256")
    key = f"c/{secrets.token_hex(16)}"
    upload = await ctx.house.service(Store).upload_url(
        key, size_bytes=size_bytes, mime_type=plain, sha256=checked, origin=ctx.origin
    )
    return NewAsset(key, upload.url, upload.headers)


async def place_asset(ctx: Context, asset_key: str, /) -> Asset:
    """Make an uploaded image public, before the row that shows it is written.

    1 store: look at the bytes; 2 store: copy to the public key made of the same digits. A crash after 2
    leaves a public object without a row, which the sweep takes. Idempotent. Raises NotFound, Invalid on
    `input.assetKey`.
    """
    store = ctx.house.service(Store)
    try:
        blob = await store.head(asset_key) if asset_key.startswith("c/") else None
        found = None if blob is None else sniff.sniff(await store.read(asset_key, length=sniff.HEAD_BYTES))
    except (InvalidKey, Missing):
        blob = found = None
    if blob is None:
        raise errors.NotFound("Nothing was uploaded under this key.", "input", "assetKey")
    if found not in EXTENSIONS or blob.size_bytes > ASSET_BYTES_MAX:
        raise errors.Invalid("These bytes are no PNG, JPEG or WebP image of at most 10 MiB.", "input", "assetKey")
    asset = Asset(f"public/{asset_key.removeprefix('c/')}.{EXTENSIONS[found]}", found)
    await store.copy(asset_key, asset.key)
    return asset


@store_sweep.keeps("c/", complete=True)
async def _uploaded(_house: House, _keys: Sequence[str]) -> set[str]:
    # What became of an upload is its public copy: the upload itself lives as long as any young object.
    return set()


@store_sweep.keeps("public/")
async def _shown(house: House, keys: Sequence[str]) -> set[str]:
    return await house.system().on_system(_shown_of, keys)


async def _shown_of(db: SystemSession, keys: Sequence[str], /) -> set[str]:
    shown: set[str | None] = set()
    for table in (Overlay, Watermark):
        shown.update(await db.all(sa.select(table.asset_key).where(table.asset_key.in_(keys))))
    return {key for key in shown if key is not None}
