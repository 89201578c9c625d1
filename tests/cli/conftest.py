"""Commands as a person calls them, in this process: arguments in, exit code and printed lines out."""

from __future__ import annotations

import importlib
import os
import pkgutil
from dataclasses import dataclass

import pytest
import typer
from typer.testing import CliRunner

import cli
from tests import world as worlds


@dataclass(frozen=True, slots=True)
class Said:
    """What a command ended with; `text` is all it printed, white space collapsed."""

    code: int
    text: str


@pytest.fixture(scope="session")
def commands():
    """The command line with every group that is there."""
    app = typer.Typer()
    app.callback()(lambda: None)  # one group alone would otherwise be the whole command
    for module in pkgutil.iter_modules(cli.__path__, "cli."):
        register = getattr(importlib.import_module(module.name), "register", None)
        if register is not None:
            register(app)
    return app


@pytest.fixture
def atrium(commands, tmp_path, monkeypatch):
    """`atrium("migrate", "--status")` over databases of the test's own, which nothing has migrated yet."""
    for name in [name for name in os.environ if name.startswith("ATRIUM_")]:
        if name != "ATRIUM_REQUIRE_SERVICES":
            monkeypatch.delenv(name)
    for name, value in {"ATRIUM_VAR": str(tmp_path), "ATRIUM_SECRET_KEY": worlds.SECRET, "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)

    def call(*arguments, typed=None):
        done = CliRunner().invoke(commands, list(arguments), input=typed)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Said(done.exit_code, " ".join(done.output.split()))

    return call


@pytest.fixture
def migrated(atrium):
    """The same, migrated."""
    assert atrium("migrate").code == 0
    return atrium
