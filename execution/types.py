"""Turns the declared classes into the library's types, and checks every relation against the tables while doing so.

Root fields are in `execution/build.py`.
"""

import dataclasses
from typing import Any, cast

import sqlalchemy as sa
import sqlalchemy.orm
import strawberry

from db.columns import Json
from db.zones import Zone
from execution import hints
from execution.declare import (
    FIRST_DEFAULT,
    NODES,
    SENT,
    TYPES,
    After,
    Children,
    Column,
    Computed,
    Field,
    First,
    NodeInfo,
    Table,
    Through,
    ToMany,
    ToOne,
    TypeDeclaration,
    Values,
)
from execution.prices import PAGED, sized


def declare_types() -> None:
    """Fill NODES and make every declared class a type of the library, extensions applied.

    Raises TypeError for a relation whose key, target or nullability does not fit its tables.
    """
    for declared in TYPES:
        if declared.kind == "node" and declared.table is not None:
            cls = declared.cls
            NODES[cls.__name__] = NodeInfo(cls.__name__, cls, declared.table, declared.access, declared.where)
    extensions = [declared for declared in TYPES if declared.kind == "extension"]
    extensions.sort(key=lambda declared: declared.cls.__module__)  # whichever file was imported first
    for declared in TYPES:
        if declared.kind != "extension":
            own = [part.cls for part in extensions if part.of is declared.cls]
            _make(declared, [declared.cls, *own])


def _make(declared: TypeDeclaration, parts: list[type]) -> None:
    """Give the class the hints and fields of all its parts, as the library reads them."""
    cls = declared.cls
    annotations: dict[str, Any] = {}
    for part in parts:
        for name, hint in hints.of_class(part).items():
            if name in annotations:
                raise TypeError(f"{cls.__name__}.{name} is declared twice")
            annotations[name] = hint.served
            if declared.kind == "node":
                NODES[cls.__name__].fields[name] = _field(NODES[cls.__name__], name, hint)
            setattr(
                cls,
                name,
                _served_field(hint, getattr(part, name, dataclasses.MISSING), is_input=declared.kind == "input"),
            )
    cls.__annotations__ = annotations
    description = hints.description(cls)
    if declared.kind == "input":
        _made_whole(cls, tuple(annotations))
        strawberry.input(cls, description=description)
    else:
        strawberry.type(cls, description=description)


def _served_field(hint: hints.Hint, default: Any, *, is_input: bool) -> Any:
    directives: list[object] = [*hint.directives]
    if isinstance(hint.field, ToMany):
        return strawberry.field(resolver=_paged(hint.served), description=hint.doc, directives=[*directives, PAGED])
    if isinstance(hint.field, Children | Through | Values):
        directives.append(sized(hint.field.assumed))
    if isinstance(default, dataclasses.Field):
        factory = default.default_factory
        return strawberry.field(description=hint.doc, default_factory=factory, directives=directives)
    # None as an input's default would be printed as "= null".
    unset = is_input and default is None
    return strawberry.field(description=hint.doc, default=strawberry.UNSET if unset else default, directives=directives)


def _paged(connection: Any) -> Any:
    """A resolver for its signature alone; the library's own is put in its place."""

    def page(first: First = FIRST_DEFAULT, after: After = strawberry.UNSET) -> object:
        return first, after

    made = {name: hints.argument(hints.read(hint)) for name, hint in (("first", First), ("after", After))}
    page.__annotations__ = made | {"return": connection}
    return page


def _made_whole(cls: type, names: tuple[str, ...]) -> None:
    """After construction: what was not sent is None, and `sent()` knows what was."""

    def after(self: Any) -> None:
        given = frozenset(name for name in names if getattr(self, name) is not strawberry.UNSET)
        for name in names:
            if name not in given:
                setattr(self, name, None)
        object.__setattr__(self, SENT, given)

    cls.__post_init__ = after  # type: ignore[attr-defined]


def _field(node: NodeInfo, name: str, hint: hints.Hint) -> Field:
    where = f"{node.name}.{name}"
    field = hint.field if hint.field is not None else Column(name)
    match field:
        case Column(key):
            _has(node.table, key, where)
        case Computed(needs=needs):
            for key in needs:
                _has(node.table, key, where)
                if field.is_ahead and isinstance(getattr(node.table, key).type, Json):
                    raise TypeError(f"{where} is called once for equal rows, and {key} is JSON, which has no equal")
        case ToOne(key):
            _has(node.table, key, where)
            target = _target(hint, where)
            if node.table.zone is Zone.POOL and target.table.zone is Zone.CENTRAL and not hints.nullable(hint.plain):
                raise TypeError(f"{where} crosses to central, where the row may be gone: make it `| None`")
            return dataclasses.replace(field, target=target.cls)
        case ToMany(child_key=key) | Children(child_key=key):
            target = _target(hint, where)
            for column in (key, *(each.removeprefix("-") for each in field.order)):
                _has(target.table, column, where)
            return dataclasses.replace(field, target=target.cls)
        case Values(table=table, child_key=key, column=column):
            _has(table, key, where)
            _has(table, column, where)
        case Through(link=link, left=left, right=right):
            target = _target(hint, where)
            _has(link, left, where)
            _has(link, right, where)
            return dataclasses.replace(field, target=target.cls)
    return field


def _target(hint: hints.Hint, where: str) -> NodeInfo:
    cls = hints.inner(hint.plain)
    node = NODES.get(getattr(cls, "__name__", ""))
    if node is None or node.cls is not cls:
        raise TypeError(f"{where} leads to {cls!r}, which is no node")
    return node


def _has(table: Table, key: str, where: str) -> None:
    if key not in cast("sa.orm.Mapper[Any]", sa.inspect(table)).columns:
        raise TypeError(f"{where}: {table.__name__} has no column {key}")
