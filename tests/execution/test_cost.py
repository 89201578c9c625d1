"""What operations cost: by hand, by their variables, and never less than the objects that are really answered."""

from __future__ import annotations

import graphql
import orjson
import pytest
import strawberry
from graphql import (
    DocumentNode,
    GraphQLObjectType,
    GraphQLUnionType,
    OperationDefinitionNode,
    get_named_type,
    parse,
)
from graphql.execution.executor import Executor as CoreExecutor
from graphql.execution.values import VariableValues, get_variable_values

from execution import cost, library
from execution.amounts import Written
from execution.cost import Costs
from execution.document import Budget, OutOfBudget, Unfit
from execution.prices import Prices, sized
from tests.execution.operations import Operations
from tests.execution.stage import ALICE, BOB, MARY

OPERATIONS = 400


@pytest.fixture(scope="module")
def costs(executor) -> Costs:
    return Costs(executor.core)


def operation_of(document: DocumentNode) -> OperationDefinitionNode:
    return next(each for each in document.definitions if isinstance(each, OperationDefinitionNode))


class Priced:
    """One operation with variables, ready to be costed."""

    def __init__(self, costs: Costs, executor: library.Executor, query: str, **given: object) -> None:
        self.document = parse(query)
        self.operation = operation_of(self.document)
        values = get_variable_values(executor.core, self.operation.variable_definitions or (), given)
        assert isinstance(values, VariableValues), values
        self.values = values
        self.cost = costs.of(self.document, self.operation, variables=values)

    @property
    def requested(self) -> int:
        return self.cost.requested(self.values)

    def actual(self, data, written=None) -> int:
        return self.cost.actual(self.values, data, written)


@pytest.fixture(scope="module")
def priced(costs, executor):
    def priced(query: str, **given: object) -> Priced:
        return Priced(costs, executor, query, **given)

    return priced


BY_HAND = [
    # An operation costs 1 at least; scalars cost nothing, an object 1.
    ("{ __typename }", 1),
    ('{ effect(slug: "a") { id name tokenCost } }', 1),
    ('{ effect(slug: "a") { category { name } style { name } } }', 1 + 1 + 1),
    # A page: the root field's 5, and its rows by `first`: given, or 20 where it is not or null.
    ("{ effects(first: 3) { nodes { id } } }", 5 + 3),
    ("{ effects { nodes { id } } }", 5 + 20),
    ("{ effects(first: null) { nodes { id } } }", 5 + 20),
    ("{ effects(first: 0) { nodes { id } } }", 5),
    # An edge and its node are one row; a row that is asked for both ways is shown twice.
    ("{ effects(first: 3) { edges { cursor } } }", 5 + 3),
    ("{ effects(first: 3) { edges { cursor node { id } } } }", 5 + 3 * (1 + 0)),
    ("{ effects(first: 3) { edges { cursor } nodes { id } } }", 5 + 3 + 3),
    ("{ effects(first: 3) { totalCount pageInfo { hasNextPage } } }", 5 + 5 + 1),
    # The issue's W1, W4 and W5.
    (
        "{ gallery(first: 50) { nodes { id title effect { id category { name } } } pageInfo { endCursor } } }",
        5 + 50 * (1 + 1 + 1) + 1,
    ),
    ("{ effects(first: 20) { nodes { name galleryVideos(first: 50) { nodes { id } } } } }", 5 + 20 * (1 + 1 + 50)),
    (
        "{ viewer { name } wallet { balance } videos(first: 20) { totalCount nodes { effect { name } } } }",
        1 + 1 + (5 + 5 + 20 * (1 + 1)),
    ),
    # A nested connection is an object of each parent, and so is its count.
    (
        "{ effects(first: 2) { nodes { galleryVideos(first: 3) { totalCount nodes { id } } } } }",
        5 + 2 * (1 + (1 + 5 + 3)),
    ),
    ("{ effects(first: 2) { nodes { galleryVideos { nodes { id } } } } }", 5 + 2 * (1 + 1 + 20)),
    # Plain lists are as long as they usually are.
    ('{ effect(slug: "a") { tags { name } filters { name } } }', 1 + 10 + 10),
    ('{ effect(slug: "a") { parameters { name choices } } }', 1 + 10),
    ("{ categories { name } }", 20),
    ("{ tags { name } }", 100),
    ("{ categories { effects(first: 3) { nodes { id } } } }", 20 * (1 + 1 + 3)),
    ("{ viewer { accessTokens { name abilities } tenant { domains } } }", 1 + 50 + 1),
    ("{ purchases(first: 2) { nodes { payments { status } } } }", 5 + 2 * (1 + 10)),
    ("{ wallet { transactions(first: 2) { nodes { aiJob { effect { name } } } } } }", 1 + 1 + 2 * (1 + 1 + 1)),
    # As many as there are ids; of an interface the dearest type.
    ('{ nodes(ids: ["a", "b", "c"]) { id } }', 3),
    ("{ nodes(ids: []) { id } }", 1),
    ('{ nodes(ids: ["a", "b"]) { ... on Effect { tags { id } } ... on Video { title } } }', 2 * (1 + 10)),
    (
        '{ node(id: "a") { ... on Effect { category { id } } ... on Video { effect { category { id } } } } }',
        1 + (1 + 1),
    ),
    ('{ node(id: "a") { ... on Node { ... on Effect { category { id } } } } }', 1 + 1),
    # A search costs 10, other conditions nothing.
    ('{ effects(first: 1, filter: {search: "neon"}) { nodes { id } } }', 5 + 1 + 10),
    ("{ effects(first: 1, filter: {isPremium: true, search: null}) { nodes { id } } }", 5 + 1),
    # A mutation 10 unless it says more; its refusal is one object.
    ("mutation { logout { ok userErrors { code } } }", 10 + 1),
    ('mutation { login(input: {email: "a", password: "b"}) { user { id } userErrors { code } } }', 100 + 1 + 1),
    ("mutation { a: logout { ok } b: logout { ok } }", 10 + 10),
    ('subscription { aiJob(id: "a") { status effect { name } } }', 1 + 1),
    # Fields of one response name are one; two names are two.
    ('{ effect(slug: "a") { category { name } ...F } } fragment F on Effect { category { slug } }', 1 + 1),
    ('{ effect(slug: "a") { a: category { id } b: category { id } } }', 1 + 1 + 1),
    ('{ effect(slug: "a") { ...F ...F } } fragment F on Effect { tags { name } }', 1 + 10),
    # What is left out costs nothing.
    ('{ effect(slug: "a") { name category @skip(if: true) { id } style @include(if: false) { id } } }', 1),
    ('{ effect(slug: "a") { name ... @include(if: false) { tags { id } } } }', 1),
    # More rows than there may be are refused where they are read; until then they are as many as may be.
    ("{ effects(first: 1000000) { nodes { id } } }", 5 + 100),
    ("{ effects(first: 1) { nodes { galleryVideos(first: 1000000) { nodes { id } } } } }", 5 + (1 + 1 + 50)),
    ("{ effects(first: -1) { nodes { id } } }", 5),
    ("{ __schema { types { name } } }", 1_000),
    ('{ __type(name: "Effect") { name fields { name } } }', 50),
]


