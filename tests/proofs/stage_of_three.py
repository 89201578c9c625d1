"""Three people for the isolation proofs: Alice and Mary of one tenant, Bob of another in the same pool, all of whose
texts are marked; and one operation run as one of them, its answer looked through for what is not theirs.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from execution import library, response
from execution.plans import Plans
from resolvers import roots
from tenancy import middleware
from tenancy.context import Context
from tests.proofs import canaries
from tests.proofs.canaries import Marks, Owned
from tests.proofs.operations import Words, altered
from tests.world import Person, World

ALICE = Marks("a11cea11cea1", "a11ce0a11ce0")
MARY = Marks("dab0dab0dab0", "a11ce0a11ce0")
BOB = Marks("b0bb0bb0bb0b", "b0bcafeb0bca")
TENANTS_TRIED_MAX = 8
Callers = tuple[tuple[str, str, int], ...]
# Who asks, where, and how often of a hundred: a host of one's own, the central one, another's.
OWNER: Callers = (
    ("alice", "own", 62),
    ("alice", "central", 10),
    ("alice", "bob", 16),
    ("nobody", "central", 6),
    ("nobody", "own", 6),
)
SECOND: Callers = (("mary", "own", 90), ("mary", "bob", 10))
ABILITIES = (["*"], ["*"], ["*"], ["read"], ["write"], ["read", "write", "billing"])
# A cursor's texts stand in base64.
_PACKED = re.compile(r"[A-Za-z0-9_-]{24,}")

CURSORS = """{ videos(first: 3, orderBy: TITLE) { edges { cursor } } files(first: 3) { edges { cursor } }
    aiJobs(first: 3) { edges { cursor } } exports(first: 3) { edges { cursor } } rewards(first: 3) { edges { cursor } }
    purchases(first: 3) { edges { cursor } } wallet { transactions(first: 3) { edges { cursor } } } }"""


@dataclass
class Told:
    """What a run has seen."""

    ran: int = 0
    answered: int = 0
    by_field: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def count(self, name: str, body: dict[str, Any]) -> None:
        """Count an operation that was executed."""
        self.ran += 1
        data = body.get("data")
        self.answered += isinstance(data, dict) and any(value not in (None, [], {}) for value in data.values())
        self.by_field[name] = self.by_field.get(name, 0) + 1


@dataclass
class Three:
    """A peopled world with both ways to an answer over the served schema; `planned` counts what plans have answered."""

    world: World
    alice: Owned
    mary: Owned
    bob: Owned
    shelf: list[str]
    executor: library.Executor
    plans: Plans
    planned: int = 0

    def forbidden(self, who: str, where: str) -> tuple[str, ...]:
        """The marks that must not stand in an answer to this caller."""
        if where == "bob" or who == "nobody":
            return (*_marks(ALICE), *_marks(MARY), *_marks(BOB))
        other = MARY if who == "alice" else ALICE
        return (other.mine, *_marks(BOB))

    async def caller(self, who: str, where: str, dice: random.Random) -> tuple[Context, str | None, str]:
        """(context, token, host) of a request with a fresh access token."""
        person = {"alice": self.alice, "mary": self.mary, "nobody": None}[who]
        tenant = {"own": self.alice, "bob": self.bob, "central": None}[where]
        token = None if person is None else await self.world.token(person.person, *dice.choice(ABILITIES))
        base = self.world.central() if tenant is None else await self.world.visitor(tenant.person.tenant_id)
        address = f"10.{dice.randrange(250)}.{dice.randrange(250)}.{dice.randrange(250)}"
        host = "localhost" if tenant is None else tenant.person.host
        header = None if token is None else f"Bearer {token}"
        return await middleware.authorised(dataclasses.replace(base, address=address), header), token, host

    async def words(self, dice: random.Random) -> Words:
        """Ids of everybody, right and altered; everybody's cursors; words that find something."""
        theirs = {owned.person.tenant_id: list(owned.node_ids()) for owned in (self.alice, self.bob)}
        marys = list(self.mary.node_ids())
        mine, bobs = theirs[self.alice.person.tenant_id], theirs[self.bob.person.tenant_id]
        tenants = [self.alice.person.tenant_id, self.bob.person.tenant_id]
        ids = mine * 4 + bobs * 3 + marys * 2 + self.shelf * 2
        ids += [altered(dice.choice(mine + bobs + marys), dice.choice(tenants), dice) for _ in range(len(ids) // 4)]
        everyone = (self.alice, self.alice, self.mary, self.bob)
        cursors = [cursor for owned in everyone for cursor in await self._cursors(owned)]
        # The beginning of a mark finds what a search may find, and is no mark itself when it is kept.
        texts = [
            *tenants,
            BOB.mine[:6],
            BOB.ours[:6],
            ALICE.mine[:6],
            "shelf-",
            "%",
            "_",
            "' OR 1=1 --",
            "a" * 201,
            "😀",
        ]
        return Words(ids, cursors, texts)

    async def _cursors(self, owned: Owned) -> list[str]:
        # A user has fifty tokens at most: the first is long gone where a run was before this one.
        person = dataclasses.replace(owned.person, token=await self.world.token(owned.person))
        answer = await self.executor.execute(await self.world.of(person), CURSORS)
        assert answer.errors is None, answer.errors
        return [edge["cursor"] for edge in _edges(answer.data)]


def _edges(value: object) -> Iterator[dict[str, str]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from each if key == "edges" else _edges(each)


def _marks(marks: Marks) -> tuple[str, str]:
    return marks.mine, marks.ours


async def people(world: World) -> Three:
    """Fill a world: the catalog, then all that Alice, Mary and Bob can have."""
    executor = library.Executor(roots.served())
    alice = await world.tenant("alice")
    mary = await world.member(alice.tenant_id)
    bob = await _neighbour(world, alice)
    filling = canaries.Filling(world)
    await filling.stock()
    shelf = list(Owned(alice, ALICE, filling.shelf).node_ids())
    return Three(
        world,
        alice=await filling.fill(alice, ALICE),
        mary=await filling.fill(mary, MARY),
        bob=await filling.fill(bob, BOB),
        shelf=shelf,
        executor=executor,
        plans=Plans(executor),
    )


async def _neighbour(world: World, alice: Person) -> Person:
    """Somebody in the same pool."""
    here = await world.house.directory.of_tenant(alice.tenant_id)
    for _ in range(TENANTS_TRIED_MAX):
        person = await world.tenant("bob")
        there = await world.house.directory.of_tenant(person.tenant_id)
        if here is not None and there is not None and here.pool == there.pool:
            return person
    raise AssertionError("nobody else was placed in this pool")


async def run(three: Three, ctx: Context, kind: str, query: str) -> list[dict[str, Any]]:
    """The bodies that a client would get: by a plan, and for a query by the library too; none where it was refused
    before it was run.
    """
    results = [await three.plans.answer(ctx, query)]
    if kind == "query":
        results.append(await three.executor.execute(ctx, query))
    three.planned += isinstance(results[0], bytes)
    return [
        orjson.loads(result) if isinstance(result, bytes) else response.content(result, ctx.request_id)
        for result in results
        if isinstance(result, bytes) or response.began(result)
    ]


def found_in(body: object, forbidden: tuple[str, ...]) -> str | None:
    """The first forbidden mark in an answer, in plain sight, in hexadecimal or packed in base64."""
    text = orjson.dumps(body).decode().lower()
    for mark in forbidden:
        if mark in text or mark.encode().hex() in text:
            return mark
    unpacked = b"".join(_unpacked(orjson.dumps(body).decode()))
    return next((mark for mark in forbidden if mark.encode() in unpacked), None)


def _unpacked(text: str) -> Iterator[bytes]:
    for packed in _PACKED.findall(text):
        try:
            yield base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
        except (binascii.Error, ValueError):
            continue
