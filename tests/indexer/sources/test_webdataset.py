"""Tests of WebDataset's tar shards: photos are indexed and served without unpacking."""

from __future__ import annotations

import io
import json
import os
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer import WebDatasetSource, build_index, open_source
from indexer.errors import EmptySource, UnknownFormat
from storage import Home
from storage.photo_uri import PhotoUri
from tests.support.fakes import COLOURS, FakeEncoder, jpeg
from web import create_app


def write_shard(path, *files):
    """Write a tar of (name, content). Text is written as UTF-8, bytes as they are, anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files:
            data = (
                content
                if isinstance(content, bytes)
                else (content if isinstance(content, str) else json.dumps(content)).encode()
            )
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def sample(colour):
    return [(f"{colour}.jpg", jpeg(colour)), (f"{colour}.txt", f"a {colour} wall\n一面墙"), (f"{colour}.json", {"width": 48})]


@pytest.fixture
def shards(tmp_path):
    write_shard(tmp_path / "shards" / "00000.tar", *sample("red"), *sample("green"))
    write_shard(tmp_path / "shards" / "00001.tar", *sample("blue"), ("broken.jpg", b"no photo"), *sample("yellow"))
    return tmp_path / "shards"


def build(home, source, **options):
    return build_index(home, "walls", open_source(source), FakeEncoder(), workers=0, **options)


def texts(item):
    return [(caption.language, caption.text) for caption in item.captions]


def test_files_of_one_key_are_one_sample(tmp_path):
    image = jpeg("red")
    shard = write_shard(
        tmp_path / "a.tar",
        ("b/1.jpg", image),
        ("b/1.txt", "one\ntwo"),
        ("b/1.json", {"caption": "two", "url": "http://x"}),
        ("._b.jpg", image),
        ("2.seg.png", image),
        ("2.json", {"captions": {"zh": ["狗"]}}),
        ("1.txt", "of no photo"),
        ("film.mp4", b""),
        ("3.JPEG", image),
    )
    one, two, three = open_source(shard)
    assert [(item.uri, item.member) for item in (one, two, three)] == [
        (shard, "b/1.jpg"),
        (shard, "2.seg.png"),
        (shard, "3.JPEG"),
    ]
    assert [texts(item) for item in (one, two, three)] == [[("en", "one"), ("en", "two")], [("zh", "狗")], []]
    assert [item.metadata for item in (one, two, three)] == [{"url": "http://x"}, {}, {}]


@pytest.mark.parametrize("workers", [0, 2])
def test_every_photo_of_a_shard_has_its_own_pixels_captions_and_file(tmp_path, shards, workers):
    home = Home(tmp_path / "home")
    summary = build_index(home, "walls", open_source(shards), FakeEncoder(), workers=workers)
    assert (summary.images, summary.captions) == (4, 8)
    assert [(f.uri, f.reason) for f in summary.failures] == [(f"tar://{shards}/00001.tar!broken.jpg", "not_an_image")]
    snapshot = home.collection("walls").open_snapshot()
    client = create_app(home, FakeEncoder(), "walls").test_client()
    for image in snapshot.images(snapshot.image_ids()):
        colour = image.uri.rpartition("!")[2].removesuffix(".jpg")
        assert (snapshot.tokens([image.image_id])[0, 0, :3] * 255).round() == pytest.approx(COLOURS[colour], abs=2)
        assert snapshot.captions_of([image.image_id])[image.image_id][0].text == f"a {colour} wall"
        served = client.get(f"/images/{image.image_id}")
        assert (served.status_code, served.mimetype, served.data) == (200, "image/jpeg", jpeg(colour))
        part = client.get(f"/images/{image.image_id}", headers={"Range": "bytes=2-9"})
        assert (part.status_code, part.data) == (206, jpeg(colour)[2:10])


def test_only_changed_photos_of_a_rewritten_shard_are_encoded(tmp_path, shards):
    home = Home(tmp_path / "home")
    build(home, shards)
    assert build(home, shards).unchanged == 4
    write_shard(shards / "00000.tar", *sample("white"), *sample("green"))
    os.utime(shards / "00000.tar", ns=(1, 1))
    summary = build(home, shards)
    assert (summary.added, summary.unchanged) == (1, 3)


def test_a_rebuild_leaves_out_the_photos_of_a_vanished_shard(tmp_path, shards):
    home = Home(tmp_path / "home")
    build(home, shards)
    write_shard(tmp_path / "more" / "0.tar", *sample("white"))
    (shards / "00000.tar").unlink()
    summary = build(home, tmp_path / "more", rebuild=True)
    assert (summary.images, sorted({failure.reason for failure in summary.failures})) == (3, ["missing"])


def test_a_photo_of_a_vanished_shard_is_not_found(tmp_path, shards):
    home = Home(tmp_path / "home")
    build(home, shards)
    (shards / "00000.tar").unlink()
    response = create_app(home, FakeEncoder(), "walls").test_client().get("/images/1")
    assert response.status_code == 404 and "no longer where it was" in response.text


def test_damaged_shards_give_their_complete_files(tmp_path, shards):
    whole = (shards / "00000.tar").read_bytes()
    (shards / "00000.tar").write_bytes(whole[: 4 * 1024])
    (shards / "00002.tar").write_text("no tar")
    source = open_source(shards)
    assert [item.member for item in source] == ["red.jpg", "blue.jpg", "broken.jpg", "yellow.jpg"]
    assert [problem.reason for problem in source.problems] == ["shard_damaged", "shard_unreadable"]


def test_a_truncated_shard_removes_no_photo(tmp_path, shards):
    home = Home(tmp_path / "home")
    build(home, shards)
    whole = (shards / "00000.tar").read_bytes()
    for content in (whole[: 4 * 1024], b"no tar"):
        (shards / "00000.tar").write_bytes(content)
        summary = build(home, shards)
        assert (summary.images, summary.removed) == (4, 0)
    write_shard(shards / "00000.tar", *sample("red"))
    assert build(home, shards).removed == 1


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b"\xff",
        b'{"captions": 3}',
        b'{"caption": 3}',
        b'{"caption": "\\ud800"}',
        b"[" * 100_000,
    ],
)
def test_an_unusable_text_of_a_sample_is_a_problem_and_its_photo_is_listed(tmp_path, content):
    shard = write_shard(tmp_path / "a.tar", ("1.jpg", jpeg("red")), ("1.json", content), ("1.txt", "kept"))
    source = open_source(shard)
    assert [texts(item) for item in source] == [[("en", "kept")]]
    (problem,) = source.problems
    assert (problem.uri, problem.reason) == (f"tar://{shard}!1.json", "caption_unreadable")
    assert "\n" not in problem.sentence


def test_a_folder_of_shards_is_detected(tmp_path, shards):
    assert open_source(shards).format == "webdataset"
    (shards / "00000.parquet").write_bytes(b"what img2dataset leaves beside them")
    assert open_source(shards).format == "webdataset"
    (shards / "photo.jpg").write_bytes(jpeg())
    assert open_source(shards, "folder").format == "folder"
    assert open_source(shards, "webdataset").format == "webdataset"


NAMED_BY_DATE = [
    ("IMG_2023.01.05.jpg", jpeg("red")),
    ("IMG_2023.01.05.txt", "morning"),
    ("IMG_2023.01.06.jpg", jpeg("blue")),
    ("IMG_2023.01.06.txt", "evening"),
    ("IMG_2023.01.07.jpg", jpeg("green")),
]


def test_names_with_dots_keep_their_own_texts(tmp_path):
    source = open_source(
        write_shard(tmp_path / "0.tar", *NAMED_BY_DATE, ("IMG_2023.txt", "whose?"), ("2024.01.txt", "nobody's"))
    )
    assert [[text for _, text in texts(item)] for item in source] == [["morning"], ["evening"], []]
    (problem,) = source.problems
    assert (problem.uri, problem.reason) == (f"tar://{tmp_path}/0.tar!IMG_2023.txt", "caption_ambiguous")
    assert [(one["why"], one["count"]) for one in source.unused.as_json()] == [("text_of_no_photo", 1)]


def test_several_texts_of_a_sample_add_up(tmp_path):
    files = [("0.jpg", jpeg()), ("0.txt", "a dog"), ("0.en.txt", "one dog"), ("0.de.txt", "ein Hund"), ("0.caption", "a pet"),
             ("0.cls", "3"), ("0.json", {"text": "dogs"}), ("0.meta.json", {"rating": 3, "caption": "a dog"})]  # fmt: skip
    source = open_source(write_shard(tmp_path / "0.tar", *files))
    (item,) = source
    assert sorted(texts(item)) == [("de", "ein Hund"), ("en", "a dog"), ("en", "a pet"), ("en", "dogs"), ("en", "one dog")]
    assert (item.metadata, source.problems) == ({"rating": 3}, [])
    assert [(one["why"], one["kind"], one["count"]) for one in source.unused.as_json()] == [("other_kind", "CLS", 1)]


def add(tar, name, content=b"", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    tar.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_links_and_odd_names_in_a_tar_are_read_or_told(tmp_path, form):
    long = "folder/" * 20 + "long.jpg"
    with tarfile.open(tmp_path / "0.tar", "w", format=form) as tar:
        add(tar, "./1.jpg", jpeg("red"))
        add(tar, "./1.txt", b"a red wall")
        add(tar, "./hard.jpg", type=tarfile.LNKTYPE, linkname="./1.jpg")
        add(tar, "./sub/soft.jpg", type=tarfile.SYMTYPE, linkname="../1.jpg")
        add(tar, "./twice.jpg", type=tarfile.SYMTYPE, linkname="sub/soft.jpg")
        add(tar, "./gone.jpg", type=tarfile.SYMTYPE, linkname="nowhere.jpg")
        add(tar, "./loop.jpg", type=tarfile.SYMTYPE, linkname="loop.jpg")
        add(tar, "./early.jpg", type=tarfile.LNKTYPE, linkname="./later.jpg")
        add(tar, "./pipe.jpg", type=tarfile.FIFOTYPE)
        add(tar, "./folder.jpg", type=tarfile.DIRTYPE)
        add(tar, "/absolute.jpg", jpeg("blue"))
        add(tar, "../up.jpg", jpeg("green"))
        add(tar, long, jpeg("white"))
        add(tar, "notes.pdf", type=tarfile.SYMTYPE, linkname="x.pdf")
    source = open_source(tmp_path / "0.tar")
    red = PhotoUri(tmp_path / "0.tar", "./1.jpg").part()
    photos = {item.member: PhotoUri(item.uri, item.member) for item in source}
    assert {name for name, photo in photos.items() if photo.part() == red} == {
        "./1.jpg", "./hard.jpg", "./sub/soft.jpg", "./twice.jpg"}  # fmt: skip
    assert set(photos) - {"./1.jpg", "./hard.jpg", "./sub/soft.jpg", "./twice.jpg"} == {"/absolute.jpg", "../up.jpg", long}
    assert {problem.uri.rpartition("!")[2]: problem.reason for problem in source.problems} == dict.fromkeys(
        ["./gone.jpg", "./loop.jpg", "./early.jpg", "./pipe.jpg"], "member_unreadable"
    )
    home = Home(tmp_path / "home")
    summary = build(home, tmp_path / "0.tar")
    assert (summary.images, len(summary.failures)) == (7, 4)


def test_sparse_files_are_told(tmp_path):
    with tarfile.open(tmp_path / "0.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        add(tar, "1.jpg", jpeg())
        add(tar, "2.jpg", bytes(512), type=tarfile.GNUTYPE_SPARSE)
    source = open_source(tmp_path / "0.tar")
    assert [item.member for item in source] == ["1.jpg"]
    assert [problem.reason for problem in source.problems if "2.jpg" in problem.uri] == ["member_unreadable"]


def test_what_img2dataset_wrote_beside_a_tar_is_joined_by_key(tmp_path):
    for shard, names in (("00000", ("000000000", "000000001")), ("00001", ("000010000",))):
        write_shard(tmp_path / f"{shard}.tar", *((f"{name}.jpg", jpeg()) for name in names), (f"{names[0]}.json", {"width": 9}))
        rows = [{"key": name, "caption": f"photo {name}", "url": f"http://x/{name}", "width": 5, "similarity": None,
                 "jpg": b"bytes"} for name in reversed(names)]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{shard}.parquet")
    source = open_source(tmp_path)
    assert (source.format, source.problems, source.unused.as_json()) == ("webdataset", [], [])
    assert [(item.member, [text for _, text in texts(item)], item.metadata) for item in source] == [
        (f"{key}.jpg", [f"photo {key}"], {"key": key, "url": f"http://x/{key}", "width": width})
        for key, width in (("000000000", 9), ("000000001", 5), ("000010000", 9))
    ]


def test_a_compressed_tar_is_refused_with_a_remedy(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("1.jpg"))
    with pytest.raises(UnknownFormat, match="can't be read as an uncompressed tar .* unpack it"):
        open_source(tmp_path / "a.tar")
    with pytest.raises(EmptySource, match="tar files with photos"):
        WebDatasetSource(write_shard(tmp_path / "b.tar", ("1.txt", "of no photo")))