@pytest.mark.parametrize(("query", "by_hand"), BY_HAND, ids=range(len(BY_HAND)))
def test_the_cost_by_hand(priced, query, by_hand):
    made = priced(query)
    assert made.requested == by_hand
    assert made.cost.fixed == by_hand, "without variables nothing is left to be computed"


NESTED = "query ($n: Int, $m: Int = 7) { effects(first: $n) { nodes { galleryVideos(first: $m) { nodes { id } } } } }"
SEARCHED = "query ($f: EffectFilter, $s: String) { a: effects(first: 1, filter: $f) { nodes { id } } "
SEARCHED += "b: effects(first: 1, filter: {search: $s}) { nodes { id } } }"
CHOSEN = 'query ($yes: Boolean!) { effect(slug: "a") { name category @include(if: $yes) { id } } }'
ANY = "query ($ids: [ID!]!, $n: Int) { nodes(ids: $ids) { ... on Category { effects(first: $n) { nodes { id } } } "
ANY += "... on Effect { tags { id } } } }"


@pytest.mark.parametrize(
    ("query", "given", "by_hand"),
    [
        (NESTED, {"n": 3, "m": 2}, 5 + 3 * (1 + 1 + 2)),
        (NESTED, {"n": 3}, 5 + 3 * (1 + 1 + 7)),
        (NESTED, {"m": None}, 5 + 20 * (1 + 1 + 20)),
        (NESTED, {"n": 0, "m": 9}, 5),
        (NESTED, {"n": 2_000_000_000, "m": 2_000_000_000}, 5 + 100 * (1 + 1 + 50)),
        (NESTED, {"n": -5, "m": -5}, 5),
        (SEARCHED, {}, (5 + 1) + (5 + 1)),
        (SEARCHED, {"f": {"search": "ne"}}, (5 + 1 + 10) + (5 + 1)),
        (SEARCHED, {"f": {"isPremium": True}, "s": "ne"}, (5 + 1) + (5 + 1 + 10)),
        (SEARCHED, {"f": None, "s": None}, (5 + 1) + (5 + 1)),
        (CHOSEN, {"yes": True}, 1 + 1),
        (CHOSEN, {"yes": False}, 1),
        (ANY, {"ids": ["a"] * 4, "n": 3}, 4 * (1 + 10)),
        (ANY, {"ids": ["a"] * 4, "n": 30}, 4 * (1 + (1 + 30))),
        (ANY, {"ids": "a", "n": 30}, 1 + (1 + 30)),
        (ANY, {"ids": ["a"] * 1_000, "n": 0}, 100 * (1 + 10)),
    ],
    ids=range(16),
)
def test_the_cost_by_the_variables(priced, query, given, by_hand):
    assert priced(query, **given).requested == by_hand


