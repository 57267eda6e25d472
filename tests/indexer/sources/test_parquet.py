"""Tests of Parquet manifests."""

from __future__ import annotations

import datetime
import decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer import build_index, open_source
from indexer.errors import BadManifestLine, EmptySource, UnknownFormat
from storage import Home
from storage.photo_uri import PhotoUri
from tests.support.fakes import COLOURS, FakeEncoder, jpeg
from web import create_app

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


# Photos inside


def photos_inside(path, *colours, rows=2, **columns):
    """Write photos of colours, some rows a row group; None is a row without a photo."""
    images = [None if colour is None else {"bytes": jpeg(colour), "path": f"{colour}.jpg"} for colour in colours]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": pa.array(images, IMAGE), **columns}), path, row_group_size=rows)
    return path


def test_photos_inside_are_listed_by_row(tmp_path):
    path = photos_inside(tmp_path / "p.parquet", "red", None, "green", "blue", text=["a red wall", "nothing", "一面墙", None])
    source = open_source(path)
    uris = [PhotoUri(item.uri, item.member).uri for item in source]
    assert uris == [f"parquet://{path}!{place}/image" for place in ("0/0", "1/0", "1/1")]
    assert [texts(item) for item in source] == [[("en", "a red wall")], [("zh", "一面墙")], []]
    assert [item.metadata for item in source] == [{"file_name": f"{colour}.jpg"} for colour in ("red", "green", "blue")]
    assert [problem.uri for problem in source.problems] == [f"{path}, row 2"]


@pytest.mark.parametrize("workers", [0, 2])
def test_photos_inside_are_indexed_and_served_from_where_they_are(tmp_path, workers):
    colours = ["red", "green", "blue", "yellow", "white"]
    photos_inside(
        tmp_path / "hf" / "data" / "train-00000-of-00001.parquet", *colours, text=[f"a {one} wall" for one in colours]
    )
    home, part = Home(tmp_path / "home"), tmp_path / "hf" / "data" / "train-00000-of-00001.parquet"
    summary = build_index(home, "walls", open_source(tmp_path / "hf"), FakeEncoder(), workers=workers)
    assert (summary.images, summary.captions, summary.failures) == (5, 5, [])
    snapshot = home.collection("walls").open_snapshot()
    client = create_app(home, FakeEncoder(), "walls").test_client()
    for image in snapshot.images(snapshot.image_ids()):
        colour = image.metadata["file_name"].removesuffix(".jpg")
        assert (snapshot.tokens([image.image_id])[0, 0, :3] * 255).round() == pytest.approx(COLOURS[colour], abs=2)
        assert snapshot.captions_of([image.image_id])[image.image_id][0].text == f"a {colour} wall"
        assert image.bytes == len(jpeg(colour))
        served = client.get(f"/images/{image.image_id}")
        assert (served.status_code, served.mimetype, served.data) == (200, "image/jpeg", jpeg(colour))
    again = build_index(home, "walls", open_source(tmp_path / "hf"), FakeEncoder(), workers=0)
    assert (again.added, again.unchanged) == (0, 5)
    photos_inside(part, "red", "black", text=["a red wall", "dark"])
    changed = build_index(home, "walls", open_source(tmp_path / "hf"), FakeEncoder(), workers=0, missing="drop")
    assert (changed.images, changed.unchanged) == (2, 1)


def test_bytes_may_be_a_plain_column_and_paths_may_stand_beside_bytes(tmp_path):
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"key": ["1", "2"], "jpg": [jpeg("red"), b"no photo"], "caption": ["a", "b"]}), path)
    assert [(item.member, item.metadata) for item in open_source(path)] == [
        ("0/0/jpg", {"key": "1"}),
        ("0/1/jpg", {"key": "2"}),
    ]
    mixed = pa.array([{"bytes": None, "path": "a.jpg"}, {"bytes": jpeg(), "path": None}], IMAGE)
    pq.write_table(pa.table({"picture": mixed}), path)
    with pytest.raises(BadManifestLine):
        open_source(write(path, {"picture": [{"bytes": None, "path": "a.jpg"}]}, picture=IMAGE))
    pq.write_table(pa.table({"image": mixed}), path)
    assert [(item.uri.name, item.member) for item in open_source(path)] == [("a.jpg", None), ("p.parquet", "0/1/image")]


def test_what_python_has_no_values_for_is_a_bad_row_and_lists_of_photos_are_not_read(tmp_path):
    late = pa.array([0, 2**60], pa.int64()).cast(pa.timestamp("us"))
    several = [[{"bytes": b"x", "path": "a"}]] * 2
    odd = pa.Array.from_buffers(pa.string(), 2, [None, *pa.array([b"\xff", b"ok"]).buffers()[1:]])
    columns = {"image": ["a.jpg", "b.jpg"], "images": several}
    pq.write_table(pa.table({**columns, "taken": late}), tmp_path / "late.parquet")
    pq.write_table(pa.table({**columns, "caption": odd}), tmp_path / "odd.parquet")
    for name, left in (("late", "a.jpg"), ("odd", "b.jpg")):
        source = open_source(tmp_path / f"{name}.parquet")
        assert ([item.uri.name for item in source], len(source.problems)) == ([left], 1)
        assert "images" not in next(iter(source)).metadata


def test_one_damaged_part_does_not_stop_the_others(tmp_path):
    photos_inside(tmp_path / "data" / "a.parquet", "red")
    (tmp_path / "data" / "b.parquet").write_bytes(b"PAR1 and no more")
    source = open_source(tmp_path)
    assert [item.uri.name for item in source] == ["a.parquet"]
    assert [(problem.uri, problem.reason) for problem in source.problems] == [
        (f"{tmp_path}/data/b.parquet", "shard_unreadable")
    ]
    assert source.hidden_prefixes == [""]


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
