from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.pages.histograms import bars, shape_counts, size_counts

SIDES = st.integers(1, 20_000)


@given(st.lists(st.tuples(SIDES, SIDES), max_size=30))
def test_every_photo_is_in_one_bin(sizes):
    widths, heights = np.array(sizes, np.int32).reshape(-1, 2).T

    for counts in (size_counts(widths, heights), shape_counts(widths, heights)):
        assert sum(count for _, count in counts) == len(sizes)
        assert len({label for label, _ in counts}) == len(counts)


@pytest.mark.parametrize(
    ("width", "height", "size", "shape"),
    [(100, 100, "< 0.3 MP", "0.95–1.05"), (1000, 1000, "1–2 MP", "0.95–1.05"), (6000, 4000, "≥ 16 MP", "≥ 1.5"),
     (50_000, 50_000, "≥ 16 MP", "0.95–1.05"), (100, 1000, "< 0.3 MP", "< 0.67")],
)  # fmt: skip
def test_bins(width, height, size, shape):
    sides = np.array([width], np.int32), np.array([height], np.int32)
    assert dict(size_counts(*sides))[size] == dict(shape_counts(*sides))[shape] == 1


def test_the_longest_bar_is_whole():
    assert [bar.share for bar in bars([("a", 2), ("b", 4), ("c", 0)])] == [0.5, 1.0, 0.0]
    assert bars([]) == [] and bars([("a", 0)])[0].share == 0.0
