"""Every step of every plan names the tenant on each pool table, and the owner on each private one.

The statements are taken apart by a reader that knows nothing of how they were made; plans are those of drawn
operations, of the golden ones, and of each field that there is. Each step comes to its statement, rows or none.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLNonNull, GraphQLObjectType, get_named_type, is_leaf_type

from base import errors
from db import sql_reader
from db.zones import Scope, TenantId, TenantState, Zone, tables
from execution import explaining, plans, shapes, statements
from execution.document import Unfit
from execution.steps import Unplannable
from tenancy.directory import Route
from tests.execution.operations import Operations
from tests.execution.stage import ALICE, POOL

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*/*.graphql"))
OPERATIONS = 120
COLUMNS = frozenset({"tenant_id", "user_id"})
POOL_TABLES = {table.__tablename__: table for table in tables(Zone.POOL)}
ROUTE = Route(TenantId("alice1"), TenantState.ACTIVE, POOL, 1)


def unscoped(sql: str, values: tuple[object, ...], *, tenant: str, owner: int | None) -> list[str]:
    """What is wrong with a statement: pool tables that it uses without the predicates that their scope asks for."""
    found = []
    for use in sql_reader.read(sql, dict.fromkeys(POOL_TABLES, COLUMNS)):
        if tenant not in {values[place] for place in use.equal.get("tenant_id", ())}:
            found.append(f"{use.table} without the tenant: {sql}")
        private = POOL_TABLES[use.table].scope is Scope.USER_PRIVATE
        if private and owner is not None and owner not in {values[place] for place in use.equal.get("user_id", ())}:
            found.append(f"{use.table} without the owner: {sql}")
    return found


async def steps_of(planned, stage, query: str, variables: dict[str, object] | None = None):
    """The statements of every step of an operation's plan; nothing where it has none."""
    ctx = explaining.context_of(stage.of(ALICE), ROUTE)
    try:
        document = await planned.document(ctx, query, variables=variables)
        ready = await planned.ready(ctx, document, variables=variables, operation_name=None)
    except (Unfit, Unplannable):
        return []
    if ready is None or ready.plan is None:
        return []
    run = explaining.Explaining(ctx, ready.values)
    with contextlib.suppress(errors.BadUserInput):  # a page that is too large goes no further
        await run.statements(ready.plan)
    return run.journal.sent


def everything(executor) -> list[str]:
    """One operation for each root field, two levels deep, and so one for nearly every relation."""

    def selection(kind: Any, depth: int) -> str:
        named = get_named_type(kind)
        if is_leaf_type(named):
            return ""
        if not isinstance(named, GraphQLObjectType):
            return "{ id }"
        parts = ["__typename"]
        for name, field in named.fields.items():
            inner = get_named_type(field.type)
            required = any(isinstance(each.type, GraphQLNonNull) for each in field.args.values())
            if not required and (is_leaf_type(inner) or depth > 0):
                parts.append(f"{name} {selection(inner, depth - 1)}")
        return "{ " + " ".join(parts) + " }"

    top = executor.core.query_type
    return [
        f"{{ {name} {selection(field.type, 3)} }}"
        for name, field in top.fields.items()
        if not any(isinstance(each.type, GraphQLNonNull) for each in field.args.values())
    ]


@pytest.fixture(scope="module")
def planned(executor) -> plans.Plans:
    return plans.Plans(executor)


@pytest.mark.parametrize("source", ["drawn", "golden", "every field"])
async def test_every_step_of_every_plan_names_tenant_and_owner_on_every_pool_table(
    any_stage, executor, planned, source
):
    drawn = Operations(executor.core, 11)
    operations = {
        "drawn": [drawn.query() for _ in range(OPERATIONS)],
        "golden": [path.read_text() for path in GOLDEN],
        "every field": everything(executor),
    }[source]
    pool_uses = 0
    for query in operations:
        for sent in await steps_of(planned, any_stage, query, {"yes": True}):
            assert unscoped(sent.text.sql, sent.values, tenant="alice1", owner=explaining.SOMEBODY) == [], query
            pool_uses += sent.table.zone is Zone.POOL
    assert pool_uses >= 10


async def test_a_worker_reads_without_owner_but_never_without_tenant(any_stage):
    for table in POOL_TABLES.values():
        if table.scope is Scope.INFRA:
            continue
        found = statements.mine(table, owned=False)
        assert [condition.left.key for condition in found] == ["tenant_id"], table


@pytest.mark.parametrize("taken", ["tenant_id", "user_id"])
async def test_the_proof_sees_a_predicate_that_is_missing(any_stage, executor, planned, monkeypatch, taken):
    query = "{ videos(first: 3) { nodes { title inputFile { name } aiJobs(first: 2) { nodes { status } } } } }"
    (videos, *_), before = await steps_of(planned, any_stage, query), statements.mine
    assert unscoped(videos.text.sql, videos.values, tenant="alice1", owner=explaining.SOMEBODY) == []
    assert unscoped(videos.text.sql, videos.values, tenant="bob2", owner=explaining.SOMEBODY)
    assert unscoped(videos.text.sql, videos.values, tenant="alice1", owner=77)

    def careless(table, **more):
        return [condition for condition in before(table, **more) if condition.left.key != taken]

    monkeypatch.setattr(statements, "mine", careless)
    monkeypatch.setattr(explaining, "TEXTS", shapes.Texts())
    for name in ("listed", "children", "children_lateral", "picked"):
        getattr(statements, name).cache_clear()
    bad = await steps_of(planned, any_stage, query)
    wrong = [each for sent in bad for each in unscoped(sent.text.sql, sent.values, tenant="alice1", owner=1)]
    assert {"videos", "ai_jobs", "files"} == {each.split()[0] for each in wrong}
    for name in ("listed", "children", "children_lateral", "picked"):
        getattr(statements, name).cache_clear()
