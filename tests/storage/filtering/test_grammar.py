"""The language of filters: what is read, and where it is wrong."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import BadFilter
from storage.filtering.grammar import BoolOp, Column, Compare, Expression, In, IsNull, Match, Not, Value, parse_filter


def says(expression: Expression) -> str:
    """An expression as text, with everything in parentheses."""
    match expression:
        case BoolOp(parts, every):
            return "(" + (" and " if every else " or ").join(map(says, parts)) + ")"
        case Not(part):
            return f"not {says(part)}"
        case Compare(column, operator, other):
            return f"{column.name} {operator} {other.name if isinstance(other, Column) else repr(other.value)}"
        case In(column, values):
            return f"{column.name} in {[value.value for value in values]}"
        case Match(column, how, pattern):
            return f"{column.name} {how} {pattern!r}"
        case IsNull(column):
            return f"{column.name} is null"


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("width >= 640 and split = 'val'", "(width >= 640 and split = 'val')"),
        ("a = 1 or b = 2 and not c = 3", "(a = 1 or (b = 2 and not c = 3))"),
        ("(a = 1 OR b = 2) AND c = 3", "((a = 1 or b = 2) and c = 3)"),
        ("not not a == 1", "a = 1"),
        ("a != 1", "not a = 1"),
        ("a <> 'x'", "not a = 'x'"),
        ("a in (1, 'x', true)", "a in [1, 'x', True]"),
        ("a not in ('x')", "not a in ['x']"),
        ("a like 'x%' and b not contains \"y\"", "(a like 'x%' and not b contains 'y')"),
        ("a is null or a is not null", "(a is null or not a is null)"),
        ("width > height", "width > height"),
        ("exif.iso < 400", "exif.iso < 400"),
        ("`my album` = 'it''s'", 'my album = "it\'s"'),
        ("相册 = '夏天'", "相册 = '夏天'"),
        ("notes = 'a' and order=1 and isolated=2", "(notes = 'a' and order = 1 and isolated = 2)"),
        ("size > 2MB or size < 1.5kb", "(size > 2000000 or size < 1500.0)"),
        ("a = -1.5e3 or a = 12345678901234567890", "(a = -1500.0 or a = 1.2345678901234567e+19)"),
    ],
)
def test_filters(text, meaning):
    assert says(parse_filter(text)) == meaning


@pytest.mark.parametrize(
    ("date", "start", "end"),
    [
        ("2024-05", datetime(2024, 5, 1), datetime(2024, 6, 1)),
        ("2023-12", datetime(2023, 12, 1), datetime(2024, 1, 1)),
        ("2024-02-29", datetime(2024, 2, 29), datetime(2024, 3, 1)),
        ("2024-05-01 12:30", datetime(2024, 5, 1, 12, 30), datetime(2024, 5, 1, 12, 31)),
        ("2024-05-01T12:30:59", datetime(2024, 5, 1, 12, 30, 59), datetime(2024, 5, 1, 12, 31)),
    ],
)
def test_a_date_is_all_of_its_day_month_or_minute(date, start, end):
    assert parse_filter(f"taken = {date}") == Compare(Column("taken", 0), "=", Value("date", (start, end), 8))


@pytest.mark.parametrize(
    ("text", "at", "problem"),
    [
        ("", 0, "it is empty"),
        ("width >", 7, "(its end): expected a column, a text in quotation marks, a number"),
        ("width 640", 6, "('640'): expected a comparison, like or contains, not, in or is"),
        ("width = 640px", 8, "('640px'): expected a column"),
        ("640 = width", 0, "expected a column, '(' or not"),
        ("(a = 1", 6, "(its end): expected ')'"),
        ("a = 1)", 5, "(')'): expected"),
        ("a = 1 b = 2", 6, "expected and, or or the end"),
        ("a in ()", 6, "expected a text in quotation marks, a number"),
        ("a = 'x", 4, '("\'x")'),
        ("a = 2023-02-29", 4, "there is no such date"),
        ("a like 5", 7, "expected a text in quotation marks"),
        ("a = 1; drop table", 5, "('; drop table'): expected"),
        ("__import__('os')", 10, "expected a comparison"),
        ("a = '\udce4'", 0, "not valid Unicode"),
        ("a = 1 or " * 300, 2000, "2000 is the most"),
    ],
)
def test_an_error_names_the_position(text, at, problem):
    with pytest.raises(BadFilter) as raised:
        parse_filter(text)
    assert raised.value.at == at and problem in str(raised.value) and "\n" not in str(raised.value)


PARTS = [
    "a",
    "`b`",
    "=",
    "<",
    ">=",
    "!=",
    "(",
    ")",
    "and",
    "or",
    "not",
    "in",
    "is",
    "null",
    "like",
    "contains",
    "'x'",
    '"y"',
    "1",
    "-2.5",
    "2024-05-01",
    "9999-12",
    "0000-01",
    "true",
    ",",
    ".",
    "é",
]


@given(st.text(max_size=60) | st.lists(st.sampled_from(PARTS), max_size=12).map(" ".join))
def test_any_text_is_read_or_refused_with_a_position(text):
    try:
        parse_filter(text)
    except BadFilter as error:
        assert 0 <= error.at <= len(text)


def test_the_deepest_filter_that_can_be_written_is_read():
    assert says(parse_filter("(" * 990 + "a=1" + ")" * 990)) == "a = 1"
    assert says(parse_filter("not " * 499 + "a=1")) == "not a = 1"
