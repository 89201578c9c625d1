"""Fields that answer under one response name must be mergeable (specification, section 5.3.2), checked in n log n.

The library's rule compares pairs of fields, which a short document makes very many of. Here fields are gathered by
response name once for each set of selection sets that is merged, as Simon Adameit described it for Sangria: one
round asks whether the shapes agree, whatever the parents; another whether what may apply to one object is one field
with equal arguments. Verdicts are those of the library's rule (its oracle in the tests) but for one: the library
refuses a document for which its own budget of comparisons does not suffice, valid or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    StringValueNode,
    ValueNode,
    VariableNode,
    get_named_type,
    is_leaf_type,
)

CONFLICTS_MAX = 20


class _Found(NamedTuple):
    """A field where it stands."""

    parent: GraphQLNamedType | None
    node: FieldNode
    type: Any  # None where the schema has no such field


class _Set(NamedTuple):
    """A selection set and the type it is asked of."""

    parent: GraphQLNamedType | None
    node: SelectionSetNode


Merged = tuple[_Set, ...]
Path = tuple[str, ...]


def conflicts(
    schema: GraphQLSchema, document: DocumentNode, tick: Callable[[], None] | None = None
) -> list[GraphQLError]:
    """What cannot be merged, in the words of the library, at most 20 of them.

    `tick` is called for each field that is looked at; it may raise to end the search.
    """
    return _Search(schema, document, tick).found()


class _Search:
    def __init__(self, schema: GraphQLSchema, document: DocumentNode, tick: Callable[[], None] | None) -> None:
        self._schema = schema
        self._tick = tick
        self._fragments: dict[str, FragmentDefinitionNode] = {}
        self._operations: list[OperationDefinitionNode] = []
        for each in document.definitions:
            if isinstance(each, FragmentDefinitionNode):
                # As the library has it, of two with one name the last one counts.
                self._fragments[each.name.value] = each
            elif isinstance(each, OperationDefinitionNode):
                self._operations.append(each)
        self._spread: set[str] = set()
        self._collected: dict[frozenset[int], dict[str, list[_Found]]] = {}
        self._arguments: dict[int, Any] = {}
        self._errors: list[GraphQLError] = []

    def found(self) -> list[GraphQLError]:
        tops: list[Merged] = [
            (_Set(self._schema.get_root_type(each.operation), each.selection_set),) for each in self._operations
        ]
        self._all(tops)
        # A fragment that nobody spreads is an error of another rule, and checked all the same.
        self._all([self._of_fragment(each) for name, each in self._fragments.items() if name not in self._spread])
        return self._errors

    def _of_fragment(self, fragment: FragmentDefinitionNode) -> Merged:
        return (_Set(self._schema.type_map.get(fragment.type_condition.name.value), fragment.selection_set),)

    def _all(self, tops: Iterable[Merged]) -> None:
        for check in (self._shapes, self._fields):
            seen: set[frozenset[int]] = set()
            waiting: list[tuple[Merged, Path]] = [(top, ()) for top in tops]
            while waiting and len(self._errors) < CONFLICTS_MAX:
                sets, path = waiting.pop()
                key = _key(sets)
                if key not in seen:
                    seen.add(key)
                    waiting += check(key, sets, path)

    def _shapes(self, key: frozenset[int], sets: Merged, path: Path, /) -> list[tuple[Merged, Path]]:
        """Whatever object stands there, the answers under one name must have one shape."""
        below: list[tuple[Merged, Path]] = []
        for response, same in self._fields_of(key, sets).items():
            if len(same) == 1:
                below += _beneath(same, (*path, response))
                continue
            typed = [each for each in same if each.type is not None]
            first = _shape(typed[0].type) if typed else None
            other = next((each for each in typed if _shape(each.type) != first), None)
            if other is not None:
                reason = f"they return conflicting types '{typed[0].type}' and '{other.type}'"
                self._tell((*path, response), reason, typed[0], other)
            else:
                below += _beneath(same, (*path, response))
        return below

    def _fields(self, key: frozenset[int], sets: Merged, path: Path, /) -> list[tuple[Merged, Path]]:
        """What may be asked of one object under one name must be one field with equal arguments."""
        below: list[tuple[Merged, Path]] = []
        for response, same in self._fields_of(key, sets).items():
            for group in _together(same):
                first, other = group[0], self._different(group)
                if other is None:
                    below += _beneath(group, (*path, response))
                elif other.node.name.value != first.node.name.value:
                    names = f"'{first.node.name.value}' and '{other.node.name.value}'"
                    self._tell((*path, response), f"{names} are different fields", first, other)
                else:
                    self._tell((*path, response), "they have differing arguments", first, other)
        return below

    def _different(self, group: list[_Found]) -> _Found | None:
        if len(group) == 1:
            return None
        first = group[0].node
        name, arguments = first.name.value, self._arguments_of(first)
        for each in group:
            node = each.node
            if node.name.value != name or self._arguments_of(node) != arguments:
                return each
        return None

    def _arguments_of(self, node: FieldNode) -> Any:
        if not node.arguments:
            return ()
        found = self._arguments.get(id(node))
        if found is None:
            given = sorted(((each.name.value, _value(each.value)) for each in node.arguments), key=_name)
            found = self._arguments[id(node)] = tuple(given)
        return found

    def _tell(self, path: Path, reason: str, /, *found: _Found) -> None:
        for response in reversed(path[1:]):
            reason = f"subfields '{response}' conflict because {reason}"
        message = (
            f"Fields '{path[0]}' conflict because {reason}."
            " Use different aliases on the fields to fetch both if this was intentional."
        )
        self._errors.append(GraphQLError(message, [each.node for each in found]))

    def _fields_of(self, key: frozenset[int], sets: Merged) -> dict[str, list[_Found]]:
        """The fields of all these sets by response name, each fragment's once."""
        found = self._collected.get(key)
        if found is not None:
            return found
        found = self._collected[key] = {}
        visited: set[str] = set()
        waiting = list(reversed(sets))
        while waiting:
            parent, node = waiting.pop()
            for selection in node.selections:
                if self._tick is not None:
                    self._tick()
                if isinstance(selection, FieldNode):
                    response = (selection.alias or selection.name).value
                    found.setdefault(response, []).append(_Found(parent, selection, _type(parent, selection)))
                elif isinstance(selection, InlineFragmentNode):
                    condition = selection.type_condition
                    of = parent if condition is None else self._schema.type_map.get(condition.name.value)
                    waiting.append(_Set(of, selection.selection_set))
                elif isinstance(selection, FragmentSpreadNode) and selection.name.value not in visited:
                    visited.add(selection.name.value)
                    fragment = self._fragments.get(selection.name.value)
                    if fragment is not None:
                        waiting += self._of_fragment(fragment)
        self._spread |= visited
        return found


