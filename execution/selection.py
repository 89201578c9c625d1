"""What an operation asks of a field: the columns and relations of each level, read from its document at once.

Knowing all levels before the first row is fetched is what lets every level be one batch. Fields
are gathered as the specification's CollectFields does; nothing is fetched here (`execution/prefetch.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

from graphql import (
    FieldNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLResolveInfo,
    get_argument_values,
    print_ast,
)
from strawberry.utils.str_converters import to_camel_case

from base import errors
from db.zones import Zone
from execution.collect import Collector, Fields
from execution.declare import Children, Column, Computed, Field, NodeInfo, Through, ToMany, ToOne, Values, node_of

RELATIONS_MAX = 100
PAGES = ("nodes", "edges", "pageInfo")

Leads = ToOne | ToMany | Children | Through | Values


@dataclass(slots=True)
class Wanted:
    """What is asked of the rows of one node: columns by table attribute, and what hangs on each row."""

    node: NodeInfo
    keys: set[str] = field(default_factory=set)
    relations: list[Relation] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)


@dataclass(slots=True)
class WantedPage:
    """What is asked of a connection; `cursors` asks for the order's columns too."""

    rows: Wanted
    has_rows: bool = False
    has_count: bool = False
    cursors: bool = False


@dataclass(slots=True)
class _Leading:
    """A field that leads away from a row: its places in the document, and the parent's column it starts from.

    One response name may stand for several fields below one connection: `a: nodes {…} b: nodes {…}` merge nothing.
    """

    places: tuple[int, ...]
    key: str


@dataclass(slots=True)
class Linked(_Leading):
    """To one row or a plain list of rows."""

    how: ToOne | Children | Through
    rows: Wanted


@dataclass(slots=True)
class Paged(_Leading):
    """To a connection; `place` is `Type.field`, `arguments` are coerced."""

    how: ToMany
    page: WantedPage
    place: str
    arguments: dict[str, Any]


@dataclass(slots=True)
class Listed(_Leading):
    """To a plain list of values."""

    how: Values


Relation = Linked | Paged | Listed


@dataclass(frozen=True, slots=True)
class Batch:
    """A field whose function is called for all rows at once, and its places in the document."""

    places: tuple[int, ...]
    how: Computed


class Selection:
    """Reads the selections below one field of one operation. Raises CostLimitExceeded past 100 relations."""

    def __init__(self, info: GraphQLResolveInfo[Any]) -> None:
        self._info = info
        self._collector = Collector(info.schema, info.fragments, info.variable_values)
        self._relations = 0

    def of_rows(self, node: NodeInfo, fields: Iterable[FieldNode]) -> Wanted:
        """What these fields ask of rows of this node, whatever the fields' own type is."""
        wanted, names = Wanted(node, {"id"}), declared_by_name(node)
        for same in self._apart(self._type(node.name), fields):
            declared = names.get(same[0].name.value)
            if isinstance(declared, Column):
                wanted.keys.add(declared.key)
            elif isinstance(declared, Computed):
                wanted.keys.update(declared.needs)
                if declared.batched:
                    wanted.batches.append(Batch(tuple(id(each) for each in same), declared))
            elif declared is not None:
                relation = self._relation(node, declared, same)
                wanted.relations.append(relation)
                wanted.keys.add(relation.key)
        return wanted

    def of_page(self, node: NodeInfo, fields: Iterable[FieldNode]) -> WantedPage:
        """What these fields ask of a connection of this node."""
        connection = self._type(f"{node.name}Connection")
        below: list[FieldNode] = []
        page = WantedPage(Wanted(node))
        for same in self._collect(connection, fields).values():
            name = same[0].name.value
            page.has_rows |= name in PAGES
            page.has_count |= name == "totalCount"
            if name == "nodes":
                below += same
            elif name == "edges":
                for inner in self._collect(self._type(f"{node.name}Edge"), same).values():
                    page.cursors |= inner[0].name.value == "cursor"
                    below += inner if inner[0].name.value == "node" else ()
            elif name == "pageInfo":
                stands = self._collect(self._type("PageInfo"), same).values()
                page.cursors |= any(inner[0].name.value in ("startCursor", "endCursor") for inner in stands)
        page.rows = self.of_rows(node, below)
        return page

    def _relation(self, node: NodeInfo, how: Leads, same: Sequence[FieldNode]) -> Relation:
        self._relations += 1
        if self._relations > RELATIONS_MAX:
            raise errors.CostLimitExceeded(f"A field may lead to at most {RELATIONS_MAX} relations: ask for fewer.")
        key, places = parent_key(node, how), tuple(id(each) for each in same)
        if isinstance(how, Values):
            return Listed(places, key, how)
        if not isinstance(how, ToMany):
            return Linked(places, key, how, self.of_rows(node_of(how.target), same))
        name = same[0].name.value
        arguments = self.arguments(self._type(node.name).fields[name], same[0])
        return Paged(places, key, how, self.of_page(node_of(how.target), same), f"{node.name}.{name}", arguments)

    def arguments(self, definition: GraphQLField, node: FieldNode) -> dict[str, Any]:
        """A field's coerced arguments by Python name."""
        return get_argument_values(definition, node, self._info.variable_values)

    def _apart(self, of: GraphQLObjectType, fields: Iterable[FieldNode]) -> list[list[FieldNode]]:
        """The fields that are one: same response name, same field, same arguments."""
        apart: dict[tuple[str, str, str], list[FieldNode]] = {}
        for response, same in self._collect(of, fields).items():
            for each in same:
                given = sorted(print_ast(argument) for argument in each.arguments or ()) if len(same) > 1 else ()
                apart.setdefault((response, each.name.value, " ".join(given)), []).append(each)
        return list(apart.values())

    def _collect(self, of: GraphQLObjectType, fields: Iterable[FieldNode]) -> dict[str, Fields]:
        return self._collector.below(of, tuple(fields))

    def _type(self, name: str) -> GraphQLObjectType:
        # Names come from NODES and the schema was made of them: it is an object type.
        return cast("GraphQLObjectType", self._info.schema.type_map[name])


def parent_key(node: NodeInfo, how: Leads) -> str:
    """The column of the parent from which a relation starts."""
    if isinstance(how, ToOne):
        return how.key
    # What belongs to a whole tenant hangs on a pool's row by the tenant they share (a wallet's transactions).
    whole = isinstance(how, ToMany | Children | Values) and how.child_key == "tenant_id"
    return "tenant_id" if whole and node.table.zone is Zone.POOL else "id"


def declared_by_name(node: NodeInfo) -> dict[str, Field]:
    """A node's declared fields by their GraphQL names."""
    return {_graphql_name(python): declared for python, declared in node.fields.items()}


_graphql_name = lru_cache(maxsize=1_000)(to_camel_case)
