"""What can be sent wrongly, in every place of every root field, over HTTP: a clear error that names the place, never a
fault of ours, and not one row written.

Places are walked in the served schema, so that a new argument is attacked as soon as it is there.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import graphql
import pytest
from strawberry.utils.str_converters import to_camel_case

from base.ids import global_id
from execution.declare import ROOTS
from resolvers import roots
from tests.proofs import asking, canaries
from tests.proofs.canaries import Marks, Owned
from tests.serving import Client
from tests.world import WORKER_TOKEN

LONG = "x" * 900_000
NUL = "night\0"
HALF = "night\ud800"
LITERAL = (
    "'; DROP TABLE videos; --",
    "%' OR '1'='1",
    "100%_!\\",
    "{{7*7}} ${jndi:x} $.a[0]",
    "🎬👩‍👩‍👧‍👦 ночь 夜",
    "\u05e9\u05dc\u05d5\u05dd عربى",
)
NUMBERS = (0, -1, 2**31 - 1, -(2**31))
HUGE = (2**31, 2**63, 10**30, 1e300, 1.5)
OF_ANOTHER_KIND: dict[str, tuple[object, ...]] = {
    "String": (1, True, {}, ["a"]),
    "ID": (True, {}, ["a"]),
    "Int": ("1", True, {}, [1]),
    "Float": ("1", True, {}, [1]),
    "Boolean": ("true", 1, {}, [True]),
    "BigInt": ("ten", True, {}, [1], 1.5),
    "DateTime": ("yesterday", 1, {}, []),
}
# Said before the value is looked at: too many tries, no provider to buy from in this set-up, a job there already.
BEFOREHAND = {"RATE_LIMITED", "PROVIDER_UNAVAILABLE", "CONFLICT"}
ANSWER_CHARACTERS_MAX = 5_000
# These say the same whatever was wrong, on purpose, or are refused for their lease before anything else.
QUIET = {
    "login",
    "resetPassword",
    "requestPasswordReset",
    "changePassword",
    "heartbeatAiJob",
    "createAiJobOutput",
    "completeAiJob",
    "failAiJob",
}

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value goes: a root field, the way to it through arguments and input fields, and its type."""

    kind: str
    field: str
    path: Path
    type: graphql.GraphQLNamedType
    access: str

    def __str__(self) -> str:
        return f"{self.field}({'.'.join(self.path)})"


@dataclass
class Attacked:
    """A served world in which Sam of the staff has rows of every kind, and Bob has his."""

    client: Client
    sam: Owned
    bob: Owned
    given: dict[str, Any]
    ids: dict[str, str]
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def send(self, place: Place, value: object) -> tuple[int, dict[str, Any]]:
        """The status and body of an answer to a request that is right but for this value."""
        schema = roots.served()._schema
        # What is changed or archived is there: `updateCategory` is asked of a category.
        changed = next((i for kind, i in self.ids.items() if place.field.endswith(kind)), None)
        own = {**self.given, "slug": f"some-slug-{next(self.numbers)}", "id": changed or "x"}
        own["email"] = f"somebody.{next(self.numbers)}@example.com"
        if place.field == "updateAlgorithm":
            own["provider"] = None  # an algorithm of our own has none
        given = {**own, place.path[0]: _example(schema, place, own)}
        query, variables = asking.question(schema, place.kind, place.field, given)
        _put(variables, place.path, value)
        worker = place.access in ("worker", "lease")
        central = worker or place.field == "register"
        token = WORKER_TOKEN if worker else self.sam.person.token
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        body = json.dumps({"query": query, "variables": variables})
        host = "localhost" if central else self.sam.person.host
        answer = await self.client.request("POST", host=host, content=body.encode(), headers=headers)
        return answer.status_code, answer.json()

    async def sums(self) -> dict[str, str]:
        """A digest of every table."""
        assert self.client.world is not None
        return await canaries.everything(self.client.world)


