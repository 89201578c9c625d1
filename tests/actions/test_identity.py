"""Registering, signing in and out, passwords and tokens: what is promised, and what a guesser learns."""

import asyncio
import dataclasses
import email
import email.policy
import re

import argon2
import pytest
import sqlalchemy as sa

from actions import identity
from actions.identity import hashing, registration, sign_in
from actions.identity.tokens import Device
from base import errors
from db.session import SystemSession
from db.tables.central.identity import AccessToken, Domain, PasswordResetToken, Tenant, TenantMember, User
from db.zones import TenantState
from tests import patience
from tests.world import PASSWORD, on_every_engine

ADDRESS = "alice@example.com"


def _from(world, address):
    return dataclasses.replace(world.central(), address=address)


async def _count(db: SystemSession):
    tables = (User.id, Tenant.id, Domain.id, TenantMember.id)
    counts = []
    for column in tables:
        statement = sa.select(sa.func.count(column))
        if column is User.id:
            statement = statement.where(User.email_key.in_([ADDRESS, "bob@example.com"]))
        counts.append(await db.first(statement))
    return counts


@on_every_engine
async def test_registering_makes_user_tenant_host_and_a_token_that_works(world):
    ctx = world.central()
    made = await identity.register(ctx, "Alice", "Alice@Example.com", PASSWORD, slug="alice")
    assert made.tenant_id == "alice1"
    route = await world.house.directory.of_host("alice1.localhost")
    assert route is not None
    assert (route.tenant_id, route.state, route.epoch) == ("alice1", TenantState.ACTIVE, 1)
    viewer = await world.house.viewers.of_token(made.token)
    assert viewer is not None
    assert (viewer.user_id, viewer.tenant_id, viewer.is_member, viewer.is_staff) == (
        made.user_id,
        "alice1",
        True,
        False,
    )
    assert viewer.can("write")
    assert not viewer.can("catalog:write")


async def test_new_tenants_alternate_over_the_pools(world):
    people = [await world.tenant(name) for name in ("ann", "ben", "cat", "dan")]
    pools = [(await world.house.directory.of_tenant(person.tenant_id)).pool for person in people]
    assert pools == ["tenant_pool_1", "tenant_pool_2"] * 2


@on_every_engine
async def test_ten_who_wish_the_same_slug_at_once_get_ten_slugs(world):
    made = await asyncio.gather(
        *(
            identity.register(_from(world, f"10.1.1.{n}"), "Zoe", f"zoe{n}@example.com", PASSWORD, slug="zoe")
            for n in range(10)
        )
    )
    assert len({signed_in.tenant_id for signed_in in made}) == 10


@on_every_engine
async def test_one_address_registered_five_times_at_once_is_one_user(world):
    async def one(number):
        try:
            return await identity.register(_from(world, f"10.1.2.{number}"), "Alice", ADDRESS, PASSWORD)
        except errors.Taken as refused:
            return refused.field

    made = await asyncio.gather(*(one(number) for number in range(5)))
    tenants = {answer.tenant_id for answer in made if isinstance(answer, identity.SignedIn)}
    assert len(tenants) == 1
    assert await world.central().on_system(_count) == [1, 1, 1, 1]


async def test_an_address_in_use_is_taken_and_nothing_is_made(world):
    await identity.register(world.central(), "Alice", ADDRESS, PASSWORD)
    before = await world.central().on_system(_count)
    with pytest.raises(errors.Taken) as refused:
        await identity.register(world.central(), "Other", "ALICE@example.com", PASSWORD)
    assert refused.value.field == ("input", "email")
    assert await world.central().on_system(_count) == before


async def test_a_half_registration_is_finished_by_the_same_call_and_only_with_its_password(world):
    ctx = world.central()
    wish = registration.Wish(name="Alice", email=ADDRESS, slug="alice", referred_by=None, device=None)
    made = await hashing.hashed(PASSWORD)
    await ctx.on_system(registration.begin, wish, made, pools=tuple(world.settings.pools))
    assert (await world.house.directory.of_tenant("alice1")).state is TenantState.PROVISIONING
    with pytest.raises(errors.Taken):
        await identity.register(ctx, "Alice", ADDRESS, "another long password")
    world.house.directory.forget("alice1")
    signed_in = await identity.register(ctx, "Alice", ADDRESS, PASSWORD)
    assert signed_in.tenant_id == "alice1"
    assert (await world.house.directory.of_host("alice1.localhost")).state is TenantState.ACTIVE


