"""Random documents over a small schema that has one of everything: valid ones, and what breaks them."""

from __future__ import annotations

import random
from typing import Any

from graphql import build_schema

SCHEMA = build_schema("""
interface Being { id: ID! name(long: Boolean = false, of: In): String friend: Being friends: [Being!] kind: Kind! }
type Cat implements Being {
  id: ID! name(long: Boolean = false, of: In): String friend: Cat friends: [Cat!] kind: Kind! size: Int same: String
}
type Dog implements Being {
  id: ID! name(long: Boolean = false, of: In): String friend: Dog friends: [Dog!] kind: Kind! size: Int! same: String
}
type Rock { id: ID! size: Float name: String parts: [Rock] nested: [[Int!]]! same: ID }
union Thing = Cat | Dog | Rock
enum Kind { OLD NEW }
scalar Any
input In { must: Int! may: [String!] kind: Kind = OLD more: In }
input One @oneOf { a: Int b: String }
type Query {
  being(id: ID!, kind: Kind): Being cat: Cat dog: Dog rock(at: Float, any: Any): Rock thing: Thing things: [Thing!]!
  list(first: Int = 20, in: In, ins: [In!], one: One): [Being!]! count: Int! empty: Query
}
type Mutation { make(in: In!): Thing count: Int! }
""")
DEPTH_MAX = 5
COMPOSITE = {
    name: dict(getattr(type_, "fields", {}))
    for name, type_ in SCHEMA.type_map.items()
    if name in ("Query", "Being", "Cat", "Dog", "Rock", "Thing", "Mutation")
}
POSSIBLE = {"Being": ["Being", "Cat", "Dog", "Thing"], "Thing": ["Thing", "Being", "Cat", "Dog", "Rock"]}
LITERALS: dict[str, list[str]] = {
    "ID": ['"x"', "7"],
    "Int": ["1", "0", "-2147483648"],
    "Float": ["1", "2.5", "1e3"],
    "String": ['"x"', '"""x"""', '""'],
    "Boolean": ["true", "false"],
    "Kind": ["OLD", "NEW"],
    "Any": ["1", '"x"', "{a: [1, {b: null}]}", "true"],
    "In": ["{must: 1}", '{may: ["a"], must: 2}', "{must: 2, kind: NEW, more: {must: 3}}", '{must: 1, may: "one"}'],
    "One": ["{a: 1}", '{b: "x"}'],
}
# What a stranger writes instead of what fits.
WRONG = [
    "1e400", "99999999999", "null", "{}", "{must: null}", "{must: 1, must: 2}", "{must: 1, no: 2}", "[1]", "OTHER",
    '"x"', "true", "7", "2.5", "[[1]]", "{a: 1, b: 2}", "{a: null}", "$undefined", "{must: $undefined}",
]  # fmt: skip


