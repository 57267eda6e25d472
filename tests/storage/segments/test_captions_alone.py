"""Segments of captions alone, of images in other segments, and what older programs wrote."""

from __future__ import annotations

import numpy as np
import pytest

from storage import CaptionRecord
from storage.errors import WrongShape
from storage.segments import builder, journal
from storage.segments.builder import ADD, CAPTION, SegmentBuilder, SegmentInfo
from storage.segments.journal import CaptionBatch, Journal
from storage.segments.merging import needs_compaction
from storage.segments.reader import Segment
from storage.segments.rewriting import without_captions
from storage.segments.schemas import captions_to_table
from storage.segments.segment_set import SegmentSet
from tests.support.storage_examples import ENCODER, segment_data

OWN = CaptionRecord(1, 2, "zh", "绿", "test")
WRITTEN = [CaptionRecord(8, 2, "en", "green", "generated:f", -1.5), CaptionRecord(9, 5, "en", "blue", "generated:f", -2.5)]
NONE = np.empty(0, np.int64)


def segment(folder, name, purpose, data=None, captions=()):
    building = SegmentBuilder(folder / f".tmp-{name}", folder / name, SegmentInfo("f", 16, (4, 8), 0, purpose))
    if data is not None:
        building.add_images(data.images, data.image_vectors, data.tokens, data.thumbnails)
    building.add_captions(list(captions), ENCODER.encode_texts([one.text for one in captions]).vectors)
    return Segment(folder / building.finish(), held=False)


def without_column(captions):
    """A table of captions as programs wrote it that knew no written ones."""
    return captions_to_table(captions).drop_columns(["log_probability"])


@pytest.fixture
def segments(tmp_path):
    data = segment_data({1: "red", 2: "green", 5: "blue"})
    return [segment(tmp_path, "a", ADD, data, [OWN]), segment(tmp_path, "b", CAPTION, None, WRITTEN)]


def test_captions_are_found_by_their_images_wherever_they_lie(segments):
    rows = SegmentSet(segments)
    assert rows.captions_of([2, 1, 5]) == {2: [OWN, WRITTEN[0]], 1: [], 5: [WRITTEN[1]]}
    assert rows.caption_ids(generated=True).tolist() == [8, 9] and rows.caption_ids("zh", generated=True).tolist() == []
    assert rows.captioned("en").tolist() == [2, 5] and rows.captioned("en", "generated:g").tolist() == []
    assert rows.owners([9, 1]).tolist() == [5, 2] and rows.generated_count == 2
    assert SegmentSet(segments, [5]).caption_ids().tolist() == [1, 8]


def test_captions_without_their_images_are_dead(segments):
    assert SegmentSet(segments[1:]).caption_count == 0
    assert SegmentSet(segments[1:], captioned=np.array([5])).caption_ids_of_others().tolist() == [9]


def test_only_such_a_segment_may_hold_captions_of_others(tmp_path, segments):
    with pytest.raises(WrongShape, match="outside its segment"):
        segment(tmp_path, "c", ADD, None, WRITTEN)
    with pytest.raises(WrongShape, match="holds images"):
        segment(tmp_path, "d", CAPTION, segment_data({7: "red"}))


def test_captions_and_their_images_are_brought_together_once(segments):
    assert set(needs_compaction(segments, NONE)) == set(segments)
    assert needs_compaction(segments[1:], NONE) == []
    assert needs_compaction(segments[1:], np.array([5])) == segments[1:]


def test_a_segment_without_some_captions_shares_its_large_files(tmp_path, segments):
    whole = segments[0]
    fewer = Segment(tmp_path / without_captions(whole, np.array([1]), tmp_path / ".tmp-x", tmp_path / "x"))
    fewer.verify()
    whole.verify()
    assert fewer.caption_ids.tolist() == [] and fewer.image_ids.tolist() == whole.image_ids.tolist()
    assert (fewer.folder / "image_tokens.npy").samefile(whole.folder / "image_tokens.npy")


def test_segments_of_older_programs_have_no_log_probability(tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "captions_to_table", without_column)
    old = segment(tmp_path, "old", ADD, segment_data({2: "green"}), [OWN])
    assert SegmentSet([old]).captions([1]) == [OWN]
    assert SegmentSet([old]).caption_table()["log_probability"].null_count == 1


def test_journals_of_older_programs_are_continued(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "captions_to_table", without_column)
    written = Journal.create(tmp_path / "1.journal", {"dim": 16, "token_shape": [4, 8]})
    written.append(CaptionBatch([OWN], np.zeros((1, 16))))
    (batch,) = Journal(tmp_path / "1.journal").batches()
    assert isinstance(batch, CaptionBatch) and batch.captions == [OWN]
