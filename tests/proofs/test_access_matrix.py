"""Every root field as everybody on every host: the code that its declaration promises; a refusal changes nothing.

The declarations are the source; what the core promises its clients stands here once more by hand, so that a wrong
declaration is noticed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import graphql
import pytest
import sqlalchemy as sa
from strawberry.utils.str_converters import to_camel_case

from base.ids import global_id
from db import engines
from db.columns import utc_now
from db.tables.central.identity import AccessToken
from execution import library, response
from execution.access import Access
from execution.declare import ROOTS, Root
from resolvers import catalog_admin, roots
from tenancy import middleware
from tenancy.context import Context
from tests.house import tree
from tests.proofs import asking, canaries
from tests.proofs.canaries import Marks
from tests.world import WORKER_TOKEN, Person, World

DENIALS = {"UNAUTHENTICATED", "FORBIDDEN", "TENANT_REQUIRED"}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: whose token it is, what it holds, whether it still counts."""

    name: str
    person: str | None = "alice"
    abilities: tuple[str, ...] = ("*",)
    dead: str | None = None
    is_worker: bool = False

    def holds(self, ability: str) -> bool:
        """Whether the token carries the ability; staff's own never go beyond the user."""
        return (ability != "catalog:write" or self.person == "sam") and bool({"*", ability} & set(self.abilities))


CALLERS = (
    Caller("visitor", None),
    Caller("owner"),
    Caller("second member", "mary"),
    Caller("member of another tenant", "bob"),
    Caller("staff", "sam"),
    Caller("staff by catalog:write", "sam", ("catalog:write",)),
    Caller("staff by read", "sam", ("read",)),
    Caller("staff by write", "sam", ("write",)),
    Caller("read", abilities=("read",)),
    Caller("write", abilities=("write",)),
    Caller("billing", abilities=("billing",)),
    Caller("expired", dead="expired"),
    Caller("revoked", dead="revoked"),
    Caller("expired staff", "sam", dead="expired"),
    Caller("worker", None, is_worker=True),
)
HOSTS = (None, "alice", "sam")
HOME = {"alice": "alice", "mary": "alice", "bob": "bob", "sam": "sam"}


def promised(access: Access, caller: Caller, host: str | None) -> str | None:
    """The code of the denial that a declaration means for a caller on a host; None: the caller may."""
    if access.kind in ("worker", "lease"):
        if host is not None:
            return "FORBIDDEN"
        return "UNAUTHENTICATED" if access.kind == "worker" and not caller.is_worker else None
    if access.kind == "public":
        return None
    if access.kind in ("member", "owner") and host is None:
        return "TENANT_REQUIRED"
    if caller.person is None or caller.dead or (host is not None and HOME[caller.person] != host):
        return "UNAUTHENTICATED"
    if access.kind == "owner" and caller.person == "mary":
        return "FORBIDDEN"
    return None if access.ability is None or caller.holds(access.ability) else "FORBIDDEN"


@dataclass
class House:
    """A peopled world and what is needed to ask anything in it."""

    world: World
    people: dict[str, Person]
    executor: library.Executor
    given: dict[str, object]
    ids: dict[str, str]

    async def token(self, caller: Caller) -> str | None:
        """A fresh access token of this kind."""
        if caller.person is None:
            return WORKER_TOKEN if caller.is_worker else None
        text = await self.world.token(self.people[caller.person], *caller.abilities)
        if caller.dead:
            await self._kill(int(text.partition("|")[0], 16), caller.dead)
        return text

    async def _kill(self, token_id: int, how: str) -> None:
        table = AccessToken.__table__
        end: sa.Delete | sa.Update = sa.delete(AccessToken).where(table.c.id == token_id)
        if how == "expired":
            past = utc_now() - timedelta(seconds=1)
            end = sa.update(AccessToken).where(table.c.id == token_id).values(expires_at=past)
        engine = engines.open_engine(self.world.settings.central_url)
        async with engine.begin() as connection:
            await connection.execute(end)
        await engine.dispose()

    async def context(self, token: str | None, host: str | None) -> Context:
        """The request that this token makes on this host."""
        base = self.world.central() if host is None else await self.world.visitor(self.people[host].tenant_id)
        return await middleware.authorised(base, None if token is None else f"Bearer {token}")

    async def answer(self, ctx: Context, root: Root, given: dict[str, object]) -> dict[str, Any]:
        """What a mutation answered."""
        name = to_camel_case(root.name)
        query, variables = asking.question(self.executor._graphql, root.kind, name, given)
        result = await self.executor.execute(ctx, query, variables=variables)
        assert result.errors is None, result.errors
        assert result.data is not None
        found: dict[str, Any] = result.data[name]
        return found

    async def code(self, ctx: Context, root: Root) -> str | None:
        """The code of the error at the root field, or None where it answered."""
        name = to_camel_case(root.name)
        query, variables = asking.question(self.executor._graphql, root.kind, name, self.given)
        if root.kind == "live":
            stream = await self.executor.subscribe(ctx, query, variables=variables)
            if not isinstance(stream, graphql.ExecutionResult):
                await stream.aclose()
                return None
            result = stream
        else:
            result = await self.executor.execute(ctx, query, variables=variables)
        body = response.content(result, ctx.request_id)
        codes = [error["extensions"]["code"] for error in body.get("errors", ())]
        return codes[0] if codes else None

    async def sums(self) -> dict[str, str]:
        """A digest of every table."""
        return await canaries.everything(self.world)


