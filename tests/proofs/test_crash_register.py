"""Killed anywhere while registering: after a restart there is a whole tenant or none, never half a one."""

from __future__ import annotations

import dataclasses

import pytest
import sqlalchemy as sa

from actions import identity, wallet
from base import errors
from db.tables.central.identity import Domain, MemberKind, Tenant, TenantMember, User
from db.tables.pool.rewards import Reward, RewardKind
from db.tables.pool.upkeep import Fence
from db.zones import TenantState
from tests.actions import studio
from tests.proofs import killing, restart
from tests.world import PASSWORD, on_every_engine

TURN = "turn"

killing.load(__name__)


async def registering(house):
    """A newcomer registers; whose turn it is stands in a file beside the databases."""
    await _register(house, (house.settings.var / TURN).read_text())


async def _register(house, name):
    number = int(name.removeprefix("nora"))
    # Everyone comes from an address of their own: the limit on registrations is not meant here.
    stranger = dataclasses.replace(
        house.system(origin="http://localhost:8000"), address=f"10.7.0.{number}", is_system=False
    )
    return await identity.register(stranger, name, f"{name}@example.com", PASSWORD, slug=name)


async def _known(db, email, /):
    return await db.first(sa.select(User).where(User.email_key == email))


async def _owned(db, user_id, /):
    db.act_for(user_id)
    tenants = await db.all(sa.select(Tenant).where(Tenant.user_id == user_id))
    places = [
        (tenant.id, tenant.state, tenant.placed_at is not None, domain, member)
        for tenant in tenants
        for domain in await db.all(sa.select(Domain.host).where(Domain.tenant_id == tenant.id))
        for member in await db.all(sa.select(TenantMember.kind).where(TenantMember.tenant_id == tenant.id))
    ]
    return len(tenants), places


async def _begun(db, /):
    fences = list(await db.all(sa.select(Fence.state)))
    sign_up = list(await db.all(sa.select(Reward.claimed_at.is_not(None)).where(Reward.kind == RewardKind.SIGNUP)))
    return fences, [bool(claimed) for claimed in sign_up]


async def _whole(world, name):
    """Whether this newcomer has a tenant with all that it takes; anything between all and nothing fails."""
    system = world.house.system()
    user = await system.on_system(_known, f"{name}@example.com")
    tenant = f"{name}1"
    if user is None:
        assert tenant not in await restart.tenants_with_rows(world)
        return False
    count, places = await system.on_system(_owned, user.id)
    assert (count, places) == (1, [(tenant, TenantState.ACTIVE, True, f"{tenant}.localhost", MemberKind.OWNER)])
    own = await world.system(tenant)
    assert await own.on_pool(_begun) == ([TenantState.ACTIVE], [True])
    assert await studio.tokens(own) == (studio.SIGN_UP, 0)
    assert await own.on_pool(wallet.broken) is None
    signed_in = await identity.login(dataclasses.replace(world.central(), address=name), user.email, PASSWORD)
    assert signed_in.tenant_id == tenant
    return True


def _newcomer(world, number):
    name = f"nora{number}"
    (world.settings.var / TURN).write_text(name)
    return name


@pytest.mark.slow
@on_every_engine
async def test_a_registration_killed_at_any_step_is_finished_or_undone_by_the_next_worker(world):
    name, ends = _newcomer(world, 1), []
    async for _ in killing.each_kill(world.settings, registering):
        await restart.settle(world.house)
        ends.append(await _whole(world, name))
        name = _newcomer(world, len(ends) + 1)
    assert len(ends) > 6
    # Whole from the first commit on, and nothing at all before it.
    assert ends == sorted(ends)
    assert set(ends) == {True, False}
    assert await restart.complaints(world.house) == []
    code, told = restart.doctor(world)
    assert code == 0, told


@pytest.mark.slow
async def test_whoever_was_cut_off_registers_again_and_is_answered_as_the_first_time(world):
    name, taken, again = _newcomer(world, 1), 0, 0
    async for _ in killing.each_kill(world.settings, registering):
        try:
            signed_in = await _register(world.house, name)
        except errors.Taken:
            # All was done but the answer: the password opens it.
            taken += 1
        else:
            again += 1
            assert signed_in.tenant_id == f"{name}1"
            viewer = await world.house.viewers.of_token(signed_in.token)
            assert viewer is not None
            assert viewer.tenant_id == signed_in.tenant_id
        assert await _whole(world, name)
        name = _newcomer(world, taken + again + 1)
    assert taken >= 1
    assert again > 5
    code, told = restart.doctor(world)
    assert code == 0, told
