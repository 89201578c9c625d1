"""What is served: all of the contract, what is committed, everything described, and who may use which field."""

from __future__ import annotations

from pathlib import Path

import pytest
from graphql import GraphQLSchema, build_schema
from graphql.utilities import find_breaking_changes, find_dangerous_changes

from execution.declare import NODES, ROOTS
from resolvers import roots

CONTRACT = (Path(__file__).parents[1] / "contract" / "core.graphql").read_text()

PUBLIC = {
    "node",
    "nodes",
    "categories",
    "styles",
    "filters",
    "overlays",
    "watermarks",
    "tags",
    "tiers",
    "packages",
    "effect",
    "effects",
    "gallery",
    "gallery_video",
    "tenant",
    "viewer",
    "register",
    "login",
    "request_password_reset",
    "reset_password",
    "record_view",
}
SIGNED_IN = {
    "purchases",
    "plan_subscription",
    "create_checkout",
    "start_plan",
    "cancel_plan",
    "resume_plan",
    "change_plan",
    "logout",
    "revoke_access_token",
    "change_password",
}
LEASE = {"heartbeat_ai_job", "create_ai_job_output", "complete_ai_job", "fail_ai_job"}
BILLING = {"create_checkout", "start_plan", "cancel_plan", "resume_plan", "change_plan"}
ADMINISTERED = {
    "category",
    "style",
    "filter",
    "overlay",
    "watermark",
    "tag",
    "tier",
    "package",
    "discount",
    "algorithm",
    "ai_model",
    "effect",
}


@pytest.fixture(scope="module")
def served() -> GraphQLSchema:
    return build_schema(roots.sdl())


def changes(old: GraphQLSchema, new: GraphQLSchema) -> list[str]:
    breaking = [change.description for change in find_breaking_changes(old, new)]
    return breaking + [change.description for change in find_dangerous_changes(old, new)]


def described(schema: GraphQLSchema) -> dict[str, str | None]:
    """Everything that can have a description, by its place."""
    found: dict[str, str | None] = {}
    for name, kind in schema.type_map.items():
        if name.startswith("__") or name in ("Int", "Float", "String", "Boolean", "ID"):
            continue
        found[name] = kind.description
        fields = getattr(kind, "fields", {})
        for field_name, field in fields.items():
            found[f"{name}.{field_name}"] = field.description
            for argument, given in getattr(field, "args", {}).items():
                found[f"{name}.{field_name}({argument}:)"] = given.description
    return found


def test_the_contract_is_served_whole(served):
    assert changes(build_schema(CONTRACT), served) == []


@pytest.mark.parametrize(
    ("written", "planted"),
    [
        ("first: Int = 20, after: String): FileConnection!", "first: Int = 21, after: String): FileConnection!"),
        ("enum RewardKind { SIGNUP", "enum RewardKind { SIGNED SIGNUP"),
        ("type Tag implements Node { id: ID! slug: String!", "type Tag implements Node { id: ID! slug: Int!"),
        ("input DeviceInput { name: String!", "input DeviceInput { age: Int name: String!"),
    ],
)
def test_a_change_of_the_contract_would_be_told(served, written, planted):
    assert written in CONTRACT
    assert changes(build_schema(CONTRACT.replace(written, planted)), served)


def test_the_contracts_words_are_kept(served):
    have = described(served)
    asked = {place: words for place, words in described(build_schema(CONTRACT)).items() if words is not None}
    assert len(asked) >= 25
    assert {place: have[place] for place in asked} == asked


def test_the_committed_schema_is_what_is_served():
    assert roots.SDL_FILE.read_text() == roots.sdl(), "run `python -m resolvers.roots` and read the difference"


def test_every_type_argument_and_input_field_is_described(served):
    inputs = tuple(name for name in served.type_map if name.endswith(("Input", "Filter")))
    asked = {
        place: words
        for place, words in described(served).items()
        if "." not in place
        or "(" in place
        or place.partition(".")[0] in ("Query", "Mutation", "Subscription")
        or (place.partition(".")[0] in inputs and place.partition(".")[0].endswith("Input"))
    }
    assert [place for place, words in asked.items() if not words] == []


def test_each_root_field_is_for_whom_it_is_meant():
    staff = {f"{verb}_{name}" for verb in ("create", "update", "archive") for name in ADMINISTERED}
    staff |= {"create_asset_upload", "discounts", "algorithms", "ai_models"}
    for root in ROOTS:
        ability = None if root.name == "logout" else "read" if root.kind in ("query", "live") else "write"
        wanted = (
            ("public", None)
            if root.name in PUBLIC
            else ("worker", None)
            if root.name == "claim_ai_jobs"
            else ("lease", None)
            if root.name in LEASE
            else ("signed_in", "catalog:write")
            if root.name in staff
            else ("signed_in", "billing" if root.name in BILLING else ability)
            if root.name in SIGNED_IN
            else ("owner", ability if root.kind == "query" else "webhooks")
            if "webhook" in root.name
            else ("member", ability)
        )
        assert (root.access.kind, root.access.ability) == wanted, root.name


def test_every_node_is_for_whom_it_is_meant():
    kinds = {name: (info.access.kind, info.access.ability) for name, info in NODES.items()}
    assert {name for name, kind in kinds.items() if kind == ("signed_in", "catalog:write")} == {
        "Discount",
        "Algorithm",
        "AiModel",
    }
    assert {name for name, kind in kinds.items() if kind == ("signed_in", None)} == {
        "User",
        "AccessToken",
        "Purchase",
        "Payment",
        "PlanSubscription",
    }
    assert {name for name, kind in kinds.items() if kind == ("owner", None)} == {"Webhook", "WebhookDelivery"}
    assert {name for name, kind in kinds.items() if kind == ("member", None)} == {
        "TokenWallet",
        "TokenTransaction",
        "File",
        "Video",
        "AiJob",
        "Export",
        "Reward",
    }


def test_a_node_is_named_as_its_table():
    assert {name: info.table.__name__ for name, info in NODES.items()} == {name: name for name in NODES}
