"""The library's executor over our declarations: the oracle of the planned one, and its fallback.

Which rows a level needs is read by `execution/selection.py` and fetched by `execution/prefetch.py`;
here a read becomes rows, a field becomes a resolver, and an operation is run.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from types import CoroutineType
from typing import Any, TypeGuard, cast

import strawberry
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLResolveInfo,
    GraphQLSchema,
    OperationType,
)
from graphql import execute as run
from graphql import subscribe as stream

from base import errors
from base.settings import LIMITS, Limits
from execution import fetch, introspection, prefetch
from execution.declare import Column, Computed, NodeInfo, Read, node_of
from execution.document import Document, Unfit
from execution.documents import Documents
from execution.keyset import FIRST_MAX
from execution.prefetch import Allowance, Asker, Paging
from execution.rows import Connected, Failed, Row
from execution.selection import Selection
from execution.turns import InTurns
from tenancy.context import Context, with_viewer
from tenancy.viewer import Viewer

ERRORS_MAX = 20

Info = GraphQLResolveInfo[Any]


class Asking:
    """What the library carries through one operation: the request's Context, as whom the field at hand acts, and
    how much may still be answered.
    """

    __slots__ = ("allowance", "answered", "ctx", "original")

    def __init__(self, ctx: Context, answered: Mapping[str, object] | None = None) -> None:
        self.original = ctx
        self.ctx = ctx
        self.answered = answered or {}
        self.allowance = Allowance()


def context_of(info: Info) -> Context:
    """The request's Context, with the viewer that `act_as` gave it."""
    asking: Asking = info.context
    return asking.ctx


def act_as(info: Info, viewer: Viewer | None) -> None:
    """From here on the operation acts as this viewer; None: as the one it came with."""
    asking: Asking = info.context
    asking.ctx = asking.original if viewer is None else with_viewer(asking.original, viewer)


def answered(info: Info) -> object:
    """What the root field at hand has answered before this run, an exception among them; NotImplemented: nothing."""
    asking: Asking = info.context
    return asking.answered.get(str(info.path.key), NotImplemented) if info.path.prev is None else NotImplemented


def type_of(row: object) -> str:
    """The GraphQL name of a row's node."""
    if not isinstance(row, Row):
        raise TypeError(f"{type(row).__name__} is no row of a node")
    return row.node.name


async def resolve(read: Read, info: Info) -> Row | list[Row] | Connected | None:
    """Answer a read for the field at hand, with everything that the operation asks below it.

    "page" answers a connection, "rows" a list, "one" a row or None, "the" a row. Raises Denials
    (BadUserInput naming first or after), and LookupError where "the" row is not there.
    """
    asking: Asking = info.context
    # Every event of a stream is an answer of its own.
    streams = info.operation.operation is OperationType.SUBSCRIPTION
    asker = Asker(asking.ctx, Allowance() if streams else asking.allowance)
    if read.kind == "page":
        return await _page(asker, read, info)
    wanted = Selection(info).of_rows(node_of(read.node), info.field_nodes)
    if read.values is not None:
        rows = [Row(wanted.node, fetch.seen(asker.ctx, wanted.node.table).prefix(wanted.node.table), dict(read.values))]
    else:
        rows = await fetch.rows(asker.ctx, read, keys=wanted.keys)
    await prefetch.fill(asker, wanted, rows)
    if read.kind == "rows":
        return rows
    if not rows and read.kind == "the":
        raise LookupError(f"the one {wanted.node.name} that is always there is not")
    return rows[0] if rows else None


async def _page(asker: Asker, read: Read, info: Info) -> Connected:
    node, selection = node_of(read.node), Selection(info)
    given = selection.arguments(info.parent_type.fields[info.field_name], info.field_nodes[0])
    paging = Paging(
        asker.ctx,
        node,
        order=read.order,
        place=f"{info.parent_type.name}.{info.field_name}",
        arguments={**given, "first": read.first, "after": read.after},
        most=FIRST_MAX,
    )
    wanted = selection.of_page(node, info.field_nodes)
    page = await fetch.page(
        asker.ctx,
        read,
        keys=paging.keys(wanted),
        window=paging.window,
        want_rows=wanted.has_rows,
        want_count=wanted.has_count,
    )
    await prefetch.fill(asker, wanted.rows, page.rows)
    return paging.connected(page, wanted)


def resolver_of(node: NodeInfo, name: str) -> Callable[..., Any]:
    """The resolver of a node's field (`name` in Python, "id" included): reads what is on the row, awaits nothing.

    A computed field that answers a read is the exception: that read is answered there and then.
    """
    declared = node.fields.get(name)
    if declared is None:
        return _global_id
    if isinstance(declared, Column):
        return _column(declared.key)
    if isinstance(declared, Computed):
        return _computed(declared)
    return _related


def _global_id(row: Row, _info: Info) -> str:
    return row.id


def _column(key: str) -> Callable[..., Any]:
    def read(row: Row, _info: Info) -> object:
        return row.values[key]

    return read


def _computed(how: Computed) -> Callable[..., Any]:
    def compute(row: Row, info: Info) -> object:
        if id(info.field_nodes[0]) in row.related:
            found = _related(row, info)  # called before, by a plan or for all rows at once
        else:
            found = how.bound(context_of(info))(*(_sound(row.values[key]) for key in how.needs))
        if how.awaited and isinstance(found, CoroutineType):
            return _awaited(found, info)
        return resolve(found, info) if isinstance(found, Read) else found

    return compute


