"""Answers operations by stages: document, plan, charge, fetch, emit. A plan is made once and run for every request.

Whatever a plan cannot answer, errors above all, the library answers (`execution/library.py`), by the same functions
and the same reads. How a plan is made is in `execution/plan.py`, how it runs in `execution/run.py`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

import orjson
from graphql import (
    ExecutionResult,
    GraphQLError,
    OperationDefinitionNode,
)
from graphql.execution.values import VariableValues

from base import errors, observe
from execution import introspection, library
from execution.amounts import OperationCost
from execution.cost import Costs
from execution.document import Budget, Document, Unfit, in_budget, too_dear
from execution.partial import Partial, forget
from execution.plan import Planner
from execution.response import began
from execution.run import Run
from execution.steps import Incomplete, Plan, Ready, RootStep, TooWide, Unplannable
from execution.variables import NONE, Variables
from execution.whole import Whole
from tenancy.budgets import COST_OF_REFUSAL
from tenancy.context import Context

# Of one document; which of them depends on what @skip and @include say.
PLANS_OF_A_DOCUMENT_MAX = 32
# What is dearer is hardly ever served, so that it is not planned either.
COST_PLANNED_MAX = 1_000_000

_BY_PLAN = observe.PLANNED.labels("planned")
_EXPECTED = (errors.AtriumError, GraphQLError, Incomplete)
Key = tuple[Any, ...]


class Plans:
    """The plans of one schema; they are kept with their documents."""

    def __init__(self, executor: library.Executor) -> None:
        self._executor = executor
        self._documents = executor.documents
        self.costs = Costs(executor.core)

    async def answer(
        self,
        ctx: Context,
        query: str | Document,
        *,
        variables: dict[str, Any] | None = None,
        operation_name: str | None = None,
        tells_cost: bool = False,
    ) -> bytes | ExecutionResult:
        """The whole body where all went well, else what the library says, with `extensions.cost` where it is told.

        Who has the document brings it: looked up twice, one that comes once would be taken for known. Raises
        RateLimited.
        """
        try:
            if isinstance(query, Document):
                document = query
            else:
                document = self._documents.known(query) or await self.document(
                    ctx, query, variables=variables, operation_name=operation_name
                )
            ready = document.ready.get(operation_name)
            if ready is None:
                ready = await self.ready(ctx, document, variables=variables, operation_name=operation_name)
            charge = await ctx.house.budgets.charge(ctx, _requested(ready))
        except Unfit as unfit:
            await ctx.house.budgets.charge(ctx, COST_OF_REFUSAL)
            return ExecutionResult(None, unfit.errors)
        except errors.CostLimitExceeded as denial:
            return denied(denial)
        try:
            said, run, data = await self._run(ctx, document, ready, variables=variables, operation_name=operation_name)
        except errors.RateLimited:
            charge.settle(COST_OF_REFUSAL)
            raise
        actual = COST_OF_REFUSAL
        if ready is not None and (isinstance(said, bytes) or began(said)):
            actual = ready.cost.actual(ready.values, data, None if run is None else run.written)
        charge.settle(actual)
        if not tells_cost:
            return said
        told = {"cost": charge.told(actual)}
        if isinstance(said, bytes):
            return said[:-1] + b',"extensions":' + orjson.dumps(told) + b"}"
        said.extensions = told
        return said

    def whole(
        self, ctx: Context, query: str, *, variables: dict[str, Any] | None = None, operation_name: str | None = None
    ) -> Whole | None:
        """The same body where all of it is known already, and is the same for everybody; None otherwise.

        Nothing is charged. Raises Denial.
        """
        document = self._documents.peek(query)
        if document is None:
            return None
        ready = document.ready.get(operation_name)
        if ready is None:
            try:
                found = self._asked(document, variables, operation_name)
            except Unfit:
                return None
            if found is None or found[2] not in document.plans:
                return None
            ready = Ready(document.plans[found[2]], found[1], document.costs[found[2]])
        plan = ready.plan
        if plan is None or not plan.is_everybodys:
            return None
        body, run, data = plan.body, None, None
        if body is None:
            run = Run(ctx, ready.values)
            data = _kept(run, plan)
            if data is None:
                return None
            body = b'{"data":' + orjson.dumps(data) + b"}"
        return Whole(
            body=body,
            operation_name=operation_name,
            accesses=tuple(step.call.root.access for step in plan.steps),
            requested=ready.cost.requested(ready.values),
            actual=ready.cost.actual(ready.values, data, None if run is None else run.written),
        )

    async def subscribe(
        self,
        ctx: Context,
        document: Document,
        *,
        variables: dict[str, Any] | None = None,
        operation_name: str | None = None,
    ) -> AsyncGenerator[ExecutionResult] | ExecutionResult:
        """The events of a subscription, or why there are none; each costs what it answers. Raises RateLimited."""
        budgets = ctx.house.budgets
        try:
            ready = await self.ready(ctx, document, variables=variables, operation_name=operation_name)
            charge = await budgets.charge(ctx, _requested(ready))
        except Unfit as unfit:
            await budgets.charge(ctx, COST_OF_REFUSAL)
            return ExecutionResult(None, unfit.errors)
        except errors.CostLimitExceeded as denial:
            return denied(denial)
        # Beginning costs as little as a refusal: it is the events that answer something.
        charge.settle(COST_OF_REFUSAL)
        found = await self._executor.subscribe(ctx, document, variables=variables, operation_name=operation_name)
        return found if isinstance(found, ExecutionResult) or ready is None else _each_spent(ctx, ready, found)

    def is_somebodys(self, query: str, *, operation_name: str | None) -> bool:
        """Whether it is known that no whole answer to an operation serves everybody."""
        document = self._documents.peek(query)
        ready = None if document is None else document.ready.get(operation_name)
        return ready is not None and ready.plan is not None and not ready.plan.is_everybodys

    async def traced(
        self, ctx: Context, query: str, *, variables: dict[str, Any] | None = None, operation_name: str | None = None
    ) -> tuple[bytes | ExecutionResult, list[str]]:
        """The answer with the statements that its plan has sent, charged to nobody: for commands and tests."""
        try:
            document = await self.document(ctx, query, variables=variables, operation_name=operation_name)
            ready = await self.ready(ctx, document, variables=variables, operation_name=operation_name)
        except Unfit as unfit:
            return ExecutionResult(None, unfit.errors), []
        said, run, _ = await self._run(ctx, document, ready, variables=variables, operation_name=operation_name)
        return said, [] if run is None else run.texts

    async def _run(
        self,
        ctx: Context,
        document: Document,
        ready: Ready | None,
        /,
        *,
        variables: dict[str, Any] | None,
        operation_name: str | None,
    ) -> tuple[bytes | ExecutionResult, Run | None, dict[str, Any] | None]:
        """The answer, the run of its plan, and the data."""
        answered: dict[str, object] = {}
        run: Run | None = None
        outcome = "unplanned"
        if ready is not None and ready.plan is not None:
            if ready.plan.body is not None:
                _BY_PLAN.value += 1
                return ready.plan.body, None, None
            run = Run(ctx, ready.values)
            try:
                data = await run.answered(ready.plan)
                body = b'{"data":' + orjson.dumps(data) + b"}"
                _BY_PLAN.value += 1
                return body, run, data
            except Exception as failure:
                outcome = "handed_over"
                unexpected = _unexpected(failure)
                if unexpected is not None:
                    observe.note(observe.Event.PLAN_FAILED, failure=unexpected, id=ctx.request_id)
                answered = await Partial(run).prepared(ready.plan)
        observe.PLANNED.labels(outcome).inc()
        said = await self._executor.execute(
            ctx, document, variables=variables, operation_name=operation_name, answered=answered
        )
        answered.clear()
        if run is not None:
            forget(run)
        if ready is not None and run is None:
            self._keep(document, operation_name, ready, said)
        return said, run, said.data

    def _keep(self, document: Document, operation_name: str | None, ready: Ready, said: ExecutionResult, /) -> None:
        """Remember what was said of the schema: it hangs on nothing but the document."""
        if ready.values is not NONE or said.errors or not introspection.alone(document, operation_name):
            return
        body = orjson.dumps({"data": said.data})
        document.ready[operation_name] = Ready(Plan("query", [], body=body), NONE, ready.cost)
        self._documents.grew(document, len(body))

    async def opened(
        self, ctx: Context, query: str, *, variables: dict[str, Any] | None = None, operation_name: str | None = None
    ) -> Document | ExecutionResult:
        """The document of a text, or why it is none, which is charged. Raises RateLimited."""
        try:
            return await self.document(ctx, query, variables=variables, operation_name=operation_name)
        except Unfit as unfit:
            await ctx.house.budgets.charge(ctx, COST_OF_REFUSAL)
            return ExecutionResult(None, unfit.errors)

    async def document(
        self, ctx: Context, query: str, *, variables: dict[str, Any] | None = None, operation_name: str | None = None
    ) -> Document:
        """The document of a text; a new one comes back from the planning thread with the plan that is asked for.

        Raises Unfit, RateLimited.
        """
        document = self._documents.known(query)
        if document is None:
            first = partial(self._plan_first, variables=variables, operation_name=operation_name)
            document = await self._documents.read(query, ctx.address, first)
        return document

    async def ready(
        self, ctx: Context, document: Document, *, variables: dict[str, Any] | None, operation_name: str | None
    ) -> Ready | None:
        """Plan, variables and cost; None where the library shall say what is wrong. Raises Unfit, RateLimited."""
        found = self._asked(document, variables, operation_name)
        if found is None:
            return None
        operation, values, key = found
        if key not in document.plans:
            work = partial(in_budget, partial(self._made, document, operation, values))
            made = await self._documents.work(ctx.address, work)
            if _remember(document, key, made):
                self._documents.planned(document, document.plans[key])
        _check(document.plans[key])
        ready = Ready(document.plans[key], values, document.costs[key])
        if values is NONE:
            document.ready[operation_name] = ready
        return ready

    def plan(self, query: str, *, variables: dict[str, Any] | None = None, operation_name: str | None = None) -> Plan:
        """The plan of an operation, made here and now where none is kept. Raises Unfit, Unplannable."""
        document = self._documents.get(query)
        found = self._asked(document, variables, operation_name)
        if found is not None and found[2] not in document.plans:
            in_budget(partial(self._plan_first, document, variables=variables, operation_name=operation_name))
        plan = None if found is None else document.plans[found[2]]
        if plan is None:
            raise Unplannable
        _check(plan)
        return plan

    def _plan_first(
        self,
        document: Document,
        budget: Budget,
        *,
        variables: dict[str, Any] | None,
        operation_name: str | None,
    ) -> None:
        try:
            found = self._asked(document, variables, operation_name)
        except Unfit:  # told with each request: it says nothing of the document
            return
        if found is not None:
            operation, values, key = found
            _remember(document, key, self._made(document, operation, values, budget))

    def _asked(
        self, document: Document, variables: dict[str, Any] | None, operation_name: str | None
    ) -> tuple[OperationDefinitionNode, VariableValues, Key] | None:
        """What is to be run, with which values, and under which key its plan is kept; None where that is wrong.

        Raises Unfit where the variables hold more than is looked at.
        """
        operation = document.operation(operation_name)
        if operation is None:
            return None
        known = document.variables.get(operation_name)
        if known is None:
            known = document.variables[operation_name] = Variables(
                self._executor.core, operation.variable_definitions or (), limits=self._documents.limits
            )
        too_much = known.too_much(variables) if variables else None
        if too_much is not None:
            raise Unfit([too_much])
        values = known.values(variables or {})
        if isinstance(values, list):
            return None
        if not document.conditions:
            return operation, values, (operation_name,)
        # Another operation of the document may have a variable of the same name and any type: it is no condition there.
        said = [values.coerced.get(name) for name in document.conditions]
        return operation, values, (operation_name, *[each if isinstance(each, bool) else None for each in said])

    def _made(
        self,
        document: Document,
        operation: OperationDefinitionNode,
        values: VariableValues,
        budget: Budget,
        /,
    ) -> tuple[Plan | None, OperationCost]:
        """The plan of an operation, None where it has none, and its cost; on the planning thread. Raises Unfit."""
        tick = budget.tick
        cost = self.costs.of(document.ast, operation, variables=values, tick=tick)
        if cost.fixed is not None and cost.fixed > COST_PLANNED_MAX:
            return None, cost
        try:
            return Planner(self._executor.schema, document.ast, operation, variables=values, tick=tick).plan(), cost
        except (Unplannable, GraphQLError):
            return None, cost
        except TooWide as wide:
            return Plan(operation.operation.value, [], refusal=str(wide)), cost


def _check(plan: Plan | None) -> None:
    if plan is not None and plan.refusal is not None:
        raise too_dear(plan.refusal)


def _kept(run: Run, plan: Plan) -> dict[str, Any] | None:
    """The answer's data, its fields in the document's order, where each is kept for everybody; None otherwise."""
    shown: dict[str, Any] = {}
    for each in plan.roots:
        if isinstance(each, RootStep):
            shown[each.response] = kept = run._kept(each)  # noqa: SLF001  (a run of our own)
            if kept is None:
                return None
        else:
            shown[each[0]] = each[1]
    return shown


def denied(denial: errors.Denial) -> ExecutionResult:
    """A denial as an answer, with its `extensions.cost`."""
    told = None if denial.cost is None else {"cost": dict(denial.cost)}
    return ExecutionResult(None, [GraphQLError(denial.message, original_error=denial)], extensions=told)


def _requested(ready: Ready | None) -> int:
    return COST_OF_REFUSAL if ready is None else ready.cost.requested(ready.values)


async def _each_spent(
    ctx: Context, ready: Ready, results: AsyncGenerator[ExecutionResult]
) -> AsyncGenerator[ExecutionResult]:
    async with aclosing(results) as events:
        async for result in events:
            ctx.house.budgets.spend(ctx, ready.cost.actual(ready.values, result.data))
            yield result


def _remember(document: Document, key: Key, made: tuple[Plan | None, OperationCost]) -> bool:
    """Whether the document has more plans than before."""
    before = len(document.plans)
    document.plans[key], document.costs[key] = made
    if len(document.plans) > PLANS_OF_A_DOCUMENT_MAX:
        oldest = next(iter(document.plans))
        del document.plans[oldest], document.costs[oldest]
        document.ready.pop(oldest[0], None)
    return len(document.plans) > before


def _unexpected(failure: BaseException) -> BaseException | None:
    """The first fault of our own among what went wrong, if there is one."""
    if isinstance(failure, BaseExceptionGroup):
        return next((found for each in failure.exceptions if (found := _unexpected(each)) is not None), None)
    return None if isinstance(failure, _EXPECTED) else failure
