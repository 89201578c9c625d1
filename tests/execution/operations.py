"""Random operations over the served schema, with arguments that mean something on a stage."""

from __future__ import annotations

import random
import re
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
)

DEPTH_MAX = 6
VARIABLES = '$yes: Boolean!, $no: Boolean! = false, $maybe: Boolean = true, $n: Int = 2, $slug: String! = "effect-003"'
IDS = ["Effect_3e8", "Video_616c69636531_2710", "AiJob_616c69636531_186a0", "GalleryVideo_2710", "Tenant_616c69636531"]
TEXTS = {"slug": ["effect-001", "nothing"], "search": ["sho 1", "ne"], "after": ["null"], "id": IDS}
WORDS = {"tenantSlug": "alice1", "categorySlug": "category-1", "effectSlug": "effect-002", "styleSlug": "vintage"}
OTHERS = 0.3  # how many documents have another operation beside the first
BESIDE = [
    "query B ($yes: [ID!]!) { nodes(ids: $yes) { __typename id } }",
    "query B ($yes: EffectFilter) { effects(first: 2, filter: $yes) { nodes { id } } }",
    "query B ($yes: Int) { effects(first: $yes) { nodes { id } } }",
    "query B ($yes: Boolean!) { __typename @skip(if: $yes) effects(first: 1) { totalCount } }",
]
# What B's variable may be given; what does not fit is refused, by both alike.
GIVEN = [["Effect_3e8", "x"], [], {"search": "ne"}, 2, None, True, False]


class Operations:
    """Draws operations with a seed; each is valid."""

    def __init__(self, schema: GraphQLSchema, seed: int) -> None:
        self._schema = schema
        self._random = random.Random(seed)
        self._names = 0
        self._fragments: list[str] = []

    def document(self) -> str:
        """A query A, now and then beside a query B, which has a variable of the same name for something else."""
        text = self.query().replace("query ", "query A ", 1)
        if self._random.random() > OTHERS:
            return text
        return f"{text} {self._random.choice(BESIDE)}"

    def query(self) -> str:
        """A query of one to three root fields."""
        self._fragments, self._names = [], 0
        top = self._schema.query_type
        assert top is not None
        names = self._random.sample(sorted(top.fields), self._random.choice([1, 1, 2, 3]))
        body = " ".join(self._field(top, name, 0) for name in names)
        if self._random.random() < 0.2:
            body += " __typename"
        use = "" if "$yes" in body + " ".join(self._fragments) else " kind: __typename @include(if: $yes)"
        used = set(re.findall(r"\$\w+", body + " ".join(self._fragments)))
        declared = [part for part in VARIABLES.split(", ") if part[: part.index(":")] in used]
        declared = declared if any(part.startswith("$yes") for part in declared) else ["$yes: Boolean!", *declared]
        return f"query ({', '.join(declared)}) {{ {body}{use} }} {' '.join(self._fragments)}"

    def _field(self, of: GraphQLObjectType, name: str, depth: int) -> str:
        field = of.fields[name]
        named = get_named_type(field.type)
        self._names += 1
        alias = f"f{self._names}: " if self._random.random() < 0.6 or field.args else ""
        text = f"{alias}{name}{self._arguments(field)}{self._condition()}"
        return text if is_leaf_type(named) else f"{text} {self._selection(named, depth + 1)}"

    def _selection(self, of: Any, depth: int) -> str:
        if is_abstract_type(of):
            kinds = self._random.sample(["Effect", "Video", "AiJob", "GalleryVideo", "Tenant"], 3)
            parts = [f"... on {kind} {self._selection(self._schema.type_map[kind], depth)}" for kind in kinds]
            return f"{{ id {' '.join(parts)} __typename }}"
        parts = self._parts(of, depth)
        if self._random.random() < 0.2:
            name = f"F{len(self._fragments)}x{self._names}"
            self._fragments.append(f"fragment {name} on {of.name} {{ {' '.join(parts)} }}")
            return f"{{ ...{name}{self._condition()} __typename }}"
        if self._random.random() < 0.15:
            return f"{{ __typename ... on {of.name}{self._condition()} {{ {' '.join(parts)} }} }}"
        return f"{{ {' '.join(parts)} }}"

    def _parts(self, of: GraphQLObjectType, depth: int) -> list[str]:
        leaves = [name for name, field in of.fields.items() if is_leaf_type(get_named_type(field.type))]
        deeper = [name for name in of.fields if name not in leaves]
        chosen = self._random.sample(leaves, min(len(leaves), self._random.randint(0, 4)))
        if depth < DEPTH_MAX and deeper:
            most = 2 if of.name.endswith(("Connection", "Edge")) else 1
            chosen += self._random.sample(deeper, min(len(deeper), self._random.randint(0, most)))
        parts = [self._field(of, name, depth) for name in chosen]
        if not parts or self._random.random() < 0.15:
            parts.append("__typename")
        self._random.shuffle(parts)
        return parts

    def _condition(self) -> str:
        drawn = self._random.random()
        if drawn > 0.12:
            return ""
        word = self._random.choice(["skip", "include"])
        return f" @{word}(if: {self._random.choice(['$yes', '$no', '$maybe', 'true', 'false'])})"

    def _arguments(self, field: GraphQLField) -> str:
        given = []
        for name, argument in field.args.items():
            required = isinstance(argument.type, GraphQLNonNull)
            if required or self._random.random() < 0.5:
                given.append(f"{name}: {self._value(name, argument.type)}")
        return f"({', '.join(given)})" if given else ""

    def _value(self, name: str, type_: Any) -> str:
        named: Any = get_named_type(type_)
        inner = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
        if isinstance(inner, GraphQLList):
            some = range(self._random.randint(0, 3))
            return f"[{', '.join(self._value(name.rstrip('s'), inner.of_type) for _ in some)}]"
        if isinstance(named, GraphQLEnumType):
            return self._random.choice(list(named.values))
        if isinstance(named, GraphQLInputObjectType):
            fields = self._random.sample(sorted(named.fields), self._random.randint(0, 2))
            return "{" + ", ".join(f"{each}: {self._value(each, named.fields[each].type)}" for each in fields) + "}"
        if named.name == "Boolean":
            return self._random.choice(["true", "false"])
        if named.name == "Int":
            return self._random.choice(["0", "1", "3", "5", "null", "$n", "50", "-1"])
        if name == "slug" and self._random.random() < 0.3:
            return "$slug"
        drawn = self._random.choice(TEXTS.get(name, [WORDS.get(name, "night")]))
        return drawn if drawn == "null" else f'"{drawn}"'
