"""Text → a document that may be run: limits while lexing and parsing, limits on its shape, validation.

It runs on the planning thread (`execution/planning.py`) within a budget of processor time. What passed is kept in
`execution/documents.py`; who may use a field and how many rows it costs is not here.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast

from graphql import (
    ASTValidationRule,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    InlineFragmentNode,
    Location,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OperationType,
    OverlappingFieldsCanBeMergedRule,
    SelectionNode,
    SelectionSetNode,
    Source,
    Token,
    TokenKind,
    ValidationContext,
    VariableNode,
    get_operation_ast,
    specified_rules,
    validate,
)
from graphql.language import Lexer
from graphql.language.parser import Parser

from base import errors
from base.settings import LIMITS, Limits
from execution import introspection, overlap
from execution.amounts import OperationCost
from execution.steps import Plan, Ready
from execution.valid import Valid
from execution.variables import Variables

DOCUMENT_CHARACTERS_MAX = 100_000
COMMENTS_MAX = 2_000
BRACKETS_DEPTH_MAX = 60
# Selection sets within each other, fragments included: what walks them may recurse.
NESTING_MAX = 100
PLANNING_SECONDS_MAX = 0.1
# No number of ours has more; the interpreter reads none of more than 4,300 digits, and says so in its own words.
NUMBER_CHARACTERS_MAX = 400
TICKS_BETWEEN_LOOKS = 64

T = TypeVar("T")
_TOO_DEAR = errors.CostLimitExceeded.code
_NO_TOKEN = Token(TokenKind.SOF, 0, 0, 0, 0)
_NUMBERS = {TokenKind.INT, TokenKind.FLOAT}
_OPENING = {TokenKind.BRACE_L, TokenKind.BRACKET_L, TokenKind.PAREN_L}
_CLOSING = {TokenKind.BRACE_R, TokenKind.BRACKET_R, TokenKind.PAREN_R}


class Unfit(Exception):
    """A document that is not run; each error carries its `extensions.code`."""

    def __init__(self, found: list[GraphQLError]) -> None:
        super().__init__(found[0].message)
        self.errors = found


class OutOfBudget(Unfit):
    """A document that took too long to look at; another time it might not."""


class Budget:
    """How long one document may be worked on, in processor time of the thread at hand, and how much was looked at."""

    __slots__ = ("_until", "ticks")

    def __init__(self, seconds: float | None = None) -> None:
        self.ticks = 0
        self._until = time.thread_time() + (PLANNING_SECONDS_MAX if seconds is None else seconds)

    def tick(self) -> None:
        """Something was looked at. Raises OutOfBudget where that was too much."""
        self.ticks += 1
        if self.ticks % TICKS_BETWEEN_LOOKS == 0 and time.thread_time() > self._until:
            raise OutOfBudget(_coded([GraphQLError("The document takes too long to plan.")], _TOO_DEAR))


def in_budget(work: Callable[[Budget], T]) -> T:
    """What `work` returns. Once it may be out of budget, as the garbage collector may have had its time meanwhile.

    Raises OutOfBudget.
    """
    try:
        return work(Budget())
    except OutOfBudget:
        return work(Budget())


@dataclass(slots=True)
class Document:
    """A document that may be run, and the plans that were made of it."""

    text: str
    ast: DocumentNode
    tokens: int
    # The variables in @skip and @include, sorted: a plan is made for each combination of their values.
    conditions: tuple[str, ...]
    # By the operation's name and what the conditions' variables hold; None: not for a plan.
    plans: dict[tuple[Any, ...], Plan | None] = field(default_factory=dict)
    costs: dict[tuple[Any, ...], OperationCost] = field(default_factory=dict)  # by the same
    variables: dict[str | None, Variables] = field(default_factory=dict)  # by the operation's name
    ready: dict[str | None, Ready] = field(default_factory=dict)  # by the same, where it takes no variables
    _operations: dict[str | None, OperationDefinitionNode | None] = field(default_factory=dict)

    def operation(self, name: str | None) -> OperationDefinitionNode | None:
        """The operation of this name, or the only one; None where there is none."""
        found = self._operations.get(name)
        if found is None:
            found = get_operation_ast(self.ast, name)
            if found is not None:
                self._operations[name] = found
        return found

    def kind(self, name: str | None) -> OperationType | None:
        """Whether that operation is a query, a mutation or a subscription."""
        operation = self.operation(name)
        return None if operation is None else operation.operation


class Reader:
    """Reads documents of one schema."""

    def __init__(self, schema: GraphQLSchema, *, introspection: bool, limits: Limits = LIMITS) -> None:
        """`introspection=False` refuses it, and tells no names in messages."""
        self._schema = schema
        self._limits = limits
        self._hides = not introspection
        self._valid = Valid(schema)
        self._rules = [
            *(rule for rule in specified_rules if rule is not OverlappingFieldsCanBeMergedRule),
            *([] if introspection else [NoSchemaIntrospectionCustomRule]),
        ]

    def read(self, text: str, budget: Budget | None = None) -> Document:
        """The document of this text: parse, look at its shape, validate. Raises Unfit."""
        budget = budget or Budget()
        check_length(text)
        try:
            ast, tokens = _parsed(text, self._limits.tokens)
            conditions = _check_shape(ast, self._limits)
            found = self._wrong(ast, budget)
        except GraphQLSyntaxError as error:
            raise Unfit(_coded([_plain(error, text)], "GRAPHQL_PARSE_FAILED")) from None
        except RecursionError:
            raise too_dear("The document is nested too deeply.") from None
        if found:
            # A visit that was broken off remembers where it was: without what hangs on it, that is little.
            for definition in ast.definitions:
                object.__setattr__(definition, "selection_set", None)
            raise Unfit(_coded([_plain(each, text) for each in found], "GRAPHQL_VALIDATION_FAILED"))
        return Document(text, ast, tokens, conditions)

    def _wrong(self, ast: DocumentNode, budget: Budget) -> list[GraphQLError]:
        """What is wrong with it; the library is asked only where our own pass has doubts."""
        found: list[GraphQLError] = []
        if not self._valid.surely(ast, budget.tick):
            found = self._asked(ast, budget)
        return [*found, *overlap.conflicts(self._schema, ast, budget.tick)][: self._limits.errors]

    def _asked(self, ast: DocumentNode, budget: Budget) -> list[GraphQLError]:
        """What the library's rules say."""
        made: list[ASTValidationRule] = []

        def making(rule: type[ASTValidationRule], context: ValidationContext) -> ASTValidationRule:
            made.append(rule(context))
            return made[-1]

        rules = [partial(_Ticking, budget), *(partial(making, rule) for rule in self._rules)]
        try:
            return validate(
                self._schema,
                ast,
                cast("list[type[ASTValidationRule]]", rules),
                max_errors=self._limits.errors,
                hide_suggestions=self._hides,
            )
        finally:
            # Rules remember their own methods, and by their context the document: taken apart, they go at once.
            for each in made:
                vars(each.context).clear()
                vars(each).clear()