async def test_the_worker_finishes_half_registrations_though_another_pool_is_down(world, monkeypatch):
    made = await hashing.hashed(PASSWORD)
    ctx = world.central()
    for name in ("ann", "ben", "cat"):
        wish = registration.Wish(name=name, email=f"{name}@example.com", slug=name, referred_by=None, device=None)
        await ctx.on_system(registration.begin, wish, made, pools=tuple(world.settings.pools))
    monkeypatch.setattr(registration, "UNFINISHED_SECONDS", -1)
    pools = world.house.sessions.databases.pools
    with pytest.MonkeyPatch.context() as down:
        # Ann and Cat are of the first pool.
        down.delitem(pools, "tenant_pool_1")
        assert await identity.finish_registrations(world.house) == 1
    assert await identity.finish_registrations(world.house) == 2
    signed_in = await identity.login(ctx, "ann@example.com", PASSWORD)
    assert await _tokens(world, signed_in.user_id) == [signed_in.token_id]


async def _tokens(world, user_id):
    async def look(db: SystemSession):
        db.act_for(user_id)
        return list(await db.all(sa.select(AccessToken.id).where(AccessToken.user_id == user_id)))

    return await world.central().on_system(look)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": "   "}, "name"),
        ({"name": "x" * 900_000}, "name"),
        ({"name": "bell\x07"}, "name"),
        ({"email": "no address"}, "email"),
        ({"email": "a@b"}, "email"),
        ({"email": "a@b.c\r\nBcc: d@e.f"}, "email"),
        # These are longer, or have another @, once they are folded for comparing.
        ({"email": "\ufdfa" * 64 + "@b.cd"}, "email"),
        ({"email": "\ufb03" * 20 + "@" + "\ufb03" * 110 + ".cd"}, "email"),
        ({"email": "a\uff20b@c.de"}, "email"),
        ({"password": "short"}, "password"),
        ({"password": "p" * 501}, "password"),
        ({"slug": "www"}, "slug"),
        ({"slug": "xn--bcher-kva"}, "slug"),
        ({"slug": "-a"}, "slug"),
        ({"slug": "ü"}, "slug"),
        ({"slug": ""}, "slug"),
    ],
)
async def test_bad_input_is_refused_by_field_and_nothing_is_made(world, changed, field):
    given = {"name": "Alice", "email": ADDRESS, "password": PASSWORD, "slug": None} | changed
    with pytest.raises(errors.Invalid) as refused:
        await identity.register(world.central(), given["name"], given["email"], given["password"], slug=given["slug"])
    assert refused.value.field == ("input", field)
    assert await world.central().on_system(_count) == [0, 0, 0, 0]


async def test_registering_is_for_the_central_host_alone(world):
    alice = await world.tenant("alice")
    with pytest.raises(errors.NotAllowed):
        await identity.register(await world.visitor(alice.tenant_id), "Eve", "eve@example.com", PASSWORD)


async def test_the_sixth_registration_of_an_address_in_an_hour_waits(world):
    ctx = _from(world, "10.9.9.9")
    for number in range(5):
        await identity.register(ctx, "Bot", f"bot{number}@example.com", PASSWORD)
    with pytest.raises(errors.RateLimited) as refused:
        await identity.register(ctx, "Bot", "bot5@example.com", PASSWORD)
    assert 0 < refused.value.retry_after_seconds <= 3600


async def test_a_referral_must_name_somebody(world):
    alice = await world.tenant("alice")
    bob = await world.tenant("bob", referral=alice.tenant_id)
    assert bob.tenant_id == "bob1"
    with pytest.raises(errors.NotFound) as refused:
        await identity.register(world.central(), "Eve", "eve@example.com", PASSWORD, referral_slug="nobody1")
    assert refused.value.field == ("input", "referralSlug")


async def test_wrong_password_unknown_address_and_stranger_to_the_host_get_the_same_words(world):
    alice, bob = await world.tenant("alice"), await world.tenant("bob")
    on_bobs = await world.visitor(bob.tenant_id)
    told = set()
    for ctx, address, password in (
        (world.central(), alice.email, "a wrong password"),
        (world.central(), "nobody@example.com", PASSWORD),
        (on_bobs, alice.email, PASSWORD),
    ):
        with pytest.raises(errors.Invalid) as refused:
            await identity.login(ctx, address, password)
        told.add((refused.value.message, refused.value.field))
    assert len(told) == 1
    assert (await identity.login(on_bobs, bob.email, PASSWORD)).tenant_id == bob.tenant_id


