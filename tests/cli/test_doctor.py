"""What `atrium doctor` finds: nothing in a sound house, and each thing that was broken on purpose."""

from __future__ import annotations

import asyncio
import json
import sqlite3

import pytest

from db.zones import tables
from tenancy import checks, references

OLD = "2025-02-03 04:05:06.000000"
NOW = "2026-01-01 00:00:00.000000"


@pytest.fixture
def house(migrated, tmp_path):
    """Two tenants, one a pool, and a way to break their databases: `broken("central", "UPDATE …")`."""
    for name in ("ada", "bob"):
        assert migrated("tenants", "create", name, f"{name}@example.com", "--slug", name).code == 0

    def broken(database, *statements):
        with sqlite3.connect(tmp_path / f"{database}.sqlite3") as connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()

    migrated.broken = broken
    return migrated


def test_a_sound_house_is_well(house):
    told = house("doctor")
    assert told.code == 0, told.text
    assert told.text.endswith("All is well.")
    for name in ("ledger", "fences", "file store", "ffmpeg", "gallery", "registrations", "references over databases"):
        assert f"ok {name}" in told.text


def test_everything_broken_in_a_pool_is_named_with_its_tenant(house):
    row = f"'ada1', 7, '{NOW}'"
    house.broken(
        "tenant_pool_1",
        "UPDATE token_wallets SET balance = balance + 1",
        "UPDATE fences SET epoch = 9 WHERE tenant_id = 'ada1'",
        "INSERT INTO outbox (tenant_id, id, created_at, type, version, aggregate, data, correlation_id, occurred_at,"
        f" attempts, available_at) VALUES ('ada1', 7, '{OLD}', 'x', 1, 'x:1', '{{}}', 'c', '{OLD}', 0, '{OLD}')",
        "INSERT INTO files (tenant_id, id, created_at, user_id, name, mime_type, size_bytes, status, key)"
        f" VALUES ({row}, 5, 'f', 'video/mp4', 3, 'READY', 't/x')",
        "INSERT INTO videos (tenant_id, id, created_at, updated_at, user_id, title, title_key, search_text, tags,"
        f" status, effect_id, gallery_video_id) VALUES ({row}, '{NOW}', 5, 't', 't', 't', '[]', 'PROCESSING', 6, 8)",
        "INSERT INTO ai_jobs (tenant_id, id, created_at, updated_at, user_id, status, progress, tokens_reserved,"
        " tokens_consumed, attempts, params, idempotency_key)"
        f" VALUES ({row}, '{NOW}', 5, 'QUEUED', 0, 3, 0, 0, '{{}}', 'k')",
        "INSERT INTO fences (tenant_id, id, created_at, pool_name, epoch, state)"
        f" VALUES ('eve1', 0, '{NOW}', 'tenant_pool_1', 1, 'ACTIVE')",
    )
    told = house("doctor")
    assert told.code == 1
    # With a fence of another epoch nothing more is asked of that tenant through it: that one is mended first.
    assert "ada1: its fence is tenant_pool_1, epoch 9, ACTIVE; central says tenant_pool_1, epoch 1, ACTIVE" in told.text
    assert "tenant_pool_1: 1 events have waited for more than five minutes (ada1 1)" in told.text
    assert "tenant_pool_1 holds 1 tenants that central places elsewhere or does not know (eve1)" in told.text
    house.broken("tenant_pool_1", "UPDATE fences SET epoch = 1 WHERE tenant_id = 'ada1'")
    told = house("doctor")
    assert told.code == 1
    for line in (
        "ada1: the wallet says 101/0/0",
        "ada1: the quota counts 0 bytes, its files hold 3",
        "ada1: 1 READY files have no object of their size in the store (7)",
        "ada1: unfinished jobs hold 3 tokens, the wallet has 0 reserved",
        "ada1: 1 videos are PROCESSING without an unfinished job (7)",
        "ada1: 1 unfinished of kind ai_job are before no worker (7)",
        "ada1: 1 published videos are not shown (8)",
        "ada1: videos.effect_id names 1 rows of effects that are not there (6)",
        "ada1: videos.user_id names 1 rows of users that are not there (5)",
        "ada1: videos.gallery_video_id names 1 rows of gallery_videos that are not there (8)",
    ):
        assert line in told.text, line
    assert "bob1" not in told.text