@pytest.fixture
async def house(world):
    """Alice and Mary of one tenant, Bob of another, Sam of the staff, a catalog, and ids that are there."""
    executor = library.Executor(roots.served())
    people = {"alice": await world.tenant("alice"), "bob": await world.tenant("bob"), "sam": await world.staff("sam")}
    people["mary"] = await world.member(people["alice"].tenant_id)
    filling = canaries.Filling(world)
    await filling.stock()
    mine = (await filling.fill(people["alice"], Marks("a11cea11cea1", "a11ce0a11ce0"))).ids
    here = people["alice"].tenant_id
    given: dict[str, object] = {
        "videoId": global_id("Video", mine["videos"][0], here),
        "fileId": global_id("File", mine["files"][0], here),
        "inputFileId": global_id("File", mine["files"][1], here),
        "effectId": global_id("Effect", filling.shelf["effects"][0]),
        "packageId": global_id("Package", filling.shelf["packages"][0]),
        "tierId": global_id("Tier", filling.shelf["tiers"][0]),
        "algorithmId": global_id("Algorithm", filling.shelf["algorithms"][0]),
        "galleryVideoId": global_id("GalleryVideo", mine["gallery_videos"][0]),
    }
    # The first of each is not archived; a discount has no slug to be found by.
    ids: dict[str, str] = {
        kind.name: global_id(kind.table.__name__, filling.shelf[kind.table.__tablename__][0])
        for kind in catalog_admin.ADMINISTERED
    }
    return House(world, people, executor, given, ids)


async def test_every_root_field_answers_everybody_as_its_declaration_says_and_a_refusal_changes_nothing(house):
    cases = [(root, caller, host) for root in ROOTS for caller in CALLERS for host in HOSTS]
    tokens = {caller: await house.token(caller) for caller in CALLERS}
    contexts = {(c, host): await house.context(tokens[c], host) for c in CALLERS for host in HOSTS}
    before, wrong = await house.sums(), []
    refused = [case for case in cases if promised(case[0].access, *case[1:]) is not None]
    for root, caller, host in refused:
        code, expected = await house.code(contexts[caller, host], root), promised(root.access, caller, host)
        if code != expected:
            wrong.append((root.name, caller.name, host, code, expected))
    assert wrong == []
    assert await house.sums() == before
    assert len(refused) > len(ROOTS) * len(CALLERS)


async def test_whoever_may_use_a_field_is_not_turned_away_and_meets_no_fault(house):
    wrong = []
    tokens = {caller: await house.token(caller) for caller in CALLERS}
    for root in ROOTS:
        # What is for everybody is asked by two of them; passwords are slow to check on purpose.
        for caller in CALLERS[:2] if root.access.kind == "public" else CALLERS:
            for host in HOSTS:
                if promised(root.access, caller, host) is not None:
                    continue
                # These end the token that they were asked with.
                ends = root.name in ("logout", "change_password")
                token = await house.token(caller) if ends else tokens[caller]
                code = await house.code(await house.context(token, host), root)
                if code in {*DENIALS, "INTERNAL"}:
                    wrong.append((root.name, caller.name, host, code))
    assert wrong == []


# ------------------------------------------------------------------------------------- the core's words, by hand

PUBLIC = [
    "node",
    "nodes",
    "categories",
    "styles",
    "filters",
    "overlays",
    "watermarks",
    "tags",
    "tiers",
    "packages",
    "effect",
    "effects",
    "gallery",
    "galleryVideo",
    "tenant",
    "viewer",
    "register",
    "login",
    "requestPasswordReset",
    "resetPassword",
    "recordView",
]
SIGNED_IN = [
    "purchases",
    "planSubscription",
    "createCheckout",
    "startPlan",
    "cancelPlan",
    "resumePlan",
    "changePlan",
    "logout",
    "revokeAccessToken",
    "changePassword",
]
WORKER = ["claimAiJobs"]
LEASE = ["heartbeatAiJob", "createAiJobOutput", "completeAiJob", "failAiJob"]
# (visitor centrally, visitor on a tenant's host, another tenant's member there, the owner centrally)
BY_HAND: dict[str, tuple[str | None, str | None, str | None, str | None]] = {
    **dict.fromkeys(PUBLIC, (None, None, None, None)),
    **dict.fromkeys(SIGNED_IN, ("UNAUTHENTICATED", "UNAUTHENTICATED", "UNAUTHENTICATED", None)),
    **dict.fromkeys(WORKER, ("UNAUTHENTICATED", "FORBIDDEN", "FORBIDDEN", "UNAUTHENTICATED")),
    **dict.fromkeys(LEASE, (None, "FORBIDDEN", "FORBIDDEN", None)),
}
MEMBER = ("TENANT_REQUIRED", "UNAUTHENTICATED", "UNAUTHENTICATED", "TENANT_REQUIRED")


