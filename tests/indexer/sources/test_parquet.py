"""Tests of Parquet manifests."""

from __future__ import annotations

import datetime
import decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer import open_source
from indexer.errors import BadManifestLine, EmptySource, UnknownFormat

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write(path, columns, **types):
    """Write a Parquet file of columns; `types` gives those that can't be inferred."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({name: pa.array(values, types.get(name)) for name, values in columns.items()}), path)
    return path


def texts(item):
    return [(caption.language, caption.text) for caption in item.captions]


def test_paths_captions_and_metadata(tmp_path):
    path = write(
        tmp_path / "m.parquet",
        {
            "image": ["a.jpg", "sub/b.jpg", "/c.jpg"],
            "captions": [{"en": ["A dog."], "zh": ["狗"]}, {"en": None, "zh": [" "]}, None],
            "rating": [5, None, 3],
            "taken": [datetime.datetime(2024, 5, 1, 12), None, None],
            "price": [decimal.Decimal("1.50"), None, None],
            "place": [{"lat": 1.5, "lon": float("nan")}, None, None],
            "thumbnail": [b"\xff", None, None],
        },
    )
    source = open_source(path)
    assert [str(item.uri) for item in source] == [f"{tmp_path}/a.jpg", f"{tmp_path}/sub/b.jpg", "/c.jpg"]
    assert [texts(item) for item in source] == [[("en", "A dog."), ("zh", "狗")], [], []]
    assert [item.metadata for item in source] == [
        {"rating": 5, "taken": "2024-05-01T12:00:00", "price": 1.5, "place": {"lat": 1.5, "lon": None}},
        {},
        {"rating": 3},
    ]
    assert (source.format, source.problems) == ("manifest", [])


@pytest.mark.parametrize(
    ("captions", "kind"),
    [
        (["A dog.", "狗"], pa.list_(pa.string())),
        ([("en", ["A dog."]), ("zh", ["狗"])], pa.map_(pa.string(), pa.list_(pa.string()))),
    ],
)
def test_captions_may_be_a_list_or_a_map(tmp_path, captions, kind):
    (item,) = open_source(write(tmp_path / "m.parquet", {"image": ["a.jpg"], "captions": [captions]}, captions=kind))
    assert texts(item) == [("en", "A dog."), ("zh", "狗")]


def test_one_caption_a_row(tmp_path):
    rows = {"image": ["a.jpg", "b.jpg", "a.jpg"], "caption": ["A dog.", "Ein Hund.", "狗"], "language": [None, "de", "zh"]}
    source = open_source(write(tmp_path / "m.parquet", rows))
    assert {item.uri.name: texts(item) for item in source} == {
        "a.jpg": [("en", "A dog."), ("zh", "狗")],
        "b.jpg": [("de", "Ein Hund.")],
    }


def test_bad_rows_are_listed_and_the_others_are_read(tmp_path):
    rows = {
        "image": ["a.jpg", None, " ", "b.jpg", "c.jpg"],
        "caption": ["x", "x", "x", None, "y"],
        "seconds": [datetime.timedelta(seconds=2)] * 5,
    }
    source = open_source(write(tmp_path / "m.parquet", rows))
    assert [(item.uri.name, texts(item)) for item in source] == [
        ("a.jpg", [("en", "x")]),
        ("b.jpg", []),
        ("c.jpg", [("en", "y")]),
    ]
    assert [(problem.uri, problem.reason) for problem in source.problems] == [
        (f"{tmp_path}/m.parquet, row 2", "bad_row"),
        (f"{tmp_path}/m.parquet, row 3", "bad_row"),
    ]


def test_parts_of_one_manifest_are_read_together(tmp_path):
    for part in ("a", "b"):
        write(tmp_path / f"part-{part}.parquet", {"image": [f"{part}.jpg"]})
    assert [item.uri.name for item in open_source(tmp_path)] == ["a.jpg", "b.jpg"]


def test_a_file_that_is_no_manifest_is_named(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UnknownFormat, match="can't be read as Parquet"):
        open_source(tmp_path / "x.parquet")
    with pytest.raises(UnknownFormat, match="no column `image` .but url, caption"):
        open_source(write(tmp_path / "y.parquet", {"url": ["a"], "caption": ["b"]}))
    with pytest.raises(EmptySource):
        open_source(write(tmp_path / "z.parquet", {"image": []}, image=pa.string()))
    with pytest.raises(BadManifestLine, match=r'row 1: "image" must be the path of a photo'):
        open_source(write(tmp_path / "w.parquet", {"image": [{"bytes": None, "path": None}]}, image=IMAGE))
