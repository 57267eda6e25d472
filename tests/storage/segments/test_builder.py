from __future__ import annotations

import errno
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import CaptionRecord
from storage.errors import BrokenSegment, UnknownId, WrongShape
from storage.files import sha256_of
from storage.segments.builder import SegmentBuilder, SegmentInfo
from storage.segments.reader import Segment
from storage.segments.segment_set import SegmentSet
from tests.support.fakes import jpeg
from tests.support.storage_examples import image_record, segment_data

INFO = SegmentInfo("fake000000000001", dim=16, token_shape=(4, 8), base_version=0, purpose="add")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def builder(folder):
    return SegmentBuilder(folder / ".tmp-1", folder / "1", INFO)


def write(folder, data):
    """Write a segment; its folder."""
    building = builder(folder)
    try:
        building.add_images(data.images, data.image_vectors, data.tokens, data.thumbnails)
        building.add_captions(data.captions, data.caption_vectors)
        return folder / building.finish()
    except WrongShape:
        building.suspend()
        raise


@pytest.fixture
def folder(tmp_path):
    """A segment of three photos, one of which has two captions."""
    captions = [CaptionRecord(7, 2, "en", "a green wall", "test"), CaptionRecord(9, 2, "zh", "绿", "test")]
    return write(tmp_path, segment_data({1: "red", 2: "green", 5: "blue"}, captions))


@settings(deadline=None, max_examples=25)
@given(
    ids=st.lists(st.integers(1, 2**53), min_size=1, max_size=12, unique=True),
    cuts=st.lists(st.integers(0, 12), max_size=3),
    metadata=st.dictionaries(TEXT, JSON, max_size=3),
    text=TEXT,
    data=st.data(),
)
def test_every_row_comes_back_under_its_id_in_any_order(ids, cuts, metadata, text, data):
    """However the images were cut into batches, each id brings its own record, vector, tokens and thumbnail."""
    numbers = np.arange(1, len(ids) + 1, dtype=np.float32)
    vectors = np.repeat(numbers[:, None], 16, axis=1)
    tokens = np.broadcast_to(numbers[:, None, None], (len(ids), 4, 8)).astype(np.float16)
    records = [image_record(id, uri=f"/{text}/{id}", metadata=metadata) for id in ids]
    captions = [CaptionRecord(position + 1, id, "zh", f"{text}{id}", text) for position, id in enumerate(ids)]
    edges = [0, *sorted(min(cut, len(ids)) for cut in cuts), len(ids)]
    with tempfile.TemporaryDirectory() as folder:
        building = builder(Path(folder))
        for start, end in zip(edges, edges[1:], strict=False):
            part = slice(start, end)
            thumbnails = [str(id).encode() for id in ids[part]]
            building.add_images(records[part], vectors[part], tokens[part], thumbnails)
            building.add_captions(captions[part], vectors[part])
        rows = SegmentSet([Segment(Path(folder, building.finish()))])

        shuffled = data.draw(st.permutations(ids))
        wanted = [ids.index(id) for id in shuffled]
        assert rows.images(shuffled) == [records[i] for i in wanted]
        assert (rows.image_vectors(shuffled) == vectors[wanted]).all()
        assert (rows.tokens(shuffled) == tokens[wanted]).all()
        assert [rows.thumbnail(id) for id in shuffled] == [str(id).encode() for id in shuffled]
        assert rows.captions_of(shuffled) == {id: [captions[ids.index(id)]] for id in shuffled}
        assert rows.image_ids().tolist() == sorted(ids)


def test_arrays_have_the_types_of_the_contract(folder):
    rows = SegmentSet([Segment(folder)])
    assert (rows.tokens([1]).dtype, rows.tokens([1]).shape) == (np.float16, (1, 4, 8))
    assert (rows.image_vectors([1]).dtype, rows.image_vectors([1]).shape) == (np.float32, (1, 16))
    assert rows.tokens([]).shape == (0, 4, 8)
    assert rows.image_vectors([]).shape == (0, 16)
    assert rows.thumbnail(5) == jpeg("blue")


def test_captions_by_image_and_by_language(folder):
    rows = SegmentSet([Segment(folder)])
    assert {id: [c.caption_id for c in own] for id, own in rows.captions_of([5, 2]).items()} == {5: [], 2: [7, 9]}
    assert rows.languages == ["en", "zh"]
    assert [rows.caption_ids(language).tolist() for language in (None, "en", "zh", "fr")] == [[7, 9], [7], [9], []]
    assert [caption.text for caption in rows.captions([9, 7])] == ["绿", "a green wall"]


@pytest.mark.parametrize("wrong", [0, 3, 6, -1, 2**63, -(2**70)])
def test_an_unknown_id_is_named(folder, wrong):
    rows = SegmentSet([Segment(folder)])
    for ask in (rows.images, rows.tokens, rows.image_vectors, rows.captions_of):
        with pytest.raises(UnknownId, match=f"No image has the id {wrong} "):
            ask([1, wrong])
    with pytest.raises(UnknownId, match=f"No caption has the id {wrong} "):
        rows.captions([wrong])


