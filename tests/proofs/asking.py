"""One document for any root field of the served schema, with values for all that it needs: walked, so that a new field
is asked like all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import graphql
from graphql import GraphQLNamedType, GraphQLSchema

ROOT_TYPES = {"query": "Query", "mutation": "Mutation", "live": "Subscription"}
OPERATIONS = {"query": "query", "mutation": "mutation", "live": "subscription"}
SHA256 = "0" * 64

# What a value of this name must look like to get past the first look.
TEXTS = {
    "email": "somebody@example.com",
    "slug": "some-slug",
    "mimeType": "image/png",
    "currency": "EUR",
    "sha256": SHA256,
    "search": "something",
    "password": "a long enough password",
    "current": "another long password",
    "after": None,
    "assetKey": None,
    "event": "video.ready",
    "successUrl": "https://app.example.com/done",
    "cancelUrl": "https://app.example.com/back",
    "url": "http://127.0.0.1:9/hook",
}


def question(schema: GraphQLSchema, kind: str, name: str, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """(text, variables) that ask for one root field; `given` has values by argument or input field name."""
    root = schema.type_map[ROOT_TYPES[kind]]
    assert isinstance(root, graphql.GraphQLObjectType)
    served = root.fields[name]
    variables = {
        arg: example(argument.type, arg, given)
        for arg, argument in served.args.items()
        if graphql.is_required_argument(argument) or arg in given
    }
    declared = ", ".join(f"${arg}: {served.args[arg].type}" for arg in variables)
    passed = ", ".join(f"{arg}: ${arg}" for arg in variables)
    head = f"{OPERATIONS[kind]}({declared})" if declared else OPERATIONS[kind]
    field = f"{name}({passed})" if passed else name
    return f"{head} {{ {field} {selection(graphql.get_named_type(served.type))} }}", variables


def selection(kind: GraphQLNamedType) -> str:
    """The least that can be selected of a type, and a mutation's refusals."""
    if graphql.is_leaf_type(kind):
        return ""
    if isinstance(kind, graphql.GraphQLObjectType) and "userErrors" in kind.fields:
        return "{ __typename userErrors { code message field } }"
    return "{ __typename }"


def example(kind: Any, name: str, given: Mapping[str, Any]) -> Any:
    """A value of an input type: what is given by name, otherwise one that has the right form."""
    if name in given:
        return given[name]
    if isinstance(kind, graphql.GraphQLNonNull):
        return example(kind.of_type, name, given)
    if isinstance(kind, graphql.GraphQLList):
        return [example(kind.of_type, name.removesuffix("s"), given)]
    if isinstance(kind, graphql.GraphQLInputObjectType):
        return {
            key: example(field.type, key, given)
            for key, field in kind.fields.items()
            if graphql.is_required_input_field(field) or key in given
        }
    if isinstance(kind, graphql.GraphQLEnumType):
        return next(iter(kind.values))
    scalars = {"Int": 1, "BigInt": 1, "Float": 0.5, "Boolean": True, "JSON": {}, "DateTime": "2026-01-31T12:00:00.000Z"}
    return scalars.get(kind.name, TEXTS.get(name, f"some {name}"))
