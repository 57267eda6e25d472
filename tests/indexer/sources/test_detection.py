"""Tests of what kind of source a folder is: photos below it make it a folder, unless its top clearly is a dataset."""

from __future__ import annotations

import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer import open_source
from indexer.errors import AmbiguousSource, EmptySource, IndexerError, UnknownFormat
from manage import error_line
from tests.indexer.sources.test_webdataset import write_shard
from tests.support.fakes import jpeg, save_photo
from tests.support.region_fakes import save_features


def names(source):
    return [item.member or item.uri.name for item in source]


def parquet(path, /, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


STRAY = {
    "a tar": lambda root: write_shard(root / "backup.tar", ("old/1.jpg", jpeg())),
    "a broken tar": lambda root: (root / "backup.tar").write_bytes(b"no tar"),
    "a log": lambda root: (root / "log.jsonl").write_text('{"time": 3}\n{"path": "/gone/x.jpg"}'),
    "no JSON Lines": lambda root: (root / "x.jsonl").write_text("nonsense"),
    "a log of these photos": lambda root: (root / "x.jsonl").write_text('{"path": "sub/1.jpg", "sha256": "ab"}'),
    "hashes of these photos": lambda root: parquet(root / "x.parquet", path=["sub/1.jpg"], sha256=["ab"]),
    "a list of other photos": lambda root: (root / "x.jsonl").write_text('{"image": "elsewhere.jpg"}'),
    "a manifest without photos": lambda root: (root / "manifest.jsonl").write_text('{"time": 3}'),
    "features": lambda root: parquet(root / "features.parquet", id=[1], vector=[[0.5]]),
    "other Parquet": lambda root: parquet(root / "x.parquet", image=["gone.jpg"], caption=["a dog"]),
    "no Parquet": lambda root: (root / "x.parquet").write_bytes(b"PAR1"),
    "a table": lambda root: (root / "x.csv").write_text("a,b\n1,2\n"),
    "a JSON": lambda root: (root / "annotations.json").write_text('{"images": [], "annotations": []}'),
    "an archive": lambda root: tarfile.open(root / "x.tar.gz", "w:gz").close(),
    "features of one photo": lambda root: save_features(root / "sub" / "1.npz"),
}


@pytest.mark.parametrize("stray", STRAY)
def test_one_stray_file_at_the_top_makes_a_folder_of_photos_nothing_else(tmp_path, stray):
    for name in ("1.jpg", "2.jpg"):
        save_photo(tmp_path / "sub" / name)
    STRAY[stray](tmp_path)
    source = open_source(tmp_path)
    assert (source.format, names(source), source.problems) == ("folder", ["1.jpg", "2.jpg"], [])
    assert sum(one["count"] for one in source.unused.as_json()) == 1


def test_a_list_that_names_photos_there_makes_a_dataset(tmp_path):
    save_photo(tmp_path / "sub" / "1.jpg")
    save_photo(tmp_path / "sub" / "2.jpg")
    (tmp_path / "photos.jsonl").write_text('{"image": "sub/1.jpg"}')
    source = open_source(tmp_path)
    assert (source.format, names(source)) == ("manifest", ["1.jpg"])
    assert [(one["why"], one["count"]) for one in source.unused.as_json()] == [("not_listed", 1)]
    (tmp_path / "photos.jsonl").unlink()
    parquet(tmp_path / "photos.parquet", file_name=["sub/2.jpg"])
    assert names(open_source(tmp_path)) == ["2.jpg"]


def test_of_several_lists_the_one_that_names_photos_there_counts(tmp_path):
    save_photo(tmp_path / "1.jpg")
    (tmp_path / "a.jsonl").write_text('{"time": 3}')
    (tmp_path / "photos.jsonl").write_text('{"image": "1.jpg"}')
    parquet(tmp_path / "scores.parquet", score=[1.5])
    source = open_source(tmp_path)
    assert (source.format, source.root.name) == ("manifest", "photos.jsonl")
    assert {one["kind"]: one["count"] for one in source.unused.as_json()} == {"JSONL": 1, "PARQUET": 1}


def test_a_manifest_of_the_usual_name_counts_even_if_its_photos_are_gone(tmp_path):
    save_photo(tmp_path / "1.jpg")
    (tmp_path / "manifest.jsonl").write_text('{"image": "/disk/a.jpg"}')
    assert (open_source(tmp_path).format, names(open_source(tmp_path))) == ("manifest", ["a.jpg"])


def test_tars_and_parquet_in_sub_folders_are_found(tmp_path):
    write_shard(tmp_path / "wds" / "train" / "0.tar", ("1.jpg", jpeg()))
    assert (open_source(tmp_path / "wds").format, names(open_source(tmp_path / "wds"))) == ("webdataset", ["1.jpg"])
    rows = [{"bytes": jpeg(), "path": "1.jpg"}]
    parquet(tmp_path / "hf" / "data" / "train-00000-of-00001.parquet", image=rows, text=["a dog"])
    (tmp_path / "hf" / "README.md").write_text("---")
    source = open_source(tmp_path / "hf")
    assert (source.format, [one["kind"] for one in source.unused.as_json()]) == ("manifest", ["MD"])
    (item,) = source
    assert (item.metadata, [one.text for one in item.captions]) == ({"file_name": "1.jpg", "split": "train"}, ["a dog"])


def test_parquet_of_something_else_beside_a_manifest_is_counted(tmp_path):
    save_photo(tmp_path / "sub" / "1.jpg")
    parquet(tmp_path / "a.parquet", image=["sub/1.jpg"])
    parquet(tmp_path / "b.parquet", vector=[[0.5]])
    source = open_source(tmp_path)
    assert (names(source), source.problems) == (["1.jpg"], [])
    assert [(one["kind"], one["count"]) for one in source.unused.as_json()] == [("PARQUET", 1)]


def test_hidden_and_excluded_photos_make_no_folder_of_photos(tmp_path):
    write_shard(tmp_path / "0.tar", ("1.jpg", jpeg()))
    save_photo(tmp_path / "@eaDir" / "1.jpg")
    save_photo(tmp_path / ".cache" / "1.jpg")
    assert open_source(tmp_path).format == "webdataset"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("manifest.jsonl", '{"image": "a.jpg"}\n' * 2 + '{"image": 3}'),
        ("annotations/captions_a.json", "{"),
        ("annotations/captions_a.json", json.dumps({"images": [], "annotations": []})),
    ],
)
def test_where_a_dataset_cannot_be_used_the_format_that_can_is_named(tmp_path, name, content):
    save_photo(tmp_path / "photos" / "a.jpg")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    try:
        open_source(tmp_path)
        assert name == "manifest.jsonl"
    except IndexerError as error:
        assert "--format folder" in error_line(error)
    assert names(open_source(tmp_path, "folder")) == ["a.jpg"]


def test_several_lists_need_a_choice_which_names_the_folder(tmp_path):
    save_photo(tmp_path / "a.jpg")
    for name in ("train.jsonl", "val.jsonl"):
        (tmp_path / name).write_text('{"image": "a.jpg"}')
    with pytest.raises(AmbiguousSource) as refused:
        open_source(tmp_path)
    assert "--format folder" in error_line(refused.value)


@pytest.mark.parametrize("format", ["coco", "manifest", "webdataset", "regions"])
def test_a_wrong_format_names_the_right_one(tmp_path, format):
    save_photo(tmp_path / "a.jpg")
    with pytest.raises(EmptySource) as refused:
        open_source(tmp_path, format)
    assert "--format folder" in error_line(refused.value)


def test_compressed_archives_are_named_as_such(tmp_path):
    tarfile.open(tmp_path / "x.tar.gz", "w:gz").close()
    with pytest.raises(UnknownFormat) as refused:
        open_source(tmp_path / "x.tar.gz")
    assert "it is compressed: unpack it" in error_line(refused.value)
    with pytest.raises(EmptySource, match=r"\(but GZ 1\)"):
        open_source(tmp_path)
