"""What `atrium pools` tells of the databases, one of them broken on purpose."""

from __future__ import annotations

import asyncio
import json
import sqlite3

import pytest

from db.migrations import fleet, run
from db.zones import Zone
from tests import databases


def test_the_list_counts_tenants_and_shows_revisions(migrated):
    for number in range(3):
        migrated("tenants", "create", "N", f"n{number}@example.com")
    told = migrated("pools", "list")
    assert told.code == 0
    assert "tenant_pool_1 │ 2" in told.text
    assert "tenant_pool_2 │ 1" in told.text


def test_a_pool_that_is_down_is_told_and_the_others_too(migrated, monkeypatch, tmp_path):
    one = f"sqlite+aiosqlite:///{tmp_path}/tenant_pool_1.sqlite3"
    closed = "postgresql+asyncpg://postgres@127.0.0.1:9/none"
    monkeypatch.setenv("ATRIUM_POOLS", json.dumps({"tenant_pool_1": one, "tenant_pool_2": closed}))
    told = migrated("pools", "list")
    assert told.code == 1
    assert "does not answer" in told.text
    assert "Not as they should be: tenant_pool_2." in told.text


def test_a_check_names_each_difference(migrated, tmp_path):
    assert migrated("pools", "check").code == 0
    with sqlite3.connect(tmp_path / "tenant_pool_2.sqlite3") as broken:
        broken.execute("DROP TABLE exports")
        broken.execute("DROP INDEX ix_outbox_created_at")
        broken.execute("ALTER TABLE rewards ADD COLUMN extra INTEGER")
    broken.close()
    told = migrated("pools", "check")
    assert told.code == 1
    assert "tenant_pool_1: as declared" in told.text
    for line in (
        "exports: the table is missing",
        "outbox: the index is missing (ix_outbox_created_at)",
        "rewards.extra: a column that nothing declares",
    ):
        assert line in told.text
    assert migrated("pools", "check", "tenant_pool_1").code == 0
    assert migrated("pools", "check", "tenant_pool_9").code == 2


def test_exchanged_urls_are_found_by_the_pools_own_names(migrated, monkeypatch, tmp_path):
    urls = [f"sqlite+aiosqlite:///{tmp_path}/tenant_pool_{number}.sqlite3" for number in (2, 1)]
    monkeypatch.setenv("ATRIUM_POOLS", json.dumps(dict(zip(("tenant_pool_1", "tenant_pool_2"), urls, strict=True))))
    told = migrated("pools", "check")
    assert told.code == 1
    assert "the database given for tenant_pool_1 is that of tenant_pool_2" in told.text


@pytest.mark.services
@pytest.mark.parametrize(
    ("kind", "loosened"),
    [
        ("mariadb", "ALTER TABLE rewards MODIFY period VARCHAR(63) CHARACTER SET utf8mb4 NOT NULL"),
        ("postgresql", 'ALTER TABLE rewards ALTER COLUMN period TYPE VARCHAR(63) COLLATE "und-x-icu"'),
    ],
)
def test_a_collation_that_is_not_the_declared_one_is_found(kind, loosened):
    async def loosen():
        async with databases.scratch(kind, "collation") as url:
            target = fleet.Target("tenant_pool_1", url, Zone.POOL)
            async with run.reached(url) as engine:
                await run.bring_up(engine, Zone.POOL, pool_name=target.name)
                assert await fleet.check(target) == []
                async with engine.begin() as connection:
                    await connection.exec_driver_sql(loosened)
            return await fleet.check(target)

    assert any(line.startswith("rewards.period: its collation is") for line in asyncio.run(loosen()))