def test_rows_that_are_not_held_are_the_same_also_once_the_files_are_gone(folder):
    held, read = SegmentSet([Segment(folder)]), SegmentSet([Segment(folder, held=False)])
    for file in folder.iterdir():
        file.unlink()
    assert read.images([5, 1]) == held.images([5, 1]) and read.captions([7, 9]) == held.captions([7, 9])
    assert read.image_table() == held.image_table() and read.caption_table() == held.caption_table()
    assert read.languages == held.languages and (read.tokens([1]) == held.tokens([1])).all()


def test_memory_that_was_returned_is_read_again(folder):
    rows = SegmentSet([Segment(folder)])
    before = rows.image_vectors([1, 5]), rows.tokens([1, 5]), rows.thumbnail(5)
    rows.give_back()
    for old, new in zip(before, (rows.image_vectors([1, 5]), rows.tokens([1, 5]), rows.thumbnail(5)), strict=True):
        assert np.array_equal(old, new)


def test_a_segment_may_have_no_caption(tmp_path):
    rows = SegmentSet([Segment(write(tmp_path, segment_data({1: "red"})))])
    assert (rows.image_count, rows.caption_count, rows.languages) == (1, 0, [])
    assert rows.captions_of([1]) == {1: []}


def test_no_segments_at_all():
    rows = SegmentSet([])
    assert (rows.image_count, rows.caption_count, rows.languages) == (0, 0, [])
    assert rows.images([]) == []


FILES = [
    "images.parquet",
    "captions.parquet",
    "image_vectors.npy",
    "caption_vectors.npy",
    "image_ids.npy",
    "caption_ids.npy",
    "image_tokens.npy",
    "thumbnails.arrow",
]


def test_these_files_make_a_segment(folder):
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "segment.json"])
    assert sorted(json.loads((folder / "segment.json").read_text())["files"]) == sorted(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_cut_file_is_named(folder, name):
    path = folder / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BrokenSegment, match=f"{name} has .* bytes"):
        Segment(folder)
    path.unlink()
    with pytest.raises(BrokenSegment, match=f"{name} is missing"):
        Segment(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_found_by_verify(folder, name):
    path = folder / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    segment = Segment(folder)
    path.write_bytes(content)
    with pytest.raises(BrokenSegment, match=f"{name} has changed"):
        segment.verify()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 9}', '{"format": 1, "dim": 3}', "\x00"])
def test_a_damaged_description_is_named(folder, content):
    (folder / "segment.json").write_text(content)
    with pytest.raises(BrokenSegment, match="is damaged"):
        Segment(folder)


def test_rows_of_another_segment_are_refused(folder, tmp_path):
    """Files that are whole but don't belong together, as after a hand-made copy."""
    other = write(tmp_path / "other", segment_data({1: "red", 3: "green", 5: "blue"}))
    for name in ("image_ids.npy", "images.parquet"):
        content = (other / name).read_bytes()
        (folder / name).write_bytes(content)
        description = json.loads((folder / "segment.json").read_text())
        description["files"][name]["bytes"] = len(content)
        (folder / "segment.json").write_text(json.dumps(description))
    with pytest.raises(BrokenSegment, match=r"thumbnails\.arrow does not agree"):
        Segment(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"image_vectors": np.zeros((2, 16))}, "image vectors of shape"),
        ({"image_vectors": np.zeros((1, 15))}, "image vectors of shape"),
        ({"tokens": np.zeros((1, 4, 9))}, "tokens of shape"),
        ({"thumbnails": []}, "0 thumbnails for 1 images"),
        ({"caption_vectors": np.zeros((1, 16))}, "caption vectors of shape"),
        ({"images": [image_record(0)]}, "must be positive"),
        ({"captions": [CaptionRecord(1, 99, "en", "a", "t")], "caption_vectors": np.zeros((1, 16))}, "outside its"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, change, says):
    data = segment_data({1: "red"})
    with pytest.raises(WrongShape, match=says):
        write(tmp_path, type(data)(**{**vars(data), **change}))
    assert not (tmp_path / "1").exists()


def test_a_discarded_segment_leaves_nothing(tmp_path):
    building = builder(tmp_path)
    data = segment_data({1: "red"})
    building.add_images(data.images, data.image_vectors, data.tokens, data.thumbnails)
    building.suspend()
    assert list(tmp_path.iterdir()) == []


def test_a_finished_segment_is_whole_though_the_disk_refuses_right_after_it_got_its_name(tmp_path, monkeypatch):
    def refuses(folder):
        if folder == tmp_path:
            raise OSError(errno.ENOSPC, "No space left on device")

    building, data = builder(tmp_path), segment_data({1: "red"})
    monkeypatch.setattr("storage.files.sync_folder", refuses)
    building.add_images(data.images, data.image_vectors, data.tokens, data.thumbnails)
    with pytest.raises(OSError, match="No space"):
        building.finish()
    building.suspend()
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    described = SegmentInfo.load(tmp_path / "1").files
    assert described and all(sha256_of(tmp_path / "1" / name) == file["sha256"] for name, file in described.items())
