"""`atrium demo`: believable data of any size. Each area's part is a file here with `fill`, found by walking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli import commands

if TYPE_CHECKING:
    from base.settings import Settings
    from cli.demo.frame import Size

TENANTS = 50
GALLERY = 200
VIDEOS_PER_TENANT = 6
TENANTS_MAX = 100_000
GALLERY_MAX = 10_000_000
VIDEOS_PER_TENANT_MAX = 100_000
SEED = 1
PASSWORD = "demo-password"  # noqa: S105  (known to everybody; the embedded set-up's alone)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    *,
    tenants: Annotated[int, typer.Option(min=0, max=TENANTS_MAX, help="Tenants; 0 loads the catalog alone.")] = TENANTS,
    gallery: Annotated[int, typer.Option(min=0, max=GALLERY_MAX, help="Published videos, over all tenants.")] = GALLERY,
    videos_per_tenant: Annotated[
        int, typer.Option(min=0, max=VIDEOS_PER_TENANT_MAX, help="Videos of each tenant, published ones among them.")
    ] = VIDEOS_PER_TENANT,
    seed: Annotated[int, typer.Option(help="The same seed gives the same data.")] = SEED,
    password: Annotated[
        str | None, typer.Option(help="The accounts' password; needed where this is not the embedded set-up.")
    ] = None,
) -> None:
    """Load believable data at any size; safe to run again, which adds what is missing."""
    from cli.demo import frame

    given = commands.settings()
    if not given.embedded and password is None and tenants:
        commands.fail(
            "Accounts with a known password are the embedded set-up's alone. Next: atrium demo --password …",
            code=commands.MISUSED,
        )
    size = frame.Size(tenants=tenants, gallery=gallery if tenants else 0, videos_per_tenant=videos_per_tenant)
    commands.run(_load(given, size, seed=seed, password=password or PASSWORD))


async def _load(given: Settings, size: Size, *, seed: int, password: str) -> None:
    from cli.demo import frame, identity
    from outside.ffmpeg import FfmpegUnusable

    async with commands.opened(given) as house:
        with frame.Bars(commands.OUT) as bars:
            try:
                loaded = await frame.load(house, size, seed=seed, password=password, bars=bars)
            except FfmpegUnusable as error:
                commands.fail(str(error))
    for line in loaded.lines():
        commands.say(line)
    if given.embedded:
        identity.write_names(given.var, loaded.studios, password)
        if loaded.studios:
            first = loaded.studios[0]
            commands.say(f"Sign in on {first.tenant_id}.{given.base_domain} as {first.email} with {password}")
    commands.say("Next: atrium serve")
