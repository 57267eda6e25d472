"""The splits of a source: those that its records name, and the one that is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from indexer.errors import SeveralSplits, UnknownSplit
from indexer.items import SourceItem
from indexer.sources.base import Source
from indexer.sources.splits import chosen_splits, in_splits, splits_line, splits_of

KARPATHY = {"train": 6, "test": 3, "val": 2, "restval": 1}


def source_of(*splits):
    """A source whose photo i is in split i; None: its record names none."""
    items = [SourceItem(Path(f"/{i}.jpg"), metadata={} if one is None else {"split": one}) for i, one in enumerate(splits)]
    return Source(Path("/"), items)


def test_splits_are_counted_the_largest_first():
    assert splits_of(source_of("test", "train", "train")) == {"train": 2, "test": 1}
    assert splits_of(source_of(None, None)) == {} and splits_of(source_of()) == {}
    assert splits_of(source_of("val", None, None)) == {"none": 2, "val": 1}
    assert splits_of(source_of(1, 1, ["a"], "a\nb")) == {"1": 2, "['a']": 1, "a\\nb": 1}


@pytest.mark.parametrize(("there", "asked", "chosen"), [
    (KARPATHY, [], ["test"]), (KARPATHY, ["val"], ["val"]), (KARPATHY, ["restval", "train"], ["train", "restval"]),
    (KARPATHY, ["all"], [*KARPATHY]), (KARPATHY, ["all", "val"], [*KARPATHY]),
    ({"val": 2}, [], ["val"]), ({"val": 2}, ["val"], ["val"]), ({}, [], []), ({}, ["all"], []),
    ({"train": 1, "val": 1}, ["all"], ["train", "val"]),
])  # fmt: skip
def test_of_several_splits_test_is_measured_unless_others_are_named(there, asked, chosen):
    assert chosen_splits(there, asked) == chosen


def test_what_cannot_be_chosen_names_what_there_is():
    with pytest.raises(SeveralSplits, match=r"several splits, train \(6,000\), val \(9\), and none is called test"):
        chosen_splits({"train": 6000, "val": 9})
    with pytest.raises(UnknownSplit, match=r"no split 'tst' \(the splits are train \(6\), test"):
        chosen_splits(KARPATHY, ["test", "tst"])
    with pytest.raises(UnknownSplit, match="names? none"):
        chosen_splits({}, ["test"])
    with pytest.raises(SeveralSplits, match="and 92 more, and none"):
        chosen_splits({str(i): 1 for i in range(100)})


def test_a_part_keeps_the_order_and_the_problems_of_its_source():
    source = source_of("test", "train", "test", None, "val")
    part = in_splits(source, ["test", "none"])
    assert [item.uri.name for item in part] == ["0.jpg", "2.jpg", "3.jpg"] and part.root == source.root
    assert len(source) == 5 and in_splits(source, []).problems == source.problems


def test_the_line_says_what_was_taken_and_what_was_left_out():
    assert splits_line({"train": 6000, "test": 5}, ["test"]) == "Measured on the split test (5); left out: train (6,000)."
    assert splits_line({"a": 1, "b": 2}, ["a", "b"]) == "Measured on the splits a (1), b (2): all that there are."
