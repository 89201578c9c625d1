"""Variables that are plainly of their types are the library's values too; whatever is not, is the library's to say."""

from __future__ import annotations

import itertools

import pytest
from graphql import GraphQLError, OperationDefinitionNode, get_variable_values, parse

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


def test_an_operation_without_variables_takes_none(schema):
    assert variables.Variables(schema, ()).values({"a": 1}) is variables.NONE
