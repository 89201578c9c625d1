"""`atrium migrate`: brings central and every pool to the newest revision, side by side. How is `db/migrations`'."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli import commands

if TYPE_CHECKING:
    from db.migrations.fleet import Standing, Target


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("migrate")(migrate)


def migrate(
    central: Annotated[bool, typer.Option("--central", help="Only the central database (and --pool's).")] = False,
    pool: Annotated[list[str] | None, typer.Option("--pool", help="Only this pool; may be repeated.")] = None,
    status: Annotated[bool, typer.Option("--status", help="Show where each database stands; change nothing.")] = False,
) -> None:
    """Bring central and every pool to the newest revision; safe to run again and to run twice at once."""
    from db.migrations import fleet

    settings = commands.settings()
    settings.var.mkdir(parents=True, exist_ok=True)
    try:
        asked = fleet.chosen(fleet.targets(settings.central_url, settings.pools), central=central, pools=pool or [])
    except LookupError as error:
        commands.fail(str(error.args[0]), code=commands.MISUSED)
    if status:
        _show(commands.run(fleet.look(asked)))
    else:
        _finish(_with_progress(asked))


def _show(standings: list[Standing]) -> None:
    from rich.table import Table

    from db.migrations import fleet, tree

    table = Table("database", "revision", "newest", "")
    for standing in standings:
        said = "at head" if standing.is_at_head else "atrium migrate" if standing.is_old else "newer than this version"
        said = fleet.reason(standing.error) if standing.error else said
        table.add_row(standing.target.name, standing.revision or "none", tree.head(standing.target.tree), said)
    commands.OUT.print(table)
    if not all(standing.is_at_head for standing in standings):
        raise typer.Exit(commands.FAILED)


def _with_progress(asked: list[Target]) -> list[Standing]:
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from db.migrations import fleet

    if not commands.OUT.is_terminal:
        return commands.run(fleet.bring_up(asked, lambda standing: commands.OUT.print(_line(standing), markup=False)))
    columns = (SpinnerColumn(finished_text="·"), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=commands.OUT) as progress:
        lines = {target: progress.add_task(f"{target.name}: migrating", total=1) for target in asked}

        def told(standing: Standing) -> None:
            progress.update(lines[standing.target], description=_line(standing), completed=1)

        return commands.run(fleet.bring_up(asked, told))


def _line(standing: Standing) -> str:
    from db.migrations import fleet

    if standing.error is not None:
        return f"{standing.target.name}: failed: {fleet.reason(standing.error)}"
    return f"{standing.target.name}: at revision {standing.revision}"


def _finish(standings: list[Standing]) -> None:
    failed = [standing.target.name for standing in standings if standing.error is not None]
    if failed:
        commands.fail(
            f"Not migrated: {', '.join(failed)}; the others are. "
            "Next: mend what is said above, then atrium migrate again."
        )
    commands.OUT.print("Every database asked for is at its newest revision. Next: atrium serve")
