"""Tests of hostile and odd photos: usable ones are indexed with their own data, the others are listed with a reason."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
from PIL import Image

from encoder.inputs.pixels import decode, prepare
from indexer import build_index, open_source
from storage import Home
from storage.photo_uri import PhotoUri
from storage.verification import verify
from tests.support import hostile
from tests.support.fakes import FakeEncoder
from web import create_app

WRITERS = {
    "folder": hostile.write_folder,
    "manifest": hostile.write_manifest,
    "parquet": hostile.write_parquet,
    "photos in parquet": hostile.write_photos_in_parquet,
    "webdataset": hostile.write_shard,
}


def name_of(uri):
    photo_uri = PhotoUri.at(uri)
    return photo_uri.member or os.path.basename(photo_uri.path)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", WRITERS)
def test_the_whole_corpus(tmp_path, kind, workers):
    cases = WRITERS[kind](tmp_path / "source")
    encoder, home = FakeEncoder(), Home(tmp_path / "home")
    source = open_source(tmp_path / "source")
    summary = build_index(home, "odd", source, encoder, workers=workers)
    assert_failures(summary, source, cases)
    snapshot = home.collection("odd").open_snapshot()
    assert verify(home, "odd")["problems"] == []
    images = snapshot.images(snapshot.image_ids())
    assert sorted(name_of(image.uri) for image in images) == sorted(c.name for c in cases.values() if not c.reason)
    client = create_app(home, encoder, "odd").test_client()
    for image in images:
        assert_belongs_together(snapshot, encoder, image, cases[name_of(image.uri)])
        assert_shown(client, image)
    again = build_index(home, "odd", open_source(tmp_path / "source"), encoder, workers=0)
    assert (again.added, again.unchanged, again.failures) == (0, len(images), summary.failures)


def assert_failures(summary, source, cases):
    """Check that exactly the bad files failed, each with its reason in one printable line."""
    own = [failure for failure in summary.failures if failure not in source.problems]
    assert {name_of(failure.uri): failure.reason for failure in own} == {c.name: c.reason for c in cases.values() if c.reason}
    for failure in summary.failures:
        failure.sentence.encode("utf-8"), failure.uri.encode("utf-8")
        assert failure.sentence.isprintable() and failure.reason


def assert_belongs_together(snapshot, encoder, image, case):
    """Check that row, tokens, vector, thumbnail and captions all belong to the same file."""
    (image_id,) = ids = [image.image_id]
    assert (image.width, image.height) == case.size
    assert (snapshot.tokens(ids)[0, 0, :3] * 255).astype(int) == pytest.approx(case.colour, abs=6)
    if case.content:
        assert image.bytes == len(case.content)
        pixels = prepare(decode(case.content), encoder.config.image_size)[None]
        expected = encoder.encode_images(pixels).vectors[0]
        np.testing.assert_allclose(snapshot.image_vectors(ids)[0], expected, atol=0.01)
    shown = np.asarray(Image.open(io.BytesIO(snapshot.thumbnail(image_id))))
    assert shown.reshape(-1, 3).mean(0) == pytest.approx(case.colour, abs=6)
    captions = snapshot.captions_of(ids)[image_id]
    texts = [caption.text for caption in captions]
    assert sorted(set(texts)) == sorted({text.replace("\0", " ").strip() for text in case.captions})
    vectors = snapshot.caption_vectors([caption.caption_id for caption in captions])
    np.testing.assert_allclose(vectors, encoder.encode_texts(texts).vectors, atol=0.01)


def assert_shown(client, image):
    """Check that the page gets an image: the photo, or its thumbnail if browsers can't show it; never markup."""
    response = client.get(f"/images/{image.image_id}")
    assert (response.status_code, response.mimetype.partition("/")[0]) == (200, "image")
