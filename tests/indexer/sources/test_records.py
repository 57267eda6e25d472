"""The same record means the same in every kind of source: one table of odd records, read through all of them."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer import open_source
from indexer.errors import IndexerError
from indexer.sources.records import read_record
from tests.indexer.sources.test_webdataset import write_shard
from tests.support.fakes import jpeg

EN, DE, ZH = ("en", "a dog"), ("de", "ein Hund"), ("zh", "狗")
RECORDS = [
    ({}, []),
    ({"caption": None}, []),
    ({"caption": " "}, []),
    ({"caption": "a dog"}, [EN]),
    ({"caption": " 狗\n"}, [ZH]),
    ({"caption": "a\0dog"}, [EN]),
    ({"caption": "ein Hund", "language": "de"}, [DE]),
    ({"caption": "ein Hund", "lang": "de"}, [DE]),
    ({"caption": ["a dog", None, "狗"]}, [EN, ZH]),
    ({"captions": "a dog"}, [EN]),
    ({"captions": ["a dog", "狗"]}, [EN, ZH]),
    ({"captions": []}, []),
    ({"captions": {"en": ["a dog"], "zh": ["狗"]}}, [EN, ZH]),
    ({"captions": {"en": "a dog", "zh": None}}, [EN]),
    ({"captions": {"de": ["ein Hund", None]}}, [DE]),
    ({"captions": {"en": ["a dog"]}, "caption": "狗"}, [EN, ZH]),
    ({"captions": [{"caption": "a dog"}, {"caption": "ein Hund", "language": "de"}]}, [EN, DE]),
    ({"captions": [{"text": "a dog"}]}, [EN]),
    ({"captions": [{"en": "a dog"}, {"zh": "狗"}]}, [EN, ZH]),
    ({"sentences": [{"raw": "a dog", "tokens": ["a", "dog"]}]}, [EN]),
    ({"sentence": "a dog"}, [EN]),
    ({"text": "a dog"}, [EN]),
    ({"texts": ["a dog", "狗"]}, [EN, ZH]),
    ({"caption_en": "a dog", "caption_zh": "狗"}, [EN, ZH]),
    ({"captions_de": ["ein Hund"]}, [DE]),
    ({"caption_zh-CN": "狗"}, [ZH]),
    ({"text_zh": "狗"}, [ZH]),
    ({"caption_1": "a dog", "caption_2": "狗"}, [EN, ZH]),
    ({"Caption": "a dog"}, [EN]),
]
"""What a record says beside its photo, and the captions that it has."""
METADATA = [
    {"rating": 5, "album": "sea"},
    {"caption": "a dog", "text": "a sign says DOGS", "caption_id": 7},
    {"caption": "a dog", "description": "long", "title": "Rex", "url": "http://a/b.jpg"},
    {"captions": {"en": ["a dog"]}, "language": "fr"},
    {"text": 3},
    {"caption_id": "7", "caption_no": "3"},
    {"place": {"lat": 1.5, "tags": ["a", "b"]}},
]
"""Records of which all but `caption`, and nothing else, is no metadata."""
REFUSED = [{"caption": 3}, {"captions": 3}, {"captions": [["a dog"]]}, {"captions": {"en": ["a dog", 3]}}, {"captions": [True]}]


def as_json_lines(folder, record):
    (folder / "m.jsonl").write_text(json.dumps({"image": "a.jpg", **record}))
    return folder / "m.jsonl"


def as_json_list(folder, record):
    (folder / "m.json").write_text(json.dumps([{"image": "a.jpg", **record}]))
    return folder / "m.json"


def as_parquet(folder, record):
    pq.write_table(pa.Table.from_pylist([{"image": "a.jpg", **record}]), folder / "m.parquet")
    return folder / "m.parquet"


def as_photo_in_parquet(folder, record):
    pq.write_table(pa.Table.from_pylist([{"image": {"bytes": jpeg(), "path": None}, **record}]), folder / "p.parquet")
    return folder / "p.parquet"


def as_tar(folder, record):
    return write_shard(folder / "0.tar", ("a.jpg", jpeg()), ("a.json", record))


WRITERS = [as_json_lines, as_json_list, as_parquet, as_photo_in_parquet, as_tar]


def said(item):
    return [(caption.language, caption.text) for caption in item.captions]


def fits(writer, record):
    """False for a record that Arrow has no types for: lists and objects of several kinds."""
    try:
        pa.Table.from_pylist([record])
    except (pa.ArrowException, OverflowError):
        return "parquet" not in writer.__name__
    return True


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(("record", "captions"), RECORDS)
def test_a_record_has_the_same_captions_everywhere(tmp_path, writer, record, captions):
    if not fits(writer, record):
        pytest.skip("a column of Arrow has one type")
    source = open_source(writer(tmp_path, record))
    assert ([said(item) for item in source], source.problems) == ([captions], [])
    assert next(iter(source)).metadata == {}


@pytest.mark.parametrize(("record", "captions"), [one for one in RECORDS if one[0].get("caption") or one[0].get("captions")])
def test_and_as_an_annotation_of_coco(tmp_path, record, captions):
    content = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "id": 5, **record}]}
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "captions_a.json").write_text(json.dumps(content))
    (item,) = open_source(tmp_path)
    assert said(item) == captions


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("record", METADATA)
def test_what_is_metadata_is_metadata_everywhere(tmp_path, writer, record):
    (item,) = open_source(writer(tmp_path, record))
    assert item.metadata == {key: value for key, value in record.items() if key not in ("caption", "captions")}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_json_cannot_hold_is_null_everywhere(tmp_path, number):
    text = '{"image": "a.jpg", "caption": "a dog", "rating": N, "near": [N]}'.replace("N", number)
    (tmp_path / "m.jsonl").write_text(text)
    write_shard(tmp_path / "t" / "0.tar", ("a.jpg", jpeg()), ("a.json", text.replace('"image": "a.jpg", ', "")))
    value = float(number)
    for path in (
        tmp_path / "m.jsonl",
        as_parquet(tmp_path, {"caption": "a dog", "rating": value, "near": [value]}),
        tmp_path / "t",
    ):
        (item,) = open_source(path)
        assert (said(item), item.metadata) == ([EN], {"rating": None, "near": [None]})


@pytest.mark.parametrize("record", REFUSED)
def test_what_is_no_caption_is_refused_everywhere(tmp_path, record):
    with pytest.raises(ValueError, match="caption"):
        read_record(record)
    for writer in WRITERS:
        if fits(writer, record):
            try:
                problems = [problem.sentence for problem in open_source(writer(tmp_path, record)).problems]
            except IndexerError as error:
                problems = [str(error)]
            assert len(problems) == 1 and "caption" in problems[0]


@pytest.mark.parametrize(
    "record",
    [
        {"image": "a.jpg"},
        {"image": None, "file_name": "a.jpg"},
        {"filename": "a.jpg"},
        {"path": "a.jpg", "url": "http://x/y.jpg"},
        {"image_path": "a.jpg"},
        {"img": "a.jpg"},
        {"image": {"path": "a.jpg", "bytes": None}},
        {"filepath": "./", "filename": "a.jpg"},
    ],
)
def test_a_photo_is_named_by_any_usual_key(tmp_path, record):
    (tmp_path / "m.jsonl").write_text(json.dumps(record))
    assert [item.uri for item in open_source(tmp_path / "m.jsonl")] == [tmp_path / "a.jpg"]


def test_a_web_address_is_no_photo_and_the_message_says_so(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"url": "http://x/y.jpg", "caption": "a dog"}')
    with pytest.raises(IndexerError, match='"url" is a web address, and nothing is fetched'):
        open_source(tmp_path / "m.jsonl")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["en", "raw", "x"]), inner, max_size=2),
    max_leaves=6,
)
KEYS = st.sampled_from(["caption", "captions", "text", "caption_zh", "language", "sentences", "rating", "Caption"])


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_record_is_read_or_refused(record):
    try:
        captions, metadata = read_record(record)
    except ValueError:
        return
    json.dumps(metadata, allow_nan=False)
    assert all(one.text.strip() == one.text != "" and "\0" not in one.text and one.language.strip() for one in captions)
