"""Damage is found wherever it is, and repaired as far as that is possible."""

from __future__ import annotations

import json
import shutil

import faiss
import numpy as np
import pytest

import storage.repair
import storage.verification
from storage import FileRecord, Home
from storage.errors import BrokenManifest, EmptyCollection, UnfinishedRun
from storage.maintenance import compact, delete_images, roll_back, versions
from storage.repair import repair, repair_lines
from storage.vector_index.flat import FaissFlatIndex
from storage.verification import verify, verify_lines
from tests.support.storage_examples import ENCODER, add_colours, nearest, segment_data


@pytest.fixture
def home(tmp_path):
    """Three versions: red and green are images 1 and 2, blue is 3, and green was deleted."""
    home = Home(tmp_path / "home")
    for colours in (("red", "green"), ("blue",)):
        with home.create_collection("walls").writer(ENCODER.fingerprint) as writer:
            add_colours(writer, *colours)
            writer.publish(f"{len(colours)} added")
    delete_images(home, "walls", [2])
    return home


def folder_of(home):
    return home.collection("walls").folder


def segments_of(home):
    return [folder_of(home) / "segments" / name for name in home.collection("walls").manifest.segments]


def index_of(home):
    return folder_of(home) / "index" / home.collection("walls").manifest.index


def found(home):
    return [problem["where"] for problem in verify(home, "walls")["problems"]]


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def test_an_undamaged_collection_needs_no_repair(home):
    report = verify(home, "walls")
    assert (report["images"], report["captions"], report["segments"], report["problems"]) == (2, 4, 2, [])
    repaired, lost = repair(home, "walls")
    assert (repaired["did"], repaired["changed"], lost) == ([], False, [])
    assert "everything agrees" in list(verify_lines(report)) and "Nothing was wrong." in list(repair_lines(repaired))


def test_a_collection_without_a_version_cannot_be_verified(tmp_path):
    home = Home(tmp_path)
    home.create_collection("walls")
    with pytest.raises(EmptyCollection):
        verify(home, "walls")


@pytest.mark.parametrize(
    "file", ["images.parquet", "image_vectors.npy", "image_tokens.npy", "thumbnails.arrow", "segment.json"]
)
def test_a_damaged_segment_is_left_out_and_the_rest_stays_searchable(home, file):
    flip(segments_of(home)[0] / file)
    assert found(home) == ["segment"]
    repaired, lost = repair(home, "walls")
    assert "left out a segment" in " ".join(repaired["did"]) and repaired["images"] == 1
    assert [image.image_id for image, _ in lost] == ([] if file == "images.parquet" else [1])
    snapshot = home.collection("walls").open_snapshot()
    assert (snapshot.image_ids().tolist(), nearest(snapshot, "red")) == ([3], 3)
    assert verify(home, "walls")["problems"] == []
    assert [one["version"] for one in versions(home, "walls")["versions"]] == [4]


def test_nothing_is_left_when_all_segments_are_damaged_but_the_collection_opens(home):
    for segment in segments_of(home):
        shutil.rmtree(segment)
    repaired, _ = repair(home, "walls")
    assert (repaired["images"], found(home)) == (0, [])
    with home.collection("walls").writer(ENCODER.fingerprint) as writer:
        assert add_colours(writer, "white") == [4]
        writer.publish()
    assert home.collection("walls").open_snapshot().image_ids().tolist() == [4]


def vectors_that_differ(index):
    return index.ids(), index.codes()[::-1].astype(np.float32)


def vectors_that_lack_one(index):
    return index.ids()[1:], index.codes()[1:].astype(np.float32)


def vectors_with_an_unknown_id(index):
    return np.append(index.ids(), 77), np.vstack([index.codes(), index.codes()[:1]]).astype(np.float32)


@pytest.mark.parametrize("file", ["images.faiss", "captions.faiss"])
@pytest.mark.parametrize("damage", [vectors_that_differ, vectors_that_lack_one, vectors_with_an_unknown_id, None])
def test_an_index_that_does_not_agree_with_the_segments_is_made_anew(home, file, damage):
    path = index_of(home) / file
    if damage is None:
        path.write_bytes(b"no index")
    else:
        ids, vectors = damage(FaissFlatIndex.open(path))
        made = FaissFlatIndex(16)
        made.add(ids, vectors)
        made.save(path)
    assert set(found(home)) == {"index"}
    repaired, lost = repair(home, "walls")
    assert "made the index files anew" in " ".join(repaired["did"]) and lost == []
    assert (repaired["images"], found(home)) == (2, [])
    assert nearest(home.collection("walls").open_snapshot(), "blue") == 3


def test_an_index_of_another_kind_is_named(home):
    faiss.write_index(faiss.IndexFlatIP(16), str(index_of(home) / "images.faiss"))
    assert found(home) == ["index"]


