"""Photos that were sent to a server, in the collection's own folder."""

from __future__ import annotations

import hashlib
import io
import os
import time
from dataclasses import replace

import pytest

from storage import Home
from storage.files import TEMPORARY
from storage.maintenance import compact, delete_images
from storage.upload_store import MIN_AGE_S, UploadStore
from storage.verification import verify
from tests.support.fakes import jpeg
from tests.support.storage_examples import ENCODER, add_colours, segment_data


@pytest.fixture
def collection(tmp_path):
    return Home(tmp_path / "home").create_collection("walls")


@pytest.fixture
def uploads(collection):
    return UploadStore(collection.folder)


def publish(collection, path):
    """Publish red, and a photo whose file is `path`; the id of the latter."""
    with collection.writer(ENCODER.fingerprint) as writer:
        add_colours(writer, "red")
        data = segment_data({writer.new_image_id(): "green"})
        writer.add_segment(replace(data, images=[replace(data.images[0], uri=str(path))]))
        writer.publish("2 added")
    return data.images[0].image_id


def age(*paths):
    for path in paths:
        then = time.time() - 2 * MIN_AGE_S
        os.utime(path, (then, then))


def test_a_photo_goes_by_its_content(uploads):
    path, new = uploads.keep(io.BytesIO(jpeg("red")), ".jpg")
    assert new and path.read_bytes() == jpeg("red") and path.name == hashlib.sha256(jpeg("red")).hexdigest() + ".jpg"
    age(path)
    assert uploads.keep(io.BytesIO(jpeg("red")), ".jpg") == (path, False) and time.time() - path.stat().st_mtime < 60
    assert list(uploads.folder.iterdir()) == [path]


def test_what_could_not_be_written_leaves_nothing(uploads, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        uploads.keep(io.BytesIO(jpeg("red")), ".jpg")
    assert list(uploads.folder.iterdir()) == []


def test_a_photo_that_no_segment_names_can_be_discarded(collection, uploads):
    named, _ = uploads.keep(io.BytesIO(jpeg("green")), ".jpg")
    unnamed, _ = uploads.keep(io.BytesIO(jpeg("blue")), ".jpg")
    publish(collection, named)
    assert (uploads.discard(named), uploads.discard(unnamed)) == (False, True)
    assert list(uploads.folder.iterdir()) == [named]


@pytest.mark.parametrize("finished", [True, False])
def test_what_an_interrupted_run_has_encoded_keeps_its_photo(collection, uploads, finished):
    path, _ = uploads.keep(io.BytesIO(jpeg("green")), ".jpg")
    data = segment_data({1: "green"})
    images = [replace(data.images[0], uri=str(path))]
    with collection.writer(ENCODER.fingerprint) as writer:
        segment = writer.begin_segment(data.image_vectors.shape[1], data.tokens.shape[1:])
        segment.add_images(images, data.image_vectors, data.tokens, data.thumbnails)
        segment.finish() if finished else segment.suspend()
    assert not uploads.discard(path) and path.exists()


def test_a_deleted_photo_stays_until_no_version_needs_it(tmp_path, collection, uploads):
    home = Home(tmp_path / "home")
    path, _ = uploads.keep(io.BytesIO(jpeg("green")), ".jpg")
    image_id = publish(collection, path)
    age(path)
    delete_images(home, "walls", [image_id])
    compact(home, "walls")
    assert path.exists()  # rollback could bring it back
    compact(home, "walls", keep=0)
    assert not path.exists() and verify(home, "walls")["problems"] == []


def test_what_was_sent_a_moment_ago_is_not_swept(uploads):
    fresh, _ = uploads.keep(io.BytesIO(jpeg("red")), ".jpg")
    old, _ = uploads.keep(io.BytesIO(jpeg("blue")), ".jpg")
    killed = uploads.folder / f"{TEMPORARY}1-x.jpg"
    killed.write_bytes(b"half a ph")
    age(old, killed)
    assert sorted(uploads.sweep()) == sorted([old, killed])
    assert list(uploads.folder.iterdir()) == [fresh]


def test_with_damage_nothing_is_removed(collection, uploads):
    path, _ = uploads.keep(io.BytesIO(jpeg("green")), ".jpg")
    publish(collection, path)
    unnamed, _ = uploads.keep(io.BytesIO(jpeg("blue")), ".jpg")
    next(collection.folder.glob("segments/*/images.parquet")).write_bytes(b"")
    assert uploads.sweep(0) == [] and not uploads.discard(unnamed)


def test_without_uploads_there_is_nothing_to_do(uploads):
    assert uploads.sweep(0) == [] and not uploads.folder.exists()
