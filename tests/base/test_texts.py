"""Texts that people write: what is too much is refused, and nothing of what was asked is passed over in silence."""

from __future__ import annotations

import pytest

from base import errors, texts


def test_tags_that_fold_alike_are_one_and_the_first_spelling_stays():
    assert texts.tags(["Night", "night", "ＮＩＧＨＴ", "city"], "tags") == ["Night", "city"]


@pytest.mark.parametrize("given", [[f"t{n}" for n in range(21)], ["same"] * 99 + ["other", "another"]])
def test_too_many_tags_are_refused_and_none_is_dropped_unseen(given):
    with pytest.raises(errors.Invalid) as refused:
        texts.tags(given, "input", "tags")
    assert refused.value.field == ("input", "tags")


def test_every_word_of_a_search_counts():
    words = [f"w{number}" for number in range(texts.SEARCH_WORDS_MAX)]
    assert texts.search_words(" ".join(words)) == words
    with pytest.raises(errors.BadUserInput, match="words"):
        texts.search_words(" ".join([*words, "more"]))


@pytest.mark.parametrize("text", ["", "a", " a ", "x" * 201, "a\x07b"])
def test_a_search_that_is_too_short_too_long_or_no_text_is_refused(text):
    with pytest.raises(errors.BadUserInput, match="search"):
        texts.search_words(text)


def test_what_like_makes_special_means_itself():
    assert texts.like_part("50%_!") == "%50!%!_!!%"
