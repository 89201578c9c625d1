"""One pass over a document that says *surely valid*, or that it does not know.

The library's rules take fifty times as long; they are asked, and their messages told, only about what is doubted
here. What is rare is doubted without a look: subscriptions, introspection, directives but @skip and @include. The
rule of overlapping fields is not part of this (`execution/overlap.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    ArgumentNode,
    BooleanValueNode,
    DirectiveNode,
    DocumentNode,
    EnumValueNode,
    FieldNode,
    FloatValueNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLError,
    GraphQLFloat,
    GraphQLID,
    GraphQLInputObjectType,
    GraphQLInt,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLString,
    GraphQLUnionType,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    StringValueNode,
    Undefined,
    ValueNode,
    VariableNode,
    get_named_type,
    is_composite_type,
    is_input_type,
    is_leaf_type,
    is_type_sub_type_of,
    type_from_ast,
)
from graphql.type import is_required_argument, is_required_input_field
from graphql.utilities import validate_input_literal

from execution.complete import INT_MAX, INT_MIN

_Tick = Callable[[], None]
_CONDITION = GraphQLNonNull(GraphQLBoolean)


class _Doubt(Exception):
    """Something that the library's rules shall look at."""


@dataclass(frozen=True, slots=True)
class _Given:
    """What a field or input object takes by name: types, what is required, what has a default."""

    types: Mapping[str, Any]
    required: frozenset[str]
    defaults: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Field:
    arguments: _Given
    below: str | None  # the composite type of its selections


@dataclass(slots=True)
class _Body:
    """What stands in one operation or fragment: variables by name with the places they are used at, and spreads."""

    uses: dict[tuple[str, int, bool], Any] = field(default_factory=dict)
    spreads: set[str] = field(default_factory=set)


class Valid:
    """The pass over documents of one schema, whose facts are read once into dictionaries."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema
        self._possible: dict[str, frozenset[str]] = {}
        self._fields: dict[str, dict[str, _Field]] = {}
        self._inputs: dict[str, _Given] = {}
        for name, type_ in schema.type_map.items():
            if isinstance(type_, GraphQLObjectType):
                self._possible[name] = frozenset([name])
            elif isinstance(type_, GraphQLInterfaceType | GraphQLUnionType):
                self._possible[name] = frozenset(each.name for each in schema.get_possible_types(type_))
            if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
                self._fields[name] = {of: _field(each) for of, each in type_.fields.items()}
            elif isinstance(type_, GraphQLInputObjectType):
                self._inputs[name] = _given(type_.fields, is_required_input_field)
        self._roots: dict[OperationType, str] = {}
        for operation in (OperationType.QUERY, OperationType.MUTATION):
            root = schema.get_root_type(operation)
            if root is not None:
                self._roots[operation] = root.name

    def surely(self, document: DocumentNode, tick: _Tick | None = None) -> bool:
        """Whether the document breaks none of the rules but that of overlapping fields. False says nothing.

        `tick` is called for each selection; it may raise to end the pass.
        """
        try:
            _Pass(self, document, tick).run()
        except _Doubt:
            return False
        return True

    def root(self, operation: OperationType) -> str:
        """The type of an operation's root. Raises _Doubt."""
        found = self._roots.get(operation)
        if found is None:
            raise _Doubt
        return found

    def field(self, parent: str, name: str) -> _Field:
        """Raises _Doubt."""
        found = self._fields.get(parent, {}).get(name)
        if found is None:
            raise _Doubt
        return found

    def input(self, name: str) -> _Given:
        """What an input object takes."""
        return self._inputs[name]

    def meet(self, parent: str, condition: str) -> None:
        """Raises _Doubt where no object is of both types, or one of them is none for selections."""
        here, there = self._possible.get(parent), self._possible.get(condition)
        if here is None or there is None or here.isdisjoint(there):
            raise _Doubt

    def type_of(self, node: Any) -> Any:
        """The input type that a variable names. Raises _Doubt."""
        found = type_from_ast(self._schema, node)
        if found is None or not is_input_type(found):
            raise _Doubt
        return found

    def fits(self, given: Any, place: Any) -> bool:
        """Whether a variable of one type may stand where another is expected."""
        return given is place or is_type_sub_type_of(self._schema, given, place)


