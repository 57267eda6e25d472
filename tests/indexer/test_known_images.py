"""What is kept small: texts that are searched, a source's photos, and what is known of a collection."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.items import SourceCaption, SourceItem, description_of
from indexer.known_images import KnownImages, Recorded
from indexer.sources.packed import AT_ONCE, Packed
from indexer.text_index import TextIndex
from storage import Home, SegmentData
from storage.segments.segment_set import SegmentSet
from tests.support.storage_examples import image_record, segment_data

names = st.sampled_from(["", "a", "b", "é", "照片", "/a/b.jpg"])


@given(parts=st.lists(st.lists(names, max_size=5), max_size=5), asked=names, before=st.integers(0, 30) | st.none())
def test_the_last_place_of_a_text_is_that_of_the_list_of_all(parts, asked, before):
    texts, whole = TextIndex(), [text for part in parts for text in part]
    for part in parts:
        texts.add(part)
    places = [place for place, text in enumerate(whole[:before]) if text == asked]
    assert texts.last(asked, before) == (places[-1] if places else None)
    assert len(texts) == len(whole) and texts.distinct == len(set(whole))
    assert [texts[place] for place in range(len(whole))] == whole


def test_texts_with_equal_hashes_are_told_apart(monkeypatch):
    monkeypatch.setattr("indexer.text_index.hash", lambda text: 1, raising=False)
    texts = TextIndex()
    texts.add(["a", "b", "a"])
    assert [texts.last(text) for text in ("a", "b", "c")] == [2, 1, None]
    assert texts.last("a", before=2) == 0


sentences = st.text(st.characters(codec="utf-8"), max_size=9)
captions = st.builds(SourceCaption, st.sampled_from(["en", "zh"]), sentences, st.just("x"))
values = st.none() | st.integers() | st.floats(allow_nan=False) | st.lists(st.booleans())
items = st.builds(
    SourceItem,
    st.sampled_from([Path("/a/1.jpg"), Path("/a/\udcff.jpg"), Path("/照/2.jpg")]),
    st.lists(captions, max_size=3),
    st.dictionaries(st.text(max_size=3), values, max_size=2),
    st.none() | st.just("member.jpg"),
)


@given(kept=st.lists(items, max_size=5), repeated=st.sampled_from([1, 60, 300]))
def test_packed_items_are_the_items(kept, repeated):
    packed = Packed(kept * repeated)
    assert len(packed) == len(kept) * repeated
    assert list(packed) == list(packed) == kept * repeated


def test_packed_items_are_small():
    one = Packed(
        SourceItem(Path(f"/photos/{number}.jpg"), [SourceCaption("en", f"photo {number}", "x")] * 5)
        for number in range(AT_ONCE)
    )
    assert sum(map(len, one._parts)) < 40 * AT_ONCE and not one._last


@pytest.fixture
def rows(tmp_path):
    """Two images of one content, each from a source of its own."""
    collection = Home(tmp_path).create_collection("walls")
    with collection.writer("x") as writer:
        data = segment_data({writer.new_image_id(): "red", writer.new_image_id(): "blue"})
        records = [
            image_record(one.image_id, uri=f"/{one.image_id}", sha256="ab" * 32, source=f"/source{one.image_id}")
            for one in data.images
        ]
        writer.add_segment(
            SegmentData(records, data.image_vectors, data.tokens, data.thumbnails, data.captions, data.caption_vectors)
        )
        writer.publish()
    return collection.open_rows()


def test_what_is_known_is_found_by_uri_and_by_content(rows):
    known, none = KnownImages(rows, SegmentSet([]), None), KnownImages(None, SegmentSet([]), None)
    one = known.get("/1")
    assert (one.image_id, one.sha256, one.source, one.published, one.rows) == (1, "ab" * 32, "/source1", True, rows)
    assert one.description == description_of([], {"number": 1})
    assert known.twin("ab" * 32).image_id == 2 and known.get("/3") is known.twin("cd" * 32) is none.get("/1") is None
    assert known.published_of("/source1") == 1 and known.published_of("/elsewhere") == none.published_of("/source1") == 0


def test_what_a_run_left_behind_counts_in_place_of_what_is_published(rows):
    known = KnownImages(rows, rows, None)
    assert [known.at(place).image_id for place in known.unpublished] == [1, 2]
    assert known.get("/1").published is False and known.get("/1", before=2).published is True
    assert known.published_of("/source1") == 0 and known.twin("ab" * 32).published


def test_what_a_source_did_not_name_is_told(rows):
    known, recorded = KnownImages(rows, SegmentSet([]), None), Recorded(rows)
    assert [one.uri for one in known.unnamed("/source1")] == ["/1"]
    for one in (known, recorded):
        one.name("/1")
        one.name("/nobody knows it")
    assert list(known.unnamed("/source1")) == [] and recorded.of_others("/source1").tolist() == [2]
    known.name("/1", named=False)
    assert [one.uri for one in known.unnamed("/source1")] == ["/1"]
    recorded.name("/2")
    assert recorded.of_others("/source1").tolist() == [] and (recorded.uris, recorded.id_of("/2")) == (2, 2)