async def test_guessing_is_slowed_for_the_account_from_many_addresses_and_for_the_address_over_many_accounts(world):
    alice = await world.tenant("alice")
    many = [(_from(world, f"10.2.0.{number}"), alice.email) for number in range(20)]
    assert errors.RateLimited in [await _guess(*guess) for guess in many]
    one = _from(world, "10.3.0.1")
    told = [await _guess(one, f"nobody{number}@example.com") for number in range(55)]
    assert told[-1] is errors.RateLimited
    assert told[0] is errors.Invalid


async def _guess(ctx, address):
    try:
        await identity.login(ctx, address, "a wrong password")
    except errors.AtriumError as refused:
        return type(refused)


async def test_whoever_knows_the_password_comes_as_often_as_they_like(world):
    alice = await world.tenant("alice")
    for _ in range(sign_in.TRIES_A_WINDOW_MAX + 2):
        assert (await identity.login(world.central(), alice.email, PASSWORD)).user_id == alice.user_id
    told = [await _guess(world.central(), alice.email) for _ in range(sign_in.TRIES_A_WINDOW_MAX + 1)]
    assert told == [*[errors.Invalid] * sign_in.TRIES_A_WINDOW_MAX, errors.RateLimited]


@pytest.mark.parametrize("asked", [["catalog:write"], ["nonsense"], [], ["*", "root"]])
async def test_abilities_beyond_the_user_are_not_allowed(world, asked):
    alice = await world.tenant("alice")
    with pytest.raises(errors.NotAllowed) as refused:
        await identity.login(world.central(), alice.email, PASSWORD, abilities=asked)
    assert refused.value.field == ("input", "abilities")


async def test_staff_get_catalog_write_by_star_and_a_narrow_token_has_no_more_than_its_own(world):
    sam = await world.staff()
    everything = await identity.login(world.central(), sam.email, PASSWORD)
    narrow = await identity.login(world.central(), sam.email, PASSWORD, abilities=["read"])
    assert (await world.house.viewers.of_token(everything.token)).can("catalog:write")
    viewer = await world.house.viewers.of_token(narrow.token)
    assert (viewer.can("read"), viewer.can("write"), viewer.can("catalog:write")) == (True, False, False)


async def test_only_a_hash_of_the_token_is_kept_and_device_facts_beside_it(world):
    made = await identity.register(
        world.central(), "Alice", ADDRESS, PASSWORD, device=Device(name="Phone", platform="android")
    )

    async def look(db: SystemSession):
        db.act_for(made.user_id)
        return await db.first(sa.select(AccessToken).where(AccessToken.user_id == made.user_id))

    token = await world.central().on_system(look)
    secret = made.token.partition("|")[2]
    assert (token.device_name, token.device_platform) == ("Phone", "android")
    assert re.fullmatch("[0-9a-f]{64}", token.token_hash)
    assert secret not in repr(vars(token))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda t: t[:-1] + ("A" if t[-1] != "A" else "B"),
        lambda t: "1" + t,
        str.upper,
        lambda _: "|",
        lambda _: "ü|ü",
        lambda t: t.partition("|")[2],
    ],
)
async def test_a_token_that_is_altered_is_nobodys(world, spoil):
    alice = await world.tenant("alice")
    assert await world.house.viewers.of_token(spoil(alice.token)) is None


async def test_logging_out_ends_one_token_or_all_at_once(world):
    alice = await world.tenant("alice")
    other = await identity.login(world.central(), alice.email, PASSWORD)
    third = await identity.login(world.central(), alice.email, PASSWORD)
    await identity.logout(await world.of(alice))
    assert await world.house.viewers.of_token(alice.token) is None
    assert await world.house.viewers.of_token(other.token) is not None
    ctx = await world.of(dataclasses.replace(alice, token=other.token))
    await identity.logout(ctx, all_devices=True)
    assert await world.house.viewers.of_token(other.token) is None
    assert await world.house.viewers.of_token(third.token) is None


async def test_nobody_revokes_anothers_token_not_even_a_second_member(world):
    alice = await world.tenant("alice")
    for other in (await world.tenant("bob"), await world.member(alice.tenant_id)):
        with pytest.raises(errors.NotFound):
            await identity.revoke_access_token(await world.of(other), alice.token_id)
    assert await world.house.viewers.of_token(alice.token) is not None


async def test_a_user_has_at_most_fifty_tokens_the_oldest_go(world):
    alice = await world.tenant("alice")
    for _ in range(50):
        await world.token(alice)
    assert await world.house.viewers.of_token(alice.token) is None


