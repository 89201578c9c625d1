"""`atrium secrets …`: sealed values under the newest secret key."""

from __future__ import annotations

import typer

from cli import commands


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Secrets that are sealed under ATRIUM_SECRET_KEY.", no_args_is_help=True)
    group.command("rotate")(rotate)
    app.add_typer(group, name="secrets")


def rotate() -> None:
    """Seal everything anew under the first key of ATRIUM_SECRET_KEY; the keys behind it may go then."""
    from tenancy import resealing

    told = commands.run(commands.within(resealing.reseal))
    commands.say(f"{told.resealed} values were sealed anew, {told.kept} were under the newest key already.")
    if told.broken:
        commands.fail(
            f"{told.broken} values could not be opened: they were altered, or sealed under a key that is not in "
            "ATRIUM_SECRET_KEY. Next: add that key behind the others and run this again"
        )
    commands.say("Next: take the older keys out of ATRIUM_SECRET_KEY and start the servers again.")
