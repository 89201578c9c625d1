"""What `atrium migrate` promises: all databases, or those asked for; a failing one keeps no other back."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from base import settings
from db.migrations import fleet, run
from tests import databases
from tests.house import tree

CLOSED = "postgresql+asyncpg://postgres@127.0.0.1:9/none"
NAMES = ("central", "tenant_pool_1", "tenant_pool_2")


def standing():
    """Where the databases of the environment stand."""
    given = settings.read()
    return {
        at.target.name: at.revision for at in asyncio.run(fleet.look(fleet.targets(given.central_url, given.pools)))
    }


def test_every_database_comes_to_head_and_a_second_run_says_the_same(atrium):
    first = atrium("migrate")
    assert first.code == 0
    assert all(f"{name}: at revision" in first.text for name in NAMES)
    assert atrium("migrate").text.endswith("Next: atrium serve")
    assert None not in standing().values()


def test_the_status_names_what_is_missing_and_changes_nothing(atrium):
    told = atrium("migrate", "--status")
    assert told.code == 1
    assert told.text.count("atrium migrate") == len(NAMES)
    assert set(standing().values()) == {None}
    atrium("migrate")
    assert atrium("migrate", "--status").code == 0


def test_only_the_databases_asked_for_are_touched(atrium):
    assert atrium("migrate", "--pool", "tenant_pool_2").code == 0
    at = standing()
    assert (at["central"], at["tenant_pool_1"]) == (None, None)
    assert at["tenant_pool_2"] is not None
    assert atrium("migrate", "--central").code == 0
    assert standing()["central"] is not None


def test_a_pool_that_nobody_configured_is_a_wrong_call(atrium):
    told = atrium("migrate", "--pool", "tenant_pool_9")
    assert (told.code, "tenant_pool_9" in told.text) == (2, True)
    assert set(standing().values()) == {None}


def test_one_that_fails_is_named_and_the_others_are_done(atrium, monkeypatch, tmp_path):
    pools = {"tenant_pool_1": f"sqlite+aiosqlite:///{tmp_path}/one.sqlite3", "tenant_pool_2": CLOSED}
    monkeypatch.setenv("ATRIUM_POOLS", json.dumps(pools))
    told = atrium("migrate")
    assert told.code == 1
    assert "tenant_pool_2: failed: it does not answer" in told.text
    assert "Not migrated: tenant_pool_2;" in told.text
    at = standing()
    assert None not in (at["central"], at["tenant_pool_1"])


def test_two_pools_with_one_url_are_told_and_not_mixed(atrium, monkeypatch, tmp_path):
    one = f"sqlite+aiosqlite:///{tmp_path}/one.sqlite3"
    monkeypatch.setenv("ATRIUM_POOLS", json.dumps({"tenant_pool_1": one}))
    assert atrium("migrate").code == 0
    monkeypatch.setenv("ATRIUM_POOLS", json.dumps({"tenant_pool_2": one}))
    told = atrium("migrate")
    assert told.code == 1
    assert "is that of tenant_pool_1" in told.text


def test_twice_at_once_ends_well_for_both(tmp_path):
    code = "import typer; from cli import migrate; a = typer.Typer(); migrate.register(a); a(['--central'])"
    environment = {"ATRIUM_VAR": str(tmp_path), "ATRIUM_SECRET_KEY": "k" * 40, "PATH": ""}
    both = [
        subprocess.Popen([sys.executable, "-c", code], cwd=tree.ROOT, env=environment, stdout=-1, stderr=-1, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said


@pytest.mark.parametrize(
    "kind", [databases.ENGINES[0], *[pytest.param(k, marks=pytest.mark.services) for k in databases.ENGINES[1:]]]
)
async def test_an_old_database_is_refused_with_the_command_that_mends_it(anyio_backend, kind):
    async with databases.scratch(kind, "old") as central, databases.scratch(kind, "oldpool") as pool:
        with pytest.raises(fleet.OldRevision, match=r"tenant_pool_1 is at no revision.*atrium migrate"):
            await fleet.refuse_old(central, {"tenant_pool_1": pool})
        for target in fleet.targets(central, {"tenant_pool_1": pool}):
            async with run.reached(target.url) as engine:
                await run.bring_up(engine, target.tree, pool_name=target.pool_name)
        await fleet.refuse_old(central, {"tenant_pool_1": pool, "tenant_pool_2": CLOSED})
