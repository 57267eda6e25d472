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


TABLE = st.text(alphabet=st.sampled_from('a1.jpgb/c,;|\t"\n\r #0{}[]:狗\0\ud800'), max_size=80)


@FUZZ
@given(TABLE.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=80))
@pytest.mark.parametrize("name", ["captions.txt", "results.csv", "x.tsv", "metadata.csv", "metadata.jsonl", "x.json", "1.txt"])
def test_any_bytes_beside_photos(tmp_path, name, content):
    (tmp_path / "1.jpg").write_bytes(b"")
    (tmp_path / "1.jpg.zh.txt").write_bytes(content[:20])
    (tmp_path / name).write_bytes(b"image,caption\n" * (len(content) % 2) + content)
    assert len(check(tmp_path)) == 1


@FUZZ
@given(VALUES | st.fixed_dictionaries({"images": st.lists(VALUES | st.fixed_dictionaries({"filename": TEXT}, optional={
    "sentences": VALUES, "split": VALUES, "filepath": VALUES, "cocoid": VALUES}), max_size=3)}))  # fmt: skip
def test_any_json_as_karpathys_file(tmp_path, content):
    path = tmp_path / "dataset_x.json"
    path.write_text(json.dumps(content) if not isinstance(content, dict) else json.dumps({"sentids": [], **content}))
    check(path)
    check(tmp_path)


@FUZZ
@given(st.lists(TEXT | st.binary(max_size=5).map(repr), max_size=3))
def test_any_patterns(tmp_path, patterns):
    (tmp_path / "1.jpg").write_bytes(b"")
    (tmp_path / ".panoptesignore").write_text("\n".join(patterns), encoding="utf-8", errors="replace")
    check(tmp_path, exclude=patterns)


@FUZZ
@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=6), st.none() | st.integers(0, 5000))
@pytest.mark.parametrize("kind", ["tar", "parquet", "photos.parquet"])
def test_changed_bytes_of_a_container(tmp_path, kind, changes, kept):
    path = tmp_path / f"a.{kind}"
    if kind == "tar":
        write_shard(path, ("1.jpg", jpeg()), ("1.txt", "a dog"), ("2.jpg", jpeg()))
    elif kind == "photos.parquet":
        images = [{"bytes": jpeg(), "path": "a.jpg"}, {"bytes": None, "path": "b.jpg"}]
        pq.write_table(pa.table({"image": images, "captions": [["a dog"], ["狗"]]}), path)
    else:
        pq.write_table(pa.table({"image": ["a.jpg", "b.jpg"], "captions": [["a dog"], ["狗"]]}), path)
    data = bytearray(path.read_bytes())
    for at, value in changes:
        data[at % len(data)] = value
    path.write_bytes(data[:kept])
    check(path)
