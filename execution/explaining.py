"""Every statement that a plan may send, without sending any: for `atrium explain` and the proof of isolation.

The plan is run as ever, but whatever is asked is answered with one made-up row, so that every step comes to its
statement, also where the tables are empty. Functions of mutations are not called, nor is anything else that writes:
a function that asks a database for itself is told so, and its field is read as if it had no condition of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any, NoReturn

import sqlalchemy as sa
from graphql.execution.values import VariableValues

from base import errors
from base.ids import Id
from db.tables.central.identity import AccessToken, User
from db.zones import TenantId
from execution import snapshot
from execution.declare import NODES, Read, Table
from execution.emit import emitter
from execution.layout import Layout, Load, Selected
from execution.levels import starts_of
from execution.page import Displays
from execution.run import Run
from execution.sending import TEXTS, Given, Make, Statement, Tuples
from execution.steps import AnyNode, Called, Column, Nested, Page, Plan, RootStep, View
from tenancy.context import Context
from tenancy.directory import Route
from tenancy.viewer import Viewer

SOMEBODY = 1
ABILITIES = frozenset({"*"})


class Unasked(Exception):
    """A function asks a database for itself; nobody does that for an explanation."""


class _Dry(Context):
    """A request on which no action runs."""

    __slots__ = ()

    async def on_central(self, *_: object, **__: object) -> NoReturn:
        raise Unasked

    on_system = on_pool = found = deliver = on_central


def context_of(ctx: Context, route: Route | None) -> Context:
    """Some member of the route's tenant, of all abilities, who can have nothing done."""
    tenant = TenantId("") if route is None else route.tenant_id
    viewer = Viewer(Id[User](SOMEBODY), tenant, Id[AccessToken](SOMEBODY), ABILITIES, is_staff=True, is_member=True)
    given = {field.name: getattr(ctx, field.name) for field in dataclasses.fields(Context)}
    return _Dry(**{**given, "route": route, "viewer": viewer})


class Explaining(Run):
    """A run that sends nothing and shows nothing; its journal has what a real one might send."""

    def __init__(self, ctx: Context, variables: VariableValues) -> None:
        super().__init__(ctx, variables)
        self._catalog = snapshot.Version()  # what is made up is remembered by nobody
        self.code: list[str] = []  # the generated functions that were met

    async def statements(self, plan: Plan) -> list[Statement]:
        """The statements of every step, each text once, in the order in which they would be sent."""
        for step in plan.steps:
            await self._explained(step)
        texts: dict[str, Statement] = {}
        for each in self.journal.sent:
            texts.setdefault(each.text.sql, each)
        return list(texts.values())

    async def _explained(self, step: RootStep) -> None:
        if isinstance(step.answer, AnyNode):
            await self._of_every_type(step.answer)
            return
        read = await self._read_of(step)
        for answer in _views(step):
            if isinstance(answer, Page):
                found = read or Read(answer.node.cls, "page", order=("-id",))
                stand = self.stand_at_root(answer, found)
                rows, _ = await self.page(answer, found, stand)
                await self.shown_by(stand.layout, answer.views, rows)
            else:
                await self.read(answer, read or Read(answer.node.cls, "one", order=("id",), limit=1))

    async def _of_every_type(self, answer: AnyNode) -> None:
        for node in NODES.values():
            with contextlib.suppress(errors.TenantRequired):  # whose rows are not to be had on this host
                await self.read(answer.view(node), Read(node.cls, "one", order=("id",), limit=1))

    async def _read_of(self, step: RootStep) -> Read | None:
        """What a query's function returns, where it can be had without asking any database."""
        if step.call.root.kind != "query":
            return None
        try:
            value = await self.called(step)
        except Exception:  # whatever it is that nobody may do for an explanation
            return None
        return value if isinstance(value, Read) else None

    def asking(
        self, table: Table, make: Make, arguments: Given, values: dict[str, Any], /, *, where: tuple[Any, ...] = ()
    ) -> Statement:
        """A statement that is answered with one made-up row; it goes into the journal."""
        who = self.seen(table)
        named = {**who.values, **values}
        text, given = TEXTS.of(who.database.reader.dialect, make, arguments, named=named, where=where)
        rows = _made_up(table, arguments, named)
        asked = Statement(table, who, text, text.values(named, given), outcome=rows)
        self.journal.sent.append(asked)
        return asked

    async def shown_by(self, layout: Layout, views: Any, rows: Tuples) -> list[Displays]:
        """Nothing is shown: a made-up value fits no type."""
        dialect = self.seen(layout.root.node.table).database.reader.dialect
        for place, loads in enumerate(layout.loads):
            self.code += emitter(layout, views, place, dialect=dialect).source.splitlines()
            for load in loads:
                starts = starts_of(load, rows)
                if isinstance(load.below, Called):
                    await self._called_for(load, load.below, starts[0])
                elif isinstance(load.below, Column):
                    with contextlib.suppress(LookupError, ValueError):  # a made-up value is no word
                        await self.values(load.below, starts)
                elif isinstance(load.below, Nested):
                    await self._pages_for(load.below, starts)
                else:
                    await self.load(load, starts)
        return [[{} for _ in rows] for _ in views]

    async def _pages_for(self, below: Nested, parents: list[Any]) -> None:
        stand = self.stand_of(below)
        groups, _ = await self.pages(below, stand, parents)
        await self.shown_by(stand.layout, below.page.views, [row for rows in groups.values() for row in rows])

    async def _called_for(self, load: Load, below: Called, start: tuple[Any, ...]) -> None:
        if isinstance(below.made, View):
            # An exception, whatever the function makes of made-up columns, is no read either.
            read = (await self.called_for(load, [start]))[start]
            if not isinstance(read, Read):
                read = Read(below.made.node.cls, "one", order=("id",), limit=1)
            await self.read(below.made, read)

    def spend(self, objects: int) -> None:
        """What is made up costs nothing."""


def _views(step: RootStep) -> Iterator[Page | View]:
    answer = step.answer
    if isinstance(answer, Page | View):
        yield answer
    elif not isinstance(answer, AnyNode):
        yield from (part.made for part in answer.shown if isinstance(part.made, View))


def _made_up(table: Table, arguments: Given, named: dict[str, Any]) -> Tuples:
    """One row as the statement of these arguments would bring it, its parent's value first where it has one."""
    parents = [value for name, value in named.items() if name.startswith("at_parent")]
    parents = parents or list(named.get("at_ids") or named.get("at_every") or ())
    what = next((each for each in arguments if isinstance(each, Selected)), None)
    if what is None:
        return [(parent, SOMEBODY) for parent in dict.fromkeys(parents)] or [(SOMEBODY,)]
    row = tuple(_values(table, what))
    if parents and "at_limit" in named:
        return [(parents[0], *row)]
    return [row]


def _values(table: Table, what: Selected) -> Iterator[Any]:
    for key in what.keys:
        kind: sa.types.TypeEngine[Any] = getattr(table, key).type
        yield SOMEBODY if isinstance(kind, sa.Integer) else "made up"
    for join in what.joins:
        yield from _values(join.table, join.selected)
