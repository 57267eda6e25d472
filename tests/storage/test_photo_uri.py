from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.photo_uri import PhotoUri, tar_listing

NAMES = st.binary(min_size=1, max_size=30).map(lambda name: os.fsdecode(name.replace(b"\0", b"")))


def tar_of(path, *files):
    """A tar of (name, content)."""
    with tarfile.open(path, "w") as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    ("photo", "uri"),
    [
        (PhotoUri(Path("/a/狗 100%!.jpg")), "/a/狗 100%!.jpg"),
        (PhotoUri(Path("/a/\udcff.jpg")), "file:///a/%FF.jpg"),
        (PhotoUri(Path("/a/\udcff%41.jpg")), "file:///a/%FF%2541.jpg"),
        (PhotoUri(Path("/a/1.tar"), "b/狗.jpg"), "tar:///a/1.tar!b/狗.jpg"),
        (PhotoUri(Path("/a!/1.tar"), "b!\udc80.jpg"), "tar:///a%21/1.tar!b%21%80.jpg"),
    ],
)
def test_a_photo_uri_as_text(photo, uri):
    assert (photo.uri, PhotoUri.at(uri)) == (uri, photo)


@given(NAMES, st.none() | NAMES)
def test_different_photos_have_different_texts(name, member):
    photo = PhotoUri(Path("/photos", "x" + name.replace("/", "-")), member)
    assert PhotoUri.at(photo.uri) == photo
    photo.uri.encode("utf-8")


def test_members_are_read_where_they_lie(tmp_path):
    shard = tar_of(tmp_path / "a.tar", ("1.jpg", b"one"), ("x/2.jpg", b"two!"), ("1.jpg", b"newer"))
    assert list(tar_listing(shard).members) == ["x/2.jpg", "1.jpg"]
    for member, content in (("1.jpg", b"newer"), ("x/2.jpg", b"two!")):
        photo = PhotoUri(shard, member)
        with photo.open() as file:
            assert file.read() == content
        assert (photo.state(), photo.exists()) == ((len(content), shard.stat().st_mtime_ns), True)
    assert not PhotoUri(shard, "3.jpg").exists()
    with pytest.raises(FileNotFoundError), PhotoUri(shard, "3.jpg").open():
        pass


def test_a_file_is_opened_whole(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"abc")
    photo = PhotoUri(tmp_path / "a.jpg")
    with photo.open() as file:
        assert file.read() == b"abc"
    assert (photo.part(), photo.exists(), PhotoUri(tmp_path / "b.jpg").exists()) == (None, True, False)


def test_a_tar_that_changed_is_read_anew(tmp_path):
    shard = tar_of(tmp_path / "a.tar", ("1.jpg", b"one"))
    assert list(tar_listing(shard).members) == ["1.jpg"]
    tar_of(shard, ("1.jpg", b"one"), ("2.jpg", b"two"))
    os.utime(shard, ns=(1, 1))
    assert list(tar_listing(shard).members) == ["1.jpg", "2.jpg"]


@pytest.mark.parametrize("kept", [0, 300, 512, 520, 1024, 1100, 1536, 2000, 2600])
def test_the_whole_files_of_a_cut_tar_are_given(tmp_path, kept):
    shard = tar_of(tmp_path / "a.tar", ("1.jpg", b"a" * 600), ("2.jpg", b"b" * 600))
    shard.write_bytes(shard.read_bytes()[:kept])
    try:
        found = tar_listing(shard).members
    except tarfile.ReadError:
        assert kept < 512
        return
    assert set(found) <= {"1.jpg", "2.jpg"}
    assert tar_listing(shard).damaged or kept == 0
    assert ("1.jpg" in found) == (kept >= 1112)
