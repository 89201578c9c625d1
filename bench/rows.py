"""The rows that are measured over, drawn from a seed: the same seed and sizes, the same rows, ids and tokens.

Each function answers what to insert as (table, rows as dicts by attribute); who writes them is `bench/fill.py`.
What a tenant has made is drawn in `bench/studios.py`.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from base import texts
from base.ids import EPOCH_MS
from bench.places import BASE_DOMAIN, POOLS
from db.tables.central import catalog, identity
from db.zones import TenantState
from tenancy.viewer import hash_secret

SEED = 7
TENANTS = 1_000
PUBLISHED_A_TENANT = 100
UNFINISHED_A_TENANT = 5
CATEGORIES = 20
EFFECTS = 500
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
FOR_EVER = datetime(2100, 1, 1, tzinfo=UTC)
ID_NUMBER = 1_023
JOB_COST = 5

Rows = tuple[type[Any], list[dict[str, Any]]]

WORDS = (
    *("amber", "autumn", "beach", "city", "cloud", "coast", "dance", "dawn", "desert", "dream", "echo", "fire"),
    *("forest", "frost", "garden", "glass", "harbour", "horizon", "island", "light", "market", "midnight", "mirror"),
    *("mountain", "neon", "night", "ocean", "orbit", "paper", "rain", "river", "shadow", "silver", "smoke", "snow"),
    *("spring", "storm", "street", "summer", "sunset", "träume", "velvet", "violet", "wave", "wind", "winter", "夜"),
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much there is."""

    tenants: int = TENANTS
    effects: int = EFFECTS
    categories: int = CATEGORIES
    published: int = PUBLISHED_A_TENANT
    unfinished: int = UNFINISHED_A_TENANT


class Ids:
    """Ids as the product makes them, at the moments they say; a number of their own keeps others' apart."""

    def __init__(self) -> None:
        self._last = 0

    def at(self, moment: datetime) -> int:
        """A new id of about this moment, larger than every earlier one."""
        ms = int(moment.timestamp() * 1000) - EPOCH_MS
        self._last = max((ms << 22) | (ID_NUMBER << 12), self._last + 1)
        return self._last


@dataclass(frozen=True, slots=True)
class Owner:
    """A tenant with its one user and the text of the access token that lets them in."""

    tenant: str
    user_id: int
    token_id: int
    token: str
    pool: str

    @property
    def host(self) -> str:
        """The tenant's host."""
        return f"{self.tenant}.{BASE_DOMAIN}"


def owners(sizes: Sizes) -> list[Owner]:
    """Every tenant, by number; the same for the same sizes."""
    ids, found = Ids(), []
    for number in range(1, sizes.tenants + 1):
        user_id, token_id = ids.at(BEGAN), ids.at(BEGAN)
        secret = hashlib.sha256(f"{SEED}:{number}".encode()).hexdigest()
        pool = list(POOLS)[number % len(POOLS)]
        found.append(Owner(f"studio{number}", user_id, token_id, f"{token_id:x}|{secret}", pool))
    return found


def identities(everyone: list[Owner]) -> Iterator[Rows]:
    """Users, tenants, hosts, memberships and access tokens of central."""
    yield (
        identity.User,
        [
            {
                "id": each.user_id,
                "created_at": BEGAN,
                "name": f"Owner of {each.tenant}",
                "email": f"{each.tenant}@example.com",
                "email_key": f"{each.tenant}@example.com",
                "password_hash": "nobody signs in by password",
                "is_staff": False,
            }
            for each in everyone
        ],
    )
    yield (
        identity.Tenant,
        [
            {
                "id": each.tenant,
                "created_at": BEGAN,
                "user_id": each.user_id,
                "name": each.tenant.title(),
                "db_pool": each.pool,
                "state": TenantState.ACTIVE,
                "epoch": 1,
                "referred_by": None,
                "placed_at": BEGAN,
            }
            for each in everyone
        ],
    )
    yield from _doors(everyone)


def _doors(everyone: list[Owner]) -> Iterator[Rows]:
    """What lets people in: hosts, memberships, access tokens."""
    ids, hour = Ids(), BEGAN + timedelta(hours=1)
    yield (
        identity.Domain,
        [
            {"id": ids.at(hour), "created_at": hour, "tenant_id": each.tenant, "host": each.host, "is_primary": True}
            for each in everyone
        ],
    )
    yield (
        identity.TenantMember,
        [
            {
                "id": ids.at(hour),
                "created_at": hour,
                "tenant_id": each.tenant,
                "user_id": each.user_id,
                "kind": identity.MemberKind.OWNER,
            }
            for each in everyone
        ],
    )
    yield (
        identity.AccessToken,
        [
            {
                "id": each.token_id,
                "created_at": BEGAN,
                "tenant_id": each.tenant,
                "user_id": each.user_id,
                "name": "bench",
                "abilities": ["*"],
                "token_hash": hash_secret(each.token.partition("|")[2]),
                "device_name": None,
                "device_platform": None,
                "expires_at": FOR_EVER,
                "last_used_at": None,
            }
            for each in everyone
        ],
    )


def shelf(sizes: Sizes) -> Iterator[Rows]:
    """Categories, the one algorithm and the effects, each of a category, with a popularity of its own."""
    drawn, ids, moment = random.Random(SEED), Ids(), BEGAN + timedelta(days=1)

    def named(slug: str, name: str) -> dict[str, Any]:
        return {
            "id": ids.at(moment),
            "created_at": moment,
            "updated_at": moment,
            "slug": slug,
            "name": name,
            "name_key": texts.fold(name),
            "archived_at": None,
        }

    categories = [
        {**named(f"shelf-{place}", f"Shelf {place} of {words(drawn, 1)}"), "description": None, "position": place}
        for place in range(1, sizes.categories + 1)
    ]
    algorithm = {**named("ffmpeg", "ffmpeg"), "kind": catalog.AlgorithmKind.FFMPEG, "provider": None}
    yield catalog.Category, categories
    yield catalog.Algorithm, [algorithm]
    popularity = drawn.sample(range(10 * sizes.effects), sizes.effects)
    effects = []
    for number in range(1, sizes.effects + 1):
        name = f"{words(drawn, 2).title()} {number}"
        one = {
            **named(f"effect-{number}", name),
            "description": f"Makes it {words(drawn, 3)}.",
            "token_cost": JOB_COST,
            "preview_url": None,
            "is_premium": number % 5 == 0,
            "popularity": popularity[number - 1],
            # One in a hundred stands on no shelf.
            "category_id": None if number % 100 == 0 else drawn.choice(categories)["id"],
            "style_id": None,
            "algorithm_id": algorithm["id"],
            "model_id": None,
            "overlay_id": None,
            "watermark_id": None,
            "parameters": [],
            "graph": [{"filter": "hflip", "options": {}}],
            "search_text": texts.fold(name),
        }
        effects.append(one)
    yield catalog.Effect, effects


def words(drawn: random.Random, count: int) -> str:
    """So many different words."""
    return " ".join(drawn.sample(WORDS, count))
