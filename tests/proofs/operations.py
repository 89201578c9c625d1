"""Operations drawn by hypothesis-graphql from the served schema, then made dangerous: ids, cursors and words that
somebody who wants another's rows would send, and selections that ask for all there is to see.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import graphql
import hypothesis
import hypothesis_graphql
from graphql import DocumentNode, FieldNode, GraphQLSchema, NameNode, SelectionSetNode, TypeInfo
from hypothesis import HealthCheck, Phase, strategies
from hypothesis_graphql import nodes

from resolvers import roots

LEVELS_WIDENED_MAX = 2
PAGE_SIZES = (50, 50, 50, 20, 20, 3, 1, 0, -1, 101)
IDS_MAX = 20


@dataclass
class Words:
    """What is put into arguments: ids of all kinds, cursors of others, words that exist, and what databases trip on."""

    ids: list[str]
    cursors: list[str]
    texts: list[str]
    numbers: list[str] = field(default_factory=lambda: ["1", "0", "-1", "4096", "9223372036854775807"])


def altered(node_id: str, other_tenant: str, dice: random.Random) -> str:
    """The id with another type, another tenant, another number, or broken off."""
    parts = node_id.split("_")
    turn = dice.randrange(4)
    if turn == 0:
        parts[0] = dice.choice(
            ["Video", "File", "AiJob", "Export", "Reward", "Purchase", "AccessToken", "Effect", "User"]
        )
    elif turn == 1:
        parts = [parts[0], other_tenant.encode().hex(), parts[-1]]
    elif turn == 2:
        parts[-1] = f"{dice.getrandbits(60):x}"
    else:
        return node_id[: dice.randrange(len(node_id))]
    return "_".join(parts)


def drawn(schema: GraphQLSchema, kind: str, name: str, *, count: int, seed: int) -> list[DocumentNode]:
    """`count` documents that ask for one root field, as hypothesis-graphql draws them; the same for the same seed."""
    make = hypothesis_graphql.mutations if kind == "mutation" else hypothesis_graphql.queries
    scalars = {
        "DateTime": strategies.sampled_from(["2026-01-31T12:00:00.000Z", "yesterday"]).map(nodes.String),
        "JSON": strategies.sampled_from([nodes.String("x"), nodes.Object([]), nodes.Null]),
        "BigInt": strategies.integers(-5, 2**63).map(nodes.Int),
    }
    found: list[DocumentNode] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(make(schema, fields=[name], custom_scalars=scalars, print_ast=lambda document: document))
    def collect(document: DocumentNode) -> None:
        found.append(document)

    collect()
    return found


def operations(
    words: Words, *, each: int, seed: int, kinds: Collection[str] = ("query", "mutation")
) -> Iterator[tuple[str, str, str]]:
    """(kind, root field, text): `each` operations of every root field of the served schema, made dangerous."""
    schema = roots.served()._schema
    dice = random.Random(seed)
    for kind, root in (("query", schema.query_type), ("mutation", schema.mutation_type)):
        assert root is not None
        for name in root.fields if kind in kinds else ():
            documents = drawn(schema, kind, name, count=each, seed=seed)
            # A field that asks little has few documents: they come again with other values.
            for at in range(each):
                yield kind, name, text(schema, documents[at % len(documents)], words, dice=dice)


def text(schema: GraphQLSchema, document: DocumentNode, words: Words, *, dice: random.Random) -> str:
    """The document with our values in its arguments and with wide selections, printed."""
    info = TypeInfo(schema)
    widened = graphql.visit(document, graphql.TypeInfoVisitor(info, _Widening(info, dice)))
    info = TypeInfo(schema)
    return graphql.print_ast(graphql.visit(widened, graphql.TypeInfoVisitor(info, _Values(info, words, dice))))


class _Values(graphql.Visitor):
    """Puts our values where the drawn ones stood, mostly such as lead somewhere: a random id finds nothing to leak."""

    def __init__(self, info: TypeInfo, words: Words, dice: random.Random) -> None:
        super().__init__()
        self._info = info
        self._words = words
        self._dice = dice
        self._root = ""
        self._name = ""

    def enter_field(self, node: FieldNode, *_: object) -> None:
        if getattr(self._info.get_parent_type(), "name", "") in ("Query", "Mutation"):
            self._root = node.name.value

    def enter_argument(self, node: graphql.ArgumentNode, *_: object) -> object:
        self._name = node.name.value
        if self._name == "after":
            return graphql.ArgumentNode(name=node.name, value=self._after())
        if self._name == "first":
            return graphql.ArgumentNode(name=node.name, value=nodes.Int(self._dice.choice(PAGE_SIZES)))
        if self._name == "ids":
            ids = tuple(self._id() for _ in range(self._dice.randrange(1, IDS_MAX)))
            return graphql.ArgumentNode(name=node.name, value=graphql.ListValueNode(values=ids))
        return None

    def enter_object_field(self, node: graphql.ObjectFieldNode, *_: object) -> None:
        self._name = node.name.value

    def enter_string_value(self, node: graphql.StringValueNode, *_: object) -> object:
        if self._name in ("after", "ids"):
            return None
        kind = graphql.get_named_type(self._info.get_input_type())
        if kind is graphql.GraphQLID:
            return self._id()
        if kind is graphql.GraphQLString and self._dice.random() < 0.7:
            return graphql.StringValueNode(value=self._dice.choice(self._words.texts))
        return node

    def enter_int_value(self, node: graphql.IntValueNode, *_: object) -> object:
        if self._name == "first":
            return None
        if graphql.get_named_type(self._info.get_input_type()) is graphql.GraphQLID:
            return self._id()
        return graphql.IntValueNode(value=self._dice.choice(self._words.numbers)) if self._dice.random() < 0.5 else node

    def _id(self) -> graphql.StringValueNode:
        """An id of the type that the place asks for, by its name or the field's; now and then any other."""
        place = (self._root if self._name in ("id", "input") else self._name.removesuffix("Id")).lower()
        fitting = [each for each in self._words.ids if place.endswith(each.partition("_")[0].lower())]
        known = fitting if fitting and self._dice.random() < 0.75 else self._words.ids
        return graphql.StringValueNode(value=self._dice.choice(known))

    def _after(self) -> graphql.ValueNode:
        turn = self._dice.random()
        if turn < 0.6:
            return graphql.NullValueNode()
        return graphql.StringValueNode(
            value=self._dice.choice(self._words.cursors if turn < 0.95 else self._words.texts)
        )