class _Pass:
    def __init__(self, valid: Valid, document: DocumentNode, tick: _Tick | None) -> None:
        self._valid = valid
        self._tick = tick
        self._operations: list[OperationDefinitionNode] = []
        self._fragments: dict[str, FragmentDefinitionNode] = {}
        for each in document.definitions:
            if isinstance(each, OperationDefinitionNode):
                self._operations.append(each)
            elif isinstance(each, FragmentDefinitionNode) and each.name.value not in self._fragments:
                self._fragments[each.name.value] = each
            else:
                raise _Doubt
        self._bodies: dict[str, _Body] = {}
        self._here = _Body()

    def run(self) -> None:
        """Raises _Doubt."""
        names = [each.name.value for each in self._operations if each.name is not None]
        alone = len(self._operations) == 1
        if not self._operations or len(set(names)) != len(names) or (len(names) < len(self._operations) and not alone):
            raise _Doubt
        for name, fragment in self._fragments.items():
            if fragment.directives or fragment.variable_definitions:
                raise _Doubt
            condition = fragment.type_condition.name.value
            self._valid.meet(condition, condition)
            self._bodies[name] = self._body(fragment.selection_set, condition)
        spread: set[str] = set()
        for operation in self._operations:
            spread |= self._operation(operation)
        if len(spread) < len(self._fragments):
            raise _Doubt
        self._no_cycles()

    def _operation(self, operation: OperationDefinitionNode) -> set[str]:
        """The fragments that it spreads, at whatever depth."""
        if operation.directives:
            raise _Doubt
        body = self._body(operation.selection_set, self._valid.root(operation.operation))
        reached: set[str] = set()
        bodies, waiting = [body], list(body.spreads)
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                bodies.append(self._bodies[name])
                waiting += self._bodies[name].spreads
        self._variables(operation, bodies)
        return reached

    def _variables(self, operation: OperationDefinitionNode, bodies: Iterable[_Body]) -> None:
        """Each is defined once, of an input type, used, and only where it fits."""
        defined: dict[str, tuple[Any, bool]] = {}
        for each in operation.variable_definitions or ():
            name, type_ = each.variable.name.value, self._valid.type_of(each.type)
            if each.directives or name in defined:
                raise _Doubt
            default = each.default_value
            if default is not None:
                self._value(default, type_)
            defined[name] = (type_, default is not None and not isinstance(default, NullValueNode))
        used: set[str] = set()
        for body in bodies:
            for (name, _, place_has_default), place in body.uses.items():
                if name not in defined:
                    raise _Doubt
                used.add(name)
                type_, has_default = defined[name]
                expected = place
                if isinstance(place, GraphQLNonNull) and not isinstance(type_, GraphQLNonNull):
                    if not has_default and not place_has_default:
                        raise _Doubt
                    expected = place.of_type
                if not self._valid.fits(type_, expected):
                    raise _Doubt
        if len(used) < len(defined):
            raise _Doubt

    def _no_cycles(self) -> None:
        """Each fragment is done when all that it spreads is done; what stays over goes round."""
        waiting = {name: set(body.spreads) for name, body in self._bodies.items()}
        while waiting:
            done = {name for name, spreads in waiting.items() if not spreads & waiting.keys()}
            if not done:
                raise _Doubt
            for name in done:
                del waiting[name]

    def _body(self, selections: SelectionSetNode, parent: str) -> _Body:
        self._here = body = _Body()
        self._selections(selections, parent)
        return body

    # As deep as the document's brackets, of which there are few (`execution/document.py`).
    def _selections(self, within: SelectionSetNode, parent: str) -> None:
        for selection in within.selections:
            if self._tick is not None:
                self._tick()
            if selection.directives:
                self._conditions(selection.directives)
            if isinstance(selection, FieldNode):
                self._selected(selection, parent)
            elif isinstance(selection, InlineFragmentNode):
                condition = selection.type_condition
                of = parent if condition is None else condition.name.value
                self._valid.meet(parent, of)
                self._selections(selection.selection_set, of)
            elif isinstance(selection, FragmentSpreadNode):
                fragment = self._fragments.get(selection.name.value)
                if fragment is None:
                    raise _Doubt
                self._valid.meet(parent, fragment.type_condition.name.value)
                self._here.spreads.add(selection.name.value)

    def _selected(self, node: FieldNode, parent: str) -> None:
        name = node.name.value
        if name == "__typename":
            if node.arguments or node.selection_set is not None:
                raise _Doubt
            return
        of = self._valid.field(parent, name)
        if node.arguments or of.arguments.required:
            self._arguments(node.arguments or (), of.arguments)
        if (node.selection_set is None) is not (of.below is None):
            raise _Doubt
        if node.selection_set is not None and of.below is not None:
            self._selections(node.selection_set, of.below)

    def _arguments(self, given: Iterable[ArgumentNode], takes: _Given) -> None:
        names = set()
        for each in given:
            name = each.name.value
            type_ = takes.types.get(name)
            if type_ is None or name in names:
                raise _Doubt
            names.add(name)
            self._value(each.value, type_, has_default=name in takes.defaults)
        if not takes.required <= names:
            raise _Doubt

    def _conditions(self, directives: Iterable[DirectiveNode]) -> None:
        names = set()
        for each in directives:
            name, given = each.name.value, each.arguments or ()
            if name not in ("skip", "include") or name in names or len(given) != 1 or given[0].name.value != "if":
                raise _Doubt
            names.add(name)
            self._value(given[0].value, _CONDITION)

    def _value(self, node: ValueNode, type_: Any, /, *, has_default: bool = False) -> None:
        if isinstance(node, VariableNode):
            self._here.uses[node.name.value, id(type_), has_default] = type_
            return
        if isinstance(type_, GraphQLNonNull):
            if isinstance(node, NullValueNode):
                raise _Doubt
            type_ = type_.of_type
        if isinstance(node, NullValueNode):
            return
        if isinstance(type_, GraphQLList):
            if isinstance(node, ListValueNode):
                for each in node.values:
                    self._value(each, type_.of_type)
            else:
                self._value(node, type_.of_type)
        elif isinstance(type_, GraphQLInputObjectType):
            self._object(node, type_)
        else:
            _leaf(node, type_)

    def _object(self, node: ValueNode, type_: GraphQLInputObjectType) -> None:
        if not isinstance(node, ObjectValueNode):
            raise _Doubt
        takes, names = self._valid.input(type_.name), set()
        for each in node.fields:
            name = each.name.value
            of = takes.types.get(name)
            if of is None or name in names:
                raise _Doubt
            names.add(name)
            if type_.is_one_of and isinstance(each.value, VariableNode | NullValueNode):
                raise _Doubt
            self._value(each.value, of, has_default=name in takes.defaults)
        if not takes.required <= names or (type_.is_one_of and len(names) != 1):
            raise _Doubt


