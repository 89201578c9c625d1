"""What the declared tables promise: the issue's list, their scopes, their keys, and an index for every order."""

from __future__ import annotations

import enum
from itertools import chain

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

import db.tables  # noqa: F401  (so that every table is declared)
from db.columns import Exact, Line, Word
from db.zones import GLOBAL, INFRA, TENANT, USER_PRIVATE, USER_SHARED, CentralBase, PoolBase, Scope, Zone, tables

NAME_CHARACTERS_MAX = 63
KEY_BYTES_MAX = 3072

ASKED: dict[tuple[Zone, Scope], set[str]] = {
    (Zone.CENTRAL, GLOBAL): {
        *("discounts", "categories", "tiers", "algorithms", "filters", "models", "styles", "effects", "packages"),
        *("tags", "overlays", "watermarks"),
    },
    (Zone.CENTRAL, USER_SHARED): {"tenants", "domains", "gallery_videos"},
    (Zone.CENTRAL, USER_PRIVATE): {"users", "personal_access_tokens"},
    (Zone.CENTRAL, TENANT): {"purchases", "payments", "subscriptions", "tenant_webhooks"},
    (Zone.CENTRAL, INFRA): {
        *("tenant_members", "jobs", "failed_jobs", "timers", "password_reset_tokens", "payment_events"),
    },
    (Zone.POOL, USER_PRIVATE): {"videos", "files", "ai_jobs", "exports", "rewards"},
    (Zone.POOL, TENANT): {"token_wallets", "token_transactions", "webhook_deliveries"},
}

# A row of these says that two rows of one area belong together; each is read and written as its area is.
LINKS = {
    "effect_filters": GLOBAL,
    "effect_tags": GLOBAL,
    "discount_packages": GLOBAL,
    "gallery_video_tags": USER_SHARED,
}

# Columns told apart by equality, then the order; the id is last, so that a cursor names one place.
ORDERS: dict[str, list[tuple[str, ...]]] = {
    "effects": [
        ("created_at", "id"),
        ("popularity", "id"),
        ("name_key", "id"),
        ("token_cost", "id"),
        ("category_id", "popularity", "id"),
    ],
    "gallery_videos": [
        ("listed", "published_at", "id"),
        ("listed", "view_count", "id"),
        ("effect_id", "listed", "published_at", "id"),
        ("tenant_id", "listed", "published_at", "id"),
        ("tenant_id", "listed", "view_count", "id"),
    ],
    "gallery_video_tags": [("tag_key", "gallery_video_id"), ("gallery_video_id",)],
    "effect_tags": [("tag_id", "effect_id"), ("effect_id", "tag_id")],
    "effect_filters": [("filter_id", "effect_id"), ("effect_id", "filter_id")],
    "personal_access_tokens": [("user_id", "id"), ("tenant_id", "user_id", "id")],
    "tenant_members": [("tenant_id", "user_id"), ("user_id",)],
    "purchases": [("tenant_id", "id")],
    "payments": [("tenant_id", "purchase_id", "id")],
    "subscriptions": [("tenant_id", "id")],
    "jobs": [("state", "available_at"), ("tenant_id", "state")],
    "token_transactions": [("tenant_id", "id")],
    "videos": [("tenant_id", "user_id", "created_at", "id"), ("tenant_id", "user_id", "title_key", "id")],
    "files": [("tenant_id", "user_id", "id")],
    "ai_jobs": [
        ("tenant_id", "user_id", "id"),
        ("tenant_id", "user_id", "status", "id"),
        ("tenant_id", "video_id", "id"),
    ],
    "exports": [("tenant_id", "user_id", "id"), ("tenant_id", "video_id", "id")],
    "rewards": [("tenant_id", "user_id", "id")],
    "tenant_webhooks": [("tenant_id", "id")],
    "webhook_deliveries": [
        ("tenant_id", "webhook_id", "event_id"),
        ("tenant_id", "webhook_id", "next_attempt_at"),
        ("tenant_id", "webhook_id", "id"),
        ("tenant_id", "status", "id"),
    ],
    "outbox": [("tenant_id", "available_at"), ("tenant_id", "aggregate", "id")],
}

EVERY = {table.__tablename__: table for table in tables()}
POOL = {table.__tablename__: table for table in tables(Zone.POOL)}


def sa_table(name: str) -> sa.Table:
    """The mapped class's table."""
    table = EVERY[name].__table__
    assert isinstance(table, sa.Table)
    return table


def unique_keys(table: sa.Table) -> list[list[sa.Column]]:
    """The columns of each unique constraint and unique index, the primary key not among them."""
    made = [list(c.columns) for c in table.constraints if isinstance(c, sa.UniqueConstraint)]
    return made + [list(i.columns) for i in table.indexes if i.unique]


def keys(table: sa.Table) -> list[list[sa.Column]]:
    """Every list of columns by which the table can be walked in order."""
    return [list(table.primary_key.columns), *unique_keys(table), *(list(i.columns) for i in table.indexes)]


@pytest.mark.parametrize(
    ("place", "names"), ASKED.items(), ids=["-".join(word.name for word in place) for place in ASKED]
)
def test_every_table_asked_for_exists_with_its_zone_and_scope(place, names):
    found = {name for name, table in EVERY.items() if (table.zone, table.scope) == place}
    assert names <= found


