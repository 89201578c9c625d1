"""What a document must not be, said before anything runs, each by its own limit and in their order."""

from __future__ import annotations

import pytest
from graphql import build_schema, get_introspection_query, parse, validate

from execution.document import Budget, Document, OutOfBudget, Reader, Unfit
from execution.valid import Valid
from tests.execution import documents as drawing

SCHEMA = build_schema("type Query { a: Query b(x: [In]): Int c: Int } input In { y: [In] }")
READER = Reader(SCHEMA, introspection=True)


def read(text: str) -> Document:
    return READER.read(text)


def deep(levels: int) -> str:
    return "{ a " * (levels - 1) + "{ b " + "}" * levels


def bomb(levels: int) -> str:
    """Fragments that spread the next one twice: 2^levels fields in a kilobyte."""
    steps = [f"fragment F{at} on Query {{ a {{ ...F{at + 1} }} c{at}: a {{ ...F{at + 1} }} }}" for at in range(levels)]
    return "{ ...F0 } " + " ".join(steps) + f" fragment F{levels} on Query {{ b }}"


def flat_bomb(levels: int) -> str:
    """The same on one level of the answer, so that neither depth nor aliases refuse it."""
    steps = [f"fragment F{at} on Query {{ ...F{at + 1} ... on Query {{ ...F{at + 1} }} c }}" for at in range(levels)]
    return "{ ...F0 } " + " ".join(steps) + f" fragment F{levels} on Query {{ b }}"


def conditions(count: int) -> str:
    names = [f"$v{at}" for at in range(count)]
    fields = " ".join(f"b @skip(if: {name})" for name in names)
    return f"query ({' '.join(f'{name}: Boolean!' for name in names)}) {{ {fields} }}"


TOO_MUCH = [
    (deep(16), "16 levels deep"),
    (deep(60), "60 levels deep"),
    (bomb(15), "16 levels deep"),
    (bomb(30), "31 levels deep"),
    ("{ a " * 5_000, "60 brackets"),
    ("{ b(x: " + "[" * 500 + "]" * 500 + ") }", "60 brackets"),
    ("{ b(x: " + "{y: " * 200 + "1" + "}" * 200 + ") }", "60 brackets"),
    ("{ " + "b " * 2_000 + "}", "2000 tokens"),
    ("{ " + "b @skip(if: false) " * 5_000 + "}", "2000 tokens"),
    ("{ " + " ".join(f"b{at}: b" for at in range(16)) + " }", "aliases of one field"),
    ("{ " + " ".join(f"{name}{at}: {name}" for at in range(15) for name in ("a", "b", "c", "d")) + " }", "60 aliases"),
    ("{ " + " ".join(f"b{at}: b" for at in range(500)) + " }", "500 aliases"),
    ("{ b " + "@skip(if: false) " * 51 + "}", "51 directives"),
    (conditions(17), "17 variables in @skip"),
    (" ".join(f"query Q{at} {{ b }}" for at in range(21)), "21 operations"),
    ("{ b } " + " ".join(f"fragment F{at} on Query {{ b }}" for at in range(51)), "51 fragments"),
    ("{ b __schema { types { name } } }", "asks for nothing else"),
    (
        '{ ...F ... on Query @skip(if: true) { b } } fragment F on Query { t: __type(name: "In") { name } }',
        "nothing else",
    ),
    ("{ c(first: " + "9" * 401 + ") }", "400 characters"),
    ("{ c(first: 1." + "0" * 5_000 + ") }", "400 characters"),
    ("{ b } # " + "x" * 100_000, "characters"),
    ("{" + "... on Query {" * 40 + "b ...F" + "}" * 41 + "fragment F on Query {" + "...{" * 59 + "b" + "}" * 60, "100"),
]


@pytest.mark.parametrize(("text", "limit"), TOO_MUCH, ids=range(len(TOO_MUCH)))
def test_what_is_too_large_too_deep_or_too_repetitive_is_refused_by_its_own_limit(text, limit):
    with pytest.raises(Unfit, match=limit) as unfit:
        read(text)
    assert unfit.value.errors[0].extensions == {"code": "COST_LIMIT_EXCEEDED"}


def test_the_limits_are_asked_in_their_order():
    """Each text breaks a limit and all that come after it: only the first is told."""
    wrong = "{ nothing "
    texts = [
        (wrong + "b " * 60_000 + "}", "characters"),
        (wrong + "b " * 2_000 + deep(16) + "}", "tokens"),
        (wrong + deep(20)[1:] + " ".join(f"query Q{at} {{ no }}" for at in range(30)), "levels deep"),
        (" ".join(f"query Q{at} {{ no }}" for at in range(21)) + "fragment F on No { no } " * 51, "operations"),
        ("{ " + " ".join(f"n{at}: no" for at in range(51)) + " } " + "fragment F on No { no } " * 51, "fragments"),
        ("{ " + " ".join(f"n{at}: no" for at in range(51)) + " @no" * 51 + " }", "51 aliases;"),
        ("{ " + " ".join(f"n{at}: no" for at in range(16)) + " @no" * 51 + " }", "aliases of one"),
        (conditions(17).replace("skip", "no").replace("}", "@no " * 51 + "}"), "directives"),
        (conditions(17).replace("skip", "no"), "variables in"),
    ]
    for text, limit in texts:
        with pytest.raises(Unfit, match=limit):
            read(text)