def _field(of: Any) -> _Field:
    named = get_named_type(of.type)
    return _Field(_given(of.args, is_required_argument), named.name if is_composite_type(named) else None)


def _given(takes: Mapping[str, Any], is_required: Callable[[Any], bool]) -> _Given:
    return _Given(
        {name: each.type for name, each in takes.items()},
        frozenset(name for name, each in takes.items() if is_required(each)),
        frozenset(
            name for name, each in takes.items() if each.default is not None or each.default_value is not Undefined
        ),
    )


def _leaf(node: ValueNode, type_: Any) -> None:
    """A literal of a scalar or an enum; what is not plainly right is the library's to judge."""
    if isinstance(node, StringValueNode):
        plain = type_ is GraphQLString or type_ is GraphQLID
    elif isinstance(node, IntValueNode):
        # Twelve digits are more than an Int holds, and few enough to count with.
        plain = type_ is GraphQLID or (type_ is GraphQLInt and len(node.value) < 12 and _in_range(int(node.value)))
    elif isinstance(node, BooleanValueNode):
        plain = type_ is GraphQLBoolean
    elif isinstance(node, EnumValueNode):
        plain = isinstance(type_, GraphQLEnumType) and node.value in type_.values
    elif isinstance(node, FloatValueNode):
        plain = type_ is GraphQLFloat and len(node.value) < 20 and math.isfinite(float(node.value))
    else:
        raise _Doubt
    if not plain:
        _asked(node, type_)


def _in_range(number: int) -> bool:
    return INT_MIN <= number <= INT_MAX


def _asked(node: ValueNode, type_: Any) -> None:
    if not is_leaf_type(type_):
        raise _Doubt

    def wrong(_error: GraphQLError, _path: list[str | int]) -> None:
        raise _Doubt

    validate_input_literal(node, type_, wrong)
