"""Fuzz tests: whatever a file holds, a source lists photos, or reports what it could not use."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer import open_source
from indexer.errors import IndexerError
from tests.indexer.sources.test_webdataset import write_shard
from tests.support.fakes import jpeg

TEXT = st.text(max_size=8) | st.sampled_from(["a.jpg", "b/c.png", "\0", "\ud800", "../..", "/", "a dog", "狗"])
NUMBERS = st.integers(-(2**70), 2**70) | st.floats() | st.integers(0, 3)
KEYS = TEXT | st.sampled_from(["image", "captions", "en", "zh", "id", "file_name", "image_id", "caption", "annotations"])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
RECORDS = VALUES | st.fixed_dictionaries(
    {"image": TEXT | VALUES},
    optional={
        "captions": st.dictionaries(st.sampled_from(["en", "zh", " "]), st.lists(TEXT, max_size=2)) | VALUES,
        "rating": VALUES,
    },
)
IMAGES = st.lists(VALUES | st.fixed_dictionaries({"id": NUMBERS | TEXT, "file_name": TEXT}, optional={"license": VALUES}))
ANNOTATIONS = st.lists(VALUES | st.fixed_dictionaries({"image_id": NUMBERS | TEXT | VALUES, "caption": TEXT | VALUES}))
COCO = VALUES | st.fixed_dictionaries({"images": IMAGES | VALUES, "annotations": ANNOTATIONS | VALUES})
FUZZ = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def check(path, format=None, **options):
    """Open a source, and check that every item and problem can be stored and that every error is one line."""
    try:
        source = open_source(path, format, **options)
    except IndexerError as error:
        assert str(error).isprintable()
        return None
    assert len(source) > 0
    for item in source:
        for caption in item.captions:
            (caption.text + caption.language + caption.origin).encode("utf-8")
            assert caption.text.strip() and caption.language.strip()
        assert item.uri.is_absolute() and "\0" not in str(item.uri)
        json.dumps(item.metadata, ensure_ascii=False, allow_nan=False).encode("utf-8")
    for problem in source.problems:
        (problem.uri + problem.sentence).encode("utf-8")
        assert problem.sentence.isprintable() and problem.reason
    assert len({problem.uri for problem in source.problems}) == len(source.problems)
    return source


@FUZZ
@given(st.lists(RECORDS, max_size=5))
def test_any_json_as_manifest_lines(tmp_path, records):
    path = tmp_path / "m.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    source = check(path)
    if source is not None:
        assert len(source.problems) + len(source) <= len(records)


@FUZZ
@given(st.binary(max_size=200) | st.binary(max_size=80).map(lambda noise: b'{"image": "' + noise + b'", "captions": {}}'))
def test_any_bytes_as_a_manifest(tmp_path, content):
    (tmp_path / "m.jsonl").write_bytes(content)
    check(tmp_path / "m.jsonl")


@FUZZ
@given(COCO, COCO)
def test_any_json_as_coco_files(tmp_path, one, two):
    (tmp_path / "annotations").mkdir(exist_ok=True)
    for name, content in (("captions_a.json", one), ("captions_b.json", two)):
        (tmp_path / "annotations" / name).write_text(json.dumps(content))
    check(tmp_path)


@FUZZ
@given(COCO)
def test_any_json_as_a_captions_file(tmp_path, content):
    (tmp_path / "m.jsonl").write_text('{"image": "a.jpg"}\n{"image": "b/c.png", "coco_id": 1}')
    (tmp_path / "zh.json").write_text(json.dumps(content))
    check(tmp_path / "m.jsonl", captions=[tmp_path / "zh.json"], languages=["zh"])


@FUZZ
@given(VALUES, st.binary(max_size=20))
def test_any_texts_in_a_shard(tmp_path, value, noise):
    files = [("1.jpg", jpeg()), ("1.json", json.dumps(value)), ("1.txt", noise), ("2.png", jpeg())]
    assert len(check(write_shard(tmp_path / "a.tar", *files))) == 2


@FUZZ
@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=6), st.none() | st.integers(0, 5000))
@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_changed_bytes_of_a_container(tmp_path, kind, changes, kept):
    path = tmp_path / f"a.{kind}"
    if kind == "tar":
        write_shard(path, ("1.jpg", jpeg()), ("1.txt", "a dog"), ("2.jpg", jpeg()))
    else:
        pq.write_table(pa.table({"image": ["a.jpg", "b.jpg"], "captions": [["a dog"], ["狗"]]}), path)
    data = bytearray(path.read_bytes())
    for at, value in changes:
        data[at % len(data)] = value
    path.write_bytes(data[:kept])
    check(path)
