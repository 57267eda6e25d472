"""Tests of WebDataset's tar shards: photos are indexed and served without unpacking."""

from __future__ import annotations

import io
import json
import os
import tarfile

import pytest

from indexer import WebDatasetSource, build_index, open_source
from indexer.errors import EmptySource, UnknownFormat
from storage import Home
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


def test_a_compressed_tar_is_refused_with_a_remedy(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("1.jpg"))
    with pytest.raises(UnknownFormat, match="can't be read as an uncompressed tar .* unpack it"):
        open_source(tmp_path / "a.tar")
    with pytest.raises(EmptySource, match="tar files with photos"):
        WebDatasetSource(write_shard(tmp_path / "b.tar", ("1.txt", "of no photo")))
