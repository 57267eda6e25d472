"""Tests of the sample gallery, and of the collection that a demo uses."""

from __future__ import annotations

import json

from PIL import Image

from indexer import build_index, open_source
from indexer.gallery import demo_collection, sample_gallery
from storage import Home
from tests.support.fakes import FakeEncoder


def test_the_gallery_has_photographs_with_captions_in_both_languages(tmp_path):
    rows = [json.loads(line) for line in sample_gallery(tmp_path).read_text(encoding="utf-8").splitlines()]
    assert len(rows) >= 16
    for row in rows:
        assert Image.open(tmp_path / row["image"]).width > 0
        assert row["captions"]["en"] and row["captions"]["zh"]


def test_copying_the_gallery_again_changes_nothing(tmp_path):
    manifest = sample_gallery(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    sample_gallery(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    assert manifest.name == "gallery.jsonl"


def test_a_demo_never_uses_a_collection_with_other_photos(tmp_path):
    home, photos = Home(tmp_path / "home"), tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (40, 30), "red").save(photos / "own.jpg")
    gallery, own = open_source(sample_gallery(tmp_path / "gallery")), open_source(photos)
    assert demo_collection(home, "default", gallery) == "default"
    build_index(home, "default", own, FakeEncoder(), workers=0)
    assert demo_collection(home, "default", own) == "default"
    other = demo_collection(home, "default", gallery)
    assert other != "default" and other == demo_collection(home, "default", gallery)
    build_index(home, other, gallery, FakeEncoder(), workers=0)
    assert home.collection("default").open_snapshot().image_count == 1
    assert home.collection(other).open_snapshot().image_count == 20