async def _awaited(answer: Awaitable[object], info: Info) -> object:
    found = await answer
    return await resolve(found, info) if isinstance(found, Read) else found


def _sound(value: object) -> object:
    """A column's value. Raises where it is none of its type."""
    if isinstance(value, Exception):
        raise value
    return value


def _related(row: Row, info: Info, **_arguments: object) -> object:
    # The arguments were read with the selection, before the first row was fetched.
    found = row.related[id(info.field_nodes[0])]
    if isinstance(found, Failed):
        # One error, many fields: each tells where it began, not where the others raised it before.
        raise found.error.with_traceback(found.trace)
    return found


class Executor:
    """Runs operations against the served schema; documents are parsed and validated once and kept."""

    def __init__(self, schema: strawberry.Schema, *, introspection: bool = True, limits: Limits = LIMITS) -> None:
        """`introspection=False` refuses it, and tells no names in messages."""
        self._schema = schema
        self._graphql: GraphQLSchema = schema._schema  # noqa: SLF001  (the library shows its core schema nowhere else)
        self.documents = Documents(self._graphql, introspection=introspection, limits=limits)
        self._hides = not introspection

    def sdl(self) -> str:
        """The served schema as SDL."""
        return self._schema.as_str().strip() + "\n"

    @property
    def schema(self) -> strawberry.Schema:
        """The served schema."""
        return self._schema

    @property
    def core(self) -> GraphQLSchema:
        """The same as graphql-core has it."""
        return self._graphql

    async def execute(
        self,
        ctx: Context,
        query: str | Document,
        *,
        variables: dict[str, Any] | None = None,
        operation_name: str | None = None,
        answered: Mapping[str, object] | None = None,
    ) -> ExecutionResult:
        """Run a query or a mutation: what is wrong is in `errors`, at most 20 of them.

        A text that is new is read here and now; requests bring the document that the planning thread has read.

        `answered` holds by response name what functions of root fields have returned already, or raised: they are
        not called again.

        Errors of the request itself carry `extensions.code`; those of fields keep what was raised as `original_error`.

        What asks about the schema alone takes as long as a thousand other operations: of a document that requests
        bring it is answered on the planning thread, and where that has no place RateLimited is raised.
        """
        if isinstance(query, Document) and introspection.alone(query, operation_name):
            return await self.documents.work(
                ctx.address, partial(self._about_the_schema, query, variables, operation_name)
            )
        try:
            answer = run(
                self._graphql,
                self._document(query),
                context_value=Asking(ctx, answered),
                variable_values=variables,
                operation_name=operation_name,
                executor_class=InTurns,
                hide_suggestions=self._hides,
                is_awaitable=_is_awaitable,
            )
        except Unfit as unfit:
            return ExecutionResult(None, unfit.errors)
        return _told(answer if isinstance(answer, ExecutionResult) else await answer)

    async def subscribe(
        self,
        ctx: Context,
        query: str | Document,
        *,
        variables: dict[str, Any] | None = None,
        operation_name: str | None = None,
    ) -> AsyncGenerator[ExecutionResult] | ExecutionResult:
        """The results of a subscription, one an event, or the one result that says why there are none."""
        try:
            answer = stream(
                self._graphql,
                self._document(query),
                context_value=Asking(ctx),
                variable_values=variables,
                operation_name=operation_name,
                executor_class=InTurns,
                hide_suggestions=self._hides,
            )
        except Unfit as unfit:
            return ExecutionResult(None, unfit.errors)
        except GraphQLError as error:
            return _told(ExecutionResult(None, [error]))
        found = await answer if inspect.isawaitable(answer) else answer
        return _told(found) if isinstance(found, ExecutionResult) else _each_told(found)

    def _about_the_schema(
        self, document: Document, variables: dict[str, Any] | None, operation_name: str | None, /
    ) -> ExecutionResult:
        answer = run(
            self._graphql,
            document.ast,
            variable_values=variables,
            operation_name=operation_name,
            hide_suggestions=self._hides,
            is_awaitable=_is_awaitable,
        )
        # Nothing about the schema is waited for.
        return _told(cast("ExecutionResult", answer))

    def _document(self, query: str | Document) -> DocumentNode:
        return (self.documents.get(query) if isinstance(query, str) else query).ast


def _is_awaitable(value: object) -> TypeGuard[Awaitable[Any]]:
    # The library asks this of every value; our resolvers answer nothing else that could be awaited.
    return isinstance(value, CoroutineType | asyncio.Future)


async def _each_told(results: AsyncIterator[ExecutionResult]) -> AsyncGenerator[ExecutionResult]:
    try:
        async for result in results:
            yield _told(result)
    finally:
        if isinstance(results, AsyncGenerator):
            await results.aclose()


def _told(result: ExecutionResult) -> ExecutionResult:
    if result.errors:
        result.errors = result.errors[:ERRORS_MAX]
        for error in result.errors:
            # Its own way through the library tells nobody anything, and by it each error would hold the answer.
            error.__traceback__ = None
            # No path: the operation never began, since its name or its variables do not fit.
            if error.path is None and isinstance(error.original_error, GraphQLError | None):
                error.extensions = {"code": errors.BadUserInput.code, **(error.extensions or {})}
    return result
