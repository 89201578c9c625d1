"""`atrium explain`: the plan of an operation, the statements that it may send, and what it costs; nothing is run."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import commands

if TYPE_CHECKING:
    from graphql import OperationDefinitionNode
    from graphql.execution.values import VariableValues

    from execution.document import Document
    from execution.plans import Plans
    from execution.steps import Ready
    from tenancy.context import House

COST_LINES_MAX = 200


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain")(explain)


def explain(
    query: Annotated[str, typer.Argument(help="The operation, e.g. '{ effects { nodes { name } } }'.")],
    *,
    host: Annotated[str, typer.Option(help="A tenant's host, e.g. alice1.localhost; otherwise a central one.")] = "",
    variables: Annotated[str, typer.Option(help="Values as JSON, e.g. '{\"n\": 5}'.")] = "{}",
    code: Annotated[bool, typer.Option("--code", help="Also the code that turns rows into the answer.")] = False,
) -> None:
    """Print an operation's plan, its SQL and its cost."""
    try:
        given = json.loads(variables)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        commands.fail("--variables takes an object in JSON, e.g. '{\"n\": 5}'.", code=commands.MISUSED)
    for line in commands.run(commands.within(lambda house: explained(house, query, host, given=given, code=code))):
        typer.echo(line)


async def explained(house: House, query: str, host: str, /, *, given: dict[str, Any], code: bool = False) -> list[str]:
    """The lines of the explanation. Raises Denials; ends the command for a document that may not be run."""
    from execution import explaining
    from execution.document import Unfit
    from execution.library import Executor
    from execution.plans import Plans
    from resolvers import roots

    route = await house.directory.of_host(host) if host else None
    if host and route is None:
        commands.fail(f"{host} is no tenant's host. Next: atrium tenants list")
    ctx = explaining.context_of(house.system(), route)
    plans = Plans(Executor(roots.served()))
    try:
        document = await plans.document(ctx, query, variables=given)
        ready = await plans.ready(ctx, document, variables=given, operation_name=None)
    except Unfit as unfit:
        commands.fail(" ".join(error.message for error in unfit.errors))
    if ready is None:
        commands.fail("The operation does not take these variables, or there are several: give one.")
    operation = document.operation(None)
    lines = ["PLAN", *_plan(ready)]
    if ready.plan is not None:
        lines += await _statements(explaining.Explaining(ctx, ready.values), ready, code=code)
    return [*lines, "", "COST", *_cost(plans, document, operation, values=ready.values, ready=ready)]


def _plan(ready: Ready) -> list[str]:
    from execution import drawing

    return ["The library answers it."] if ready.plan is None else drawing.drawn(ready.plan).splitlines()


async def _statements(run: Any, ready: Ready, *, code: bool) -> list[str]:
    lines = ["", "SQL"]
    for sent in await run.statements(ready.plan):
        lines += [f"-- {sent.table.zone.value}, {sent.table.__tablename__}", f"{sent.text.sql};"]
    return [*lines, "", "CODE", *run.code] if code else lines


def _cost(
    plans: Plans,
    document: Document,
    operation: OperationDefinitionNode | None,
    /,
    *,
    values: VariableValues,
    ready: Ready,
) -> Iterator[str]:
    if operation is None:
        return
    for line in itertools.islice(plans.costs.lines(document.ast, operation, variables=values), COST_LINES_MAX):
        many = f" = {line.size} rows of {line.weight} and what is below" if line.size > 1 else ""
        yield f"{'  ' * (line.depth + 1)}{line.response}: {line.cost}{many}"
    yield f"{ready.cost.requested(values)} in all"
