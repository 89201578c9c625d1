"""What each field of the schema weighs and how long its lists are taken to be: IBM's `@cost` and `@listSize`.

Declarations give both (`costs(10)`, `sized(20)`); they are printed in the SDL, and what an operation costs is computed
from the same directives (`execution/cost.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import strawberry
from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    Undefined,
    get_named_type,
    is_leaf_type,
)
from graphql.utilities.coerce_input_value import coerce_default_value
from strawberry.schema_directive import Location

OBJECT, LEAF = 1, 0  # what a field weighs that says nothing of itself
COUNT, SEARCH = 5, 10
# The descriptions of a whole schema are rows that nobody pages.
INTROSPECTION = {"__schema": 1_000, "__type": 50}

D = TypeVar("D")


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION, Location.INPUT_FIELD_DEFINITION],
    name="cost",
    description="What one object of this field costs, its selections apart; without it an object 1, a value 0.",
)
class Cost:
    """`@cost(weight: "10")`; on a field of an input: where it is given."""

    weight: str


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="listSize",
    description="How many objects a list is taken to have: as an argument says, or assumedSize.",
)
class ListSize:
    """A list's length for the cost; its hard bound is with the field."""

    assumed_size: int | None = strawberry.UNSET
    slicing_arguments: list[str] | None = strawberry.UNSET
    sized_fields: list[str] | None = strawberry.UNSET
    require_one_slicing_argument: bool | None = strawberry.UNSET


Directive = Cost | ListSize


def costs(weight: int) -> Cost:
    """`Annotated[str | None, costs(10)]`: another weight than the default."""
    return Cost(weight=str(weight))


def sized(assumed: int) -> ListSize:
    """`Annotated[list[Tag], sized(10)]`: how many there usually are."""
    return ListSize(assumed_size=assumed)


def sliced(argument: str) -> ListSize:
    """A plain list as long as an argument says: a number, or a list of as many."""
    return ListSize(slicing_arguments=[argument], require_one_slicing_argument=False)


# A page has `first` rows, whichever way they are shown, and null is the default.
PAGED = ListSize(slicing_arguments=["first"], sized_fields=["edges", "nodes"], require_one_slicing_argument=False)


@dataclass(frozen=True, slots=True)
class Price:
    """A field's price: `weight` × its size, and the size of its list.

    `sizes` names the argument that says how long the list is (or, with `below`, the lists of these fields below it).
    """

    weight: int
    is_list: bool
    assumed: int | None = None
    sizes: str | None = None
    below: frozenset[str] = frozenset()
    default: int = 1  # where the argument is null
    words: Mapping[str, GraphQLInputType] | None = None  # arguments with weights of their own inside


class Prices:
    """The prices of all fields of a schema, read from its directives once."""

    def __init__(self, schema: GraphQLSchema) -> None:
        """Raises TypeError, naming the field, for a list of objects that says nothing of its size."""
        self._fields: dict[tuple[str, str], Price] = {}
        self._input: dict[str, dict[str, int]] = {}
        kinds = schema.type_map.values()
        for kind in kinds:
            if isinstance(kind, GraphQLInputObjectType):
                weights = {name: _weight(field, LEAF) for name, field in kind.fields.items()}
                self._input[kind.name] = {name: weight for name, weight in weights.items() if weight}
        sized = {below for kind in kinds for below in _sized_below(kind)}
        for kind in kinds:
            if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType) and not kind.name.startswith("__"):
                for name, field in kind.fields.items():
                    price = self._price(field)
                    place = (kind.name, name)
                    known = price.assumed is not None or price.sizes is not None or place in sized
                    if price.is_list and price.weight and not known:
                        raise TypeError(f"{kind.name}.{name} is a list without a bound: say how long it is")
                    self._fields[place] = price

    def of(self, kind: str, field: str) -> Price:
        """The price of a field of a type, both by GraphQL name; of the meta-fields too."""
        known = self._fields.get((kind, field))
        return Price(INTROSPECTION.get(field, LEAF), is_list=False) if known is None else known

    def words(self, kind: GraphQLInputType, value: object) -> int:
        """What a coerced argument costs by the weights inside its inputs."""
        if isinstance(value, list):
            return sum(self.words(kind, each) for each in value)
        named = get_named_type(kind)
        if not isinstance(value, dict) or not isinstance(named, GraphQLInputObjectType):
            return 0
        weights, total = self._input[named.name], 0
        for name, field in named.fields.items():
            found = value.get(name)
            # An absent variable inside leaves its field out.
            if found is not None and found is not Undefined:
                total += weights.get(name, 0) + self.words(field.type, found)
        return total

    def _price(self, field: GraphQLField) -> Price:
        length = _directive(field, ListSize)
        named = get_named_type(field.type)
        weight = _weight(field, LEAF if is_leaf_type(named) else OBJECT)
        inner = field.type.of_type if isinstance(field.type, GraphQLNonNull) else field.type
        words = {name: given.type for name, given in field.args.items() if self._weighs(given.type)} or None
        is_list = isinstance(inner, GraphQLList)
        if length is None or not length.slicing_arguments:
            return Price(weight, is_list, None if length is None else length.assumed_size or None, words=words)
        sizes = length.slicing_arguments[0]
        default = coerce_default_value(field.args[sizes])
        first = default if isinstance(default, int) else 1
        return Price(weight, is_list, None, sizes, frozenset(length.sized_fields or ()), first, words=words)

    def _weighs(self, kind: GraphQLInputType, seen: frozenset[str] = frozenset()) -> bool:
        named = get_named_type(kind)
        if not isinstance(named, GraphQLInputObjectType) or named.name in seen:
            return False
        inner = seen | {named.name}
        return bool(self._input[named.name]) or any(self._weighs(field.type, inner) for field in named.fields.values())


def _sized_below(kind: object) -> list[tuple[str, str]]:
    """The lists that a connection's field sizes: (connection, field)."""
    if not isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
        return []
    found: list[tuple[str, str]] = []
    for field in kind.fields.values():
        length = _directive(field, ListSize)
        if length is not None and length.sized_fields:
            found += [(get_named_type(field.type).name, name) for name in length.sized_fields]
    return found


def _weight(field: Any, default: int) -> int:
    given = _directive(field, Cost)
    return default if given is None else int(given.weight)


def _directive(field: Any, kind: type[D]) -> D | None:
    declared = field.extensions.get("strawberry-definition")
    return next((each for each in getattr(declared, "directives", ()) if isinstance(each, kind)), None)
