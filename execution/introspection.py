"""Whether an operation asks about the schema alone: nothing of it depends on who asks, and all of it takes long."""

from __future__ import annotations

from graphql import FieldNode, FragmentDefinitionNode, FragmentSpreadNode, InlineFragmentNode

from execution.document import Document

TYPENAME = "__typename"


def alone(document: Document, operation_name: str | None) -> bool:
    """Whether the operation asks for `__schema` or `__type`, and for nothing else but `__typename` beside it."""
    operation = document.operation(operation_name)
    if operation is None:
        return False
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
                waiting += [
                    each.selection_set
                    for each in document.ast.definitions
                    if isinstance(each, FragmentDefinitionNode) and each.name.value == selection.name.value
                ]
    return all(name.startswith("__") for name in names) and names != {TYPENAME}
