"""`atrium`: finds the command groups by walking this folder; a new group is a new file with `register(app)`."""

from __future__ import annotations

import importlib
import pkgutil

import typer

import cli

app = typer.Typer(
    name="atrium",
    help="One GraphQL endpoint in front of a central database and any number of tenant pools.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


def _find_groups() -> None:
    for module in pkgutil.iter_modules(cli.__path__):
        # What a command needs it loads itself, so that looking here costs nothing.
        register = getattr(importlib.import_module(f"cli.{module.name}"), "register", None)
        if register is not None:
            register(app)


_find_groups()

if __name__ == "__main__":
    app()