def core_fields() -> dict[tuple[str, str], tuple[str | None, ...]]:
    """(kind, field) of the contract → the four codes that it promises."""
    schema = graphql.build_schema((tree.ROOT / "tests/contract/core.graphql").read_text())
    kinds = (("query", schema.query_type), ("mutation", schema.mutation_type), ("live", schema.subscription_type))
    return {
        (kind, name): BY_HAND.get(name, MEMBER) if kind != "live" else MEMBER
        for kind, served in kinds
        if served is not None
        for name in served.fields
    }


async def test_the_cores_fields_are_for_whom_the_contract_says(house):
    four = ((CALLERS[0], None), (CALLERS[0], "alice"), (CALLERS[3], "alice"), (CALLERS[1], None))
    by_name: dict[tuple[str, str], Root] = {(root.kind, to_camel_case(root.name)): root for root in ROOTS}
    expected = core_fields()
    assert len(expected) > 50
    told = {}
    for kind, name in expected:
        codes = []
        for caller, host in four:
            ctx = await house.context(await house.token(caller), host)
            code = await house.code(ctx, by_name[kind, name])
            codes.append(code if code in DENIALS else None)
        told[kind, name] = tuple(codes)
    assert told == expected


async def test_nobody_registers_on_a_tenants_host_and_only_its_members_sign_in_there(house):
    alice, bob = house.people["alice"], house.people["bob"]
    here = await house.context(None, "alice")
    register = "mutation($i: RegisterInput!) { register(input: $i) { token userErrors { code } } }"
    wish = {"name": "New", "email": "new@example.com", "password": bob.password}
    done = await house.executor.execute(here, register, variables={"i": wish})
    assert done.data == {"register": {"token": None, "userErrors": [{"code": "NOT_ALLOWED"}]}}
    login = "mutation($i: LoginInput!) { login(input: $i) { token userErrors { code message field } } }"
    answers = []
    for email, password in ((bob.email, bob.password), (bob.email, "not the password"), ("no@example.com", "x" * 12)):
        done = await house.executor.execute(here, login, variables={"i": {"email": email, "password": password}})
        answers.append(done.data["login"])
    assert answers[0]["token"] is None
    assert answers[0]["userErrors"][0]["code"] == "INVALID"
    assert answers[0] == answers[1] == answers[2]
    assert alice.tenant_id != bob.tenant_id


# ------------------------------------------------------------------------------------- the catalog's administration

CATALOG = [root for root in ROOTS if root.kind == "mutation" and root.access.ability == "catalog:write"]


async def test_every_catalog_mutation_is_for_the_catalogs_writers_alone_and_refused_ones_change_nothing(house):
    assert len(CATALOG) == 3 * len(catalog_admin.ADMINISTERED) + 1
    writers = {"staff", "staff by catalog:write"}
    tokens = {caller: await house.token(caller) for caller in CALLERS}
    for host in HOSTS:
        before = await house.sums()
        for caller in CALLERS:
            if caller.name in writers and host != "alice":
                continue
            ctx = await house.context(tokens[caller], host)
            for root in CATALOG:
                code = await house.code(ctx, root)
                known = caller.person is not None and not caller.dead and host in (None, HOME[caller.person])
                assert code == ("FORBIDDEN" if known else "UNAUTHENTICATED"), (root.name, caller.name, host)
        assert await house.sums() == before


@pytest.mark.parametrize("writer", ["staff", "staff by catalog:write"])
async def test_a_catalogs_writer_may_make_every_change(house, writer):
    caller = next(each for each in CALLERS if each.name == writer)
    ctx = await house.context(await house.token(caller), None)
    # What is archived is there for nothing new, so that comes last.
    for root in sorted(CATALOG, key=lambda root: root.name.startswith("archive")):
        before = await house.sums()
        words = {**house.given, "slug": root.name.replace("_", "-"), "name": root.name}
        if root.name.partition("_")[0] != "create":
            words["id"] = house.ids[root.name.partition("_")[2]]
        if root.name == "update_algorithm":
            words["provider"] = None  # an algorithm of our own has none
        answer = await house.answer(ctx, root, words)
        assert answer["userErrors"] == [], (root.name, answer)
        assert (await house.sums() != before) == (root.name != "create_asset_upload"), root.name
