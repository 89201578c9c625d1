"""Makes the served schema out of the declarations of execution/declare.py; what it cannot serve it refuses at start-up.

What a root field does on the way is in `execution/calls.py`; how rows are had is the library's.
"""

import inspect
from collections.abc import Callable
from typing import Any, Protocol, cast

import strawberry
from graphql import GraphQLFieldResolver, GraphQLInterfaceType, GraphQLObjectType, GraphQLResolveInfo, GraphQLSchema
from strawberry.schema.config import StrawberryConfig
from strawberry.tools import create_type
from strawberry.types.field import StrawberryField
from strawberry.utils.str_converters import to_camel_case

from execution import calls, hints
from execution.declare import NODES, ROOTS, TYPES, Node, NodeInfo, PageInfo, Read
from execution.prices import OBJECT, PAGED, costs
from execution.scalars import SCALARS
from execution.types import declare_types
from tenancy.context import Context
from tenancy.viewer import Viewer


class Library(Protocol):
    """What build() asks of execution/library.py (the module itself is given)."""

    def context_of(self, info: GraphQLResolveInfo[Any]) -> Context:
        """The request's Context, out of info.context."""

    def act_as(self, info: GraphQLResolveInfo[Any], viewer: Viewer | None) -> None:
        """From here on this request's Context has this viewer; None: the one it came with.

        Called at the start of each mutation field with None, and with a viewer by a field that has
        signed somebody in. Mutation fields run one after the other, so it lasts for that field alone.
        """

    def answered(self, info: GraphQLResolveInfo[Any]) -> object:
        """What the root field at hand has answered already, or raised; NotImplemented where it is to be called."""

    async def resolve(self, read: Read, info: GraphQLResolveInfo[Any]) -> object:
        """Answer a read for the field at hand: a row or None (one), a row or an error (the), rows, or a connection.

        A connection has the attributes edges (each cursor, node), nodes, page_info (has_next_page,
        has_previous_page, start_cursor, end_cursor) and total_count. In a subscription this is
        called once an event, and what an earlier event has read is not remembered.
        """

    def resolver_of(self, node: NodeInfo, name: str) -> GraphQLFieldResolver:
        """The graphql-core resolver of a node's field (`name` in Python, "id" included), set by build() on the schema.

        Called as resolver(row, info, first=…, after=…) (arguments of ToMany alone, by Python name).
        """

    def type_of(self, row: object) -> str:
        """The GraphQL name of a row's node; nodes have no is_type_of, the interface Node asks this."""


def build(library: Library, refused: calls.Refused, *, descriptions: dict[str, str]) -> strawberry.Schema:
    """The served schema, once a process, when every file of schema/ and resolvers/ has been imported.

    `refused` makes a mutation's payload of a refusal; `descriptions` are of Query, Mutation and
    Subscription. Raises TypeError, naming the declaration, for one that cannot be served.
    """
    if NODES:
        raise RuntimeError("the schema is built once a process: take the one that resolvers/roots.py keeps")
    declare_types()
    served = [
        calls.Call(root, hints.of_function(root.function), calls.takes_context(root), library, refused)
        # Which file was imported first must not show in the schema.
        for root in sorted(ROOTS, key=lambda root: root.function.__module__)
    ]
    for call in served:
        if call.root.kind != "live":
            calls.SERVED[call.root.kind.capitalize(), to_camel_case(call.root.name)] = call
    schema = strawberry.Schema(
        query=_root_type("Query", "query", served, descriptions=descriptions),
        mutation=_root_type("Mutation", "mutation", served, descriptions=descriptions),
        subscription=_root_type("Subscription", "live", served, descriptions=descriptions),
        types=[info.cls for info in NODES.values()],
        config=StrawberryConfig(scalar_map=SCALARS),
    )
    _attach(schema._schema, library)  # noqa: SLF001  (the library's own resolvers are too slow for every field of every row)
    return schema


