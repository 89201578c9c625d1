"""What the tests of execution/ share: the served schema, and stages to read from (nobody writes, so they are kept)."""

from __future__ import annotations

import pytest

from execution import library
from resolvers import roots
from tests.execution import stage as stages
from tests.world import ENGINES


@pytest.fixture(scope="session")
def executor() -> library.Executor:
    return library.Executor(roots.served())


@pytest.fixture(scope="session")
async def stage(anyio_backend, executor, tmp_path_factory):
    async with stages.opened("sqlite", tmp_path_factory.mktemp("stage")) as opened:
        yield opened


# By a driver of its own, statements are sent together.
@pytest.fixture(scope="session", params=[*ENGINES, pytest.param("asyncmy", marks=pytest.mark.services)])
async def any_stage(request, anyio_backend, executor, tmp_path_factory):
    async with stages.opened(request.param, tmp_path_factory.mktemp("stage")) as opened:
        yield opened


@pytest.fixture(scope="session", params=ENGINES)
async def wide_stage(request, anyio_backend, executor, tmp_path_factory):
    """More parents than one union takes."""
    async with stages.opened(request.param, tmp_path_factory.mktemp("stage"), rows=120) as opened:
        yield opened
