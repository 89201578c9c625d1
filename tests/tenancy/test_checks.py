"""Every declared check, run over a sound house on every engine: nothing is wrong, and no check fails to be made."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from base.ids import Id
from db import work
from db.tables.pool.media import File, FileStatus, Video, VideoStatus
from db.tables.pool.wallet import TokenWallet
from tenancy import checks, house_checks, references
from tests.world import on_every_engine

pytestmark = pytest.mark.anyio


async def found(world):
    return [finding.what for one in await checks.run(world.house) for finding in one.findings if finding.wrong]


@on_every_engine
async def test_a_house_with_people_in_it_is_well_and_a_wrong_wallet_is_seen(world):
    alice, _ = await world.tenant("alice"), await world.tenant("bob")
    await world.member(alice.tenant_id)
    assert {house_checks.fence_agrees, references.of_rows_in_pools} <= set(checks.TENANT_CHECKS.values())
    # Work of the house's own has no tenant, which is no tenant that is missing.
    await world.house.system().on_system(work.enqueue, "store_sweep", work.NO_TENANT, ref_id=0)
    assert await found(world) == []

    async def spoil(db, /):
        await db.change(sa.update(TokenWallet).values(balance=1))
        row = File(name="f", mime_type="video/mp4", size_bytes=0, status=FileStatus.READY, key="t/none")
        db.add(row)
        await db.flush()
        names = {"title": "t", "title_key": "t", "search_text": "t"}
        db.add(Video(**names, status=VideoStatus.DRAFT, input_file_id=row.id, effect_id=Id(5)))

    await (await world.of(alice)).on_pool(spoil)
    wrong = await found(world)
    assert len(wrong) == 3
    assert all(line.startswith("alice1: ") for line in wrong)
    assert any("videos.effect_id names 1 rows of effects" in line for line in wrong)