def _root_type(name: str, kind: str, served: list[calls.Call], /, *, descriptions: dict[str, str]) -> type:
    fields = [_root_field(call) for call in served if call.root.kind == kind]
    names = [field.python_name for field in fields]
    for field_name in names:
        if names.count(field_name) > 1:
            raise TypeError(f"{name}.{field_name} is declared twice")
    return create_type(name, fields, description=descriptions.get(name))


def _root_field(call: calls.Call) -> StrawberryField:
    root = call.root
    answer = call.hints["return"]
    made = [inspect.Parameter("info", inspect.Parameter.KEYWORD_ONLY, annotation=strawberry.Info)]
    for given in calls.parameters(root):
        hint = call.hints[given.name]
        # None as the default would be printed as "= null": unset, the function's own None applies.
        default = strawberry.UNSET if given.default is None else given.default
        kind = inspect.Parameter.KEYWORD_ONLY
        made.append(given.replace(kind=kind, annotation=hints.argument(hint), default=default))

    if root.kind == "live":
        returns = hints.inner(answer.plain)

        async def resolver(info: strawberry.Info, **arguments: Any) -> object:
            return await call.subscribe(info._raw_info, arguments)  # noqa: SLF001  (graphql-core's, which the library takes)
    else:
        returns = answer.served

        async def resolver(info: strawberry.Info, **arguments: Any) -> object:
            return await call.answer(info._raw_info, arguments)  # noqa: SLF001  (as above)

    resolver.__name__ = root.name
    resolver.__signature__ = inspect.Signature(made, return_annotation=returns)  # type: ignore[attr-defined]
    directives: list[object] = [] if root.cost == OBJECT else [costs(root.cost)]
    if hints.is_connection(answer):
        directives.append(PAGED)
    elif root.size is not None:
        directives.append(root.size)
    field: StrawberryField = strawberry.field(
        resolver=resolver,
        description=hints.description(root.function),
        is_subscription=root.kind == "live",
        directives=directives,
    )
    field.python_name = root.name
    return field


def _attach(schema: GraphQLSchema, library: Library) -> None:
    """Put on the resolvers: the library's on nodes, reads on payloads, plain attributes on all else."""
    for declared in TYPES:
        served = schema.type_map.get(declared.cls.__name__)
        if declared.kind in ("payload", "plain") and isinstance(served, GraphQLObjectType):
            _on_fields(served, {name: _read_or_value(name, library) for name in hints.of_class(declared.cls)})
    for name, info in NODES.items():
        node = cast("GraphQLObjectType", schema.type_map[name])
        node.is_type_of = None
        _on_fields(node, {field: library.resolver_of(info, field) for field in ("id", *info.fields)})
    for cls in (PageInfo, *hints.connections()):
        plain = cast("GraphQLObjectType", schema.type_map[cls.__name__])
        _on_fields(plain, {name: _attribute(name) for name in cls.__annotations__})
    interface = cast("GraphQLInterfaceType", schema.type_map[Node.__name__])
    interface.resolve_type = lambda row, _info, _type: library.type_of(row)
    if schema.subscription_type is not None:
        for field in schema.subscription_type.fields.values():
            field.resolve = _event(library)


def _on_fields(served: GraphQLObjectType, resolvers: dict[str, GraphQLFieldResolver]) -> None:
    for name, resolver in resolvers.items():
        served.fields[to_camel_case(name)].resolve = resolver


def _attribute(name: str) -> GraphQLFieldResolver:
    def resolve(source: Any, _info: calls.Info) -> object:
        return getattr(source, name)

    return resolve


def _read_or_value(name: str, library: Library) -> GraphQLFieldResolver:
    def resolve(source: Any, info: calls.Info) -> object:
        value = getattr(source, name)
        return calls.resolved(library, value, info) if isinstance(value, Read) else value

    return resolve


def _event(library: Library) -> Callable[..., Any]:
    async def resolve(event: object, info: calls.Info, **_arguments: object) -> object:
        return await calls.resolved(library, event, info)

    return resolve