@pytest.fixture
async def attacked(served):
    sam, bob = await served.world.staff("sam"), await served.world.tenant("bob")
    filling = canaries.Filling(served.world)
    await filling.stock()
    mine = await filling.fill(sam, Marks("5a5a5a5a5a5a", "5a5a00005a5a"))
    theirs = await filling.fill(bob, Marks("b0bb0bb0bb0b", "b0bcafeb0bca"))
    here = sam.tenant_id
    given = {
        "videoId": global_id("Video", mine.ids["videos"][4], here),
        "fileId": global_id("File", mine.ids["files"][4], here),
        "inputFileId": global_id("File", mine.ids["files"][4], here),
        "effectId": global_id("Effect", filling.shelf["effects"][0]),
        "packageId": global_id("Package", filling.shelf["packages"][0]),
        "tierId": global_id("Tier", filling.shelf["tiers"][0]),
        "algorithmId": global_id("Algorithm", filling.shelf["algorithms"][0]),
    }
    shelf = Owned(sam, mine.marks, filling.shelf)
    # The first of each kind is neither archived nor deleted; a longer name goes before one that ends like it.
    ids: dict[str, str] = {}
    for node_id in (*mine.node_ids(), *shelf.node_ids()):
        ids.setdefault(node_id.partition("_")[0], node_id)
    return Attacked(served, mine, theirs, given, dict(sorted(ids.items(), key=lambda each: -len(each[0]))))


def places(*types: str) -> Iterator[Place]:
    """Every place of these scalar types in the arguments of queries and mutations, input fields included."""
    schema = roots.served()._schema
    for root in ROOTS:
        if root.kind == "live":
            continue
        served = schema.type_map[asking.ROOT_TYPES[root.kind]]
        assert isinstance(served, graphql.GraphQLObjectType)
        name = to_camel_case(root.name)
        for argument, declared in served.fields[name].args.items():
            for path, kind in _leaves((argument,), declared.type):
                if kind.name in types:
                    yield Place(root.kind, name, path, kind, root.access.kind)


def _leaves(path: Path, kind: graphql.GraphQLInputType) -> Iterator[tuple[Path, graphql.GraphQLNamedType]]:
    if isinstance(kind, graphql.GraphQLNonNull):
        yield from _leaves(path, kind.of_type)
    elif isinstance(kind, graphql.GraphQLList):
        yield from _leaves((*path, "0"), kind.of_type)
    elif isinstance(kind, graphql.GraphQLInputObjectType):
        for name, field in kind.fields.items():
            yield from _leaves((*path, name), field.type)
    else:
        yield path, kind


def _example(schema: graphql.GraphQLSchema, place: Place, given: dict[str, Any]) -> Any:
    served = schema.type_map[asking.ROOT_TYPES[place.kind]]
    assert isinstance(served, graphql.GraphQLObjectType)
    return asking.example(served.fields[place.field].args[place.path[0]].type, place.path[0], given)


def _put(variables: dict[str, Any], path: Path, value: object) -> None:
    here: Any = variables
    for part, after in itertools.pairwise(path):
        step = int(part) if part.isdigit() else part
        empty: Any = [None] if after.isdigit() else {"name": "n"} if part == "device" else {}
        if isinstance(here, dict) and not here.get(part):
            here[part] = empty
        here = here[step]
    here[int(path[-1]) if path[-1].isdigit() else path[-1]] = value


def refusals(body: dict[str, Any]) -> list[tuple[str, str, list[str] | None]]:
    """(code, message, place) of all that was refused, on top and in payloads."""
    found: list[tuple[str, str, list[str] | None]]
    found = [(e["extensions"]["code"], e["message"], None) for e in body.get("errors", ())]
    for value in (body.get("data") or {}).values():
        if isinstance(value, dict):
            found += [(e["code"], e["message"], e["field"]) for e in value.get("userErrors", ())]
    return found


def faults(place: Place, value: object, status: int, body: dict[str, Any]) -> list[str]:
    """What must never be, whatever was sent."""
    codes = {code for code, _, _ in refusals(body)}
    bad = status not in (200, 400) or "INTERNAL" in codes or ("data" not in body and not codes)
    return [f"{place} = {str(value)[:40]!r}: {status} {str(body)[:300]}"] if bad else []


def is_named(place: Place, said: list[tuple[str, str, list[str] | None]]) -> bool:
    """Whether a refusal says where: by the path of a userError, or in the words of an error."""
    names = [part for part in place.path if not part.isdigit()]
    return any(
        names[-1] in (field or ()) or names[-1] in message or code in BEFOREHAND for code, message, field in said
    )


