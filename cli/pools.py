"""`atrium pools …`: which pools there are, how many tenants each holds, and whether they are what they should be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli import commands

if TYPE_CHECKING:
    from base.settings import Settings
    from db.migrations.fleet import Standing


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Pools: placements, health, revisions.", no_args_is_help=True)
    group.command("list")(list_pools)
    group.command("check")(check)
    app.add_typer(group, name="pools")


def list_pools() -> None:
    """List the databases with their tenants, whether they answer, and their revision."""
    from rich.table import Table

    from db.migrations import fleet, tree

    settings = commands.settings()
    standings, held = commands.run(_standings(settings))
    table = Table("database", "tenants", "answers", "revision", "newest")
    for standing in standings:
        tenants = held.get(standing.target.name)
        table.add_row(
            standing.target.name,
            "" if tenants is None else str(tenants),
            "yes" if standing.error is None else fleet.reason(standing.error),
            standing.revision or "none",
            tree.head(standing.target.tree),
        )
    commands.OUT.print(table)
    wrong = [standing.target.name for standing in standings if not standing.is_at_head]
    if wrong:
        commands.fail(f"Not as they should be: {', '.join(wrong)}. Next: atrium pools check")


def check(
    name: Annotated[list[str] | None, typer.Argument(help="Only these pools; all where none is named.")] = None,
) -> None:
    """Compare pools with what is declared: identity, revision, tables, keys, collations."""
    import asyncio

    from db.migrations import fleet
    from db.zones import Zone

    settings = commands.settings()
    try:
        every = fleet.chosen(fleet.targets(settings.central_url, settings.pools), central=False, pools=name or [])
    except LookupError as error:
        commands.fail(str(error.args[0]), code=commands.MISUSED)
    asked = [target for target in every if target.tree is Zone.POOL]

    async def look() -> list[list[str]]:
        return await asyncio.gather(*(fleet.check(target) for target in asked))

    found = commands.run(look())
    for target, lines in zip(asked, found, strict=True):
        commands.say(f"{target.name}: {'as declared' if not lines else f'{len(lines)} things are wrong'}")
        for line in lines:
            commands.say(f"  {line}")
    if any(found):
        commands.fail("Next: atrium migrate brings tables up; a wrong URL is mended in ATRIUM_POOLS.")


async def _standings(settings: Settings) -> tuple[list[Standing], dict[str, int]]:
    from db.migrations import fleet
    from tenancy import placement

    standings = await fleet.look(fleet.targets(settings.central_url, settings.pools))
    if not standings[0].is_at_head:
        return standings, {}
    async with commands.opened(settings, checks=False) as house:
        return standings, await house.system().on_system(placement.counts, tuple(settings.pools))
