"""Images for overlays and watermarks: only images, public by an unguessable key, gone when nothing shows them."""

import asyncio
from datetime import timedelta

import pytest

from actions import catalog, store_sweep
from base import errors
from db.tables.central.catalog import Overlay
from outside.store import Store
from tests.outside import hostile

PNG = hostile.small_png()


async def _no_pause():
    await asyncio.sleep(0)


async def _sweep(world, prefix):
    return await store_sweep.remove_dead(world.house, prefix, older_than=timedelta(0), pause=_no_pause)


async def _uploaded(ctx, data=PNG, mime_type="image/png"):
    new = await catalog.create_asset_upload(ctx, mime_type, size_bytes=len(data))
    await ctx.house.service(Store).put_bytes(new.key, data, mime_type=mime_type)
    return new.key


async def test_an_image_becomes_public_under_the_type_of_its_bytes(world):
    ctx = world.central()
    key = await _uploaded(ctx, mime_type="image/jpeg")
    asset = await catalog.place_asset(ctx, key)
    assert (asset.key, asset.mime_type) == (f"public/{key.removeprefix('c/')}.png", "image/png")
    assert await ctx.house.service(Store).read(asset.key, length=len(PNG) + 1) == PNG
    assert await catalog.place_asset(ctx, key) == asset


@pytest.mark.parametrize(
    ("mime_type", "size_bytes", "field"),
    [
        ("image/gif", 10, "mimeType"),
        ("image/svg+xml", 10, "mimeType"),
        ("video/mp4", 10, "mimeType"),
        ("image/png", 0, "sizeBytes"),
        ("image/png", 10 * 1024**2 + 1, "sizeBytes"),
    ],
)
async def test_what_is_no_image_of_modest_size_gets_no_url(world, mime_type, size_bytes, field):
    with pytest.raises(errors.Invalid) as refused:
        await catalog.create_asset_upload(world.central(), mime_type, size_bytes=size_bytes)
    assert refused.value.field == ("input", field)


@pytest.mark.parametrize("data", [b"<svg onload=alert(1)>", b"GIF89a" + b"\0" * 20, b"plain text"])
async def test_bytes_that_are_no_image_of_ours_are_not_made_public(world, data):
    ctx = world.central()
    key = await _uploaded(ctx, data)
    with pytest.raises(errors.Invalid) as refused:
        await catalog.place_asset(ctx, key)
    assert refused.value.field == ("input", "assetKey")
    assert [blob.key async for blob in ctx.house.service(Store).list("public/")] == []


@pytest.mark.parametrize(
    "key", ["", "c/", "c/" + "0" * 32, "c/../t/61/" + "0" * 32, "public/" + "0" * 32 + ".png", "é"]
)
async def test_a_key_under_which_nothing_was_uploaded_is_not_found(world, key):
    with pytest.raises(errors.NotFound):
        await catalog.place_asset(world.central(), key)


async def test_a_tenants_file_is_not_made_public_by_its_key(world):
    alice = await world.tenant("alice")
    key = f"t/{alice.tenant_id.encode().hex()}/{'0' * 32}"
    await world.house.service(Store).put_bytes(key, PNG, mime_type="image/png")
    with pytest.raises(errors.NotFound):
        await catalog.place_asset(world.central(), key)


async def test_a_public_image_stays_as_long_as_a_row_shows_it(world):
    ctx = world.central()
    shown, left = [await catalog.place_asset(ctx, await _uploaded(ctx)) for _ in range(2)]

    async def show(db):
        db.add(Overlay(slug="o", name="O", name_key="o", asset_key=shown.key, asset_mime=shown.mime_type))

    await ctx.on_system(show)
    assert await _sweep(world, "public/") == 1
    store = world.house.service(Store)
    assert await store.head(shown.key) is not None
    assert await store.head(left.key) is None