def test_one_compiled_cost_serves_all_values_of_its_variables(priced):
    made = priced(NESTED, n=1)
    assert made.cost.fixed is None
    for n in (0, 1, 5, 100):
        assert made.cost.requested(VariableValues({}, {"n": n, "m": 4})) == 5 + n * (1 + 1 + 4)


def test_an_union_costs_its_dearest_member(executor):
    core = graphql.GraphQLSchema(
        query=GraphQLObjectType(
            "Query",
            {
                "thing": graphql.GraphQLField(
                    GraphQLUnionType("Thing", [executor.core.type_map["Effect"], executor.core.type_map["Video"]])
                )
            },
        )
    )
    document = parse("{ thing { ... on Effect { tags { id } } ... on Video { effect { id } } } }")
    made = Costs(core).of(document, operation_of(document), variables=VariableValues({}, {}))
    assert made.fixed == 1 + 10


# ---------------------------------------------------------------- declarations


@strawberry.type
class Leaf:
    name: str


@strawberry.type
class Unbound:
    leaves: list[Leaf]


@strawberry.type
class Bound:
    leaves: list[Leaf] = strawberry.field(directives=[sized(3)])


def test_a_list_without_a_bound_cannot_be_declared():
    with pytest.raises(TypeError, match=r"Unbound\.leaves is a list without a bound"):
        Prices(strawberry.Schema(Unbound)._schema)
    assert Prices(strawberry.Schema(Bound)._schema).of("Bound", "leaves").assumed == 3


def test_every_list_of_objects_and_every_connection_is_bounded_in_the_served_schema(executor):
    prices, lists, pages = Prices(executor.core), 0, 0
    for name, kind in executor.core.type_map.items():
        if name.startswith("__") or not isinstance(kind, GraphQLObjectType):
            continue
        for field_name, field in kind.fields.items():
            price, named = prices.of(name, field_name), get_named_type(field.type)
            if named.name.endswith("Connection"):
                assert (price.sizes, sorted(price.below)) == ("first", ["edges", "nodes"])
                pages += 1
            elif price.is_list and price.weight and not name.endswith(("Connection", "Edge")):
                assert price.assumed or price.sizes, f"{name}.{field_name}"
                lists += 1
    assert lists > 30
    assert pages > 10


# ---------------------------------------------------------------- attacks


def spread(levels: int, variables: str = "", first: str = "") -> str:
    """Each fragment spreads the next one twice, under two names."""
    parts = [f'query {variables} {{ effect(slug: "a") {{ ...F0 }} }}']
    for at in range(levels):
        inner = f"category {{ effects{first} {{ nodes {{ ...F{at + 1} }} }} }}"
        parts.append(f"fragment F{at} on Effect {{ a: {inner} b: {inner} }}")
    return " ".join([*parts, f"fragment F{levels} on Effect {{ id }}"])


@pytest.mark.parametrize("levels", [10, 30, 45])
def test_a_bomb_of_fragments_is_costed_by_looking_at_each_fragment_once(priced, levels):
    made = priced(spread(levels))
    assert made.cost.visited <= 10 * levels + 10
    assert made.requested > 40**levels


def test_a_bomb_with_variables_takes_as_many_steps_as_it_has_fragments(priced):
    made = priced(spread(30, "($n: Int)", "(first: $n)"), n=1)
    assert made.cost.visited <= 310
    assert len(made.cost._steps) <= 10 * 30
    assert made.requested > 2**30
    assert made.actual({"effect": None}) == 1 + 1 + 1, "what stands alone counts as asked for"


def test_what_selects_in_too_many_ways_is_refused_and_the_budget_ends_it_too(costs, executor, priced, monkeypatch):
    wide = "{ " + " ".join(f'a{at}: effect(slug: "a") {{ id name }}' for at in range(40)) + " }"
    made = priced(wide)
    with pytest.raises(OutOfBudget):
        costs.of(made.document, made.operation, variables=made.values, tick=Budget(-1.0).tick)
    monkeypatch.setattr(cost, "SELECTIONS_MAX", 100)
    with pytest.raises(Unfit, match="too many different ways") as caught:
        costs.of(made.document, made.operation, variables=made.values)
    assert caught.value.errors[0].extensions == {"code": "COST_LIMIT_EXCEEDED"}


