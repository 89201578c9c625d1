"""Variables that are plainly of their types are the library's values too; whatever is not, is the library's to say."""

from __future__ import annotations

import itertools

import pytest
from graphql import GraphQLError, OperationDefinitionNode, get_variable_values, parse

from base.settings import LIMITS
from execution import variables
from resolvers import roots

VALUES = ["a", "", "é\ud800", 1, 0, -1, 2**40, 1.5, 1.0, True, False, None, [], ["a"], {}, {"a": 1}]
TYPES = [
    "String",
    "String!",
    "ID",
    "ID!",
    "Boolean",
    "Boolean!",
    "Int",
    "Int!",
    "Float",
    "[String!]",
    "[ID!]!",
    "Nothing",
]


@pytest.fixture(scope="module")
def schema():
    return roots.served()._schema


def both(schema, definitions, given):
    """(ours, the library's) as texts that tell every difference: of types, and of what was left out."""
    (operation,) = parse(f"query ({definitions}) {{ __typename }}").definitions
    assert isinstance(operation, OperationDefinitionNode)
    declared = operation.variable_definitions or ()
    ours = variables.Variables(schema, declared).values(given)
    theirs = get_variable_values(schema, declared, given)
    return told(ours), told(theirs)


def told(values):
    if isinstance(values, list):
        assert all(isinstance(error, GraphQLError) for error in values)
        return [error.message for error in values]
    sources = {name: (source.signature.name, repr(source.value)) for name, source in values.sources.items()}
    return repr(values.coerced), sources


@pytest.mark.parametrize("default", ["", ' = "x"', " = true", " = 3"])
@pytest.mark.parametrize("kind", TYPES)
def test_every_value_of_every_kind_is_what_the_library_makes_of_it(schema, kind, default):
    for given in ({}, *({"a": value} for value in VALUES)):
        ours, theirs = both(schema, f"$a: {kind}{default}", given)
        assert ours == theirs, (kind, default, given)


def test_several_variables_stand_together(schema):
    for one, other in itertools.product(["x", None, 1], ["y", True, 2]):
        ours, theirs = both(schema, "$a: String!, $b: ID", {"a": one, "b": other, "c": 1})
        assert ours == theirs, (one, other)


def deep(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


TOO_MUCH = [
    ("[String!]", list(range(120_000)), "120,000 entries"),
    ("[String!]", ["a"] * 251, "251 entries"),
    ("EffectFilter", {f"searc{at}": 1 for at in range(50_000)}, "50,000 entries"),
    ("EffectFilter", {"tagSlugs": [["a"] * 250] * 250}, "5,000 values"),
    ("EffectFilter", {"tagSlugs": deep(20)}, "20 levels"),
    ("EffectFilter", deep(100_000), "20 levels"),
]


@pytest.mark.parametrize(("kind", "value", "says"), TOO_MUCH, ids=range(len(TOO_MUCH)))
def test_a_variable_that_holds_too_much_is_named_before_its_type_is_looked_at(schema, kind, value, says):
    looked_at = 0

    class Counted(dict):
        def values(self):
            nonlocal looked_at
            looked_at += len(self)
            return super().values()

    (operation,) = parse(f"query ($a: Int, $v: {kind}) {{ __typename }}").definitions
    assert isinstance(operation, OperationDefinitionNode)
    declared = variables.Variables(schema, operation.variable_definitions or ())
    given = Counted(value) if isinstance(value, dict) else value
    error = declared.too_much({"a": 1, "v": given, "w": [0] * 10_000})
    assert error is not None
    assert error.message.startswith('Variable "$v" ')
    assert says in error.message
    assert error.extensions == {"code": "BAD_USER_INPUT"}
    assert error.locations
    assert looked_at <= LIMITS.variable_entries


def test_as_much_as_may_be_is_looked_at_and_what_nobody_declared_is_not(schema):
    (operation,) = parse("query ($v: [[[Int]]], $s: String) { __typename }").definitions
    assert isinstance(operation, OperationDefinitionNode)
    declared = variables.Variables(schema, operation.variable_definitions or ())
    assert declared.too_much({"v": [[[0] * 250] * 18, deep(18)], "s": "x" * 900_000, "w": deep(500)}) is None


def test_an_operation_without_variables_takes_none(schema):
    assert variables.Variables(schema, ()).values({"a": 1}) is variables.NONE