async def test_a_value_of_another_kind_is_refused_with_its_place_and_nothing_is_written(attacked):
    before, wrong, count = await attacked.sums(), [], 0
    for place in places(*OF_ANOTHER_KIND):
        for value in OF_ANOTHER_KIND[place.type.name]:
            if isinstance(value, list) and "0" not in place.path[-1:]:
                continue  # a list of one value is that value's list where a list is asked
            status, body = await attacked.send(place, value)
            wrong += faults(place, value, status, body)
            said, count = refusals(body), count + 1
            if not said or said[0][0] != "BAD_USER_INPUT" or not is_named(place, said):
                wrong.append(f"{place} = {value!r} is not refused by name: {said or body}")
    assert not wrong, "\n".join(wrong)
    assert count > 300
    assert await attacked.sums() == before


async def test_ids_that_lead_nowhere_are_told_on_their_place_and_nothing_is_written(attacked):
    before, wrong = await attacked.sums(), []
    here, there = attacked.sam.person.tenant_id, attacked.bob.person.tenant_id
    bobs = {row_id.partition("_")[0]: row_id for row_id in attacked.bob.node_ids()}
    for place in places("ID"):
        if place.field in ("node", "nodes"):
            ids = [bobs["Video"], "Video_1", "☃", "", "x" * 5_000]
        else:
            nowhere = [f"{kind}_{here.encode().hex()}_1" for kind in ("Video", "File", "AiJob")]
            swapped = [bobs["Video"].replace(there.encode().hex(), here.encode().hex()), bobs["Tenant"]]
            ids = [*bobs.values(), *nowhere, *swapped, "Effect_1", "", "☃", LONG[:5_000]]
        for value in ids:
            if _may_use(place, value):
                continue
            status, body = await attacked.send(place, value)
            wrong += faults(place, value, status, body)
            said = refusals(body)
            if place.kind == "query":
                if (body["data"] or {}).get(place.field) not in (None, [None]):
                    wrong.append(f"{place} = {value!r} was answered: {body}")
            elif not said or said[0][0] not in ("NOT_FOUND", "INVALID", "CONFLICT") or not is_named(place, said):
                wrong.append(f"{place} = {value!r} is not refused by name: {said or body}")
    assert not wrong, "\n".join(wrong)
    assert await attacked.sums() == before


def _may_use(place: Place, value: str) -> bool:
    """What everybody sees of Bob: his published videos."""
    return value.startswith(("GalleryVideo_", "Tenant_")) and place.field in (
        "node",
        "nodes",
        "galleryVideo",
        "recordView",
    )


async def test_texts_that_nobody_stores_are_refused_by_name_and_nothing_is_written(attacked):
    before, wrong = await attacked.sums(), []
    for place in places("String"):
        status, body = await attacked.send(place, NUL)
        said = refusals(body)
        wrong += faults(place, NUL, status, body)
        if not said or said[0][0] != "BAD_USER_INPUT" or not is_named(place, said):
            wrong.append(f"{place} with NUL is not refused by name: {said or body}")
        status, body = await attacked.send(place, HALF)
        if (status, [code for code, _, _ in refusals(body)]) != (400, ["BAD_USER_INPUT"]):
            wrong.append(f"{place} with half a pair: {status} {str(body)[:300]}")
    assert not wrong, "\n".join(wrong)
    assert await attacked.sums() == before


async def test_900_kilobytes_in_any_text_are_refused_and_nothing_is_written(attacked):
    before, wrong = await attacked.sums(), []
    for place in places("String", "ID"):
        status, body = await attacked.send(place, LONG)
        said = refusals(body)
        wrong += faults(place, "900 KB", status, body)
        if len(str(body)) > ANSWER_CHARACTERS_MAX:
            wrong.append(f"{place}: the answer has {len(str(body))} characters")
        # A slug or id that can be nobody's finds nothing; a wrong password says nothing more.
        finds_nothing = place.kind == "query" and place.path[-1] not in ("search", "after")
        if not said and not finds_nothing and place.field not in QUIET:
            wrong.append(f"{place} takes 900 KB: {str(body)[:300]}")
        elif said and not is_named(place, said) and place.field not in QUIET:
            wrong.append(f"{place} refuses 900 KB without its name: {said}")
    assert not wrong, "\n".join(wrong)
    assert await attacked.sums() == before


