"""Reads the type hints that declarations are made of: what is served, its description, the relation behind it."""

import enum
import inspect
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import strawberry

from execution.declare import FIELDS, Connection, Doc, Field, Node, PageInfo
from execution.prices import COUNT, LEAF, Cost, Directive, ListSize, costs


@dataclass(frozen=True, slots=True)
class Hint:
    """A hint taken apart: the type as the library wants it, and what stood beside it in Annotated[…]."""

    served: Any
    plain: Any  # as written, without Annotated
    doc: str | None
    field: Field | None
    directives: tuple[Directive, ...] = ()


_connections: dict[type, tuple[type, type]] = {}  # node → connection, edge
_enums: set[type] = set()
_kept: dict[type, dict[str, Hint]] = {}  # as many as there are declared classes


def of_class(cls: type) -> dict[str, Hint]:
    """The hints of what this class and its undeclared bases say, the bases' first; Node's own id is not among them."""
    hints = get_type_hints(cls, include_extras=True)
    parts = [part for part in reversed(cls.__mro__) if part is not Node]
    names = [name for part in parts for name in vars(part).get("__annotations__", {})]
    return {name: read(hints[name]) for name in names}


def of_input(cls: type) -> dict[str, Hint]:
    """The same of a class that build() is done with, kept."""
    if cls not in _kept:
        _kept[cls] = of_class(cls)
    return _kept[cls]


def of_function(function: Any) -> dict[str, Hint]:
    """The hints of a function's parameters and its `return`."""
    return {name: read(hint) for name, hint in get_type_hints(function, include_extras=True).items()}


def read(hint: Any) -> Hint:
    """Take one hint apart; a Connection[Video] becomes the type VideoConnection."""
    marks: tuple[object, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *rest = get_args(hint)
        marks = tuple(rest)
    doc = next((mark.text for mark in marks if isinstance(mark, Doc)), None)
    declared = next((mark for mark in marks if isinstance(mark, FIELDS)), None)
    directives = tuple(mark for mark in marks if isinstance(mark, Cost | ListSize))
    return Hint(_served(hint), hint, doc, declared, directives)


def argument(hint: Hint) -> Any:
    """The hint as the library takes it at an argument, with its description."""
    return Annotated[hint.served, strawberry.argument(description=hint.doc)]


def inner(hint: Any) -> Any:
    """The type inside `X | None`, `list[X]`, `Connection[X]` and the like."""
    while (origin := get_origin(hint)) is not None:
        if origin in (Union, UnionType):
            hint = next(part for part in get_args(hint) if part is not NoneType)
        elif origin in (list, Connection, AsyncIterator, AsyncGenerator):
            hint = get_args(hint)[0]
        else:
            return origin
    return hint


def is_connection(hint: Hint) -> bool:
    """Whether the hint is a page."""
    return get_origin(hint.plain) is Connection


def nullable(hint: Any) -> bool:
    """Whether the hint allows None."""
    return get_origin(hint) in (Union, UnionType) and NoneType in get_args(hint)


def description(thing: Any) -> str | None:
    """A docstring of its own, as a description."""
    doc = thing.__doc__ if not isinstance(thing, type) else vars(thing).get("__doc__")
    return inspect.cleandoc(doc) if doc else None


def _served(hint: Any) -> Any:
    if get_origin(hint) is Connection:
        return connection_of(get_args(hint)[0])
    for part in _leaves(hint):
        if isinstance(part, type) and issubclass(part, enum.Enum) and part not in _enums:
            _enums.add(part)
            strawberry.enum(part, description=description(part))
    return hint


def _leaves(hint: Any) -> list[Any]:
    parts = get_args(hint)
    return [hint] if not parts else [leaf for part in parts for leaf in _leaves(part)]


def connection_of(node: type) -> type:
    """The served connection of a node, made once: edges, nodes, pageInfo, totalCount."""
    if node not in _connections:
        name = node.__name__
        edge = strawberry.type(
            _class(
                f"{name}Edge",
                {"cursor": (str, "Give it as `after` to go on behind this row."), "node": (node, None)},
                # A row costs as much by its edge as among the nodes.
                {"node": costs(LEAF)},
            ),
            description=f"A place in a list of {name} rows.",
        )
        connection = strawberry.type(
            _class(
                f"{name}Connection",
                {
                    "edges": (list[edge], "The rows of this page with their cursors."),  # type: ignore[valid-type]
                    "nodes": (list[node], "The rows of this page."),  # type: ignore[valid-type]
                    "page_info": (PageInfo, "Where this page stands in the list."),
                    "total_count": (int, "How many rows the whole list has; counted when asked for."),
                },
                {"total_count": costs(COUNT)},
            ),
            description=f"A page of {name} rows.",
        )
        _connections[node] = (connection, edge)
    return _connections[node][0]


def connections() -> list[type]:
    """Every served connection and edge."""
    return [made for pair in _connections.values() for made in pair]


def _class(name: str, fields: dict[str, tuple[Any, str | None]], weights: dict[str, Cost], /) -> type:
    body: dict[str, Any] = {"__annotations__": {key: hint for key, (hint, _) in fields.items()}}
    for key, (_, doc) in fields.items():
        body[key] = strawberry.field(description=doc, directives=[weights[key]] if key in weights else ())
    return type(name, (), body)
