"""What the guard lets through: what SQLAlchemy writes for three kinds of databases, for each scope and permit.

Attacks are in `test_guard_attacks.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.dialects.mysql import aiomysql
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, aliased, mapped_column, with_loader_criteria

from db import guard as guards
from db.guard import Guard, GuardError, Permit, Rule
from db.zones import Scope, Zone

RULES = {
    "videos": Rule(Scope.USER_PRIVATE, Zone.POOL, "tenant_id", "user_id"),
    "wallets": Rule(Scope.TENANT, Zone.POOL, "tenant_id"),
    "outbox": Rule(Scope.INFRA, Zone.POOL, "tenant_id", swept=True),
    "pool_identity": Rule(Scope.INFRA, Zone.POOL),
    "effects": Rule(Scope.GLOBAL, Zone.CENTRAL),
    "tenants": Rule(Scope.USER_SHARED, Zone.CENTRAL, "id", "user_id"),
    "gallery": Rule(Scope.USER_SHARED, Zone.CENTRAL, "tenant_id"),
    "users": Rule(Scope.USER_PRIVATE, Zone.CENTRAL, None, "id", ("email",)),
    "tokens": Rule(Scope.USER_PRIVATE, Zone.CENTRAL, "tenant_id", "user_id", ("id",)),
    "purchases": Rule(Scope.TENANT, Zone.CENTRAL, "tenant_id"),
    "jobs": Rule(Scope.INFRA, Zone.CENTRAL, "tenant_id"),
}
TENANT, VIEWER = "acme", 7
MEMBER, WORKER = Permit(tenant=TENANT, owner=VIEWER), Permit(tenant=TENANT)
SYSTEM, VISITOR, SWEEP = Permit(infra=True), Permit(), Permit(sweep=True)
DIALECTS = {"sqlite": sqlite.dialect(), "mariadb": aiomysql.dialect(), "postgresql": asyncpg.dialect()}


class Base(DeclarativeBase):
    pass


class Video(Base):
    __tablename__ = "videos"
    tenant_id: Mapped[str] = mapped_column(sa.String(63), primary_key=True)
    id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    user_id: Mapped[int] = mapped_column(sa.BigInteger)
    title: Mapped[str | None] = mapped_column(sa.String(200))
    tags: Mapped[list[str] | None] = mapped_column(sa.JSON)
    parent_id: Mapped[int | None] = mapped_column(sa.BigInteger)


class Wallet(Base):
    __tablename__ = "wallets"
    tenant_id: Mapped[str] = mapped_column(sa.String(63), primary_key=True)
    id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    balance: Mapped[int] = mapped_column(default=0)


class Effect(Base):
    __tablename__ = "effects"
    id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str | None] = mapped_column(sa.String(200))


MINE = Video.tenant_id == TENANT
MY_WALLET = Wallet.tenant_id == TENANT
W = aliased(Wallet)
V = aliased(Video, name="v")
BRANCH = sa.select(Video.id, Video.parent_id).where(MINE, Video.id == 1).cte("branch", recursive=True)
NEWEST = sa.select(Wallet.id).where(MY_WALLET, Wallet.id == Video.id).limit(2).lateral()

STATEMENTS: dict[str, sa.Executable] = {
    "select": sa.select(Video).where(MINE, Video.id == 3),
    "page": sa.select(Video.id).where(MINE).order_by(Video.id.desc()).limit(20).offset(5),
    "search": sa.select(Video.id).where(MINE, Video.title.contains("50%", autoescape=True)),
    "like or": sa.select(Video.id).where(sa.or_(Video.id == 1, Video.title == "OR"), MINE),
    "between": sa.select(Video.id).where(Video.id.between(1, 5), MINE, ~Video.id.between(3, 4)),
    "empty list": sa.select(Video.id).where(Video.id.in_([]), MINE),
    "list": sa.select(Video.id).where(Video.id.in_([1, 2, 3]), MINE),
    "keys": sa.select(Video.id).where(sa.tuple_(Video.tenant_id, Video.id).in_([(TENANT, 1), (TENANT, 2)]), MINE),
    "keyset": sa.select(Video.id).where(MINE, sa.tuple_(Video.title, Video.id) > ("a", 5)),
    "distinct from": sa.select(Video.id).where(Video.title.is_distinct_from("x"), MINE),
    "distinct": sa.select(Video.title).where(MINE).distinct(),
    "case": sa.select(sa.case((Video.id > 3, "big"), else_="small")).where(MINE),
    "json": sa.select(Video.tags[0].as_string()).where(MINE),
    "lock": sa.select(Video.id).where(MINE).with_for_update(of=Video, skip_locked=True),
    "share": sa.select(Video.id).where(MINE).with_for_update(read=True),
    "group": sa.select(Video.title, sa.func.count()).where(MINE).group_by(Video.title).having(sa.func.count() > 1),
    "count": sa.select(sa.func.count()).select_from(sa.select(Video.id).where(MINE).subquery()),
    "window": sa.select(sa.func.row_number().over(partition_by=Video.title, order_by=Video.id)).where(MINE),
    "join": sa.select(Video, Wallet).join(Wallet, sa.and_(MY_WALLET, Wallet.id == Video.id)).where(MINE),
    "join, both in where": sa.select(Video, Wallet).join(Wallet, Wallet.id == Video.id).where(MINE, MY_WALLET),
    "join the catalog": sa.select(Video.id, Effect.name).join(Effect, Effect.id == Video.id).where(MINE),
    "outer join": sa.select(Effect.id, Video.id).outerjoin(Video, sa.and_(Video.id == Effect.id, MINE)),
    "implicit from": sa.select(Video.id, Wallet.id).where(MINE, MY_WALLET),
    "alias": sa.select(Video.id, V.id).join(V, sa.and_(V.tenant_id == TENANT, V.id == Video.parent_id)).where(MINE),
    "exists": sa.select(Video.id).where(MINE, sa.exists().where(MY_WALLET, Wallet.id == Video.id)),
    "exists alone": sa.select(sa.exists().where(MINE)),
    "in a subquery": sa.select(Wallet.id).where(MY_WALLET, Wallet.id.in_(sa.select(Video.id).where(MINE))),
    "scalar subquery": sa.select(
        sa.select(sa.func.max(W.id)).where(W.tenant_id == TENANT).scalar_subquery(), Video.id
    ).where(MINE),
    "lateral": sa.select(Video.id, NEWEST.c.id).join(NEWEST, sa.true()).where(MINE),
    "cte": sa.select(sa.select(Video.id).where(MINE).cte("mine").c.id),
    "recursive": sa.select(
        BRANCH.union_all(
            sa.select(V.id, V.parent_id).join(BRANCH, V.parent_id == BRANCH.c.id).where(V.tenant_id == TENANT)
        ).c.id
    ),
    "union": sa.union_all(sa.select(Video.id).where(MINE), sa.select(Wallet.id).where(MY_WALLET)).order_by("id"),
    "union of pages": sa.union_all(
        sa.select(Video.id).where(MINE).limit(2), sa.select(Wallet.id).where(MY_WALLET).limit(2)
    ),
    "union in from": sa.select(sa.union(sa.select(Video.id).where(MINE), sa.select(Effect.id)).subquery().c.id),
    "update": sa.update(Video).where(MINE, Video.id == 1).values(title=Video.title + "x"),
    "update by subquery": sa.update(Wallet)
    .where(MY_WALLET, Wallet.id.in_(sa.select(Video.id).where(MINE)))
    .values(balance=3),
    "delete": sa.delete(Video).where(MINE, Video.id.in_([1, 2])),
    "insert": sa.insert(Wallet).values(tenant_id=TENANT, id=1),
    "insert rows": sa.insert(Wallet).values([{"tenant_id": TENANT, "id": 1}, {"tenant_id": TENANT, "id": 2}]),
    "insert from select": sa.insert(Wallet).from_select(
        ["tenant_id", "id", "balance"], sa.select(sa.literal(TENANT), Video.id, sa.literal(0)).where(MINE)
    ),
    "insert from union": sa.insert(Wallet).from_select(
        ["id", "tenant_id", "balance"],
        sa.union_all(
            sa.select(Video.id, sa.literal(TENANT).label("tenant_id"), sa.literal(0)).where(MINE),
            sa.select(Effect.id, sa.literal(TENANT), sa.literal(1)),
        ),
    ),
}
WRITES = ("update", "delete", "insert")


def written(statement: sa.Executable, dialect: str) -> tuple[str, tuple[Any, ...]]:
    """The text and the values that a driver of this dialect would be sent."""
    compiled: Any = statement.compile(dialect=DIALECTS[dialect], compile_kwargs={"render_postcompile": True})  # type: ignore[attr-defined]
    return str(compiled), tuple(compiled.params[name] for name in compiled.positiontup)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS.keys())
def test_what_sqlalchemy_writes_for_one_tenant_passes_for_that_tenant_alone(
    statement: sa.Executable, dialect: str
) -> None:
    guard = Guard(RULES)
    sql, values = written(statement, dialect)
    for _ in range(2):
        guard.check(sql, values, False, WORKER)
        with pytest.raises(GuardError, match="binds tenant 'acme'"):
            guard.check(sql, values, False, Permit(tenant="other"))
    for place, value in enumerate(values):
        if value == TENANT and "tenant_id, videos.id) IN" not in sql:
            with pytest.raises(GuardError):
                guard.check(sql, (*values[:place], "other", *values[place + 1 :]), False, WORKER)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS.keys())
def test_without_its_tenant_the_same_statement_is_refused(statement: sa.Executable, dialect: str) -> None:
    sql, values = written(statement, dialect)
    loose = (
        sql.replace(".tenant_id =", ".id =")
        .replace("(tenant_id, id", "(other_id, id")
        .replace("(id, tenant_id", "(id, other_id")
    )
    assert loose != sql
    with pytest.raises(GuardError):
        Guard(RULES).check(loose, values, False, WORKER)


def test_a_members_private_rows_need_the_member_too() -> None:
    guard = Guard(RULES)
    both = "SELECT id FROM videos WHERE videos.tenant_id = ? AND videos.user_id = ?"
    guard.check(both, (TENANT, VIEWER), False, MEMBER)
    for sql, values in (
        ("SELECT id FROM videos WHERE videos.tenant_id = ?", (TENANT,)),
        (both, (TENANT, 8)),
        (both, (TENANT, None)),
        ("SELECT id FROM videos WHERE videos.tenant_id = ? AND videos.user_id IN (?)", (TENANT, VIEWER)),
        ("UPDATE videos SET title = ? WHERE videos.tenant_id = ? AND videos.id = ?", ("x", TENANT, 1)),
        ("DELETE FROM videos WHERE videos.tenant_id = ? AND videos.id = ?", (TENANT, 1)),
        ("UPDATE videos SET user_id = ? WHERE videos.tenant_id = ? AND videos.user_id = ?", (8, TENANT, VIEWER)),
        ("INSERT INTO videos (tenant_id, id) VALUES (?, ?)", (TENANT, 1)),
        ("INSERT INTO videos (tenant_id, id, user_id) VALUES (?, ?, ?), (?, ?, ?)", (TENANT, 1, VIEWER, TENANT, 2, 8)),
    ):
        with pytest.raises(GuardError):
            guard.check(sql, values, False, MEMBER)
        if "user_id" not in sql:
            guard.check(sql, values, False, WORKER)
    guard.check("SELECT id FROM wallets WHERE wallets.tenant_id = ?", (TENANT,), False, MEMBER)


def test_a_flush_writes_private_rows_by_key_but_inserts_only_the_members_own() -> None:
    guard, flushing = Guard(RULES), Permit(tenant=TENANT, owner=VIEWER, flushing=True)
    guard.check(
        "UPDATE videos SET title=? WHERE videos.tenant_id = ? AND videos.id = ?", ("x", TENANT, 1), False, flushing
    )
    guard.check("DELETE FROM videos WHERE videos.tenant_id = ? AND videos.id = ?", (TENANT, 1), False, flushing)
    insert = "INSERT INTO videos (tenant_id, id, user_id) VALUES (?, ?, ?)"
    guard.check(insert, [(TENANT, 1, VIEWER), (TENANT, 2, VIEWER)], True, flushing)
    for sql, values, many in (
        (insert, [(TENANT, 1, VIEWER), (TENANT, 2, 8)], True),
        ("UPDATE videos SET title=? WHERE videos.id = ?", ("x", 1), False),
        ("SELECT id FROM videos WHERE videos.tenant_id = ?", (TENANT,), False),
    ):
        with pytest.raises(GuardError):
            guard.check(sql, values, many, flushing)


def test_an_upsert_changes_only_what_an_update_might() -> None:
    guard = Guard(RULES)
    start = "INSERT INTO videos (tenant_id, id, user_id) VALUES (?, ?, ?)"
    mine = (TENANT, 1, VIEWER)
    keyed = f"{start} ON CONFLICT (tenant_id, id) DO UPDATE SET title = excluded.title"
    guard.check(f"{start} ON CONFLICT (tenant_id, id) DO NOTHING", mine, False, MEMBER)
    guard.check(f"INSERT OR IGNORE{start.removeprefix('INSERT')}", mine, False, MEMBER)
    guard.check(f"{keyed} WHERE videos.user_id = ?", (*mine, VIEWER), False, MEMBER)
    guard.check(f"{start} ON CONFLICT (tenant_id, user_id) DO UPDATE SET title = ?", (*mine, "x"), False, MEMBER)
    guard.check(f"{start} ON DUPLICATE KEY UPDATE title = VALUES(title)", mine, False, WORKER)
    guard.check(f"{start} AS new ON DUPLICATE KEY UPDATE title = new.title", mine, False, WORKER)
    for sql, values in (
        (keyed, mine),
        (f"{keyed} WHERE videos.user_id = ?", (*mine, 8)),
        (f"{keyed} WHERE user_id = ?", (*mine, VIEWER)),
        (f"{start} ON DUPLICATE KEY UPDATE title = VALUES(title)", mine),
    ):
        with pytest.raises(GuardError):
            guard.check(sql, values, False, MEMBER)
    shared = "INSERT INTO gallery (tenant_id, id) VALUES (?, ?)"
    guard.check(f"{shared} ON CONFLICT (tenant_id, id) DO UPDATE SET title = ?", (TENANT, 1, "x"), False, WORKER)
    guard.check(f"{shared} ON DUPLICATE KEY UPDATE title = ?", (TENANT, 1, "x"), False, SYSTEM)
    with pytest.raises(GuardError, match="update first"):
        guard.check(f"{shared} ON DUPLICATE KEY UPDATE title = ?", (TENANT, 1, "x"), False, WORKER)


@pytest.mark.parametrize("insert", [sqlite.insert, postgresql.insert])
def test_sqlalchemys_upserts_are_read(insert: Callable[..., Any]) -> None:
    statement = insert(Video).values([{"tenant_id": TENANT, "id": n, "user_id": VIEWER} for n in (1, 2)])
    statement = statement.on_conflict_do_update(
        index_elements=["tenant_id", "id"], set_={"title": statement.excluded.title}, where=Video.user_id == VIEWER
    )
    dialect = "sqlite" if insert is sqlite.insert else "postgresql"
    Guard(RULES).check(*written(statement, dialect), False, MEMBER)


def test_sqlalchemys_upsert_for_mariadb_is_read() -> None:
    statement = mysql.insert(Wallet).values(tenant_id=TENANT, id=1)
    sql, values = written(statement.on_duplicate_key_update(balance=statement.inserted.balance), "mariadb")
    Guard(RULES).check(sql, values, False, MEMBER)


# Permit → statement and values that pass; the rest of the table below is refused for that permit.
CENTRAL: list[tuple[str, tuple[Any, ...], set[str]]] = [
    ("SELECT * FROM gallery", (), {"visitor", "member", "worker", "system"}),
    ("SELECT * FROM tenants JOIN gallery ON 1 = 1", (), {"visitor", "member", "worker", "system"}),
    ("UPDATE gallery SET title = ? WHERE gallery.tenant_id = ?", ("x", TENANT), {"member", "worker", "system"}),
    ("UPDATE gallery SET title = ? WHERE gallery.tenant_id = ?", ("x", "other"), {"system"}),
    ("UPDATE gallery SET title = ? WHERE gallery.id = ?", ("x", 1), set()),
    ("UPDATE gallery SET tenant_id = ? WHERE gallery.tenant_id = ?", (TENANT, TENANT), set()),
    ("DELETE FROM tenants WHERE tenants.id = ?", (TENANT,), {"member", "worker", "system"}),
    ("INSERT INTO tenants (id, user_id) VALUES (?, ?)", (TENANT, 1), {"member", "worker", "system"}),
    ("SELECT * FROM users WHERE users.id = ?", (VIEWER,), {"member", "system"}),
    ("SELECT * FROM users WHERE users.id = ?", (8,), {"system"}),
    ("SELECT * FROM users WHERE users.id = ?", (None,), set()),
    ("SELECT * FROM users WHERE users.email = ?", ("a@b",), {"visitor", "member", "worker", "system"}),
    ("SELECT * FROM users WHERE users.email IN (?, ?)", ("a@b", "c@d"), {"visitor", "member", "worker", "system"}),
    ("SELECT * FROM users WHERE users.email LIKE ?", ("%",), set()),
    ("SELECT * FROM users WHERE users.name = ?", ("x",), set()),
    ("UPDATE users SET name = ? WHERE users.id = ?", ("x", VIEWER), {"member", "system"}),
    ("UPDATE users SET id = ? WHERE users.id = ?", (8, VIEWER), set()),
    ("INSERT INTO users (id, email) VALUES (?, ?)", (8, "a@b"), {"system"}),
    ("INSERT INTO users (id, email) VALUES (?, ?)", (VIEWER, "a@b"), {"member", "system"}),
    ("SELECT * FROM tokens WHERE tokens.tenant_id = ?", (TENANT,), {"system"}),
    ("SELECT * FROM tokens WHERE tokens.id = ?", (5,), {"visitor", "member", "worker", "system"}),
    ("SELECT * FROM tokens WHERE tokens.user_id = ? AND tokens.tenant_id = ?", (VIEWER, TENANT), {"member", "system"}),
    ("INSERT INTO tokens (id, user_id, tenant_id) VALUES (?, ?, ?)", (1, VIEWER, TENANT), {"member", "system"}),
    ("INSERT INTO tokens (id, user_id, tenant_id) VALUES (?, ?, ?)", (1, VIEWER, "other"), {"system"}),
    ("INSERT INTO tokens (id, user_id, tenant_id) VALUES (?, ?, ?)", (1, 8, TENANT), {"system"}),
    ("SELECT * FROM purchases WHERE purchases.tenant_id = ?", (TENANT,), {"member", "worker", "system"}),
    ("SELECT * FROM purchases WHERE purchases.tenant_id = ?", ("other",), {"system"}),
    ("SELECT * FROM purchases WHERE purchases.tenant_id = ?", ("",), set()),
    ("SELECT * FROM purchases WHERE purchases.id = ?", (1,), set()),
    ("SELECT * FROM jobs", (), {"system"}),
    ("UPDATE jobs SET tenant_id = ?", (TENANT,), {"system"}),
    ("SELECT * FROM effects", (), {"visitor", "member", "worker", "system", "nobody", "sweep"}),
    ("DELETE FROM effects", (), {"visitor", "member", "worker", "system", "nobody", "sweep"}),
    ("SELECT * FROM pool_identity", (), {"visitor", "member", "worker", "system", "nobody", "sweep"}),
    ("UPDATE pool_identity SET name = ?", ("x",), {"system"}),
    ("SELECT * FROM outbox WHERE outbox.tenant_id = ?", (TENANT,), {"member", "worker"}),
    ("DELETE FROM outbox WHERE outbox.tenant_id = ? AND id = ?", (TENANT, 1), {"member", "worker"}),
]
PERMITS = {"visitor": VISITOR, "member": MEMBER, "worker": WORKER, "system": SYSTEM, "sweep": SWEEP, "nobody": None}


@pytest.mark.parametrize(("sql", "values", "allowed"), CENTRAL)
def test_each_scope_lets_its_own_permits_through_and_no_other(
    sql: str, values: tuple[Any, ...], allowed: set[str]
) -> None:
    guard, passed = Guard(RULES), set()
    for _ in range(2):
        for name, permit in PERMITS.items():
            try:
                guard.check(sql, values, False, permit)
            except GuardError:
                continue
            passed.add(name)
    assert passed == allowed


def test_a_system_session_that_has_been_narrowed_is_held_to_it() -> None:
    guard, permit = Guard(RULES), Permit(infra=True)
    sql = "SELECT * FROM purchases WHERE purchases.tenant_id = ?"
    guard.check(sql, ("other",), False, permit)
    permit.tenant = TENANT
    guard.check(sql, (TENANT,), False, permit)
    with pytest.raises(GuardError):
        guard.check(sql, ("other",), False, permit)


def test_a_sweep_reads_three_columns_of_a_swept_table_with_a_limit_and_nothing_else() -> None:
    guard, sweep = Guard(RULES), "SELECT outbox.tenant_id, outbox.id, outbox.created_at FROM outbox"
    table = sa.table("outbox", sa.column("tenant_id"), sa.column("id"), sa.column("created_at"))
    after = sa.or_(table.c.tenant_id > "a", sa.and_(table.c.tenant_id == "a", table.c.id > 3))
    look = sa.select(table).where(after).order_by(table.c.tenant_id, table.c.id).limit(1000)
    for dialect in DIALECTS:
        guard.check(*written(look, dialect), False, SWEEP)
    guard.check(f"{sweep} WHERE outbox.created_at < ? LIMIT 50", ("2026",), False, SWEEP)
    guard.check("SELECT DISTINCT tenant_id FROM outbox LIMIT ?", (10,), False, SWEEP)
    for sql, values in (
        (sweep, ()),
        (f"{sweep} LIMIT ?", (1001,)),
        (f"{sweep} LIMIT ?", (-1,)),
        (f"{sweep} LIMIT ?", (None,)),
        (f"{sweep} LIMIT ?", (True,)),
        (f"{sweep} LIMIT 1001", ()),
        (f"{sweep} LIMIT 10, 5000", ()),
        (f"{sweep} LIMIT 10 FOR UPDATE", ()),
        (f"{sweep} LIMIT ALL", ()),
        ("SELECT * FROM outbox LIMIT 10", ()),
        ("SELECT outbox.body AS id FROM outbox LIMIT 10", ()),
        ("SELECT outbox.id + outbox.body FROM outbox LIMIT 10", ()),
        ("SELECT outbox.id, (SELECT 1) FROM outbox LIMIT 10", ()),
        ("SELECT max(id) FROM outbox LIMIT 10", ()),
        (f"{sweep} UNION ALL {sweep} LIMIT 10", ()),
        (f"{sweep} JOIN outbox AS o ON 1 = 1 LIMIT 10", ()),
        ("SELECT videos.tenant_id FROM videos LIMIT 10", ()),
        ("DELETE FROM outbox WHERE outbox.tenant_id = ?", (TENANT,)),
        ("SELECT body FROM outbox WHERE outbox.tenant_id = ?", (TENANT,)),
    ):
        with pytest.raises(GuardError):
            guard.check(sql, values, False, SWEEP)


def test_the_engines_own_statements_and_limits_pass() -> None:
    guard = Guard(RULES)
    for sql in (
        "SAVEPOINT sa_savepoint_1",
        "ROLLBACK TO SAVEPOINT x",
        "RELEASE SAVEPOINT x",
        "BEGIN IMMEDIATE",
        "SELECT 1",
    ):
        guard.check(sql, (), False, None)
    guard.check("PRAGMA busy_timeout=50", (), False, None)
    mine = "SELECT id FROM wallets WHERE wallets.tenant_id = %s"
    guard.check(f"SET STATEMENT max_statement_time=1.5, lock_wait_timeout=2 FOR {mine}", (TENANT,), False, WORKER)
    guard.check("SELECT id FROM wallets WHERE wallets.tenant_id = %s LOCK IN SHARE MODE", (TENANT,), False, WORKER)
    guard.check("SELECT '%%' FROM wallets WHERE wallets.tenant_id = %s", (TENANT,), False, WORKER)
    guard.check("SELECT 'videos OR 1 = 1; --' FROM effects", (), False, None)


def test_a_refusal_names_the_statement_the_table_and_what_to_do() -> None:
    with pytest.raises(
        GuardError, match=r"SELECT \* FROM wallets WHERE.*wallets needs wallets\.tenant_id = <the tenant>"
    ):
        Guard(RULES).check("SELECT * FROM wallets WHERE id = ?", (1,), False, WORKER)
    with pytest.raises(GuardError, match="wallets needs a session"):
        Guard(RULES).check("SELECT * FROM wallets WHERE id = ?", (1,), False, None)


def test_values_that_do_not_fit_the_text_are_refused() -> None:
    sql = "SELECT * FROM wallets WHERE id = ? AND wallets.tenant_id = ?"
    for values in ((), (1,), {"tenant": TENANT}, None, [(1, TENANT)]):
        with pytest.raises(GuardError):
            Guard(RULES).check(sql, values, False, WORKER)


def test_verdicts_are_kept_up_to_a_bound_and_the_least_used_go_first() -> None:
    guard = Guard(RULES)
    texts = [f"SELECT {n} FROM wallets WHERE wallets.tenant_id = ?" for n in range(guards.VERDICTS_MAX + 10)]
    for sql in texts:
        guard.check(sql, (TENANT,), False, WORKER)
        guard.check(texts[0], (TENANT,), False, WORKER)
    assert len(guard._verdicts) == guards.VERDICTS_MAX
    assert texts[0] in guard._verdicts
    assert texts[1] not in guard._verdicts


@pytest.fixture
def engine() -> Iterator[sa.Engine]:
    made = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    Guard(RULES).install(made)
    with made.connect().execution_options(migrating=True) as connection:
        Base.metadata.create_all(connection)
        connection.commit()
    yield made
    made.dispose()


def test_an_engine_refuses_before_anything_is_sent(engine: sa.Engine) -> None:
    with engine.connect().execution_options(permit=WORKER) as connection:
        connection.execute(sa.insert(Wallet), [{"tenant_id": TENANT, "id": n} for n in (1, 2)])
        connection.commit()
        for statement in (
            sa.delete(Wallet),
            sa.text("DELETE FROM wallets"),
            sa.delete(Wallet).where(Wallet.tenant_id == "b"),
        ):
            with pytest.raises(GuardError):
                connection.execute(statement)
        with pytest.raises(GuardError):
            connection.exec_driver_sql("DELETE FROM wallets")
        with pytest.raises(GuardError):
            connection.execute(sa.insert(Wallet), [{"tenant_id": TENANT, "id": 3}, {"tenant_id": "b", "id": 4}])
        assert connection.scalar(sa.select(sa.func.count()).select_from(Wallet).where(MY_WALLET)) == 2
        hand = guards.raw("SELECT count(*) FROM wallets WHERE wallets.tenant_id = :tenant")
        assert connection.scalar(hand, {"tenant": TENANT}) == 2
    with engine.connect() as connection, pytest.raises(GuardError):
        connection.execute(sa.select(Wallet.id).where(MY_WALLET))


def test_the_orm_works_under_the_guard_and_its_bulk_ways_too(engine: sa.Engine) -> None:
    criteria = with_loader_criteria(Wallet, lambda cls: cls.tenant_id == TENANT, include_aliases=True)
    connection = engine.connect().execution_options(permit=WORKER)
    with connection, Session(connection) as session:
        session.add_all([Wallet(tenant_id=TENANT, id=n) for n in (1, 2, 3)])
        session.flush()
        found = session.get(Wallet, (TENANT, 1))
        assert found is not None
        found.balance = 5
        session.flush()
        session.refresh(found)
        session.execute(
            sa.update(Wallet),
            [{"tenant_id": TENANT, "id": 2, "balance": 9}, {"tenant_id": TENANT, "id": 3, "balance": 8}],
        )
        session.scalars(sa.insert(Wallet).returning(Wallet.id), [{"tenant_id": TENANT, "id": n} for n in (4, 5)]).all()
        assert session.scalars(sa.select(Wallet.balance).order_by(Wallet.id).options(criteria)).all() == [5, 9, 8, 0, 0]
        with session.begin_nested():
            session.delete(found)
        for wrong in (
            lambda: session.scalars(sa.select(Wallet)).all(),
            lambda: session.execute(
                sa.update(Wallet).values(balance=0), execution_options={"synchronize_session": False}
            ),
            lambda: session.execute(sa.update(Wallet), [{"tenant_id": "b", "id": 2, "balance": 0}]),
            lambda: session.scalars(
                sa.insert(Wallet).returning(Wallet.id), [{"tenant_id": "b", "id": 7}, {"tenant_id": TENANT, "id": 8}]
            ).all(),
            lambda: session.get(Wallet, ("b", 1)),
        ):
            with pytest.raises(GuardError):
                wrong()
        assert session.scalars(sa.select(Wallet.balance).order_by(Wallet.id).options(criteria)).all() == [9, 8, 0, 0]


def test_a_system_session_may_name_several_tenants_or_users_by_a_bound_list_and_nobody_else_may():
    guard = Guard(RULES)
    read = "SELECT purchases.id FROM purchases WHERE purchases.tenant_id IN (%s, %s) AND purchases.id = %s"
    change = "UPDATE purchases SET status = %s WHERE purchases.tenant_id IN (%s, %s)"
    users = "SELECT users.name FROM users WHERE users.id IN (%s, %s)"
    for sql, values in ((read, ("acme", "other", 1)), (change, ("PAID", "acme", "other")), (users, (7, 8))):
        guard.check(sql, values, False, SYSTEM)
        for permit in (Permit(tenant=TENANT, infra=True), MEMBER, WORKER, VISITOR, SWEEP, None):
            with pytest.raises(GuardError):
                guard.check(sql, values, False, permit)
    for sql in (
        "SELECT id FROM purchases WHERE purchases.tenant_id IN (%s) OR purchases.id = %s",
        "SELECT id FROM purchases WHERE purchases.tenant_id NOT IN (%s, %s)",
        "SELECT id FROM purchases WHERE purchases.tenant_id IN (SELECT tenant_id FROM jobs)",
        "SELECT wallets.id FROM wallets WHERE wallets.tenant_id IN (%s, %s)",
        "SELECT videos.id FROM videos WHERE videos.user_id IN (%s, %s)",
        "SELECT name FROM users WHERE users.id IN (%s) OR users.name = %s",
        "SELECT name FROM users WHERE users.id NOT IN (%s, %s)",
        "SELECT name FROM users WHERE users.id IN (SELECT user_id FROM jobs)",
    ):
        with pytest.raises(GuardError):
            guard.check(sql, ("acme", "other"), False, SYSTEM)
