"""What the commands share: a house opened and closed around one piece of work, and how a refusal is told.

Exit codes: 0 it is done, 1 it is not (the message says why and what to do), 2 the command was called wrongly.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer
from rich.console import Console

if TYPE_CHECKING:
    from base.settings import Settings
    from tenancy.context import House

R = TypeVar("R")

FAILED = 1
MISUSED = 2

OUT = Console(highlight=False, soft_wrap=True)
ERR = Console(stderr=True, highlight=False, soft_wrap=True)


def say(message: str) -> None:
    """Print a line; a tenant's name may hold any characters, so nothing in it is markup or a terminal's command."""
    OUT.print(plain(message), markup=False)


def plain(text: str) -> str:
    """The text without control characters."""
    return "".join(character for character in text if character.isprintable())


def fail(message: str, *, code: int = FAILED) -> NoReturn:
    """Say what went wrong and end."""
    ERR.print(plain(message), style="red", markup=False)
    raise typer.Exit(code)


def settings() -> Settings:
    """The settings of this process; wrong ones end the command, naming the variable."""
    from base import settings as variables

    try:
        return variables.read()
    except variables.SettingsError as error:
        fail(f"{error}. See the table of variables in README.md.")


def run(doing: Coroutine[Any, Any, R]) -> R:
    """Run a command's work; what the product refuses is told in its own words."""
    from base import errors
    from db.faults import WrongPool, lost
    from db.migrations.fleet import OldRevision

    try:
        return asyncio.run(doing)
    except errors.Refusal as refusal:
        fail(f"{'.'.join(refusal.field)}: {refusal.message}" if refusal.field else refusal.message)
    except (errors.Denial, OldRevision, WrongPool) as denial:
        fail(str(denial))
    except Exception as error:
        if not lost(error):
            raise
        fail("A database does not answer. Next: atrium pools list")


@contextlib.asynccontextmanager
async def opened(given: Settings | None = None, *, hears: bool = False, checks: bool = True) -> AsyncIterator[House]:
    """An open house for one command, over databases that are at head; closed with it.

    `hears` connects it with the other processes, which a command that stays needs; without `checks` old
    databases are not refused, for commands that tell what is wrong with them.
    """
    import actions
    from db.migrations import fleet
    from outside import services
    from tenancy import handlers
    from tenancy.house import close_house, open_house

    given = given or settings()
    if checks:
        await fleet.refuse_old(given.central_url, given.pools)
    # Receivers, founders and checks are declared when the areas' modules are loaded.
    handlers.load(actions)
    house = await open_house(given, _services(services.open_services, given), hears=hears)
    try:
        yield house
    finally:
        await close_house(house)


async def refuse_wrong(given: Settings) -> None:
    """End the command where a system outside cannot be opened as the settings say, naming the variable."""
    from outside import services

    for service in _services(services.open_services, given).values():
        close = getattr(service, "close", None)
        if close is not None:
            await close()


def _services(open_services: Callable[[Settings], dict[type[Any], Any]], given: Settings) -> dict[type[Any], Any]:
    try:
        return open_services(given)
    except ValueError as error:
        fail(f"{error}. See the table of variables in README.md.")


async def within(doing: Callable[[House], Awaitable[R]]) -> R:
    """Open a house, do something in it, close it."""
    async with opened() as house:
        return await doing(house)
