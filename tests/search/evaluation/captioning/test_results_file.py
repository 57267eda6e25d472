"""Files of written captions, and how they name photos."""

from __future__ import annotations

import json

import pytest

from search.errors import BadCaptionsFile
from search.evaluation.captioning.photos import PhotoNames
from search.evaluation.captioning.results_file import read_results
from tests.search.evaluation.captioning.examples import ROOT, shot

COCO = [
    shot("val2014/COCO_val2014_000000000042.jpg", "a boat", metadata={"coco_id": 42}),
    shot("val2014/COCO_val2014_000000000007.jpg", "a goat"),
    shot("other/42.jpg", "a clock"),
    shot("other/twice.jpg", "a door"),
    shot("more/twice.jpg", "a vase"),
    shot("shard.tar", "a cow", member="00/9.png"),
]


@pytest.mark.parametrize(
    ("name", "position"),
    [
        ("/photos/other/42.jpg", 2),
        ("other/42.jpg", 2),
        ("42.jpg", 2),
        ("COCO_val2014_000000000042", 0),
        ("000042", 0),
        (7, 1),
        ("000007", 1),
        ("more/twice.jpg", 4),
        ("twice.jpg", None),
        ("9.png", 5),
        (8, None),
        ("", None),
        ("9" * 5000, None),
    ],
)
def test_a_photo_is_found_by_each_of_its_names(name, position):
    assert PhotoNames(COCO, ROOT / "captions.jsonl").find(name) == position


def read(tmp_path, content):
    file = tmp_path / "results.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return read_results(file, PhotoNames([shot("a.jpg", "a boat"), shot("b.jpg", "a goat")], ROOT))


def test_results_are_read_by_language_and_photo(tmp_path):
    entries = [
        {"image_id": "a", "caption": "a boat"},
        {"image": "b.jpg", "caption": "一只山羊"},
        {"image": "b.jpg", "caption": "zwei", "language": "de-AT"},
    ]
    assert read(tmp_path, entries).captions == {"en": {0: "a boat"}, "zh": {1: "一只山羊"}, "de": {1: "zwei"}}


def test_an_empty_caption_is_in_no_language(tmp_path):
    results = read(tmp_path, [{"image": "a.jpg", "caption": " "}, {"image": "b.jpg", "caption": "一只山羊"}])
    assert results.captions == {"zh": {1: "一只山羊"}} and list(results.notices()) == ["1 caption is empty"]


def test_captions_of_unknown_photos_are_counted(tmp_path):
    entries = [{"image_id": name, "caption": "a boat"} for name in ("a", "x\ud800", 5)]
    results = read(tmp_path, entries)
    assert results.captions == {"en": {0: "a boat"}} and results.unknown == 2
    assert list(results.notices()) == ["2 captions name no photo that is there, or several, such as x\\ud800: not measured"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("no JSON", "is not JSON"),
        ("\x00", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ({}, "is not a list"),
        ([], "no caption in it can be measured (there is none)"),
        ([{"image_id": 5, "caption": "a boat"}], "no caption in it can be measured (1 caption names no photo"),
        ([7], "entry 1: is no object"),
        ([{"image_id": "a"}], 'entry 1: has no "caption"'),
        ([{"image_id": "a", "caption": ["a"]}], 'entry 1: has no "caption"'),
        ([{"caption": "a"}], 'entry 1: has no "image_id"'),
        ([{"image_id": True, "caption": "a"}], 'entry 1: has no "image_id"'),
        ([{"image_id": None, "caption": "a"}], 'entry 1: has no "image_id"'),
        ([{"image_id": "a", "caption": "a", "language": 3}], 'entry 1: has a "language"'),
        ([{"image_id": "a", "caption": "a"}, {"image": "a.jpg", "caption": "b"}], "entry 2: a second caption in en of a.jpg"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path, content, says):
    with pytest.raises(BadCaptionsFile) as raised:
        read(tmp_path, content)
    assert says in str(raised.value) and "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(BadCaptionsFile, match="can't be read"):
        read_results(tmp_path / "no.json", PhotoNames([], ROOT))
    with pytest.raises(BadCaptionsFile, match="can't be read"):
        read_results(tmp_path, PhotoNames([], ROOT))
