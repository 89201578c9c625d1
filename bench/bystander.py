"""The smallest query beside senders of ever-new worst documents: what a visitor waits while others attack.

The documents are as large as is read at all; half of them are valid and merge, half are looked at by every rule. Each
sender has an address of its own on loopback, or the queue of the planning thread would know them for one.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from bench import load, places
from bench.load import NUMBER, Order, Outcome
from bench.servers import Running

SENDERS = 8
BYSTANDER_RATE = 100.0
BYSTANDER_CONNECTIONS = 4
P99_MS_MAX = 50.0
WARM_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Waited:
    """The bystander alone and beside the senders, and what became of those."""

    alone: Outcome
    beside: Outcome
    senders: Outcome

    @property
    def holds(self) -> bool:
        """Whether the bystander was answered, and soon enough."""
        return not self.beside.failed and self.beside.p99_ms <= P99_MS_MAX

    def says(self) -> str:
        """In figures."""
        sent = self.senders.count + self.senders.failed
        return (
            f"alone p50 {self.alone.p50_ms:.1f}, p99 {self.alone.p99_ms:.1f} ms; beside {SENDERS} senders of"
            f" {sent:,} worst documents ({self.senders.count:,} served) p50 {self.beside.p50_ms:.1f},"
            f" p99 {self.beside.p99_ms:.1f} ms (at most {P99_MS_MAX:.0f})"
        )


async def waited(server: Running, seconds: float) -> Waited:
    """Measure both, one after the other."""
    smallest = Order(
        server.port,
        [request("{ __typename }")],
        seconds,
        connections=BYSTANDER_CONNECTIONS,
        rate=BYSTANDER_RATE,
    )
    alone = await load.apart(smallest)
    attack = Order(
        server.port,
        [*(request(text) for text in worst()), *heavy()],
        seconds + 2 * WARM_SECONDS,
        connections=SENDERS,
        addresses=[f"127.0.0.{10 + number}" for number in range(SENDERS)],
    )
    sending = asyncio.create_task(load.apart(attack))
    await asyncio.sleep(WARM_SECONDS)
    beside = await load.apart(smallest)
    return Waited(alone, beside, await sending)


def worst() -> list[str]:
    """Documents of nearly 2,000 tokens, or of fragments that spread each other, each new by a number in it."""
    chain = " ".join(
        f"fragment F{at} on Effect {{ ...F{at + 1} ... on Effect {{ ...F{at + 1} }} name }}" for at in range(30)
    )
    new = f"query Q{NUMBER.decode()}"
    return [
        f"{new} {{ {'effects { nodes { id } } ' * 240} }}",
        f"{new} {{ effects {{ nodes {{ {'nothing ' * 1_500} }} }} }}",
        f"{new} {{ {'effects { nodes { category { effects { nodes { id } } } } } ' * 110} }}",
        f"{new} {{ {'effects { nodes { id } } ' * 240} nothing }}",
        f"{new} {{ effects(first: 1) {{ nodes {{ ...F0 }} }} }} {chain} fragment F30 on Effect {{ id }}",
        f"{new} {{ effects {{ nodes {{ {'galleryVideos(first: $x) { totalCount } ' * 140} }} }} }}",
    ]


def heavy() -> list[bytes]:
    """Requests that are dear after their plan: variables, the whole schema, wide rows, an error in a large answer."""
    new = f"query Q{NUMBER.decode()}"
    names = "".join(f" n{at}: name" for at in range(12)) + "".join(f" i{at}: id" for at in range(12))
    deeper = "effects(first: 1) { nodes { ...E } }"
    wide = "".join(f' r{at}: effect(slug: "s{at}") {{ ...E category {{ {deeper} }} }}' for at in range(10))
    large = "effects(first: 20) { nodes { name galleryVideos(first: 50) { nodes { id title tags } } } }"
    return [
        request(f"{new}($v: [String!]) {{ effects(filter: {{tagSlugs: $v}}) {{ totalCount }} }}", [0] * 100_000),
        request(f"{new}($v: EffectFilter) {{ effects(filter: $v) {{ totalCount }} }}", dict.fromkeys(_words(), 1)),
        request(f"{new} {{ __schema {{ types {{ name fields {{ name args {{ name }} type {{ name }} }} }} }} }}"),
        request(f"{new} {{{wide} }} fragment E on Effect {{{names} }}"),
        request(f'{new} {{ effect(slug: "\\u0000") {{ id }} {large} }}'),
    ]


def _words() -> list[str]:
    return [f"searc{at}" for at in range(50_000)]


def request(query: str, value: object = None) -> bytes:
    """The bytes of a POST to the central host; the value is that of the variable `v`."""
    told = {"query": query} if value is None else {"query": query, "variables": {"v": value}}
    body = json.dumps(told).encode()
    head = (
        f"POST /graphql HTTP/1.1\r\nHost: {places.BASE_DOMAIN}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
