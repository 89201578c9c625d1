"""The explorer's starter operations are valid against the served schema, so that none fails on its first press."""

from __future__ import annotations

from pathlib import Path

import pytest
from graphql import GraphQLSchema, build_schema, parse, validate

ROOT = Path(__file__).parents[2]
STARTERS = sorted((ROOT / "web" / "starters").rglob("*.graphql"))


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return build_schema((ROOT / "schema" / "schema.graphql").read_text())


def test_there_are_starters_for_both_kinds_of_host() -> None:
    assert {path.parent.name for path in STARTERS} == {"central", "tenant"}


@pytest.mark.parametrize("starter", STARTERS, ids=lambda path: path.stem)
def test_a_starter_is_valid_against_the_schema(starter: Path, schema: GraphQLSchema) -> None:
    assert validate(schema, parse(starter.read_text())) == []