def test_a_damaged_manifest_is_restored_from_its_copy(home):
    before = home.collection("walls").manifest
    (folder_of(home) / "manifest.json").write_text("{")
    assert found(home) == ["manifest"]
    repaired, _ = repair(home, "walls")
    assert repaired["did"] == ["restored the manifest of version 3"]
    assert home.collection("walls").manifest == before


def test_where_the_copy_is_damaged_too_the_version_before_is_restored(home):
    (folder_of(home) / "manifest.json").write_text("{")
    (folder_of(home) / "versions" / "3.json").write_text("{")
    assert repair(home, "walls")[0]["did"] == ["restored the manifest of version 2"]
    assert home.collection("walls").open_snapshot().image_count == 3
    for path in [folder_of(home) / "manifest.json", *(folder_of(home) / "versions").iterdir()]:
        path.write_text("{")
    with pytest.raises(BrokenManifest):
        repair(home, "walls")


def test_an_old_version_that_lost_its_files_is_reported_and_forgotten(home):
    roll_back(home, "walls", 2)
    content = json.loads((folder_of(home) / "versions" / "1.json").read_text())
    (folder_of(home) / "versions" / "1.json").write_text(json.dumps({**content, "segments": ["gone"]}))
    assert found(home) == ["versions"]
    assert "version 1 can't be gone back to" in repair(home, "walls")[0]["did"][0]
    assert found(home) == []


def test_a_catalog_that_knows_of_images_that_are_not_there_is_corrected(home):
    home.catalog.record_files(
        "walls",
        [
            FileRecord("/photos/2.jpg", "/photos", "indexed", image_id=2),
            FileRecord("/photos/1.jpg", "/photos", "indexed", image_id=1),
        ],
    )
    assert found(home) == ["catalog"]
    assert repair(home, "walls")[0]["did"] == ["corrected the catalog: 1 files"]
    assert list(home.catalog.files("walls")) == ["/photos/1.jpg"]


def test_records_of_an_interrupted_run_are_no_damage(home):
    number = home.collection("walls").manifest.next_image_id
    home.catalog.record_files("walls", [FileRecord("/photos/9.jpg", "/photos", "indexed", image_id=number)])
    assert found(home) == []


def test_an_interrupted_run_is_not_lost_by_a_repair(home):
    with home.collection("walls").writer(ENCODER.fingerprint) as writer:
        data = segment_data({writer.new_image_id(): "white"})
        builder = writer.begin_segment(16, (4, 8))
        builder.add_images(data.images, data.image_vectors, data.tokens, data.thumbnails)
        builder.suspend()
    flip(segments_of(home)[0] / "image_tokens.npy")
    with pytest.raises(UnfinishedRun):
        repair(home, "walls")
    assert [one["version"] for one in versions(home, "walls")["versions"]] == [3, 2, 1]
    assert repair(home, "walls", drop_unfinished=True)[0]["images"] == 1


# What is published while a collection is examined


def add_white(home):
    with home.collection("walls").writer(ENCODER.fingerprint) as writer:
        added = add_colours(writer, "white")[0]
        writer.publish("1 added")
    uri = f"/photos/{added}.jpg"
    home.catalog.record_files("walls", [FileRecord(uri, "/photos", "indexed", image_id=added)])
    return uri


def once_read(monkeypatch, module, happens, before=False):
    """Call `happens` after (or before) the first reading of the segments only."""
    read, waiting = module.read_segments, [happens]

    def read_and_more(folder, manifest):
        if before and waiting:
            waiting.pop()()
        found = read(folder, manifest)
        if waiting:
            waiting.pop()()
        return found

    monkeypatch.setattr(module, "read_segments", read_and_more)


def test_a_photo_that_is_published_during_the_diagnosis_is_no_failure(home, monkeypatch):
    flip(segments_of(home)[0] / "image_tokens.npy")
    once_read(monkeypatch, storage.repair, lambda: add_white(home))
    repaired, lost = repair(home, "walls")
    assert (repaired["images"], repaired["version"], [image.image_id for image, _ in lost]) == (2, 5, [1])
    assert home.catalog.files("walls")["/photos/4.jpg"].outcome == "indexed"
    assert [failure.uri for failure in home.catalog.failures("walls")] == ["/photos/1.jpg"]
    assert len(repaired["did"]) == 1 and found(home) == []


def test_segments_that_a_compaction_took_away_during_the_diagnosis_are_not_damaged(home, monkeypatch):
    once_read(monkeypatch, storage.repair, lambda: compact(home, "walls", keep=0), before=True)
    repaired, lost = repair(home, "walls")
    assert (repaired["did"], repaired["images"], repaired["changed"], lost) == ([], 2, False, [])
    assert home.catalog.failures("walls") == []


def test_what_was_published_during_the_check_is_checked_anew(home, monkeypatch):
    once_read(monkeypatch, storage.verification, lambda: compact(home, "walls", keep=0), before=True)
    report = verify(home, "walls")
    assert (report["version"], report["images"], report["problems"]) == (4, 2, [])