def check_length(text: str) -> None:
    """Raises Unfit where the text is too long to be looked at."""
    if len(text) > DOCUMENT_CHARACTERS_MAX:
        raise too_dear(f"The document has more than {DOCUMENT_CHARACTERS_MAX} characters: send values as variables.")


def too_dear(message: str) -> Unfit:
    """The refusal of a document by its size or shape."""
    return Unfit(_coded([GraphQLError(message)], _TOO_DEAR))


def _plain(error: GraphQLError, text: str) -> GraphQLError:
    """The error with its places, and without the nodes and frames that it came from."""
    return GraphQLError(error.message, source=Source(text), positions=error.positions)


def _coded(found: list[GraphQLError], code: str) -> list[GraphQLError]:
    for error in found:
        error.extensions = {**(error.extensions or {}), "code": code}
    return found


class _Ticking(ASTValidationRule):
    """A rule that finds nothing but the end of the budget."""

    def __init__(self, budget: Budget, context: ValidationContext) -> None:
        super().__init__(context)
        self._tick = budget.tick

    def enter(self, *_: Any) -> None:
        self._tick()


# ---------------------------------------------------------------- tokens


class _Counting(Lexer):
    """Ends the reading of what is too long or too deep; the parser, which recurses, comes no further.

    Tokens that were read know each other no more, so that they go as soon as nobody needs them: in a ring they would
    wait for the garbage collector, and a flood of documents would make it stop everybody again and again.
    """

    def __init__(self, source: Source, most: int) -> None:
        super().__init__(source)
        self.most = most
        self.count = self.depth = 0

    def advance(self) -> Token:
        token = super().advance()
        each: Token | None = self.last_token
        while each is not None and each is not token:
            each.prev, each.next, each = None, None, each.next
        token.prev = None
        kind = token.kind
        if kind is not TokenKind.EOF:
            self.count += 1
            if self.count > self.most:
                raise too_dear(f"The document has more than {self.most} tokens.")
        if kind in _NUMBERS and len(token.value or "") > NUMBER_CHARACTERS_MAX:
            raise too_dear(f"A number in the document has more than {NUMBER_CHARACTERS_MAX} characters.")
        if kind in _OPENING:
            self.depth += 1
            if self.depth > BRACKETS_DEPTH_MAX:
                raise too_dear(f"The document is nested more than {BRACKETS_DEPTH_MAX} brackets deep.")
        elif kind in _CLOSING:
            self.depth -= 1
        return token


