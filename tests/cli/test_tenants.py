"""What the commands about tenants and users promise, by what the product then does."""

from __future__ import annotations

import asyncio

from actions import identity
from cli import commands as opening

PASSWORD = "a long enough password"


def inside(doing):
    """Run something in the house that the commands work on."""
    return asyncio.run(opening.within(doing))


def test_a_created_tenant_can_be_signed_in_to_and_is_listed(migrated):
    told = migrated("tenants", "create", "Ada", "ada@example.com", "--slug", "ada", "--password", PASSWORD)
    assert told.code == 0, told.text
    assert "Tenant ada1 stands in tenant_pool_1" in told.text
    assert "http://ada1.localhost:8000/graphql" in told.text
    signed_in = inside(lambda house: identity.login(house.system(), "ada@example.com", PASSWORD))
    assert signed_in.tenant_id == "ada1"
    assert "ada1" in migrated("tenants", "list").text
    shown = migrated("tenants", "show", "ada1").text
    assert all(word in shown for word in ("ACTIVE", "tenant_pool_1", "ada1.localhost", "ada@example.com (OWNER)"))


def test_a_password_that_nobody_gave_is_generated_shown_and_works(migrated):
    told = migrated("tenants", "create", "Bob", "bob@example.com")
    password = told.text.split("(shown this once): ")[1].split()[0]
    assert inside(lambda house: identity.login(house.system(), "bob@example.com", password)).tenant_id == "bob1"


def test_an_operator_may_make_more_than_a_stranger(migrated):
    codes = [
        migrated("tenants", "create", "N", f"n{number}@example.com", "--password", PASSWORD).code for number in range(7)
    ]
    assert codes == [0] * 7
    assert migrated("tenants", "list", "--pool", "tenant_pool_2").text.count("ACTIVE") == 3
    page = migrated("tenants", "list", "--limit", "2").text
    assert page.endswith("atrium tenants list --after n2")
    assert "0 tenants" in migrated("tenants", "list", "--state", "suspended").text


def test_what_is_refused_says_so_and_exits_with_one_and_a_wrong_call_with_two(migrated):
    told = migrated("tenants", "create", "Ada", "no address", "--password", PASSWORD)
    assert (told.code, "input.email: This is no e-mail address." in told.text) == (1, True)
    told = migrated("tenants", "create", "Ada", "ada@example.com", "--password", "short")
    assert (told.code, "at least 10 characters" in told.text) == (1, True)
    assert migrated("tenants", "show", "nobody1").code == 1
    assert migrated("tenants", "list", "--state", "ASLEEP").code == 2
    assert "0 tenants" in migrated("tenants", "list").text


def test_staff_is_granted_once_and_taken_away(migrated):
    migrated("tenants", "create", "Ada", "ada@example.com", "--password", PASSWORD)
    assert migrated("users", "grant-staff", "nobody@example.com").code == 1
    assert "is platform staff. Next" in migrated("users", "grant-staff", "Ada@Example.com").text
    assert "already" in migrated("users", "grant-staff", "ada@example.com").text

    async def may_write(house):
        signed_in = await identity.login(house.system(), "ada@example.com", PASSWORD)
        viewer = await house.viewers.of_token(signed_in.token)
        return viewer.can("catalog:write")

    assert inside(may_write)
    assert migrated("users", "revoke-staff", "ada@example.com").code == 0
    assert not inside(may_write)


def test_commands_on_databases_that_nobody_migrated_name_the_command_that_mends_it(atrium):
    told = atrium("tenants", "list")
    assert told.code == 1
    assert "Run `atrium migrate`" in told.text


def test_a_suspended_tenant_is_shown_as_such_and_opened_again(migrated):
    migrated("tenants", "create", "Ada", "ada@example.com", "--password", PASSWORD)
    assert migrated("tenants", "resume", "ada1").code == 0  # it is active already
    assert "ada1 is suspended" in migrated("tenants", "suspend", "ada1").text
    assert "ada1: SUSPENDED" in migrated("tenants", "show", "ada1").text
    assert "ada1 is active" in migrated("tenants", "resume", "ada1").text
    assert "ada1: ACTIVE" in migrated("tenants", "show", "ada1").text
    assert migrated("tenants", "suspend", "nobody1").code == 1
