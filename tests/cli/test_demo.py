"""Demo data: believable, real to the last file, the same for the same seed, and finished by whoever runs it again."""

import io
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from rich.console import Console

from actions import gallery, identity, media, wallet
from base import errors
from cli.demo import effects, frame, pictures, samples
from cli.demo import identity as people
from db.tables.central.catalog import Category, Discount, Effect, Overlay, Package, Tier
from db.tables.central.gallery import GalleryVideo
from db.tables.central.identity import Tenant
from db.tables.pool.media import File, FileStatus, Video, VideoStatus
from db.zones import TenantState
from outside import ffmpeg, probe, renders, sniff
from outside import samples as sources
from outside.builtin_effects import BUILTIN_EFFECTS
from outside.graphs import Picture, parse_parameters
from outside.services import Ffmpeg
from outside.store import Store
from tests import world as worlds
from tests.world import on_every_engine

PASSWORD = "demo-password"
DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEPT: list[Path] = []


def _size(tenants=3, published=7, videos=4):
    return frame.Size(tenants=tenants, gallery=published, videos_per_tenant=videos)


async def _load(world, size=None, *, seed=1):
    store = world.settings.var / "store"
    if KEPT:
        shutil.copytree(KEPT[0], store, dirs_exist_ok=True)
    with frame.Bars(Console(file=io.StringIO())) as bars:
        loaded = await frame.load(world.house, size or _size(), seed=seed, password=PASSWORD, bars=bars)
    for folder in ("c", "public"):
        if KEPT and (store / folder).exists():
            shutil.copytree(store / folder, KEPT[0] / folder, dirs_exist_ok=True)
    return loaded


async def _all(db, table, /):
    return list(await db.all(sa.select(table).order_by(table.id)))


async def _rows(world, table):
    return await world.house.system().on_system(_all, table)


@pytest.fixture(scope="module", autouse=True)
def kept(tmp_path_factory):
    """What ffmpeg has made for one test is there for the next: the samples' keys follow from the seed."""
    KEPT.append(tmp_path_factory.mktemp("samples"))
    yield
    KEPT.clear()


@pytest.fixture(autouse=True)
def small_and_timeless(monkeypatch):
    """Two samples show what eight would; it is always the same day."""
    monkeypatch.setattr(samples, "EFFECTS", ("vintage", "comic"))
    monkeypatch.setattr(frame, "utc_now", lambda: DAY)


@on_every_engine
async def test_demo_data_is_whole_and_a_second_run_adds_nothing(world):
    loaded = await _load(world)
    assert [studio.tenant_id for studio in loaded.studios] == ["alice1", "bob2", "carol3"]
    assert [row.db_pool for row in await _rows(world, Tenant)] == ["tenant_pool_1", "tenant_pool_2", "tenant_pool_1"]
    assert dict(loaded.added) == {
        "catalog rows": 131,
        "tenants": 3,
        "videos": 12,
        "gallery": 7,
        "jobs": loaded.added["jobs"],
    }
    shown = await _rows(world, GalleryVideo)
    assert [row.listed for row in shown] == [True] * 7
    assert len({row.published_at for row in shown}) > 1
    assert loaded.added["jobs"] >= 7
    again = await _load(world)
    assert not any(again.added.values())
    assert again.lines() == ["Everything was there already."]


async def test_the_gallery_shows_the_same_on_every_day(anyio_backend, templates, tmp_path, monkeypatch):
    told = []
    for day in (DAY, DAY + timedelta(days=33, hours=5)):
        monkeypatch.setattr(frame, "utc_now", lambda day=day: day)
        place = tmp_path / f"{day:%d}"
        place.mkdir()
        async with worlds.opened("sqlite", await templates.fresh("sqlite", place), place) as world:
            await _load(world)
            midnight = day.replace(hour=0)
            rows = await _rows(world, GalleryVideo)
            told.append([(row.title, row.tenant_id, midnight - row.published_at, row.view_count) for row in rows])
    # Tenants are loaded side by side: whose rows come first is nobody's promise.
    assert sorted(told[0]) == sorted(told[1])
    ages = [age for _, _, age, _ in told[0]]
    assert min(ages) >= timedelta(0)
    assert len(set(ages)) == len(ages)


@on_every_engine
async def test_demo_tenants_hold_what_the_product_promises_of_any(world):
    loaded = await _load(world)
    for studio in loaded.studios:
        ctx = await world.system(studio.tenant_id)
        assert await ctx.on_pool(wallet.broken) is None
        assert await ctx.on_pool(media.broken) is None
    signed_in = await identity.login(world.central(), "bob@example.com", PASSWORD)
    assert signed_in.tenant_id == "bob2"
    with pytest.raises(errors.Invalid):
        await identity.login(world.central(), "bob@example.com", PASSWORD + "!")
    assert (await world.house.directory.of_host("carol3.localhost")).state is TenantState.ACTIVE


async def test_demo_videos_are_real_to_the_last_file(world, tmp_path):
    loaded = await _load(world)
    store, keys = world.house.service(Store), set()
    for studio in loaded.studios:
        ctx = await world.system(studio.tenant_id)
        files = await ctx.on_pool(_all, File)
        assert {file.status for file in files} == {FileStatus.READY}
        keys |= {file.key for file in files}
        for video in await ctx.on_pool(_all, Video):
            assert (video.output_file_id is not None) == (video.status is VideoStatus.READY)
    for row in await _rows(world, GalleryVideo):
        keys |= {row.output_key, row.thumbnail_key}
    for key in keys:
        await store.fetch_to(key, tmp_path / "file")
        if sniff.sniff((tmp_path / "file").read_bytes()[:65_536]) == "video/mp4":
            assert (await probe.probe(tmp_path / "file")).duration_seconds == pytest.approx(samples.SECONDS, abs=0.3)


