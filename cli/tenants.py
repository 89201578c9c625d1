"""`atrium tenants …`: making, listing and showing tenants, suspending and resuming them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli import commands

if TYPE_CHECKING:
    from tenancy.context import House

GENERATED_BYTES = 18

Slug = Annotated[str, typer.Argument(help="The tenant's slug, e.g. alice1.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Tenants: create, list, show, suspend, resume.", no_args_is_help=True)
    for name, command in (
        ("create", create),
        ("list", list_tenants),
        ("show", show),
        ("suspend", suspend),
        ("resume", resume),
    ):
        group.command(name)(command)
    app.add_typer(group, name="tenants")


def create(
    name: Annotated[str, typer.Argument(help="The owner's name.")],
    email: Annotated[str, typer.Argument(help="The owner's e-mail address.")],
    *,
    slug: Annotated[str | None, typer.Option(help="Wished slug; a number is always added.")] = None,
    password: Annotated[
        str | None, typer.Option(help="The owner's password; asked for on a terminal, otherwise generated and shown.")
    ] = None,
) -> None:
    """Make a user and their tenant; its pool is chosen by load."""
    from actions.identity import tenants

    chosen, generated = _password(password)

    async def make(house: House) -> tuple[str, str]:
        tenant = await tenants.create(house.system(), name, email, chosen, slug=slug)
        route = await house.directory.of_tenant(tenant)
        return tenant, route.pool if route is not None else ""

    tenant, pool = commands.run(commands.within(make))
    commands.say(f"Tenant {tenant} stands in {pool}; its owner signs in as {email}.")
    if generated:
        commands.say(f"Password (shown this once): {chosen}")
    commands.say(f"Next: open {_address(tenant)}/graphql")


def list_tenants(
    *,
    state: Annotated[str | None, typer.Option(help="Only these: PROVISIONING, ACTIVE, SUSPENDED, ERASED.")] = None,
    pool: Annotated[str | None, typer.Option(help="Only those of this pool.")] = None,
    after: Annotated[str, typer.Option(help="Begin behind this slug.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 1_000,
) -> None:
    """List tenants by slug."""
    from rich.table import Table

    from actions.identity import tenants
    from db.zones import TenantState

    if state is not None and state.upper() not in TenantState.__members__:
        commands.fail(f"--state must be one of {', '.join(TenantState.__members__)}.", code=commands.MISUSED)
    wanted = None if state is None else TenantState[state.upper()]
    rows = commands.run(
        commands.within(
            lambda house: house.system().on_system(tenants.listed, state=wanted, pool=pool, after=after, limit=limit)
        )
    )
    table = Table("slug", "state", "pool", "since", "name")
    for row in rows:
        table.add_row(row.id, row.state.name, row.db_pool, f"{row.created_at:%Y-%m-%d}", commands.plain(row.name or ""))
    commands.OUT.print(table)
    more = f" Next: atrium tenants list --after {rows[-1].id}" if len(rows) == limit else ""
    commands.say(f"{len(rows)} tenants.{more}")


def show(slug: Slug) -> None:
    """Show a tenant: state, pool, hosts, members."""
    from actions.identity import tenants
    from db.zones import TenantId

    found = commands.run(commands.within(lambda house: house.system().on_system(tenants.shown, TenantId(slug))))
    row = found.tenant
    commands.say(f"{row.id}: {row.state.name}, in {row.db_pool} (epoch {row.epoch}), since {row.created_at:%Y-%m-%d}")
    commands.say(f"name: {row.name or '(none)'}")
    for host in found.hosts:
        commands.say(f"host: {host}")
    for kind, email in found.members:
        commands.say(f"member: {email} ({kind.name})")


def suspend(slug: Slug) -> None:
    """Close a tenant: its host answers 403, its gallery videos are hidden; nothing is deleted."""
    done = _set(slug, suspended=True)
    commands.say(f"{slug} is suspended. Next: atrium tenants resume {slug} opens it again.")
    _tell_what_is_left(done=done)


def resume(slug: Slug) -> None:
    """Open a suspended tenant again."""
    done = _set(slug, suspended=False)
    commands.say(f"{slug} is active. Next: open {_address(slug)}/graphql")
    _tell_what_is_left(done=done)


def _tell_what_is_left(*, done: bool) -> None:
    if not done:
        commands.say("Its pool does not answer just now: a worker tells it as soon as it does.")


def _set(slug: str, *, suspended: bool) -> bool:
    from actions import suspension
    from db.zones import TenantId

    change = suspension.suspend if suspended else suspension.resume
    return commands.run(commands.within(lambda house: change(house.system(), TenantId(slug))))


def _password(given: str | None) -> tuple[str, bool]:
    """(password, was it generated)."""
    import secrets
    import sys

    if given is not None:
        return given, False
    if sys.stdin.isatty():
        typed: str = typer.prompt("Password of the owner", hide_input=True, confirmation_prompt=True)
        return typed, False
    return secrets.token_urlsafe(GENERATED_BYTES), True


def _address(tenant: str) -> str:
    scheme, _, host = commands.settings().origin.partition("://")
    return f"{scheme}://{tenant}.{host}"
