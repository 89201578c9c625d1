"""`atrium schema`: prints the served schema in the schema language."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("schema")(schema)


def schema() -> None:
    """Print the SDL that is served; it holds the whole contract."""
    from resolvers import roots

    typer.echo(roots.sdl(), nl=False)
