"""What is asked: six workloads, each a query with the hosts, access tokens and variables that it is sent with.

Requests of one workload go round many tenants and effects, so that no server answers from the last answer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from bench import rows
from bench.places import BASE_DOMAIN
from bench.rows import Owner, Sizes

TENANTS_ASKED = 20
EFFECTS_ASKED = 50


@dataclass(frozen=True, slots=True)
class Workload:
    """A query and where it is sent."""

    name: str
    says: str
    query: str
    on_tenant: bool = False
    by_slug: bool = False


W0 = Workload("W0", "{ __typename }", "{ __typename }")
W1 = Workload(
    "W1",
    "gallery page of 50 with effect and category",
    "{ gallery(first: 50) { nodes { id title tags processedFileUrl publishedAt "
    "effect { id name tokenCost category { name } } } pageInfo { hasNextPage endCursor } } }",
)
W2 = Workload(
    "W2",
    "a tenant's 20 videos with effect and file",
    "{ videos(first: 20) { nodes { id title status createdAt effect { name slug } "
    "outputFile { name sizeBytes mimeType } } } }",
    on_tenant=True,
)
W3 = Workload(
    "W3",
    "one effect by slug",
    "query ($slug: String!) { effect(slug: $slug) { id name tokenCost category { name } } }",
    by_slug=True,
)
W4 = Workload(
    "W4",
    "20 effects × 50 gallery videos, nested",
    "{ effects(first: 20) { nodes { name galleryVideos(first: 50) { nodes "
    "{ id title tags processedFileUrl publishedAt } } } } }",
)
W5 = Workload(
    "W5",
    "a tenant's dashboard",
    "{ viewer { name } wallet { balance reserved } videos(first: 20) { totalCount nodes "
    "{ id title effect { name } } } aiJobs(first: 5) { nodes { status progress } } }",
    on_tenant=True,
)

ALL = (W0, W1, W2, W3, W4, W5)


def chosen(names: str) -> tuple[Workload, ...]:
    """The workloads of a list like "W0,W3"; all for "". Raises LookupError for a name that is none."""
    known = {each.name: each for each in ALL}
    wanted = [name.strip().upper() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise LookupError(f"no workload is called {', '.join(unknown)}: there are {', '.join(known)}")
    return tuple(known[name] for name in wanted) or ALL


def asked_owners(sizes: Sizes) -> list[Owner]:
    """The tenants that are asked, spread over all of them and so over both pools."""
    everyone = rows.owners(sizes)
    step = max(1, len(everyone) // TENANTS_ASKED)
    # An odd stride, or every tenant asked would be in one pool.
    return everyone[:: step + 1 - step % 2][:TENANTS_ASKED]


def requests(workload: Workload, sizes: Sizes) -> list[bytes]:
    """The HTTP/1.1 requests to be sent in turn, whole, with keep-alive."""
    if workload.on_tenant:
        return [_request(workload, owner.host, token=owner.token) for owner in asked_owners(sizes)]
    if workload.by_slug:
        numbers = range(1, sizes.effects + 1, max(1, sizes.effects // EFFECTS_ASKED))
        return [_request(workload, BASE_DOMAIN, variables={"slug": f"effect-{number}"}) for number in numbers]
    return [_request(workload, BASE_DOMAIN)]


def _request(workload: Workload, host: str, *, token: str = "", variables: dict[str, str] | None = None) -> bytes:
    asked: dict[str, object] = {"query": workload.query}
    if variables is not None:
        asked["variables"] = variables
    body = json.dumps(asked).encode()
    lines = [
        "POST /graphql HTTP/1.1",
        f"Host: {host}",
        "Content-Type: application/json",
        "Accept: application/json",
        f"Content-Length: {len(body)}",
    ]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode() + body