class _Placing(Parser):
    """Nodes know where they stand, for the places of errors, and no tokens, which are more than half of a document."""

    def loc(self, start_token: Token) -> Location | None:
        place = super().loc(start_token)
        if place is not None:
            place.start_token = place.end_token = _NO_TOKEN
        return place


def _parsed(text: str, most: int) -> tuple[DocumentNode, int]:
    lexer = _Counting(Source(text), most)
    return _Placing(lexer.source, lexer=lexer, max_comments=COMMENTS_MAX).parse_document(), lexer.count


# ---------------------------------------------------------------- shape


@dataclass(slots=True)
class _Counts:
    aliases: int = 0
    by_field: Counter[str] = field(default_factory=Counter)
    directives: int = 0
    conditions: set[str] = field(default_factory=set)


# Deeper than nothing: what is spread here only, within introspection, counts no levels.
_NOWHERE = (-DOCUMENT_CHARACTERS_MAX, 0)


@dataclass(slots=True)
class _Reach:
    """How deep a definition goes by itself, in fields and in selection sets, and how deep in it others are spread."""

    fields: int = 0
    sets: int = 0
    spreads: dict[str, tuple[int, int]] = field(default_factory=dict)


def _check_shape(document: DocumentNode, limits: Limits) -> tuple[str, ...]:
    """The variables in its conditions. Raises Unfit by the first limit that is broken."""
    operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    fragments = [each for each in document.definitions if isinstance(each, FragmentDefinitionNode)]
    counts = _Counts()
    reaches = {each.name.value: _reach(each.selection_set, counts) for each in fragments}
    tops = [_reach(each.selection_set, counts) for each in operations]
    counts.directives += sum(len(each.directives or ()) for each in (*operations, *fragments))
    known: dict[str, tuple[int, int]] = {}
    deep = [_depth(each, reaches, known) for each in tops]
    levels = max((fields for fields, _ in deep), default=0)
    if levels > limits.depth:
        raise too_dear(f"The operation is {levels} levels deep; at most {limits.depth} are served.")
    for what, count, limit in (
        ("selection sets within each other", max((sets for _, sets in deep), default=0), NESTING_MAX),
        ("operations", len(operations), limits.operations),
        ("fragments", len(fragments), limits.fragments),
        ("aliases", counts.aliases, limits.aliases),
        ("aliases of one field", max(counts.by_field.values(), default=0), limits.aliases_of_a_field),
        ("directives", counts.directives, limits.directives),
        ("variables in @skip and @include", len(counts.conditions), limits.conditions),
    ):
        if count > limit:
            raise too_dear(f"The document has {count} {what}; at most {limit} are served.")
    if introspection.is_mixed(document):
        raise too_dear("Ask about the schema (__schema, __type) in an operation that asks for nothing else.")
    return tuple(sorted(counts.conditions))


def _reach(top: SelectionSetNode, counts: _Counts) -> _Reach:
    """What one definition holds, counted; nothing is followed."""
    reach, waiting = _Reach(), [(top, 0, 1, True)]
    while waiting:
        within, fields, sets, counted = waiting.pop()
        reach.sets = max(reach.sets, sets)
        for selection in within.selections:
            _count(selection, counts)
            if isinstance(selection, FragmentSpreadNode):
                name = selection.name.value
                before = reach.spreads.get(name, _NOWHERE)
                reach.spreads[name] = (max(before[0], fields if counted else _NOWHERE[0]), max(before[1], sets))
                continue
            deeper, inside = fields, counted
            if isinstance(selection, FieldNode) and counted:
                deeper += 1
                # Introspection has a rule of its own for how deep it may go.
                inside = not selection.name.value.startswith("__")
            reach.fields = max(reach.fields, deeper)
            if isinstance(selection, FieldNode | InlineFragmentNode) and selection.selection_set is not None:
                waiting.append((selection.selection_set, deeper, sets + 1, inside))
    return reach


def _depth(reach: _Reach, reaches: dict[str, _Reach], known: dict[str, tuple[int, int]], /) -> tuple[int, int]:
    """Fields and selection sets within each other; a fragment is measured once, and one that goes round adds none."""
    fields, sets = reach.fields, reach.sets
    for name, (at_fields, at_sets) in reach.spreads.items():
        if name not in reaches:
            continue
        if name not in known:
            known[name] = (0, 0)
            known[name] = _depth(reaches[name], reaches, known)
        fields, sets = max(fields, at_fields + known[name][0]), max(sets, at_sets + known[name][1])
    return fields, sets


def _count(selection: SelectionNode, counts: _Counts) -> None:
    if isinstance(selection, FieldNode) and selection.alias is not None:
        counts.aliases += 1
        counts.by_field[selection.name.value] += 1
    for directive in selection.directives or ():
        counts.directives += 1
        for argument in directive.arguments or ():
            if isinstance(argument.value, VariableNode):
                counts.conditions.add(argument.value.name.value)
