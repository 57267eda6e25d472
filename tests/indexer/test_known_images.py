"""Tests of the compact structures: the text index, packed items, and what is known of a collection."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.items import SourceCaption, SourceItem, description_hash
from indexer.known_images import KnownImages, KnownUris
from indexer.sources.packed import ITEMS_PER_PART, PackedItems
from indexer.text_index import TextIndex
from storage import Home, SegmentData
from storage.segments.segment_set import SegmentSet
from tests.support.storage_examples import image_record, segment_data

names = st.sampled_from(["", "a", "b", "é", "照片", "/a/b.jpg"])


@given(parts=st.lists(st.lists(names, max_size=5), max_size=5), text=names, before=st.integers(0, 30) | st.none())
def test_find_last_gives_the_same_position_as_a_plain_list(parts, text, before):
    texts, whole = TextIndex(), [text for part in parts for text in part]
    for part in parts:
        texts.add(part)
    positions = [position for position, other in enumerate(whole[:before]) if other == text]
    assert texts.find_last(text, before) == (positions[-1] if positions else None)
    assert len(texts) == len(whole) and texts.distinct == len(set(whole))
    assert [texts[position] for position in range(len(whole))] == whole


def test_texts_with_equal_hashes_are_distinguished(monkeypatch):
    monkeypatch.setattr("indexer.text_index.hash", lambda text: 1, raising=False)
    texts = TextIndex()
    texts.add(["a", "b", "a"])
    assert [texts.find_last(text) for text in ("a", "b", "c")] == [2, 1, None]
    assert texts.find_last("a", before=2) == 0


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
def test_unpacked_items_equal_the_packed_ones(kept, repeated):
    packed = PackedItems(kept * repeated)
    assert len(packed) == len(kept) * repeated
    assert list(packed) == list(packed) == kept * repeated


def test_packed_items_are_small():
    one = PackedItems(
        SourceItem(Path(f"/photos/{number}.jpg"), [SourceCaption("en", f"photo {number}", "x")] * 5)
        for number in range(ITEMS_PER_PART)
    )
    assert sum(map(len, one._parts)) < 40 * ITEMS_PER_PART and not one._last


@pytest.fixture
def rows(tmp_path):
    """Rows of two images with the same content, from two sources."""
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


def test_known_images_are_found_by_uri_and_by_content(rows):
    known, none = KnownImages(rows, SegmentSet([]), None), KnownImages(None, SegmentSet([]), None)
    one = known.get("/1")
    assert (one.image_id, one.sha256, one.source, one.published, one.rows) == (1, "ab" * 32, "/source1", True, rows)
    assert one.description == description_hash([], {"number": 1})
    assert known.with_content("ab" * 32).image_id == 2
    assert known.get("/3") is known.with_content("cd" * 32) is none.get("/1") is None
    assert known.published_count("/source1") == 1
    assert known.published_count("/elsewhere") == none.published_count("/source1") == 0


def test_images_of_an_interrupted_run_replace_published_ones(rows):
    known = KnownImages(rows, rows, None)
    assert [known.at(position).image_id for position in known.unpublished] == [1, 2]
    assert known.get("/1").published is False and known.get("/1", before=2).published is True
    assert known.published_count("/source1") == 0 and known.with_content("ab" * 32).published


def test_images_that_a_source_does_not_name_are_found(rows):
    known, uris = KnownImages(rows, SegmentSet([]), None), KnownUris(rows)
    assert [one.uri for one in known.unnamed("/source1")] == ["/1"]
    for one in (known, uris):
        one.mark_named("/1")
        one.mark_named("/nobody knows it")
    assert list(known.unnamed("/source1")) == [] and uris.ids_of_others("/source1").tolist() == [2]
    known.mark_named("/1", named=False)
    assert [one.uri for one in known.unnamed("/source1")] == ["/1"]
    uris.mark_named("/2")
    assert uris.ids_of_others("/source1").tolist() == [] and (uris.uri_count, uris.id_of("/2")) == (2, 2)
