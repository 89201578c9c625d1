"""The words that schema/ and resolvers/ are written in, and what they leave: nodes, relations, root fields, reads.

Nothing here runs a query or knows a database: `execution/build.py` makes the served schema out
of these declarations, `execution/library.py` answers the reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar, cast, dataclass_transform

import strawberry
from sqlalchemy import ColumnElement

from base.ids import GlobalId
from db.zones import CentralBase, PoolBase
from execution import functions
from execution.access import Access, public
from execution.prices import ListSize

if TYPE_CHECKING:  # the words of a schema need no open house
    from tenancy.viewer import Viewer

ROWS_MAX = 1_000
CHILDREN_MAX = 50
PAGE_NESTED_MAX = 50
ASSUMED = 10  # how long a plain list usually is; its cost is counted by it, its rows are bounded by `limit`

T = TypeVar("T")
C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., object])
Table = type[CentralBase] | type[PoolBase]
Condition = ColumnElement[bool] | None


class _Unknown:
    """A relation's target until build() reads it from the field's hint."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the node's own table; `key` is the mapped attribute."""

    key: str


@dataclass(frozen=True, slots=True)
class ToOne:
    """The row whose id stands in this table's column `key`; may lead from a pool to central."""

    key: str
    target: type = _Unknown


@dataclass(frozen=True, slots=True)
class ToMany:
    """A nested connection: the target's rows whose column `child_key` is my id, under a fixed filter."""

    child_key: str
    target: type = _Unknown
    order: tuple[str, ...] = ("-id",)
    where: tuple[ColumnElement[bool], ...] = ()
    first_max: int = PAGE_NESTED_MAX


@dataclass(frozen=True, slots=True)
class Children:
    """A plain bounded list of the target's rows whose column `child_key` is my id."""

    child_key: str
    target: type = _Unknown
    order: tuple[str, ...] = ("id",)
    where: tuple[ColumnElement[bool], ...] = ()
    limit: int = CHILDREN_MAX
    assumed: int = ASSUMED


@dataclass(frozen=True, slots=True)
class Values:
    """A plain bounded list of one column's values, of the rows of `table` whose column `child_key` is my id."""

    table: Table
    child_key: str
    column: str
    order: tuple[str, ...] = ()
    limit: int = CHILDREN_MAX
    assumed: int = ASSUMED


@dataclass(frozen=True, slots=True)
class Through:
    """A plain bounded list over a link table: `left` is my id, `right` the target's; `order` of the target."""

    link: Table
    left: str
    right: str
    target: type = _Unknown
    order: tuple[str, ...] = ("id",)
    where: tuple[ColumnElement[bool], ...] = ()  # on the target
    limit: int = ROWS_MAX
    assumed: int = ASSUMED


Computed = functions.Computed

Field = Column | ToOne | ToMany | Children | Values | Through | Computed
FIELDS = (Column, ToOne, ToMany, Children, Values, Through, Computed)


@dataclass(frozen=True, slots=True)
class Doc:
    """The description of a field or argument, inside Annotated[…]."""

    text: str


FIRST_DEFAULT = 20
First = Annotated[int | None, Doc("How many rows, e.g. 20: at most 100, in a nested list 50; null is 20.")]
After = Annotated[str | None, Doc("Begin behind this cursor: endCursor of the page before.")]


# The words that stand in Annotated[…] beside a hint. The target is read from the hint:
#   Annotated[Effect | None, to_one("effect_id")]
#   Annotated[Connection[Export], to_many("video_id")]                  paged by `first` and `after`, newest first
#   Annotated[list[Payment], children("purchase_id")]                   for what cannot grow beyond `limit`
#   Annotated[list[Tag], through(tables.EffectTag, "effect_id", "tag_id", order=("name_key",))]
#   Annotated[str, column("tenant_id")]                                 another column than the one of its name
#   Annotated[bool, computed(_is_published)]                            by a function of columns, which may be async
#   Annotated[int, batched(_views, "id")]                               by one call for all rows of a level
to_one, to_many, children, through, column = ToOne, ToMany, Children, Through, Column
computed, computed_once, batched = functions.computed, functions.computed_once, functions.batched


