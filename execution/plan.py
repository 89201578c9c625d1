"""Makes the plan of an operation: which levels it has, which columns each needs, what is shown in which order.

It is made once for a document, an operation's name and what its @skip and @include say. How it runs is in
`execution/run.py`; its parts are in `execution/steps.py`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import orjson
import strawberry
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLField,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    OperationDefinitionNode,
    VariableNode,
    get_argument_values,
    get_named_type,
    is_leaf_type,
)
from graphql.execution.values import VariableValues
from strawberry.types.arguments import convert_arguments
from strawberry.utils.str_converters import to_camel_case

from base.ids import GlobalId
from db.zones import Scope, Zone
from execution import calls, complete, hints
from execution.collect import Collector, Fields
from execution.declare import NODES as DECLARED
from execution.declare import Children, Column, Computed, Node, NodeInfo, Through, ToMany, ToOne, Values, node_of
from execution.selection import PAGES, RELATIONS_MAX, declared_by_name, parent_key
from execution.snapshot import is_shared, objects_of
from execution.steps import (
    AnyNode,
    Arguments,
    Called,
    Joined,
    Key,
    Leads,
    Lookup,
    Made,
    Nested,
    Page,
    Part,
    Payload,
    Plain,
    Plan,
    RootStep,
    Rows,
    Shown,
    TooWide,
    Typename,
    Unplannable,
    View,
)
from execution.steps import Column as ColumnStep
from execution.variables import has_variables

_WHOLE = (bool, int, float, str, enum.Enum)
JOINS_MAX = 6  # rows joined to one row
STEPS_MAX = 100
SHOWN_MAX = 5_000
# What every type has.
BARE = ("id", "__typename")


class Planner:
    """Plans one operation of a document."""

    def __init__(
        self,
        schema: strawberry.Schema,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        /,
        *,
        variables: VariableValues,
        tick: Callable[[], None] | None = None,
    ) -> None:
        """`variables` are coerced; of them only those in @skip and @include are looked at.

        `tick` is called for each selection that is looked at; it may raise to end the planning.
        """
        self._schema = schema
        self._graphql = schema._schema  # noqa: SLF001  (the library shows its core schema nowhere else)
        self._operation = operation
        fragments = {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}
        self._collector = Collector(self._graphql, fragments, variables, tick=tick)
        self._relations = 0
        self._steps = 0
        self._shown = 0

    def plan(self) -> Plan:
        """The plan. Raises Unplannable, TooWide."""
        kind = self._operation.operation.value
        top = self._graphql.get_root_type(self._operation.operation)
        if kind == "subscription" or top is None:
            raise Unplannable
        plan = Plan(kind, [])
        for response, same in self._collector.of_sets(top, self._operation.selection_set).items():
            name = same[0].name.value
            plan.roots.append((response, top.name) if name == "__typename" else self._root(top, response, same))
        plan.steps = [root for root in plan.roots if isinstance(root, RootStep)]
        if not plan.steps:
            plan.body = orjson.dumps({"data": dict(root for root in plan.roots if isinstance(root, tuple))})
        plan.shown = self._shown
        return plan

    def _root(self, top: GraphQLObjectType, response: str, same: Fields, /) -> RootStep:
        name = same[0].name.value
        call = calls.SERVED.get((top.name, name))
        if call is None:
            raise Unplannable
        self._relations = 0
        self._step()
        field = top.fields[name]
        arguments = self._arguments(field, same[0])
        answer, is_pure = self._answer(f"{top.name}.{name}", field, same=same, arguments=arguments), _is_pure(call)
        prepare = self._preparing(field)
        return RootStep(
            response,
            call,
            arguments,
            prepare,
            answer,
            nullable=not isinstance(field.type, GraphQLNonNull),
            ready=_ready(arguments, prepare),
            is_pure=is_pure,
            is_everybodys=is_pure and is_shared(answer),
        )

    def _preparing(self, field: GraphQLField) -> Callable[[dict[str, Any]], dict[str, Any]]:
        declared = field.extensions["strawberry-definition"]
        converter = self._schema.schema_converter
        return partial(
            convert_arguments,
            arguments=declared.arguments,
            scalar_registry=converter.scalar_registry,
            config=self._schema.config,
        )

    def _answer(
        self, place: str, field: GraphQLField, *, same: Fields, arguments: Arguments
    ) -> Page | View | Payload | AnyNode:
        named = get_named_type(field.type)
        if named.name in DECLARED:
            return self._view(DECLARED[named.name], same)
        if named.name == Node.__name__:
            return self._any_node(same)
        if not isinstance(named, GraphQLObjectType):
            raise Unplannable
        node = DECLARED.get(named.name.removesuffix("Connection"))
        if node is not None and named.name.endswith("Connection"):
            return self._page(node, same, place=place, arguments=arguments)
        return self._payload(named, same)

    # ---------------------------------------------------------------- what a type shows

    def _view(self, node: NodeInfo, same: Fields) -> View:
        view, names = View(node), declared_by_name(node)
        served = self._object(node.name)
        for response, fields in self._below(served, same).items():
            name = fields[0].name.value
            declared = names.get(name)
            if name == "__typename":
                view.shown.append(Typename(response, node.name))
            elif name == "id" and declared is None:
                view.shown.append(Key(response))
            elif isinstance(declared, Column):
                view.keys.add(declared.key)
                view.shown.append(Plain(response, declared.key, served.fields[name].type))
            elif isinstance(declared, Computed):
                view.keys.update(declared.needs)
                view.shown.append(self._computed(view, declared, fields=fields, response=response))
            elif declared is not None:
                self._lead(view, declared, fields=fields, response=response)
            else:
                raise Unplannable
        view.shared = objects_of(view)
        return view

    def _any_node(self, same: Fields) -> AnyNode:
        """The views of all types of which more than their ids is asked."""
        answer = AnyNode(partial(self._bare, same=same))
        for node in DECLARED.values():
            fields = self._below(self._object(node.name), same).values()
            if any(each[0].name.value not in BARE for each in fields):
                answer.views[node.name] = self._view(node, same)
        return answer

    def _bare(self, node: NodeInfo, same: Fields) -> View:
        """The view of a type of which nothing else is asked; its fields were gathered with the plan."""
        view = View(node)
        for response, fields in self._collector.below(self._object(node.name), same).items():
            is_name = fields[0].name.value == "__typename"
            view.shown.append(Typename(response, node.name) if is_name else Key(response))
        view.shared = objects_of(view)
        return view

    def _computed(self, view: View, how: Computed, *, fields: Fields, response: str) -> Shown:
        served = self._object(view.node.name).fields[fields[0].name.value].type
        named = get_named_type(served)
        is_read = named.name in DECLARED
        if is_read or how.is_ahead:
            self._step()
            made = self._view(DECLARED[named.name], fields) if is_read else self._completing(served, fields)
            view.below.append(Called(how, made))
            return Leads(response, len(view.below) - 1, how.needs, not isinstance(served, GraphQLNonNull), fields)
        return Made(response, how, served, self._completing(served, fields))

    def _lead(
        self, view: View, how: ToOne | ToMany | Children | Through | Values, *, fields: Fields, response: str
    ) -> None:
        self._step()
        self._relations += 1
        if self._relations > RELATIONS_MAX:
            raise Unplannable
        key, name = parent_key(view.node, how), fields[0].name.value
        field = self._object(view.node.name).fields[name]
        view.keys.add(key)
        if isinstance(how, Values):
            view.below.append(ColumnStep(how, self._completing(field.type, fields)))
        elif isinstance(how, ToMany):
            place, arguments = f"{view.node.name}.{name}", self._arguments(field, fields[0])
            page = self._page(node_of(how.target), fields, place=place, arguments=arguments)
            view.below.append(Nested(how, page))
        elif isinstance(how, ToOne):
            view.below.append(self._to_one(view, how, fields))
        else:
            view.below.append(Rows(how, self._view(node_of(how.target), fields)))
        nullable = not isinstance(field.type, GraphQLNonNull)
        view.shown.append(Leads(response, len(view.below) - 1, (key,), nullable, fields))

    def _to_one(self, view: View, how: ToOne, fields: Fields) -> Joined | Lookup:
        """A join where both rows are in one database, unless the catalog that is remembered has the other."""
        other = self._view(node_of(how.target), fields)
        joins = view.joins + other.joins + 1
        if other.shared or joins > JOINS_MAX or not _live_together(view.node, other.node):
            return Lookup(how, other)
        view.joins = joins
        return Joined(how, other)

    def _step(self) -> None:
        self._steps += 1
        if self._steps > STEPS_MAX:
            raise TooWide(f"The operation leads to more than {STEPS_MAX} others: ask for fewer in one.")

    def _below(self, of: GraphQLObjectType, same: Fields) -> dict[str, Fields]:
        """The fields below these, counted: a fragment is gathered once and shown wherever it is spread."""
        found = self._collector.below(of, same)
        self._shown += len(found)
        if self._shown > SHOWN_MAX:
            raise TooWide(f"The operation shows more than {SHOWN_MAX} fields in all places: ask for fewer.")
        return found

    def _page(self, node: NodeInfo, same: Fields, *, place: str, arguments: Arguments) -> Page:
        page = Page(node, place, arguments)
        for response, fields in self._below(self._object(f"{node.name}Connection"), same).items():
            name = fields[0].name.value
            page.has_rows |= name in PAGES
            page.has_count |= name == "totalCount"
            if name == "__typename":
                page.shown.append((response, "word", f"{node.name}Connection"))
            elif name == "nodes":
                page.views.append(self._view(node, fields))
                page.shown.append((response, "nodes", len(page.views) - 1))
            elif name == "edges":
                page.shown.append((response, "edges", self._edges(page, fields)))
            elif name == "pageInfo":
                stands = self._named(self._object("PageInfo"), fields)
                page.cursors |= any(inner in ("startCursor", "endCursor") for _, inner in stands)
                page.shown.append((response, "pageInfo", stands))
            else:
                page.shown.append((response, "totalCount", None))
        return page

    def _edges(self, page: Page, same: Fields) -> list[tuple[str, str, Any]]:
        shown: list[tuple[str, str, Any]] = []
        for response, fields in self._below(self._object(f"{page.node.name}Edge"), same).items():
            name = fields[0].name.value
            page.cursors |= name == "cursor"
            if name == "node":
                page.views.append(self._view(page.node, fields))
                shown.append((response, "node", len(page.views) - 1))
            elif name == "__typename":
                shown.append((response, "word", f"{page.node.name}Edge"))
            else:
                shown.append((response, name, None))
        return shown

    def _named(self, of: GraphQLObjectType, same: Fields) -> list[tuple[str, str]]:
        return [(response, fields[0].name.value) for response, fields in self._below(of, same).items()]

    def _payload(self, served: GraphQLObjectType, same: Fields) -> Payload:
        payload, python = Payload(), _python_names(served)
        for response, fields in self._below(served, same).items():
            name = fields[0].name.value
            if name == "__typename":
                payload.shown.append(Part(response, None, partial(_always, served.name), False))
                continue
            type_ = served.fields[name].type
            named = get_named_type(type_)
            made = (
                self._view(DECLARED[named.name], fields) if named.name in DECLARED else self._completing(type_, fields)
            )
            payload.shown.append(Part(response, python[name], made, not isinstance(type_, GraphQLNonNull)))
        return payload

    def _completing(self, type_: GraphQLOutputType, same: Fields) -> complete.Complete:
        """What turns a Python value of this type into JSON: leaves, plain objects, lists of them."""
        named = get_named_type(type_)
        if is_leaf_type(named):
            return complete.leaf(type_)
        if not isinstance(named, GraphQLObjectType):
            raise Unplannable
        python = _python_names(named)
        shown: list[tuple[str, str | None, complete.Complete]] = []
        for response, fields in self._below(named, same).items():
            name = fields[0].name.value
            if name == "__typename":
                shown.append((response, None, partial(_always, named.name)))
            else:
                shown.append((response, python[name], self._completing(named.fields[name].type, fields)))
        return complete.wrapped(type_, complete.plain(shown))

    # ---------------------------------------------------------------- reading the document

    def _arguments(self, field: GraphQLField, node: FieldNode) -> Arguments:
        coerce = partial(get_argument_values, field, node)
        if not has_variables(node):
            return Arguments(get_argument_values(field, node), coerce)
        given = {each.name.value: each.value for each in node.arguments or ()}
        plain = {name: value.name.value for name, value in given.items() if isinstance(value, VariableNode)}
        if any(has_variables(value) for name, value in given.items() if name not in plain):
            return Arguments(None, coerce)
        constants = {name: argument for name, argument in field.args.items() if name not in plain}
        known = get_argument_values(GraphQLField(field.type, constants), node)
        outside = {field.args[name].out_name or name: variable for name, variable in plain.items()}
        return Arguments(None, coerce, known, outside)

    def _object(self, name: str) -> GraphQLObjectType:
        # Names come from the declarations and the schema was made of them: it is an object type.
        return cast("GraphQLObjectType", self._graphql.type_map[name])


def _python_names(served: GraphQLObjectType) -> dict[str, str]:
    """GraphQL name → Python name of a payload's or plain object's fields."""
    cls = served.extensions["strawberry-definition"].origin
    return {to_camel_case(name): name for name in hints.of_class(cls)}


def _is_pure(call: calls.Call) -> bool:
    """Whether a query's function sees neither the request nor an id, which knows the host it was used on."""
    given = (call.hints[each.name].plain for each in calls.parameters(call.root))
    return (
        call.root.kind == "query"
        and not call.takes_context
        and all(hints.inner(each) is not GlobalId for each in given)
    )


def _ready(arguments: Arguments, prepare: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any] | None:
    """Arguments that every request may share: known ones that nobody can change."""
    if arguments.known is None:
        return None
    made = prepare(arguments.known)
    return made if all(value is None or isinstance(value, _WHOLE) for value in made.values()) else None


def _always(value: str, _source: object) -> str:
    return value


def _live_together(one: NodeInfo, other: NodeInfo) -> bool:
    """Whether one statement may read both: in one database, and whoever sees the first may ask the other."""
    if one.table.zone is not other.table.zone or one.table.service != other.table.service:
        return False
    own = (Scope.TENANT, Scope.USER_PRIVATE)
    return one.table.zone is Zone.POOL or one.table.scope in own or other.table.scope not in own
