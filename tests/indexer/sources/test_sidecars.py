"""Sidecars find their photo by its name, and say what people and Google Takeout wrote of it."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from indexer.sources import FolderSource
from indexer.sources.sidecars import sidecars_of
from tests.support.fakes import photo, save_photo

LONG = "20240506_070809_a name that is longer than forty-six letters"
TAKEOUT = {"title": "1.jpg", "description": "Our dog", "photoTakenTime": {"timestamp": "1714979289"}, "favorited": True}
XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4" xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:subject><rdf:Bag><rdf:li>dog</rdf:li><rdf:li>beach</rdf:li></rdf:Bag></dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>"""


@pytest.mark.parametrize(("sidecar", "photos", "its"), [
    ("1.xmp", ["1.jpg"], ["1.jpg"]),
    ("1.JPG.XMP", ["1.jpg"], ["1.jpg"]),
    ("1.jpg.json", ["1.jpg", "11.jpg"], ["1.jpg"]),
    ("1.jpg.supplemental-metadata.json", ["1.jpg"], ["1.jpg"]),
    ("1.jpg.suppl.json", ["1.jpg"], ["1.jpg"]),
    ("1.jpg(2).json", ["1.jpg", "1(2).jpg"], ["1(2).jpg"]),
    ("1.jpg(2).json", ["1.jpg"], []),
    ("1.jpg.supplemental-metadata(2).json", ["1.jpg", "1(2).jpg"], ["1(2).jpg"]),
    ("1(2).jpg.json", ["1.jpg", "1(2).jpg"], ["1(2).jpg"]),
    ("1.jpg.json", ["1.jpg", "1-edited.jpg", "1-bearbeitet.jpg"], ["1.jpg", "1-edited.jpg", "1-bearbeitet.jpg"]),
    (f"{LONG[:46]}.json", [f"{LONG}.jpg", "1.jpg"], [f"{LONG}.jpg"]),
    (f"{LONG[:46]}.json", [f"{LONG}.jpg", f"{LONG}2.jpg"], []),
    (f"{LONG[:40]}.json", [f"{LONG}.jpg"], []),
    ("albums.json", ["1.jpg"], []),
    ("metadata.json", ["1.jpg"], []),
    ("1(2).json", ["1.jpg", "1(2).jpg"], ["1(2).jpg"]),
    ("1.jpg(2).json", ["1(2).jpg", "1-edited(2).jpg", "1-edited.jpg"], ["1(2).jpg", "1-edited(2).jpg"]),
    ("1.jpg..json", ["1.jpg"], ["1.jpg"]),
    ("1.mov.json", ["1.jpg"], []),
    ("1.MOV.supplemental-metadata.json", ["1.jpg", "1.heic"], []),
    ("1.png.json", ["1.jpg"], []),
    ("1.2.json", ["1.jpg"], []),
    ("1.2.xmp", ["1.jpg"], []),
    ("2024.05.07.xmp", ["2024.05.jpg", "2024.jpg"], []),
    ("1.cr2.xmp", ["1.jpg"], []),
    ("1.xmp", ["1.jpg", "1-edited.jpg"], ["1.jpg"]),
    ("IMG_2023.01.05.jpg.json", ["IMG_2023.01.05.jpg", "IMG_2023.01.06.jpg"], ["IMG_2023.01.05.jpg"]),
])  # fmt: skip
def test_a_sidecar_belongs_to_the_photo_that_its_name_begins_with(sidecar, photos, its):
    assert sorted(sidecars_of(photos, [sidecar])) == sorted(its)


def the_item(folder):
    (item,) = FolderSource(folder)
    return item


def test_takeout_gives_date_description_and_favourites(tmp_path):
    save_photo(tmp_path / "1.png")
    (tmp_path / "1.png.json").write_text(json.dumps(TAKEOUT))
    item = the_item(tmp_path)
    assert item.metadata == {"taken": "2024-05-06T07:08:09+00:00", "description": "Our dog", "favorite": True}
    assert [(one.text, one.origin) for one in item.captions] == [("Our dog", "sidecar")]


def test_the_clock_of_the_camera_counts_before_that_of_takeout(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 09:08:09"
    photo("red").save(tmp_path / "1.jpg", exif=exif)
    (tmp_path / "1.jpg.json").write_text(json.dumps(TAKEOUT))
    assert "taken" not in the_item(tmp_path).metadata


def test_xmp_gives_tags_and_rating_and_a_text_comes_first(tmp_path):
    save_photo(tmp_path / "1.png")
    (tmp_path / "1.xmp").write_text(XMP)
    (tmp_path / "1.txt").write_text("a wall")
    (tmp_path / "1.png.json").write_text(json.dumps({"description": "a wall"}))
    item = the_item(tmp_path)
    assert item.metadata["tags"] == ["dog", "beach"] and item.metadata["rating"] == 4
    assert [one.origin for one in item.captions] == ["text file"]


@pytest.mark.parametrize(("name", "content"), [("1.aae", "<plist/>"), ("1.png.json", "[1]"), ("1.xmp", "<x"), ("1.xmp", "")])
def test_what_says_nothing_is_counted(tmp_path, name, content):
    save_photo(tmp_path / "1.png")
    (tmp_path / name).write_text(content)
    source = FolderSource(tmp_path)
    assert [(one["why"], one["count"]) for one in source.unused.as_json()] == [("sidecar", 1)]


def test_the_json_of_a_film_says_nothing_of_the_photo_of_the_same_name(tmp_path):
    save_photo(tmp_path / "1.png")
    (tmp_path / "1.png.json").write_text(json.dumps({"description": "Our dog"}))
    (tmp_path / "1.mov.json").write_text(json.dumps({"description": "Our cat", "people": [{"name": "Ann"}]}))
    item = the_item(tmp_path)
    assert item.metadata == {"description": "Our dog"} and [one.text for one in item.captions] == ["Our dog"]