async def test_changing_the_password_ends_the_other_tokens_and_needs_the_current_one(world):
    alice = await world.tenant("alice")
    other = await identity.login(world.central(), alice.email, PASSWORD)
    ctx = await world.of(alice)
    with pytest.raises(errors.Invalid) as refused:
        await identity.change_password(ctx, "not the current", "a brand new password")
    assert refused.value.field == ("input", "current")
    fresh = await identity.change_password(ctx, PASSWORD, "a brand new password")
    assert await world.house.viewers.of_token(other.token) is None
    assert await world.house.viewers.of_token(alice.token) is None
    assert await world.house.viewers.of_token(fresh.token) is not None
    assert (await identity.login(world.central(), alice.email, "a brand new password")).user_id == alice.user_id


async def _mailed(world):
    await asyncio.gather(*world.house.tasks)
    return sorted((world.settings.var / "mail").glob("*.eml"))


async def test_a_mailed_link_sets_a_new_password_once(world, caplog):
    alice = await world.tenant("alice")
    caplog.set_level("INFO", logger="atrium")
    await identity.request_password_reset(world.central(), alice.email.upper())
    (letter,) = await _mailed(world)
    told = [record.carried for record in caplog.records if record.getMessage() == "mail_written"]
    assert told == [{"subject": "reset", "kept": letter}]
    read = email.message_from_bytes(letter.read_bytes(), policy=email.policy.default)
    assert read["to"] == alice.email
    (secret,) = re.findall(r"token=([\w-]+)", read.get_content())
    with pytest.raises(errors.Invalid):
        await identity.reset_password(world.central(), secret, "short")
    fresh = await identity.reset_password(world.central(), secret, "a brand new password")
    assert await world.house.viewers.of_token(alice.token) is None
    assert await world.house.viewers.of_token(fresh.token) is not None
    with pytest.raises(errors.Invalid) as refused:
        await identity.reset_password(world.central(), secret, "yet another password")
    assert refused.value.field == ("input", "token")
    assert (await identity.login(world.central(), alice.email, "a brand new password")).user_id == alice.user_id


async def test_a_mailed_link_leads_to_our_own_host_whatever_host_was_asked(world):
    alice = await world.tenant("alice")
    strange = dataclasses.replace(world.central(), origin="http://203.0.113.6:9000")
    await identity.request_password_reset(strange, alice.email)
    (letter,) = await _mailed(world)
    text = email.message_from_bytes(letter.read_bytes(), policy=email.policy.default).get_content()
    assert re.findall(r"https?://[^/]+/", text) == [f"{world.settings.origin}/"]


async def test_asking_for_a_reset_of_an_unknown_address_answers_the_same_and_mails_nobody(world):
    await identity.request_password_reset(world.central(), "nobody@example.com")
    assert await _mailed(world) == []
    with pytest.raises(errors.Invalid):
        await identity.reset_password(world.central(), "guess" * 9, "a brand new password")


async def test_before_the_answer_nothing_is_done_for_an_address_that_is_not_done_for_any(world):
    alice = await world.tenant("alice")
    for address in (alice.email, "nobody@example.com"):
        before = set(world.house.tasks)
        await identity.request_password_reset(world.central(), address)
        (later,) = world.house.tasks - before
        # It has not begun: what the answer took cannot tell what it will find.
        later.cancel()
        assert await world.central().on_system(_secrets) == 0


async def _secrets(db: SystemSession, /):
    return await db.first(sa.select(sa.func.count(PasswordResetToken.id)))


async def test_last_use_is_written_in_one_batch(world):
    alice = await world.tenant("alice")
    await world.house.viewers.of_token(alice.token)
    await world.house.viewers.write_used()

    async def look(db: SystemSession):
        return await db.first(sa.select(AccessToken.last_used_at).where(AccessToken.user_id == alice.user_id))

    assert await world.central().on_system(look) is not None


async def test_shipped_hashes_are_argon2ids_own_recommendation_and_hashes_of_other_costs_still_open():
    made = patience.SHIPPED_HASHER.hash(PASSWORD)
    costs = argon2.extract_parameters(made)
    assert (costs.type, costs.memory_cost, costs.time_cost) == (argon2.Type.ID, 64 * 1024, 3)
    assert hashing._HASHER is patience.QUICK_HASHER
    assert await hashing.matches(PASSWORD, made)
    assert not await hashing.matches(PASSWORD + "!", made)
