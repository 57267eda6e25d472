from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from storage.errors import BadFilter
from storage.filtering.grammar import parse_filter
from web.pages.filter_chips import SUGGESTED, Chip, chips, conjuncts, joined, suggestions

CONDITIONS = [
    "width > 640", "album in ('a and b', \"or\")", "not (width = 1 or width = 2)", "name like '%(and)%'", "taken >= 2024-05",
    "album is not null", "`odd and (name` = 'it''s'", "(width = 1 or width = 2)",
]  # fmt: skip


@pytest.mark.parametrize(
    ("where", "parts"),
    [
        ("width > 640", ["width > 640"]),
        ("width > 640 and language = 'zh'", ["width > 640", "language = 'zh'"]),
        ("a = 'x AND y' AND b contains \"and\"", ["a = 'x AND y'", 'b contains "and"']),
        ("a = 1 or b = 2 and c = 3", ["a = 1 or b = 2 and c = 3"]),
        ("(a = 1 or b = 2) and c = 3", ["(a = 1 or b = 2)", "c = 3"]),
        ("(a = 1 and b = 2)", ["(a = 1 and b = 2)"]),
        ("band = 'orand'", ["band = 'orand'"]),
    ],
)
def test_parts_stand_between_the_outermost_ands(where, parts):
    assert conjuncts(where) == parts


def test_a_chip_knows_the_filter_without_it():
    assert chips("a = 1 and b = 2 and c = 3")[1] == Chip("b = 2", "a = 1 and c = 3")
    assert chips("a = 1") == [Chip("a = 1", None)]
    assert chips(None) == []
    assert chips("(a = 1 or b = 2) and c = 3")[1] == Chip("c = 3", "(a = 1 or b = 2)")


def test_a_part_with_or_in_it_keeps_together():
    assert joined(["a = 1 or b = 2", "c = 3"]) == "(a = 1 or b = 2) and c = 3"


@given(st.lists(st.sampled_from(CONDITIONS), min_size=1, max_size=5))
def test_parts_put_together_are_the_filter_again(parts):
    whole = joined(parts)

    assert conjuncts(whole) == parts
    for i, chip in enumerate(chips(whole)):
        rest = parts[:i] + parts[i + 1 :]
        assert chip.without == joined(rest)
        if rest:
            parse_filter(chip.without)


@given(st.text(alphabet="ab=1 ()'\"`andor", max_size=40))
def test_any_text_has_chips_and_valid_filters_stay_valid(where):
    assume(where.strip())
    parts = conjuncts(where)
    try:
        parse_filter(where)
    except BadFilter:
        return
    for part in parts:
        parse_filter(part)


def test_a_suggestion_is_added_once():
    (first, added), *_ = suggestions("width >= 640 or height >= 640")
    assert first == "landscape" and added == "(width >= 640 or height >= 640) and width > height"
    assert len(suggestions(None)) == len(SUGGESTED)
    assert "landscape" not in dict(suggestions("width > height"))
    for _, where in suggestions("bytes > 1MB"):
        parse_filter(where)