@pytest.mark.parametrize(
    "text", [deep(15), bomb(14), "{ " + " ".join(f"b{at}: b" for at in range(15)) + " }", conditions(16), flat_bomb(30)]
)
def test_what_stands_at_its_limit_passes(text):
    assert read(text).ast.definitions


@pytest.mark.parametrize("text", ["", "{", "{ a { b }", "\ud800", '{ b(x: "\\u12") }', "query { ...on }"])
def test_what_is_no_document_is_a_parse_error(text):
    assert code(text) == "GRAPHQL_PARSE_FAILED"


@pytest.mark.parametrize(
    "text",
    [
        "{ c { c } }",
        "{ ...F } fragment F on Query { ...F }",
        "{ ...F } fragment F on Query { a { ...G } } fragment G on Query { a { ...F } }",
        "{ a }",
        "{ b(x: 1.5) }",
        "{ b(x: 1e400) }",
        "{ b c: b b: c }",
        "type A { b: Int }",
    ],
)
def test_what_the_schema_does_not_have_is_a_validation_error(text):
    assert code(text) == "GRAPHQL_VALIDATION_FAILED"


def code(text: str) -> str:
    with pytest.raises(Unfit) as unfit:
        read(text)
    return str((unfit.value.errors[0].extensions or {}).get("code"))


def refusal(reader: Reader, text: str, budget: Budget | None = None) -> Unfit | None:
    try:
        reader.read(text, budget)
    except Unfit as unfit:
        return unfit
    return None


def test_at_most_20_validation_errors_are_told_and_overlaps_are_among_them():
    with pytest.raises(Unfit) as unfit:
        read("{ " + " ".join(f"c{at}" for at in range(100)) + " }")
    assert len(unfit.value.errors) == 20
    with pytest.raises(Unfit, match="Cannot query field 'no'") as unfit:
        read("{ no a { b } b: c b }")
    assert any("Fields 'b' conflict because 'c' and 'b' are different" in each.message for each in unfit.value.errors)


def test_the_introspection_of_tools_is_served_and_counts_apart_or_is_refused_where_it_is_off():
    text = get_introspection_query(specified_by_url=True, input_value_deprecation=True)
    assert read(text).ast.definitions
    hidden = Reader(SCHEMA, introspection=False)
    with pytest.raises(Unfit, match="introspection"):
        hidden.read(text)
    with pytest.raises(Unfit) as unfit:
        hidden.read("{ aa }")
    assert "Did you mean" not in unfit.value.errors[0].message


@pytest.mark.parametrize("levels", [10, 20, 30, 45])
def test_fragments_that_spread_each_other_are_looked_at_once_each(levels):
    """The library's oldest way would look at 2^levels fields."""
    budget = Budget()
    assert READER.read(flat_bomb(levels), budget).ast.definitions
    assert budget.ticks <= 20 * levels


def test_no_document_within_the_limits_is_looked_at_more_often_than_its_square():
    for text in worst():
        budget = Budget(seconds=60)
        refused = refusal(READER, text, budget)
        assert not isinstance(refused, OutOfBudget)
        assert budget.ticks < 100_000, (budget.ticks, text[:80])


def worst() -> list[str]:
    """The documents of the research that take longest to validate, with 2,000 tokens each."""
    sevens = " ".join(
        f"fragment F{at} on Query {{ a {{ {' '.join(f'...F{to}' for to in range(at + 1, 12))} b c }} }}"
        for at in range(12)
    )
    return [
        "{ " + "b " * 1_500 + "}",
        "{ " + "a { c } " * 280 + "}",
        "{ " + "a { a { a { a { b } } } } " * 140 + "}",
        "{ " + "... on Query { a { b } } " * 180 + "}",
        "{ " + " ".join(f"...F{at}" for at in range(12)) + " } " + sevens,
        "{ " + "no " * 1_500 + "}",
        "{ " + "b(x: [{y: []}]) " * 120 + "}",
    ]


def test_the_budget_ends_every_stage(monkeypatch):
    """Of a document that passes and of one that the library's rules look at."""
    for text in ("{ " + "a { c } " * 100 + "}", "{ " + "a { no } " * 100 + "}", flat_bomb(45)):
        with pytest.raises(OutOfBudget) as out:
            READER.read(text, Budget(seconds=-1))
        assert out.value.errors[0].extensions == {"code": "COST_LIMIT_EXCEEDED"}
    monkeypatch.setattr(Valid, "surely", lambda *_: True)
    with pytest.raises(OutOfBudget):
        READER.read("{ " + "a { c } " * 100 + "}", Budget(seconds=-1))


def test_what_is_read_is_what_the_library_would_pass():
    reader, drawn, passed = Reader(drawing.SCHEMA, introspection=True), drawing.Drawn(11, broken=0.01), 0
    for _ in range(300):
        text = drawn.document()
        theirs = validate(drawing.SCHEMA, parse(text))
        refused = refusal(reader, text)
        if refused is None:
            assert not theirs, (text, theirs)
            passed += 1
        else:
            told = {(each.extensions or {})["code"] for each in refused.errors}
            assert theirs or told == {"COST_LIMIT_EXCEEDED"}, (text, refused.errors)
    assert passed > 50
