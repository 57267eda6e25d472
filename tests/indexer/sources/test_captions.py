"""Tests of captions from separate files, beside those of the source."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from indexer import open_source
from indexer.errors import BadAnnotations, MismatchedLanguages
from tests.support.fakes import save_photo

SAMPLE = Path(os.environ.get("PANOPTES_TEST_DATA", Path(__file__).parents[4] / "shared" / "data")) / "coco-sample"
PHOTOS = {42: "a dog", 285: "a bear", 1000: "a cat"}


def write_captions(path, images, captions):
    """Write a COCO file. images: (id, file name); captions: (image id, text)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "images": [{"id": number, "file_name": name} for number, name in images],
        "annotations": [{"id": n, "image_id": image, "caption": text} for n, (image, text) in enumerate(captions)],
    }
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def coco(tmp_path):
    """Three photos as in COCO 2017, with an English caption each."""
    images = [(number, f"{number:012d}.jpg") for number in PHOTOS]
    for _, name in images:
        save_photo(tmp_path / "coco" / "val2017" / name)
    write_captions(tmp_path / "coco" / "annotations" / "captions_val2017.json", images, PHOTOS.items())
    return tmp_path / "coco"


def texts_by_id(source):
    return {item.metadata["coco_id"]: [(caption.language, caption.text) for caption in item.captions] for item in source}


@pytest.mark.parametrize(
    "images",
    [
        [],
        [(285, "000000000285.jpg"), (42, "000000000042.jpg")],
        [(285, "COCO_val2014_000000000285.jpg"), (42, "COCO_val2014_000000000042.jpg")],
        [(42, "val2017/000000000285.jpg"), (285, "val2017/000000000042.jpg")],  # the file has its own ids
    ],
)
def test_chinese_captions_beside_english_ones(tmp_path, coco, images):
    names = {number: name for number, name in images}
    bear, dog = (285, 42) if "285" in names.get(285, "285") else (42, 285)
    path = write_captions(tmp_path / "zh.json", images, [(bear, "熊"), (dog, "狗"), (bear, "棕熊"), (bear, "熊")])
    source = open_source(coco, captions=[path], languages=["zh"])
    assert texts_by_id(source) == {
        42: [("en", "a dog"), ("zh", "狗")],
        285: [("en", "a bear"), ("zh", "熊"), ("zh", "棕熊")],
        1000: [("en", "a cat")],
    }
    assert {c.origin for item in source for c in item.captions} == {"captions_val2017.json", "zh.json"}
    assert (source.format, source.problems) == ("coco", [])


def test_coco_2014_as_it_is_distributed(tmp_path):
    for split, number in (("train2014", 9), ("val2014", 42)):
        name = f"COCO_{split}_{number:012d}.jpg"
        save_photo(tmp_path / split / name)
        write_captions(tmp_path / "annotations" / f"captions_{split}.json", [(number, name)], [(number, split)])
    path = write_captions(tmp_path / "cn.json", [(42, "COCO_val2014_000000000042.jpg")], [(42, "狗")])
    source = open_source(tmp_path, captions=[path])
    assert texts_by_id(source) == {9: [("en", "train2014")], 42: [("en", "val2014"), ("zh", "狗")]}
    assert all(item.uri.exists() for item in source)


def test_several_files_and_their_languages(tmp_path, coco):
    paths = [write_captions(tmp_path / f"{n}.json", [], [(42, text)]) for n, text in enumerate(["ein Hund", "un chien"])]
    assert texts_by_id(open_source(coco, captions=paths, languages=["de", "fr"]))[42][1:] == [
        ("de", "ein Hund"),
        ("fr", "un chien"),
    ]
    assert texts_by_id(open_source(coco, captions=paths, languages=["xx"]))[42][1:] == [
        ("xx", "ein Hund"),
        ("xx", "un chien"),
    ]
    assert texts_by_id(open_source(coco, captions=paths))[42][1:] == [("en", "ein Hund"), ("en", "un chien")]
    for languages in (["de", "fr", "it"], ["de", "fr"] * 2):
        with pytest.raises(MismatchedLanguages, match="2 caption files and . languages"):
            open_source(coco, captions=paths, languages=languages)
    with pytest.raises(MismatchedLanguages):
        open_source(coco, languages=["de", "fr"])


def test_captions_of_unknown_photos_are_counted(tmp_path, coco):
    images = [(1, "000000000042.jpg"), (2, "elsewhere.jpg")]
    captions = [(1, "狗"), (2, "谁"), (2, "谁?"), (77, "没有")]
    source = open_source(coco, captions=[write_captions(tmp_path / "zh.json", images, captions)])
    assert texts_by_id(source)[42] == [("en", "a dog"), ("zh", "狗")]
    (problem,) = source.problems
    assert problem.sentence.endswith("zh.json: 3 captions are of images that are not there (image ids 2, 77).")


def test_a_file_with_other_ids_gives_no_captions_to_the_wrong_photo(tmp_path, coco):
    """By its name, the file's image 42 is another photo."""
    path = write_captions(tmp_path / "zh.json", [(42, "beach.jpg"), (1, "000000001000.jpg")], [(42, "海"), (1, "猫")])
    assert texts_by_id(open_source(coco, captions=[path])) == {
        42: [("en", "a dog")],
        285: [("en", "a bear")],
        1000: [("en", "a cat"), ("zh", "猫")],
    }


def test_a_name_that_two_photos_share_gives_no_captions(tmp_path):
    for folder in ("one", "two"):
        save_photo(tmp_path / "photos" / folder / "a.jpg")
    save_photo(tmp_path / "photos" / "b.jpg")
    path = write_captions(tmp_path / "zh.json", [(1, "a.jpg"), (2, "b.jpg")], [(1, "谁"), (2, "红")])
    source = open_source(tmp_path / "photos", captions=[path])
    assert [[caption.text for caption in item.captions] for item in source] == [["红"], [], []]
    assert len(source.problems) == 1


@pytest.mark.parametrize("content", ["{", "[]", '{"annotations": 3}', '{"annotations": [{"image_id": 9, "caption": "x"}]}'])
def test_a_file_without_captions_of_these_photos_is_an_error(tmp_path, coco, content):
    (tmp_path / "zh.json").write_text(content)
    with pytest.raises(BadAnnotations, match=r"zh.json: .*nothing was indexed"):
        open_source(coco, captions=[tmp_path / "zh.json"])
    with pytest.raises(BadAnnotations, match="gone.json: can't be read"):
        open_source(coco, captions=[tmp_path / "gone.json"])


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the COCO sample isn't here: set PANOPTES_TEST_DATA to the folder it lies in")
def test_the_real_coco_sample_with_chinese_captions(tmp_path):
    captions = [(285, "一只大棕熊坐在草地上。"), (285, "草地上的熊"), (999_999, "没有这张照片")]
    source = open_source(SAMPLE, captions=[write_captions(tmp_path / "zh.json", [], captions)], languages=["zh"])
    counts = [sum(caption.language == language for item in source for caption in item.captions) for language in ("en", "zh")]
    assert (len(source), counts, len(source.problems)) == (167, [835, 2], 1)
    assert all(item.uri.is_file() for item in source)
    bear = texts_by_id(source)[285]
    assert bear[0] == ("en", "A big burly grizzly bear is show with grass in the background.")
    assert [text for language, text in bear if language == "zh"] == ["一只大棕熊坐在草地上。", "草地上的熊"]