def values(table: Table, child_key: str, column: str, /, *, limit: int = CHILDREN_MAX) -> Values:
    """`Annotated[list[str], values(tables.Domain, "tenant_id", "host")]`, ordered by that column."""
    return Values(table, child_key, column, (column,), limit)


@dataclass(slots=True)
class NodeInfo:
    """A GraphQL type with a table behind it. `id` is not among `fields`: it is the table's id, made global.

    `where` says which of the table's rows are nodes at all (a deleted video is none): execution/fetch.py
    puts it on every read of the node, by relation, by id or as a list.
    """

    name: str
    cls: type
    table: Table
    access: Access
    where: tuple[ColumnElement[bool], ...] = ()
    fields: dict[str, Field] = field(default_factory=dict)  # by Python name, in the served order

    @property
    def key(self) -> ColumnElement[Any]:
        """The table's own id."""
        return cast("ColumnElement[Any]", getattr(self.table, "id"))  # noqa: B009  (the base class of central has none)


NODES: dict[str, NodeInfo] = {}  # by GraphQL name; filled by build()


def node_of(cls: type) -> NodeInfo:
    """The node behind a declared class. Raises KeyError for a class that is none."""
    return NODES[cls.__name__]


@strawberry.interface(description="A thing with an id of its own: ask for it again by node(id:).")
class Node:
    """What every node is; a library's row answers for it at run time."""

    id: GlobalId = strawberry.field(
        description="Opaque and globally unique, e.g. Effect_5d2a; a tenant's ids resolve on that tenant's host alone."
    )


@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    """Relay's page info."""

    has_next_page: bool = strawberry.field(description="Whether there are rows behind this page.")
    has_previous_page: bool = strawberry.field(description="Whether this page was asked for by a cursor.")
    start_cursor: str | None = strawberry.field(description="The first row's cursor; null on an empty page.")
    end_cursor: str | None = strawberry.field(
        description="The last row's cursor: give it as `after` for the next page; null on an empty page."
    )


class Connection(Generic[T]):
    """A page of T as a hint only: build() serves it as TConnection with edges, nodes, pageInfo and totalCount."""


@dataclass(frozen=True, slots=True)
class TypeDeclaration:
    """A class as its decorator found it; build() reads its hints when all files are imported."""

    kind: Literal["node", "input", "payload", "plain", "extension"]
    cls: type
    table: Table | None = None
    access: Access = public
    where: tuple[ColumnElement[bool], ...] = ()
    of: type | None = None  # an extension's older class


TYPES: list[TypeDeclaration] = []


def node(table: Table, *, access: Access, where: tuple[ColumnElement[bool], ...] = ()) -> Callable[[C], C]:
    """A type with a table behind it; `access` says who may get it by `node(id:)`, `where` which rows are such nodes."""

    def declare(cls: C) -> C:
        body = {key: value for key, value in vars(cls).items() if key not in ("__dict__", "__weakref__")}
        # CPython refuses a new base for a plain class, so the class is made again with it.
        made = type(cls.__name__, (Node,), body)
        TYPES.append(TypeDeclaration("node", made, table, access, where))
        return cast("C", made)

    return declare


def extends(older: type) -> Callable[[C], C]:
    """Fields that a younger area adds to an older area's node, payload or input."""

    def declare(cls: C) -> C:
        TYPES.append(TypeDeclaration("extension", cls, of=older))
        return cls

    return declare


@dataclass_transform(kw_only_default=True)
def input(cls: C) -> C:
    """The one argument of a mutation, or a filter. An optional field that was not sent is None."""
    TYPES.append(TypeDeclaration("input", cls))
    return cls


@dataclass_transform(kw_only_default=True)
def payload(cls: C) -> C:
    """What a mutation answers: the object, null when refused, and `user_errors`."""
    TYPES.append(TypeDeclaration("payload", cls))
    return cls


@dataclass_transform(kw_only_default=True)
def plain(cls: C) -> C:
    """An object type without a table."""
    TYPES.append(TypeDeclaration("plain", cls))
    return cls


SENT = "_sent"


def sent(given: object) -> dict[str, object]:
    """The fields of an input that the client sent (null included), by Python name."""
    return {name: getattr(given, name) for name in getattr(given, SENT)}