class Drawn:
    """Draws documents with a seed. `broken` is the chance of each thing to be wrong."""

    def __init__(self, seed: int, *, broken: float = 0.0) -> None:
        self._random = random.Random(seed)
        self._broken = broken
        self._fragments: dict[str, str] = {}
        self._variables: dict[str, str] = {}

    def document(self) -> str:
        """One or two operations, with the fragments that they spread."""
        self._fragments, self._variables = {}, {}
        bodies = [self._selection("Mutation" if self._random.random() < 0.1 else "Query", 0)]
        definitions = ", ".join(f"${name}: {self._type(type_)}" for name, type_ in self._variables.items())
        word = "mutation" if "make" in bodies[0] else self._wrong("query", ["mutation", "subscription"])
        name = self._random.choice(["A", ""])
        operations = [f"{word} {name}{f'({definitions})' if definitions else ''} {bodies[0]}"]
        if name and self._random.random() < 0.1:
            operations.append(self._wrong("query B { count }", ["query A { count }", "{ count }", "{ no }"]))
        if self._is_broken(0.3):
            self._fragments["Unused"] = "fragment Unused on Query { count }"
        if self._is_broken(0.3):
            self._fragments["Round"] = "fragment Round on Query { empty { ...Round } }"
            operations[0] = operations[0].rstrip("}") + " ...Round }"
        return " ".join([*operations, *self._fragments.values()])

    def _is_broken(self, share: float = 1.0) -> bool:
        return self._random.random() < self._broken * share

    def _wrong(self, right: str, others: list[str]) -> str:
        return self._random.choice(others) if self._is_broken() else right

    def _type(self, type_: str) -> str:
        return self._wrong(type_ + self._random.choice(["", "", " = null" if not type_.endswith("!") else ""]), [
            "Int", "Cat", "Unknown", "[Int]", "String! = 7", "In = {must: 1, no: 3}",
        ])  # fmt: skip

    def _selection(self, of: str, depth: int) -> str:
        parts = [self._part(of, depth) for _ in range(self._random.choice([1, 1, 2, 3, 4]))]
        return f"{{ {' '.join(parts)} }}"

    def _part(self, of: str, depth: int) -> str:
        drawn = self._random.random()
        fields = COMPOSITE[of]
        if depth < DEPTH_MAX and (drawn < 0.2 or not fields):
            condition = self._random.choice(POSSIBLE.get(of, [of, of, *(["Being"] if of in ("Cat", "Dog") else [])]))
            condition = self._wrong(condition, ["Rock", "Kind", "Unknown", "Query", "Cat"])
            below = self._selection(condition if condition in COMPOSITE else of, depth + 1)
            if drawn < 0.1 and fields:
                return self._spread(condition, below)
            return f"... on {condition}{self._condition()} {below}"
        if not fields or drawn > 0.95:
            return self._alias("__typename", depth) + self._condition()
        return self._field(of, depth)

    def _spread(self, condition: str, below: str) -> str:
        fitting = [name for name, text in self._fragments.items() if f" on {condition} " in text]
        if fitting and self._random.random() < 0.5:
            name = self._random.choice(fitting)
        else:
            name = f"F{len(self._fragments)}"
            self._fragments[name] = f"fragment {name} on {condition} {below}"
        return f"...{self._wrong(name, ['Unknown'])}{self._condition()}"

    def _field(self, of: str, depth: int) -> str:
        names = sorted(COMPOSITE[of])
        name = self._random.choice(names)
        field: Any = COMPOSITE[of][name]
        text = self._alias(name, depth) + self._arguments(field.args) + self._condition()
        below = str(field.type).strip("[]!")
        if below in COMPOSITE:
            if depth >= DEPTH_MAX:
                return "__typename"
            return text + self._wrong(" " + self._selection(below, depth + 1), [""])
        return text + self._wrong("", [" { id }", ""])

    def _alias(self, name: str, depth: int) -> str:
        # Few names, so that different fields meet; at the top they rarely may.
        alias = self._random.choice(["", "", "", "", f"a{depth}: ", f"b{self._random.randint(0, 9)}: "])
        return alias + self._wrong(name, ["nothing", "id", "size", "name"])

    def _arguments(self, takes: dict[str, Any]) -> str:
        given = []
        for name, each in takes.items():
            required = str(each.type).endswith("!")
            if self._is_broken(0.3) if required else self._random.random() < 0.6:
                continue
            given.append(f"{self._wrong(name, ['no', 'id'])}: {self._value(str(each.type))}")
            if self._is_broken(0.2):
                given.append(given[-1])
        return f"({', '.join(given)})" if given else ""

    def _value(self, type_: str) -> str:
        drawn = self._random.random()
        if self._is_broken(0.5):
            return self._random.choice(WRONG)
        if drawn < 0.25:
            name = f"v{len(self._variables) if drawn < 0.2 else 0}"
            if self._variables.setdefault(name, type_) == type_:
                return f"${name}"
        if drawn > 0.93 and not type_.endswith("!"):
            return "null"
        if type_.startswith("["):
            inner = type_.rstrip("!")[1:-1]
            items = [self._value(inner) for _ in range(self._random.randint(0, 2))]
            return f"[{', '.join(items)}]"
        return self._random.choice(LITERALS[type_.rstrip("!")])

    def _condition(self) -> str:
        if self._random.random() > 0.1:
            return ""
        value = self._random.choice(["true", "false", "$yes"])
        if value == "$yes":
            self._variables["yes"] = "Boolean!"
        text = f" @{self._random.choice(['skip', 'include'])}(if: {value})"
        return self._wrong(
            text, [text + text, " @no", " @skip", " @skip(if: 1)", " @skip(unless: true)", " @deprecated"]
        )