def test_every_other_table_is_infra_or_a_link_of_its_area():
    others = set(EVERY) - set(chain.from_iterable(ASKED.values()))
    assert {name: EVERY[name].scope for name in others if name in LINKS} == LINKS
    assert [name for name in others - set(LINKS) if EVERY[name].scope is not INFRA] == []


def test_every_table_says_what_it_is_for():
    assert [name for name, table in EVERY.items() if not table.purpose.endswith(".")] == []


def test_every_pool_table_is_keyed_by_tenant_and_id():
    assert [n for n in POOL if [c.name for c in sa_table(n).primary_key.columns] != ["tenant_id", "id"]] == []
    kinds = {(str(sa_table(n).c.tenant_id.type), sa_table(n).c.tenant_id.nullable) for n in POOL}
    assert len(kinds) == 1


def test_every_unique_key_of_a_pool_begins_with_the_tenant():
    assert [n for n in POOL for columns in unique_keys(sa_table(n)) if columns[0].name != "tenant_id"] == []


def test_no_unique_key_holds_a_column_that_may_be_null():
    assert [(n, c.name) for n in EVERY for key in unique_keys(sa_table(n)) for c in key if c.nullable] == []


def test_nothing_counts_up_by_itself():
    for name in EVERY:
        table = sa_table(name)
        assert table._autoincrement_column is None, name
        assert [c.name for c in table.columns if c.server_default is not None] == [], name
        ddl = str(sa.schema.CreateTable(table).compile(dialect=mysql.dialect()))
        assert "AUTO_INCREMENT" not in ddl, name


def test_no_foreign_key_leaves_its_database_or_its_service():
    for name, declared in EVERY.items():
        for key in sa_table(name).foreign_key_constraints:
            parent = EVERY[key.referred_table.name]
            assert (parent.zone, parent.service) == (declared.zone, declared.service), (name, key.name)
            assert key.ondelete is None, (name, key.name)
            assert key.onupdate is None, (name, key.name)
            if declared.zone is Zone.POOL:
                assert key.column_keys[0] == "tenant_id", (name, key.name)
                assert [e.column.name for e in key.elements] == ["tenant_id", "id"], (name, key.name)


def test_every_soft_reference_names_a_table_that_exists():
    for name in EVERY:
        for column in sa_table(name).columns:
            target = column.info.get("soft_ref") or column.info.get("pool_ref")
            assert target is None or target in EVERY, (name, column.name)
            assert not column.info.get("pool_ref") or target in POOL, (name, column.name)


def test_every_reference_in_a_database_has_an_index_that_finds_the_children():
    for name in EVERY:
        table = sa_table(name)
        for key in table.foreign_key_constraints:
            width = len(key.column_keys)
            assert any([c.name for c in made][:width] == list(key.column_keys) for made in keys(table)), (
                name,
                key.name,
            )


@pytest.mark.parametrize(("name", "orders"), ORDERS.items(), ids=list(ORDERS))
def test_every_order_and_every_nested_list_has_its_index(name, orders):
    made = [[c.name for c in key] for key in keys(sa_table(name))]
    assert [order for order in orders if not any(key[: len(order)] == list(order) for key in made)] == []


def test_every_catalog_list_is_ordered_by_its_folded_name_or_its_position():
    named = [n for n in ASKED[Zone.CENTRAL, GLOBAL] if "name_key" in sa_table(n).columns]
    assert len(named) == len(ASKED[Zone.CENTRAL, GLOBAL]) - 1  # discounts have no name
    for name in named:
        assert ["name_key", "id"] in [[c.name for c in key] for key in keys(sa_table(name))], name


def test_every_text_has_a_collation_of_our_own():
    plain = [
        (name, column.name)
        for name in EVERY
        for column in sa_table(name).columns
        if isinstance(column.type, sa.types.String)  # Text and Enum are kinds of it; ours wrap one and are none
    ]
    assert plain == []


def test_names_and_keys_fit_every_engine():
    for name in EVERY:
        table = sa_table(name)
        made = {str(c.name) for c in table.constraints if c.name} | {str(i.name) for i in table.indexes}
        assert [each for each in {name, *made} if len(each) > NAME_CHARACTERS_MAX] == []
        for key in keys(table):
            assert sum(_bytes(column) for column in key) <= KEY_BYTES_MAX, (name, [c.name for c in key])


def test_every_enum_member_is_called_what_it_means():
    found = {c.type.kind for n in EVERY for c in sa_table(n).columns if isinstance(c.type, Word)}
    assert len(found) > 10
    for kind in found:
        assert kind is not None
        assert issubclass(kind, enum.Enum)
        assert [m for m in kind if m.name != m.value or len(m.name) > 32] == [], kind


def test_both_zones_hold_only_their_own_tables():
    assert set(CentralBase.metadata.tables) == {t.__tablename__ for t in tables(Zone.CENTRAL)}
    assert set(PoolBase.metadata.tables) == set(POOL)


def _bytes(column: sa.Column) -> int:
    kind = column.type
    if isinstance(kind, Line):
        return kind.length * 4
    if isinstance(kind, Exact):
        return kind.length
    return 32 if isinstance(kind, Word) else 8