# ---------------------------------------------------------------- after the answer


def test_the_actual_cost_is_by_how_long_the_lists_were(priced):
    made = priced(NESTED, n=20, m=50)
    pages = [{"galleryVideos": {"nodes": [{"id": "x"}] * count}} for count in (2, 0, 7)]
    assert made.actual({"effects": {"nodes": pages}}) == 5 + 3 * (1 + 1) + 9
    assert made.actual({"effects": {"nodes": []}}) == 5
    assert made.actual({"effects": None}) == 5
    assert made.actual(None) == 5


def test_counts_and_words_of_parents_that_are_not_there_are_paid_back(priced):
    made = priced("{ effects(first: 9) { nodes { tags { id } galleryVideos(first: 9) { totalCount } } totalCount } }")
    rows = [{"tags": [{"id": "x"}] * 3, "galleryVideos": {"totalCount": 2}}] * 2
    assert made.requested == 5 + 9 * (1 + 10 + (1 + 5)) + 5
    assert made.actual({"effects": {"nodes": rows, "totalCount": 2}}) == 5 + 2 * (1 + 3 + (1 + 5)) + 5


def test_rows_of_which_each_costs_the_same_are_counted_without_being_looked_at(priced):
    made = priced("{ gallery(first: 9) { nodes { title tags effect { id } } } }")
    assert made.actual({"gallery": {"nodes": [object()] * 4}}) == 5 + 4 * (1 + 1)


def test_what_was_written_before_counts_as_asked_or_as_it_was_written(priced):
    made = priced("{ categories { effects(first: 3) { nodes { id } } } styles { id } }")
    kept = Written(orjson.Fragment(b"[]"), 2)
    data = {"categories": kept.display, "styles": []}
    assert made.actual(data, {"categories": kept}) == made.requested - 20 == 100
    assert made.actual({**data, "categories": None}, {"categories": kept}) == 1
    shown = {**data, "categories": [{"effects": {"nodes": [{"id": "x"}]}}]}
    assert made.actual(shown, {"categories": kept}) == 3
    assert made.actual(data, {"categories": kept}) == 3
    assert made.actual(data) == 100, "another's bytes count as asked for"


class Counting(CoreExecutor):
    """The library's, which counts the objects that it completes; an edge and its node are one row."""

    objects = 0

    def complete_object_value(self, return_type, field_details_list, info, *more):
        if not info.parent_type.name.endswith("Edge"):
            type(self).objects += 1
        return super().complete_object_value(return_type, field_details_list, info, *more)


@pytest.mark.anyio
@pytest.mark.parametrize("seed", [11, 12])
async def test_no_operation_answers_more_objects_than_it_was_charged_for(stage, executor, priced, seed):
    drawn, answered, over = Operations(executor.core, seed), 0, 0
    for at in range(OPERATIONS // 2):
        ctx = stage.of((ALICE, MARY, BOB, None)[at % 4])
        query = drawn.query()
        made = priced(query, yes=at % 3 > 0)
        Counting.objects = 0
        result = graphql.execute(
            executor.core,
            made.document,
            context_value=library.Asking(ctx),
            variable_values={"yes": at % 3 > 0},
            executor_class=Counting,
        )
        result = await result if not isinstance(result, graphql.ExecutionResult) else result
        actual = made.actual(result.data)
        if result.errors is None:
            assert Counting.objects <= actual, query
        assert actual <= made.requested, query
        answered += Counting.objects
        over += made.requested - actual
    assert answered > OPERATIONS // 2
    assert over > OPERATIONS, "something is paid back"


def test_the_lines_of_an_operation_add_up(costs, priced):
    made = priced('{ effects(first: 3, filter: {search: "ne"}) { totalCount nodes { id category { name } } } }')
    lines = list(costs.lines(made.document, made.operation, variables=made.values))
    told = [(line.depth, line.response, line.size, line.weight, line.words, line.cost) for line in lines]
    assert told == [
        (0, "effects", 1, 5, 10, 5 + 10 + 5 + 6),
        (1, "totalCount", 1, 5, 0, 5),
        (1, "nodes", 3, 1, 0, 3 * (1 + 1)),
        (2, "id", 1, 0, 0, 0),
        (2, "category", 1, 1, 0, 1),
        (3, "name", 1, 0, 0, 0),
    ]
    assert lines[0].cost == made.requested
