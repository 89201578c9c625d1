"""What every test stands on: the loop that the server runs on in production, and a world of the test's own."""

from __future__ import annotations

import contextlib
import gc
from collections import Counter

import pytest

from execution.serving import GC_THRESHOLD
from tests import kept, patience, serving
from tests import provider as providers
from tests import world as worlds

patience.ease()
kept.keep()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the most slow tests first: one that begins last is waited for by everybody else."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


def pytest_collection_finish() -> None:
    """What is there before the first test is never collected: a look at all of it would stop a test for long."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, *gc.get_threshold()[1:])


def pytest_sessionfinish() -> None:
    """What tells of the tests afterwards may ask the collector what refers to what."""
    gc.unfreeze()


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Async tests run on asyncio with uvloop, once each; Trio, which a test tool brings along, is not ours."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def engine(request) -> str:
    """The kind of database; `@on_every_engine` (tests/world.py) asks for all three."""
    return getattr(request, "param", "sqlite")


@pytest.fixture(scope="session")
async def templates(anyio_backend, tmp_path_factory):
    """Migrated databases, made once a session."""
    async with contextlib.AsyncExitStack() as closing:
        yield worlds.Templates(tmp_path_factory.mktemp("migrated"), closing)


@pytest.fixture
async def world(anyio_backend, engine, templates, tmp_path):
    """Fresh databases, an open house, and people who speak through real actions."""
    made = await templates.fresh(engine, tmp_path)
    async with worlds.opened(engine, made, tmp_path) as opened:
        yield opened


@pytest.fixture
async def served(world):
    """The product over the test's own world, on loopback, in the test's own loop; no worker beside it."""
    async with serving.serving(world) as client:
        yield client


@pytest.fixture
async def working(world):
    """The same with the worker, as `atrium serve` runs it."""
    async with serving.serving(world, with_worker=True) as client:
        yield client


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The command itself in a process of its own, over the demo world: one for the session, so nothing is its own."""
    folder = tmp_path_factory.mktemp("served")
    environment = {"ATRIUM_VAR": str(folder), **worlds.UNBOUNDED}
    for arguments in (("migrate",), ("demo", "--tenants", "4")):
        done = serving.command(*arguments, environment=environment)
        assert done.returncode == 0, done.stdout + done.stderr
    with serving.process(environment, folder) as running:
        yield running


@pytest.fixture
def provider():
    """A payment provider of the test's own (tests/provider.py says how Atrium is pointed at it)."""
    with providers.running() as made:
        yield made


@pytest.fixture
async def shop(anyio_backend, engine, templates, tmp_path, provider):
    """A world in which things can be bought: its house speaks to the test's own provider (tests/actions/shop.py)."""
    made = await templates.fresh(engine, tmp_path)
    async with worlds.opened(engine, made, tmp_path, **providers.environment(provider)) as opened:
        yield opened
