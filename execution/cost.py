"""What an operation costs, before it runs and after: compiled once with its plan, evaluated with the variables.

A field costs the size of its list × (its weight + what is selected below); an interface its dearest type. Levels are
memoised by (type, set of selection sets), so that a fragment is costed once a type however often it is spread.
Weights and sizes are in `execution/prices.py`, who has how much to spend in `tenancy/budgets.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLIncludeDirective,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLSkipDirective,
    GraphQLUnionType,
    InlineFragmentNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_directive_values,
    get_named_type,
    value_from_ast_untyped,
)
from graphql.execution.values import VariableValues

from execution.amounts import Amount, Counted, Given, Level, OperationCost, Size, Slot, Step
from execution.declare import NODES, ToMany
from execution.document import too_dear
from execution.keyset import FIRST_MAX
from execution.prices import Price, Prices
from execution.selection import declared_by_name

SELECTIONS_MAX = 10_000


class Costs:
    """Compiles the costs of operations of one schema."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema
        self.prices = Prices(schema)

    def of(
        self,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        /,
        *,
        variables: VariableValues,
        tick: Callable[[], None] | None = None,
    ) -> OperationCost:
        """The cost of a valid operation; of the variables only those in @skip and @include are looked at.

        `tick` is called for each selection that is looked at; it may raise to end the compiling. Raises Unfit where
        the operation selects in too many different ways to be costed at all.
        """
        compiling = _Compiling(self._schema, self.prices, document, variables, tick)
        top = self._schema.get_root_type(operation.operation)
        level = compiling.level(top, (operation.selection_set,)) if top is not None else Level()
        return OperationCost(level, compiling.steps, compiling.visited)

    def lines(
        self, document: DocumentNode, operation: OperationDefinitionNode, /, *, variables: VariableValues
    ) -> Iterator[Line]:
        """The cost field by field, parents first, as `atrium explain` prints it; take as many as you want to see."""
        compiling = _Compiling(self._schema, self.prices, document, variables)
        top = self._schema.get_root_type(operation.operation)
        if top is not None:
            yield from compiling.lines(top, (operation.selection_set,), depth=0, below=None)


@dataclass(frozen=True, slots=True)
class Line:
    """One field of an operation: `cost` = `size` × (`weight` + the costs below) + `words` (weights of arguments)."""

    depth: int
    response: str
    size: int
    weight: int
    words: int
    cost: int


Sets = tuple[SelectionSetNode, ...]
Below = tuple[frozenset[str], Size] | None  # the fields of a connection that its `first` sizes, and how long that is


