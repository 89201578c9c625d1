"""`atrium doctor`: looks at the set-up and at everything that areas say must hold, and says what to do.

What must hold of rows is declared where the rows are (`tenancy/checks.py`); here is what belongs to this machine.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import typer

from cli import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from base.settings import Settings
    from tenancy.checks import Found
    from tenancy.context import House

SHOWN_MAX = 20


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor() -> None:
    """Check configuration, databases, files and invariants; exit 1 if anything is wrong."""
    settings = commands.settings()
    with _looking() as told:
        found = commands.run(_look(settings, told))
    wrong = sum(_show(one) for one in found)
    if wrong:
        many = "1 thing is" if wrong == 1 else f"{wrong} things are"
        commands.fail(f"{many} wrong. What to do stands beside each; then: atrium doctor")
    commands.say("All is well.")


async def _look(settings: Settings, told: Callable[[str], None]) -> list[Found]:
    # The two modules of checks that stand with no area; the areas' are loaded with the house.
    from tenancy import checks, house_checks, references

    del house_checks, references
    told("databases")
    found = await _databases(settings)
    if any(finding.wrong for finding in found[0].findings):
        # Without its central database and its tables nothing else can be asked.
        return found
    async with commands.opened(settings, checks=False) as house:
        found += [await _set_up(house), _ffmpeg(house), await _store(house)]
        return found + await checks.run(house, told)


async def _databases(settings: Settings) -> list[Found]:
    """Central first, alone: what is wrong there ends the walk; a pool that is wrong is told and passed over."""
    import asyncio

    from db.migrations import fleet
    from tenancy.checks import Finding, Found

    targets = fleet.targets(settings.central_url, settings.pools)
    lines = await asyncio.gather(*(fleet.check(target) for target in targets))
    do = "atrium migrate, if a revision or table is missing; else check the URL and the server"
    found = {
        target.name: [Finding(f"{target.name}: {line}", do) for line in each]
        for target, each in zip(targets, lines, strict=True)
    }
    central = Found("central database", found.pop(fleet.CENTRAL))
    return [central, Found("pool databases", [finding for each in found.values() for finding in each])]


async def _set_up(house: House) -> Found:
    """Variables that contradict each other or the machine."""
    import asyncio
    import socket

    from tenancy.checks import Finding, Found

    settings = house.settings
    findings = []
    slow = [
        name
        for name, url in (("central", settings.central_url), *settings.pools.items())
        if url.startswith("mysql+aiomysql")
    ]
    if slow:
        findings.append(
            Finding(
                f"{', '.join(slow)}: mysql+aiomysql:// is the slower driver",
                "mysql+asyncmy:// where throughput matters",
                wrong=False,
            )
        )
    if not settings.embedded and settings.smtp_url is None:
        findings.append(Finding("nobody can be mailed a new password", "set ATRIUM_SMTP_URL", wrong=False))
    if not settings.embedded and settings.storage_url.startswith("file:"):
        do = "right for one machine; several need ATRIUM_STORAGE_URL=s3://…"
        findings.append(Finding("files are kept on this machine's disk", do, wrong=False))
    name = f"alice1.{settings.base_domain}"
    try:
        await asyncio.get_running_loop().getaddrinfo(name, 80, type=socket.SOCK_STREAM)
    except OSError:
        do = (
            "browsers and curl find it themselves; other programs connect to 127.0.0.1 and send the Host header"
            if settings.embedded
            else f"add a wildcard DNS record for *.{settings.base_domain}"
        )
        findings.append(Finding(f"this machine's resolver does not know {name}", do, wrong=False))
    if settings.redis_url is not None and not await _redis_answers(settings.redis_url):
        findings.append(Finding("Redis does not answer", "check ATRIUM_REDIS_URL: without it nobody can sign in"))
    return Found("configuration", findings)


async def _redis_answers(url: str) -> bool:
    import redis.asyncio
    from redis.exceptions import RedisError

    client = redis.asyncio.Redis.from_url(url, socket_connect_timeout=2, socket_timeout=2)
    try:
        return bool(await client.ping())
    except (RedisError, OSError):
        return False
    finally:
        await client.aclose()


def _ffmpeg(house: House) -> Found:
    from outside.ffmpeg import FfmpegUnusable
    from outside.services import Ffmpeg
    from tenancy.checks import Finding, Found

    try:
        path = house.service(Ffmpeg).path
    except FfmpegUnusable as error:
        return Found("ffmpeg", [Finding(str(error), "unset ATRIUM_FFMPEG, or name one of FFmpeg 6 or newer")])
    return Found(f"ffmpeg ({path.name})", [])


async def _store(house: House) -> Found:
    from outside.store import Store, StoreError, StoreUnavailable
    from tenancy.checks import Finding, Found

    origins = house.settings.cors_origins or (house.settings.origin,)
    try:
        lines = await house.service(Store).check(origins)
    except (StoreError, StoreUnavailable, OSError) as error:
        lines = [f"the store does not answer: {error}"]
    return Found("file store", [Finding(line, "see ATRIUM_STORAGE_URL in README.md") for line in lines])


def _show(found: Found) -> int:
    """Print one check's lines; how many are wrong."""
    wrong = [finding for finding in found.findings if finding.wrong]
    commands.say(f"{'wrong' if wrong else 'ok':>5}  {found.name}")
    for finding in found.findings[:SHOWN_MAX]:
        commands.say(f"       {'' if finding.wrong else 'hint: '}{finding.what}")
        commands.say(f"         → {finding.do}")
    if len(found.findings) > SHOWN_MAX:
        commands.say(f"       … and {len(found.findings) - SHOWN_MAX} more")
    return len(wrong)


@contextlib.contextmanager
def _looking() -> Iterator[Callable[[str], None]]:
    """On a terminal, what is being looked at."""
    if not commands.OUT.is_terminal:
        yield lambda _: None
        return
    with commands.OUT.status("looking") as status:
        yield lambda what: status.update(f"looking at {commands.plain(what)}")
