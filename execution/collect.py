"""The specification's CollectFields: which fields stand below some fields, for rows of one type.

For plans (`execution/plan.py`) and for the library's reads (`execution/selection.py`) alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLIncludeDirective,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLSkipDirective,
    InlineFragmentNode,
    SelectionSetNode,
    get_directive_values,
    is_abstract_type,
)
from graphql.execution.values import VariableValues

Fields = tuple[FieldNode, ...]


class Collector:
    """Reads the selections of one operation under what its @skip and @include say."""

    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: VariableValues,
        /,
        *,
        tick: Callable[[], None] | None = None,
    ) -> None:
        """`tick` is called for each selection that is looked at; it may raise to end the reading."""
        self._schema = schema
        self._fragments = fragments
        self._variables = variables
        self.tick = tick
        self._known: dict[tuple[str, tuple[int, ...]], dict[str, Fields]] = {}

    def below(self, of: GraphQLObjectType, same: Fields) -> dict[str, Fields]:
        """By response name, once a type: a fragment that is spread often is walked once."""
        key = (of.name, tuple(id(each) for each in same))
        found = self._known.get(key)
        if found is None:
            sets = [each.selection_set for each in same if each.selection_set is not None]
            found = self._known[key] = self.of_sets(of, *sets)
        return found

    def of_sets(self, of: GraphQLObjectType, *sets: SelectionSetNode) -> dict[str, Fields]:
        """The fields of some selection sets that are one, by response name."""
        found: dict[str, list[FieldNode]] = {}
        visited: set[str] = set()
        for each in sets:
            self._walk(of, each, found=found, visited=visited)
        return {response: tuple(fields) for response, fields in found.items()}

    def _walk(
        self,
        of: GraphQLObjectType,
        selections: SelectionSetNode,
        *,
        found: dict[str, list[FieldNode]],
        visited: set[str],
    ) -> None:
        for selection in selections.selections:
            if self.tick is not None:
                self.tick()
            if not self._included(selection):
                continue
            if isinstance(selection, FieldNode):
                found.setdefault((selection.alias or selection.name).value, []).append(selection)
            elif isinstance(selection, InlineFragmentNode):
                condition = selection.type_condition
                if condition is None or self._fits(of, condition.name.value):
                    self._walk(of, selection.selection_set, found=found, visited=visited)
            elif isinstance(selection, FragmentSpreadNode) and selection.name.value not in visited:
                visited.add(selection.name.value)
                fragment = self._fragments[selection.name.value]
                if self._fits(of, fragment.type_condition.name.value):
                    self._walk(of, fragment.selection_set, found=found, visited=visited)

    def _included(self, selection: Any) -> bool:
        if not selection.directives:
            return True
        skip = get_directive_values(GraphQLSkipDirective, selection, self._variables)
        if skip is not None and skip["if"]:
            return False
        include = get_directive_values(GraphQLIncludeDirective, selection, self._variables)
        return include is None or bool(include["if"])

    def _fits(self, of: GraphQLObjectType, condition: str) -> bool:
        if condition == of.name:
            return True
        other = self._schema.type_map[condition]
        return is_abstract_type(other) and self._schema.is_sub_type(other, of)
