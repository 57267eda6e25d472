"""Which rows have something in a column, whatever a source's metadata look like."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.errors import BadFilter
from storage.filtering import columns
from storage.filtering.columns import columns_of
from storage.filtering.evaluator import ids_where

DEPTH = 3
DEEP = {"a": {"b": {"c": {"d": {"e": [{"f": {"g": {"h": {"i": 1}}}}]}}}}}


class Photos:
    """A snapshot of photos of which nothing is known but their metadata; ids count from 1."""

    def __init__(self, *metadata: dict) -> None:
        rows = [
            {"image_id": i, "uri": f"/{i}", "sha256": "", "source": "/", "width": 1, "height": 1, "bytes": 1,
             "metadata": json.dumps(one), "embedded": None}
            for i, one in enumerate(metadata, 1)
        ]  # fmt: skip
        self._table = pa.Table.from_pylist(rows)

    def image_table(self) -> pa.Table:
        return self._table

    def image_ids(self) -> np.ndarray:
        return self._table["image_id"].to_numpy()

    caption_ids = image_ids

    def caption_table(self) -> pa.Table:
        return pa.table({"image_id": self._table["image_id"]})


@pytest.mark.parametrize(
    ("value", "null"),
    [
        (None, True), ([], True), ({}, True), ([None], True), ([[], {}], True), ({"a": None, "b": [{}]}, True),
        (0, False), ("", False), (False, False), (math.nan, False), (10**400, False), ([""], False), ([None, 0], False),
        ({"a": 0}, False), ([{"a": [False]}], False), (DEEP, False), ([[DEEP]], False),
    ],
)  # fmt: skip
def test_a_column_is_null_where_there_is_no_value(value, null):
    photos = Photos({"x": value}, {}, {"x": 1})
    for of in ("images", "captions"):
        assert ids_where(photos, "x is null", of).tolist() == ([1, 2] if null else [2])
        assert ids_where(photos, "x is not null", of).tolist() == ([3] if null else [1, 3])
        assert ids_where(photos, "not (x is null)", of).tolist() == ([3] if null else [1, 3])


def test_a_key_that_no_photo_has_a_value_for_is_a_column_all_the_same():
    photos = Photos({"a": [], "b": {}, "c": None, "d": {"e": {}}})
    for name in ("a", "b", "c", "d", "d.e"):
        assert ids_where(photos, f"{name} is null").tolist() == [1] and ids_where(photos, f"{name} = 3").tolist() == []


def test_keys_with_dots_and_backticks_have_columns():
    photos = Photos(
        {"a.b": 1}, {"a": {"b": 2}}, {"a`b": 3}, {"metadata": {"x": 4}}, {"metadata.width": 5}, {"": {"c": 6}, "c": 7}
    )  # fmt: skip
    for where, ids in [("a.b is not null", [1, 2]), ("`a.b` = 1", [1]), ("`a``b` = 3", [3]), ("metadata.x = 4", [4]),
                       ("metadata.width is not null", [5]), ("c = 7", [6]), ("`.c` = 6", [6])]:  # fmt: skip
        assert ids_where(photos, where).tolist() == ids, where


def test_an_object_is_compared_with_nothing():
    with pytest.raises(BadFilter, match="exif holds objects, which can't be compared with numbers"):
        ids_where(Photos({"exif": {"iso": 100}}), "exif = 100")
    assert ids_where(Photos({"exif": {"iso": 100}}, {"exif": 100}), "exif = 100").tolist() == [2]


def test_a_number_beyond_all_others_is_one():
    photos = Photos({"x": 10**400}, {"x": -(10**400)}, {"x": 1.5})
    assert ids_where(photos, "x > 1").tolist() == [1, 3]


KEYS = st.sampled_from(["a", "b", "a.b", "c d", "é"])
LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "2024-05-01"])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)
METADATA = st.dictionaries(KEYS, VALUES, max_size=3)


def found_at(value: object, path: str | None, depth: int) -> dict[str, list]:
    """All that lies at each path of a JSON value, down to a depth: another way to say what a column is."""
    found = {} if path is None else {path: [value]}
    inner: list[tuple[str | None, object]] = []
    if isinstance(value, dict) and depth:
        inner = [(key if path is None else f"{path}.{key}", one) for key, one in value.items()]
    elif isinstance(value, list) and depth:
        inner = [(path, one) for one in value]
    for place, one in inner:
        for name, values in found_at(one, place, depth - 1).items():
            found[name] = found.get(name, []) + values
    return found


def has_leaf(value: object) -> bool:
    if isinstance(value, (dict, list)):
        return any(map(has_leaf, value.values() if isinstance(value, dict) else value))
    return value is not None


@given(st.lists(METADATA, min_size=1, max_size=4))
@example([{"a": {"b": {"c d": {"é": [[1]]}}}}, {"a": {"b": {"c d": {"é": [[None]]}}}}])
def test_is_null_and_its_opposite_hold_for_every_kind_of_value(metadata):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(columns, "MAX_DEPTH", DEPTH)
        photos = Photos(*metadata)
        by_row = [found_at(one, None, DEPTH) for one in metadata]
        names = sorted({name for found in by_row for name in found})
        for name in names:
            filled = [row for row, found in enumerate(by_row, 1) if any(map(has_leaf, found.get(name, [])))]
            empty = [row for row in range(1, len(metadata) + 1) if row not in filled]
            assert ids_where(photos, f"`{name}` is not null").tolist() == filled, name
            assert ids_where(photos, f"`{name}` is null").tolist() == empty, name
    assert set(names) <= set(columns_of(photos, "images").names())


def test_a_year_or_a_month_is_a_date_that_begins_with_it():
    photos = Photos({"taken": "2023"}, {"taken": "2023-05"}, {"taken": "2024-05-06"}, {"taken": "then"}, {"taken": "1234567"})
    assert ids_where(photos, "taken < 2024").tolist() == ids_where(photos, "taken = 2023").tolist() == [1, 2]
    assert ids_where(photos, "taken = 2023-05").tolist() == [2]