def _key(sets: Merged) -> frozenset[int]:
    # A selection set stands at one place of the document, so that it says its parent too.
    return frozenset([id(each.node) for each in sets])


def _beneath(fields: Iterable[_Found], path: Path) -> list[tuple[Merged, Path]]:
    sets = tuple(
        _Set(None if each.type is None else get_named_type(each.type), each.node.selection_set)
        for each in fields
        if each.node.selection_set is not None
    )
    return [(sets, path)] if sets else []


def _together(same: list[_Found]) -> list[list[_Found]]:
    """Groups of fields that may apply to one object: two different object types never do, all else may."""
    if len(same) == 1:
        return [same]
    abstract: list[_Found] = []
    concrete: dict[str, list[_Found]] = {}
    for each in same:
        if isinstance(each.parent, GraphQLObjectType):
            concrete.setdefault(each.parent.name, []).append(each)
        else:
            abstract.append(each)
    return [[*abstract, *group] for group in concrete.values()] if concrete else [abstract]


def _type(parent: GraphQLNamedType | None, node: FieldNode) -> Any:
    if not isinstance(parent, GraphQLObjectType | GraphQLInterfaceType):
        return None
    field = parent.fields.get(node.name.value)
    return None if field is None else field.type


def _shape(type_: Any) -> tuple[str, str | None]:
    """Two types that differ here cannot stand for one value: wrappers, and the name of a leaf."""
    wrappers = ""
    while isinstance(type_, GraphQLNonNull | GraphQLList):
        wrappers += "!" if isinstance(type_, GraphQLNonNull) else "["
        type_ = type_.of_type
    return wrappers, type_.name if is_leaf_type(type_) else None


def _value(node: ValueNode) -> Any:
    """A literal, comparable: fields of objects in any order, everything else as it was written."""
    if isinstance(node, VariableNode):
        return ("$", node.name.value)
    if isinstance(node, ObjectValueNode):
        fields = sorted(((each.name.value, _value(each.value)) for each in node.fields), key=_name)
        return ("{", tuple(fields))
    if isinstance(node, ListValueNode):
        return ("[", tuple(_value(each) for each in node.values))
    if isinstance(node, StringValueNode):
        return ('"', node.value, node.block is True)
    if isinstance(node, NullValueNode):
        return ("null",)
    return (type(node).__name__, node.value)  # type: ignore[attr-defined]


def _name(pair: tuple[str, Any]) -> str:
    return pair[0]