async def _told(world):
    """What a run has made, without ids and keys."""
    videos = []
    for tenant in await _rows(world, Tenant):
        ctx = await world.system(tenant.id)
        made = await ctx.on_pool(_all, Video)
        videos += [(tenant.id, video.title, video.tags, video.status, video.created_at) for video in made]
    shown = [(row.tenant_id, row.title, row.tags, row.view_count) for row in await _rows(world, GalleryVideo)]
    return sorted(map(str, videos)), sorted(map(str, shown))


async def test_the_same_seed_gives_the_same_data(world, templates, tmp_path_factory):
    await _load(world)
    first = await _told(world)
    for seed, is_same in ((1, True), (2, False)):
        folder = tmp_path_factory.mktemp("other")
        made = await templates.fresh("sqlite", folder)
        async with worlds.opened("sqlite", made, folder) as other:
            await _load(other, seed=seed)
            assert (await _told(other) == first) is is_same


async def test_a_run_that_was_stopped_is_finished_by_the_next(world):
    half = frame.Demo(world.house, _size(), 1, PASSWORD, frame.Bars(Console(file=io.StringIO())))
    await world.house.system().on_system(people._begin, people.wishes(half)[:2], "no hash")
    assert {row.state for row in await _rows(world, Tenant)} == {TenantState.PROVISIONING}
    await _load(world)
    assert [row.state for row in await _rows(world, Tenant)] == [TenantState.ACTIVE] * 3


async def test_a_larger_run_adds_what_is_missing(world):
    await _load(world)
    more = await _load(world, _size(tenants=4, published=12, videos=5))
    assert (more.added["tenants"], more.added["gallery"]) == (1, 5)
    assert len(await _rows(world, GalleryVideo)) == 12


async def test_somebody_elses_tenant_is_left_alone(world):
    alice = await world.tenant("alice")
    loaded = await _load(world)
    assert [studio.tenant_id for studio in loaded.studios] == ["bob2", "carol3"]
    assert loaded.notes == ["alice1 was left alone: it is somebody else's, or is not served."]
    assert await (await world.of(alice)).on_pool(_all, Video) == []


async def test_what_one_tenant_unpublishes_stays_with_the_others(world):
    loaded = await _load(world)
    ctx = await world.system(loaded.studios[0].tenant_id)
    published = [video for video in await ctx.on_pool(_all, Video) if video.gallery_video_id is not None]
    await ctx.on_pool(gallery.unpublish_video, published[0].id)
    left = [row for row in await _rows(world, GalleryVideo) if row.listed]
    assert len(left) == 6
    for row in left:
        assert await world.house.service(Store).head(row.output_key) is not None


async def test_the_catalog_is_believable(world):
    await _load(world, _size(tenants=0, published=0, videos=0))
    shelves = {row.id for row in await _rows(world, Category)}
    offered = await _rows(world, Effect)
    assert len(shelves) == 8
    assert len(offered) >= 40
    assert {effect.category_id for effect in offered} == shelves
    assert min(effect.popularity for effect in offered) > 0
    assert [len(await _rows(world, table)) for table in (Tier, Package, Discount, Overlay)] == [3, 4, 2, 3]
    assert await _rows(world, Tenant) == []


async def test_every_effect_that_is_the_demos_own_renders(world, tmp_path):
    tool, source = world.house.service(Ffmpeg).path, tmp_path / "source.mp4"
    await sources.make_sample(source, ffmpeg=tool, seconds=0.5, width=160, height=90)
    picture = tmp_path / "picture.png"
    picture.write_bytes(pictures.mark((255, 255, 255)))
    for offer in effects.offers()[len(BUILTIN_EFFECTS) :]:
        folder = tmp_path / offer.slug
        folder.mkdir()
        over = [Picture(picture)] if offer.overlay or offer.watermark else []
        parameters = parse_parameters([dict(each) for each in offer.parameters])
        work = renders.Effect([dict(each) for each in offer.graph], parameters, None, over)
        assert (await ffmpeg.run(ffmpeg.Render(tool, source, folder, work))).size_bytes > 0


def test_the_command_says_who_signs_in_where_and_tells_the_explorer(migrated, tmp_path):
    told = migrated("demo", "--tenants", "2", "--gallery", "2", "--videos-per-tenant", "1")
    assert told.code == 0, told.text
    assert "2 tenants, 2 videos, 2 gallery" in told.text
    assert "Sign in on alice1.localhost as alice@example.com with demo-password" in told.text
    listed = json.loads((tmp_path / people.NAMES_FILE).read_text())
    assert [(each["slug"], each["email"]) for each in listed] == [
        ("alice1", "alice@example.com"),
        ("bob2", "bob@example.com"),
    ]


def test_outside_the_embedded_set_up_accounts_need_a_password(migrated, monkeypatch, tmp_path):
    monkeypatch.setenv("ATRIUM_BASE_DOMAIN", "atrium.example")
    told = migrated("demo", "--tenants", "1")
    assert (told.code, "--password" in told.text) == (2, True)
    assert migrated("demo", "--tenants", "0").code == 0
    assert not (tmp_path / people.NAMES_FILE).exists()