class _Compiling:
    def __init__(
        self,
        schema: GraphQLSchema,
        prices: Prices,
        document: DocumentNode,
        variables: VariableValues,
        tick: Callable[[], None] | None = None,
        /,
    ) -> None:
        self._tick = tick
        self._schema = schema
        self._prices = prices
        self._variables = variables
        self._fragments = {
            each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)
        }
        self._levels: dict[tuple[object, ...], Level] = {}
        self._sizes: dict[object, Callable[[Given], int]] = {}
        self.steps: list[Step] = []
        self._places: dict[Step, int] = {}
        self.visited = 0

    def level(self, kind: GraphQLNamedType, sets: Sets, below: Below = None) -> Level:
        """The level of these selection sets for this type, made once."""
        key = (kind.name, frozenset(map(id, sets)), below)
        known = self._levels.get(key)
        if known is None:
            known = self._levels[key] = self._made(kind, sets, below)
        return known

    def _made(self, kind: GraphQLNamedType, sets: Sets, below: Below) -> Level:
        if isinstance(kind, GraphQLInterfaceType | GraphQLUnionType):
            # Which type each object has shows only in the answer: it counts as its dearest.
            types = self._schema.get_possible_types(kind)
            most = self._most([self.level(each, sets).amount for each in types])
            return Level(most, most)
        made = Level()
        amounts: list[Amount] = []
        bases: list[Amount] = []
        for response, same in self.collected(kind, sets).items():
            price = self._prices.of(kind.name, same[0].name.value)
            size = self.size(kind.name, same[0], price, below=below)
            inner, inside = self.inside(kind, same, price)
            deep = self.level(*inner, inside) if inner is not None else Level()
            words = self._words(same[0], price)
            amounts += [self._times(size, [price.weight, deep.amount]), words]
            # Nobody counts what costs nothing, such as a list of words.
            counts = price.is_list and amounts[-2] != 0
            if counts or deep.lists:
                asked = amounts[-2] if price.is_list else deep.amount
                made.lists.append(Counted(response, price.weight, deep, price.is_list, asked))
                bases += [0 if price.is_list else price.weight, words]
            else:
                bases += amounts[-2:]
        made.amount, made.base = self._times(1, amounts), self._times(1, bases)
        return made

    def inside(
        self, kind: GraphQLNamedType, same: list[FieldNode], price: Price
    ) -> tuple[tuple[GraphQLNamedType, Sets] | None, Below]:
        """Type and selection sets below a field, and how long the lists are that it sizes there."""
        name = same[0].name.value
        sets = tuple(each.selection_set for each in same if each.selection_set is not None)
        if not sets or name.startswith("__") or not isinstance(kind, GraphQLObjectType):
            return None, None
        served = get_named_type(kind.fields[name].type)
        sizes = (price.below, self._argument_size(kind.name, same[0], price)) if price.below else None
        return (served, sets), sizes

    def size(self, kind: str, node: FieldNode, price: Price, /, *, below: Below) -> Size:
        """How many objects a field stands for."""
        if below is not None and node.name.value in below[0]:
            return below[1]
        if price.below or not price.is_list:
            return 1
        return self._argument_size(kind, node, price) if price.sizes is not None else price.assumed or 1

    def _argument_size(self, kind: str, node: FieldNode, price: Price) -> Size:
        most = _most_of(kind, node.name.value)
        given = next((each.value for each in node.arguments or () if each.name.value == price.sizes), None)
        if given is None:
            return price.default
        if not _variables_in(given):
            return _length(value_from_ast_untyped(given), default=price.default, most=most)
        # One function for each different size: levels are memoised by it.
        key = (given.name.value if isinstance(given, VariableNode) else id(given), price.default, most)
        if key not in self._sizes:
            self._sizes[key] = partial(_length_of, node=given, default=price.default, most=most)
        return self._sizes[key]

    def _words(self, node: FieldNode, price: Price) -> Amount:
        total: list[Amount] = []
        for argument in (node.arguments or ()) if price.words else ():
            kind = (price.words or {}).get(argument.name.value)
            if kind is None:
                continue
            worth = partial(self._worth, kind, argument.value)
            total.append(self._times(worth, [1]) if _variables_in(argument.value) else worth({}))
        return self._times(1, total)

    def _worth(self, kind: GraphQLInputType, node: ValueNode, given: Given) -> int:
        return self._prices.words(kind, value_from_ast_untyped(node, dict(given)))

    # ---------------------------------------------------------------- arithmetic

    def _times(self, size: Size, amounts: list[Amount]) -> Amount:
        base = sum(each for each in amounts if isinstance(each, int))
        parts = tuple(each.place for each in amounts if isinstance(each, Slot))
        if not parts and (isinstance(size, int) or not base):
            return base * size if isinstance(size, int) else 0
        if size == 1 and not base and len(parts) == 1:
            return Slot(parts[0])
        return self._step(Step(size, base, parts))

    def _most(self, amounts: list[Amount]) -> Amount:
        base = max((each for each in amounts if isinstance(each, int)), default=0)
        parts = tuple({each.place: None for each in amounts if isinstance(each, Slot)})
        if not parts:
            return base
        return self._step(Step(1, base, parts, takes_most=True))

    def _step(self, step: Step) -> Slot:
        """Its place; the same step is made once."""
        place = self._places.setdefault(step, len(self.steps))
        if place == len(self.steps):
            self.steps.append(step)
        return Slot(place)

    # ---------------------------------------------------------------- reading the document

    def collected(self, kind: GraphQLNamedType, sets: Sets) -> dict[str, list[FieldNode]]:
        """The specification's CollectFields over several selection sets."""
        found: dict[str, list[FieldNode]] = {}
        spread: set[str] = set()
        for each in sets:
            self._walk(kind, each, found=found, spread=spread)
        return found

    def _walk(
        self, kind: GraphQLNamedType, sets: SelectionSetNode, *, found: dict[str, list[FieldNode]], spread: set[str]
    ) -> None:
        for selection in sets.selections:
            self.visited += 1
            if self._tick is not None:
                self._tick()
            if self.visited > SELECTIONS_MAX:
                raise too_dear("The operation selects in too many different ways: ask for less at once.")
            if selection.directives and not self._included(selection):
                continue
            if isinstance(selection, FieldNode):
                found.setdefault((selection.alias or selection.name).value, []).append(selection)
            elif isinstance(selection, InlineFragmentNode):
                condition = selection.type_condition
                if condition is None or self._fits(kind, condition.name.value):
                    self._walk(kind, selection.selection_set, found=found, spread=spread)
            elif isinstance(selection, FragmentSpreadNode) and selection.name.value not in spread:
                spread.add(selection.name.value)
                fragment = self._fragments[selection.name.value]
                if self._fits(kind, fragment.type_condition.name.value):
                    self._walk(kind, fragment.selection_set, found=found, spread=spread)

    def _included(self, selection: Any) -> bool:
        try:
            skip = get_directive_values(GraphQLSkipDirective, selection, self._variables)
            if skip is not None and skip["if"]:
                return False
            include = get_directive_values(GraphQLIncludeDirective, selection, self._variables)
        except GraphQLError:
            # A variable that has a default may be null all the same: the library says so, beside whatever it has read.
            return True
        return include is None or bool(include["if"])

    def _fits(self, kind: GraphQLNamedType, condition: str) -> bool:
        if condition == kind.name:
            return True
        other = self._schema.type_map[condition]
        if not isinstance(other, GraphQLInterfaceType | GraphQLUnionType) or not isinstance(kind, GraphQLObjectType):
            return False
        return self._schema.is_sub_type(other, kind)

    # ---------------------------------------------------------------- for people's eyes

    def lines(self, kind: GraphQLNamedType, sets: Sets, *, depth: int, below: Below) -> Iterator[Line]:
        """Each field with what it costs under the variables, its children behind it."""
        given = self._variables.coerced
        for response, same in self.collected(kind, sets).items():
            price = self._prices.of(kind.name, same[0].name.value)
            size = self.size(kind.name, same[0], price, below=below)
            length = size if isinstance(size, int) else size(given)
            inner, inside = self.inside(kind, same, price)
            deep = self.level(*inner, inside) if inner is not None else Level()
            words = self._evaluated(self._words(same[0], price))
            cost = length * (price.weight + self._evaluated(deep.amount)) + words
            yield Line(depth, response, length, price.weight, words, cost)
            if inner is not None:
                yield from self.lines(*inner, depth=depth + 1, below=inside)

    def _evaluated(self, amount: Amount) -> int:
        return OperationCost(Level(amount), self.steps, self.visited).asked(self._variables)


def _most_of(kind: str, name: str) -> int:
    """The longest page of a connection; one that is asked for longer is refused when it is read, by its argument."""
    node = NODES.get(kind)
    how = None if node is None else declared_by_name(node).get(name)
    return how.first_max if isinstance(how, ToMany) else FIRST_MAX


def _length_of(given: Given, *, node: ValueNode, default: int, most: int) -> int:
    name = getattr(getattr(node, "name", None), "value", None)
    value = given.get(name) if name is not None else value_from_ast_untyped(node, dict(given))
    return _length(value, default=default, most=most)


def _length(value: object, *, default: int, most: int) -> int:
    if value is None:
        return default
    length = len(value) if isinstance(value, list) else value
    return max(0, min(length, most)) if isinstance(length, int) else 1


def _variables_in(node: ValueNode) -> bool:
    if isinstance(node, VariableNode):
        return True
    if isinstance(node, ListValueNode):
        return any(_variables_in(each) for each in node.values)
    if isinstance(node, ObjectValueNode):
        return any(_variables_in(each.value) for each in node.fields)
    return False
