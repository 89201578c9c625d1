"""Our two passes over a document beside the library's rules, which are their oracle."""

from __future__ import annotations

import pytest
from graphql import OverlappingFieldsCanBeMergedRule, parse, specified_rules, validate

from execution.overlap import conflicts
from execution.valid import Valid
from tests.execution.documents import SCHEMA, Drawn

DOCUMENTS = 1_000
OTHER_RULES = [rule for rule in specified_rules if rule is not OverlappingFieldsCanBeMergedRule]
VALID = Valid(SCHEMA)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_drawn_documents_overlap_where_the_library_says_so(seed):
    drawn, conflicting = Drawn(seed, broken=0.01 if seed == 3 else 0.0), 0
    for _ in range(DOCUMENTS):
        text = drawn.document()
        document = parse(text)
        ours = conflicts(SCHEMA, document)
        theirs = validate(SCHEMA, document, [OverlappingFieldsCanBeMergedRule])
        assert bool(ours) == bool(theirs), (text, ours, theirs)
        conflicting += bool(ours)
    assert DOCUMENTS * 0.1 < conflicting < DOCUMENTS * 0.9


@pytest.mark.parametrize(("seed", "broken"), [(4, 0.0), (5, 0.01), (6, 0.03), (7, 0.1)])
def test_no_drawn_document_is_passed_that_the_library_refuses(seed, broken):
    drawn, valid, needlessly = Drawn(seed, broken=broken), 0, 0
    for _ in range(DOCUMENTS // 2):
        text = drawn.document()
        document = parse(text)
        wrong = validate(SCHEMA, document, OTHER_RULES)
        if VALID.surely(document):
            assert not wrong, (text, wrong)
            valid += 1
        else:
            needlessly += not wrong
    assert valid > 0
    # What is doubted without need only takes longer.
    assert needlessly <= DOCUMENTS // 50, needlessly
