"""`atrium users …`: who is platform staff."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import commands

Email = Annotated[str, typer.Argument(help="The address the user registered with.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Users: platform staff.", no_args_is_help=True)
    group.command("grant-staff")(grant_staff)
    group.command("revoke-staff")(revoke_staff)
    app.add_typer(group, name="users")


def grant_staff(email: Email) -> None:
    """Make a user platform staff: their access tokens may then write the catalog (catalog:write)."""
    if _set(email, is_staff=True):
        commands.say(f"{email} is platform staff. Next: sign in again for a token with catalog:write.")
    else:
        commands.say(f"{email} is platform staff already; nothing was changed.")


def revoke_staff(email: Email) -> None:
    """Take staff rights away again; tokens lose catalog:write at once."""
    if _set(email, is_staff=False):
        commands.say(f"{email} is no longer platform staff.")
    else:
        commands.say(f"{email} was not platform staff; nothing was changed.")


def _set(email: str, *, is_staff: bool) -> bool:
    from actions.identity import tenants

    return commands.run(
        commands.within(lambda house: house.system().on_system(tenants.set_staff, email, is_staff=is_staff))
    )
