"""The tests' own ground: a world on every engine, alone in its databases, peopled through real actions."""

from __future__ import annotations

import sqlalchemy as sa

from db.tables.central.identity import Tenant
from tests.world import on_every_engine


async def _tenants(db, /):
    return await db.all(sa.select(Tenant.id).order_by(Tenant.id))


@on_every_engine
async def test_people_of_a_world_can_act_at_once(world):
    alice, bob = await world.tenant("alice"), await world.tenant("bob")
    assert (alice.tenant_id, bob.tenant_id) == ("alice1", "bob1")
    ctx = await world.of(alice)
    assert ctx.member.user_id == alice.user_id
    assert (await world.of(alice, on=bob.tenant_id)).viewer is None
    mary = await world.member(alice.tenant_id)
    assert (await world.of(mary)).member.user_id == mary.user_id
    sam = await world.staff()
    assert (await world.of(sam)).signed_in.can("catalog:write")


@on_every_engine
async def test_a_world_knows_nothing_of_earlier_ones(world):
    await world.tenant("carol")
    assert await world.house.system().on_system(_tenants) == ["carol1"]