class _Widening(graphql.Visitor):
    """Adds all leaves to each selection, and to some the objects below: an answer that shows little hides a leak."""

    def __init__(self, info: TypeInfo, dice: random.Random) -> None:
        super().__init__()
        self._info = info
        self._dice = dice

    def leave_selection_set(self, node: SelectionSetNode, *_: object) -> object:
        kind = self._info.get_parent_type()
        if not isinstance(kind, graphql.GraphQLObjectType) or kind.name in ("Query", "Mutation"):
            return None
        asked = {
            each.alias.value if each.alias else each.name.value
            for each in node.selections
            if isinstance(each, FieldNode)
        }
        levels = self._dice.randrange(LEVELS_WIDENED_MAX + 1)
        more = [each for each in _all_of(kind, levels) if each.name.value not in asked]
        return SelectionSetNode(selections=(*node.selections, *more))


def _all_of(kind: graphql.GraphQLObjectType, levels: int) -> list[FieldNode]:
    found = []
    for name, served in kind.fields.items():
        below = graphql.get_named_type(served.type)
        if any(graphql.is_required_argument(argument) for argument in served.args.values()):
            continue
        if graphql.is_leaf_type(below):
            found.append(FieldNode(name=NameNode(value=name)))
        elif levels and isinstance(below, graphql.GraphQLObjectType):
            within = SelectionSetNode(selections=tuple(_all_of(below, levels - 1)))
            if within.selections:
                found.append(FieldNode(name=NameNode(value=name), selection_set=within))
    return found
