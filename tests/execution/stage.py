"""A stage for reads: central and one pool on any of the three engines, two tenants in that pool, three users.

Rows are put in by a plain engine, without guard: what is under test is who may see them.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from base import settings
from db import engines
from db.tables.central.catalog import Algorithm, Category, Effect, EffectTag, Style, Tag
from db.tables.central.gallery import GalleryVideo
from db.tables.central.identity import Domain, Tenant, User
from db.tables.pool.jobs import AiJob
from db.tables.pool.media import File, FileStatus, Video
from db.tables.pool.upkeep import Fence
from db.tables.pool.wallet import TokenTransaction, TokenTransactionKind, TokenWallet
from db.zones import CentralBase, PoolBase, TenantId, TenantState
from outside import services
from outside.files_local.links import Links
from outside.store import Store
from tenancy.context import Context, House
from tenancy.directory import Route
from tenancy.house import close_house, open_house
from tenancy.viewer import Viewer
from tests import databases
from tests.world import UNBOUNDED

POOL = "tenant_pool_1"
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
ALICE, MARY, BOB = 1, 2, 3  # Alice owns alice1, Mary is its second member, Bob owns bob2
TENANTS = ("alice1", "bob2")
TENANT_OF = {ALICE: "alice1", MARY: "alice1", BOB: "bob2"}


@dataclass
class Stage:
    """An open house with rows in it, and the statements that its readers have sent."""

    house: House
    engine: str
    sent: list[str] = field(default_factory=list)

    def of(self, user: int | None, *, tenant: str | None = "", system: bool = False) -> Context:
        """A request of this user on a host: "" is the user's own tenant's, None a central one."""
        home = TENANT_OF.get(user or 0)
        on = home if tenant == "" else tenant
        route = None if on is None else Route(TenantId(on), TenantState.ACTIVE, POOL, 1)
        viewer = None
        if user is not None:
            viewer = Viewer(user, TenantId(home), 100 + user, frozenset({"*"}), is_staff=False, is_member=on == home)  # type: ignore[arg-type]
        return Context(self.house, "request", "http://localhost:8000", "127.0.0.1", route, viewer, is_system=system)

    @contextmanager
    def sending(self):
        """The statements sent meanwhile."""
        self.sent.clear()
        found: list[str] = []
        yield found
        found += self.sent


@asynccontextmanager
async def opened(engine: str, folder: Path, *, rows: int = 12) -> AsyncIterator[Stage]:
    """A stage with `rows` effects, gallery videos of each, and videos of each user."""
    async with databases.scratch(engine, "read_central") as central, databases.scratch(engine, "read_pool") as pool:
        await _make(central, CentralBase, _central_rows(rows))
        await _make(pool, PoolBase, _pool_rows(rows))
        given = settings.read(
            {
                "ATRIUM_VAR": str(folder),
                "ATRIUM_SECRET_KEY": "k" * 40,
                "ATRIUM_CENTRAL_URL": central,
                "ATRIUM_POOLS": json.dumps({POOL: pool}),
                # Whatever is drawn is compared: what it may cost is tested for itself.
                "ATRIUM_COST_MAX": "1000000000",
                **UNBOUNDED,
            }
        )
        house = await open_house(given, services.open_services(given), hears=False)
        stands_still(house)
        stage = Stage(house, engine)
        for database in house.sessions.databases.all():
            # Statements are written for the server that answered, so it has to be known which that is.
            async with database.reader.connect():
                pass
            sa.event.listen(
                database.reader.sync_engine, "before_cursor_execute", lambda *given: stage.sent.append(given[2])
            )
        try:
            yield stage
        finally:
            await close_house(house)


def stands_still(house: House) -> None:
    """Signed links of this house are made at one moment, so that two answers may be compared."""
    store: Any = house.service(Store)
    store.links = Links(house.settings.secret_key, clock=START.timestamp)


async def _make(url: str, base: type[CentralBase | PoolBase], generations: Sequence[Sequence[object]]) -> None:
    engine = engines.open_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(base.metadata.create_all)
    async with AsyncSession(engine) as session:
        for generation in generations:
            session.add_all(generation)
            await session.flush()
        await session.commit()
    await engine.dispose()


def _named(slug: str) -> dict[str, object]:
    return {"slug": slug, "name": slug.capitalize(), "name_key": slug}


def _central_rows(rows: int) -> Sequence[Sequence[object]]:
    users = [
        User(id=u, name=f"User {u}", email=f"u{u}@e.test", email_key=f"u{u}@e.test", password_hash="")
        for u in (1, 2, 3)
    ]
    tenants = [
        Tenant(id="alice1", user_id=ALICE, db_pool=POOL, state=TenantState.ACTIVE),
        Tenant(id="bob2", user_id=BOB, db_pool=POOL, state=TenantState.ACTIVE),
    ]
    domains = [
        Domain(id=1, tenant_id="alice1", host="alice1.localhost", is_primary=True),
        Domain(id=2, tenant_id="alice1", host="films.example", is_primary=False),
        Domain(id=3, tenant_id="bob2", host="bob2.localhost", is_primary=True),
    ]
    catalog = [
        Algorithm(id=20, **_named("ffmpeg")),
        *(Category(id=30 + at, position=at, **_named(f"category-{at}")) for at in range(3)),
        Style(id=40, **_named("vintage")),
        *(Tag(id=50 + at, **_named(f"tag-{at}")) for at in range(4)),
    ]
    effects = [
        # Popularity comes in pairs, so that a page may end between two equals.
        Effect(
            id=1000 + at,
            created_at=START + timedelta(microseconds=at),
            token_cost=at,
            popularity=at // 2,
            category_id=30 + at % 3,
            style_id=40 if at % 2 else None,
            algorithm_id=20,
            search_text="",
            **_named(f"effect-{at:03}"),
        )
        for at in range(rows)
    ]
    links = [EffectTag(effect_id=1000 + at, tag_id=50 + tag) for at in range(rows) for tag in range(at % 4)]
    gallery = [
        GalleryVideo(
            id=10_000 + at * 10 + place,
            tenant_id="alice1" if place % 2 else "bob2",
            title=f"Shown {at}.{place}",
            tags=["night"],
            effect_id=1000 + at,
            output_key=f"public/{at * 10 + place:032x}.mp4",
            published_at=START + timedelta(hours=place),
            listed=place != 4,
            event_id=1,
            search_text="",
        )
        for at in range(rows)
        for place in range(5)
    ]
    return [users, tenants, [*domains, *catalog], effects, [*links, *gallery]]


def _pool_rows(rows: int) -> Sequence[Sequence[object]]:
    fences = [Fence(tenant_id=tenant, pool_name=POOL) for tenant in ("", *TENANTS)]
    wallets = [
        TokenWallet(tenant_id=tenant, id=5 + at, balance=100, reserved=0, debt=0) for at, tenant in enumerate(TENANTS)
    ]
    entries = [
        TokenTransaction(
            tenant_id=tenant,
            id=100 + at,
            user_id=ALICE,
            kind=TokenTransactionKind.REWARD,
            amount=at,
            balance_after=at,
            reserved_after=0,
            debt_after=0,
            sequence=at + 1,
            idempotency_key=f"k{at}",
        )
        for tenant in TENANTS
        for at in range(4)
    ]
    files, videos, jobs = [], [], []
    for user in (ALICE, MARY, BOB):
        mine = {"tenant_id": TENANT_OF[user], "user_id": user}
        for at in range(rows):
            number = user * 10_000 + at
            files.append(
                File(
                    id=number,
                    name=f"file of {user}",
                    mime_type="video/mp4",
                    size_bytes=7,
                    status=FileStatus.READY,
                    key=f"t/616c/{number:032x}",
                    **mine,
                )
            )
            videos.append(
                Video(
                    id=number,
                    created_at=START + timedelta(seconds=at),
                    title=f"Video {at} of {user}",
                    title_key=f"video {at:03}",
                    search_text="",
                    effect_id=1000 + at if at % 5 else 77,  # every fifth names an effect that is gone
                    input_file_id=number,
                    gallery_video_id=10_000 + at * 10,
                    **mine,
                )
            )
            of = {"video_id": number, "effect_id": 1000 + at, **mine}
            jobs += [AiJob(id=number * 10 + turn, idempotency_key=f"{number}-{turn}", **of) for turn in range(3)]
    return [[*fences, *wallets, *entries, *files], videos, jobs]
