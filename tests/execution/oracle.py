"""What a plan may answer: the library's data byte for byte, and errors that the specification allows in their places.

Where several places null the same parent, the specification (6.4.4) lets an executor tell one of them; so the
library is asked once more without propagation, which tells them all.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import graphql
import orjson
from graphql import DirectiveNode, DocumentNode, ExecutionResult, NameNode, OperationDefinitionNode
from graphql.type.directives import GraphQLDisableErrorPropagationDirective

from base import observe
from execution import library, response
from execution.library import ERRORS_MAX, Asking
from execution.plans import Plans
from tenancy.context import Context

ALL_ERRORS = DirectiveNode(name=NameNode(value=GraphQLDisableErrorPropagationDirective.name), arguments=())

Place = tuple[str | int, ...]
Told = tuple[Place, str, str]  # path, code, message


@dataclass
class Oracle:
    """Compares and counts: operations that ran, by who answered; those that were refused before they began."""

    executor: library.Executor
    plans: Plans = field(init=False)
    ran: int = 0
    refused: int = 0
    by: Counter[str] = field(default_factory=Counter)
    errors: int = 0
    distinct: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.plans = Plans(self.executor)

    async def compare(
        self, ctx: Context, query: str, *, operation_name: str | None = None, **variables: Any
    ) -> dict[str, Any]:
        """What was told, the same both ways. Raises AssertionError with the operation that differs."""
        asked = (query, variables)
        faults = observe.counts()["plan_failed"]
        mine = await self.plans.answer(ctx, query, variables=variables, operation_name=operation_name)
        theirs = await self.executor.execute(ctx, query, variables=variables, operation_name=operation_name)
        if isinstance(mine, bytes):
            assert theirs.errors is None, (asked, theirs.errors)
            assert mine == orjson.dumps({"data": theirs.data}), (asked, mine, theirs.data)
            assert observe.counts()["plan_failed"] == faults, asked
            self._count("plan", query, variables)
            return orjson.loads(mine)
        told, expected = response.content(mine, ctx.request_id), response.content(theirs, ctx.request_id)
        if not response.began(theirs) or not response.began(mine):
            assert "data" not in told, asked
            assert "data" not in expected, (asked, expected)
            # Where variables are wrong the library tells them before it tells what a plan may cost, and so do we.
            assert _all(told) == _all(expected), asked
            self.refused += 1
            return told
        assert orjson.dumps(told["data"]) == orjson.dumps(expected["data"]), (asked, told, expected)
        if mine.errors:
            self.errors += 1
            every = await everything_wrong(self.executor, ctx, query, variables=variables, name=operation_name)
            check(told, every, asked=asked)
            check(expected, every, asked=asked)
        self._count("errors" if mine.errors else "library", query, variables)
        return told

    def _count(self, who: str, query: str, variables: dict[str, Any]) -> None:
        self.ran += 1
        self.by[who] += 1
        self.distinct.add((query, repr(variables)))


async def everything_wrong(
    executor: library.Executor, ctx: Context, query: str, /, *, variables: dict[str, Any], name: str | None
) -> set[Told]:
    """The error of each place that has one, whatever became of the places around it. Raises Unfit."""
    answer = graphql.execute(
        executor.core,
        _telling_all(executor.documents.get(query).ast),
        context_value=Asking(ctx),
        variable_values=variables,
        operation_name=name,
    )
    result = answer if isinstance(answer, ExecutionResult) else await answer
    return {_told(response.formatted(error, ctx.request_id)) for error in result.errors or ()}


def check(told: dict[str, Any], every: set[Told], *, asked: object) -> None:
    """That each error may be told, once a place, and that none is missing whose null nobody else explains."""
    errors = [_told(error) for error in told["errors"]]
    places = [place for place, _, _ in errors]
    assert len(set(places)) == len(places), (asked, errors)
    assert set(errors) <= every, (asked, set(errors) - every, every)
    if len(errors) == ERRORS_MAX:
        return
    for place, _, _ in every - set(errors):
        nulled = _nulled(told["data"], place)
        assert nulled is not None, (asked, "a place is told as if it were right", place)
        assert any(other[: len(nulled)] == nulled for other in places), (asked, "nobody tells why it is null", nulled)


def _nulled(data: Any, place: Place) -> Place | None:
    """The beginning of the place where the answer has null; None where it has a value."""
    for at in range(len(place) + 1):
        if data is None:
            return place[:at]
        if at < len(place):
            data = data[place[at]]
    return None


def _told(error: dict[str, Any]) -> Told:
    return tuple(error.get("path") or ()), error["extensions"]["code"], error["message"]


def _all(told: dict[str, Any]) -> list[Told]:
    return sorted(_told(error) for error in told["errors"])


def _telling_all(document: DocumentNode) -> DocumentNode:
    definitions = [
        OperationDefinitionNode(
            operation=each.operation,
            name=each.name,
            variable_definitions=each.variable_definitions,
            directives=(*(each.directives or ()), ALL_ERRORS),
            selection_set=each.selection_set,
        )
        if isinstance(each, OperationDefinitionNode)
        else each
        for each in document.definitions
    ]
    return DocumentNode(definitions=tuple(definitions))
