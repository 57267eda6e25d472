"""Tests of opening sources: detection of formats, JSON Lines, COCO and folders."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.inputs.languages import language_of
from indexer import CocoSource, FolderSource, ManifestSource, SourceCaption, SourceItem, open_source
from indexer.errors import (
    AmbiguousSource,
    BadAnnotations,
    BadManifestLine,
    EmptySource,
    IndexerError,
    MissingSource,
    UnknownFormat,
)
from indexer.items import description_hash, merge_items
from indexer.sources.listing import natural_key
from manage import error_line
from tests.support.fakes import save_photo


def names(source):
    return [item.uri.name for item in source]


def texts(item):
    return [(caption.language, caption.text) for caption in item.captions]


def write_manifest(path, *records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in records), encoding="utf-8")
    return path


def write_coco(root, name="captions_val2017.json", images=(), captions=()):
    """Write an annotation file. captions: (image id, text)."""
    path = root / "annotations" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    annotations = [{"id": n, "image_id": image, "caption": text} for n, (image, text) in enumerate(captions)]
    path.write_text(json.dumps({"images": list(images), "annotations": annotations}))
    return root


# Any source


@pytest.mark.parametrize(
    ("text", "language"),
    [("A dog.", "en"), ("海边的狗", "zh"), ("iPhone 手机", "zh"), ("Ünïcödé", "en"), ("𠮷", "zh"), ("🐕", "en"), ("", "en")],
)
def test_language_is_detected_by_script(text, language):
    assert language_of(text) == language


@given(st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.sampled_from(["x", "y", "z"])))))
def test_merging_keeps_every_photo_once_with_all_its_captions(named):
    items = [SourceItem(Path("/", n), [SourceCaption("en", t, "o") for t in own]) for n, own in named]
    result = merge_items(items)
    assert [item.uri.name for item in result] == list(dict.fromkeys(n for n, _ in named))
    for item in result:
        assert {text for _, text in texts(item)} == {t for n, own in named if n == item.uri.name for t in own}


def test_a_description_does_not_depend_on_the_order_of_captions():
    one, two = SourceCaption("en", "a", "o"), SourceCaption("zh", "b", "o")
    assert description_hash([one, two], {"x": 1, "y": 2}) == description_hash([two, one], {"y": 2, "x": 1})
    assert description_hash([one, two], {}) != description_hash([one], {})
    assert description_hash([one], {}) != description_hash([one], {"x": None})


@pytest.mark.parametrize("format", [None, "coco", "manifest", "folder"])
def test_a_missing_source_is_named(tmp_path, format):
    with pytest.raises(MissingSource, match=f"{tmp_path}/nowhere does not exist"):
        open_source(tmp_path / "nowhere", format)


@pytest.mark.parametrize("format", [None, "coco", "manifest", "folder"])
def test_an_empty_source_is_named(tmp_path, format):
    with pytest.raises(EmptySource, match="holds no photo: put .* there"):
        open_source(tmp_path, format)


def test_an_unknown_format_is_named(tmp_path):
    with pytest.raises(UnknownFormat, match="no format 'zip'"):
        open_source(tmp_path, "zip")


def test_every_path_is_absolute(tmp_path, monkeypatch):
    save_photo(tmp_path / "photos" / "a.jpg")
    write_manifest(tmp_path / "lists" / "m.jsonl", {"image": "../photos/a.jpg"})
    write_coco(tmp_path, images=[{"id": 1, "file_name": "a.jpg"}])
    monkeypatch.chdir(tmp_path / "lists")
    sources = [open_source("../photos"), open_source("m.jsonl"), open_source("..", "coco")]
    monkeypatch.chdir("/")
    assert [[item.uri for item in source] for source in sources] == [[tmp_path / "photos" / "a.jpg"]] * 3
    assert [source.root for source in sources] == [tmp_path / "photos", tmp_path / "lists" / "m.jsonl", tmp_path]


# Detecting the format


def test_formats_are_detected(tmp_path):
    save_photo(tmp_path / "folder" / "a.jpg")
    save_photo(tmp_path / "listed" / "a.jpg")
    write_manifest(tmp_path / "listed" / "photos.jsonl", {"image": "a.jpg"})
    write_coco(tmp_path / "coco", images=[{"id": 1, "file_name": "a.jpg"}])
    write_manifest(tmp_path / "coco" / "m.jsonl", {"image": "a.jpg"})
    detected = {name: open_source(tmp_path / name).format for name in ("folder", "listed", "coco")}
    assert detected == {"folder": "folder", "listed": "manifest", "coco": "coco"}
    assert open_source(tmp_path / "listed" / "photos.jsonl").format == "manifest"
    assert open_source(tmp_path / "listed", "folder").format == "folder"


def test_of_several_manifests_the_usual_name_is_taken(tmp_path):
    write_manifest(tmp_path / "extra.jsonl", {"image": "a.jpg"})
    write_manifest(tmp_path / "manifest.jsonl", {"image": "b.jpg"})
    assert names(open_source(tmp_path)) == ["b.jpg"]


def test_several_manifests_need_a_choice(tmp_path):
    for name in ("train.jsonl", "val.jsonl"):
        write_manifest(tmp_path / name, {"image": "a.jpg"})
    with pytest.raises(AmbiguousSource, match=r"2 manifests \(train.jsonl, val.jsonl\)"):
        open_source(tmp_path)


@pytest.mark.parametrize(("format", "remedy"), [(None, "folder that it is in"), ("folder", "name the folder")])
def test_a_photo_is_no_source(tmp_path, format, remedy):
    with pytest.raises(UnknownFormat) as refused:
        open_source(save_photo(tmp_path / "a.jpg"), format)
    assert remedy in error_line(refused.value)


@pytest.mark.parametrize("format", [None, "coco", "folder"])
def test_a_coco_annotation_file_is_recognised_by_its_name(tmp_path, format):
    path = write_coco(tmp_path / "coco", images=[{"id": 1, "file_name": "a.jpg"}]) / "annotations/captions_val2017.json"
    with pytest.raises(UnknownFormat) as refused:
        open_source(path, format)
    assert error_line(refused.value).endswith(f"it is a COCO annotation file: name the COCO folder {tmp_path}/coco.")


@pytest.mark.parametrize("indent", [None, 1])
def test_a_coco_annotation_file_is_recognised_by_its_keys(tmp_path, indent):
    path = tmp_path / "instances.json"
    path.write_text(json.dumps({"info": {}, "images": [], "annotations": []}, indent=indent))
    with pytest.raises(UnknownFormat) as refused:
        open_source(path)
    assert "COCO annotation file: name the folder of its photos" in error_line(refused.value)


@pytest.mark.parametrize("records", [1, 2])
def test_a_manifest_may_have_any_ending(tmp_path, records):
    lines = [{"image": f"{number}.jpg", "images": []} for number in range(records)]
    assert len(open_source(write_manifest(tmp_path / "annotations" / "m.json", *lines))) == records


# JSON Lines


def test_a_manifest(tmp_path):
    record = {"image": "a.jpg", "captions": {"en": [" A dog. ", "", " \n"], "zh": ["狗"]}, "taken": {"by": "me"}}
    path = write_manifest(tmp_path / "m.jsonl", record, {"image": "/elsewhere/b.jpg"})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n\r\n") + b"\n")
    one, two = ManifestSource(path)
    assert (one.uri, texts(one)) == (tmp_path / "a.jpg", [("en", "A dog."), ("zh", "狗")])
    assert one.metadata == {"taken": {"by": "me"}}
    assert (two.uri, two.captions, two.metadata) == (Path("/elsewhere/b.jpg"), [], {})


def test_a_photo_that_is_listed_twice_is_one_item_with_all_captions(tmp_path):
    lines = [
        {"image": "a.jpg", "captions": {"en": ["one"]}, "rating": 5},
        {"image": "./x/../a.jpg", "captions": {"en": ["one", "two"]}, "rating": 1, "album": "sea"},
    ]
    (item,) = ManifestSource(write_manifest(tmp_path / "m.jsonl", *lines))
    assert texts(item) == [("en", "one"), ("en", "two")]
    assert item.metadata == {"rating": 5, "album": "sea"}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{", "not JSON"),
        (b"nonsense", "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * 100_000, "not JSON"),
        (b'{"image": "a.jpg", "captions": {"en": ["\\ud800"]}}', "half of a surrogate pair"),
        (b'["a.jpg"]', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"{}", '"image" must be the path'),
        (b'{"image": 3}', '"image" must be the path'),
        (b'{"image": " "}', '"image" must be the path'),
        (b'{"image": "a\\u0000.jpg"}', '"image" must be the path'),
        (b'{"image": "a.jpg", "captions": 3}', '"captions" must be text, a list of sentences, or an object'),
        (b'{"image": "a.jpg", "captions": [["A dog."]]}', '"captions" must hold sentences'),
        (b'{"image": "a.jpg", "captions": {"zh": ["\xe7\x8b\x97", 3]}}', "list of sentences for 'zh'"),
        (b'{"image": "a.jpg", "captions": {"": ["A dog."]}}', "must name a language"),
    ],
)
def test_a_bad_line_is_named_by_its_number_and_the_others_are_read(tmp_path, line, says):
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"image": "a.jpg"}\n\n' + line + b'\n{"image": "b.jpg"}\n')
    source = open_source(path)
    assert names(source) == ["a.jpg", "b.jpg"]
    (problem,) = source.problems
    assert (problem.uri, problem.reason) == (f"{path}, line 3", "bad_line")
    assert re.search(f"m.jsonl, line 3: .*{says}.*; mend that line", problem.sentence)
    assert "\n" not in problem.sentence


def test_a_file_without_a_usable_line_is_refused_with_its_first_line(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text("\nonce upon a time\n{}\n")
    with pytest.raises(BadManifestLine, match=r"m.jsonl, line 2: not JSON .*nothing was indexed") as caught:
        open_source(path)
    assert caught.value.number == 2


@given(st.binary(max_size=200))
def test_any_file_is_a_manifest_or_a_named_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(content)
    try:
        assert len(open_source(path)) > 0
    except IndexerError as error:
        assert str(error).count("\n") == 0


# COCO


def test_a_coco_folder(tmp_path):
    save_photo(tmp_path / "val2017" / "000285.jpg")
    image = {"id": 285, "file_name": "000285.jpg", "width": 5, "height": 6, "license": 4, "flickr_url": "http://f/1"}
    captions = [(285, "A bear."), (285, " "), (285, "棕熊"), (999, "of no image")]
    (item,) = CocoSource(write_coco(tmp_path, images=[image], captions=captions))
    assert (item.uri, texts(item)) == (tmp_path / "val2017" / "000285.jpg", [("en", "A bear."), ("zh", "棕熊")])
    assert item.metadata == {"coco_id": 285, "license": 4, "flickr_url": "http://f/1"}
    assert {caption.origin for caption in item.captions} == {"captions_val2017.json"}


@pytest.mark.parametrize("folder", ["val2017", "images/val2017", "images", ".", "photographs"])
def test_images_may_be_in_any_usual_folder(tmp_path, folder):
    save_photo(tmp_path / folder / "a.jpg")
    (item,) = CocoSource(write_coco(tmp_path, images=[{"id": 1, "file_name": "a.jpg"}]))
    assert item.uri == tmp_path / folder / "a.jpg"


def test_a_missing_coco_image_gets_the_path_of_its_split(tmp_path):
    (tmp_path / "val2017").mkdir()
    (item,) = CocoSource(write_coco(tmp_path, images=[{"id": 1, "file_name": "a.jpg"}]))
    assert item.uri == tmp_path / "val2017" / "a.jpg"


def test_a_photo_in_several_annotation_files_gets_all_captions(tmp_path):
    for split in ("val2017", "train2017"):
        save_photo(tmp_path / split / f"{split}.jpg")
        write_coco(tmp_path, f"captions_{split}.json", [{"id": 1, "file_name": f"{split}.jpg"}], [(1, split)])
    write_coco(tmp_path, "captions_zh.json", [{"id": 1, "file_name": "val2017.jpg"}], [(1, "中文"), (1, "val2017")])
    found = {item.uri.name: texts(item) for item in CocoSource(tmp_path)}
    assert found == {"train2017.jpg": [("en", "train2017")], "val2017.jpg": [("en", "val2017"), ("zh", "中文")]}


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"images": [], "annotations": 3}',
        '{"images": 3, "annotations": []}',
    ],
)
def test_bad_annotations_are_named(tmp_path, content):
    write_coco(tmp_path)
    bad = tmp_path / "annotations" / "captions_val2017.json"
    bad.write_text(content)
    with pytest.raises(BadAnnotations, match="captions_val2017.json: not .*mend or remove"):
        open_source(tmp_path)
    write_coco(tmp_path, "captions_train2017.json", [{"id": 1, "file_name": "b.jpg"}])
    source = open_source(tmp_path)
    assert (names(source), [problem.uri for problem in source.problems]) == (["b.jpg"], [str(bad)])


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ({"id": 1}, "file_name"),
        ({"id": 1, "file_name": 7}, "file_name"),
        ({"id": 1, "file_name": "a\0.jpg"}, "file_name"),
        ({"id": 1, "file_name": "\ud800.jpg"}, "half of a surrogate pair"),
        ({"id": [], "file_name": "a.jpg"}, "an id must be a number or text"),
        ({"id": True, "file_name": "a.jpg"}, "an id must be a number or text"),
        ("a.jpg", "TypeError"),
        (None, "TypeError"),
    ],
)
def test_bad_image_records_are_counted_and_the_others_are_read(tmp_path, image, says):
    write_coco(tmp_path, images=[image])
    with pytest.raises(BadAnnotations, match=f"no usable photo in them .*1 image records can't be used .*{says}"):
        open_source(tmp_path)
    write_coco(tmp_path, images=[image, {"id": 2, "file_name": "b.jpg"}, image], captions=[(2, "A bear.")])
    source = open_source(tmp_path)
    assert [texts(item) for item in source] == [[("en", "A bear.")]]
    (problem,) = source.problems
    assert "2 image records can't be used (the first is number 1: " in problem.sentence


def test_bad_captions_and_captions_of_unknown_images_are_counted(tmp_path):
    captions = [(1, None), (1, "A bear."), (1, "\ud800"), ([], "x"), (7, "of nobody"), (8, "nor this")]
    source = CocoSource(write_coco(tmp_path, images=[{"id": 1, "file_name": "a.jpg"}], captions=captions))
    assert [texts(item) for item in source] == [[("en", "A bear.")]]
    assert [problem.sentence.partition(".json: ")[2] for problem in source.problems] == [
        '3 annotation records can\'t be used (the first is number 1: ValueError: "caption" must be text).',
        "2 captions are of images that are not there (image ids 7, 8).",
    ]


def test_captions_of_an_id_that_two_photos_share_are_left_out(tmp_path):
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}, {"id": 2, "file_name": "c.jpg"}]
    source = CocoSource(write_coco(tmp_path, images=images, captions=[(1, "whose?"), (2, "mine")]))
    assert [texts(item) for item in source] == [[], [], [("en", "mine")]]
    (problem,) = source.problems
    assert "1 ids are given to several images, whose captions were left out (1)" in problem.sentence


@pytest.mark.parametrize("suffix", ["", "_zh", "-cn.v2"])
def test_same_names_in_two_splits_are_two_photos(tmp_path, suffix):
    for split in ("train2017", "val2017"):
        save_photo(tmp_path / split / "1.jpg")
        write_coco(tmp_path, f"captions_{split}{suffix}.json", [{"id": 1, "file_name": "1.jpg"}], [(1, split)])
    source = open_source(tmp_path)
    assert {item.uri.parent.name: texts(item) for item in source} == {
        "train2017": [("en", "train2017")],
        "val2017": [("en", "val2017")],
    }
    assert source.problems == []


def test_a_name_that_two_folders_have_is_nobodys_and_both_photos_are_indexed(tmp_path):
    for folder in ("a", "b"):
        save_photo(tmp_path / folder / "1.jpg")
    save_photo(tmp_path / "b" / "2.jpg")
    images = [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "2.jpg"}, {"id": 3, "file_name": "a/1.jpg"}]
    source = CocoSource(write_coco(tmp_path, "captions_x.json", images[:2], [(1, "whose?"), (2, "mine")]))
    assert {str(item.uri.relative_to(tmp_path)): texts(item) for item in source} == {
        "a/1.jpg": [], "b/1.jpg": [], "b/2.jpg": [("en", "mine")]}  # fmt: skip
    (problem,) = source.problems
    assert "1 names are in several folders" in problem.sentence and "(1.jpg is in a and b)" in problem.sentence
    source = CocoSource(write_coco(tmp_path, "captions_x.json", images[1:], [(3, "of a")]))
    assert ([texts(item) for item in source], source.problems) == ([[], [("en", "of a")]], [])


def test_the_photos_of_a_split_that_is_not_there_are_not_taken_from_another(tmp_path):
    save_photo(tmp_path / "train2017" / "1.jpg", "red")
    for split in ("train2017", "val2017"):
        write_coco(tmp_path, f"captions_{split}.json", [{"id": 1, "file_name": "1.jpg"}], [(1, split)])
    (tmp_path / "val2017").mkdir()
    found = {str(item.uri.relative_to(tmp_path)): texts(item) for item in CocoSource(tmp_path)}
    assert found == {"train2017/1.jpg": [("en", "train2017")], "val2017/1.jpg": [("en", "val2017")]}
    (tmp_path / "val2017").rmdir()
    assert [texts(item) for item in CocoSource(tmp_path) if item.uri.exists()] == [[("en", "train2017")]]


def test_photos_that_no_annotation_names_are_counted(tmp_path):
    for name in ("val2017/1.jpg", "val2017/2.jpg", "test2017/3.jpg"):
        save_photo(tmp_path / name)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_val2017.json").write_text("{}")
    write_coco(tmp_path, "captions_val2017.json", [{"id": 1, "file_name": "1.jpg"}])
    counted = {(one["why"], one["kind"]): one["count"] for one in open_source(tmp_path).unused.as_json()}
    assert counted == {("not_listed", "JPG"): 2, ("other_kind", "JSON"): 1}


# Karpathy's files


def write_karpathy(path, *images):
    """images: (folder or None, name, split, sentences)."""
    records = []
    for number, (folder, name, split, sentences) in enumerate(images):
        own = [{"raw": text, "tokens": text.split(), "imgid": number, "sentid": 9} for text in sentences]
        record = {"filename": name, "split": split, "sentences": own, "imgid": number, "sentids": [9], "cocoid": number + 100}
        records.append(record if folder is None else {"filepath": folder, **record})
    path.write_text(json.dumps({"images": records, "dataset": "coco"}))
    return path


def karpathy_coco(root):
    for name in ("val2014/b.jpg", "val2014/c.jpg", "train2014/a.jpg"):
        save_photo(root / name)
    return write_karpathy(
        root / "dataset_coco.json",
        ("train2014", "a.jpg", "train", ["one"]),
        ("val2014", "b.jpg", "test", ["two", "zwei"]),
        ("val2014", "c.jpg", "restval", []),
        ("gone2014", "d.jpg", "val", ["three"]),
    )


def test_karpathys_split_of_coco_has_the_test_photos_first(tmp_path):
    path = karpathy_coco(tmp_path)
    for source in (open_source(tmp_path), open_source(path), open_source(tmp_path, "coco")):
        assert [(item.uri.name, item.metadata, [text for _, text in texts(item)]) for item in source] == [
            ("b.jpg", {"split": "test", "coco_id": 101}, ["two", "zwei"]),
            ("c.jpg", {"split": "restval", "coco_id": 102}, []),
            ("a.jpg", {"split": "train", "coco_id": 100}, ["one"]),
        ]
        assert (source.format, source.problems) == ("coco", [])
        assert [(one["why"], one["kind"], one["count"]) for one in source.unused.as_json()] == [
            ("not_there", "photos of gone2014", 1)
        ]


def test_karpathys_split_of_flickr_has_no_folders(tmp_path):
    for name in ("Flicker8k_Dataset/1.jpg", "Flicker8k_Dataset/2.jpg"):
        save_photo(tmp_path / name)
    write_karpathy(tmp_path / "dataset_flickr8k.json", (None, "1.jpg", "train", ["one"]), (None, "2.jpg", "test", ["two"]))
    source = open_source(tmp_path)
    assert [(item.uri.name, item.metadata["split"]) for item in source] == [("2.jpg", "test"), ("1.jpg", "train")]
    assert all(item.uri.exists() for item in source)


def test_karpathys_file_gives_captions_and_splits_to_any_source(tmp_path):
    path = karpathy_coco(tmp_path)
    source = open_source(tmp_path, "folder", captions=[path])
    assert {item.uri.name: (item.metadata.get("split"), len(item.captions)) for item in source} == {
        "a.jpg": ("train", 1), "b.jpg": ("test", 2), "c.jpg": ("restval", 0)}  # fmt: skip
    (problem,) = source.problems
    assert "1 captions are of photos that are not there (gone2014/d.jpg)" in problem.sentence


def test_bad_records_of_karpathys_are_counted(tmp_path):
    path = karpathy_coco(tmp_path)
    content = json.loads(path.read_text())
    content["images"] += [3, {"filename": 4, "sentences": []}, {"filename": "x.jpg", "sentences": [[3]]}]
    path.write_text(json.dumps(content))
    source = open_source(tmp_path)
    assert len(source) == 3 and "3 image records can't be used" in source.problems[0].sentence


# Folders


def test_a_folder_of_photos_in_natural_order(tmp_path):
    for name in ("img10.jpg", "img2.PNG", "Img1.jpeg", "trip 2/b.webp", "trip 10/a.gif", "z.TIFF", "图1.bmp"):
        save_photo(tmp_path / name)
    for name in ("notes.txt", "film.mp4", "no ending", "a.jpg.part"):
        (tmp_path / name).write_text("x")
    found = [str(item.uri.relative_to(tmp_path)) for item in FolderSource(tmp_path)]
    assert found == ["Img1.jpeg", "img2.PNG", "img10.jpg", "trip 2/b.webp", "trip 10/a.gif", "z.TIFF", "图1.bmp"]


NAMES = st.text("aAb019²٣. -图", min_size=1, max_size=5).filter(lambda name: name.strip("."))


def pieces_of(path):
    """The order of `natural_key`, as a tuple: name by name, texts and numbers in turn, then the path itself."""
    parts = [re.split(r"(\d+)", part.casefold()) for part in path.split("/")]
    return [[int(piece) if number % 2 else piece for number, piece in enumerate(part)] for part in parts], path


@given(st.lists(st.lists(NAMES, min_size=1, max_size=3).map("/".join), max_size=8))
def test_numbers_in_names_are_sorted_by_value(paths):
    assert sorted(paths, key=natural_key) == sorted(paths, key=pieces_of)


def test_hidden_files_and_folders_are_left_out(tmp_path):
    for name in ("a.jpg", "._a.jpg", ".b.jpg", ".thumbnails/c.jpg", "d/._d.jpg"):
        save_photo(tmp_path / ".hidden root" / name)
    (tmp_path / ".hidden root" / "._a.txt").write_text("not a caption")
    assert names(FolderSource(tmp_path / ".hidden root")) == ["a.jpg"]


def test_a_text_file_beside_a_photo_holds_its_captions(tmp_path):
    save_photo(tmp_path / "1.jpg")
    save_photo(tmp_path / "sub" / "1.jpg")
    (tmp_path / "1.txt").write_text("\ufeffA dog.\r\n\r\n  海边的狗  \n", encoding="utf-8")
    (tmp_path / "2.txt").write_text("of no photo")
    one, other = FolderSource(tmp_path)
    assert (texts(one), texts(other)) == ([("en", "A dog."), ("zh", "海边的狗")], [])


def test_a_text_file_in_utf16_is_read(tmp_path):
    save_photo(tmp_path / "1.jpg")
    (tmp_path / "1.TXT").write_text("狗\n", encoding="utf-16")
    (item,) = FolderSource(tmp_path)
    assert texts(item) == [("zh", "狗")]


def test_an_unreadable_text_file_is_a_problem_and_its_photo_is_listed(tmp_path):
    save_photo(tmp_path / "1.jpg")
    (tmp_path / "1.txt").write_bytes("狗狗".encode("gb18030"))
    source = FolderSource(tmp_path)
    assert (names(source), next(iter(source)).captions) == (["1.jpg"], [])
    (problem,) = source.problems
    assert (problem.uri, problem.reason) == (str(tmp_path / "1.txt"), "caption_unreadable")
    assert "save it as UTF-8" in problem.sentence


def test_linked_folders_are_entered_once_and_loops_end(tmp_path):
    save_photo(tmp_path / "photos" / "a.jpg")
    save_photo(tmp_path / "elsewhere" / "b.jpg")
    os.symlink(tmp_path / "photos", tmp_path / "photos" / "again")
    os.symlink(tmp_path / "elsewhere", tmp_path / "photos" / "link")
    os.symlink(tmp_path / "elsewhere", tmp_path / "photos" / "link2")
    os.symlink(tmp_path / "gone.jpg", tmp_path / "photos" / "broken.jpg")
    assert names(FolderSource(tmp_path / "photos")) == ["a.jpg", "broken.jpg", "b.jpg"]


def test_names_and_captions_in_another_encoding_are_reported_and_stop_nothing(tmp_path):
    content = save_photo(tmp_path / "good.jpg").read_bytes()
    name = os.fsencode(tmp_path) + b"/" + "照片".encode("gbk")
    Path(os.fsdecode(name + b".jpg")).write_bytes(content)
    Path(os.fsdecode(name + b".txt")).write_bytes("红色的墙".encode("gbk"))

    (problem,) = open_source(tmp_path).problems

    problem.uri.encode("utf-8"), problem.sentence.encode("utf-8")
    assert problem.reason == "caption_unreadable"


def test_a_source_whose_name_is_too_long_is_missing():
    with pytest.raises(MissingSource):
        open_source("a" * 5000)