@dataclass(frozen=True, slots=True)
class Root:
    """A root field: the function's signature is the field's, its docstring the description."""

    kind: Literal["query", "mutation", "live"]
    name: str  # the Python name of the field
    function: Callable[..., Any]
    access: Access
    cost: int
    size: ListSize | None = None  # of a plain list


ROOTS: list[Root] = []


def _root(
    kind: Literal["query", "mutation", "live"], access: Access, *, name: str | None, ability: str | None, **more: Any
) -> Callable[[F], F]:
    if not isinstance(access, Access):
        raise TypeError(f"a {kind} field must say who may use it: @{kind}(member)")

    def declare(function: F) -> F:
        asked = access if ability is None else access.asking(ability)
        ROOTS.append(Root(kind, name or function.__name__, function, asked, **more))
        return function

    return declare


def query(access: Access, *, cost: int = 1, name: str | None = None, size: ListSize | None = None) -> Callable[[F], F]:
    """A field of Query; a signed-in caller's access token needs the ability `read`. A plain list says its `size`."""
    return _root("query", access, cost=cost, name=name, ability="read", size=size)


def mutation(
    access: Access, *, cost: int = 10, name: str | None = None, ability: str | None = "write"
) -> Callable[[F], F]:
    """A field of Mutation; a signed-in caller's access token needs `ability` (None: none)."""
    return _root("mutation", access, cost=cost, name=name, ability=ability)


def live(access: Access, *, cost: int = 1, name: str | None = None) -> Callable[[F], F]:
    """A field of Subscription: an async generator of reads. `name` where a query has the same name."""
    return _root("live", access, cost=cost, name=name, ability="read")


@dataclass(slots=True, eq=False)
class Read:
    """Which rows a field asks for; who may see them (tenant, owner) is put on by execution/fetch.py alone.

    "-created_at" in `order` is the column, descending; `id` in the last column's direction always follows.
    """

    node: type
    kind: Literal["page", "rows", "one", "the"]
    where: tuple[ColumnElement[bool], ...] = ()
    order: tuple[str, ...] = ()
    first: int | None = None
    after: str | None = None
    limit: int = ROWS_MAX
    viewer: Viewer | None = None  # whom the field has just signed in, where the request came from nobody
    values: Mapping[str, object] | None = None  # of the one row, by table attribute, where no database need be asked


@dataclass(frozen=True, slots=True)
class Gathered:
    """Rows of several types in the order their ids were asked for; an exception where one was refused."""

    ids: tuple[GlobalId | Exception, ...]
    reads: tuple[Read, ...]  # of kind "rows"


def _conditions(where: Iterable[Condition]) -> tuple[ColumnElement[bool], ...]:
    return tuple(condition for condition in where if condition is not None)


def page(
    node: type[T],
    *,
    first: int | None,
    after: str | None,
    where: Iterable[Condition] = (),
    order: tuple[str, ...] = ("-id",),
) -> Connection[T]:
    """A page of rows, `first` ≤ 100. Conditions that are None are left out."""
    return cast("Connection[T]", Read(node, "page", _conditions(where), order, first, after))


def rows(
    node: type[T], *, where: Iterable[Condition] = (), order: tuple[str, ...] = ("id",), limit: int = ROWS_MAX
) -> list[T]:
    """All rows that fit, at most `limit`."""
    return cast("list[T]", Read(node, "rows", _conditions(where), order, limit=limit))


def one(node: type[T], *, where: Iterable[Condition], order: tuple[str, ...] = ("id",)) -> T | None:
    """The first row that fits, or null."""
    return cast("T | None", Read(node, "one", _conditions(where), order, limit=1))


def the(node: type[T], *, where: Iterable[Condition] = ()) -> T:
    """The one row that is always there: the caller's wallet."""
    return cast("T", Read(node, "the", _conditions(where), ("id",), limit=1))


def gathered(ids: Iterable[GlobalId | Exception], reads: Iterable[object]) -> list[Node | None]:
    """What `nodes(ids:)` answers with: null where there is no row. `reads` are made by `rows`."""
    return cast("list[Node | None]", Gathered(tuple(ids), tuple(cast("Iterable[Read]", reads))))
