from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.errors import BadParameter
from web.pages import formatting
from web.parameters import IntegerWithDefault, search_options


def test_a_tile_has_the_photos_own_ratio():
    assert formatting.tile_ratio(640, 480) == 1.3333
    assert formatting.tile_ratio(480, 640) == 0.75


@pytest.mark.parametrize(("size", "ratio"), [((10000, 100), 3.2), ((100, 10000), 0.5), ((5, 0), 3.2)])
def test_no_photo_is_too_wide_or_too_narrow_for_a_row(size, ratio):
    assert formatting.tile_ratio(*size) == ratio


def test_one_caption_of_each_language_is_shown_the_readers_own_first():
    captions = [
        {"id": 1, "language": "en", "text": "a dog"},
        {"id": 2, "language": "en", "text": "a brown dog"},
        {"id": 3, "language": "zh", "text": "一只狗"},
    ]

    shown, others = formatting.split_captions(captions, "zh")

    assert [caption["id"] for caption in shown] == [3, 1]
    assert [caption["id"] for caption in others] == [2]
    assert formatting.split_captions([], "en") == ([], [])


def test_stages_that_took_no_time_are_left_out():
    times = {"encode": 12.4, "first_stage": 0.84, "rerank": 0.0, "fetch": 1.2, "total": 14.6}

    assert formatting.stage_times(times) == [("encode", "12"), ("first_stage", "0.8"), ("fetch", "1")]


@pytest.mark.parametrize(
    ("offset", "total", "around"),
    [(0, 10, (None, None)), (0, 30, (None, 24)), (24, 30, (0, None)), (30, 100, (6, 54)), (500, 100, (76, None))],
)
def test_pages_around(offset, total, around):
    assert formatting.pages_around(offset, 24, total) == around


@given(st.lists(st.integers(), unique=True), st.integers(1, 30))
def test_evenly_takes_in_order_and_no_more(values, most):
    chosen = formatting.evenly(values, most)

    assert len(chosen) == min(len(values), most) == len(set(chosen))
    assert [value for value in values if value in set(chosen)] == chosen


def test_a_missing_top_has_the_given_default():
    assert search_options({}, top=24) == {
        "to": "images", "top": 24, "rerank": 32, "mode": "vector", "where": None, "offset": 0, "cursor": None, "fold": None,
    }  # fmt: skip
    assert search_options({"top": " 7 ", "rerank": ""})["top"] == 7


@given(st.text(max_size=60))
def test_a_number_is_within_its_range_or_refused(raw):
    try:
        number = IntegerWithDefault("n", "", 1, 500, 3).read({"n": raw})
    except BadParameter as refused:
        assert "must be a whole number from 1 to 500" in str(refused)
    else:
        assert 1 <= number <= 500


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("/a/b!/1.jpg", "1.jpg"),
        ("file:///a/%FF.jpg", "%FF.jpg"),
        ("tar:///a/0.tar!b/1.jpg", "1.jpg"),
        ("parquet:///a%21/0.parquet!3/12/image", "0.parquet!3/12/image"),
    ],
)
def test_the_name_of_a_file(uri, name):
    assert formatting.file_name(uri) == name
