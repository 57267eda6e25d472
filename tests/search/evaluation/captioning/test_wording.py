from __future__ import annotations

import pytest

from search.evaluation.captioning.wording import distinct, repeats_a_word


@pytest.mark.parametrize(
    ("text", "repeats"),
    [("a a a boat", True), ("a boat boat boat", True), ("a a boat a", False), ("a dog a dog a dog", False), ("", False)],
)
def test_three_times_in_a_row_is_a_repetition(text, repeats):
    assert repeats_a_word(text.split()) is repeats


def test_equal_captions_count_once_and_empty_ones_never():
    assert distinct([["a", "dog"], ["a", "dog"], [], ["dog"]]) == 2