def test_everything_broken_in_central_is_named(house):
    house.broken(
        "central",
        "DELETE FROM domains WHERE tenant_id = 'ada1'",
        "DELETE FROM tenant_members WHERE tenant_id = 'bob1'",
        "UPDATE tenants SET referred_by = 'ghost1' WHERE id = 'ada1'",
        "INSERT INTO tenants (id, created_at, user_id, db_pool, state, epoch)"
        f" SELECT 'half1', '{OLD}', user_id, 'tenant_pool_1', 'PROVISIONING', 1 FROM tenants WHERE id = 'ada1'",
        "INSERT INTO gallery_videos (id, created_at, tenant_id, title, tags, output_key, published_at, view_count,"
        " visible, suspended, listed, event_id, search_text)"
        f" VALUES (9, '{NOW}', 'bob1', 't', '[]', 'public/{'a' * 32}.mp4', '{NOW}', 0, 1, 1, 1, 9, 't')",
        "INSERT INTO jobs (id, created_at, kind, tenant_id, ref_id, generation, priority, available_at, state,"
        f" attempts, algorithm) VALUES (1, '{OLD}', 'export', 'bob1', 1, 0, 0, '{OLD}', 'READY', 0, '')",
        "INSERT INTO failed_jobs (id, created_at, kind, tenant_id, ref_id, generation, priority, attempts, algorithm,"
        f" error, failed_at) VALUES (1, '{OLD}', 'export', 'bob1', 1, 0, 0, 3, '', 'e', '{OLD}')",
    )
    told = house("doctor")
    assert told.code == 1
    for line in (
        "1 tenants have no host (ada1)",
        "1 tenants have no owner (bob1)",
        "1 registrations have been unfinished for more than ten minutes (half1)",
        "tenants.referred_by names 1 rows of tenants that are not there (ghost1)",
        "bob1: 1 videos are shown and not published (9)",
        "bob1: 1 rows are listed otherwise than their tenant's state says (9)",
        "bob1: 1 public files are gone from the store (9)",
        "1 pieces of work of kind export have been ready for more than an hour",
        "hint: 1 pieces of work of kind export were given up",
    ):
        assert line in told.text, line


def test_a_pool_that_is_down_is_told_and_the_others_are_looked_at(house, monkeypatch, tmp_path):
    house.broken("tenant_pool_2", "UPDATE token_wallets SET balance = balance + 1")
    two = f"sqlite+aiosqlite:///{tmp_path}/tenant_pool_2.sqlite3"
    closed = "postgresql+asyncpg://postgres@127.0.0.1:9/none"
    monkeypatch.setenv("ATRIUM_POOLS", json.dumps({"tenant_pool_1": closed, "tenant_pool_2": two}))
    told = house("doctor")
    assert told.code == 1
    assert "tenant_pool_1: it does not answer" in told.text
    assert "tenant_pool_1 does not answer: 1 of its tenants were not looked at" in told.text
    assert "bob1: the wallet says 101/0/0" in told.text


def test_databases_that_nobody_migrated_are_told_and_nothing_more_is_asked(atrium):
    told = atrium("doctor")
    assert told.code == 1
    assert "central: it is at no revision" in told.text
    assert "atrium migrate" in told.text


def test_an_ffmpeg_that_cannot_read_by_descriptor_is_wrong(house, monkeypatch, tmp_path):
    old = tmp_path / "ffmpeg"
    old.write_text("#!/bin/sh\necho 'Input:'; echo '  file'; echo 'Output:'\n")
    old.chmod(0o755)
    monkeypatch.setenv("ATRIUM_FFMPEG", str(old))
    told = house("doctor")
    assert told.code == 1
    assert "has no fd protocol" in told.text


def test_every_soft_reference_is_walked_because_it_was_declared():
    declared = {
        (table.__tablename__, column.name)
        for table in tables()
        for column in table.__table__.columns
        if "soft_ref" in column.info
    }
    assert {(each.table.__tablename__, each.column) for each in references.references()} == declared
    assert len(declared) > 10


async def test_what_looked_wrong_for_a_moment_only_is_not_told(world, monkeypatch):
    monkeypatch.setattr(checks, "SECOND_LOOK_SECONDS", 0.0)
    looks = []

    async def flickers(_house):
        looks.append(1)
        return [] if len(looks) > 1 else [checks.Finding("a", "b")]

    async def stays(_house):
        return [checks.Finding("c", "d")]

    async def fails(_house):
        await asyncio.sleep(0)
        raise ValueError("broken")

    given = {"flickers": flickers, "stays": stays, "fails": fails}
    monkeypatch.setattr(checks, "HOUSE_CHECKS", given)
    found = {one.name: one.findings for one in await checks.run(world.house) if one.name in given}
    assert found["flickers"] == []
    assert found["stays"] == [checks.Finding("c", "d")]
    assert "broken" in found["fails"][0].what
    assert found["fails"][0].wrong
