"""Variables → values of their types: plainly where each is given and of its type already, else by the library.

The library reads a variable's type out of the document for every request; here that is done once. What holds too much
is refused before its type is looked at: telling all that is wrong with a hundred thousand values takes seconds.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from graphql import (
    FieldNode,
    GraphQLBoolean,
    GraphQLError,
    GraphQLID,
    GraphQLSchema,
    GraphQLString,
    ValueNode,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    get_nullable_type,
    get_variable_values,
    visit,
)
from graphql.execution.get_variable_signature import GraphQLVariableSignature, get_variable_signature
from graphql.execution.values import VariableValues, VariableValueSource

from base import errors
from base.settings import LIMITS, Limits

VALUES_MAX = 5_000  # within lists and objects, of all variables together
ERRORS_MAX = 20

NONE = VariableValues({}, {})
# What the library leaves as it is.
PLAIN: dict[object, type] = {GraphQLString: str, GraphQLID: str, GraphQLBoolean: bool}


class Variables:
    """The variables of one operation."""

    __slots__ = ("_definitions", "_limits", "_plain", "_schema")

    def __init__(
        self, schema: GraphQLSchema, definitions: Collection[VariableDefinitionNode], *, limits: Limits = LIMITS
    ) -> None:
        self._limits = limits
        self._schema = schema
        self._definitions = definitions
        self._plain: list[tuple[GraphQLVariableSignature, type]] | None = []
        for definition in definitions:
            signature = get_variable_signature(schema, definition)
            kind = None if isinstance(signature, GraphQLError) else PLAIN.get(get_nullable_type(signature.type))
            if kind is None or isinstance(signature, GraphQLError):
                self._plain = None
                break
            self._plain.append((signature, kind))

    def values(self, given: dict[str, Any]) -> VariableValues | list[GraphQLError]:
        """The values, or what is wrong with them."""
        if not self._definitions:
            return NONE
        return self._plainly(given) or get_variable_values(
            self._schema, self._definitions, given, max_errors=ERRORS_MAX
        )

    def too_much(self, given: dict[str, Any]) -> GraphQLError | None:
        """Which variable holds more than is looked at, and how; what the operation does not declare, nobody reads."""
        values, limits = 0, self._limits
        for definition in self._definitions:
            name = definition.variable.name.value
            waiting = [(given.get(name), 1)]
            while waiting:
                value, depth = waiting.pop()
                if not isinstance(value, list | dict):
                    continue
                values += len(value)
                if depth > limits.variable_depth:
                    says = f"is nested more than {limits.variable_depth} levels deep"
                elif len(value) > limits.variable_entries:
                    says = f"has {len(value):,} entries in one place; at most {limits.variable_entries} are taken"
                elif values > VALUES_MAX:
                    says = f"makes it more than {VALUES_MAX:,} values within lists and objects"
                else:
                    waiting += [(each, depth + 1) for each in (value.values() if isinstance(value, dict) else value)]
                    continue
                code = {"code": errors.BadUserInput.code}
                return GraphQLError(f'Variable "${name}" {says}.', definition, extensions=code)
        return None

    def _plainly(self, given: dict[str, Any]) -> VariableValues | None:
        if self._plain is None:
            return None
        sources: dict[str, VariableValueSource] = {}
        coerced: dict[str, Any] = {}
        for signature, kind in self._plain:
            name = signature.name
            value = given.get(name)
            if type(value) is not kind:
                return None
            sources[name], coerced[name] = VariableValueSource(signature, value), value
        return VariableValues(sources, coerced)


class _Finder(Visitor):
    found = False

    def enter_variable(self, _node: VariableNode, *_: object) -> None:
        self.found = True


def has_variables(node: FieldNode | ValueNode) -> bool:
    """Whether any stands in a value, or in a field's arguments."""
    finder = _Finder()
    for part in (node.arguments or ()) if isinstance(node, FieldNode) else (node,):
        visit(part, finder)
    return finder.found
