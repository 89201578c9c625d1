"""What a plan is made of: for each level the columns to fetch, what hangs below, and what is shown in which order.

A plan holds no tenant, user or value. How it is made is in `execution/plan.py`, how it runs in
`execution/run.py`, and how rows become an answer in `execution/emit.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from graphql import FieldNode, GraphQLOutputType
from graphql.execution.values import VariableValues

from execution.amounts import OperationCost
from execution.calls import Call
from execution.declare import Children, Computed, NodeInfo, Through, ToMany, ToOne, Values

Complete = Callable[[Any], Any]


class Unplannable(Exception):
    """This operation is for the library: introspection, or more than a plan may hold."""


class TooWide(Exception):
    """This operation is for nobody; the message says why."""


class Incomplete(Exception):
    """The quick way cannot complete this answer; the library says what is wrong with it, and where."""


class TooMuch(Incomplete):
    """The answer may have more objects than one may have; the library counts exactly."""


@dataclass(slots=True, eq=False)
class Typename:
    """`__typename`."""

    response: str
    name: str


@dataclass(slots=True, eq=False)
class Key:
    """The global id."""

    response: str


@dataclass(slots=True, eq=False)
class Plain:
    """A column."""

    response: str
    key: str
    type: GraphQLOutputType


@dataclass(slots=True, eq=False)
class Made:
    """A value computed of columns; `complete` turns it into JSON."""

    response: str
    how: Computed
    type: GraphQLOutputType
    complete: Complete


@dataclass(slots=True, eq=False)
class Leads:
    """What hangs below: the place among the view's `below`, and how its rows are found from a row's own columns."""

    response: str
    place: int
    keys: tuple[str, ...]
    nullable: bool
    fields: tuple[FieldNode, ...]  # as they stand in the document


Shown = Typename | Key | Plain | Made | Leads


@dataclass(slots=True, eq=False)
class View:
    """One selection over rows of a node."""

    node: NodeInfo
    keys: set[str] = field(default_factory=lambda: {"id"})
    shown: list[Shown] = field(default_factory=list)
    below: list[Below] = field(default_factory=list)
    shared: int = 0  # objects that a row is answered with, where it looks the same to everybody; 0: it does not
    joins: int = 0  # rows that are joined to each row
    layouts: dict[bool, Any] = field(default_factory=dict)  # a Layout, led or not

    def loads(self) -> bool:
        """Whether anything below needs a statement or a call of its own."""
        return any(below.view.loads() if isinstance(below, Joined) else True for below in self.below)


@dataclass(slots=True, eq=False)
class Arguments:
    """A field's arguments: known with the plan, or coerced from the variables each time."""

    known: dict[str, Any] | None
    coerce: Callable[[VariableValues], dict[str, Any]]
    # Constants, and argument → variable, where nothing but whole variables stands in the document.
    constants: dict[str, Any] = field(default_factory=dict)
    plain: dict[str, str] | None = None

    def of(self, variables: VariableValues) -> dict[str, Any]:
        """By GraphQL name. Raises GraphQLError where a variable is missing for a non-null argument."""
        if self.known is not None:
            return self.known
        if self.plain is not None:
            given, values = self.constants.copy(), variables.coerced
            for name, variable in self.plain.items():
                value = values.get(variable)
                if value is None:  # missing or null: what that means depends on types and defaults
                    return self.coerce(variables)
                given[name] = value
            return given
        return self.coerce(variables)


@dataclass(slots=True, eq=False)
class Page:
    """A connection: the views of its rows, and what is shown of it: (response, kind, place of a view or words)."""

    node: NodeInfo
    place: str  # Type.field, which its cursors are bound to
    arguments: Arguments
    shown: list[tuple[str, str, Any]] = field(default_factory=list)
    views: list[View] = field(default_factory=list)
    has_rows: bool = False
    has_count: bool = False
    cursors: bool = False
    layouts: dict[tuple[str, ...], Any] = field(default_factory=dict)  # a Layout, by the order's columns it has too
    stands: dict[tuple[tuple[str, ...], int], Any] = field(default_factory=dict)  # a Stand, by order and size

    def keys(self) -> set[str]:
        """The columns of all views."""
        return {"id"}.union(*(view.keys for view in self.views))


@dataclass(slots=True, eq=False)
class Joined:
    """The row whose id stands in a column, of the same database: a join of the parents' own statement."""

    how: ToOne
    view: View


@dataclass(slots=True, eq=False)
class Lookup:
    """Rows by the ids in a column, from another database or the remembered catalog: one statement for all parents."""

    how: ToOne
    view: View


@dataclass(slots=True, eq=False)
class Nested:
    """A connection below each parent: one statement for all parents."""

    how: ToMany
    page: Page


@dataclass(slots=True, eq=False)
class Rows:
    """A plain list below each parent: one statement for all parents."""

    how: Children | Through
    view: View


@dataclass(slots=True, eq=False)
class Column:
    """A plain list of values below each parent: one statement for all parents."""

    how: Values
    complete: Complete


@dataclass(slots=True, eq=False)
class Called:
    """A field whose function is called before the rows are shown, or answers a read: one call a row, or for all."""

    how: Computed
    made: Complete | View


Below = Joined | Lookup | Nested | Rows | Column | Called


@dataclass(slots=True, eq=False)
class Part:
    """A field of a payload: its Python name (None: `__typename`), what completes it, or the view of its rows."""

    response: str
    name: str | None
    made: Complete | View
    nullable: bool


@dataclass(slots=True, eq=False)
class Payload:
    """A plain object of which some fields may be reads."""

    shown: list[Part] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class AnyNode:
    """Rows whose type is known only when they are read.

    A type of which nothing but what all have is asked has its view made when it is first met.
    """

    bare: Callable[[NodeInfo], View]
    views: dict[str, View] = field(default_factory=dict)

    def view(self, node: NodeInfo) -> View:
        """The selection as it is for this type."""
        found = self.views.get(node.name)
        if found is None:
            found = self.views[node.name] = self.bare(node)
        return found


Answer = Page | View | Payload | AnyNode


@dataclass(slots=True, eq=False)
class RootStep:
    """A root field: its function is called with its arguments, what it returns is read and shown."""

    response: str
    call: Call
    arguments: Arguments
    prepare: Callable[[dict[str, Any]], dict[str, Any]]
    answer: Answer
    nullable: bool
    ready: dict[str, Any] | None = None  # arguments that are known and whole, as the function takes them
    is_pure: bool = False  # what its function returns follows from its arguments alone
    is_everybodys: bool = False  # and its rows look the same to everybody
    waits: bool = False  # its function was seen to wait for somebody
    recipes: dict[Any, Any] = field(default_factory=dict)  # a Recipe, by the kinds of reads that its function returns


@dataclass(slots=True, eq=False)
class Plan:
    """An operation: its root fields in the order of the answer; a text stands for `__typename`."""

    kind: str
    roots: list[RootStep | tuple[str, str]]
    steps: list[RootStep] = field(default_factory=list)  # the roots that are called
    shown: int = 0  # how many fields, in all places where they stand
    refusal: str | None = None  # why it is not served: it is too wide
    body: bytes | None = None  # the whole answer, where it is words alone

    @property
    def is_everybodys(self) -> bool:
        """Whether all that is answered is the same for everybody."""
        return not self.refusal and self.kind != "mutation" and all(step.is_everybodys for step in self.steps)


@dataclass(frozen=True, slots=True)
class Ready:
    """What is to be run, with which values, at which cost; no plan where the library shall answer."""

    plan: Plan | None
    values: VariableValues
    cost: OperationCost