async def test_numbers_out_of_bounds_are_refused_by_name_or_mean_what_they_say(attacked):
    wrong = []
    for place in places("Int", "BigInt", "Float"):
        for value in (*NUMBERS, *HUGE):
            status, body = await attacked.send(place, value)
            said = refusals(body)
            wrong += faults(place, value, status, body)
            fits = place.type.name == "Float" or (isinstance(value, int) and -(2**31) <= value < 2**31)
            if (not fits and not said and place.type.name == "Int") or (
                said and not is_named(place, said) and place.field not in QUIET
            ):
                wrong.append(f"{place} = {value}: {said or body}")
    assert not wrong, "\n".join(wrong)


async def test_metacharacters_and_other_scripts_are_literal_text_everywhere(attacked):
    wrong = []
    for place in places("String"):
        for value in LITERAL:
            status, body = await attacked.send(place, value)
            wrong += faults(place, value, status, body)
            said = refusals(body)
            if said and not is_named(place, said) and place.field not in QUIET:
                wrong.append(f"{place} = {value!r}: {said}")
            if place.path[-1] == "search" and not said:
                found = body["data"][place.field]
                assert "nodes" not in found or found["nodes"] == []
    assert not wrong, "\n".join(wrong)
    # Nothing was dropped, and what was taken is what was sent.
    host, token = attacked.sam.person.host, attacked.sam.person.token
    update = "mutation($i: UpdateVideoInput!) { updateVideo(input: $i) { video { title tags } userErrors { field } } }"
    search = "query($f: VideoFilter) { videos(filter: $f) { totalCount nodes { id } } }"
    for title in LITERAL:
        wish = {"id": attacked.given["videoId"], "title": title, "tags": [title]}
        done = await attacked.client.graphql(update, {"i": wish}, host=host, token=token)
        assert done.data["updateVideo"] == {"video": {"title": title, "tags": [title]}, "userErrors": []}
        found = await attacked.client.graphql(search, {"f": {"search": title}}, host=host, token=token)
        assert {"id": attacked.given["videoId"]} in found.data["videos"]["nodes"]
    for pattern in ("%%", "__", "!%", "_%"):
        found = await attacked.client.graphql(search, {"f": {"search": pattern}}, host=host, token=token)
        assert found.data["videos"]["totalCount"] == 0


def connections() -> list[str]:
    """The queries that answer a page."""
    schema = roots.served()._schema
    assert schema.query_type is not None
    return [name for name, field in schema.query_type.fields.items() if "first" in field.args]


@pytest.mark.parametrize("name", connections())
async def test_page_sizes_and_cursors_that_do_not_fit_name_their_argument(attacked, name):
    sam, bob = attacked.sam.person, attacked.bob.person
    page = "{ %s%s { nodes { id } pageInfo { endCursor } } }"

    async def ask(arguments, person=sam):
        return await attacked.client.graphql(page % (name, arguments), host=person.host, token=person.token)

    mine = (await ask("(first: 1)")).data[name]["pageInfo"]["endCursor"]
    theirs = (await ask("(first: 1)", bob)).data[name]["pageInfo"]["endCursor"]
    assert (await ask("(first: 0)")).data[name]["nodes"] == []
    assert (await ask("(first: null)")).data == (await ask("(first: 20)")).data
    middle = len(mine) // 2
    altered = mine[:middle] + ("A" if mine[middle] != "A" else "B") + mine[middle + 1 :]
    other = "files" if name != "files" else "videos"
    another = await attacked.client.graphql(page % (other, "(first: 1)"), host=sam.host, token=sam.token)
    elsewhere = another.data[other]["pageInfo"]["endCursor"]
    bad = ["first: -1", "first: 101", f"first: {2**31 - 1}"]
    bad += [f'after: "{cursor}"' for cursor in (altered, mine[:-3], elsewhere, "☃", "", "x" * 5_000)]
    # The gallery and the catalog are everybody's, and so are their cursors on one host.
    bad += [f'after: "{theirs}"'] if name not in ("effects", "gallery") else []
    for argument in bad:
        answer = await ask(f"({argument})")
        assert answer.codes == ["BAD_USER_INPUT"], (argument, answer.body)
        assert argument.partition(":")[0] in answer.body["errors"][0]["message"]
