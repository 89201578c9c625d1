"""All databases of a deployment at once: who stands where, bringing them up side by side, refusing old ones.

What happens to one database is `run.py`'s. Databases are told apart by the name of their connection.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from db import faults
from db.migrations import compare, run
from db.migrations.tree import head, scripts
from db.zones import Zone

SIDE_BY_SIDE_MAX = 8
CENTRAL = Zone.CENTRAL.value


class OldRevision(Exception):
    """A database stands at an older revision than this version needs; the message says what to run."""


@dataclass(frozen=True, slots=True)
class Target:
    """One database of the configuration."""

    name: str
    url: str
    tree: Zone

    @property
    def pool_name(self) -> str | None:
        """The name a pool knows itself by; None for the centre."""
        return self.name if self.tree is Zone.POOL else None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a database stands: its revision (None: never migrated), or why nobody knows."""

    target: Target
    revision: str | None
    error: Exception | None = None

    @property
    def is_at_head(self) -> bool:
        """Whether nothing is left to do."""
        return self.error is None and self.revision == head(self.target.tree)

    @property
    def is_old(self) -> bool:
        """Whether revisions are missing; a newer revision than ours is no reason to stop, one we cannot see neither."""
        if self.error is not None or self.is_at_head:
            return False
        return self.revision is None or self.revision in {
            script.revision for script in scripts(self.target.tree).walk_revisions()
        }


Told = Callable[[Standing], None]


def targets(central_url: str, pools: Mapping[str, str]) -> list[Target]:
    """Every database of the configuration, the centre first."""
    named = [Target(name, url, Zone.POOL) for name, url in sorted(pools.items())]
    return [Target(CENTRAL, central_url, Zone.CENTRAL), *named]


def chosen(every: Iterable[Target], *, central: bool, pools: Iterable[str]) -> list[Target]:
    """The databases asked for; all of them where none is. Raises LookupError for a pool that is not configured."""
    known, wanted = list(every), set(pools)
    unknown = sorted(wanted - {target.name for target in known if target.tree is Zone.POOL})
    if unknown:
        raise LookupError(f"no pool is called {', '.join(unknown)}: the names stand in ATRIUM_POOLS")
    if not central and not wanted:
        return known
    return [target for target in known if target.name in wanted or (central and target.tree is Zone.CENTRAL)]


async def bring_up(asked: Iterable[Target], told: Told) -> list[Standing]:
    """Migrate these databases side by side; one that fails leaves the others to finish. `told` hears each end."""

    async def one(target: Target) -> Standing:
        try:
            async with run.reached(target.url) as engine:
                revision = await run.bring_up(engine, target.tree, pool_name=target.pool_name)
        except Exception as error:
            return Standing(target, None, error)
        return Standing(target, revision)

    return await _each(asked, one, told)


async def look(asked: Iterable[Target]) -> list[Standing]:
    """Where these databases stand; changes nothing."""

    async def one(target: Target) -> Standing:
        try:
            async with run.reached(target.url) as engine:
                return Standing(target, await run.revision_of(engine, target.tree))
        except Exception as error:
            return Standing(target, None, error)

    return await _each(asked, one, lambda _: None)


async def check(target: Target) -> list[str]:
    """Everything that is wrong with one database, a line each: identity, revision, tables, keys, collations."""
    try:
        async with run.reached(target.url) as engine:
            await run.recognise(engine, pool_name=target.pool_name)
            standing = Standing(target, await run.revision_of(engine, target.tree))
            if not standing.is_at_head:
                return [f"it is at {standing.revision or 'no revision'}, this version's newest is {head(target.tree)}"]
            return await compare.differences(engine, target.tree)
    except Exception as error:
        return [reason(error)]


async def refuse_old(central_url: str, pools: Mapping[str, str]) -> None:
    """Raises OldRevision, naming every database that has to be migrated before this version may serve or work.

    A pool that does not answer is passed over: its tenants are refused until it does, the others are served.
    """
    old = [standing for standing in await look(targets(central_url, pools)) if standing.is_old]
    if old:
        told = ", ".join(
            f"{standing.target.name} is at {standing.revision or 'no revision'}, not {head(standing.target.tree)}"
            for standing in old
        )
        raise OldRevision(f"{told}. Run `atrium migrate`, then start again.")


def reason(error: Exception) -> str:
    """Why a database could not be brought up, in one line and without its address or password."""
    if faults.lost(error) and not isinstance(error, faults.WrongPool):
        return "it does not answer: is it running, and is its URL right?"
    original = getattr(error, "orig", None) or error
    return " ".join(str(original).split()) or type(error).__name__


async def _each(asked: Iterable[Target], one: Callable[[Target], Awaitable[Standing]], told: Told) -> list[Standing]:
    turn = asyncio.Semaphore(SIDE_BY_SIDE_MAX)

    async def within(target: Target) -> Standing:
        async with turn:
            standing = await one(target)
        told(standing)
        return standing

    return list(await asyncio.gather(*(within(target) for target in asked)))
