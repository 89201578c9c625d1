"""The limits of documents and variables are the operator's to set."""

from __future__ import annotations

import pytest

from base import settings
from tests import serving
from tests import world as worlds

SMALL = {
    "tokens=40": "query Long {" + " __typename" * 40 + " }",
    "depth=3": "{ effects { nodes { category { name } } } }",
    "operations=1": "query A { __typename } query B { __typename }",
    "fragments=1": "{ ...A ...B } fragment A on Query { __typename } fragment B on Query { __typename }",
    "aliases=2": "{ a: __typename effects { b: totalCount c: totalCount } }",
    "aliases_of_a_field=1": "{ a: __typename b: __typename }",
    "directives=1": "{ __typename @skip(if: false) @include(if: true) }",
    "conditions=1": "query ($a: Boolean = true, $b: Boolean = true) { __typename @skip(if: $a) @include(if: $b) }",
}
VARIABLES = "query Tags($f: EffectFilter) { effects(filter: $f) { totalCount } }"


async def test_what_the_operator_allows_is_what_is_served(anyio_backend, templates, tmp_path, served):
    for text in SMALL.values():
        assert "COST_LIMIT_EXCEEDED" not in (await served.graphql(text)).codes
    made = await templates.fresh("sqlite", tmp_path)
    limits = ", ".join([*SMALL, "errors=1", "variable_entries=1", "variable_depth=1"])
    async with worlds.opened("sqlite", made, tmp_path, ATRIUM_LIMITS=limits) as world, serving.serving(world) as client:
        for limit, text in SMALL.items():
            assert (await client.graphql(text)).codes == ["COST_LIMIT_EXCEEDED"], limit
        assert len((await client.graphql("{ nothing nowhere never }")).codes) == 1
        for given in ({"tagSlugs": ["a"]}, {"search": None, "tagSlugs": None}):
            assert (await served.graphql(VARIABLES, {"f": given})).codes == []
            assert (await client.graphql(VARIABLES, {"f": given})).codes == ["BAD_USER_INPUT"]
        assert (await client.graphql("{ __typename }")).codes == []


@pytest.mark.parametrize("text", ["tokens", "tokens=", "tokens=0", "tokens=-1", "token=5", "depth=1.5", "1"])
def test_limits_that_are_none_name_their_variable(text, tmp_path):
    with pytest.raises(settings.SettingsError, match="ATRIUM_LIMITS must be numbers"):
        settings.read({"ATRIUM_VAR": str(tmp_path), "ATRIUM_LIMITS": f"depth=9,{text}"})
