"""Whether an operation asks about the schema: nothing of that depends on who asks, and all of it takes long.

So it is answered on the planning thread, and nothing else may stand beside it: what else there is needs the event loop,
where the library would describe the schema too, and everybody would wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
)

if TYPE_CHECKING:  # document.py imports this file
    from execution.document import Document

TYPENAME = "__typename"
_ABOUT_THE_SCHEMA = {"__schema", "__type"}


def alone(document: Document, operation_name: str | None) -> bool:
    """Whether the operation asks for `__schema` or `__type`; a document that may be run has nothing beside them."""
    operation = document.operation(operation_name)
    return operation is not None and not _roots(operation, _fragments(document.ast)).isdisjoint(_ABOUT_THE_SCHEMA)


def is_mixed(document: DocumentNode) -> bool:
    """Whether an operation asks about the schema and for anything else but `__typename`, left out or not."""
    fragments = _fragments(document)
    for each in document.definitions:
        if isinstance(each, OperationDefinitionNode):
            names = _roots(each, fragments)
            if not names.isdisjoint(_ABOUT_THE_SCHEMA) and not names <= {*_ABOUT_THE_SCHEMA, TYPENAME}:
                return True
    return False


def _fragments(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    return {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}


def _roots(operation: OperationDefinitionNode, fragments: dict[str, FragmentDefinitionNode]) -> set[str]:
    """The names of an operation's root fields, whatever @skip and @include say."""
    names: set[str] = set()
    spread: set[str] = set()
    waiting = [operation.selection_set]
    while waiting:
        for selection in waiting.pop().selections:
            if isinstance(selection, FieldNode):
                names.add(selection.name.value)
            elif isinstance(selection, InlineFragmentNode):
                waiting.append(selection.selection_set)
            elif isinstance(selection, FragmentSpreadNode) and selection.name.value not in spread:
                spread.add(selection.name.value)
                if selection.name.value in fragments:
                    waiting.append(fragments[selection.name.value].selection_set)
    return names
